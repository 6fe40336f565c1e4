"""Connections to PostgreSQL, each stepping down to the one role its process needs."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Literal

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

Role = Literal["remit_authority", "remit_gateway", "remit_reader"]
Opens = Callable[[], AbstractContextManager[psycopg.Connection]]
"""Where the connection of one piece of work comes from: a new one, a kept one, or that of an open transaction."""

CONNECT_TIMEOUT_SECONDS = 5
STATEMENT_TIMEOUT_MILLISECONDS = 30_000
# A process that hangs in the middle of a transaction loses it, instead of keeping its locks from everybody.
IDLE_IN_TRANSACTION_MILLISECONDS = 10_000


def _prepare(role: Role) -> sql.Composed:
    return sql.SQL(
        # Compiling plans costs far more than these short statements do (half the time of a run under load, measured).
        "SET jit = off;"
        "SET ROLE {}; SET search_path = remit; SET timezone = 'UTC'; SET statement_timeout = {};"
        " SET idle_in_transaction_session_timeout = {}"
    ).format(
        sql.Identifier(role),
        sql.Literal(STATEMENT_TIMEOUT_MILLISECONDS),
        sql.Literal(IDLE_IN_TRANSACTION_MILLISECONDS),
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
    try:
        connection.execute(_prepare(role))
    except BaseException:
        connection.close()
        raise
    return connection


def opener(url: str, role: Role) -> Opens:
    """A connection of its own for each piece of work."""
    return lambda: connect(url, role)


async def connect_async(url: str, role: Role) -> psycopg.AsyncConnection:
    """The same for the event loop."""
    connection = await psycopg.AsyncConnection.connect(_conninfo(url, role), autocommit=True)
    try:
        await connection.execute(_prepare(role))
    except BaseException:
        await connection.close()
        raise
    return connection
