"""kill -9, SIGSTOP and a killed parent, under load: caps hold at the vendor, and the ledger finds back to its books."""

import asyncio
import os
import random
import signal
import time
from collections.abc import Iterator

import pytest

from tests.crash.load import HELLO, Callers, missing_from_the_ledger, settle_with_the_vendor
from tests.system.harness import System, gateway_answers, root

HOLD_SECONDS = 5.0
KILLS = 20
ENOUGH = 20  # calls of each kind that got through
DOUBTFUL = 5  # calls that a kill met
WAYS = ("answered", "streamed", "trailers")
CAPS_USD = {"narrow": 30, "wide": 400}  # the narrow one is reached


@pytest.fixture(scope="module")
def crashing() -> Iterator[System]:
    """A Remit with short holds, for the tests that kill it one after the other."""
    gateway = {"request_seconds": 3, "hold_seconds": HOLD_SECONDS, "drain_seconds": 3, "workers": 3}
    with System(gateway=gateway) as running:
        running.apply({name: root(f"{cap}.00") for name, cap in CAPS_USD.items()})
        yield running


async def until_it_answers(system: System) -> None:
    deadline = time.monotonic() + 60
    while not await asyncio.to_thread(gateway_answers, system.port):
        assert time.monotonic() < deadline, system.log.read_text()[-3000:]
        await asyncio.sleep(0.05)


def unsure(system: System) -> int:
    """How many calls ended without anybody knowing what they cost."""
    ((count,),) = system.sql("SELECT count(*) FROM entries WHERE kind = 'suspense'")
    return int(count)


def within_caps(system: System) -> None:
    """What the vendor charges for a grant is within its cap; holds say whose call it was."""
    rows = {row.idempotency_key: row.amount_nanousd for row in system.vendor.rows()}
    for name, cap in CAPS_USD.items():
        holds = system.sql("SELECT id FROM holds WHERE entry ->> 'grant_path' = %s", name)
        assert sum(rows.get(hold, 0) for (hold,) in holds) <= cap * 10**9


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_twenty_kills_lose_nothing_and_break_no_cap(crashing: System) -> None:
    """Gateways die in calls, plain and streamed; unknowns are ceilings until the vendor says more, what was told stands."""
    crashing.vendor.script(latency_ms=20, latency_max_ms=120, chunk_ms=30)
    callers = Callers(crashing, [crashing.key(name) for name in CAPS_USD])
    dice = random.Random(7)

    async def doubtful() -> int:
        return await asyncio.to_thread(unsure, crashing)

    async def main() -> None:
        load = asyncio.create_task(callers.run())
        killed = 0
        while killed < KILLS or any(callers.seen[way] < ENOUGH for way in WAYS) or await doubtful() < DOUBTFUL:
            await until_it_answers(crashing)
            await asyncio.sleep(dice.uniform(0.1, 0.4))
            pids = await asyncio.to_thread(crashing.gateway_pids)
            for pid in pids if dice.random() < 0.1 else pids[:1] if dice.random() < 0.5 else pids[-1:]:
                os.kill(pid, signal.SIGKILL)
                killed += 1
        await until_it_answers(crashing)
        callers.stop()
        await load

    asyncio.run(main())
    # Before any evidence: it is the gateway that had written what it told.
    assert len(callers.told) >= 2 * ENOUGH and missing_from_the_ledger(crashing, callers.told) == []
    settle_with_the_vendor(crashing, HOLD_SECONDS)
    within_caps(crashing)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_killed_remit_starts_again_where_it_was(crashing: System) -> None:
    """A `kill -9` of `remit up` takes its gateways down in order; the next one finds a working database and exact books."""
    crashing.vendor.script(latency_ms=50, latency_max_ms=150, chunk_ms=20)
    callers = Callers(crashing, [crashing.key(name, "second") for name in CAPS_USD], at_once=4)

    async def answered(more: int) -> None:
        wanted = sum(callers.seen[way] for way in WAYS) + more
        while sum(callers.seen[way] for way in WAYS) < wanted:  # noqa: ASYNC110 - a counter is watched
            await asyncio.sleep(0.05)

    async def main() -> None:
        load = asyncio.create_task(callers.run())
        await answered(10)
        gateways = await asyncio.to_thread(crashing.gateway_pids)
        process = crashing._process
        assert process is not None
        process.kill()
        process.wait()
        deadline = time.monotonic() + 60
        while any(_alive(pid) for pid in gateways):
            assert time.monotonic() < deadline, "gateways outlive their parent"
            await asyncio.sleep(0.05)
        await asyncio.to_thread(crashing.start)
        await answered(10)
        callers.stop()
        await load

    asyncio.run(main())
    assert callers.told and missing_from_the_ledger(crashing, callers.told) == []
    settle_with_the_vendor(crashing, HOLD_SECONDS)
    within_caps(crashing)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_gateway_frozen_past_its_holds_changes_nothing_twice() -> None:
    """SIGSTOP until its holds have expired, then SIGCONT: what it still has to say corrects, and is said once."""
    # Time enough for six calls to get to the vendor before the first of their holds is over.
    with System(gateway={"request_seconds": 8, "hold_seconds": 10}) as system:
        system.apply({"narrow": root("30.00"), "wide": root("400.00")})
        system.vendor.script(latency_ms=600_000)
        key = system.key("narrow")

        async def main() -> None:
            async with system.async_client(key, timeout=120.0) as client:
                calls = [
                    asyncio.ensure_future(
                        client.chat.completions.create(model="sim-dime", messages=HELLO, max_tokens=2)  # type: ignore[arg-type]
                    )
                    for _ in range(6)
                ]
                await asyncio.to_thread(system.vendor.wait_paused, 6)
                pids = system.gateway_pids()
                for pid in pids:
                    os.kill(pid, signal.SIGSTOP)
                try:
                    assert system.vendor.release() == 6
                    deadline = time.monotonic() + 60
                    while await asyncio.to_thread(system.open_holds):
                        assert time.monotonic() < deadline, "holds are open after their time"
                        await asyncio.sleep(0.1)
                    assert system.spent("narrow") == 6 * 200_000_000
                finally:
                    for pid in pids:
                        os.kill(pid, signal.SIGCONT)
                await asyncio.gather(*calls, return_exceptions=True)

        asyncio.run(main())
        settle_with_the_vendor(system, 10)
        within_caps(system)
        kinds = dict(system.sql("SELECT kind, count(*) FROM entries GROUP BY kind"))
        assert kinds == {"suspense": 6, "correction": 6}


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
