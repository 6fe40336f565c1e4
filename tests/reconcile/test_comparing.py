"""Which statements a month is compared with, and what is left to book after what was booked before."""

from collections import Counter
from collections.abc import Mapping
from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remit.ledger.accounting import Adjustment
from remit.reconcile.service import ComparingError, Stated, choose, is_usage, still_missing
from remit.reconcile.statements.formats import FORMATS

OCTOBER = date(2026, 10, 1)
amounts = st.integers(-(2**40), 2**40)
places = st.tuples(st.sampled_from(["grant_a", "grant_b"]), st.sampled_from(["tax", "late_rows", "shadow_use"]))


def stated(source: str, name: str = "") -> Stated:
    since, until = datetime(2026, 10, 1, tzinfo=UTC), datetime(2026, 11, 1, tzinfo=UTC)
    return Stated(
        id=name or f"stmt_{source}", source=source, account="", covers_since=since, covers_until=until, is_complete=True
    )


def adjustment(place: tuple[str, str], amount: int) -> Adjustment:
    at = datetime(2026, 10, 9, tzinfo=UTC)
    return Adjustment(grant_id=place[0], vendor="v", amount_nanousd=amount, held_at=at, cause=place[1])


@given(found=st.lists(st.tuples(places, amounts), max_size=6), booked=st.dictionaries(places, amounts, max_size=6))
def test_what_was_booked_and_what_is_missing_is_what_was_found(
    found: list[tuple[tuple[str, str], int]], booked: Mapping[tuple[str, str], int]
) -> None:
    """For each bearer and cause: nothing is booked twice, what is found no more is taken back, and then there is nothing left."""
    wanted: Counter[tuple[str, str]] = Counter()
    for place, amount in found:
        wanted[place] += amount
    adjustments = [adjustment(place, amount) for place, amount in found]
    after = Counter(booked)
    for one in still_missing(adjustments, booked, "v", OCTOBER):
        assert one.vendor == "v" and (one.held_at.year, one.held_at.month) == (2026, 10)
        after[one.grant_id, one.cause] += one.amount_nanousd
    assert {place: amount for place, amount in after.items() if amount} == {
        place: amount for place, amount in wanted.items() if amount
    }
    rest = still_missing(adjustments, dict(after), "v", OCTOBER)
    assert sum(one.amount_nanousd for one in rest) == 0 and all(not after[one.grant_id, one.cause] for one in rest)


def test_counts_and_money_of_one_vendor_go_together() -> None:
    """A usage and a cost source, and per-call truth besides; the one of two that says more."""
    for sources, kept in (
        (["openai.usage_completions", "openai.usage_embeddings", "openai.costs"], [0, 1, 2]),
        (["anthropic.usage_messages", "anthropic.cost_report", "anthropic.analytics_cost"], [0, 2]),
        (["anthropic.analytics_usage", "anthropic.cost_report"], [0, 1]),
        (["openrouter.activity", "openrouter.generations"], [0, 1]),
        (["aws.cur2"], [0]),
        ([], []),
    ):
        found = [stated(source) for source in sources]
        assert choose(found, ()) == [found[number] for number in kept], sources


def test_the_same_money_is_not_counted_twice() -> None:
    """Two cost sources are refused until somebody says which; what is chosen is taken, whatever there is besides."""
    both = [stated("openai.costs", "stmt_1"), stated("focus", "stmt_2")]
    with pytest.raises(ComparingError, match=r"focus and openai.costs state the same money.*stmt_1.*stmt_2"):
        choose(both, ())
    assert choose(both, ["stmt_2"]) == [both[1]]
    with pytest.raises(ComparingError, match="stmt_3"):
        choose(both, ["stmt_3"])


def test_every_source_states_counts_or_money() -> None:
    """A source that is new is one of the two, by its name."""
    counts = {source for source in FORMATS if is_usage(source)}
    assert counts == {one for one in FORMATS if ".usage_" in one} | {"anthropic.analytics_usage"}
