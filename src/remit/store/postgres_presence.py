"""What a gateway says of itself to whoever waits for it, over one connection that is kept."""

import asyncio

import psycopg
import structlog

from remit.store.connect import connect_async

_log = structlog.get_logger(__name__)
_TIMEOUT_SECONDS = 5.0
_UNREACHABLE = (psycopg.Error, TimeoutError, OSError)


class PostgresPresence:
    """Tells the database which state of the tree one run of a gateway goes by. In the gateway's role; one call at a time."""

    def __init__(self, url: str, gateway_id: str) -> None:
        self._url = url
        self._id = gateway_id
        self._link: psycopg.AsyncConnection | None = None
        self._reached = True

    async def acknowledge(self, name: str, revision: int) -> None:
        """Says that this gateway is there, and goes by that revision or a later one. Says so in the log where it cannot."""
        try:
            await self._call("SELECT acknowledge(%s, %s, %s)", (self._id, name, revision))
        except _UNREACHABLE as error:
            # Once for each time the database is away: this is tried again every second.
            if self._reached:
                _log.warning("gateway_not_acknowledged", error=str(error))
            self._reached = False
        else:
            self._reached = True

    async def forget(self) -> None:
        """Takes its leave: nobody needs to wait for this gateway any more."""
        try:
            await self._call("SELECT forget_gateway(%s)", (self._id,))
        except _UNREACHABLE as error:
            _log.warning("gateway_not_acknowledged", error=str(error))
        await self._close()

    async def _call(self, statement: str, parameters: tuple[object, ...]) -> None:
        try:
            async with asyncio.timeout(_TIMEOUT_SECONDS):
                if self._link is None or self._link.closed:
                    self._link = await connect_async(self._url, "remit_gateway")
                    # Whoever waits for a gateway need not wait for a disk: what a crash forgets is said again in a second.
                    await self._link.execute("SET synchronous_commit = off")
                await self._link.execute(statement.encode(), parameters)
        except BaseException:
            await self._close()
            raise

    async def _close(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            await link.close()
