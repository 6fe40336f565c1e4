"""What is booked for a vendor's month, and a month that is opened again, is the word of two people of finance."""

import dataclasses
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from remit.grants.model import Actor, Problem
from remit.ledger.accounting import Adjustment
from remit.ledger.months import Bill, Closed, ToDecide, Waiver
from remit.reconcile.comparison import Comparison, Drift, Reconciliation
from remit.renewals import requests
from remit.renewals.effects import effect_body, effect_of
from remit.renewals.model import Ticket
from remit.store.postgres_accounting import PostgresAccounting
from remit.store.postgres_books import PostgresBooks
from remit.store.postgres_months import PostgresMonths
from tests.renewals.office import ADMIN, EVE, RITA, SAM, START, TOM, Office, codes

JANUARY = date(2027, 1, 1)
BEN = "ben@acme.example"
FEE = Adjustment(
    grant_id="", vendor="openai", amount_nanousd=700, held_at=datetime(2027, 1, 31, tzinfo=UTC), cause="platform_fee"
)


@pytest.fixture
def office() -> Office:
    """Eve and tom are of finance; it is February."""
    made = Office()
    made.give(EVE, "finance", None)
    made.give(TOM, "finance", None)
    made.clock.advance(datetime(2027, 2, 3, tzinfo=UTC) - START)
    return made


def books(office: Office) -> PostgresBooks:
    return PostgresBooks(office.authority._opens, office.clock)


def compared(
    office: Office,
    key: str = "k",
    amount: int = 700,
    ledger: int = 0,
    adjustments: Sequence[Adjustment] = (),
) -> Reconciliation:
    drift = Drift(
        cause="platform_fee",
        outcome="adjustment",
        confidence="exact",
        first_day=JANUARY,
        last_day=date(2027, 1, 31),
        about={"vendor": "openai"},
        amount_nanousd=amount,
        evidence={"percent": "5.5"},
    )
    adjustment = dataclasses.replace(FEE, grant_id=office.grant("acme").id, amount_nanousd=amount)
    bill = Bill(vendor="openai", invoice_id="inv_1", total_nanousd=ledger + amount)
    one = Comparison(
        month=JANUARY,
        vendor="openai",
        statements=["stmt_1"],
        bills=[bill],
        ledger_nanousd=ledger,
        basis=books(office).standing(JANUARY, "openai").digest,
        drift=[drift],
        adjustments=adjustments or [adjustment],
    )
    kept = books(office).keep(one, {"key": key}, by=EVE, reason="the January bill", key=key)
    assert isinstance(kept, Reconciliation), kept
    return kept


def asked(office: Office, name: str, one: Reconciliation) -> Ticket | list[Problem]:
    stated = (one.id, one.vendor, one.month, one.proposed_nanousd, one.entries, one.digest, "api")
    return office.ask(name, requests.post_adjustments, "acme", *stated)


def opened(office: Office, name: str, one: Reconciliation) -> Ticket:
    ticket = asked(office, name, one)
    assert isinstance(ticket, Ticket), ticket
    return ticket


def test_what_is_proposed_is_booked_when_somebody_else_of_finance_agrees(office: Office) -> None:
    """The one who compared asks, another approves, the entries are booked in that transaction and name where they come from."""
    one = compared(office)
    ticket = opened(office, EVE, one)
    assert (ticket.kind, ticket.assignees, ticket.tier) == ("books", (TOM,), "small")
    assert ticket.evidence["asks"] == [f"books $0.0000007 in 1 entries of openai for 2027-01, as {one.id} proposes"]
    assert codes(office.decide("approve", EVE, ticket.id)) == ["not_permitted"]
    assert office.authority.ledger.tail(9, None) == []
    assert office.decide("approve", TOM, ticket.id).state == "approved"
    (entry,) = office.authority.ledger.tail(9, None)
    assert (entry["kind"], entry["amount_nanousd"], entry["billing_month"]) == ("adjustment", 700, "2027-01-01")
    assert entry["settlement"]["reconciliation_id"] == one.id and entry["settlement"]["by"] == TOM
    found = books(office).find(one.id)
    assert found is not None and (found.posted_by, found.findings) == (TOM, 1)
    assert books(office).standing(JANUARY, "openai").charged_nanousd == 700
    assert [one.cause for one in books(office).drift(one.id)] == ["platform_fee"]


def test_spending_gives_no_say_in_the_books(office: Office) -> None:
    """The owner of a grant, also of the one that is charged, neither asks for nor decides what is booked."""
    one = compared(office)
    assert codes(asked(office, SAM, one)) == ["not_permitted"]
    ticket = opened(office, EVE, one)
    assert codes(office.decide("approve", SAM, ticket.id)) == ["not_permitted"]
    office.give(SAM, "finance", "acme")
    assert codes(office.decide("approve", SAM, ticket.id)) == ["not_permitted"], (
        "the books are those of the whole organization"
    )


def test_a_comparison_that_the_ledger_has_moved_on_from_is_not_booked(office: Office) -> None:
    """Of two comparisons made before either was booked the second is refused: it would book the same difference twice."""
    first, second = compared(office), compared(office, key="k2")
    tickets = [opened(office, EVE, one) for one in (first, second)]
    assert office.decide("approve", TOM, tickets[0].id).state == "approved"
    assert codes(office.decide("approve", TOM, tickets[1].id)) == ["reconciliation_outdated"]
    assert len(office.authority.ledger.tail(9, None)) == 1
    # What was booked already is nothing to ask about again.
    third = compared(office, key="k3", amount=50, ledger=700)
    assert office.decide("approve", TOM, opened(office, EVE, third).id).state == "approved"
    assert books(office).standing(JANUARY, "openai").charged_nanousd == 750


def test_what_is_approved_is_what_was_proposed(office: Office) -> None:
    """A ticket names the entries by their digest; another one, or an id that is not there, books nothing."""
    one = compared(office)
    assert codes(asked(office, EVE, dataclasses.replace(one, digest="0" * 64))) == ["proposal_differs"]
    assert codes(asked(office, EVE, dataclasses.replace(one, id="rec_none"))) == ["reconciliation_unknown"]


def test_a_comparison_is_kept_once_for_each_key(office: Office) -> None:
    """Asked again it is the one that was kept, with its findings once."""
    first, again = compared(office), compared(office)
    assert first == again and len(books(office).drift(first.id)) == 1
    assert [one.id for one in books(office).listed(JANUARY, "openai")] == [first.id]
    assert books(office).listed(JANUARY, "other") == []


def test_a_closed_month_is_opened_again_by_two(office: Office) -> None:
    """Who asks is not who approves, and once it is open what is found is booked in it."""
    months = PostgresMonths(office.authority._opens, office.clock)
    closed = months.close(JANUARY, [], [], EVE, "agreed", "c", "api")
    assert isinstance(closed, Closed)
    ticket = office.opened(EVE, requests.reopen_month, "acme", JANUARY, "api")
    assert (ticket.tier, ticket.evidence["asks"]) == ("large", ["opens 2027-01 again, which was signed off"])
    assert codes(office.decide("approve", EVE, ticket.id)) == ["not_permitted"]
    assert office.decide("decline", TOM, ticket.id).state == "declined"
    assert [one.status for one in months.months()] == ["closed"]
    again = office.opened(EVE, requests.reopen_month, "acme", JANUARY, "api")
    assert office.decide("approve", TOM, again.id).state == "approved"
    (month,) = months.months()
    assert (month.status, month.revision, month.changed_by) == ("open", 2, TOM)


def test_a_month_that_cannot_be_opened_is_not_asked_about(office: Office) -> None:
    """One that was never closed, or not the last."""
    assert codes(office.ask(EVE, requests.reopen_month, "acme", JANUARY, "api")) == ["month_not_last"]
    assert codes(office.ask(SAM, requests.reopen_month, "acme", JANUARY, "api")) == ["not_permitted"]


def test_nobody_answers_and_it_goes_to_the_owners_of_the_organisation(office: Office) -> None:
    """Finance first, then whoever answers for everything; nothing is booked by silence."""
    ticket = opened(office, EVE, compared(office))
    office.clock.advance(ticket.due_at - office.clock.now() + timedelta(seconds=1))
    office.round()
    assert office.ticket(ticket.id).assignees == (ADMIN,)
    office.clock.advance(timedelta(days=60))
    office.round()
    assert office.ticket(ticket.id).state == "expired" and office.authority.ledger.tail(9, None) == []


def relief(office: Office, key: str, **amounts: int) -> Reconciliation:
    """A comparison by eve that books so much on each of these grants."""
    adjustments = [
        dataclasses.replace(FEE, grant_id=office.grant(f"acme/research/{name}").id, amount_nanousd=amount)
        for name, amount in amounts.items()
    ]
    return compared(office, key, sum(amounts.values()), adjustments=adjustments)


def test_who_is_charged_less_has_no_say(office: Office) -> None:
    """The owner of a grant that is relieved, of one above it, and who stands in for one, whatever their roles; who pays more has."""
    for person in (SAM, RITA):
        office.give(person, "finance", None)
    one = relief(office, "a", search=-50, eval=20)
    ticket = opened(office, EVE, one)
    assert ticket.assignees == (TOM,)
    for person in (SAM, RITA):
        told = office.decide("approve", person, ticket.id)
        assert isinstance(told, list) and "is charged less by it" in told[0].detail
        assert codes(office.decide("decline", person, ticket.id)) == ["not_permitted"]
    assert office.authority.ledger.tail(9, None) == []
    # Within rita's part it only moves; tom's is relieved, and sam pays.
    other = opened(office, EVE, relief(office, "b", search=50, eval=-50))
    assert other.assignees == (RITA, SAM)
    assert codes(office.decide("approve", TOM, other.id)) == ["not_permitted"]
    assert office.decide("approve", RITA, other.id).state == "approved"


def test_who_compared_has_no_say(office: Office) -> None:
    """Also where somebody else asks, and where they are an admin; nor has anybody who stands in for them."""
    office.give(BEN, "finance", None)
    one = compared(office)
    ticket = opened(office, TOM, one)
    assert ticket.assignees == (BEN,)
    for admin in (False, True):
        told = office.decide("approve", EVE, ticket.id, admin=admin)
        assert isinstance(told, list) and "they made the comparison" in told[0].detail
    stand_in(office, EVE, BEN)
    told = office.decide("approve", BEN, ticket.id)
    assert isinstance(told, list) and f"they stand in for `{EVE}`" in told[0].detail
    stand_in(office, EVE, None)
    assert office.decide("approve", BEN, ticket.id).state == "approved"


def test_where_nobody_is_left_to_decide_it_is_said_at_once(office: Office) -> None:
    """Of the two of finance one compared, the other asks, and the admin owns what is relieved: nothing waits."""
    one = compared(office, amount=-700)
    problems = asked(office, TOM, one)
    assert isinstance(problems, list) and problems[0].code == "nobody_to_ask"
    assert "did not make the comparison" in problems[0].detail
    assert opened(office, EVE, one).assignees == (TOM,), "asked by who compared, the other one decides"


def closing(office: Office, month: date, *bills: Bill, key: str = "c") -> ToDecide:
    waived = [Waiver(what="difference", vendor="openai", reason="disputed")]
    months = PostgresMonths(office.authority._opens, office.clock)
    found = months.close(month, bills, waived, EVE, "agreed", key, "api")
    assert isinstance(found, ToDecide), found
    return found


def test_a_month_is_closed_with_a_waiver_by_two(office: Office) -> None:
    """The ticket shows what is waived and how much that is; the yes of somebody else closes it, with exactly that."""
    compared(office)
    bill = Bill(vendor="openai", invoice_id="inv_1", total_nanousd=700)
    wanted = closing(office, JANUARY, bill)
    assert codes(office.ask(SAM, requests.close_month, "acme", wanted, "api")) == ["not_permitted"]
    ticket = office.opened(EVE, requests.close_month, "acme", closing(office, JANUARY, bill), "api")
    assert (ticket.kind, ticket.tier, ticket.assignees) == ("books", "large", (TOM,))
    assert ticket.evidence["asks"] == [
        "closes 2027-01 although something does not hold",
        "waives `difference` of openai, $0.0000007: disputed",
        "openai billed $0.0000007 (inv_1)",
    ]
    assert effect_of(ticket.effect) == effect_of(effect_body(effect_of(ticket.effect)))
    assert codes(office.decide("approve", EVE, ticket.id)) == ["not_permitted"]
    assert office.decide("approve", TOM, ticket.id).state == "approved"
    (month,) = PostgresMonths(office.authority._opens, office.clock).months()
    assert (month.status, month.changed_by) == ("closed", TOM)
    assert month.totals is not None and month.totals["waived_nanousd"] == 700


def test_a_waiver_that_comes_to_something_else_is_not_approved(office: Office) -> None:
    """What is booked meanwhile, or a later comparison with another bill: the month stays open, and is asked about again."""
    compared(office)
    bill = Bill(vendor="openai", invoice_id="inv_1", total_nanousd=700)
    ticket = office.opened(EVE, requests.close_month, "acme", closing(office, JANUARY, bill), "api")
    small = dataclasses.replace(FEE, grant_id=office.grant("acme").id, amount_nanousd=1)
    accounting = PostgresAccounting(office.authority._opens, office.clock)
    accounting.post([small], by=EVE, reason="r", key="p", source="command")
    assert codes(office.decide("approve", TOM, ticket.id)) == ["waiver_differs"]
    assert office.decide("withdraw", EVE, ticket.id).state == "withdrawn"
    again = office.opened(EVE, requests.close_month, "acme", closing(office, JANUARY, bill), "api")
    office.clock.advance(timedelta(seconds=1))
    compared(office, key="k2", amount=800)
    assert codes(office.decide("approve", TOM, again.id)) == ["bills_outdated"]
    assert [one.status for one in PostgresMonths(office.authority._opens, office.clock).months()] == []


def stand_in(office: Office, name: str, delegate: str | None) -> None:
    until = None if delegate is None else office.clock.now() + timedelta(days=30)

    def do(unit: Any) -> Any:
        return office.authority.roster_over(unit).delegate(name, delegate, until, Actor(name)), {}

    office.authority.writes.once(f"{name} {delegate}", {"actor": name, "operation": "person delegate"}, do)
