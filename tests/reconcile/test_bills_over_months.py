"""Bills of several months against the ledger's, where what is found late is booked in a later month."""

import dataclasses
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime
from typing import Any

import pytest

from remit.api.reconciling import AUTOMATIC, ReconcileTerms, Reconciling
from remit.grants.model import Actor, Problem
from remit.grants.service import Authorship
from remit.ledger.months import Bill, BillLine, Closed, Waiver
from remit.reconcile.comparison import Reconciliation
from remit.reconcile.matching.registry import Registered
from remit.reconcile.model import Imported
from remit.reconcile.statements.model import Options
from remit.reconcile.statements.raw import pack
from remit.store.postgres_rollups import PostgresRollups
from remit.store.postgres_statements import PostgresStatements
from remit.testing.vendor_reports.books import BookRow, exact_json
from remit.testing.vendor_reports.openai import openai_costs
from tests.leases.trial import Trial, grant, usd
from tests.store.database import fresh_database

MARCH, APRIL, MAY = date(2026, 3, 1), date(2026, 4, 1), date(2026, 5, 1)
DIFFERENCE = (Waiver(what="difference", vendor="openai", reason="agreed with the vendor"),)


class Desk:
    """One person of finance and the books; amounts are whole cents, as bills are."""

    def __init__(self, auto_post_nanousd: int = 0) -> None:
        self.trial = Trial(fresh_database())
        self.root = self.trial.write(grant("root", limits=(usd(10**15),)))
        self.search = self.trial.write(grant("search", self.root))
        self.opens = self.trial.care._connect
        terms = ReconcileTerms(auto_post_nanousd=auto_post_nanousd, waive_nanousd=10**15)
        self.reconciling = Reconciling(self.trial.url, self.opens, self.trial.clock, terms, "command")
        self.keys = iter(f"desk-{number}" for number in range(100))

    def by(self, name: str = "fin@acme.example", key: str | None = None) -> Authorship:
        return Authorship(actor=Actor(name, is_admin=True), reason="r", idempotency_key=key or next(self.keys))

    def call(self, cents: int) -> str:
        self.trial.take(hold := self.trial.hold(self.search, cents * 10**7))
        self.trial.finish((hold.id, "settled", cents * 10**7, 0))
        return hold.id

    def at(self, *when: int) -> None:
        self.trial.clock.instant = datetime(*when, tzinfo=UTC)  # type: ignore[misc]

    def bring(self, cents: int) -> str:
        """The vendor's costs of March."""
        since, until = datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 4, 1, tzinfo=UTC)
        row = BookRow(
            at=datetime(2026, 3, 30, 22, tzinfo=UTC),
            model="sim-dime",
            used={"input": 1},
            costs_nanousd={"input": cents * 10**7},
        )
        data = openai_costs([row], since, until, ["project_id", "api_key_id", "line_item"])
        body = exact_json({"object": "page", "data": data, "has_more": False, "next_page": None})
        statements = PostgresStatements(self.opens, self.trial.clock, "command")
        options = Options(since=since, until=until, is_final=True)
        answer = statements.take_in(pack([body]), "openai.costs", options, by="fin", reason="r", key=next(self.keys))
        assert isinstance(answer, Imported), answer
        return str(answer.statement["id"])

    def bill(self, cents: int, fee: int = 0, credit: int = 0) -> list[Bill]:
        lines = [BillLine(kind="platform_fee", amount_nanousd=fee * 10**7)] if fee else []
        lines += [BillLine(kind="adjustment", amount_nanousd=credit * 10**7, text="refund")] if credit else []
        return [Bill(vendor="openai", invoice_id="INV", total_nanousd=cents * 10**7, lines=tuple(lines))]

    def match(
        self,
        month: date,
        cents: int | None,
        accepted: Sequence[str] = (),
        key: str | None = None,
        statements: Sequence[str] = (),
        **lines: int,
    ) -> Any:
        bills = [] if cents is None else self.bill(cents, **lines)
        return self.reconciling.match(month, "openai", bills, statements, self.by(key=key), accepted)

    def compared(self, month: date, cents: int | None, accepted: Sequence[str] = (), **lines: int) -> Reconciliation:
        found = self.match(month, cents, accepted, **lines)
        assert isinstance(found, Reconciliation), found
        return found

    def found(self, month: date, cents: int, accepted: Sequence[str] = ()) -> dict[str, int]:
        """What a comparison finds, in cents; with what is owed they are the bill."""
        one = self.compared(month, cents, accepted)
        drift = {each.cause: each.amount_nanousd for each in self.reconciling.books.drift(one.id)}
        assert one.billed_nanousd == one.ledger_nanousd + sum(drift.values())
        return {cause: amount // 10**7 for cause, amount in drift.items()}

    def post(self, one: Reconciliation) -> Any:
        return self.reconciling.books.post_proposed(one.id, one.digest, by="bo", reason="r", key=f"post-{one.id}")

    def close(self, month: date, waived: Sequence[Waiver] = ()) -> Any:
        return self.reconciling.close(month, waived, self.by())


@pytest.fixture
def desk() -> Iterator[Desk]:
    """A dollar of March; it is April."""
    made = Desk()
    made.call(100)
    made.at(2026, 4, 3)
    yield made
    made.trial.close()


def late(desk: Desk, cents: int) -> None:
    """A call of the end of March whose cost is known after March was closed."""
    instant = desk.trial.clock.instant
    desk.at(2026, 3, 31, 23)
    desk.trial.take(hold := desk.trial.hold(desk.search, cents * 10**7))
    desk.trial.clock.instant = instant
    desk.trial.finish((hold.id, "settled", cents * 10**7, 0))


def closed(answer: Any) -> Closed:
    assert isinstance(answer, Closed), answer
    return answer


@pytest.mark.parametrize("folded", [False, True])
def test_what_was_billed_before_it_was_booked(desk: Desk, folded: bool) -> None:
    """March is billed with a call that is booked in April only: April closes at its own bill, as both months together agree."""
    assert desk.found(MARCH, 110) == {"unexplained": 10}
    assert closed(desk.close(MARCH, DIFFERENCE)).totals["carried"] == {}
    late(desk, 10)
    desk.call(200)
    if folded:
        PostgresRollups(desk.opens).fold()
    desk.at(2026, 5, 3)
    assert desk.found(APRIL, 200) == {"billed_before": -10}
    assert desk.compared(APRIL, 200).ledger_nanousd == 210 * 10**7
    assert closed(desk.close(APRIL)).totals["carried"] == {"openai": 10 * 10**7}
    desk.call(5)
    desk.at(2026, 6, 3)
    assert desk.found(MAY, 5) == {}, "nothing is left of it"
    assert closed(desk.close(MAY)).totals["carried"] == {}
    assert desk.found(MARCH, 110) == {"booked_later": 10}


def test_what_is_billed_when_it_is_booked(desk: Desk) -> None:
    """The vendor found out late too: the bill of April has what is booked in April, and there is nothing to find or to take back."""
    desk.found(MARCH, 100)
    closed(desk.close(MARCH))
    late(desk, 10)
    desk.call(200)
    desk.at(2026, 5, 3)
    assert desk.found(APRIL, 210) == {}
    assert desk.compared(APRIL, 210).entries == 0
    closed(desk.close(APRIL))


def test_what_is_billed_after_it_was_booked(desk: Desk) -> None:
    """April closes with what its bill lacks, and May's bill has it."""
    desk.found(MARCH, 100)
    closed(desk.close(MARCH))
    late(desk, 10)
    desk.call(200)
    desk.at(2026, 5, 3)
    assert desk.found(APRIL, 200) == {"late_booking": -10}
    refused = desk.close(APRIL)
    assert isinstance(refused, Problem) and refused.code == "bill_differs"
    closed(desk.close(APRIL, DIFFERENCE))
    desk.call(5)
    desk.at(2026, 6, 3)
    assert desk.found(MAY, 15) == {"billed_late": 10}
    assert closed(desk.close(MAY)).totals["carried"] == {"openai": -10 * 10**7}


def test_what_is_billed_never(desk: Desk) -> None:
    """Accepted, it is taken back once from the grant that bears it, and the month closes at its bill."""
    desk.found(MARCH, 100)
    closed(desk.close(MARCH))
    late(desk, 10)
    desk.call(200)
    desk.at(2026, 5, 3)
    one = desk.compared(APRIL, 200, ["late_booking"])
    assert (one.proposed_nanousd, one.entries) == (-10 * 10**7, 1)
    assert not isinstance(desk.post(one), Problem)
    entry = desk.trial.looking.execute(
        "SELECT grant_id, billing_month, settlement ->> 'cause' FROM entries WHERE kind = 'adjustment'"
    ).fetchall()
    assert entry == [("grant_search", APRIL, "late_booking")]
    again = desk.compared(APRIL, 200)
    assert (again.ledger_nanousd, again.found_nanousd, again.entries) == (200 * 10**7, 0, 0)
    closed(desk.close(APRIL))


def test_a_proposal_holds_for_the_ledger_it_was_made_of(desk: Desk) -> None:
    """Of comparisons of one ledger one is booked, also where what they propose comes to nothing in all or the total came back."""
    first, second = desk.compared(MARCH, 107, ["unexplained"]), desk.compared(MARCH, 107, ["unexplained"])
    assert not isinstance(desk.post(first), Problem)
    assert desk.post(second).code == "reconciliation_outdated"
    before = desk.compared(MARCH, 100)
    assert not isinstance(desk.post(before), Problem), "the bill was corrected, and so is what was booked"
    assert desk.reconciling.books.standing(MARCH, "openai").owed_nanousd == 100 * 10**7
    assert desk.post(second).code == "reconciliation_outdated", "though what is owed is what it was then"


def test_what_was_booked_is_not_taken_back_for_want_of_a_bill(desk: Desk) -> None:
    """Compared again without the bill, or without anybody's word, what two people approved stays."""
    nothing = desk.match(MARCH, None)
    assert isinstance(nothing, Problem) and nothing.code == "not_comparable"
    desk.bring(100)
    one = desk.compared(MARCH, 107, ["unexplained"])
    assert one.proposed_nanousd == 7 * 10**7
    desk.post(one)
    refused = desk.match(MARCH, None)
    assert isinstance(refused, Problem) and refused.code == "less_than_before", refused
    assert one.id in refused.detail and "a bill" in refused.detail
    again = desk.compared(MARCH, 107)
    assert (again.entries, again.unexplained_nanousd) == (0, 0)
    more = desk.compared(MARCH, 109)
    assert (more.entries, more.unexplained_nanousd) == (0, 2 * 10**7), "what is new takes a word of its own"


def test_what_was_compared_with_a_withdrawn_statement_holds_no_more(desk: Desk) -> None:
    """It says so and is not booked; what was booked by it is taken back by a comparison without the statement."""
    wrong = desk.bring(130)
    booked, later = desk.compared(MARCH, 130, ["unexplained"]), desk.compared(MARCH, 130, ["unexplained"])
    assert not isinstance(desk.post(booked), Problem)
    more = desk.match(MARCH, 131, ["unexplained"], statements=[wrong])
    assert isinstance(more, Reconciliation) and (more.statements, more.withdrawn, more.entries) == ([wrong], [], 1)
    statements = PostgresStatements(desk.opens, desk.trial.clock, "command")
    assert isinstance(statements.withdraw(wrong, by="fin", reason="of another account", key="w"), dict)
    found = desk.reconciling.books.find(later.id)
    assert found is not None and found.withdrawn == [wrong] and not desk.reconciling.books_itself(found)
    outdated = desk.post(more)
    assert isinstance(outdated, Problem) and outdated.code == "reconciliation_outdated" and wrong in outdated.detail
    named = desk.match(MARCH, 100, statements=[wrong])
    assert isinstance(named, Problem) and named.code == "not_comparable"
    right = desk.compared(MARCH, 100)
    assert (right.statements, right.proposed_nanousd) == ([], -30 * 10**7)
    assert not isinstance(desk.post(right), Problem)
    closed(desk.close(MARCH))


def test_a_bill_of_nobody_is_withdrawn(desk: Desk) -> None:
    """Compared with nothing where nothing is owed, a bill of a wrong vendor stands in no signed books; where something is owed it stays."""
    settings = [Registered(vendor="opennai", deployment="opennai")]
    named = Reconciling(desk.trial.url, desk.opens, desk.trial.clock, ReconcileTerms(registered=settings), "command")
    wrong = dataclasses.replace(desk.bill(107)[0], vendor="opennai")
    assert isinstance(named.match(MARCH, "opennai", [wrong], (), desk.by()), Reconciliation)
    desk.compared(MARCH, 100)
    refused = desk.close(MARCH)
    assert isinstance(refused, Problem) and "opennai billed $1.07" in refused.detail
    again = desk.reconciling.match(MARCH, "opennai", [wrong], (), desk.by())
    assert isinstance(again, Problem) and again.code == "vendor_unknown" and "known are openai" in again.detail
    owed = desk.match(MARCH, None)
    assert isinstance(owed, Problem) and owed.code == "not_comparable", "the bill of what is owed is not withdrawn"
    empty = desk.reconciling.match(MARCH, "opennai", [], (), desk.by())
    assert isinstance(empty, Reconciliation) and (empty.bills, empty.findings, empty.entries) == ([], 0, 0)
    totals = closed(desk.close(MARCH)).totals
    assert [one["vendor"] for one in totals["bills"]] == ["openai"] and list(totals["vendors"]) == ["openai"]


def test_another_currency_and_a_marketplace_have_causes_of_their_own(desk: Desk) -> None:
    """What they add to the usage of the month is theirs, and proposed; in dollars and from the vendor nobody explains it."""
    plain = Bill(vendor="openai", invoice_id="INV", total_nanousd=103 * 10**7)
    converted = dataclasses.replace(plain, currency="EUR", rate="1.0831")
    sold = dataclasses.replace(plain, issuer="The Market")
    for bill, cause in ((plain, "unexplained"), (converted, "fx"), (sold, "marketplace")):
        one = desk.reconciling.match(MARCH, "openai", [bill], (), desk.by())
        assert isinstance(one, Reconciliation), one
        assert [(each.cause, each.amount_nanousd) for each in desk.reconciling.books.drift(one.id)] == [
            (cause, 3 * 10**7)
        ]
        assert one.bills[0]["currency"] == bill.currency and bool(one.entries) == (bill is not plain)


def test_a_key_is_for_one_comparison(desk: Desk) -> None:
    """The same again is the one that was kept, whatever happened since; something else under the key is refused."""
    first = desk.match(MARCH, 107, key="k")
    assert isinstance(first, Reconciliation)
    desk.call(3)
    assert desk.match(MARCH, 107, key="k") == first
    for answer in (
        desk.match(APRIL, 107, key="k"),
        desk.match(MARCH, 108, key="k"),
        desk.match(MARCH, 107, ["tax"], key="k"),
    ):
        assert isinstance(answer, Problem) and answer.code.startswith("conflict_different_"), answer
    stranger = desk.reconciling.match(MARCH, "openai", desk.bill(107), (), desk.by("tom@acme.example", "k"))
    assert isinstance(stranger, Problem) and stranger.code == "conflict_different_by"


def test_sums_that_are_not_those_of_the_entries_propose_nothing(desk: Desk) -> None:
    """An entry that was changed behind the books is said, and not evened out by an adjustment."""
    PostgresRollups(desk.opens).fold()
    desk.trial.looking.execute("SET session_replication_role = replica")
    desk.trial.looking.execute("UPDATE entries SET amount_nanousd = amount_nanousd - 7")
    refused = desk.match(MARCH, 100)
    assert isinstance(refused, Problem) and refused.code == "not_comparable" and "doctor" in refused.detail


def test_little_is_booked_without_a_person_and_only_so_much() -> None:
    """Up to the limit in all for a vendor's month, signs left out; without a limit nothing, not even what comes to nothing."""
    desk = Desk(auto_post_nanousd=10 * 10**7)
    desk.call(100)
    desk.at(2026, 4, 3)
    small = desk.compared(MARCH, 106, ["unexplained"])
    itself = desk.reconciling.books_itself
    assert itself(small)
    without = Reconciling(desk.trial.url, desk.opens, desk.trial.clock, ReconcileTerms(), "command")
    assert not without.books_itself(dataclasses.replace(small, proposed_nanousd=0, moved_nanousd=0))
    assert not itself(desk.compared(MARCH, 111, ["unexplained"])), "too much"
    assert not itself(desk.compared(MARCH, 109, fee=3)), "somebody has to look at the rest first"
    moving = desk.compared(MARCH, 100, fee=6, credit=-6)
    assert (moving.entries, moving.proposed_nanousd, moving.moved_nanousd) == (2, 0, 12 * 10**7)
    assert not itself(moving), "signs left out it is too much"

    assert not isinstance(desk.reconciling.post_itself(small), Problem)
    assert [one.by for one in desk.reconciling.books.posted(MARCH, "openai")] == [AUTOMATIC]
    changed = desk.compared(MARCH, 104, ["unexplained"])
    assert changed.entries and not itself(changed), "it changes what was booked"
    more = desk.compared(MARCH, 111, ["unexplained"], fee=5)
    assert (more.entries, more.moved_nanousd, more.changes_booked) == (1, 5 * 10**7, False)
    assert not itself(more), "with what was booked before it is too much"
    desk.trial.close()
