"""Whether a round has anything to do is known without the tree, never wrongly denied, and over once it was taken."""

from datetime import timedelta

import psycopg

from remit.grants.model import Boundary, Delegation, Envelope, Renewal
from remit.renewals import requests
from remit.renewals.ports import RoundDue
from remit.store.connect import opener
from remit.store.postgres_writes import WriteUnit
from tests.renewals.office import ADMIN, EVE, RITA, SAM, USD, Office, usd
from tests.renewals.test_succession import leave

QUIET = RoundDue(tells=False, decides=False)
SEARCH = "acme/research/search"


def _due(office: Office) -> RoundDue:
    with opener(office.authority.url, "remit_authority")() as connection:
        tickets = WriteUnit(connection).tickets(office.clock)
        return tickets.due(office.clock.now(), office.authority.settings.renewals.policy().remind)


def _found_with_the_tree(office: Office) -> RoundDue:
    """What a round that reads everything would do, undone at the end."""
    with opener(office.authority.url, "remit_authority")() as connection, connection.transaction():
        rounds = office.authority.rounds_over(WriteUnit(connection))
        rounds._found = RoundDue(tells=True, decides=True)
        decides, tells = rounds.waits(), rounds.remind() > 0
        raise psycopg.Rollback
    return RoundDue(tells=tells, decides=decides)


def test_nothing_is_missed_and_a_round_leaves_nothing_due() -> None:
    """Every other day: what the tree would show is due, and what was done is due no more."""
    office = Office()
    auto = Boundary(auto_approve=Envelope(max_nanousd=100 * USD, max_renewals=1, max_term_days=40), grace_hours=30)
    office.change("acme/research", delegation=Delegation(boundary=auto))
    office.make("acme/research/prod", SAM, usd(20), expires_at=office.clock.now() + timedelta(days=60, microseconds=7))
    office.change("acme/research/eval", renewal=Renewal(auto_tier="small"))
    office.make("acme/gone", EVE, usd(10))
    office.make("acme/gone/below", EVE, usd(5))
    days_with_something = 0
    for day in range(0, 110, 2):
        if day == 20:
            until = office.grant(SEARCH).expires_at + timedelta(days=5)
            office.opened(SAM, requests.renewal, SEARCH, until, None, "api")
        if day == 40:
            office.spend("acme/research/prod", 19 * USD)
        if day == 50:
            office.authority.grants.revoke("acme/gone", office.by(ADMIN, admin=True))
            leave(office, EVE)
        if day == 70:
            leave(office, RITA)
        due, found = _due(office), _found_with_the_tree(office)
        assert due.tells >= found.tells and due.decides >= found.decides, (day, due, found)
        days_with_something += due != QUIET
        office.round()
        assert _due(office) == QUIET, day
        office.clock.advance(timedelta(days=2, minutes=-7))
    assert 8 <= days_with_something <= 30
    # The one renewal that is settled ahead was among what was found.
    assert [ticket.path for ticket in office.authority.tickets_listed(state="approved")] == ["acme/research/eval"]
