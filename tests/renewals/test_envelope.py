"""What an envelope decides about requests of people: no more than its author said, and could say."""

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

import pytest

from remit.grants.edits import GrantEdit
from remit.grants.model import Boundary, Delegation, Envelope, Limit
from remit.renewals import requests
from tests.renewals.office import ADMIN, SAM, USD, Office, usd
from tests.renewals.test_succession import leave

SEARCH, AUTHOR = "acme/research/search", "author@acme.example"
Changes = Mapping[tuple[str, str], int]


def _bound(office: Office, by: str = AUTHOR, *, share: int | None = None, **envelope: int) -> None:
    """An envelope over all of research, written by somebody who left nothing else behind."""
    terms = {"max_nanousd": 400 * USD, "max_increase_percent": 50, "max_renewals": 9, "max_term_days": 200, **envelope}
    boundary = Boundary(max_share_percent=share, auto_approve=Envelope(**terms))
    edit = GrantEdit(delegation=Delegation(boundary=boundary))
    office.authority.grants.change("acme/research", edit, office.by(by, admin=True))


def _state(office: Office, name: str, make: Any, *arguments: Any) -> tuple[str, str | None]:
    """How it stands, by whom; what waits is withdrawn."""
    ticket = office.opened(name, make, SEARCH, *arguments)
    if ticket.is_open:
        office.decide("withdraw", name, ticket.id)
    return ticket.state, ticket.decided_by


def test_every_limit_stays_within_the_percent() -> None:
    """Tokens, requests and a limit that another one covers rise by no more than the worst case a month may."""
    office = Office()
    wide = (usd(500), usd(500, "day"), Limit("tokens", 10**9, "month"), Limit("requests", 10**9, "day"))
    own = (usd(200), usd(10, "day"), Limit("tokens", 1000, "month"), Limit("requests", 0, "day"))
    office.change("acme/research", limits=wide)
    office.change(SEARCH, limits=own)
    _bound(office)
    beyond: list[Changes] = [
        {("usd", "month"): 300 * USD + 1},
        {("usd", "day"): 15 * USD + 1},
        {("tokens", "month"): 1501},
        {("requests", "day"): 1},
        {("usd", "month"): 210 * USD, ("tokens", "month"): 1501},
    ]
    for changes in beyond:
        assert _state(office, SAM, requests.increase, changes, "api") == ("open", None), changes
    until = office.clock.now() + timedelta(days=150)
    assert _state(office, SAM, requests.renewal, until, {("tokens", "month"): 1501}, "api") == ("open", None)
    inside = {("usd", "month"): 300 * USD, ("usd", "day"): 15 * USD, ("tokens", "month"): 1500}
    assert _state(office, SAM, requests.increase, inside, "api") == ("approved", AUTHOR)


CASES: dict[str, tuple[Callable[[Office, str], object], str]] = {
    "nothing is in the way": (lambda office, author: None, SAM),
    "whoever wrote it left": (leave, SAM),
    "it is beyond the share of the same boundary": (lambda office, author: _bound(office, author, share=20), SAM),
    "whoever wrote it asks": (lambda office, author: _bound(office, ADMIN, max_renewals=8), ADMIN),
}


@pytest.fixture(scope="module")
def office() -> Office:
    return Office()


@pytest.mark.parametrize("case", CASES)
def test_a_person_decides_what_is_not_the_word_of_who_wrote_it(office: Office, case: str) -> None:
    """An envelope decides for its author, if they are here and do not ask, and no more than the boundary's owner could."""
    author = f"author{list(CASES).index(case)}@acme.example"
    office.change("acme/research", delegation=Delegation())
    _bound(office, author)
    prepare, name = CASES[case]
    prepare(office, author)
    until = office.grant(SEARCH).expires_at + timedelta(days=1)
    expected = ("approved", author) if case == "nothing is in the way" else ("open", None)
    assert _state(office, name, requests.renewal, until, None, "api") == expected


def test_the_audit_names_who_wrote_the_envelope() -> None:
    """Opening is the requester's; the ticket's end and the grant's change are the author's, each with the envelope as its reason."""
    office = Office()
    _bound(office)
    ticket = office.opened(SAM, requests.increase, SEARCH, {("usd", "month"): 250 * USD}, "api")
    assert ticket.state == "approved"
    events = [(one.who, one.what) for one in office.authority.ticket(ticket.id)[1]]  # type: ignore[index]
    assert events == [(SAM, "opened"), (AUTHOR, "approved")]
    rows = office._rows(
        "SELECT subject_kind, actor, reason LIKE 'inside the envelope%%', after ->> 'state' FROM audit"
        " WHERE subject_id IN (%s, %s) ORDER BY seq DESC LIMIT 3",
        ticket.id,
        ticket.grant_id,
    )
    assert rows[::-1] == [
        ("ticket", SAM, False, "open"),
        ("grant", AUTHOR, True, None),
        ("ticket", AUTHOR, True, "approved"),
    ]
