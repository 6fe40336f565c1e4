"""Trips of a gateway's breaker on their way to the database, from where the whole fleet hears of them."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

import msgspec
import psycopg
import structlog

from remit.kernel.clock import Clock
from remit.leases.breaker import Scope, Tripping
from remit.leases.trips import Trip
from remit.store.connect import connect_async

_log = structlog.get_logger(__name__)
_MAX_WAITING = 1000
_TIMEOUT_SECONDS = 10.0
_RETRY_SECONDS = 1.0


class TripReports:
    """Records trips in the gateway's role. Meanwhile, and where the database is away, the gateway goes by them all the same."""

    def __init__(self, url: str, clock: Clock, *, cool_down_max_seconds: int) -> None:
        self._url = url
        self._clock = clock
        self._most = cool_down_max_seconds
        self._waiting: set[asyncio.Task[None]] = set()

    def record(self, trip: Trip, tripping: Tripping, seconds: int, recorded: Callable[[Trip], None]) -> None:
        """Starts to record a trip and returns at once; `recorded` is called with what is in effect by then.

        Beyond a thousand that wait, this process alone goes by it.
        """
        # Nothing of a prompt is in here: neither text nor digest.
        body = {
            "id": trip.id,
            "grant_id": trip.scope.grant_id,
            "scope": trip.scope.kind,
            "subject": trip.scope.subject,
            "rule": trip.rule,
            "measured": trip.measured,
            "allowed": trip.allowed,
            "calls": tripping.calls,
            "tags": tripping.tags,
            "cool_down_seconds": seconds,
            "cool_down_max_seconds": self._most,
        }
        _log.warning("runaway_tripped", **{**body, "mode": trip.mode, "until": trip.until.isoformat()})
        if len(self._waiting) < _MAX_WAITING:
            task = asyncio.get_running_loop().create_task(self._record(trip, body, recorded))
            self._waiting.add(task)
            task.add_done_callback(self._waiting.discard)

    async def close(self) -> None:
        """Waits for what is being recorded, for a little while."""
        if self._waiting:
            await asyncio.wait(set(self._waiting), timeout=_TIMEOUT_SECONDS)

    async def _record(self, trip: Trip, body: dict[str, object], recorded: Callable[[Trip], None]) -> None:
        while self._clock.now() < trip.until:
            try:
                async with (
                    asyncio.timeout(_TIMEOUT_SECONDS),
                    await connect_async(self._url, "remit_gateway") as connection,
                ):
                    cursor = await connection.execute(
                        "SELECT trip_breaker(%s, %s::jsonb)", (self._clock.now(), msgspec.json.encode(body).decode())
                    )
                    row = await cursor.fetchone()
            except (psycopg.Error, OSError, TimeoutError) as error:
                _log.error("trip_not_recorded", trip=trip.id, error=str(error))
                await asyncio.sleep(_RETRY_SECONDS)
                continue
            if row is not None and (said := row[0]) is not None:
                scope = Scope(trip.scope.grant_id, said["scope"], said["subject"])
                until = datetime.fromisoformat(said["until"])
                recorded(
                    replace(
                        trip,
                        id=said["id"],
                        scope=scope,
                        mode=said["mode"],
                        until=until,
                        recorded_at=said["revision"],
                    )
                )
            return
