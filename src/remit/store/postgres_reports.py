"""Reports to the security people from a gateway: bounded, in the background, never in a request's way."""

import asyncio
from typing import Any

import msgspec
import psycopg
import structlog

from remit.kernel.clock import Clock
from remit.store.connect import connect_async

_log = structlog.get_logger(__name__)
_MAX_WAITING = 1000


class SecurityReports:
    """Writes notifications about refused requests. The database keeps one per grant and day, so repeats cost little."""

    def __init__(self, url: str, clock: Clock) -> None:
        self._url = url
        self._clock = clock
        self._waiting: set[asyncio.Task[None]] = set()
        self._one_at_a_time = asyncio.Lock()

    def report(self, grant_id: str, body: dict[str, Any]) -> None:
        """Starts to write a report; returns at once. Beyond a thousand waiting ones, the log line is all there is."""
        _log.warning("class_mismatch", grant_id=grant_id, **body)
        if len(self._waiting) < _MAX_WAITING:
            task = asyncio.get_running_loop().create_task(self._write(grant_id, body))
            self._waiting.add(task)
            task.add_done_callback(self._waiting.discard)

    async def close(self) -> None:
        """Waits for what is being written."""
        if self._waiting:
            await asyncio.wait(set(self._waiting))

    async def _write(self, grant_id: str, body: dict[str, Any]) -> None:
        async with self._one_at_a_time:
            try:
                async with await connect_async(self._url, "remit_gateway") as connection:
                    await connection.execute(
                        "SELECT report_to_security(%s, %s, %s::jsonb)",
                        (self._clock.now(), grant_id, msgspec.json.encode(body).decode()),
                    )
            except (psycopg.Error, OSError) as error:
                _log.error("report_not_written", grant_id=grant_id, error=str(error))
