"""One's own PostgreSQL, set up by the statements that `docs/operating.md` shows, word for word."""

import re
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from remit.grants.model import Grant
from remit.kernel.clock import SystemClock
from remit.settings import SettingsError
from remit.store.closing import open_to_readers
from remit.store.connect import connect
from remit.store.describe import SCHEMA_FILE, describe
from remit.store.embedded import start_embedded
from remit.store.migrate import MigrationError, migrate, migrations
from remit.store.postgres_ledger import migration_differences
from remit.store.postgres_readers import PostgresReaders, login_script
from remit.store.read_only_sql import Limits, ask
from tests.leases.trial import Trial, grant, usd

PAGE = Path(__file__).resolve().parents[2] / "docs" / "operating.md"


def documented_sql() -> list[str]:
    """The two blocks of the page: what an administrator runs before the first start, and after it."""
    section = PAGE.read_text(encoding="utf-8").partition("## Your own PostgreSQL")[2].partition("\n## ")[0]
    blocks = re.findall(r"```sql\n(.*?)```", section, re.DOTALL)
    assert len(blocks) == 2, "the page shows how to set up the authority's login, then the gateway's"
    return blocks


def execute(url: str, block: str) -> None:
    """Runs a block one statement at a time: a database is not created in a transaction."""
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in block.split(";"):
            if statement.strip():
                connection.execute(statement.encode())


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A server without any role of ours."""
    return start_embedded(tmp_path_factory.mktemp("own"))


@pytest.fixture(scope="module")
def admin(server: str) -> str:
    """The authority's login, in a database that it has migrated."""
    before, after = documented_sql()
    execute(server, before)
    url = make_conninfo(server, user="remit_admin", dbname="remit")
    assert migrate(url) == [name for name, _ in migrations()]
    execute(url, after)
    return url


def test_the_documented_login_migrates(admin: str) -> None:
    """It makes the reviewed schema, has nothing left to do, and the doctor agrees."""
    assert describe(admin) == SCHEMA_FILE.read_text(encoding="utf-8")
    assert migrate(admin) == []
    assert migration_differences(admin) == []


def test_the_documented_logins_run_everything(admin: str) -> None:
    """The authority writes a tree, the gateway's login takes and ends holds, and the checks find nothing."""
    trial = Trial(admin)
    trial.gateway.close()
    trial.gateway = connect(make_conninfo(admin, user="remit_gateway_login"), "remit_gateway")
    trial.looking.execute("SET ROLE remit_reader")
    root = trial.write(grant("root", limits=(usd(100),)))
    leaf: Grant = trial.write(grant("leaf", root, limits=(usd(50),)))
    first, second, third = trial.hold(leaf, 20), trial.hold(leaf, 20), trial.hold(leaf, 20)
    assert trial.take(first, second, third) == [True, True, False]
    assert [trial.settle(first.id, 5), trial.void(second.id)] == ["settled", "voided"]
    trial.check(everything=True)
    trial.close()


def test_the_gateways_login_is_only_a_gateway(admin: str) -> None:
    """It can step down to no other role, and undoing the step gives it nothing."""
    with psycopg.connect(make_conninfo(admin, user="remit_gateway_login"), autocommit=True) as connection:
        for role in ("remit_owner", "remit_authority", "remit_reader", "remit_admin"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(f"SET ROLE {role}".encode())
        connection.execute("SET ROLE remit_gateway; RESET ROLE")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("SELECT * FROM remit.entries")


def test_questions_come_with_a_readers_login(server: str, admin: str) -> None:
    """The authority's login makes one and is asked with by nobody; what only a superuser can close is said, and a script closes it."""
    clock = SystemClock()
    made = PostgresReaders(admin, clock).make("finance", "kim", actor="ada@acme.example", reason="")
    url = make_conninfo(made.url, password=made.password)
    assert ask(url, None, "SELECT count(*) >= 0 FROM grants", Limits(), clock).rows == [(True,)]
    with pytest.raises(SettingsError, match="`remit_admin` may do more than read: it may make roles"):
        ask(admin, "finance", "SELECT 1", Limits(), clock)
    # The owner of the database has closed what is the database's; functions are the server's.
    assert made.open_still == open_to_readers(admin)
    assert "pg_advisory_lock(bigint)" in made.open_still and "temporary tables" not in made.open_still
    script, password = login_script("finance", "lou")
    with psycopg.connect(make_conninfo(server, dbname="remit"), autocommit=True) as connection:
        connection.execute(script.encode())
    assert open_to_readers(admin) == []
    # What was closed is still there for the authority's login, and for who migrates.
    assert migrate(admin) == []
    with psycopg.connect(make_conninfo(made.url, user="finance_lou", password=password), autocommit=True) as connection:
        assert connection.execute("SHOW temp_file_limit").fetchone() == ("1GB",)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("SELECT pg_advisory_lock(7237494)")


def test_roles_of_somebody_else_are_asked_for(server: str, admin: str) -> None:
    """A login that may not work as a role that is there already is told which statement gives it the right."""
    execute(server, "CREATE ROLE other_admin LOGIN CREATEROLE; CREATE DATABASE other OWNER other_admin")
    url = make_conninfo(server, user="other_admin", dbname="other")
    with pytest.raises(MigrationError, match="`GRANT remit_owner TO other_admin WITH INHERIT TRUE, SET TRUE`"):
        migrate(url)
    roles = (
        "remit_owner, remit_authority, remit_gateway, remit_reader, remit_engineering, remit_finance, remit_security"
    )
    execute(server, f"GRANT {roles} TO other_admin WITH INHERIT TRUE, SET TRUE")
    done: list[Any] = migrate(url)
    assert done == [name for name, _ in migrations()]
