"""People's logins to the ledger's views, and what the views say about themselves."""

import base64
import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from remit.grants.ports import Said
from remit.kernel.clock import Clock
from remit.store.authored import record_deed, say
from remit.store.closing import close_to_readers, closing_script
from remit.store.connect import CONNECT_TIMEOUT_SECONDS, Reader, connect, readable_address
from remit.store.named import query
from remit.store.rows import dicts

STATEMENT_SECONDS = 60
TEMP_FILE_LIMIT = "1GB"
_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
_ITERATIONS = 4096  # PostgreSQL's own number


class ReaderError(Exception):
    """A login that cannot be made or ended; the message says why."""


@dataclass(frozen=True, slots=True)
class NewLogin:
    """A login as it was made. The password is nowhere else; `url` has everything but it."""

    login: str
    password: str
    url: str
    open_still: list[str]
    """What PostgreSQL gives to every login, no reader needs, and only a superuser can take away."""

    def __repr__(self) -> str:
        return f"NewLogin({self.login!r})"


@dataclass(frozen=True, slots=True)
class ViewMeaning:
    """A view, who reads it, and its columns as (name, type, meaning)."""

    name: str
    about: str
    readers: tuple[str, ...]
    columns: tuple[tuple[str, str, str], ...]


def login_of(reader: Reader, name: str) -> str:
    """The login of a person's name for a reader. Raises ReaderError for a name that is none."""
    if not _NAME.fullmatch(name):
        raise ReaderError(
            f"`{name}` is no name for a login: a small letter, then small letters, digits and `_`, 40 at most"
        )
    return f"{reader}_{name}"


def new_password() -> str:
    """160 bits by chance; nothing in it needs to be encoded in a URL."""
    return secrets.token_urlsafe(20)


def verifier_of(password: str) -> str:
    """What PostgreSQL keeps of a password (SCRAM-SHA-256), so that the password itself is in no statement and no log."""
    salt = secrets.token_bytes(16)
    salted = hashlib.pbkdf2_hmac("sha256", password.encode("ascii"), salt, _ITERATIONS)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")
    salt_text, stored_text, server_text = (base64.b64encode(part).decode() for part in (salt, stored, server))
    return f"SCRAM-SHA-256${_ITERATIONS}:{salt_text}${stored_text}:{server_text}"


def login_statements(reader: Reader, login: str, verifier: str, *, exists: bool = False) -> list[sql.Composed]:
    """What makes the login, or gives an existing one a new password: read-only, short of time, in the views' schema."""
    name = sql.Identifier(login)
    role = sql.Identifier(f"remit_{reader}")
    verb = sql.SQL("ALTER ROLE {}" if exists else "CREATE ROLE {}").format(name)
    made = [verb + sql.SQL(" LOGIN CONNECTION LIMIT 5 PASSWORD {}").format(sql.Literal(verifier))]
    settings = {
        "default_transaction_read_only": "on",
        "statement_timeout": f"{STATEMENT_SECONDS}s",
        "idle_in_transaction_session_timeout": f"{STATEMENT_SECONDS}s",
        "search_path": "chargeback",
        "timezone": "UTC",
        "jit": "off",
    }
    made.append(sql.SQL("GRANT {} TO {}").format(role, name))
    made += [
        sql.SQL("ALTER ROLE {} SET {} = {}").format(name, sql.Identifier(key), sql.Literal(value))
        for key, value in settings.items()
    ]
    return made


def login_script(reader: Reader, name: str) -> tuple[str, str]:
    """SQL that makes a login on a database somebody else administers, and its password."""
    password = new_password()
    statements = login_statements(reader, login_of(reader, name), verifier_of(password))
    lines = [f"{one.as_string(None)};" for one in statements]
    limit = f"ALTER ROLE {login_of(reader, name)} SET temp_file_limit = '{TEMP_FILE_LIMIT}';"
    return "\n".join([*lines, "", "-- As a superuser, in Remit's database:", limit, closing_script()]), password


class PostgresReaders:
    """Makes and ends logins over a connection that may make roles, which is that of who migrates."""

    def __init__(self, url: str, clock: Clock) -> None:
        self._url = url
        self._clock = clock

    def make(self, reader: Reader, name: str, *, actor: str, reason: str) -> NewLogin:
        """A login with a new password; of one that is there, the password before is no longer good. Raises ReaderError."""
        login, password = login_of(reader, name), new_password()
        with self._connect() as connection, connection.transaction():
            exists = self._look(connection, login)
            for statement in login_statements(reader, login, verifier_of(password), exists=exists):
                connection.execute(statement)
            if connection.info.parameter_status("is_superuser") == "on":
                # Only a superuser may say so, and the login then cannot say otherwise.
                limit = sql.SQL("ALTER ROLE {} SET temp_file_limit = {}")
                connection.execute(limit.format(sql.Identifier(login), sql.Literal(TEMP_FILE_LIMIT)))
            open_still = close_to_readers(connection)
            self._keep(connection, login, "make", actor, reason)
        address = conninfo_to_dict(self._url)
        kept = {key: address[key] for key in ("host", "port", "dbname", "sslmode") if address.get(key)}
        return NewLogin(login, password, make_conninfo("", user=login, **kept), open_still)

    def end(self, login: str, *, actor: str, reason: str) -> None:
        """From now on the login is refused, and what it has open is closed. Raises ReaderError where there is none."""
        with self._connect() as connection, connection.transaction():
            if not self._look(connection, login):
                raise ReaderError(f"there is no login `{login}` of a reader")
            connection.execute(sql.SQL("ALTER ROLE {} NOLOGIN PASSWORD NULL").format(sql.Identifier(login)))
            connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s", (login,))
            self._keep(connection, login, "end", actor, reason)

    def every(self) -> list[dict[str, Any]]:
        """Logins of readers by name."""
        with self._connect() as connection:
            return dicts(connection.execute(query("readers_list"), {"login": None}))

    def _look(self, connection: psycopg.Connection, login: str) -> bool:
        """Whether the login is there. Raises ReaderError for a role of that name that is something else."""
        if connection.execute(query("readers_list"), {"login": login}).fetchone():
            return True
        if connection.execute("SELECT FROM pg_roles WHERE rolname = %s", (login,)).fetchone() is not None:
            raise ReaderError(f"the role `{login}` is there already and no login of a reader")
        return False

    def _keep(self, connection: psycopg.Connection, login: str, verb: str, actor: str, reason: str) -> None:
        say(
            connection, Said(at=self._clock.now(), actor=actor, operation=f"db reader {verb}", reason=reason), "command"
        )
        record_deed(connection, "db_reader", login, None, {"login": login, "can_login": verb == "make"})

    def _connect(self) -> psycopg.Connection:
        connection = psycopg.connect(
            readable_address(self._url), autocommit=True, connect_timeout=CONNECT_TIMEOUT_SECONDS
        )
        connection.execute("SET search_path = remit, pg_temp")
        return connection


def dictionary(url: str) -> list[ViewMeaning]:
    """What the views and their columns mean, as the database says."""
    with connect(url, "remit_reader") as connection:
        rows = dicts(connection.execute(query("dictionary")))
    made = []
    for name, columns in groupby(rows, lambda row: row["view"]):
        found = list(columns)
        told = tuple((one["name"], one["type"], one["meaning"]) for one in found)
        made.append(ViewMeaning(name, found[0]["about"], tuple(found[0]["readers"]), told))
    return made
