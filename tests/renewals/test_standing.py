"""Whose word counts is where they stand when they say it: not a role elsewhere, not one that ended, not the requester's own choice."""

import secrets
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from remit.grants.model import Actor, Overdraft, Role
from remit.renewals import requests
from remit.renewals.model import Ticket
from tests.renewals.office import ADMIN, EVE, RITA, SAM, TOM, USD, Office, codes, usd

SEARCH = "acme/research/search"


@pytest.fixture
def office() -> Office:
    return Office()


def _once(office: Office, do: Callable[[Any], Any]) -> Any:
    return office.authority.writes.once(secrets.token_hex(8), {"actor": ADMIN, "operation": "prepare"}, do)


def _give(office: Office, person: str, role: Role, path: str | None) -> str:
    """A role for somebody; its id."""
    return office.give(person, role, path)


def _end(office: Office, role: str) -> None:
    _once(office, lambda unit: (office.authority.roster_over(unit).end(role, Actor(ADMIN, True)), {}))


def _stand_in(office: Office, name: str, delegate: str | None) -> None:
    until = None if delegate is None else office.clock.now() + timedelta(days=30)
    _once(office, lambda unit: (office.authority.roster_over(unit).delegate(name, delegate, until, Actor(name)), {}))


def _debt(office: Office) -> Ticket:
    """Sam owes, and is who is taken to ask."""
    office.make("acme/research/prod", SAM, usd(0), by=ADMIN, overdraft=Overdraft(max_nanousd=5 * USD))
    office.owe("acme/research/prod", 2 * USD)
    office.round()
    (ticket,) = office.authority.tickets_listed(state="open", kind="debt")
    return ticket


def _glass(office: Office, name: str = SAM) -> Ticket:
    ends = office.clock.now() + timedelta(hours=4)
    return office.opened(name, requests.break_glass, SEARCH, 100 * USD, ends, "api")


def _escalated(office: Office, ticket: Ticket) -> Ticket:
    office.clock.advance(ticket.due_at - office.clock.now())
    office.round()
    return office.ticket(ticket.id)


def _approved(office: Office, name: str, ticket: Ticket) -> Ticket:
    answer = office.decide("approve", name, ticket.id)
    assert isinstance(answer, Ticket), answer
    return answer


def test_finance_of_another_part_does_not_forgive(office: Office) -> None:
    """A debt is asked of finance for everything or for what stands above it, and not of finance for something else."""
    office.make("acme/other", TOM, usd(10))
    _give(office, EVE, "finance", "acme/other")
    _give(office, TOM, "finance", "acme/research")
    asked = _escalated(office, _debt(office))
    assert (asked.level, asked.assignees) == (1, (TOM,))
    assert codes(office.decide("approve", EVE, asked.id)) == ["not_permitted"]
    assert _approved(office, TOM, asked).state == "approved"


def _no_stand_in(office: Office) -> Callable[[], object]:
    _stand_in(office, RITA, EVE)
    return lambda: _stand_in(office, RITA, None)


def _no_owner(office: Office) -> Callable[[], object]:
    office.change("acme/research", owner=EVE)
    return lambda: office.change("acme/research", owner=RITA)


@pytest.mark.parametrize("prepare", [_no_stand_in, _no_owner])
def test_authority_that_has_ended_forgives_nothing(office: Office, prepare: Any) -> None:
    """Who was asked while they stood in, or owned what is above, is refused once that is over, and whoever has it now is not."""
    end = prepare(office)
    ticket = _debt(office)
    assert ticket.assignees == (EVE,)
    end()
    for verb in ("approve", "decline"):
        assert codes(office.decide(verb, EVE, ticket.id)) == ["not_permitted"]
    assert _approved(office, RITA, ticket).state == "approved"
    assert office.authority.ledger.debts() == []


def test_a_role_that_ended_is_no_word_of_a_break_glass(office: Office) -> None:
    """Neither one that is said after its end, nor one that was said before it: two who still stand there are needed."""
    role = _give(office, EVE, "approver", None)
    asked = _glass(office)
    assert asked.assignees == (RITA, EVE)
    assert _approved(office, EVE, asked).approved_by == (EVE,)
    _end(office, role)
    waits = _approved(office, RITA, asked)
    assert (waits.state, waits.approved_by) == ("open", (RITA,))
    assert codes(office.decide("approve", EVE, asked.id)) == ["not_permitted"]
    assert office.spend_limit(SEARCH) == 200
    done = _approved(office, ADMIN, asked)
    assert (done.state, done.approved_by) == ("approved", (RITA, ADMIN))


def test_who_stands_in_for_finance_is_asked_and_decides(office: Office) -> None:
    """Standing in for somebody who is asked by their role counts as long as it lasts."""
    _give(office, EVE, "finance", None)
    _stand_in(office, EVE, TOM)
    asked = _escalated(office, _debt(office))
    assert asked.assignees == (TOM,)
    assert _approved(office, TOM, asked).state == "approved"


def test_a_word_said_where_the_database_is_counts(office: Office) -> None:
    """Whoever may run commands answers for everything without any role, and is one of two for somebody who comes later."""
    ticket = _glass(office)
    by = office.by("ops@acme.example", admin=True)
    _once(office, lambda unit: (office.authority.tickets_over(unit).approve(ticket.id, by, "command"), {}))
    done = _approved(office, RITA, ticket)
    assert (done.state, done.approved_by) == ("approved", ("ops@acme.example", RITA))


def test_nobody_names_who_decides_their_own_request(office: Office) -> None:
    """Standing in for the requester gives no word about what they asked or owe, though they own what is above it."""
    office.change("acme/research", owner=SAM)
    debt, glass = _debt(office), _glass(office)
    increase = office.opened(SAM, requests.increase, SEARCH, {("usd", "month"): 250 * USD}, "api")
    _stand_in(office, SAM, EVE)
    for ticket in (debt, glass, increase):
        assert ticket.requester == SAM
        assert codes(office.decide("approve", EVE, ticket.id)) == ["not_permitted"]
    # For anybody else's request they do stand in.
    theirs = office.opened(TOM, requests.increase, "acme/research/eval", {("usd", "month"): 110 * USD}, "api")
    assert theirs.assignees == (EVE,)
    assert _approved(office, EVE, theirs).state == "approved"


def test_a_narrowed_token_is_no_word_for_what_it_does_not_reach(office: Office) -> None:
    """Where a break-glass raises something above the grant a token is held to, the token is not one of the two."""
    office.change("acme", limits=(usd(500),))
    office.make("acme/research/full", RITA, usd(200))
    ticket = _glass(office)
    assert "acme" in [one["path"] for one in ticket.evidence["raises"]]

    def narrowed(ticket: Ticket) -> Any:
        by = replace(office.by(RITA), actor=Actor(RITA, within=office.grant("acme/research").id))

        def do(unit: Any) -> Any:
            answer = office.authority.tickets_over(unit).approve(ticket.id, by)
            return answer[0] if isinstance(answer, list) else (answer, {})

        return _once(office, do)

    refused = narrowed(ticket)
    assert refused.code == "not_permitted" and "`acme` as well" in refused.detail
    assert office.ticket(ticket.id).approved_by == ()
    office.decide("decline", RITA, ticket.id)
    office.change("acme", limits=(usd(1000),))
    # All of this one lies below the token's grant, or is that grant.
    assert narrowed(_glass(office)).approved_by == (RITA,)
