"""Connections to PostgreSQL, each stepping down to the one role its process needs."""

from typing import Literal

import psycopg
from psycopg import sql

Role = Literal["remit_authority", "remit_gateway", "remit_reader"]

CONNECT_TIMEOUT_SECONDS = 5
STATEMENT_TIMEOUT_MILLISECONDS = 30_000


def _prepare(role: Role) -> sql.Composed:
    return sql.SQL("SET ROLE {}; SET search_path = remit; SET timezone = 'UTC'; SET statement_timeout = {}").format(
        sql.Identifier(role), sql.Literal(STATEMENT_TIMEOUT_MILLISECONDS)
    )


def connect(url: str, role: Role) -> psycopg.Connection:
    """A blocking connection in that role, in autocommit mode: transactions are opened where they are meant."""
    connection = psycopg.connect(
        url, autocommit=True, connect_timeout=CONNECT_TIMEOUT_SECONDS, application_name=role.replace("_", "-")
    )
    connection.execute(_prepare(role))
    return connection


async def connect_async(url: str, role: Role) -> psycopg.AsyncConnection:
    """The same for the event loop."""
    connection = await psycopg.AsyncConnection.connect(
        url, autocommit=True, connect_timeout=CONNECT_TIMEOUT_SECONDS, application_name=role.replace("_", "-")
    )
    await connection.execute(_prepare(role))
    return connection
