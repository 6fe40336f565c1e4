"""The `Lessor` of central mode: holds are taken and ended by SQL calls, several requests to a call.

While one call is under way, requests gather; the next call takes them all. At low load each request has a call of its
own, under load the cost of a transaction (and of its flush to disk) is shared.
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Generic, TypeVar

import msgspec
import psycopg
import structlog

from remit.kernel.clock import Clock
from remit.leases.model import Ending, LineFailure, WantedHold
from remit.leases.ports import (
    AuthorityUnreachableError,
    FinishedHold,
    FullParent,
    HoldRefused,
    ProofReplayed,
    StaleTreeError,
    TakenHold,
    Tightest,
)
from remit.store.connect import connect_async
from remit.store.lines import line_json

_log = structlog.get_logger(__name__)

MAX_BATCH = 64
MAX_WAITING_TAKES = 20_000
TAKE_TIMEOUT_SECONDS = 10.0
FINISH_TIMEOUT_SECONDS = 45.0
RETRY_SECONDS = 0.25
RETRY_SECONDS_MAX = 5.0

T = TypeVar("T")
R = TypeVar("R")
_encode = msgspec.json.Encoder().encode
# A server that became read-only is a standby after a failover: the authority is elsewhere, not at fault.
_UNREACHABLE = (
    psycopg.OperationalError,
    psycopg.InterfaceError,
    psycopg.errors.ReadOnlySqlTransaction,
    TimeoutError,
    OSError,
)
_UNBOOKABLE = {"note": "cost unknown: what the vendor stated could not be booked"}


class _Batcher(Generic[T, R]):
    """Runs one call at a time over whatever has gathered; each item gets its own result or the call's exception."""

    def __init__(
        self, call: Callable[[list[T]], Awaitable[Sequence[R | Exception]]], *, fails_together: bool = False
    ) -> None:
        self._call = call
        self._fails_together = fails_together
        self.waiting: list[tuple[T, asyncio.Future[R]]] = []
        self._runner: asyncio.Task[None] | None = None

    def submit(self, item: T) -> asyncio.Future[R]:
        future: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self.waiting.append((item, future))
        if self._runner is None:
            self._runner = asyncio.create_task(self._run())
        return future

    async def _run(self) -> None:
        try:
            while self.waiting:
                batch, self.waiting = self.waiting[:MAX_BATCH], self.waiting[MAX_BATCH:]
                results: Sequence[R | Exception]
                try:
                    results = await self._call([item for item, _ in batch])
                except Exception as error:  # noqa: BLE001 - handed to every waiter, none is lost
                    results = [error] * len(batch)
                if self._fails_together and all(isinstance(result, AuthorityUnreachableError) for result in results):
                    # Whoever waits behind a call that nobody answered would wait as long again, and was not sent.
                    batch, self.waiting = batch + self.waiting, []
                    results = [*results, *[results[0]] * (len(batch) - len(results))]
                for (_, future), result in zip(batch, results, strict=True):
                    if future.done():
                        continue
                    if isinstance(result, Exception):
                        future.set_exception(result)
                    else:
                        future.set_result(result)
        finally:
            self._runner = None


class PostgresLessor:
    """Implements `remit.leases.ports.Lessor` over `remit.take_holds` and `remit.finish_holds`.

    `url` is a PostgreSQL connection URL; the connections step down to the gateway's role.
    """

    def __init__(self, url: str, clock: Clock) -> None:
        self._url = url
        self._clock = clock
        self._takes: _Batcher[tuple[WantedHold, int], TakenHold | HoldRefused] = _Batcher(
            self._take_batch, fails_together=True
        )
        self._endings: _Batcher[Ending, FinishedHold] = _Batcher(self._finish_batch)
        self._abandoned: _Batcher[WantedHold, None] = _Batcher(self._abandon_batch)
        self._take_link = _Link(url)
        self._finish_link = _Link(url)
        self._abandon_link = _Link(url)
        self._afterwards: set[asyncio.Task[None]] = set()

    async def take(self, hold: WantedHold, tree_revision: int) -> TakenHold | HoldRefused:
        """See the port. One request waits behind at most MAX_WAITING_TAKES others."""
        if len(self._takes.waiting) >= MAX_WAITING_TAKES:
            raise AuthorityUnreachableError("too many requests wait for the authority")
        return await self._takes.submit((hold, tree_revision))

    async def finish(self, ending: Ending) -> FinishedHold:
        """See the port. Waits through outages: what a call cost is not forgotten because the database was away."""
        return await self._endings.submit(ending)

    async def close(self) -> None:
        """Ends the connections; call when no hold is being taken or ended."""
        for task in list(self._afterwards):
            await task
        await self._take_link.close()
        await self._finish_link.close()
        await self._abandon_link.close()

    async def _take_batch(self, batch: list[tuple[WantedHold, int]]) -> Sequence[TakenHold | HoldRefused | Exception]:
        by_revision: dict[int, list[int]] = defaultdict(list)
        for index, (_, revision) in enumerate(batch):
            by_revision[revision].append(index)
        results: dict[int, TakenHold | HoldRefused | Exception] = {}
        for revision, indexes in by_revision.items():
            holds = [batch[index][0] for index in indexes]
            results |= zip(indexes, await self._take_at(revision, holds), strict=True)
        return [results[index] for index in range(len(batch))]

    async def _take_at(self, revision: int, holds: list[WantedHold]) -> Sequence[TakenHold | HoldRefused | Exception]:
        try:
            async with asyncio.timeout(TAKE_TIMEOUT_SECONDS):
                connection = await self._take_link.get()
                answer = await _call(
                    connection,
                    "SELECT take_holds(%s, %s, %s::jsonb)",
                    (revision, self._clock.now(), _encode([_hold_json(hold) for hold in holds]).decode()),
                )
        except _UNREACHABLE as error:
            await self._take_link.close()
            _log.warning("holds_not_taken", count=len(holds), error=str(error))
            # The call may have taken effect all the same, or may still do. Nothing was sent for these holds.
            for hold in holds:
                self._afterwards.add(task := asyncio.create_task(self._abandon(hold)))
                task.add_done_callback(self._afterwards.discard)
            return [AuthorityUnreachableError("the authority did not answer")] * len(holds)
        except psycopg.Error as error:
            if len(holds) == 1:
                return [error]
            # One of them cannot be taken by any means; it must not take the others down with it.
            return [one for hold in holds for one in await self._take_at(revision, [hold])]
        if "stale" in answer:
            return [StaleTreeError(answer["stale"])] * len(holds)
        return [_take_result(result) for result in answer["results"]]

    async def _abandon(self, hold: WantedHold) -> None:
        await self._abandoned.submit(hold)

    async def _abandon_batch(self, batch: list[WantedHold]) -> Sequence[Exception | None]:
        done: list[Exception | None] = []
        for hold in batch:
            try:
                await self._until_reached(
                    self._abandon_link,
                    "SELECT abandon_hold(%s, %s::jsonb)",
                    lambda hold=hold: (self._clock.now(), _encode(_hold_json(hold)).decode()),  # type: ignore[misc]
                )
            except psycopg.Error as error:
                # It could not be taken either; if it was, its time will be up.
                _log.error("hold_not_abandoned", hold_id=hold.id, error=str(error))
            done.append(None)
        return done

    async def _finish_batch(self, batch: list[Ending]) -> Sequence[FinishedHold | Exception]:
        endings = _encode(
            [{"id": e.hold_id, "outcome": e.outcome, "usd": e.usd, "tokens": e.tokens, "entry": e.entry} for e in batch]
        ).decode()
        try:
            answers = await self._until_reached(
                self._finish_link, "SELECT finish_holds(%s, %s::jsonb)", lambda: (self._clock.now(), endings)
            )
        except psycopg.Error as error:
            if len(batch) == 1:
                _log.error("ending_not_booked", hold_id=batch[0].hold_id, error=str(error))
                if batch[0].entry is _UNBOOKABLE:
                    return [error]
                # What cannot be booked as it was stated is booked at its ceiling.
                return await self._finish_batch([replace(batch[0], outcome="suspense", entry=_UNBOOKABLE)])
            # One of them cannot be booked by any means; it must not take the others down with it.
            return [one for ending in batch for one in await self._finish_batch([ending])]
        return [FinishedHold(a["outcome"], _tightest(a["tightest"])) for a in answers]

    async def _until_reached(self, link: "_Link", query: str, parameters: Callable[[], tuple[Any, ...]]) -> Any:
        """The answer of a call that changes nothing when it is made again: made until it is known to have happened."""
        wait_seconds = RETRY_SECONDS
        while True:
            try:
                async with asyncio.timeout(FINISH_TIMEOUT_SECONDS):
                    return await _call(await link.get(), query, parameters())
            except _UNREACHABLE as error:
                await link.close()
                _log.warning("authority_not_reached_yet", error=str(error))
                await asyncio.sleep(wait_seconds)
                wait_seconds = min(wait_seconds * 2, RETRY_SECONDS_MAX)


class _Link:
    """One connection, opened when needed and dropped when it failed."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._connection: psycopg.AsyncConnection | None = None

    async def get(self) -> psycopg.AsyncConnection:
        if self._connection is None or self._connection.closed:
            self._connection = await connect_async(self._url, "remit_gateway")
        return self._connection

    async def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()


async def _call(connection: psycopg.AsyncConnection, query: str, parameters: tuple[Any, ...]) -> Any:
    cursor = await connection.execute(query.encode(), parameters, prepare=True)
    row = await cursor.fetchone()
    assert row is not None
    return row[0]


def _hold_json(hold: WantedHold) -> dict[str, Any]:
    body: dict[str, Any] = {
        "id": hold.id,
        "operation_id": hold.operation_id,
        "request_id": hold.request_id,
        "grant_id": hold.grant_id,
        "taken_at": hold.taken_at,
        "expires_at": hold.expires_at,
        "ceiling_nanousd": hold.ceiling_nanousd,
        "ceiling_tokens": hold.ceiling_tokens,
        "lines": [line_json(line) for line in hold.lines],
        "entry": hold.entry,
    }
    if hold.chain is not None:
        body["chain"] = hold.chain
    if hold.proof is not None:
        body["proof"] = {"id": hold.proof.id.hex(), "expires_at": hold.proof.expires_at}
    return body


def _take_result(result: dict[str, Any]) -> TakenHold | HoldRefused:
    if result["taken"]:
        return TakenHold(_tightest(result["tightest"]))
    if "replayed" in result:
        return ProofReplayed()
    if full := result.get("full"):
        next_at = datetime.fromisoformat(full["next_at"])
        return FullParent(full["block"], full["max_children"], full["living"], next_at)
    return tuple(
        LineFailure(
            node_id=failure["node"],
            dimension=failure["dimension"],
            kind=failure["kind"],
            starts=datetime.fromisoformat(failure["starts"]),
            ends=datetime.fromisoformat(failure["ends"]),
            limit=failure["limit"],
            overdraft_limit=failure["overdraft_limit"],
            posted=failure["posted"],
            held=failure["held"],
            required=failure["required"],
            paced=failure["paced"],
        )
        for failure in result["failures"]
    )


def _tightest(value: dict[str, Any] | None) -> Tightest | None:
    return None if value is None else Tightest(value["node"], value["limit"], value["remaining"])
