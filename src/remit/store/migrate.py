"""Forward migrations: numbered SQL files, applied once each, under an advisory lock."""

import hashlib
from importlib.resources import files

import psycopg

from remit.store.connect import readable_address

_LOCK_KEY = 7237493


class MigrationError(Exception):
    """The database has a migration that this version does not know, or knows differently."""


def migrations() -> list[tuple[str, str]]:
    """(file name, SQL) of every migration in order."""
    folder = files("remit.store") / "migrations"
    names = sorted(item.name for item in folder.iterdir() if item.name.endswith(".sql"))
    return [(name, (folder / name).read_text(encoding="utf-8")) for name in names]


def migrate(url: str) -> list[str]:
    """Applies what is missing and returns the names applied; each file runs in a transaction of its own.

    Safe to call from several processes at once. Raises MigrationError when an applied file has changed or the database
    is newer than this version, and SettingsError for an address that cannot be read.
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
        return done
