"""What events come to, whose cost a part of the ledger is, and what an outcome costs."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remit.kernel.money import NANOUSD_PER_USD as USD
from remit.outcomes.model import Facts, Outcome, Row, Said, Spend, Status, Total, Wanted
from remit.outcomes.rules import OutcomeMismatchError, fold, outcome_id, report, split

DAY = datetime(2026, 6, 1, tzinfo=UTC)
ALL = Wanted(by=("feature",))


def said(*statuses: Status, hours: Sequence[int] = (), value: int | None = None) -> list[Said]:
    times = [DAY + timedelta(hours=hour) for hour in (hours or range(len(statuses)))]
    return [Said(number, status, times[number], value, 1_000_000) for number, status in enumerate(statuses)]


def outcome(name: str, status: Status = "success", *, weight: int = 1_000_000, days: int = 0, **more: Any) -> Outcome:
    plain: dict[str, Any] = {"value_nanousd": None, "reversals": 0, "kind": "ticket_resolved", **more}
    decided = DAY + timedelta(days=days)
    return Outcome(id=outcome_id("s", "k", name), status=status, weight_ppm=weight, decided_at=decided, **plain)


def spend(amount: int, *outcomes: Outcome, group: str = "chat", inside: bool = True) -> Spend:
    names = tuple(sorted(one.id for one in outcomes))
    return Spend(outcomes[0].kind, (group,), names, inside, amount, 0)


def facts(outcomes: Sequence[Outcome], parts: Sequence[Spend], unattributed: int = 0) -> Facts:
    """With so much more in the ledger that belongs to nothing, in the group `chat`."""
    groups = {"chat": unattributed}
    for part in parts:
        if part.is_inside:
            groups[str(part.group[0])] = groups.get(str(part.group[0]), 0) + part.amount_nanousd
    totals = tuple(Total((group,), amount, 0) for group, amount in groups.items())
    return Facts({one.id: one for one in outcomes}, tuple(parts), totals, sum(groups.values()))


def whole(made: Facts, wanted: Wanted = ALL) -> Row:
    (one,) = report(made, wanted).kinds
    return one.total


@pytest.mark.parametrize(
    ("events", "status", "reversals"),
    [
        (said("pending"), "pending", 0),
        (said("pending", "success"), "success", 0),
        (said("failure", "failure", "success"), "success", 0),
        (said("success", "reversed"), "reversed", 1),
        (said("success", "reversed", "success"), "success", 1),
        (said("success", "reversed", "success", "reversed"), "reversed", 2),
        # heard of late, it changes nothing: what happened last decides
        (said("success", "pending", hours=(5, 1)), "success", 0),
        (said("reversed", "success", hours=(47, 1)), "reversed", 1),
        # at the same instant, what was said last
        (said("success", "reversed", hours=(1, 1)), "reversed", 1),
    ],
)
def test_what_happened_last_decides(events: list[Said], status: Status, reversals: int) -> None:
    """A success may be taken back and come anew; events may be heard of in any order."""
    for order in (events, events[::-1]):
        made = fold(outcome_id("s", "k", "x"), "k", order)
        assert (made.status, made.reversals) == (status, reversals)
        assert made.decided_at == max(one.occurred_at for one in events)


def test_a_value_stands_until_another_is_stated() -> None:
    """An event that says nothing of the value takes none away, and no value is not zero."""
    events = [*said("success", value=5), Said(1, "success", DAY + timedelta(hours=1), None, 1_000_000)]
    assert fold(outcome_id("s", "k", "x"), "k", events).value_nanousd == 5
    assert fold(outcome_id("s", "k", "x"), "k", said("success")).value_nanousd is None


@given(st.integers(-(2**63), 2**63 - 1), st.lists(st.integers(1, 1_000_000), min_size=1, max_size=20))
def test_a_split_loses_nothing(amount: int, weights: list[int]) -> None:
    """Parts sum to the whole, none is off its share by a nano-dollar, none has another sign, and it is the same every time."""
    parts = split(amount, weights)
    assert sum(parts) == amount and parts == split(amount, weights)
    for part, weight in zip(parts, weights, strict=True):
        assert abs(part * sum(weights) - amount * weight) < sum(weights)
        assert part * amount >= 0


def test_the_largest_remainder_gets_what_rounding_leaves() -> None:
    """Of three equal shares of 10 the first gets the odd one; of 1:2 of 100 the one with two thirds left over does."""
    assert split(10, [1, 1, 1]) == [4, 3, 3]
    assert split(100, [1, 2]) == [33, 67]
    assert split(-10, [1, 1, 1]) == [-4, -3, -3]


STATUSES = st.sampled_from(["success", "failure", "pending", "reversed"])


@given(
    st.lists(st.tuples(STATUSES, st.integers(1, 1_000_000), st.integers(-3, 3)), min_size=1, max_size=6),
    st.lists(
        st.tuples(
            st.integers(-(10**12), 10**12), st.sets(st.integers(0, 5), min_size=1), st.sampled_from("ab"), st.booleans()
        ),
        max_size=12,
    ),
    st.integers(-(10**6), 10**12),
)
def test_every_report_is_conserved_to_the_nano_dollar(made: Any, parts: Any, unattributed: int) -> None:
    """Whatever is shared by whom, what outcomes cost and what belongs to none is what the ledger has, in every row and in all."""
    known = [outcome(str(n), status, weight=weight, days=days) for n, (status, weight, days) in enumerate(made)]
    pieces = [
        spend(amount, *{known[n % len(known)] for n in whose}, group=group, inside=inside)
        for amount, whose, group, inside in parts
    ]
    wanted = Wanted(by=("feature",), since=DAY, until=DAY + timedelta(days=2))
    all_of_it = facts(known, pieces, unattributed)
    for kind in report(all_of_it, wanted).kinds:
        for row in (*kind.rows, kind.total):
            parts_of_row = (
                row.attributed_nanousd - row.earlier_nanousd + row.elsewhere_nanousd + row.unattributed_nanousd
            )
            assert parts_of_row == row.total_nanousd
            assert (row.cost_per_success_nanousd is None) == (row.successes == 0)
        for name in ("attributed", "earlier", "elsewhere", "unattributed", "total"):
            field = f"{name}_nanousd"
            assert sum(getattr(row, field) for row in kind.rows) == getattr(kind.total, field)
        assert kind.total.total_nanousd == all_of_it.ledger_nanousd
        assert kind.total.unattributed_nanousd == unattributed


def test_a_report_that_does_not_sum_to_the_ledger_is_not_shown() -> None:
    """Groups that lost an entry raise instead of being printed."""
    one = outcome("a")
    good = facts([one], [spend(10, one)], 5)
    with pytest.raises(OutcomeMismatchError):
        report(Facts(good.outcomes, good.spend, good.totals, good.ledger_nanousd + 1), ALL)


def test_failed_attempts_are_part_of_what_a_success_costs() -> None:
    """$2.80 a conversation at 68 % success is $4.12 for each success, not $2.80."""
    known = [outcome(str(n), "success" if n < 68 else "failure") for n in range(100)]
    row = whole(facts(known, [spend(28 * USD // 10, one) for one in known]))
    assert (row.cost_per_outcome_nanousd, row.successes, row.failures) == (28 * USD // 10, 68, 32)
    assert row.cost_per_success_nanousd == 4_117_647_059
    assert row.failed_nanousd == 32 * 28 * USD // 10


def test_cheaper_calls_can_make_dearer_successes() -> None:
    """Cost per call falls by a quarter while cost per resolved ticket rises by two fifths: the report shows the second."""
    before = [outcome(f"b{n}", "success" if n < 70 else "failure") for n in range(100)]
    after = [outcome(f"a{n}", "success" if n < 56 else "failure") for n in range(100)]
    dear, calls_before = 40_000_000, 2
    cheap, calls_after = 30_000_000, 3
    was = whole(facts(before, [spend(dear * calls_before, one) for one in before]))
    now = whole(facts(after, [spend(cheap * calls_after, one) for one in after]))
    assert cheap * 100 == dear * 75
    assert was.cost_per_success_nanousd is not None and now.cost_per_success_nanousd is not None
    assert now.cost_per_success_nanousd * 100 >= was.cost_per_success_nanousd * 140


def test_a_contact_within_two_days_takes_the_success_back() -> None:
    """Resolved, and asked about again after 47 hours: no success is left, and what it cost stays."""
    events = said("success", "reversed", hours=(0, 47))
    one = fold(outcome_id("s", "k", "1234"), "ticket_resolved", events)
    row = whole(facts([one], [spend(USD, one)]))
    assert (row.outcomes, row.successes, row.reversed, row.attributed_nanousd) == (1, 0, 1, USD)
    assert row.cost_per_success_nanousd is None and row.failed_nanousd == USD


def test_without_a_success_its_cost_is_unknown() -> None:
    """Neither nothing nor without end: None."""
    row = whole(facts([outcome("a", "failure")], []))
    assert (row.cost_per_success_nanousd, row.cost_per_outcome_nanousd) == (None, 0)
    assert (row.value_nanousd, row.valued) == (None, 0)
    assert report(facts([], [], 7), ALL).kinds == ()


def test_kinds_do_not_share_with_each_other() -> None:
    """A conversation that is resolved and well rated costs as much per resolution as it does without the rating."""
    resolved, rated = outcome("a"), outcome("b", kind="rated_well")
    parts = [spend(10, resolved), spend(10, rated)]
    totals = (Total(("chat",), 10, 0),)
    made = report(Facts({one.id: one for one in (resolved, rated)}, tuple(parts), totals, 10), ALL)
    assert [one.total.cost_per_success_nanousd for one in made.kinds] == [10, 10]
    assert [one.total.unattributed_nanousd for one in made.kinds] == [0, 0]


def test_an_outcome_counts_in_the_window_in_which_it_was_decided() -> None:
    """Its earlier attempts are part of its cost and stated as such; what another window counts is stated as well."""
    here, later = outcome("here"), outcome("later", days=40)
    parts = [spend(5, here, inside=False), spend(7, here), spend(11, later)]
    wanted = Wanted(by=("feature",), since=DAY, until=DAY + timedelta(days=30))
    row = whole(facts([here, later], parts, 13), wanted)
    assert (row.outcomes, row.attributed_nanousd, row.earlier_nanousd) == (1, 12, 5)
    assert (row.elsewhere_nanousd, row.unattributed_nanousd, row.total_nanousd) == (11, 13, 31)


def test_the_value_of_successes_is_summed_where_it_is_stated() -> None:
    """Values of failures do not count, and how many successes have one is stated."""
    known = [outcome("a", value_nanousd=5), outcome("b"), outcome("c", "failure", value_nanousd=9)]
    row = whole(facts(known, []))
    assert (row.value_nanousd, row.valued, row.successes) == (5, 1, 2)
