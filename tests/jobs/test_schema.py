"""procrastinate's schema: where it comes from, who may do what there, how it is brought up to date."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import procrastinate
import psycopg
import pytest

from remit.store import job_schema
from remit.store.connect import Role, connect
from remit.store.migrate import MigrationError, migrate
from remit.store.postgres_ledger import migration_differences
from tests.jobs.station import sql
from tests.store.database import fresh_database


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """A database on a server that has a role without any right."""
    made = fresh_database()
    sql(made, "CREATE ROLE queue_stranger")
    yield made
    sql(made, "DROP ROLE queue_stranger")


def test_what_was_applied_is_known(url: str) -> None:
    """Every migration of the installed package stands in the database, with the version that brought it."""
    folder = Path(procrastinate.__file__).parent / "sql" / "migrations"
    names = sorted(file.name for file in folder.glob("*.sql"))
    rows = sql(url, "SELECT name, package FROM job_migrations ORDER BY name")
    assert [name for name, _ in rows] == names and {version for _, version in rows} == {procrastinate.__version__}
    owners = "SELECT DISTINCT pg_get_userbyid(relowner) FROM pg_class WHERE relnamespace = 'remit_jobs'::regnamespace"
    assert sql(url, owners) == [("remit_owner",)]


@pytest.mark.parametrize("role", ["remit_gateway", "remit_reader", "queue_stranger"])
def test_the_queue_is_nobody_elses(url: str, role: str) -> None:
    """Gateways and readers have no right on it, neither on a table nor a function nor the schema."""
    assert sql(url, "SELECT has_schema_privilege(%s, 'remit_jobs', 'USAGE, CREATE')", role) == [(False,)]
    tables = (
        "SELECT relname FROM pg_class WHERE relnamespace = 'remit_jobs'::regnamespace AND relkind IN ('r', 'S')"
        " AND CASE relkind WHEN 'S' THEN has_sequence_privilege(%s, oid, 'USAGE, SELECT, UPDATE')"
        " ELSE has_table_privilege(%s, oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE, TRIGGER, REFERENCES') END"
    )
    assert sql(url, tables, role, role) == []
    functions = (
        "SELECT proname FROM pg_proc WHERE pronamespace = 'remit_jobs'::regnamespace"
        " AND has_function_privilege(%s, oid, 'EXECUTE')"
    )
    assert sql(url, functions, role) == []


@pytest.mark.parametrize(
    "statement",
    [
        "TRUNCATE remit_jobs.procrastinate_jobs CASCADE",
        "DELETE FROM remit_jobs.procrastinate_events",
        "UPDATE remit_jobs.procrastinate_events SET at = now()",
        "INSERT INTO remit_jobs.procrastinate_periodic_defers (task_name) VALUES ('mine')",
        "CREATE TABLE remit_jobs.mine (id int)",
        "ALTER TABLE remit_jobs.procrastinate_jobs DISABLE TRIGGER ALL",
        "INSERT INTO remit.job_migrations (name, package) VALUES ('mine', '1')",
    ],
)
def test_the_authority_has_only_what_a_worker_needs(url: str, statement: str) -> None:
    """It works on the queue and changes neither what the queue is nor what was recorded of it."""
    role: Role = "remit_authority"
    with connect(url, role) as connection:
        connection.execute(f"SET SESSION AUTHORIZATION {role}".encode())
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(statement.encode())


def test_functions_know_where_their_tables_are(url: str) -> None:
    """Each names its search path: triggers of the queue fire on connections that have ours."""
    settings = "SELECT DISTINCT proconfig FROM pg_proc WHERE pronamespace = 'remit_jobs'::regnamespace"
    assert sql(url, settings) == [(["search_path=remit_jobs, pg_temp"],)]


def test_a_newer_package_brings_its_migrations_and_an_older_one_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What is new is applied, as the owner and with the rights said anew; a package that does not know it does not start."""
    url = fresh_database()
    shutil.copytree(Path(procrastinate.__file__).parent / "sql", tmp_path / "sql")
    statement = "CREATE TABLE procrastinate_future (id int); CREATE FUNCTION procrastinate_f() RETURNS int LANGUAGE sql AS 'SELECT 1';"
    (tmp_path / "sql" / "migrations" / "99.00.00_01_pre_future.sql").write_text(statement)
    with monkeypatch.context() as patch:
        patch.setattr(job_schema, "_folder", lambda: tmp_path / "sql")
        job_schema.job_migrations.cache_clear()
        (missing,) = migration_differences(url)
        assert missing.subject == "procrastinate 99.00.00_01_pre_future.sql" and missing.found == "missing"
        migrate(url)
        assert migration_differences(url) == []
    job_schema.job_migrations.cache_clear()
    table = "SELECT pg_get_userbyid(relowner), relacl FROM pg_class WHERE relname = 'procrastinate_future'"
    ((owner, _),) = sql(url, table)
    assert owner == "remit_owner"
    function = "SELECT proconfig, has_function_privilege('remit_gateway', oid, 'EXECUTE') FROM pg_proc WHERE proname = 'procrastinate_f'"
    assert sql(url, function) == [(["search_path=remit_jobs, pg_temp"], False)]
    with pytest.raises(MigrationError, match="pre_future"):
        migrate(url)
    (unknown,) = migration_differences(url)
    assert unknown.found == "applied by a newer version"


def test_a_command_that_migrates_does_not_load_the_library() -> None:
    """Neither opening an authority nor a gateway process imports what only a worker needs."""
    code = (
        "import sys\nimport remit.bootstrap, remit.gateway.worker, remit.store.migrate\n"
        "assert remit.store.job_schema.job_migrations()\n"
        "print([name for name in ('procrastinate', 'psycopg_pool', 'croniter') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
