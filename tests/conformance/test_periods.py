"""Calendar periods where the grant lives: reset at local midnight, once, across daylight saving; calls in flight."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

import openai

from tests.conformance.support import DIME, HELLO, Answer, Tap, ask, dime, user
from tests.system.harness import System, root

LEAD_SECONDS = 12
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


def test_month_end_in_new_york() -> None:
    """A spent month is refilled at local midnight, exactly once; a call in flight belongs to where its hold was taken."""
    grants = {"month": per("month", "0.30"), "day": per("day", "0.10"), "late": per("month", "0.10")}
    systems = []
    for midnight, _, _ in MONTH_ENDS:
        date = instant(midnight) - timedelta(seconds=LEAD_SECONDS)
        systems.append(System(environment={"REMIT_CLOCK_AT": date.isoformat()}))
        systems[-1].apply(grants)  # before it starts, because from then on its midnight comes nearer
    keys = [[system.key(path) for path in grants] for system in systems]
    with ThreadPoolExecutor() as pool:
        nights = [pool.submit(live_through, *night) for night in zip(systems, keys, MONTH_ENDS, strict=True)]
        for night in nights:
            night.result()


def live_through(system: System, keys: list[str], night: tuple[str, str, str]) -> None:
    """A Remit some seconds before midnight, and after."""
    midnight, next_month, next_day = night
    month, day, late = keys
    with system:
        in_flight: list[Answer] = []
        slow = dime(messages=user("sim: latency_ms=600000"))
        running = threading.Thread(target=lambda: in_flight.append(ask(system, late, slow)))
        running.start()
        assert [ask(system, month, dime()).code for _ in range(3)] == ["served"] * 3
        assert ask(system, day, dime()).status == 200
        before = ask(system, month, dime())
        assert (before.status, before.code, before.remit["resets_at"]) == (429, "grant_exhausted", midnight)
        assert 0 < int(before.headers["retry-after"]) <= LEAD_SECONDS + 1
        assert "x-should-retry" not in before.headers
        assert ask(system, late, dime()).remit["held"] == DIME
        # The official SDK waits as long as it is told to, asks once more, and is served.
        with (
            Tap(f"http://127.0.0.1:{system.port}") as tap,
            openai.OpenAI(base_url=f"{tap.url}/v1", api_key=month, max_retries=1) as client,
        ):
            client.chat.completions.create(model="sim-dime", messages=HELLO, max_tokens=1)
            assert tap.sent.count(b"POST /v1/chat/completions") == 2
        assert [ask(system, month, dime()).code for _ in range(4)] == ["served"] * 2 + ["grant_exhausted"] * 2
        after = ask(system, month, dime())
        assert (after.remit["resets_at"], after.headers["x-should-retry"]) == (next_month, "false")
        assert [ask(system, day, dime()).code for _ in range(2)] == ["served", "grant_exhausted"]
        assert ask(system, day, dime()).remit["resets_at"] == next_day
        # The call that began last month still runs; it does not weigh on this one.
        assert (running.is_alive(), ask(system, late, dime()).status) == (True, 200)
        assert system.vendor.release() == 1
        running.join()
        assert in_flight[0].status == 200
        check_books_around(system, instant(midnight))


def check_books_around(system: System, midnight: datetime) -> None:
    """Both months' entries and buckets, the late call in the month of its hold, and the vendor's total."""
    held_at = [instant(entry["held_at"]) for entry in system.entries("month")]
    assert [at < midnight for at in held_at] == [True] * 3 + [False] * 3
    assert held_at[3] - midnight < timedelta(seconds=LEAD_SECONDS)
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
