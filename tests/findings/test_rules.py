"""Each finding once where it has to be found and once where it must not be."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from remit.findings.model import Bounds, Facts, Finding, GrantUse, LivingKey
from remit.findings.rules import findings
from remit.grants.model import Grant, Limit, Overdraft
from remit.grants.suggested import PeriodUse, full_periods
from tests.leases.trial import grant

NOW = datetime(2026, 6, 15, 12, tzinfo=UTC)
USD = 1_000_000_000
OLD = NOW - timedelta(days=200)
MAY = datetime(2026, 5, 1, tzinfo=UTC)


def old(name: str = "root", parent: Grant | None = None, **fields: Any) -> Grant:
    return grant(name, parent, **{"starts_at": OLD, **fields})


def used(amount: int, start: datetime = MAY, period: Any = "month") -> GrantUse:
    return GrantUse(periods=(PeriodUse("usd", period, start, amount),), last_spent_at=NOW - timedelta(days=1))


def key(**fields: Any) -> LivingKey:
    plain = LivingKey(
        id="key_1", grant_id="grant_root", name="ci", created_at=NOW - timedelta(days=1), limits=(), is_used=True
    )
    return replace(plain, **fields)


def found(facts: Facts, **bounds: Any) -> dict[str, Finding]:
    return {f"{one.code} {one.path}": one for one in findings(facts, Bounds(**bounds), NOW)}


MONTHLY = old(limits=(Limit("usd", 1000 * USD, "month"),))


def test_a_limit_that_is_hardly_used_is_found_with_one_that_would_do() -> None:
    """Less than a tenth of 1,000 in May: proposed is the highest use and half as much again, rounded up."""
    one = found(Facts(grants=(MONTHLY,), use={MONTHLY.id: used(42 * USD)}))["unused_budget root"]
    assert one.edit == {"limits": [{"dimension": "usd", "amount": 63 * USD, "period": "month"}]}
    assert one.evidence["limits"][0]["most_used"] == 42 * USD
    assert one.evidence["last_spent_at"] == NOW - timedelta(days=1)


@pytest.mark.parametrize(
    ("one", "use"),
    [
        (MONTHLY, used(100 * USD)),
        (replace(MONTHLY, starts_at=MAY + timedelta(days=1)), used(0)),
        (replace(MONTHLY, limits=(Limit("usd", 1000 * USD, "once"),)), used(1 * USD, period="once")),
        (replace(MONTHLY, limits=(Limit("usd", 0, "month"),)), used(0)),
        (replace(MONTHLY, status="revoked"), used(1)),
    ],
    ids=["a tenth", "no full period", "once", "nothing allowed", "revoked"],
)
def test_a_limit_that_is_used_or_not_judged_is_not_found(one: Grant, use: GrantUse) -> None:
    """A tenth is enough; a part of a period, a limit without periods and a dead grant are not judged."""
    assert "unused_budget root" not in found(Facts(grants=(one,), use={one.id: use}))


def test_days_are_looked_at_over_the_window_and_the_busiest_counts() -> None:
    """One day of thirty at a fifth of the limit is enough to keep it."""
    daily = old(limits=(Limit("usd", 100 * USD, "day"),))
    busy = used(20 * USD, datetime(2026, 5, 20, tzinfo=UTC), "day")
    before = used(20 * USD, datetime(2026, 5, 10, tzinfo=UTC), "day")
    assert "unused_budget root" not in found(Facts(grants=(daily,), use={daily.id: busy}))
    assert "unused_budget root" in found(Facts(grants=(daily,), use={daily.id: before}))
    assert len(full_periods(daily.limits[0], daily, NOW, 30)) == 30


def test_a_grant_nobody_spent_on_is_found_when_its_time_to_begin_is_over() -> None:
    """Also not below it; a new grant is given its time."""
    leaf = old("leaf", MONTHLY)
    spending = {leaf.id: GrantUse(last_spent_at=NOW)}
    assert found(Facts(grants=(MONTHLY,)))["never_used root"].evidence == {"days": 200}
    assert "never_used root" not in found(Facts(grants=(MONTHLY, leaf), use=spending))
    assert "never_used root" not in found(Facts(grants=(replace(MONTHLY, starts_at=NOW - timedelta(days=29)),)))


def test_an_owner_who_left_is_found() -> None:
    """However the name is written; anybody else is not."""
    facts = Facts(grants=(MONTHLY,), left=frozenset({"Ana@Acme.example"}))
    assert "no_active_owner root" in found(facts)
    assert "no_active_owner root" not in found(replace(facts, left=frozenset({"bo@acme.example"})))


@pytest.mark.parametrize(
    ("most", "limits", "is_found"),
    [
        (100, (), True),
        (100, (Limit("usd", 101 * USD, "day"),), True),
        (100, (Limit("usd", 100 * USD, "day"),), False),
        (1050, (), False),
        (1049, (), True),
        (None, (), False),
    ],
)
def test_a_key_worth_more_than_bearers_may_be_is_found(
    most: int | None, limits: tuple[Limit, ...], is_found: bool
) -> None:
    """The least of its own limits and its grants', an overdraft that can be drawn included."""
    facts = Facts(grants=(replace(MONTHLY, overdraft=Overdraft(max_nanousd=50 * USD)),), keys=(key(limits=limits),))
    bound = None if most is None else most * USD
    assert ("bearer_over_limit root" in found(facts, bearer_max_nanousd=bound)) == is_found


def test_an_experiment_tagged_as_production_is_found() -> None:
    """By what was refused, and by what was booked; not on a production grant."""
    lab = replace(MONTHLY, grant_class="experimentation")
    code = "experiment_with_production_tags root"
    for use in (GrantUse(mismatches=2), GrantUse(has_production_entries=True)):
        assert code in found(Facts(grants=(lab,), use={lab.id: use}))
        assert code not in found(Facts(grants=(MONTHLY,), use={lab.id: use}))
    assert code not in found(Facts(grants=(lab,)))


def test_children_with_nearly_all_of_a_limit_are_found() -> None:
    """Nine tenths of the same kind of limit, of live children only."""

    def below(amount: int, **fields: Any) -> Facts:
        children = [old(name, MONTHLY, limits=(Limit("usd", amount * USD, "month"),)) for name in ("a", "b")]
        return Facts(grants=(MONTHLY, *(replace(child, **fields) for child in children)))

    assert found(below(450))["children_near_parent root"].evidence["percent"] == 90
    assert "children_near_parent root" not in found(below(449))
    assert "children_near_parent root" not in found(below(450, status="revoked"))
    assert "children_near_parent root" not in found(below(450, limits=(Limit("usd", 450 * USD, "day"),)))


def test_an_end_that_nobody_asked_to_put_off_is_found() -> None:
    """From the lead time of the grant's renewal on, until there is a ticket."""
    ending = replace(MONTHLY, expires_at=NOW + timedelta(days=14))
    code = "expires_soon_without_renewal root"
    assert found(Facts(grants=(ending,)))[code].first_seen == NOW
    assert code not in found(Facts(grants=(ending,), renewals_asked=frozenset({ending.id})))
    assert code not in found(Facts(grants=(replace(ending, expires_at=NOW + timedelta(days=15)),)))


def test_an_old_key_is_found() -> None:
    """On the day its time is up, not before."""
    facts = Facts(grants=(MONTHLY,), keys=(key(created_at=NOW - timedelta(days=180)),))
    assert found(facts)["long_lived_key root"].first_seen == NOW
    assert "long_lived_key root" not in found(facts, key_days=181)


def test_many_keys_that_were_never_used_are_found() -> None:
    """Five that had their time; used ones and new ones do not count."""
    idle = tuple(key(id=f"key_{n}", is_used=False, created_at=NOW - timedelta(days=30)) for n in range(5))
    code = "many_unused_keys root"
    assert found(Facts(grants=(MONTHLY,), keys=idle))[code].evidence["unused"] == 5
    for other in (key(), key(is_used=False)):
        assert code not in found(Facts(grants=(MONTHLY,), keys=(*idle[1:], other)))
