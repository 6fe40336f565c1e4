"""Whoever decides is shown what a yes would give: in the ticket, on the command line, to those who are told."""

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from remit.cli.ticket_page import page
from remit.grants.edits import NewGrant
from remit.grants.model import Delegation, Limit, Overdraft, Shape
from remit.renewals import requests
from remit.renewals.about import asked_lines
from remit.renewals.effects import Acknowledge, SettleDebt
from remit.renewals.model import Ticket
from tests.cli.conftest import Cli
from tests.renewals.office import ADMIN, RITA, SAM, TOM, USD, Office, codes, usd

SEARCH, EVAL = "acme/research/search", "acme/research/eval"


@pytest.fixture(scope="module")
def shared() -> Office:
    office = Office()
    office.change(SEARCH, limits=(usd(200), Limit("tokens", 1_000, "day")))
    return office


@pytest.fixture
def office(shared: Office) -> Iterator[Office]:
    """The same for all tests here, with no ticket open."""
    yield shared
    for ticket in shared.authority.tickets_listed(state="open"):
        shared.decide("withdraw", ticket.requester, ticket.id)


def asks(ticket: Ticket) -> list[str]:
    return list(ticket.evidence["asks"])


def _until(office: Office) -> datetime:
    return office.grant(SEARCH).expires_at + timedelta(days=30)


def _raise(office: Office, dollars: int) -> Ticket:
    return office.opened(SAM, requests.increase, SEARCH, {("usd", "month"): dollars * USD}, "api")


def test_a_renewal_states_its_expiry_and_each_limit(office: Office) -> None:
    """The old and the new expiry, each limit that changes, and those that go on."""
    plain = office.opened(SAM, requests.renewal, SEARCH, _until(office), None, "api")
    expiry = "expiry: 2027-04-04T09:00:00Z -> 2027-05-04T09:00:00Z"
    assert asks(plain) == [expiry, "limits stay: $200.00 per month, 1,000 tokens per day"]
    office.decide("withdraw", SAM, plain.id)
    changes = {("tokens", "day"): 5_000, ("requests", "once"): 7}
    more = office.opened(SAM, requests.renewal, SEARCH, _until(office), changes, "api")
    assert asks(more) == [
        expiry,
        "limit per day: 1,000 tokens -> 5,000 tokens",
        "limit in all: none -> 7 requests",
        "other limits stay: $200.00 per month",
    ]


def test_an_increase_states_every_dimension(office: Office) -> None:
    """Each limit with what it is and what it would be, not the first one alone."""
    changes = {("usd", "month"): 300 * USD, ("tokens", "day"): 2_000}
    ticket = office.opened(SAM, requests.increase, SEARCH, changes, "api")
    assert asks(ticket) == ["limit per month: $200.00 -> $300.00", "limit per day: 1,000 tokens -> 2,000 tokens"]


def test_a_transfer_states_how_much_from_where_to_where(office: Office) -> None:
    """The amount and both siblings."""
    ticket = office.opened(SAM, requests.transfer, EVAL, SEARCH, "usd", "month", 20 * USD, "api")
    assert asks(ticket) == [f"moves $20.00 per month from {EVAL} to {SEARCH}"]


def test_a_new_grant_states_what_it_would_be(office: Office) -> None:
    """Its path, limits, owner, class, expiry and models, as filled in from above; whatever else it states is named."""
    plain = office.opened(SAM, requests.new_grant, NewGrant(path="acme/research/idea", owner=SAM), "api")
    assert asks(plain) == [
        "new grant acme/research/idea: no limits of its own",
        f"owner: {SAM}",
        "class: production, expires 2028-01-04T09:00:00Z",
        "models: all that the grants above allow",
    ]
    new = NewGrant(
        path="acme/research/plan",
        owner=TOM,
        limits=(usd(50), Limit("requests", 10, "day")),
        shape=Shape(models=("sim-dime", "gpt-5*"), tools=False),
        delegation=Delegation(allowed=False),
        overdraft=Overdraft(max_nanousd=5 * USD),
    )
    assert asks(office.opened(SAM, requests.new_grant, new, "api")) == [
        "new grant acme/research/plan: $50.00 per month, 10 requests per day",
        f"owner: {TOM}",
        "class: production, expires 2028-01-04T09:00:00Z",
        "models: sim-dime, gpt-5*",
        "overdraft: up to $5.00 above each usd limit",
        "also states: delegation, shape",
    ]


def test_a_break_glass_states_how_much_until_when_and_how_many_decide(office: Office) -> None:
    """With every grant above that would rise as well."""
    ends = office.clock.now() + timedelta(hours=4)
    ticket = office.opened(SAM, requests.break_glass, SEARCH, 300 * USD, ends, "api")
    assert asks(ticket) == [
        "$300.00 on top of each of its usd limits until 2027-01-04T13:00:00Z",
        "takes the yes of 2 people",
        "acme/research: limit per month: $500.00 -> $800.00",
        f"{SEARCH}: limit per month: $200.00 -> $500.00",
    ]


def test_a_debt_and_a_finding_state_what_they_are_about(office: Office) -> None:
    """How much would be forgiven and of when, and what is to be looked at."""
    tree, start = office.tree(), datetime(2027, 1, 1, tzinfo=UTC)
    grant = office.grant(SEARCH).id
    debt = SettleDebt(grant_id=grant, period_kind="month", period_start=start, amount_nanousd=3 * USD)
    since = "the month that began 2027-01-01T00:00:00Z"
    assert asked_lines(debt, tree, tree) == (f"forgives $3.00 that is owed from {since}",)
    finding = Acknowledge(code="break_glass_review", about=grant)
    assert asked_lines(finding, tree, tree) == (f"to look at: break glass review of {SEARCH}",)


def test_what_is_looked_at_again_is_stated_anew(office: Office) -> None:
    """The lines are those of the tree as it is by then; the notification has them too."""
    ticket = _raise(office, 300)
    assert office.notices("ticket_opened")[-1]["body"]["asks"] == ["limit per month: $200.00 -> $300.00"]
    before = office.grant(SEARCH).limits
    office.change(SEARCH, limits=(usd(20),))
    assert codes(office.decide("approve", RITA, ticket.id)) == ["look_again"]
    office.change(SEARCH, limits=before)
    now = ["limit per month: $20.00 -> $300.00"]
    assert asks(office.ticket(ticket.id)) == now and office.notices("ticket_opened")[-1]["body"]["asks"] == now


def test_the_command_line_shows_it(office: Office, tmp_path: Path) -> None:
    """`ticket show` has every line, the queue the first; the queue takes the kind as it is written everywhere else."""
    remit = Cli(tmp_path, {"PATH": os.environ["PATH"], "REMIT_DATABASE_URL": office.authority.url})
    ends = office.clock.now() + timedelta(hours=4)
    ticket = office.opened(SAM, requests.break_glass, SEARCH, 10 * USD, ends, "api")
    other = office.opened(TOM, requests.renewal, EVAL, _until(office), None, "api")
    shown = remit.ok("ticket", "show", ticket.id).out
    assert all(f"\n  asks: {line}\n" in shown for line in asks(ticket))
    for kind in ("break-glass", "break_glass"):
        listed = remit.ok("queue", "--kind", kind).out
        assert "break-glass" in listed and asks(ticket)[0] in listed and other.id not in listed
    assert asks(other)[0] in remit.ok("queue", "--of", RITA).out
    assert remit.ok("queue", "--of", ADMIN, "--kind", "debt").out == "nothing waits for a decision\n"


def test_a_ticket_from_before_is_shown_without(office: Office) -> None:
    """Evidence that has no such lines is a page without them."""
    ticket = _raise(office, 300)
    old = {name: value for name, value in ticket.evidence.items() if name != "asks"}
    plain = Ticket(**{name: getattr(ticket, name) for name in Ticket.__dataclass_fields__} | {"evidence": old})
    assert "asks:" in page(ticket, ()) and "asks:" not in page(plain, ())
    assert "worst case: $200.00 -> $300.00 a month" in page(plain, ())
