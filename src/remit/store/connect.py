"""Connections to PostgreSQL, each stepping down to the one role its process needs."""

from typing import Literal

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

Role = Literal["remit_authority", "remit_gateway", "remit_reader"]

CONNECT_TIMEOUT_SECONDS = 5
STATEMENT_TIMEOUT_MILLISECONDS = 30_000


def _prepare(role: Role) -> sql.Composed:
    return sql.SQL("SET ROLE {}; SET search_path = remit; SET timezone = 'UTC'; SET statement_timeout = {}").format(
        sql.Identifier(role), sql.Literal(STATEMENT_TIMEOUT_MILLISECONDS)
    )


def _conninfo(url: str, role: Role) -> str:
    return make_conninfo(
        url,
        connect_timeout=CONNECT_TIMEOUT_SECONDS,
        application_name=role.replace("_", "-"),
        # A server that went away without a word is noticed in half a minute instead of in hours.
        keepalives_idle=10,
        keepalives_interval=5,
        keepalives_count=3,
        tcp_user_timeout=30_000,
    )


def connect(url: str, role: Role) -> psycopg.Connection:
    """A blocking connection in that role, in autocommit mode: transactions are opened where they are meant."""
    connection = psycopg.connect(_conninfo(url, role), autocommit=True)
    connection.execute(_prepare(role))
    return connection


async def connect_async(url: str, role: Role) -> psycopg.AsyncConnection:
    """The same for the event loop."""
    connection = await psycopg.AsyncConnection.connect(_conninfo(url, role), autocommit=True)
    await connection.execute(_prepare(role))
    return connection
