"""Somebody leaves who was asked, or who asked: their tickets are somebody else's in the same transaction."""

import secrets
from datetime import timedelta
from typing import Any

import pytest

from remit.api.decides import TicketDecisions
from remit.api.roster import Left
from remit.grants.edits import NewGrant
from remit.grants.model import Overdraft
from remit.notify.ports import Intent
from remit.renewals import requests
from remit.store.connect import opener
from remit.store.postgres_writes import PostgresWrites
from tests.renewals.office import ADMIN, EVE, RITA, SAM, TOM, USD, Office, codes, usd

SEARCH = "acme/research/search"


@pytest.fixture
def office() -> Office:
    return Office()


def leave(office: Office, name: str, successor: str | None = None) -> Left:
    """As the command, the API and a directory say it."""

    def do(unit: Any) -> Any:
        left = office.authority.roster_over(unit).leave(name, successor, office.by(ADMIN, admin=True))
        return (left, {}) if isinstance(left, Left) else left

    left = office.authority.writes.once(
        secrets.token_hex(8), {"actor": "ada@acme.example", "operation": "person leave"}, do
    )
    assert isinstance(left, Left), left
    return left


def _increase(office: Office, name: str = SAM) -> str:
    return office.opened(name, requests.increase, SEARCH, {("usd", "month"): 300 * USD}, "api").id


def _events(office: Office, ticket: str) -> list[tuple[str, str]]:
    found = office.authority.ticket(ticket)
    assert found is not None
    return [(one.who, one.what) for one in found[1]]


def _told(office: Office, kind: str) -> list[list[str]]:
    return [recipients for found, recipients in office.recipients() if found == kind]


@pytest.mark.parametrize("successor", [None, EVE])
def test_what_waited_for_them_is_handed_on_at_once(office: Office, successor: str | None) -> None:
    """To the successor who stands there now, or to whoever is next above; with an event, a notification and time to answer."""
    ticket = _increase(office)
    office.clock.advance(timedelta(hours=20))
    left = leave(office, RITA, successor)
    handed = office.ticket(ticket)
    assert left.tickets.handed_on == (ticket,) and left.tickets.withdrawn == ()
    heir = successor or ADMIN
    assert (handed.assignees, handed.state, handed.due_at) == (
        (heir,),
        "open",
        office.clock.now() + timedelta(hours=24),
    )
    assert _events(office, ticket)[-1] == (ADMIN, "reassigned")
    assert _told(office, "ticket_opened") == [[RITA], [heir]]
    assert codes(office.decide("approve", RITA, ticket)) == ["not_permitted"]
    assert office.decide("approve", heir, ticket).state == "approved"


def test_who_is_left_of_several_goes_on(office: Office) -> None:
    """Where others were asked as well, the ticket stays with them and its due time is not moved."""
    office.authority.people().create(EVE, "setup", is_admin=True)
    ticket = _increase(office)
    office.clock.advance(office.ticket(ticket).due_at - office.clock.now())
    office.round()
    before = office.ticket(ticket)
    assert before.assignees == (ADMIN, EVE)
    leave(office, EVE)
    assert (office.ticket(ticket).assignees, office.ticket(ticket).due_at) == ((ADMIN,), before.due_at)


def test_the_request_of_who_left_is_their_successors(office: Office) -> None:
    """A request about a grant goes on as that of its new owner, who is told and does not decide it."""
    ticket = _increase(office)
    left = leave(office, SAM, RITA)
    handed = office.ticket(ticket)
    assert left.tickets.handed_on == (ticket,)
    assert (handed.requester, handed.assignees) == (RITA, (ADMIN,))
    assert [RITA] in _told(office, "ticket_commented")
    assert codes(office.decide("approve", RITA, ticket)) == ["not_permitted"]
    assert office.decide("approve", ADMIN, ticket).state == "approved"
    assert office.grant(SEARCH).owner == RITA


def test_the_request_of_who_left_without_a_successor_is_withdrawn(office: Office) -> None:
    """Nobody would answer for what it gives; whoever was asked is told, and nothing is left to approve."""
    ticket = _increase(office)
    left = leave(office, SAM)
    assert left.tickets.withdrawn == (ticket,)
    assert office.ticket(ticket).state == "withdrawn"
    assert _told(office, "ticket_decided") == [[RITA]]
    assert codes(office.decide("approve", RITA, ticket)) == ["ticket_not_open"]


@pytest.mark.parametrize(("asker", "owner"), [(EVE, EVE), (EVE, TOM), (TOM, EVE)])
def test_a_grant_for_who_left_or_that_they_asked_for_is_not_made(office: Office, asker: str, owner: str) -> None:
    """It is withdrawn also where there is a successor: whoever wants it asks in their own name."""
    new = NewGrant(path="acme/research/idea", owner=owner, limits=(usd(50),))
    ticket = office.opened(asker, requests.new_grant, new, "api").id
    assert leave(office, EVE, SAM).tickets.withdrawn == (ticket,)
    assert office.ticket(ticket).state == "withdrawn"
    assert office.tree().at_path("acme/research/idea") is None


def test_a_word_of_who_left_counts_no_more(office: Office) -> None:
    """Of the two who break glass, one who left in between is replaced by another."""
    ends = office.clock.now() + timedelta(hours=4)
    ticket = office.opened(SAM, requests.break_glass, SEARCH, 10 * USD, ends, "api").id
    assert office.decide("approve", RITA, ticket).state == "open"
    leave(office, RITA)
    assert office.ticket(ticket).approved_by == ()
    assert office.decide("approve", ADMIN, ticket).state == "open"
    assert office.spend_limit(SEARCH) == 200


def test_what_is_owed_is_decided_all_the_same(office: Office) -> None:
    """A debt's ticket is nobody's wish: it stays open, and is its new owner's not to decide where there is one."""
    office.make("acme/research/prod", SAM, usd(0), by=ADMIN, overdraft=Overdraft(max_nanousd=5 * USD))
    office.owe("acme/research/prod", 2 * USD)
    office.round()
    (ticket,) = office.authority.tickets_listed(state="open", kind="debt")
    leave(office, SAM)
    assert (office.ticket(ticket.id).requester, office.ticket(ticket.id).is_open) == (SAM, True)
    assert leave(office, SAM, RITA).tickets.handed_on == (ticket.id,)
    assert (office.ticket(ticket.id).requester, office.ticket(ticket.id).assignees) == (RITA, (ADMIN,))


def test_who_stood_in_for_them_is_not_asked_any_more(office: Office) -> None:
    """A ticket that waits for the stand-in of an owner who leaves goes to who owns it now."""

    def stand_in(unit: Any) -> Any:
        until = office.clock.now() + timedelta(days=3)
        office.authority.roster_over(unit).delegate(RITA, EVE, until, office.by(ADMIN, admin=True).actor)
        return None, {}

    office.authority.writes.once("stand-in", {"actor": "ada@acme.example", "operation": "person delegate"}, stand_in)
    ticket = _increase(office)
    assert office.ticket(ticket).assignees == (EVE,)
    leave(office, RITA, TOM)
    assert office.ticket(ticket).assignees == (TOM,)
    assert codes(office.decide("approve", EVE, ticket)) == ["not_permitted"]


def test_tickets_of_others_stay_as_they_are(office: Office) -> None:
    """Who has nothing to do with a ticket changes nothing by leaving."""
    ticket = _increase(office)
    before = office.ticket(ticket)
    assert leave(office, TOM).tickets.handed_on == ()
    assert office.ticket(ticket) == before


@pytest.mark.parametrize("verb", ["comment", "withdraw"])
def test_who_left_has_no_say(office: Office, verb: str) -> None:
    """What they say in another system after they left is neither noted nor done, also about a ticket in their name."""
    office.make("acme/research/prod", SAM, usd(0), by=ADMIN, overdraft=Overdraft(max_nanousd=5 * USD))
    office.owe("acme/research/prod", 2 * USD)
    office.round()
    (ticket,) = office.authority.tickets_listed(state="open", kind="debt")
    leave(office, SAM)
    assert office.ticket(ticket.id).requester == SAM
    events = _events(office, ticket.id)
    writes = PostgresWrites(opener(office.authority.url, "remit_authority"), office.clock, "hook")
    decisions = TicketDecisions(writes, office.authority.tickets_over, office.clock)
    action: Any = verb
    said = decisions.carry_out(
        Intent(source="github", delivery_id="1", action=action, person=SAM, text="never mind", ticket_id=ticket.id)
    )
    assert said == f"`{SAM}` has left" and _events(office, ticket.id) == events
