"""The schema of procrastinate, from the installed package into a schema of its own, brought up to that package's version.

The package is found without being imported: every command migrates, and few of them have to do with jobs.
"""

from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import psycopg

from remit.store.named import query

PACKAGE = "procrastinate"


def missing_job_migrations(connection: psycopg.Connection) -> list[str]:
    """The package's migrations that this database has not got; all of them where it has none.

    Raises LookupError, with a name, where the database has one that the package does not know.
    """
    applied = {row[0] for row in connection.execute(query("job_migrations")).fetchall()}
    known = job_migrations()
    if unknown := sorted(applied.difference(known)):
        raise LookupError(unknown[-1])
    return [name for name in known if name not in applied]


def apply_job_schema(connection: psycopg.Connection) -> list[str]:
    """Applies what is missing, as the owner, in one transaction; the names of what was applied. Raises LookupError as above."""
    missing = missing_job_migrations(connection)
    if not missing:
        return []
    folder = _folder()
    # A new schema is made as a whole; it is what all migrations together come to.
    is_new = len(missing) == len(job_migrations())
    files = [folder / "schema.sql"] if is_new else [folder / "migrations" / name for name in missing]
    with connection.transaction():
        connection.execute("SET LOCAL ROLE remit_owner")
        connection.execute("SET LOCAL search_path = remit_jobs, pg_temp")
        # That `plpgsql` is there already is no news.
        connection.execute("SET LOCAL client_min_messages = warning")
        for file in files:
            connection.execute(file.read_bytes())
        connection.execute(query("job_schema_rights"))
        package = version(PACKAGE)
        for name in missing:
            connection.execute(query("job_migration_put"), {"name": name, "package": package})
    return missing


@cache
def job_migrations() -> list[str]:
    """The names of the installed package's migrations, in order."""
    return sorted(file.name for file in (_folder() / "migrations").iterdir() if file.suffix == ".sql")


def _folder() -> Path:
    spec = find_spec(PACKAGE)
    assert spec is not None and spec.origin is not None, "a server is installed with its packages"
    return Path(spec.origin).parent / "sql"
