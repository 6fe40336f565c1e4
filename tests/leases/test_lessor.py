"""The lessor of central mode under concurrency and outages, on a real PostgreSQL."""

import asyncio
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest

from remit.kernel.clock import SystemClock
from remit.leases.model import Ending, HoldLine, WantedHold
from remit.leases.ports import AuthorityUnreachableError, StaleTreeError, TakenHold
from remit.ledger.service import check_books
from remit.store.connect import opener
from remit.store.postgres_care import PostgresCare
from remit.store.postgres_ledger import PostgresLedger
from remit.store.postgres_lessor import PostgresLessor
from tests.leases.trial import SETTLED, START, Trial, grant, usd
from tests.store.database import fresh_database, server_url

ROOT_LIMIT = 2_000


@pytest.fixture
def trial() -> Trial:
    """A tree of one grant; its clock stands still."""
    made = Trial(fresh_database())
    made.write(grant("root", limits=(usd(1_000),)))
    return made


def test_processes_share_buckets_without_deadlock_and_to_the_nano_dollar() -> None:
    """Three gateways, edits of the tree and a sweeper at once: no error but a stale tree, exact books, cap reached."""
    url = fresh_database()
    trial = Trial(url)
    now = SystemClock().now()
    trial.clock.instant = now
    root = trial.write(grant("root", limits=(usd(ROOT_LIMIT, "once"),), starts_at=START))
    teams = [trial.write(grant(name, root, limits=(usd(4_000, "once"), usd(4_000)))) for name in ("a", "b")]
    for team in teams:
        for name in ("x", "y"):
            trial.write(
                grant(f"{team.id[-1]}{name}", team, limits=(usd(3_000, "once"),), id=f"grant_{team.path[-1]}{name}")
            )
    command = [sys.executable, "-m", "tests.leases.hammer", url]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    folder = Path(__file__).parents[2]
    processes = [subprocess.Popen([*command, str(seed), "500", "40"], cwd=folder, **pipes) for seed in range(3)]
    care = PostgresCare(url, SystemClock())
    edits = 0
    while any(process.poll() is None for process in processes):
        team = teams[edits % 2]
        trial.write(replace(trial.grants[team.id], limits=(usd(4_000 + edits % 3, "once"), usd(4_000))))
        edits += 1
        care.expire_holds()
        time.sleep(0.1)
    taken = refused = 0
    for process in processes:
        out, error = process.communicate()
        assert process.returncode == 0, error[-3000:]
        counts = [int(number) for number in out.split()]
        taken, refused = taken + counts[0], refused + counts[1]
    assert taken and refused and edits > 3
    ledger = PostgresLedger(opener(url, "remit_reader"), SystemClock())
    assert not [difference for check in check_books(ledger) for difference in check.differences]
    assert ledger.counts()["open_holds"] == 0
    total = ledger.total_nanousd(None, None)
    assert ROOT_LIMIT // 2 < total <= ROOT_LIMIT
    trial.close()


def run(trial: Trial, story: Callable[[PostgresLessor], Awaitable[None]]) -> None:
    """Runs a story with a lessor of its own, then checks the books."""

    async def main() -> None:
        lessor = PostgresLessor(trial.url, trial.clock)
        async with asyncio.timeout(60):
            await story(lessor)
            await lessor.close()

    asyncio.run(main())
    assert not [difference for check in check_books(trial.ledger) for difference in check.differences]
    trial.close()


def kill_gateways(trial: Trial) -> int:
    """Cuts every connection of the lessor's on the server."""
    rows = trial.looking.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND application_name = 'remit-gateway' AND pid <> %s",
        (trial.gateway.info.backend_pid,),
    ).fetchall()
    return len(rows)


def states(trial: Trial) -> list[str]:
    return sorted(row[0] for row in trial.looking.execute("SELECT state FROM holds").fetchall())


def blocked_by_the_tree(trial: Trial) -> bool:
    """Whether a gateway waits for a lock right now."""
    return bool(
        trial.one(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
            " AND application_name = 'remit-gateway'"
        )
    )


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - it is the database that is watched
        await asyncio.sleep(0.01)


def ending(hold: WantedHold, outcome: str = "settled") -> Ending:
    return Ending(hold_id=hold.id, outcome=outcome, usd=1, tokens=0, entry=SETTLED)  # type: ignore[arg-type]


def test_a_cut_connection_leaves_nothing_held(trial: Trial) -> None:
    """Takes that were cut off in the middle raise, and afterwards none of their holds is open."""

    async def story(lessor: PostgresLessor) -> None:
        root = trial.grants["grant_root"]
        assert isinstance(await lessor.take(trial.hold(root, 1), trial.revision()), TakenHold)
        trial.authority.execute("BEGIN; SELECT lock_tree(true)")
        takes = [asyncio.ensure_future(lessor.take(trial.hold(root, 2), trial.revision())) for _ in range(5)]
        await until(lambda: blocked_by_the_tree(trial))
        kill_gateways(trial)
        trial.authority.execute("COMMIT")
        answers = await asyncio.gather(*takes, return_exceptions=True)
        assert any(isinstance(answer, AuthorityUnreachableError) for answer in answers)
        unreachable = [answer for answer in answers if not isinstance(answer, TakenHold)]
        assert all(isinstance(answer, AuthorityUnreachableError) for answer in unreachable)
        await until(lambda: states(trial).count("voided") == len(unreachable))
        assert states(trial).count("open") == 6 - len(unreachable)
        assert trial.one("SELECT held FROM buckets") == 1 + 2 * (5 - len(unreachable))

    run(trial, story)


def test_a_take_that_outlives_its_gateways_patience_is_undone(trial: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    """The statement still runs when the gateway gives up; whichever comes first, the hold does not stay."""
    monkeypatch.setattr("remit.store.postgres_lessor.TAKE_TIMEOUT_SECONDS", 0.3)

    async def story(lessor: PostgresLessor) -> None:
        hold = trial.hold(trial.grants["grant_root"], 7)
        # The bucket is locked by somebody else: the take waits in the middle of its work.
        trial.looking.execute("BEGIN")
        trial.looking.execute("SELECT FROM buckets FOR UPDATE")
        with pytest.raises(AuthorityUnreachableError):
            await lessor.take(hold, trial.revision())
        trial.looking.execute("COMMIT")
        await until(lambda: states(trial) == ["voided"])
        assert trial.one("SELECT sum(held) FROM buckets") == 0

    run(trial, story)


def test_endings_wait_through_an_outage(trial: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a call cost is written as soon as the database is back, once."""
    monkeypatch.setattr("remit.store.postgres_lessor.RETRY_SECONDS", 0.02)

    async def story(lessor: PostgresLessor) -> None:
        holds = [trial.hold(trial.grants["grant_root"], 5) for _ in range(8)]
        for hold in holds:
            await lessor.take(hold, trial.revision())
        name = trial.one("SELECT current_database()")
        elsewhere = psycopg.connect(server_url(), autocommit=True)
        elsewhere.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false".encode())
        try:
            kill_gateways(trial)
            endings = [asyncio.ensure_future(lessor.finish(ending(hold))) for hold in holds]
            with pytest.raises(AuthorityUnreachableError):
                await lessor.take(trial.hold(trial.grants["grant_root"], 5), trial.revision())
            await asyncio.sleep(0.2)
            assert not any(one.done() for one in endings)
        finally:
            elsewhere.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true".encode())
            elsewhere.close()
        assert {(await one).outcome for one in endings} == {"settled"}
        assert trial.one("SELECT sum(amount_nanousd) FROM entries") == 8

    run(trial, story)


def test_one_impossible_hold_does_not_fail_the_others(trial: Trial) -> None:
    """In a batch with a hold or an ending that the database cannot take, every other one is decided as usual."""

    async def story(lessor: PostgresLessor) -> None:
        root = trial.grants["grant_root"]
        good = [trial.hold(root, 5) for _ in range(3)]
        line = good[0].lines[0]
        twice = replace(trial.hold(root, 5), lines=(line, line))
        huge = replace(trial.hold(root, 5), ceiling_nanousd=2**70)
        holds = [good[0], twice, good[1], huge, good[2]]
        answers = await asyncio.gather(*(lessor.take(hold, trial.revision()) for hold in holds), return_exceptions=True)
        assert [isinstance(one, TakenHold) for one in answers] == [True, False, True, False, True]
        assert [isinstance(one, psycopg.Error) for one in answers] == [False, True, False, True, False]
        endings = [ending(good[0]), Ending(hold_id=good[1].id, outcome="settled", usd=2**70), ending(good[2])]
        ends = await asyncio.gather(*(lessor.finish(one) for one in endings))
        # What cannot be booked as it is stated is in doubt, at its ceiling.
        assert [one.outcome for one in ends] == ["settled", "suspense", "settled"]

    run(trial, story)


def test_an_outdated_tree_is_said_to_those_who_used_it(trial: Trial) -> None:
    """Holds decided on different revisions may share a batch; only the outdated ones raise."""

    async def story(lessor: PostgresLessor) -> None:
        root = trial.grants["grant_root"]
        current = trial.revision()
        answers = await asyncio.gather(
            *(lessor.take(trial.hold(root, 1), current - number % 2) for number in range(6)), return_exceptions=True
        )
        assert [isinstance(answer, StaleTreeError) for answer in answers] == [False, True] * 3
        stale = answers[1]
        assert isinstance(stale, StaleTreeError) and stale.current_revision == current

    run(trial, story)


def test_the_tightest_limit_is_told(trial: Trial) -> None:
    """Taking and ending answer the usd limit of the path with the least left."""

    async def story(lessor: PostgresLessor) -> None:
        root = trial.grants["grant_root"]
        hold = trial.hold(root, 300)
        taken = await lessor.take(hold, trial.revision())
        assert isinstance(taken, TakenHold) and taken.tightest is not None
        assert (taken.tightest.node_id, taken.tightest.limit, taken.tightest.remaining) == ("grant_root", 1_000, 700)
        ended = await lessor.finish(ending(hold))
        assert ended.tightest is not None and ended.tightest.remaining == 999
        bare: tuple[HoldLine, ...] = ()
        unlimited = await lessor.take(replace(trial.hold(root, 1), lines=bare), trial.revision())
        assert isinstance(unlimited, TakenHold) and unlimited.tightest is None

    run(trial, story)
