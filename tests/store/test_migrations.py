"""Migrations: once each, from anywhere at once, and never over something unknown."""

import multiprocessing

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from remit.store.describe import SCHEMA_FILE, describe
from remit.store.migrate import MigrationError, migrate, migrations
from tests.store.database import empty_database, fresh_database


def execute(url: str, statement: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statement.encode())


def test_migrations_produce_the_reviewed_schema() -> None:
    """Tables, constraints, functions and every privilege are those of schema.txt; its folder says how to renew it."""
    assert describe(fresh_database()) == SCHEMA_FILE.read_text(encoding="utf-8"), (
        "run `python -m remit.store.describe > src/remit/store/schema.txt` and review what changes"
    )


def test_migrations_are_numbered_without_gaps() -> None:
    """Each file has a number of its own, counted from 0001: the order they are applied in is never a matter of names."""
    numbers = [int(name[:4]) for name, _ in migrations()]
    assert numbers == list(range(1, len(numbers) + 1))


def test_migrating_again_does_nothing() -> None:
    """All files are applied once, in order; then there is nothing left to do."""
    url = empty_database()
    assert migrate(url) == [name for name, _ in migrations()]
    before = describe(url)
    assert migrate(url) == []
    assert describe(url) == before


def test_processes_may_migrate_at_the_same_time() -> None:
    """Of several processes that start together each file is applied by one, and none fails."""
    url = empty_database()
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        applied = pool.map(migrate, [url] * 3)
    assert sorted(name for names in applied for name in names) == [name for name, _ in migrations()]


def test_a_changed_migration_is_refused() -> None:
    """A file that is no longer what was applied stops everything."""
    url = fresh_database()
    execute(url, "UPDATE public.remit_migrations SET sha256 = 'other' WHERE name LIKE '0002%'")
    with pytest.raises(MigrationError, match="0002"):
        migrate(url)


def test_a_newer_database_is_refused() -> None:
    """A migration this version does not know means that another version was here."""
    url = fresh_database()
    execute(url, "INSERT INTO public.remit_migrations (name, sha256) VALUES ('9999_future.sql', 'x')")
    with pytest.raises(MigrationError, match="9999_future"):
        migrate(url)


def test_a_failing_migration_leaves_no_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    """The file that fails is rolled back whole; the ones before it stay."""
    url = empty_database()
    broken = [*migrations(), ("9998_broken.sql", "CREATE TABLE remit.half (id int); SELECT 1 / 0;")]
    monkeypatch.setattr("remit.store.migrate.migrations", lambda: broken)
    with pytest.raises(psycopg.errors.DivisionByZero):
        migrate(url)
    monkeypatch.undo()
    assert "table half" not in describe(url)
    assert migrate(url) == []


def test_buckets_that_were_opened_for_nothing_go(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the buckets of unknown blocks 0014 removes those without a number in them, and those of nobody else."""
    url = empty_database()
    all_of_them = migrations()
    monkeypatch.setattr("remit.store.migrate.migrations", lambda: all_of_them[:13])
    migrate(url)
    monkeypatch.undo()
    for node, posted in (("a" * 64, 0), ("b" * 64, 1), ("grant_a", 0)):
        execute(
            url,
            "INSERT INTO remit.buckets (node_id, dimension, period_kind, period_start, period_end, target, limit_amount,"
            f" posted) VALUES ('{node}', 'usd', 'once', '2000-01-01', '2100-01-01', 9, 9, {posted})",
        )
    assert migrate(url)[0].startswith("0014")
    with psycopg.connect(url) as connection:
        left = connection.execute("SELECT node_id FROM remit.buckets ORDER BY node_id").fetchall()
    assert left == [("b" * 64,), ("grant_a",)]


def test_a_user_who_is_no_superuser_may_migrate_where_the_roles_exist() -> None:
    """An administrator may create the roles beforehand and hand them to a user who then owns nothing else."""
    url = empty_database()
    database = psycopg.conninfo.conninfo_to_dict(url)["dbname"]
    fresh_database()  # the roles exist
    roles = (
        "remit_owner, remit_authority, remit_gateway, remit_reader, remit_engineering, remit_finance, remit_security"
    )
    execute(url, f"CREATE ROLE plain_migrator LOGIN IN ROLE {roles}")
    execute(url, f'GRANT CREATE ON DATABASE "{database}" TO plain_migrator')
    execute(url, "GRANT CREATE ON SCHEMA public TO plain_migrator")
    execute(url, f'GRANT CREATE ON DATABASE "{database}" TO remit_owner')
    assert migrate(make_conninfo(url, user="plain_migrator"))
