"""How a worker of the job queue is connected: in the authority's role, in the queue's schema, over a few connections it keeps."""

from typing import TYPE_CHECKING, Any

import psycopg

from remit.store.connect import CONNECT_TIMEOUT_SECONDS, conninfo_of, session_of

if TYPE_CHECKING:
    from procrastinate import PsycopgConnector

_MOST = 4


def job_connector(url: str) -> "PsycopgConnector":
    """A connector of procrastinate, not opened yet. Raises SettingsError for an address that cannot be read."""
    from procrastinate import PsycopgConnector  # noqa: PLC0415 - only the process that works needs it

    async def configure(connection: psycopg.AsyncConnection[Any]) -> None:
        # Not an option of the pool: procrastinate says so itself for the connection that listens, and once is enough.
        await connection.set_autocommit(True)
        await connection.execute(session_of("remit_authority", "remit_jobs"))

    return PsycopgConnector(
        conninfo=conninfo_of(url, "remit_authority"),
        configure=configure,
        min_size=1,
        max_size=_MOST,
        timeout=CONNECT_TIMEOUT_SECONDS,
    )
