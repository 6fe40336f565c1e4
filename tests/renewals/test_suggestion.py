"""What a grant's use suggests for its renewal, where people meet it; and prices that moved."""

from datetime import timedelta

import pytest

from remit.grants.suggested import PeriodUse
from remit.renewals import requests
from remit.renewals.ports import RoundDue
from remit.renewals.suggestion import suggested_changes
from remit.store.connect import opener
from remit.store.postgres_writes import WriteUnit
from tests.renewals.office import RITA, SAM, START, TOM, USD, Office, codes

SEARCH, EVAL = "acme/research/search", "acme/research/eval"
SMALLER = "its use suggests $45.00 per month instead of $200.00"


@pytest.fixture
def office() -> Office:
    return Office()


def _prices_moved(office: Office, path: str) -> bool:
    with opener(office.authority.url, "remit_authority")() as connection:
        return WriteUnit(connection).tickets(office.clock).prices_moved(office.grant(path).id, office.clock.now())


def test_a_renewal_asks_for_what_its_use_suggests(office: Office) -> None:
    """The reminder names the smaller limit and how to ask for it, the ticket states it, and approving sets it."""
    office.clock.advance(timedelta(days=40))
    office.spend(SEARCH, 30 * USD)
    office.clock.advance(timedelta(days=38))
    assert office.round().reminded == 2
    told = {row["path"]: row for row in office.bodies("renewal_due")}
    assert told[SEARCH]["detail"] == SMALLER
    assert told[SEARCH]["renew"] == f"remit ticket renew {SEARCH} --suggested"
    assert "detail" not in told[EVAL] and told[EVAL]["renew"] == f"remit ticket renew {EVAL}"

    until = office.grant(SEARCH).expires_at + timedelta(days=30)
    both = office.ask(SAM, requests.renewal, SEARCH, until, {("usd", "month"): 9 * USD}, "api", True)
    assert codes(both) == ["limits_twice"]
    ticket = office.opened(SAM, requests.renewal, SEARCH, until, None, "api", True)
    assert ticket.evidence["suggestion"]["text"] == SMALLER and ticket.evidence["suggestion"]["taken"]
    assert office.decide("approve", RITA, ticket.id).state == "approved"  # type: ignore[union-attr]
    assert (office.spend_limit(SEARCH), office.grant(SEARCH).expires_at) == (45, until)

    # Where nothing is suggested it is a renewal like any other, and says so.
    plain = office.opened(TOM, requests.renewal, EVAL, until, None, "api", True)
    assert plain.effect["limits"] is None
    assert plain.evidence["suggestion"] == {
        "limits": [],
        "text": "no other limits are suggested by its use",
        "taken": False,
    }


def test_a_suggestion_holds_what_was_handed_out(office: Office) -> None:
    """A grant whose children have $300 of its $500 is not suggested less than that, however little it used."""
    research, february = office.grant("acme/research"), START.replace(month=2, day=1, hour=0)
    used = [PeriodUse("usd", "month", february, 30 * USD)]
    (change,) = suggested_changes(office.tree(), research, used, START + timedelta(days=60))
    assert (change.was, change.amount) == (500 * USD, 300 * USD)


def test_an_owner_hears_early_that_prices_have_risen(office: Office) -> None:
    """Of over a tenth and of the same model: once, before the usual window, which is told of as ever."""
    office.clock.advance(timedelta(days=20))
    for path, prices in ((SEARCH, (100, 100, 112, 112)), (EVAL, (100, 100, 110, 110))):
        for price in prices:
            office.spend_at(path, price)
            office.clock.advance(timedelta(hours=1))
    for price in (100, 300):
        office.spend_at(EVAL, price, model=f"sim-{price}")
    assert (_prices_moved(office, SEARCH), _prices_moved(office, EVAL)) == (True, False)
    assert office.round().reminded == 0
    office.clock.advance(timedelta(days=44))
    with opener(office.authority.url, "remit_authority")() as connection:
        due = WriteUnit(connection).tickets(office.clock).due(office.clock.now(), ())
    assert due == RoundDue(tells=True, decides=False)
    assert (office.round().reminded, office.round().reminded) == (1, 0)
    (notice,) = office.bodies("renewal_due")
    assert (notice["path"], notice["reason"]) == (SEARCH, "prices moved")
    office.clock.advance(timedelta(days=14))
    assert office.round().reminded == 2
    # Calls of more than 90 days ago say nothing.
    office.clock.advance(timedelta(days=60))
    assert not _prices_moved(office, SEARCH)
