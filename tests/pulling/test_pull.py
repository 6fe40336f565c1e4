"""Reports asked of servers that speak the vendors' APIs: pages, waits, refusals, and books that come back whole."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from remit.notify.calls import Endpoint
from remit.pulling.vendors import Puller, PullError
from remit.reconcile.statements.formats import lines_of, summarise
from remit.reconcile.statements.model import Options
from remit.testing.clock import ManualClock
from remit.testing.peers.base import Fault
from remit.testing.peers.reports import (
    ADMIN_KEY,
    AnthropicReportsPeer,
    OpenAiReportsPeer,
    OpenRouterReportsPeer,
    ReportsPeer,
)
from remit.testing.vendor_reports.books import BookRow
from tests.reconcile.books import SINCE, booked, by_meter, cost, money

UNTIL = SINCE + timedelta(days=10)
NOW = datetime(2026, 12, 1, tzinfo=UTC)


def row(day: int, **more: Any) -> BookRow:
    given: dict[str, Any] = {
        "used": {"input": 100 + day, "cache_read": 40, "output": 7},
        "costs_nanousd": {"input": 10**9 + day, "cache_read": 3, "output": 7},
        **more,
    }
    return BookRow(at=SINCE + timedelta(days=day, hours=5), model="m-1", **given)


BOOKS = [row(day) for day in range(10)] + [row(3, key_id="key-2"), row(20)]
INSIDE = BOOKS[:-1]


@contextmanager
def asking(kind: type[ReportsPeer], vendor: str, **more: Any) -> Iterator[tuple[ReportsPeer, Puller, list[float]]]:
    waits: list[float] = []
    with kind(BOOKS, **more) as peer:
        endpoint = Endpoint(base_url=peer.url, clock=ManualClock(NOW), secrets=(ADMIN_KEY,), max_answer_bytes=4 * 2**20)
        yield peer, Puller(vendor, endpoint, ADMIN_KEY, wait=waits.append), waits


def lines(pulled: list[tuple[str, Any]], source: str) -> list[Any]:
    (raw,) = [raw for name, raw in pulled if name == source]
    options = Options(since=SINCE, until=UNTIL)
    summary = summarise(raw, source, options, NOW)
    found = list(lines_of(raw, source, options))
    assert summary.lines == len(found) and (summary.since, summary.until) == (SINCE, UNTIL)
    return found


@pytest.mark.parametrize("most_buckets", [4, 10_000])
def test_openai_is_asked_for_every_page(most_buckets: int) -> None:
    """Usage and costs come back whole, however short the pages are; reports an account does not have are told of."""
    with asking(OpenAiReportsPeer, "openai", most_buckets=most_buckets) as (peer, puller, _):
        pulled = puller.pull(SINCE, UNTIL)
        usage, costs = lines(pulled, "openai.usage_completions"), lines(pulled, "openai.costs")
    found = by_meter(usage)
    assert found.pop("requests") == len(INSIDE) and found == booked(INSIDE)
    assert money(costs) == cost(INSIDE) and {line.key_id for line in costs} == {"key-1", "key-2"}
    assert [one.partition(":")[0] for one in puller.skipped] == [
        "openai.usage_web_search_calls", "openai.usage_file_search_calls", "openai.usage_decisions",
    ]  # fmt: skip
    assert len(pulled) == 9 and all("sk-admin" not in asked.path for asked in peer.asked)


@pytest.mark.parametrize("most_buckets", [4, 10_000])
def test_anthropic_is_asked_for_every_page(most_buckets: int) -> None:
    """Usage, costs and analytics agree with the books."""
    with asking(AnthropicReportsPeer, "anthropic", most_buckets=most_buckets) as (_, puller, _):
        pulled = puller.pull(SINCE, UNTIL)
    assert by_meter(lines(pulled, "anthropic.usage_messages")) == booked(INSIDE)
    assert money(lines(pulled, "anthropic.cost_report")) == cost(INSIDE)
    assert money(lines(pulled, "anthropic.analytics_cost")) == cost(INSIDE)


def test_openrouter_is_asked_day_by_day() -> None:
    """Each day is one question."""
    with asking(OpenRouterReportsPeer, "openrouter") as (peer, puller, _):
        found = lines(puller.pull(SINCE, UNTIL), "openrouter.activity")
    assert money(found) == cost(INSIDE) and len(peer.asked) == 10


def test_a_page_is_asked_for_again_as_the_vendor_wants_it() -> None:
    """After 429 as long as Retry-After says, after 503 with growing waits; then the report is whole."""
    with asking(OpenRouterReportsPeer, "openrouter") as (peer, puller, waits):
        peer.faults.extend(
            [Fault(status=429, retry_after="7"), Fault(status=503), Fault(status=503), Fault(drops=True)]
        )
        found = lines(puller.pull(SINCE, UNTIL), "openrouter.activity")
    assert waits == [7, 2, 4, 8] and money(found) == cost(INSIDE)


@pytest.mark.parametrize(
    ("faults", "words"),
    [
        ([Fault(status=401)], "answered 401"),
        ([Fault(status=429, retry_after="3600")], "3,600 seconds"),
        ([Fault(status=500)] * 6, "6 times in a row"),
        ([Fault(status=302)], "answered 302"),
        ([Fault(answer_bytes=5 * 2**20)] * 6, "larger than 4 MiB"),
        ([Fault(answer_bytes=20)], "no object with a list"),
    ],
)
def test_what_is_not_whole_is_an_error(faults: list[Fault], words: str) -> None:
    """A refusal, a wait too long, a server that stays broken, a redirect, too much, or nothing of the kind; the key is in no message."""
    with asking(OpenRouterReportsPeer, "openrouter") as (peer, puller, _):
        peer.faults.extend(faults)
        with pytest.raises(PullError, match=words) as error:
            puller.pull(SINCE, UNTIL)
    assert ADMIN_KEY not in str(error.value)


def test_a_wrong_key_and_a_wrong_period_are_refused() -> None:
    """The vendor refuses the one, we the other, before anybody is asked."""
    with asking(AnthropicReportsPeer, "anthropic") as (peer, puller, _):
        puller._key = "another"
        with pytest.raises(PullError, match=r"answered 401: Incorrect API key provided$"):
            puller.pull(SINCE, UNTIL)
        before = len(peer.asked)
        for since, until, words in (
            (SINCE + timedelta(hours=1), UNTIL, "midnight UTC"),
            (UNTIL, SINCE, "from 1 to"),
            (SINCE, SINCE + timedelta(days=401), "from 1 to"),
        ):
            with pytest.raises(PullError, match=words):
                puller.pull(since, until)
        assert len(peer.asked) == before


def test_a_cursor_that_leads_back_is_refused() -> None:
    """A vendor that says for ever that there is more is given up, not followed."""

    class Circling(OpenAiReportsPeer):
        def page(self, found: Any, limit: int, params: Any) -> dict[str, Any]:
            return {"data": [], "has_more": True, "next_page": "page-0"}

    with asking(Circling, "openai") as (_, puller, _), pytest.raises(PullError, match="where we were before"):
        puller.pull(SINCE, UNTIL)


def test_a_grouping_the_vendor_does_not_have_is_not_insisted_on() -> None:
    """Where costs cannot be grouped by key, they are asked for without."""

    class Coarse(OpenAiReportsPeer):
        def report(self, path: str, params: Any, asked: Any) -> Any:
            if "api_key_id" in params.get("group_by", []) and path.endswith("/costs"):
                params = {**params, "group_by": ["nothing"]}
            return super().report(path, params, asked)

    with asking(Coarse, "openai") as (_, puller, _):
        found = lines(puller.pull(SINCE, UNTIL), "openai.costs")
    assert money(found) == cost(INSIDE) and {line.key_id for line in found} == {None}
