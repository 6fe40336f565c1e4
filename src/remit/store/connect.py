"""Connections to PostgreSQL, each stepping down to the one role its process needs."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Literal

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from remit.settings import SettingsError

Role = Literal["remit_authority", "remit_gateway", "remit_reader"]
Reader = Literal["engineering", "finance", "security"]
"""Who reads the ledger over SQL; each is a role `remit_<reader>` without login."""
Opens = Callable[[], AbstractContextManager[psycopg.Connection]]
"""Where the connection of one piece of work comes from: a new one, a kept one, or that of an open transaction."""

CONNECT_TIMEOUT_SECONDS = 5
STATEMENT_TIMEOUT_MILLISECONDS = 30_000
# A process that hangs in the middle of a transaction loses it, instead of keeping its locks from everybody.
IDLE_IN_TRANSACTION_MILLISECONDS = 10_000


_UNREADABLE = (
    "the database's address cannot be read: it has to be `postgresql://user:password@host:port/database`, with characters"
    " such as `@`, `/` and `%` in a password percent-encoded"
)


def readable_address(url: str) -> str:
    """The address as it is. Raises SettingsError where it cannot be read, quoting nothing of it.

    What libpq says about an address repeats the part it stumbled over, and with a password that was not encoded that part
    is the password: up to its first `@`, or up to its first `/`, where a host and a port should be.
    """
    try:
        parts = conninfo_to_dict(url)
    except psycopg.ProgrammingError:
        raise SettingsError(_UNREADABLE) from None
    ports = [port for port in str(parts.get("port") or "").split(",") if port]
    if "@" in str(parts.get("host") or "") or not all(port.isdecimal() for port in ports):
        raise SettingsError(_UNREADABLE)
    return url


def session_of(role: Role, schema: str = "remit") -> sql.Composed:
    """What makes a new connection one of that role, in a schema."""
    return sql.SQL(
        # Compiling plans costs far more than these short statements do (half the time of a run under load, measured).
        "SET jit = off;"
        "SET ROLE {}; SET search_path = {}; SET timezone = 'UTC'; SET statement_timeout = {};"
        " SET idle_in_transaction_session_timeout = {}"
    ).format(
        sql.Identifier(role),
        sql.Identifier(schema),
        sql.Literal(STATEMENT_TIMEOUT_MILLISECONDS),
        sql.Literal(IDLE_IN_TRANSACTION_MILLISECONDS),
    )


def conninfo_of(url: str, role: Role) -> str:
    """How a process of that role connects. Raises SettingsError for an address that cannot be read."""
    return make_conninfo(
        readable_address(url),
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
    connection = psycopg.connect(conninfo_of(url, role), autocommit=True)
    try:
        connection.execute(session_of(role))
    except BaseException:
        connection.close()
        raise
    return connection


def opener(url: str, role: Role) -> Opens:
    """A connection of its own for each piece of work."""
    return lambda: connect(url, role)


async def connect_async(url: str, role: Role) -> psycopg.AsyncConnection:
    """The same for the event loop."""
    connection = await psycopg.AsyncConnection.connect(conninfo_of(url, role), autocommit=True)
    try:
        await connection.execute(session_of(role))
    except BaseException:
        await connection.close()
        raise
    return connection
