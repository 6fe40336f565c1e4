"""Forward migrations: numbered SQL files, applied once each, under an advisory lock."""

import hashlib
from importlib.resources import files

import psycopg

from remit.store.closing import close_to_readers
from remit.store.connect import readable_address
from remit.store.job_schema import PACKAGE, apply_job_schema, missing_job_migrations
from remit.store.named import query

_LOCK_KEY = 7237493
# The migration that makes room for the job queue's schema.
_JOBS_SINCE = "0022"
# The migration that makes the readers' roles.
_READERS_SINCE = "0031"


class MigrationError(Exception):
    """The database cannot be brought to this version; the message says why, and what to do where something can be done."""


def migrations() -> list[tuple[str, str]]:
    """(file name, SQL) of every migration in order."""
    folder = files("remit.store") / "migrations"
    names = sorted(item.name for item in folder.iterdir() if item.name.endswith(".sql"))
    return [(name, (folder / name).read_text(encoding="utf-8")) for name in names]


def migrate(url: str) -> list[str]:
    """Applies what is missing and returns the names applied; each file runs in a transaction of its own.

    Afterwards the schema of the job queue is brought to the version of the installed package, and what no reader needs is
    taken from everybody, as far as the login may do that.

    Safe to call from several processes at once. Raises MigrationError when an applied file has changed, the database is
    newer than this version, or the login may not work as one of the schema's roles, and SettingsError for an address
    that cannot be read.
    """
    with psycopg.connect(readable_address(url), autocommit=True) as connection:
        connection.execute("SELECT pg_advisory_lock(%s)", (_LOCK_KEY,))
        connection.execute(
            "CREATE TABLE IF NOT EXISTS public.remit_migrations"
            " (name text PRIMARY KEY, sha256 text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())"
        )
        applied: dict[str, str] = dict(
            connection.execute("SELECT name, sha256 FROM public.remit_migrations").fetchall()
        )
        known = migrations()
        if unknown := sorted(set(applied) - {name for name, _ in known}):
            raise MigrationError(f"the database is newer than this version of remit: it has `{unknown[-1]}`")
        if len(applied) < len(known):
            _prepare_roles(connection)
        done = []
        for name, sql in known:
            digest = hashlib.sha256(sql.encode()).hexdigest()
            if name in applied:
                if applied[name] != digest:
                    raise MigrationError(f"migration `{name}` was changed after it was applied")
                continue
            with connection.transaction():
                connection.execute(sql.encode())
                connection.execute("INSERT INTO public.remit_migrations (name, sha256) VALUES (%s, %s)", (name, digest))
            done.append(name)
        if any(name >= _JOBS_SINCE for name, _ in known):
            _migrate_jobs(connection)
        if any(name >= _READERS_SINCE for name, _ in known):
            # At every start, not once: a newer server brings functions that are everybody's again.
            with connection.transaction():
                close_to_readers(connection)
        return done


def _migrate_jobs(connection: psycopg.Connection) -> None:
    try:
        if missing_job_migrations(connection):
            _prepare_roles(connection)
            apply_job_schema(connection)
    except LookupError as error:
        raise MigrationError(
            f"the database's job queue is newer than the installed {PACKAGE}: it has `{error.args[0]}`"
        ) from None


def _prepare_roles(connection: psycopg.Connection) -> None:
    """Makes the roles where missing and sees to it that the migrations may hand objects to them and work as them."""
    connection.execute(query("roles_create"))
    for role, grant in connection.execute(query("roles_missing")).fetchall():
        try:
            connection.execute(grant.encode())
        except psycopg.errors.InsufficientPrivilege:
            raise MigrationError(
                f"role `{role}` is there, made by somebody else, and this login may not work as it; a superuser can "
                f"allow that: `{grant}`"
            ) from None
