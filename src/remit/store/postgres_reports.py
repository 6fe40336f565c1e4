"""Reports to the security people from a gateway: counted, written once a second, never in a request's way."""

import asyncio
from typing import Any

import msgspec
import psycopg
import structlog

from remit.grants.attempts import REFUSED, Attempt, Attempts, Count
from remit.kernel.clock import Clock
from remit.store.connect import connect_async

_log = structlog.get_logger(__name__)
_MAX_WAITING = 1000
_WRITE_SECONDS = 1.0
_TIMEOUT_SECONDS = 10.0


class SecurityReports:
    """Writes what was counted, and notifications about requests of the wrong class: one per grant and day.

    What cannot be written is kept, counted and written later. If the connection breaks while the database answers, it may
    be counted twice, never too seldom.
    """

    def __init__(self, url: str, clock: Clock) -> None:
        self._url = url
        self._clock = clock
        self._attempts = Attempts()
        # Apart from the others: however many words callers think of, refusals are counted under their grant.
        self._refusals = Attempts()
        self._bodies: dict[str, dict[str, Any]] = {}
        self._writer: asyncio.Task[None] | None = None
        self._closing = asyncio.Event()

    def report(self, grant_id: str, body: dict[str, Any]) -> None:
        """Reports a request of the wrong class; returns at once. Beyond a thousand grants a second, the count is all there is."""
        _log.warning("class_mismatch", grant_id=grant_id, **body)
        if len(self._bodies) < _MAX_WAITING:
            self._bodies.setdefault(grant_id, body)
        self._begin()

    def note(self, attempt: Attempt) -> None:
        """Counts an attempt; returns at once."""
        counted = self._refusals if attempt.kind.startswith(REFUSED) else self._attempts
        counted.add(attempt, self._clock.now())
        self._begin()

    async def close(self) -> None:
        """Writes what was counted so far."""
        self._closing.set()
        if self._writer is not None:
            await self._writer

    def _begin(self) -> None:
        if self._writer is None or self._writer.done():
            self._writer = asyncio.get_running_loop().create_task(self._write_until_empty())

    async def _write_until_empty(self) -> None:
        while len(self._attempts) or len(self._refusals) or self._bodies:
            try:
                async with asyncio.timeout(_WRITE_SECONDS):
                    await self._closing.wait()
            except TimeoutError:
                await self._write()
            else:
                # Once more, and no further: whoever closes waits for this.
                await self._write()
                return

    async def _write(self) -> None:
        counted, refused = self._attempts.take(), self._refusals.take()
        bodies, self._bodies = self._bodies, {}
        try:
            async with (
                asyncio.timeout(_TIMEOUT_SECONDS),
                await connect_async(self._url, "remit_gateway") as connection,
                connection.transaction(),
            ):
                # Each is within what the database takes at once.
                for counts in filter(None, (counted, refused)):
                    await connection.execute("SELECT note_attempts(%s::jsonb)", (_rows(counts),))
                for grant_id, body in bodies.items():
                    await connection.execute(
                        "SELECT report_to_security(%s, %s, %s::jsonb)",
                        (self._clock.now(), grant_id, msgspec.json.encode(body).decode()),
                    )
        except (psycopg.Error, OSError, TimeoutError) as error:
            _log.error("report_not_written", counts=len(counted) + len(refused), grants=len(bodies), error=str(error))
            self._attempts.give_back(counted)
            self._refusals.give_back(refused)
            self._bodies = {**bodies, **self._bodies}


def _rows(counted: list[tuple[Attempt, Count]]) -> str:
    rows = [
        {
            "grant_id": attempt.grant_id,
            "kind": attempt.kind,
            "subject": attempt.subject,
            "tag": attempt.tag,
            "value": attempt.value,
            "count": count.count,
            "first": count.first,
            "last": count.last,
        }
        for attempt, count in counted
    ]
    return msgspec.json.encode(rows).decode()
