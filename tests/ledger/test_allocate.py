"""Dividing a month's cost: parts sum to it exactly, whatever the rule, the order and the numbers."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remit.ledger.accounting import Bearer, Transfer, transfer_entries
from remit.ledger.allocate import (
    CostRule,
    MonthFacts,
    NotDivided,
    Source,
    Target,
    Use,
    Used,
    divided,
    rule_problems,
    transfer_of,
)

OCTOBER = date(2026, 10, 1)
AMOUNTS = st.integers(-(2**62), 2**62)
SHARED = CostRule(
    name="platform",
    revision=3,
    owner="fin@acme.example",
    description="the shared service",
    source={"team": ["platform"]},
    method="by_use",
    use=Use(measure="tokens", only={}, by="grant"),
)
EVEN = replace(
    SHARED, method="even", use=None, targets=(Target(grant_id="a"), Target(grant_id="b"), Target(grant_id="c"))
)
RETAG = replace(
    SHARED, method="fixed", use=None, targets=(Target(grant_id=None, tags={"feature": "x"}, ppm=1_000_000),)
)
LABELS: dict[str, dict[str, str]] = {"a": {"team": "search"}, "b": {"team": "ads"}, "c": {}}


def source(name: str, amount: int, **more: Any) -> Source:
    bearer = Bearer(grant_id=name, tags=more.pop("tags", {"team": "platform"}))
    return Source(bearer=bearer, matched=amount, **{"in_all": amount, **more})


def used(**amounts: int) -> list[Used]:
    return [Used(bearer=Bearer(grant_id=name, tags=LABELS[name]), amount=amount) for name, amount in amounts.items()]


def facts(sources: Sequence[Source], uses: Sequence[Used] = (), runs: int = 0) -> MonthFacts:
    return MonthFacts(month=OCTOBER, runs=runs, sources=sources, used=uses, labels=LABELS)


def moved(found: Transfer | NotDivided | None) -> Transfer:
    assert isinstance(found, Transfer), found
    return found


def arrived(transfer: Transfer) -> dict[str, int]:
    got: Counter[str] = Counter()
    for part in transfer.parts:
        got[part.bearer.grant_id] += part.amount_nanousd
    return dict(got)


@given(AMOUNTS, st.lists(st.integers(0, 2**60), min_size=1, max_size=40).filter(any))
def test_parts_sum_to_the_amount_exactly(amount: int, weights: list[int]) -> None:
    """No part has another sign than the amount, none is off its share by a nano-USD, and no weight means no part."""
    parts = divided(amount, weights)
    assert sum(parts) == amount
    total = sum(weights)
    for part, weight in zip(parts, weights, strict=True):
        assert part * amount >= 0 and abs(part * total - amount * weight) < total
        assert weight or not part


@given(
    st.lists(
        st.tuples(st.sampled_from("xyz"), st.sampled_from("pq"), AMOUNTS),
        min_size=1,
        max_size=6,
        unique_by=lambda o: o[:2],
    ),
    st.dictionaries(st.sampled_from("abc"), st.integers(1, 2**60), min_size=1),
    st.sampled_from([SHARED, EVEN, RETAG]),
    st.integers(),
)
def test_any_rule_in_any_order(
    groups: list[tuple[str, str, int]], weights: dict[str, int], rule: CostRule, shuffle: int
) -> None:
    """What leaves is what arrives, whatever the rule, and the same in whatever order it was read."""
    sources = [source(grant, amount, tags={"team": team}) for grant, team, amount in groups]
    uses = used(**weights)
    found = transfer_of(rule, facts(sources, uses))
    random = Random(shuffle)
    again = transfer_of(
        replace(rule, targets=random.sample(rule.targets, len(rule.targets))),
        facts(random.sample(sources, len(sources)), random.sample(uses, len(uses))),
    )
    assert again == found
    if found is None:
        assert not any(amount for _, _, amount in groups)
        return
    transfer = moved(found)
    assert {(one.grant_id, one.tags["team"]): amount for one, amount in transfer.sources} == {
        (grant, team): amount for grant, team, amount in groups if amount
    }
    entries = transfer_entries(transfer)
    assert sum(entry["amount_nanousd"] for entry in entries) == 0
    assert len({entry["settlement"]["transfer_id"] for entry in entries}) == 1


def test_by_use_records_what_was_used() -> None:
    """Every part says which share it is of what; the entry names rule, revision, method and month."""
    transfer = moved(transfer_of(SHARED, facts([source("p", 100)], used(a=1, b=2))))
    assert arrived(transfer) == {"a": 33, "b": 67}
    out, first, _ = transfer_entries(transfer)
    assert (out["amount_nanousd"], out["tags"], out["settlement"]) == (
        -100,
        {"team": "platform"},
        {"how": "allocated", "transfer_id": "platform/2026-10/1", "rule": "platform", "method": "by_use",
         "revision": 3, "month": "2026-10", "part": "from"},
    )  # fmt: skip
    assert first["tags"] == {"team": "search"} and first["settlement"]["part"] == "to"
    assert first["settlement"]["share"] == {"weight": 1, "of": 3, "unit": "tokens"}


def test_even_and_fixed_go_to_stated_bearers() -> None:
    """Equal parts, the odd nano-USD to the first; stated shares in parts per million; under the grants' own labels."""
    assert arrived(moved(transfer_of(EVEN, facts([source("p", 100)])))) == {"a": 34, "b": 33, "c": 33}
    fixed = replace(
        EVEN, method="fixed", targets=(Target(grant_id="a", ppm=250_000), Target(grant_id="b", ppm=750_000))
    )
    transfer = moved(transfer_of(fixed, facts([source("p", 1_000)])))
    assert arrived(transfer) == {"a": 250, "b": 750}
    assert transfer.parts[1].bearer.tags == {"team": "ads"}


def test_tags_are_put_right_where_the_cost_is() -> None:
    """A target without a grant leaves a cost with whoever bears it, each by itself, under other tags."""
    groups = [source("a", 7, tags={"feature": "y", "tenant": "t"}), source("b", 3, tags={"feature": "y"})]
    transfer = moved(transfer_of(RETAG, facts(groups)))
    assert [(one.bearer.grant_id, one.bearer.tags, one.amount_nanousd) for one in transfer.parts] == [
        ("a", {"feature": "x", "tenant": "t"}, 7),
        ("b", {"feature": "x"}, 3),
    ]


def test_a_second_run_moves_the_rest() -> None:
    """What was moved before is not moved again; what has come since is, and what turned out less goes back."""
    assert transfer_of(SHARED, facts([source("p", 100, moved=100)], used(a=1))) is None
    more = moved(transfer_of(SHARED, facts([source("p", 130, moved=100)], used(a=1), runs=1)))
    assert (more.id, arrived(more)) == ("platform/2026-10/2", {"a": 30})
    assert arrived(moved(transfer_of(SHARED, facts([source("p", 80, moved=100)], used(a=1))))) == {"a": -20}


@pytest.mark.parametrize(
    ("matched", "in_all", "elsewhere", "rest"),
    [
        (100, 100, 0, 100),
        (100, 100, 60, 40),
        (100, 100, 100, 0),
        (100, 150, 60, 90),
        (100, 150, 40, 100),
        (-5, 95, 0, -5),
        (-5, 95, 95, 0),
        (-5, -5, -5, 0),
    ],
)
def test_two_rules_never_move_a_cost_twice(matched: int, in_all: int, elsewhere: int, rest: int) -> None:
    """What other rules took away from a bearer is not there to be moved."""
    assert source("p", matched, in_all=in_all, elsewhere=elsewhere).rest == rest


@pytest.mark.parametrize(
    ("uses", "code"),
    [({}, "nothing_used"), ({"a": 0, "b": 0}, "nothing_used"), ({"a": 5, "b": -1}, "use_negative")],
)
def test_what_cannot_be_divided_is_refused(uses: dict[str, int], code: str) -> None:
    """No use at all is no equal use, and less than nothing is no share: a reason instead of a division."""
    found = transfer_of(SHARED, facts([source("p", 100)], used(**uses)))
    assert isinstance(found, NotDivided) and found.code == code


def test_no_transfer_has_entries_without_end() -> None:
    """A rule that would write more than the limit is refused before anything is written."""
    found = transfer_of(SHARED, facts([source("p", 1, tags={"tenant": str(n)}) for n in range(5_000)], used(a=1)))
    assert isinstance(found, NotDivided) and found.code == "too_many_parts"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"name": "No"}, "name_invalid"),
        ({"description": "a\nb"}, "description_invalid"),
        ({"source": {}}, "conditions_missing"),
        ({"source": {"month": ["2026-10"]}}, "conditions_invalid"),
        ({"source": {"kind": ["transfer"]}}, "conditions_invalid"),
        ({"source": {"A": ["x"]}}, "conditions_invalid"),
        ({"source": {"team": []}}, "conditions_invalid"),
        ({"use": None}, "method_invalid"),
        ({"use": Use(measure="tokens", only={"day": ["1"]}, by="grant")}, "conditions_invalid"),
        ({"use": Use(measure="tokens", only={}, by="Team")}, "by_invalid"),
        ({"targets": (Target(grant_id="a"),)}, "method_invalid"),
        ({"method": "even", "use": None}, "method_invalid"),
        ({"method": "even", "use": None, "targets": (Target(grant_id="a", ppm=1),)}, "shares_invalid"),
        ({"method": "even", "use": None, "targets": (Target(grant_id=None),)}, "target_invalid"),
        ({"method": "even", "use": None, "targets": (Target(grant_id="a"),) * 2}, "target_repeated"),
        ({"method": "fixed", "use": None, "targets": (Target(grant_id="a", ppm=999_999),)}, "shares_invalid"),
        ({"method": "fixed", "use": None, "targets": (Target(grant_id="a"),)}, "shares_invalid"),
    ],
)
def test_a_rule_that_says_nothing_useful_is_refused(change: dict[str, Any], code: str) -> None:
    """Each with the code of what is wrong with it; the rules above are fine."""
    assert [rule_problems(one) for one in (SHARED, EVEN, RETAG)] == [[], [], []]
    assert code in [one.code for one in rule_problems(replace(SHARED, **change))]
