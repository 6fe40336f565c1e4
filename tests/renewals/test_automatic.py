"""Nothing renews itself without a person, but what a grant and an envelope above it have settled ahead."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from remit.grants.edits import GrantEdit
from remit.grants.fields import field_problems
from remit.grants.model import Boundary, Delegation, Envelope, Renewal
from remit.grants.service import Written
from remit.renewals import requests
from tests.renewals.office import ADMIN, EVE, RITA, SAM, USD, Office, usd
from tests.renewals.test_succession import leave

SEARCH = "acme/research/search"
ENVELOPE = Envelope(max_nanousd=200 * USD, max_renewals=2, max_term_days=60)


def bound(envelope: Envelope | None = ENVELOPE, **more: Any) -> Delegation:
    return Delegation(boundary=Boundary(auto_approve=envelope, **more))


@pytest.fixture
def office() -> Office:
    """Rita's envelope covers sam's grant, which says that it is to be renewed by itself; its window is open."""
    office = Office()
    office.change("acme/research", delegation=bound())
    office.change(SEARCH, renewal=Renewal(auto_tier="small"))
    office.clock.advance(timedelta(days=78))
    return office


def test_what_is_settled_ahead_is_renewed_in_its_window(office: Office) -> None:
    """The round asks, the envelope answers as whoever wrote it; owner and stand-in are told; the next round does nothing."""

    def stand_in(unit: Any) -> Any:
        until = office.clock.now() + timedelta(days=3)
        office.authority.roster_over(unit).delegate(SAM, EVE, until, office.by(ADMIN, admin=True).actor)
        return None, {}

    office.authority.writes.once("stand-in", {"actor": "ada@acme.example", "operation": "person delegate"}, stand_in)
    did = office.round()
    # The other grant of the office is reminded of as ever.
    assert (did.renewed, did.reminded) == (1, 1)
    assert office.grant(SEARCH).expires_at == office.clock.now() + timedelta(days=60)
    (ticket,) = office.authority.tickets_listed(kind="renew")
    assert (ticket.state, ticket.tier, ticket.requester, ticket.decided_by) == ("approved", "auto", "remit", ADMIN)
    assert "`acme/research` states at revision 2" in str(ticket.decision_reason)
    assert ("ticket_decided", [SAM, EVE]) in office.recipients()
    revision = office.authors()[-1]
    assert revision[:2] == (SEARCH, ADMIN)
    assert office.round().renewed == 0


def test_so_many_in_a_row_and_no_more(office: Office) -> None:
    """After as many as the envelope says a person has to ask; what one decided begins the count anew."""
    for expected in (1, 1, 0):
        assert office.round().renewed == expected
        if expected:
            office.clock.advance(office.grant(SEARCH).expires_at - office.clock.now() - timedelta(days=2))
    assert SEARCH in [row["path"] for row in office.notices("renewal_due")]
    assert len(office.authority.tickets_listed(kind="renew")) == 2


class Case:
    """A grant of its own owner below an envelope of its own author, where everything is settled ahead."""

    def __init__(self, office: Office, number: int) -> None:
        self.office, self.top, self.leaf = office, f"acme/c{number}", f"acme/c{number}/leaf"
        self.owner, self.author = f"owner{number}@acme.example", f"author{number}@acme.example"
        office.make(self.top, RITA, usd(700))
        self.until = office.clock.now() + timedelta(days=90)
        office.make(self.leaf, self.owner, usd(200), renewal=Renewal(auto_tier="small"), expires_at=self.until)
        self.bound()

    def bound(self, **envelope: int) -> None:
        delegation = bound(replace(ENVELOPE, **envelope))
        by = self.office.by(self.author, admin=True)
        self.office.authority.grants.change(self.top, GrantEdit(delegation=delegation), by)

    def change(self, **fields: Any) -> None:
        self.office.change(self.leaf, **fields)


CASES: dict[str, Callable[[Case], object]] = {
    "nothing is in the way": lambda c: None,
    "the grant does not say so": lambda c: c.change(renewal=Renewal()),
    "its tier is beyond what the grant says": lambda c: (c.change(limits=(usd(600),)), c.bound(max_nanousd=700 * USD)),
    "there is no envelope": lambda c: c.office.change(c.top, delegation=Delegation()),
    "the envelope is smaller": lambda c: c.bound(max_nanousd=199 * USD),
    "the envelope renews nothing": lambda c: c.bound(max_renewals=0),
    "the envelope's term is over before": lambda c: c.bound(max_term_days=10),
    "it would be in its window again at once": lambda c: c.bound(max_term_days=12),
    "its owner left": lambda c: leave(c.office, c.owner),
    "whoever wrote the envelope left": lambda c: leave(c.office, c.author),
    "more than the boundary lets be handed out": lambda c: c.office.change(
        c.top, delegation=bound(max_share_percent=20)
    ),
    "it spends faster than its time passes": lambda c: c.office.spend(c.leaf, 150 * USD),
    "it is suspended": lambda c: c.office.authority.grants.suspend(c.leaf, c.office.by(ADMIN, admin=True)),
}


def test_what_is_not_inside_waits_for_a_person() -> None:
    """Each of the conditions alone is enough: nothing is asked, nothing renewed, and the owner is reminded as ever."""
    office = Office()
    office.change("acme", limits=(usd(100_000),))
    cases = {name: Case(office, number) for number, name in enumerate(CASES)}
    office.clock.advance(timedelta(days=78, hours=12))
    for name, case in cases.items():
        CASES[name](case)
    assert office.round().renewed == 1
    reminded = {row["path"] for row in office.notices("renewal_due")}
    asked = [ticket.path for ticket in office.authority.tickets_listed(kind="renew")]
    fine = cases.pop("nothing is in the way")
    assert asked == [fine.leaf] and fine.leaf not in reminded
    assert office.grant(fine.leaf).expires_at == office.clock.now() + timedelta(days=60)
    for name, case in cases.items():
        assert office.grant(case.leaf).expires_at == case.until, name
        assert (case.leaf in reminded) == (name != "it is suspended"), name


def test_a_tier_is_one_of_three(office: Office) -> None:
    """Any other word is refused where it is written, and does not silently renew nothing."""
    odd = replace(office.grant(SEARCH), renewal=Renewal(auto_tier="any"))
    assert [problem.field for problem in field_problems(odd)] == ["renewal.auto_tier"]


def test_an_envelope_lifts_no_suspension(office: Office) -> None:
    """A grant that was suspended, ran out and is renewed inside an envelope is suspended still; no look finds it meanwhile."""
    office.authority.grants.suspend(SEARCH, office.by(ADMIN, admin=True))
    earlier = GrantEdit(expires_at=office.clock.now() + timedelta(seconds=1))
    assert isinstance(office.authority.grants.change(SEARCH, earlier, office.by(SAM)), Written)
    office.clock.advance(timedelta(seconds=2))
    office.round()
    assert not office.authority.care.grants_are_due()
    assert office.authority.jobs.wanted(office.clock.now(), [], delivers=False) == []
    until = office.clock.now() + timedelta(days=50)
    ticket = office.opened(SAM, requests.renewal, SEARCH, until, None, "api")
    assert (ticket.state, ticket.decided_by) == ("approved", ADMIN)
    assert (office.grant(SEARCH).status, office.grant(SEARCH).expires_at) == ("suspended", until)
