"""Callers that go on whatever happens to the gateway, and what must be true afterwards."""

import asyncio
import contextlib
import random
import time
from collections import Counter
from typing import Any

import openai

from remit.kernel.clock import SystemClock
from tests.system.harness import System

HELLO = [{"role": "user", "content": "hello"}]


class Callers:
    """Makes calls, streamed and not, until told to stop. A call that fails is counted and not repeated."""

    def __init__(self, system: System, keys: list[str], *, at_once: int = 8, seed: int = 1) -> None:
        self._system = system
        self._keys = keys
        self._at_once = at_once
        self._dice = random.Random(seed)
        self._stopping = False
        self.seen: Counter[str] = Counter()

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
                await self._call(self._dice.choice(clients))
            except openai.APIStatusError as error:
                self.seen[f"status {error.status_code}"] += 1
                await asyncio.sleep(0.02)
            except (openai.APIError, OSError, RuntimeError) as error:
                self.seen[type(error).__name__] += 1
                await asyncio.sleep(0.05)

    async def _call(self, client: openai.AsyncOpenAI) -> None:
        more: dict[str, Any] = {"model": "sim-dime", "messages": HELLO, "max_tokens": self._dice.choice((1, 2, 3))}
        if self._dice.random() < 0.5:
            await client.chat.completions.create(**more)
            self.seen["answered"] += 1
            return
        async for _ in await client.chat.completions.create(stream=True, **more):
            pass
        self.seen["streamed"] += 1


def settle_with_the_vendor(system: System, hold_seconds: float) -> dict[str, Any]:
    """Waits out every hold, checks what is in doubt, and applies the vendor's books as evidence.

    Afterwards the ledger must be the vendor's books to the nano-dollar, call by call. Answers some counts.
    """
    system.vendor.wait_idle(30)
    deadline = time.monotonic() + hold_seconds + 10
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
