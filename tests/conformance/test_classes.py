"""At the cap: 402 against 429 and what the official SDK makes of it, pacing, escrowed overdraft, pages."""

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import openai
import pytest

from tests.conformance.support import DIME, DOLLAR, HELLO, Tap, ask, ask_many, codes, dime, user
from tests.system.harness import System, root

REFUSED = b"HTTP/1.1 429 "
STARTED = {"starts": "2026-01-01"}
Pages = list[dict[str, Any]]


def limited(*limits: tuple[str, str], **more: Any) -> dict[str, Any]:
    """A grant with limits in dollars per period."""
    return root(limits=[{"usd": usd, "per": period} for usd, period in limits], **STARTED, **more)


@pytest.mark.parametrize("grant_class", ["experimentation", "production"])
@pytest.mark.parametrize(
    ("limits", "status", "resets_at"),
    [
        ([("0.10", "month")], 429, "2026-12-01T00:00:00Z"),
        ([("0.10", "week")], 429, "2026-11-23T00:00:00Z"),
        ([("0.10", "day")], 429, "2026-11-18T00:00:00Z"),
        ([("0.10", "quarter")], 429, "2027-01-01T00:00:00Z"),
        ([("0.10", "once")], 402, None),
        ([("0.10", "day"), ("0.10", "once")], 402, None),
        ([("0.10", "day"), ("0.10", "month")], 429, "2026-12-01T00:00:00Z"),
    ],
)
def test_cap_reached_is_429_where_it_refills_and_402_where_it_does_not(
    noon: System, grant_class: str, limits: Any, status: int, resets_at: str | None
) -> None:
    """A cap that refills by itself answers 429 with the wait, one that only a person can lift answers 402."""
    name = f"cap-{grant_class[:4]}-{'-'.join(period for _, period in limits)}"
    noon.apply({name: limited(*limits, **{"class": grant_class})})
    key = noon.key(name)
    assert ask(noon, key, dime()).status == 200
    answer = ask(noon, key, dime())
    assert (answer.status, answer.code, answer.remit["resets_at"]) == (status, "grant_exhausted", resets_at)
    assert answer.remit["transient"] == (status == 429)
    # Hours away: an automatic retry makes no sense in either case.
    assert answer.headers["x-should-retry"] == "false"
    assert ("retry-after" in answer.headers) == (status == 429)
    assert answer.headers["remit-remaining-nanousd"] == "0"


def test_cap_that_is_too_small_for_the_call_is_402(noon: System) -> None:
    """A call that would not fit an empty month either is 402: waiting does not help."""
    noon.apply({"small": limited(("0.10", "month"))})
    answer = ask(noon, noon.key("small"), dime(2))
    assert (answer.status, answer.remit["required"], answer.remit["transient"]) == (402, 2 * DIME, False)
    assert "retry-after" not in answer.headers


@pytest.mark.parametrize(
    ("grant", "error"),
    [
        (limited(("0.10", "once")), openai.APIStatusError),
        (limited(("0.10", "month")), openai.RateLimitError),
        (limited(("5.00", "month"), shape={"models": ["gpt-4o"]}), openai.PermissionDeniedError),
        (limited(("5.00", "month"), required_tags=["feature"]), openai.BadRequestError),
    ],
)
def test_refusals_make_no_retry_storm(noon: System, grant: dict[str, Any], error: type[openai.APIStatusError]) -> None:
    """The official SDK with its own number of retries sends a call that is refused for long exactly once."""
    name = f"storm-{error.__name__.lower()}"
    noon.apply({name: grant})
    key = noon.key(name)
    ask(noon, key, dime())
    noon.vendor.reset()
    with Tap(f"http://127.0.0.1:{noon.port}") as tap, openai.OpenAI(base_url=f"{tap.url}/v1", api_key=key) as client:
        assert client.max_retries == 2
        with pytest.raises(error) as caught:
            client.chat.completions.create(model="sim-dime", messages=HELLO, max_tokens=1)
        assert type(caught.value) is error
        assert isinstance(caught.value.body, dict) and caught.value.body["remit"]["owner"] == "ada@acme.example"
        assert tap.sent.count(b"POST /v1/chat/completions") == 1
    assert noon.vendor.books().requests == 0


def test_a_busy_grant_is_retried_after_the_time_it_says(noon: System) -> None:
    """A concurrency of one: the second call is told to come back in a second, does until there is room, is served."""
    noon.apply({"busy": limited(("5.00", "month"), rate={"concurrency": 1})})
    key = noon.key("busy")
    ask_for = {"model": "sim-dime", "messages": HELLO, "max_tokens": 1}
    with (
        ThreadPoolExecutor() as pool,
        Tap(f"http://127.0.0.1:{noon.port}") as tap,
        openai.OpenAI(base_url=f"{tap.url}/v1", api_key=key, max_retries=20) as client,
    ):
        slow = pool.submit(ask, noon, key, dime(messages=user("sim: latency_ms=600000")))
        noon.vendor.wait_paused()
        refused = ask(noon, key, dime())
        assert (refused.status, refused.code, refused.headers["retry-after"]) == (429, "rate_limited", "1")
        assert "x-should-retry" not in refused.headers
        second = pool.submit(client.chat.completions.create, **ask_for)
        while REFUSED not in tap.received:
            time.sleep(0.01)
        assert noon.vendor.release() == 1
        assert slow.result().status == 200
        second.result()
        assert tap.sent.count(b"POST /v1/chat/completions") == tap.received.count(REFUSED) + 1
    noon.reconcile_with_vendor("busy")


def test_pacing_spreads_what_is_left(noon: System) -> None:
    """Half the day's money is free at any time; the rest comes evenly, 429 says when, and then it is there."""
    # 50 % of $8,640 is free and half of the rest is so by noon; from then on one call of $0.10 every two seconds.
    noon.apply(
        {"paced": limited(("8640", "day"), **{"class": "experimentation"}, on_exhausted={"pace_from_percent": 50})}
    )
    key = noon.key("paced")
    assert [ask(noon, key, dime(16_200)).code for _ in range(4)] == ["served"] * 4
    assert noon.vendor.books().total_nanousd == 6_480 * DOLLAR
    refused = ask(noon, key, dime(6_000))
    assert (refused.status, refused.code, refused.remit["transient"]) == (429, "paced", True)
    assert 9_000 < int(refused.headers["retry-after"]) <= 12_000  # it is some minutes past noon by now
    assert refused.headers["x-should-retry"] == "false"
    while (answer := ask(noon, key, dime(1))).status == 200:
        pass
    wait_seconds = int(answer.headers["retry-after"])
    assert answer.code == "paced" and 1 <= wait_seconds <= 3 and "x-should-retry" not in answer.headers
    with (
        Tap(f"http://127.0.0.1:{noon.port}") as tap,
        openai.OpenAI(base_url=f"{tap.url}/v1", api_key=key, max_retries=1) as client,
    ):
        served = 0
        while REFUSED not in tap.received:  # time goes on between the calls, so that one may be served at once
            client.chat.completions.create(model="sim-dime", messages=HELLO, max_tokens=1)
            served += 1
        assert (tap.received.count(REFUSED), tap.sent.count(b"POST")) == (1, served + 1)
    noon.reconcile_with_vendor("paced")


def test_pacing_is_asked_for(noon: System) -> None:
    """Without pacing an experiment may spend its day's money in a minute."""
    noon.apply({"unpaced": limited(("1.00", "day"), **{"class": "experimentation"})})
    key = noon.key("unpaced")
    assert codes([ask(noon, key, dime()) for _ in range(11)]) == {"served": 10, "grant_exhausted": 1}


def debts(system: System, path: str) -> list[int]:
    """What a grant has drawn from and paid back to its overdraft."""
    return [entry["amount_nanousd"] for entry in system.entries(path) if entry["kind"] in ("overdraft", "repayment")]


def delivered(system: System, pages: Pages, path: str, count: int) -> list[tuple[str, int, str]]:
    """Kind, threshold and audience of all pages of a grant, once that many and every other one have gone out."""
    deadline = time.monotonic() + 60
    waiting = (
        "SELECT count(*) FILTER (WHERE delivered_at IS NULL), count(*) FROM notifications WHERE body ->> 'path' = %s"
    )
    while system.sql(waiting, path) != [(0, count)]:
        assert time.monotonic() < deadline, system.sql(waiting, path)
        time.sleep(0.1)
    # One round more finds nothing new to say and nothing to deliver.
    system.authority.upkeep().round()
    system.authority.upkeep().deliver()
    assert system.sql(waiting, path) == [(0, count)]
    return sorted((page["kind"], page["threshold"], page["audience"]) for page in pages if page["body"]["path"] == path)


def test_overdraft_is_used_posted_as_debt_and_bounded(dated: tuple[System, Pages], noon: System) -> None:
    """$0.50 and $0.20 of escrow: seven calls, $0.20 of debt and a ticket about it; every page goes out exactly once."""
    _, pages = dated
    noon.apply({"prod": limited(("0.50", "month"), overdraft={"usd": "0.20"})})
    key = noon.key("prod")
    answers = ask_many(30, lambda _: ask(noon, key, dime()), at_once=10)
    assert codes(answers) == {"served": 7, "grant_exhausted": 23}
    assert noon.vendor.books().total_nanousd == 7 * DIME == noon.spent("prod")
    assert sum(debts(noon, "prod")) == 2 * DIME
    remit = ask(noon, key, dime()).remit
    assert (remit["limit"], remit["posted"], remit["held"]) == (5 * DIME, 7 * DIME, 0)
    assert "overdraft of $0.20" in remit["detail"]
    noon.reconcile_with_vendor("prod")
    posted = delivered(noon, pages, "prod", 6)
    rows = noon.sql(
        "SELECT kind, threshold, audience FROM notifications WHERE body ->> 'path' = 'prod' ORDER BY kind, threshold"
    )
    assert {(kind, threshold) for kind, threshold, _ in rows} == {
        ("cap_reached", 100), ("threshold", 80), ("threshold", 100), ("overdraft", 0), ("forecast_exhaustion", 0),
        ("ticket_opened", 0),
    }  # fmt: skip
    assert [kind for kind, _, _ in rows].count("overdraft") == 1  # for the two calls it lent to
    assert {(kind == "ticket_opened", audience) for kind, _, audience in rows} == {(False, "on_call"), (True, "named")}
    assert posted == sorted(rows)


def test_overdraft_in_suspense_is_repaid_by_evidence(noon: System) -> None:
    """A debt that a statement proves too high is repaid: first the overdraft, then the grant's own money is free."""
    noon.apply({"owing": limited(("0.10", "month"), overdraft={"usd": "0.40"})})
    key = noon.key("owing")
    noon.vendor.script(usage="absent", completion_tokens=1)
    assert ask(noon, key, dime(4)).status == 200
    assert debts(noon, "owing") == [3 * DIME]
    assert len(noon.reconcile_with_vendor("owing")) == 1
    assert debts(noon, "owing") == [3 * DIME, -3 * DIME]
    noon.vendor.script()
    assert codes([ask(noon, key, dime()) for _ in range(5)]) == {"served": 4, "grant_exhausted": 1}
    noon.reconcile_with_vendor("owing")


def test_overdraft_of_a_parent_is_shared(noon: System) -> None:
    """A parent's escrow serves its children, and all of them together never exceed limit and escrow."""
    child = {"owner": "bo@acme.example", **STARTED}
    noon.apply({"lender": limited(("0.30", "month"), overdraft={"usd": "0.10"}, children={"a": child, "b": child})})
    keys = [noon.key(f"lender/{segment}") for segment in "ab"]
    answers = ask_many(12, lambda number: ask(noon, keys[number % 2], dime()), at_once=6)
    assert codes(answers) == {"served": 4, "grant_exhausted": 8}
    debt = [entry for path in ("lender/a", "lender/b") for entry in noon.entries(path) if entry["kind"] == "overdraft"]
    ((lender,),) = noon.sql("SELECT id FROM grants WHERE path = 'lender'")
    assert [(entry["amount_nanousd"], entry["debtor_id"]) for entry in debt] == [(DIME, lender)]
    noon.reconcile_with_vendor("lender")


def test_owner_of_an_experiment_is_paged_once_per_threshold(dated: tuple[System, Pages], noon: System) -> None:
    """Thresholds and the cap page the owner of an experiment once each, however many calls follow."""
    _, pages = dated
    noon.apply(
        {"lab": limited(("1.00", "month"), **{"class": "experimentation"}, on_exhausted={"page_percents": [50, 90]})}
    )
    key = noon.key("lab")
    for _ in range(14):
        ask(noon, key, dime())
    expected = [("cap_reached", 100, "owner"), ("threshold", 50, "owner"), ("threshold", 90, "owner")]
    assert delivered(noon, pages, "lab", len(expected)) == expected


def test_thresholds_passed_by_many_at_once_page_once_each(dated: tuple[System, Pages], noon: System) -> None:
    """Sixty calls at once on two grants below one cap: 80 and 100 percent of it page once, however many pass them."""
    _, pages = dated
    child = {"owner": "bo@acme.example", **STARTED}
    experiment = {"class": "experimentation", "on_exhausted": {"page_percents": [80, 100]}}
    noon.apply({"crowd": limited(("2.00", "month"), children={"a": child, "b": child}, **experiment)})
    keys = [noon.key(f"crowd/{segment}") for segment in "ab"]
    noon.vendor.script(latency_ms=600_000)
    with ThreadPoolExecutor(60) as pool:
        calls = [pool.submit(ask, noon, keys[number % 2], dime()) for number in range(60)]
        noon.vendor.wait_paused(20)
        while sum(call.done() for call in calls) < 40:
            time.sleep(0.01)
        assert noon.vendor.release() == 20
    assert codes([call.result() for call in calls]) == {"served": 20, "grant_exhausted": 40}
    expected = [("cap_reached", 100, "owner"), ("threshold", 80, "owner"), ("threshold", 100, "owner")]
    assert delivered(noon, pages, "crowd", len(expected)) == expected
    noon.reconcile_with_vendor("crowd")
