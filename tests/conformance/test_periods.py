"""Calendar periods where the grant lives: reset at local midnight, once, across daylight saving; calls in flight."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta

import openai
import pytest

from remit.ledger.months import Closed
from tests.conformance.support import DIME, HELLO, Tap, ask, dime, user
from tests.conformance.test_close import Desk, books_of
from tests.system.harness import SIM_PRICES, System, root

# How long before midnight a night begins, by the gateway's clock; a machine too slow for one begins again with the next.
LEADS_SECONDS = (12, 25, 50)
REFUSED = b"HTTP/1.1 429 "
GRANTS = ("month", "day", "late")
_making = threading.Lock()  # one process sets up one database at a time
SETTINGS = SIM_PRICES + '\n[reconcile]\nunassigned = "month"\n'
NEW_YORK = {"time_zone": "America/New_York", "starts": "2026-01-01"}


def per(period: str, usd: str) -> dict[str, object]:
    """A grant in New York with one limit."""
    return root(limits=[{"usd": usd, "per": period}], **NEW_YORK)


def instant(text: str) -> datetime:
    """An instant from JSON."""
    return datetime.fromisoformat(text)


# Local midnight, when the new month ends, and when its first day does.
MONTH_ENDS = [
    # The clocks go back in the night after: October ended at UTC-4, November ends at UTC-5, the 1st has 25 hours.
    ("2026-11-01T04:00:00Z", "2026-12-01T05:00:00Z", "2026-11-02T05:00:00Z"),
    # March begins at UTC-5 and ends at UTC-4.
    ("2027-03-01T05:00:00Z", "2027-04-01T04:00:00Z", "2027-03-02T05:00:00Z"),
]


@pytest.mark.timeout(300)
def test_month_end_in_new_york_through_close() -> None:
    """A spent month is refilled at local midnight, exactly once; a call in flight belongs to where its hold was taken.

    The vendor's month that both are in closes at what the vendor billed.
    """
    with ThreadPoolExecutor() as pool:
        for night in [pool.submit(live_through, *night) for night in MONTH_ENDS]:
            night.result()


def live_through(midnight: str, next_month: str, next_day: str) -> None:
    """A Remit some seconds before midnight, and after."""
    for lead_seconds in LEADS_SECONDS:
        date = instant(midnight) - timedelta(seconds=lead_seconds)
        with _making:
            system = System(settings=SETTINGS, environment={"REMIT_CLOCK_AT": date.isoformat()})
            # Before it starts, because from then on its midnight comes nearer.
            system.apply({"month": per("month", "0.30"), "day": per("day", "0.10"), "late": per("month", "0.10")})
            month, day, late = (system.key(path) for path in GRANTS)
        with system, ThreadPoolExecutor() as pool:
            running = pool.submit(ask, system, late, dime(messages=user("sim: latency_ms=600000")))
            try:
                in_time = before_midnight(system, midnight, lead_seconds, (month, day, late))
                if in_time:
                    after_midnight(system, next_month, next_day, (month, day, late))
                    assert not running.done()
            finally:
                system.vendor.wait_paused()
                assert system.vendor.release() == 1
            assert running.result().status == 200
            if in_time:
                check_books_around(system, instant(midnight))
                close_around(system, instant(midnight))
                return
    raise AssertionError(f"not even {LEADS_SECONDS[-1]} s before midnight were enough")


def before_midnight(system: System, midnight: str, lead_seconds: int, keys: tuple[str, str, str]) -> bool:
    """Spends what the old month has, and waits with the official SDK for the new one; False where that came too soon."""
    month, day, late = keys
    system.vendor.wait_paused()
    *served, held, refused = [ask(system, key, dime()) for key in (month, month, month, day, late, month)]
    if refused.code == "served" or refused.remit["resets_at"] != midnight:
        return False
    with (
        Tap(f"http://127.0.0.1:{system.port}") as tap,
        openai.OpenAI(base_url=f"{tap.url}/v1", api_key=month, max_retries=1) as client,
    ):
        client.chat.completions.create(model="sim-dime", messages=HELLO, max_tokens=1)
        if REFUSED not in tap.received:  # by the time it asked there was money again
            return False
        # The official SDK waits as long as it is told to, asks once more, and is served.
        assert tap.sent.count(b"POST /v1/chat/completions") == 2
    assert [answer.code for answer in served] == ["served"] * 4
    assert held.remit["held"] == DIME
    assert (refused.status, refused.code) == (429, "grant_exhausted")
    assert 0 < int(refused.headers["retry-after"]) <= lead_seconds + 1
    assert "x-should-retry" not in refused.headers
    return True


def after_midnight(system: System, next_month: str, next_day: str, keys: tuple[str, str, str]) -> None:
    """The new month has its own money once, and so has its first day; the SDK has spent a dime of it."""
    month, day, late = keys
    assert [ask(system, month, dime()).code for _ in range(4)] == ["served"] * 2 + ["grant_exhausted"] * 2
    after = ask(system, month, dime())
    assert (after.remit["resets_at"], after.headers["x-should-retry"]) == (next_month, "false")
    assert [ask(system, day, dime()).code for _ in range(2)] == ["served", "grant_exhausted"]
    assert ask(system, day, dime()).remit["resets_at"] == next_day
    # The call that began last month still runs; it does not weigh on this one.
    assert ask(system, late, dime()).status == 200


def check_books_around(system: System, midnight: datetime) -> None:
    """Both months' entries and buckets, the late call in the month of its hold, and the vendor's total."""
    held_at = [instant(entry["held_at"]) for entry in system.entries("month")]
    assert [at < midnight for at in held_at] == [True] * 3 + [False] * 3
    late = {entry["hold_id"]: instant(entry["held_at"]) for entry in system.entries("late")}
    assert sorted(at < midnight for at in late.values()) == [False, True]
    last = system.entries("late")[-1]
    assert instant(last["held_at"]) < midnight < instant(last["recorded_at"])
    for path, spent in (("month", 3 * DIME), ("late", DIME)):
        buckets = system.sql(
            "SELECT period_end, posted, held FROM buckets AS b JOIN grants AS g ON g.id = b.node_id"
            " WHERE g.path = %s AND posted > 0 ORDER BY period_start",
            path,
        )
        assert [(posted, held) for _, posted, held in buckets] == [(spent, 0), (spent, 0)]
        assert buckets[0][0] == midnight
    assert system.vendor.wait_idle().total_nanousd == 10 * DIME
    system.assert_books_agree()


def close_around(system: System, midnight: datetime) -> None:
    """Bills follow UTC: the calls of both local months are on one, and that month closes at it with none lost or booked twice."""
    desk = Desk(system, midnight.date().replace(day=1))
    # The vendor lives in the present; its statement is of that night.
    desk.bring(replace(row, at=midnight) for row in books_of(system))
    found = desk.match(10 * DIME)
    assert (found.ledger_nanousd, found.found_nanousd, found.entries) == (10 * DIME, 0, 0)
    closed = desk.close()
    assert isinstance(closed, Closed) and closed.totals["vendors"] == {"openai": 10 * DIME}, closed
    assert {entry["billing_month"] for path in GRANTS for entry in system.entries(path)} == {desk.month.isoformat()}
    system.assert_books_agree()
