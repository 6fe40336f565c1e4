"""Whatever changes between asking and approving, an approval raises nothing but what was asked for and shown."""

from dataclasses import replace
from datetime import timedelta
from functools import cache
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from remit.grants.edits import NewGrant
from remit.grants.model import Grant, Limit, Shape
from remit.renewals import requests
from remit.renewals.effects import changed_limits, effect_body, effect_of
from remit.renewals.model import Ticket
from tests.renewals.office import ADMIN, RITA, SAM, USD, Office, codes, usd

SEARCH = "acme/research/search"
NUMBERS = count()


@cache
def shared() -> Office:
    """One organisation for all examples: each works below a grant of its own."""
    office = Office()
    office.change("acme", limits=(usd(1_000_000_000),))
    return office


@pytest.fixture
def office() -> Office:
    return Office()


def _two_limits(office: Office) -> None:
    office.change(SEARCH, limits=(usd(200), Limit("tokens", 1_000, "day")))


def _raise_month(office: Office, dollars: int = 300) -> str:
    return office.opened(SAM, requests.increase, SEARCH, {("usd", "month"): dollars * USD}, "api").id


def test_a_limit_that_was_lowered_meanwhile_stays_lowered(office: Office) -> None:
    """An increase of one limit leaves the others as they are when it is approved."""
    _two_limits(office)
    ticket = _raise_month(office)
    office.change(SEARCH, limits=(usd(200), Limit("tokens", 10, "day")))
    assert office.decide("approve", RITA, ticket).state == "approved"
    assert office.grant(SEARCH).limits == (usd(300), Limit("tokens", 10, "day"))


def test_a_renewal_leaves_the_other_limits_as_well(office: Office) -> None:
    """So does a renewal that changes one limit, and one that changes none."""
    _two_limits(office)
    until = office.grant(SEARCH).expires_at + timedelta(days=30)
    ticket = office.opened(SAM, requests.renewal, SEARCH, until, {("usd", "month"): 100 * USD}, "api").id
    office.change(SEARCH, limits=(usd(50), Limit("tokens", 10, "day")))
    assert office.decide("approve", RITA, ticket).state == "approved"
    assert office.grant(SEARCH).limits == (usd(50), Limit("tokens", 10, "day"))
    assert office.grant(SEARCH).expires_at == until


def test_what_gives_more_than_was_shown_is_looked_at_again(office: Office) -> None:
    """A rise that has become larger is refused with both figures, kept with the ticket, told, and approved the second time."""
    ticket = _raise_month(office)
    office.change(SEARCH, limits=(usd(20),))
    refused = office.decide("approve", RITA, ticket)
    assert codes(refused) == ["look_again"]
    assert "$200.00 -> $300.00 a month" in refused[0].detail and "$20.00 -> $300.00 a month" in refused[0].detail
    assert office.spend_limit(SEARCH) == 20
    shown = office.ticket(ticket)
    assert (shown.is_open, shown.revision, shown.evidence["exposure"]["text"]) == (
        True,
        2,
        "$20.00 -> $300.00 a month",
    )
    assert len(office.notices("ticket_opened")) == 2
    assert office.decide("approve", RITA, ticket).state == "approved"
    assert office.spend_limit(SEARCH) == 300


def test_what_gives_less_than_was_shown_is_approved(office: Office) -> None:
    """Nobody has to look twice at a smaller rise; what it was in the end stands with what was done."""
    ticket = _raise_month(office)
    office.change(SEARCH, limits=(usd(250),))
    assert office.decide("approve", RITA, ticket).state == "approved"
    assert office.ticket(ticket).evidence["done"]["exposure"] == "$250.00 -> $300.00 a month"


def test_an_increase_takes_nothing_away(office: Office) -> None:
    """Of a limit that is higher by now than was asked for, nothing is left to approve."""
    ticket = _raise_month(office)
    office.change(SEARCH, limits=(usd(400),))
    assert codes(office.decide("approve", RITA, ticket)) == ["nothing_changes"]
    assert office.spend_limit(SEARCH) == 400


def test_a_renewal_shortens_nothing(office: Office) -> None:
    """A grant that lives longer by now than was asked for keeps its expiry."""
    now = office.grant(SEARCH).expires_at
    ticket = office.opened(SAM, requests.renewal, SEARCH, now + timedelta(days=10), None, "api").id
    office.change(SEARCH, expires_at=now + timedelta(days=20))
    assert codes(office.decide("approve", RITA, ticket)) == ["expiry_not_later"]


def test_a_new_grant_lives_as_long_as_was_shown(office: Office) -> None:
    """What was left to the parent is written out when it is asked: a longer life of the parent is not given on."""
    before = office.grant("acme/research").expires_at
    office.change("acme/research", expires_at=before - timedelta(days=100))
    new = NewGrant(path="acme/research/idea", owner=SAM, limits=(usd(50),))
    ticket = office.opened(SAM, requests.new_grant, new, "api")
    office.change("acme/research", expires_at=before)
    assert office.decide("approve", RITA, ticket.id).state == "approved"
    assert office.grant("acme/research/idea").expires_at == before - timedelta(days=100)


def test_of_two_approvers_both_see_what_it_does(office: Office) -> None:
    """A break-glass that has to raise more above it by now asks both of them anew."""
    ends = office.clock.now() + timedelta(hours=4)
    ticket = office.opened(SAM, requests.break_glass, SEARCH, 100 * USD, ends, "api").id
    assert office.decide("approve", RITA, ticket).state == "open"
    office.change("acme/research", limits=(usd(300),))
    assert codes(office.decide("approve", ADMIN, ticket)) == ["look_again"]
    asked = office.ticket(ticket)
    assert asked.approved_by == () and [one["path"] for one in asked.evidence["raises"]] == ["acme/research", SEARCH]
    assert office.decide("approve", RITA, ticket).state == "open"
    assert office.decide("approve", ADMIN, ticket).state == "approved"


def test_a_request_that_does_not_say_what_was_there_changes_nothing() -> None:
    """The body of a request from before brings no old limit back."""
    old = {"effect": "set_limits", "grant_id": "g", "limits": [{"dimension": "usd", "amount": 9, "period": "month"}]}
    effect = effect_of(old)
    assert changed_limits((Limit("usd", 1, "month"),), effect.limits) == (Limit("usd", 1, "month"),)  # type: ignore[union-attr]
    assert effect_of(effect_body(effect)) == effect


AMOUNTS = st.sampled_from([1, 50, 100, 150, 300])
KEYS = st.sampled_from([("usd", "month"), ("tokens", "day"), ("usd", "day")])
DAYS = st.sampled_from([10, 60, 90, 120, 200])
PLACES = st.sampled_from(["", "/leaf", "/leaf", "/other"])
CHANGES = st.lists(
    st.tuples(PLACES, st.dictionaries(KEYS, AMOUNTS, max_size=3), DAYS | st.none(), st.booleans()), max_size=4
)
ASKS = st.sampled_from(["raise", "lower", "renew", "renew and raise", "transfer", "break-glass", "grant"])


def _amount(key: tuple[str, str], amount: int) -> int:
    return amount * USD if key[0] == "usd" else amount


class Case:
    """`NAME` is rita's, `NAME/leaf` and `NAME/other` are sam's."""

    def __init__(self, office: Office) -> None:
        self.office, self.top = office, f"acme/n{next(NUMBERS)}"
        self.until = office.clock.now() + timedelta(days=90)
        self.top_until = office.make(self.top, RITA, usd(1_000), Limit("tokens", 1_000, "day")).expires_at
        for name in ("leaf", "other"):
            limits = (usd(100), Limit("tokens", 100, "day"))
            office.make(f"{self.top}/{name}", SAM, *limits, expires_at=self.until)

    def ask(self, what: str, amount: int) -> Any:
        leaf, changes = f"{self.top}/leaf", {("usd", "month"): amount * USD}
        until, ends = self.until + timedelta(days=60), self.office.clock.now() + timedelta(hours=4)
        match what:
            case "raise" | "lower":
                return self.office.ask(SAM, requests.increase, leaf, changes, "api")
            case "renew":
                return self.office.ask(SAM, requests.renewal, leaf, until, None, "api")
            case "renew and raise":
                return self.office.ask(SAM, requests.renewal, leaf, until, changes, "api")
            case "transfer":
                move = (f"{self.top}/other", leaf, "usd", "month", 10 * USD)
                return self.office.ask(SAM, requests.transfer, *move, "api")
            case "break-glass":
                return self.office.ask(SAM, requests.break_glass, leaf, 10 * USD, ends, "api")
        new = NewGrant(path=f"{self.top}/new", owner=SAM, limits=(usd(50),))
        return self.office.ask(SAM, requests.new_grant, new, "api")

    def change(self, place: str, limits: dict[Any, int], days: int | None, models: bool) -> None:
        """What somebody else writes meanwhile; most of it stands."""
        factor = 10 if place == "" else 1
        stated = tuple(Limit(key[0], _amount(key, one * factor), key[1]) for key, one in limits.items())
        edit: dict[str, Any] = {"limits": stated} if limits else {}
        if days is not None:
            edit["expires_at"] = self.office.clock.now() + timedelta(days=days * (2 if place == "" else 1))
        if models:
            edit["shape"] = Shape(models=("gpt-4o",))
        self.office.try_change(self.top + place, **edit)

    def grants(self) -> dict[str, Grant]:
        return {one.path: one for one in self.office.tree() if one.path == self.top or one.parent_id is not None}


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(what=ASKS, amount=AMOUNTS, changes=CHANGES)
def test_an_approval_raises_nothing_else(what: str, amount: int, changes: list[Any]) -> None:
    """Limits, scope and term of every grant are after an approval what they were before, but for what was asked and shown."""
    office, case = shared(), Case(shared())
    ticket = case.ask(what, amount)
    if not isinstance(ticket, Ticket):
        return
    for change in changes:
        case.change(*change)
    for _ in range(4):
        before, shown = case.grants(), office.ticket(ticket.id).evidence
        name = ADMIN if RITA in office.ticket(ticket.id).approved_by else RITA
        answer = office.decide("approve", name, ticket.id, admin=name == ADMIN)
        after = case.grants()
        if isinstance(answer, list) or answer.is_open:
            assert after == before
            event("refused" if isinstance(answer, list) and codes(answer) != ["look_again"] else "open")
            continue
        event(f"{what}: approved after {len(changes)} changes")
        _judge(what, amount, case, before, after, shown)
        return


def _judge(  # noqa: PLR0917 - one parameter per thing that is compared
    what: str, amount: int, case: Case, before: dict[str, Grant], after: dict[str, Grant], shown: Any
) -> None:
    leaf, known = f"{case.top}/leaf", {(one["path"], one["dimension"], one["period"]): one for one in shown["raises"]}
    for path, grant in after.items():
        if path not in before:
            assert what == "grant" and grant.limits == (usd(50),) and grant.expires_at == case.top_until
            continue
        old = before[path]
        asked = path == leaf and what.startswith("renew")
        until = case.until + timedelta(days=60) if asked else old.expires_at
        kept = replace(old, limits=grant.limits, expires_at=until, revision=grant.revision, status=grant.status)
        assert grant == kept
        amounts = {(one.dimension, one.period): one.amount for one in grant.limits}
        for limit in old.limits:
            key = (limit.dimension, limit.period)
            # A limit is never lost, and rises only where, and as far as, that was shown.
            if amounts[key] > limit.amount:
                one = known[path, *key]
                assert amounts[key] <= one["after"] and amounts[key] - limit.amount <= one["after"] - one["before"]
                assert what in ("transfer", "break-glass") or (path, key, amounts[key]) == (
                    leaf,
                    ("usd", "month"),
                    amount * USD,
                )
