"""Callers that go on whatever happens to the gateway, and what must be true afterwards."""

import asyncio
import contextlib
import random
import time
from collections import Counter
from typing import Any

import openai

from remit.kernel.clock import SystemClock
from tests.conformance.support import open_stream, read_raw
from tests.system.harness import System

HELLO = [{"role": "user", "content": "hello"}]


class Callers:
    """Makes calls, streamed and not, until told to stop. A call that fails is counted and not repeated.

    `told` has what each answer that arrived whole said of itself: its request id and its cost in nano-USD.
    """

    def __init__(self, system: System, keys: list[str], *, at_once: int = 8, seed: int = 1) -> None:
        self._system = system
        self._keys = keys
        self._at_once = at_once
        self._dice = random.Random(seed)
        self._stopping = False
        self.seen: Counter[str] = Counter()
        self.told: dict[str, int] = {}

    async def run(self) -> None:
        async with contextlib.AsyncExitStack() as stack:
            clients = [
                await stack.enter_async_context(self._system.async_client(key, timeout=20.0)) for key in self._keys
            ]
            await asyncio.gather(*(self._calls(clients) for _ in range(self._at_once)))

    def stop(self) -> None:
        self._stopping = True

    async def _calls(self, clients: list[openai.AsyncOpenAI]) -> None:
        while not self._stopping:
            try:
                number = self._dice.randrange(len(clients))
                await self._call(clients[number], self._keys[number])
            except openai.APIStatusError as error:
                self.seen[f"status {error.status_code}"] += 1
                await asyncio.sleep(0.02)
            except (openai.APIError, OSError, RuntimeError, CutOffError) as error:
                self.seen[type(error).__name__] += 1
                await asyncio.sleep(0.05)

    async def _call(self, client: openai.AsyncOpenAI, key: str) -> None:
        more: dict[str, Any] = {"model": "sim-dime", "messages": HELLO, "max_tokens": self._dice.choice((1, 2, 3))}
        way = self._dice.choice(("answered", "streamed", "trailers"))
        if way == "answered":
            answer = await client.chat.completions.with_raw_response.create(**more)
            self.told[answer.headers["x-request-id"]] = int(answer.headers["remit-cost-nanousd"])
        elif way == "streamed":
            async for _ in await client.chat.completions.create(stream=True, **more):
                pass
        else:  # the SDK does not show trailers
            request_id, cost = await asyncio.to_thread(stream_with_trailers, self._system, key, more)
            self.told[request_id] = cost
        self.seen[way] += 1


class CutOffError(Exception):
    """An answer that did not arrive whole, or was none."""


def stream_with_trailers(system: System, key: str, body: dict[str, Any]) -> tuple[str, int]:
    """The request id and the cost a stream told at its end; raises OSError or CutOffError."""
    try:
        answer = read_raw(open_stream(system, key, body))
    except (IndexError, ValueError):
        raise CutOffError from None
    if answer.status != 200 or "remit-cost-nanousd" not in answer.trailers:
        raise CutOffError
    return answer.headers["x-request-id"], int(answer.trailers["remit-cost-nanousd"])


def missing_from_the_ledger(system: System, told: dict[str, int]) -> list[str]:
    """Requests whose callers were told a cost that the ledger does not have as settled for exactly that call."""
    rows = system.sql("SELECT request_id, kind, amount_nanousd FROM entries WHERE request_id = ANY (%s)", list(told))
    settled: dict[str, list[tuple[str, int]]] = {}
    for request_id, kind, amount in rows:
        settled.setdefault(request_id, []).append((kind, int(amount)))
    return [request_id for request_id, cost in told.items() if settled.get(request_id) != [("usage", cost)]]


def settle_with_the_vendor(system: System, hold_seconds: float) -> dict[str, Any]:
    """Waits out every hold, checks what is in doubt, and applies the vendor's books as evidence.

    Afterwards the ledger must be the vendor's books to the nano-dollar, call by call. Answers some counts.
    """
    system.vendor.wait_idle()
    deadline = time.monotonic() + hold_seconds + 60
    while system.open_holds():
        assert time.monotonic() < deadline, "holds are open after their time"
        time.sleep(0.1)
    system.assert_books_agree()
    ((unlike_ceiling,),) = system.sql(
        "SELECT count(*) FROM entries AS e JOIN holds AS h ON h.id = e.hold_id"
        " WHERE e.kind = 'suspense' AND (e.amount_nanousd <> h.ceiling_nanousd OR e.usage_source <> 'estimated')"
    )
    assert unlike_ceiling == 0
    rows = vendor_rows(system)
    doubtful = system.sql(
        "SELECT hold_id FROM entries AS e WHERE kind = 'suspense'"
        " AND NOT EXISTS (SELECT FROM entries AS c WHERE c.corrects = e.id)"
    )
    evidence = [
        {"hold_id": hold, "usd": rows.get(hold, (0, 0))[0], "tokens": rows.get(hold, (0, 0))[1],
         "entry": {"usage_source": "recovered"}}
        for (hold,) in doubtful
    ]  # fmt: skip
    assert set(system.authority.care.apply_evidence(evidence)) <= {"corrected"}
    booked = {
        hold: int(amount)
        for hold, amount in system.sql(
            "SELECT hold_id, sum(amount_nanousd) FROM entries WHERE is_spend(kind) GROUP BY 1"
        )
    }
    assert {hold: amount for hold, amount in booked.items() if amount} == {
        hold: amount for hold, (amount, _) in rows.items() if amount
    }
    assert sum(booked.values()) == system.vendor.books().total_nanousd
    system.assert_books_agree()
    return {"calls": len(rows), "doubtful": len(doubtful), "now": SystemClock().now()}


def vendor_rows(system: System) -> dict[str, tuple[int, int]]:
    """What the vendor billed by hold: nano-USD and tokens. One hold is one call, so none may be there twice."""
    rows: dict[str, tuple[int, int]] = {}
    for row in system.vendor.rows():
        hold = row.idempotency_key
        assert hold is not None and hold not in rows, f"{hold} was billed twice"
        rows[hold] = (row.amount_nanousd, row.prompt_tokens + row.completion_tokens)
    return rows
