"""Starts the PostgreSQL 18 that comes as a wheel, with its data in a folder of ours.

The server listens on a Unix socket only. Several processes may open the same folder: the first starts the server, the
last one to leave stops it.
"""

import os
import re
import sys
import warnings
from pathlib import Path

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from remit.settings import SettingsError
from remit.store.connect import Reader
from remit.store.named import query

# What the address of a Unix socket has room for, without the zero at its end.
SOCKET_PATH_BYTES = 103 if sys.platform == "darwin" else 107
_SOCKET = ".s.PGSQL.5432"
# `pg_ctl` hands the socket's folder to a shell, and it is part of a URL.
_PLAIN_PATH = re.compile(r"[\w./+@:,=~-]+")


def start_embedded(data_dir: Path) -> str:
    """Makes sure the server for that folder runs and returns the connection URL of its superuser.

    The folder is created with mode 0700 where missing. Blocks for about a second when the server has to start. Raises
    SettingsError for a folder that cannot be used.
    """
    folder = data_dir.expanduser().resolve() / "postgres"
    _require_usable(folder)
    with warnings.catch_warnings():
        # Where XDG_RUNTIME_DIR is unset, platformdirs warns about a fallback that is not used here.
        warnings.simplefilter("ignore")
        from remit.store.embedded_server import open_server  # noqa: PLC0415 - 100 ms only embedded servers pay

        return open_server(folder)


def gateway_login(url: str) -> str:
    """The URL of a login that can only work as a gateway; `url` is the superuser's of a migrated embedded server.

    A superuser that has stepped down can step up again (`RESET ROLE`); this login has nothing to go back to.
    """
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(query("roles_gateway_login"))
    return make_conninfo(url, user="remit_gateway_login")


def reader_login(url: str, reader: Reader) -> str:
    """The URL of a login that can only read as that reader; `url` is the superuser's of a migrated embedded server.

    It needs no password: `pg_hba.conf` lets the user who runs Remit be any login but those of people.
    """
    login = f"remit_sql_{reader}"
    with psycopg.connect(url, autocommit=True) as connection:
        if connection.execute("SELECT FROM pg_roles WHERE rolname = %s", (login,)).fetchone() is None:
            _make_reader_login(connection, login, reader)
    return make_conninfo(url, user=login)


def _make_reader_login(connection: psycopg.Connection, login: str, reader: Reader) -> None:
    name = sql.Identifier(login)
    try:
        with connection.transaction():
            connection.execute(
                sql.SQL("CREATE ROLE {} LOGIN IN ROLE {}").format(name, sql.Identifier(f"remit_{reader}"))
            )
            # Only a superuser may say so, and the login then cannot say otherwise.
            connection.execute(sql.SQL("ALTER ROLE {} SET temp_file_limit = '256MB'").format(name))
    except (psycopg.errors.DuplicateObject, psycopg.errors.UniqueViolation):
        pass  # another process that asks now has made it


def _require_usable(folder: Path) -> None:
    length = len(os.fsencode(folder / _SOCKET))
    if length > SOCKET_PATH_BYTES:
        raise SettingsError(
            f"`data_dir` is too long a path by {length - SOCKET_PATH_BYTES} bytes: the embedded PostgreSQL's socket"
            f" `{folder / _SOCKET}` may have {SOCKET_PATH_BYTES}"
        )
    if not _PLAIN_PATH.fullmatch(str(folder)):
        raise SettingsError(
            f"`data_dir`: the embedded PostgreSQL cannot use `{folder}`, only letters, digits and `./_-+@:,=~`"
        )
