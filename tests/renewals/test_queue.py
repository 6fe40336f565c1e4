"""Tickets: who is asked, who decides, what an approval does, what silence does."""

import secrets
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from remit.grants.edits import NewGrant
from remit.grants.model import Actor, Overdraft
from remit.grants.service import Written
from remit.renewals import asking, requests, rounds
from tests.renewals.office import ADMIN, EVE, RITA, SAM, TOM, USD, Office, codes, usd


@pytest.fixture
def office() -> Office:
    return Office()


def _increase(office: Office, amount: int = 300) -> str:
    changes = {("usd", "month"): amount * USD}
    return office.opened(SAM, requests.increase, "acme/research/search", changes, "api").id


def test_the_owner_above_is_asked_and_the_worst_case_is_stated(office: Office) -> None:
    """An increase waits for the owner of the parent, with what it does to the worst case a month."""
    ticket = office.ticket(_increase(office))
    assert (ticket.kind, ticket.assignees, ticket.requester) == ("increase", (RITA,), SAM)
    assert ticket.evidence["exposure"]["text"] == "$200.00 -> $300.00 a month"
    (notice,) = office.notices("ticket_opened")
    assert notice["audience"] == "named"


def test_an_approval_and_its_effect_are_one(office: Office) -> None:
    """Approving raises the limit in the same transaction, once; a second decision finds the ticket ended."""
    ticket = _increase(office)
    assert office.decide("approve", RITA, ticket).state == "approved"
    assert office.spend_limit("acme/research/search") == 300
    assert codes(office.decide("approve", RITA, ticket)) == ["ticket_not_open"]
    assert codes(office.decide("decline", ADMIN, ticket, admin=True)) == ["ticket_not_open"]
    assert office.grant("acme/research/search").revision == 2


def test_nobody_decides_their_own_request(office: Office) -> None:
    """The requester is refused, however they write their address, and so is who stands beside or below."""
    ticket = _increase(office)
    for name in (SAM, SAM.upper(), TOM, EVE):
        assert codes(office.decide("approve", name, ticket)) == ["not_permitted"]
        assert codes(office.decide("decline", name, ticket)) == ["not_permitted"]
    assert office.spend_limit("acme/research/search") == 200


def test_an_admin_does_not_decide_their_own_request_either(office: Office) -> None:
    """Being an owner of the organisation does not replace the second person."""
    office.authority.people().create(EVE, "setup", is_admin=True)
    ticket = office.opened(ADMIN, requests.increase, "acme/research/search", {("usd", "month"): 300 * USD}, "api")
    assert codes(office.decide("approve", ADMIN, ticket.id, admin=True)) == ["not_permitted"]
    assert office.decide("approve", RITA, ticket.id).state == "approved"


def test_what_cannot_be_done_is_not_asked(office: Office) -> None:
    """A request beyond the parent is refused at once, with the numbers, instead of waiting in vain."""
    changes = {("usd", "month"): 600 * USD}
    assert codes(office.ask(SAM, requests.increase, "acme/research/search", changes, "api")) == ["shares_exceeded"]
    assert office.authority.tickets_listed(state="open") == []


def test_what_no_longer_fits_is_not_approved(office: Office) -> None:
    """An approval that would exceed the parent by now is refused and the ticket stays open."""
    ticket = _increase(office, 400)
    office.make("acme/research/more", RITA, usd(150), by=RITA)
    assert codes(office.decide("approve", RITA, ticket)) == ["shares_exceeded"]
    assert office.ticket(ticket).is_open
    assert office.spend_limit("acme/research/search") == 200


def test_a_new_grant_is_asked_for_and_made(office: Office) -> None:
    """Somebody who owns nothing asks for a grant below another's; approving it makes it."""
    new = NewGrant(path="acme/research/idea", owner=EVE, limits=(usd(50),), grant_class="experimentation")
    ticket = office.opened(EVE, requests.new_grant, new, "api")
    assert ticket.assignees == (RITA,)
    assert office.decide("approve", RITA, ticket.id).state == "approved"
    made = office.grant("acme/research/idea")
    assert (made.owner, made.status, made.limits) == (EVE, "active", (usd(50),))


def test_silence_escalates_and_then_expires(office: Office) -> None:
    """Unanswered, a ticket goes to the owners of the organisation, and then it expires without any effect."""
    ticket = _increase(office)
    due = office.ticket(ticket).due_at
    office.clock.advance(due - office.clock.now())
    assert office.round().escalated == 1
    asked = office.ticket(ticket)
    assert (asked.level, asked.assignees) == (1, (ADMIN,))
    assert office.round().escalated == 0
    office.clock.advance(asked.due_at - office.clock.now())
    assert office.round().expired == 1
    assert office.ticket(ticket).state == "expired"
    assert codes(office.decide("approve", ADMIN, ticket, admin=True)) == ["ticket_not_open"]
    assert office.spend_limit("acme/research/search") == 200


def test_one_thing_has_one_open_ticket(office: Office) -> None:
    """Asking again names the ticket that waits; after it has ended one may ask anew."""
    first = _increase(office)
    again = office.ask(SAM, requests.increase, "acme/research/search", {("usd", "month"): 250 * USD}, "api")
    assert codes(again) == ["ticket_open_already"]
    assert office.decide("withdraw", SAM, first).state == "withdrawn"
    assert _increase(office) != first


def test_only_the_requester_withdraws(office: Office) -> None:
    """Others, the one who decides among them, cannot take a request back."""
    ticket = _increase(office)
    assert codes(office.decide("withdraw", RITA, ticket)) == ["not_permitted"]


def test_a_renewal_may_shrink(office: Office) -> None:
    """A renewal states a later expiry and, where that is named, a smaller limit; both come with the approval."""
    until = office.grant("acme/research/search").expires_at + timedelta(days=90)
    ticket = office.opened(SAM, requests.renewal, "acme/research/search", until, {("usd", "month"): 120 * USD}, "api")
    assert ticket.evidence["exposure"]["text"] == "$200.00 -> $120.00 a month"
    office.decide("approve", RITA, ticket.id)
    renewed = office.grant("acme/research/search")
    assert (renewed.expires_at, renewed.limits) == (until, (usd(120),))


def test_an_expired_grant_comes_back_by_a_renewal_only(office: Office) -> None:
    """Once its time is up a grant is dead until somebody above approves a renewal."""
    office.clock.advance(timedelta(days=91))
    office.round()
    assert office.grant("acme/research/search").status == "expired"
    assert len(office.notices("lapsed")) == 2
    until = office.clock.now() + timedelta(days=90)
    ticket = office.opened(SAM, requests.renewal, "acme/research/search", until, None, "api")
    office.decide("approve", RITA, ticket.id)
    assert office.grant("acme/research/search").status == "active"


def test_reminders_come_once_per_step_and_stop_with_a_request(office: Office) -> None:
    """The owner is told when the window opens and at each step; not twice, and not while a renewal waits."""
    office.clock.advance(timedelta(days=70))
    assert office.round().reminded == 0
    office.clock.advance(timedelta(days=8))
    assert office.round().reminded == 2
    assert office.round().reminded == 0
    office.clock.advance(timedelta(days=6))
    until = office.grant("acme/research/search").expires_at + timedelta(days=90)
    office.opened(SAM, requests.renewal, "acme/research/search", until, None, "api")
    assert office.round().reminded == 1
    paths = [row["path"] for row in office.notices("renewal_due")]
    assert sorted(paths) == ["acme/research/eval", "acme/research/eval", "acme/research/search"]


def test_break_glass_takes_two_ends_by_itself_and_is_reviewed(office: Office) -> None:
    """Two people raise a grant, and what stands above it as far as needed; at its end all of it is taken back and looked at."""
    office.make("acme/research/more", RITA, usd(200), by=RITA)
    ends = office.clock.now() + timedelta(hours=4)
    ticket = office.opened(SAM, requests.break_glass, "acme/research/search", 100 * USD, ends, "api")
    assert (ticket.needed, ticket.assignees) == (2, (RITA, ADMIN)), "both are asked, and told, at once"
    assert [ADMIN in names for kind, names in office.recipients() if kind == "ticket_opened"] == [True]
    assert office.decide("approve", RITA, ticket.id).state == "open"
    assert codes(office.decide("approve", RITA, ticket.id)) == ["approved_already"]
    assert office.spend_limit("acme/research/search") == 200
    assert office.decide("approve", ADMIN, ticket.id).state == "approved"
    assert [office.spend_limit(path) for path in ("acme", "acme/research", "acme/research/search")] == [1000, 600, 300]
    office.clock.advance(timedelta(hours=4))
    assert office.round().ended == 1
    assert [office.spend_limit(path) for path in ("acme", "acme/research", "acme/research/search")] == [1000, 500, 200]
    (review,) = office.authority.tickets_listed(state="open", kind="finding")
    assert review.evidence["break_glass"] == ticket.id
    assert office.round().ended == 0


def test_what_was_handed_on_meanwhile_is_said_and_not_taken_back(office: Office) -> None:
    """A grant made out of a break-glass's extra stays, the round goes on, and the review says what could not be lowered."""
    ends = office.clock.now() + timedelta(hours=4)
    ticket = office.opened(SAM, requests.break_glass, "acme/research/search", 100 * USD, ends, "api")
    office.decide("approve", RITA, ticket.id)
    office.decide("approve", ADMIN, ticket.id)
    office.make("acme/research/search/child", SAM, usd(250), by=SAM)
    office.clock.advance(timedelta(hours=4))
    assert office.round().ended == 1
    (review,) = office.authority.tickets_listed(state="open", kind="finding")
    assert "acme/research/search/child" in review.evidence["not_taken_back"][0]
    assert office.spend_limit("acme/research/search") == 300
    assert office.round().ended == 0


@pytest.mark.parametrize("revoked", [False, True])
def test_what_was_moved_to_a_sibling_meanwhile_is_said(office: Office, revoked: bool) -> None:
    """A sibling that was given a break-glass's extra keeps it, and the review says so, also of a grant that is revoked by then."""
    office.change("acme/research/eval", owner=SAM)
    ends = office.clock.now() + timedelta(hours=4)
    ticket = office.opened(SAM, requests.break_glass, "acme/research/search", 100 * USD, ends, "api")
    office.decide("approve", RITA, ticket.id)
    office.decide("approve", ADMIN, ticket.id)
    grants = office.authority.grants
    moved = ("acme/research/search", "acme/research/eval", "usd", "month", 260 * USD)
    assert isinstance(grants.transfer(*moved, office.by(SAM)), Written)
    if revoked:
        assert isinstance(grants.revoke("acme/research/search", office.by(SAM)), Written)
    office.clock.advance(timedelta(hours=4))
    assert office.round().ended == 1
    (review,) = office.authority.tickets_listed(state="open", kind="finding")
    (kept,) = review.evidence["not_taken_back"]
    assert "`acme/research/search` was given $100.00 per month and has $40.00 per month left" in kept
    assert office.spend_limit("acme/research/search") == (40 if revoked else 0)


def test_a_token_held_to_one_grant_asks_and_decides_about_nothing_else(office: Office) -> None:
    """A narrowed token neither asks for, approves, comments on nor takes back what lies outside the grant it is held to."""
    ticket = _increase(office)

    def act(verb: str, name: str, within: str, *said: str) -> Any:
        by = replace(office.by(name), actor=Actor(name, within=office.grant(within).id))

        def do(unit: Any) -> Any:
            answer = getattr(office.authority.tickets_over(unit), verb)(ticket, *said, by)
            return answer[0] if isinstance(answer, list) else (answer, {})

        return office.authority.writes.once(secrets.token_hex(8), {"actor": name, "operation": "ticket approve"}, do)

    assert act("withdraw", SAM, "acme/research/eval").code == "ticket_unknown"
    assert act("comment", SAM, "acme/research/eval", "hm").code == "ticket_unknown"
    assert act("comment", SAM, "acme/research/search", "hm").is_open
    assert act("approve", RITA, "acme/research/eval").code == "not_permitted"
    assert act("approve", RITA, "acme/research").state == "approved"


def test_break_glass_is_bounded(office: Office) -> None:
    """More than the policy's amount, or for longer than its hours, is not even asked."""
    now = office.clock.now()
    too_much = office.ask(
        SAM, requests.break_glass, "acme/research/search", 1001 * USD, now + timedelta(hours=1), "api"
    )
    assert codes(too_much) == ["break_glass_too_large"]
    too_long = office.ask(SAM, requests.break_glass, "acme/research/search", USD, now + timedelta(hours=25), "api")
    assert codes(too_long) == ["break_glass_too_long"]


def test_a_ticket_is_handed_to_who_may_decide_it(office: Office) -> None:
    """An assignee hands a ticket on to somebody who stands above; to others, or to the requester, they cannot."""
    ticket = _increase(office)

    def hand(to: str) -> object:
        def do(unit: object) -> object:
            answer = office.authority.tickets_over(unit).reassign(ticket, to, office.by(RITA))  # type: ignore[arg-type]
            return answer[0] if isinstance(answer, list) else (answer, {})

        return office.authority.writes.once(f"hand-{to}", {"actor": RITA, "operation": "ticket reassign"}, do)  # type: ignore[arg-type]

    assert hand(TOM).code == "not_permitted"  # type: ignore[attr-defined]
    assert hand(SAM).code == "not_permitted"  # type: ignore[attr-defined]
    assert hand(ADMIN).assignees == (ADMIN,)  # type: ignore[attr-defined]


def test_who_owes_a_debt_does_not_decide_about_it(office: Office) -> None:
    """A debt's ticket goes to the owner above, forgiving it settles it once, and declining leaves it to be repaid."""
    office.make("acme/research/prod", SAM, usd(0), by=ADMIN, overdraft=Overdraft(max_nanousd=5 * USD))
    office.owe("acme/research/prod", 2 * USD)
    assert office.round().opened == 1
    (ticket,) = office.authority.tickets_listed(state="open", kind="debt")
    assert (ticket.requester, ticket.assignees) == (SAM, (RITA,))
    assert codes(office.decide("approve", SAM, ticket.id)) == ["not_permitted"]
    assert office.decide("approve", RITA, ticket.id).state == "approved"
    assert office.authority.ledger.debts() == []
    assert office.round().opened == 0


def test_a_person_has_so_many_open_tickets_and_a_round_escalates_so_many(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One more is refused until one has ended; a debt of theirs is no request; what a round leaves is the next one's."""
    monkeypatch.setattr(asking, "MAX_OPEN_TICKETS", 3)
    monkeypatch.setattr(rounds, "OVERDUE_AT_ONCE", 2)
    wanted = [NewGrant(path=f"acme/research/search/x{number}", owner=EVE, limits=(usd(1),)) for number in range(4)]
    tickets = [office.opened(EVE, requests.new_grant, one, "api") for one in wanted[:3]]
    assert codes(office.ask("Eve@ACME.example", requests.new_grant, wanted[3], "api")) == ["too_many_tickets"]
    office.make("acme/research/prod", EVE, usd(0), by=ADMIN, overdraft=Overdraft(max_nanousd=5 * USD))
    office.owe("acme/research/prod", 2 * USD)
    assert office.round().opened == 1
    office.decide("withdraw", EVE, tickets[0].id)
    tickets[0] = office.opened(EVE, requests.new_grant, wanted[3], "api")
    office.clock.advance(tickets[0].due_at - office.clock.now())
    assert [office.authority.escalate().escalated for _ in range(3)] == [2, 2, 0]
    assert {one.level for one in office.authority.tickets_listed(state="open")} == {1}
