"""A month from its calls to its close: the vendor's own books as its statement, and every nano-dollar of its bill.

The cases books-agree and vendor-500-billed end to end; month-end goes the same way in `test_periods.py`.
"""

import http.client
import secrets
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from remit.api.reconciling import Reconciling
from remit.bootstrap import Authority, make_reconcile_terms
from remit.grants.model import Actor, Problem
from remit.grants.service import Authorship
from remit.kernel.money import format_usd
from remit.ledger.months import Bill, BillLine, Closed, ToDecide, Waiver, month_after, month_text
from remit.reconcile.matching.registry import Registered
from remit.reconcile.model import Imported
from remit.reconcile.statements.model import Options
from remit.reconcile.statements.raw import pack
from remit.store.postgres_statements import PostgresStatements
from remit.testing.clock import ManualClock
from remit.testing.vendor_reports.books import BookRow, exact_json
from remit.testing.vendor_reports.openai import openai_costs, openai_usage
from remit.testing.vendor_reports.simulated import booked
from remit.testing.vendor_sim.prices import PriceList
from tests.conformance.support import HELLO, ask, dime, open_stream
from tests.jobs.station import until
from tests.system.harness import System, root

FIN, BO = "fin@acme.example", "bo@acme.example"


@pytest.fixture(scope="module")
def system() -> Iterator[System]:
    """A Remit of its own: a month is closed as a whole."""
    with System(gateway={"request_seconds": 2.0, "hold_seconds": 4.0}) as running:
        yield running


class Desk:
    """Finance, in the month after: who compares asks, and somebody else approves."""

    def __init__(self, system: System, month: date | None = None) -> None:
        self.system = system
        self.month = month or datetime.now(UTC).date().replace(day=1)
        after = month_after(self.month)
        self.since = datetime(self.month.year, self.month.month, 1, tzinfo=UTC)
        self.until = datetime(after.year, after.month, 1, tzinfo=UTC)
        self.clock = ManualClock(datetime(after.year, after.month, 3, tzinfo=UTC))
        opens = system.authority._opens
        ours = Registered(vendor="openai", deployment="openai", project="proj-1", key_id="key-1")
        terms = replace(make_reconcile_terms(system.settings), registered=[ours])
        self.reconciling = Reconciling(system.url, opens, self.clock, terms, "command")
        self.statements = PostgresStatements(opens, self.clock, "command")
        self.keys = iter(f"{secrets.token_hex(4)}-{number}" for number in range(100))

    def by(self, name: str = FIN) -> Authorship:
        return Authorship(actor=Actor(name, is_admin=True), reason="the month", idempotency_key=next(self.keys))

    def bring(self, rows: Iterable[BookRow]) -> None:
        """The vendor's usage and costs, as its API would give them."""
        rows = list(rows)
        reports = {
            "openai.usage_completions": openai_usage(
                rows, self.since, self.until, ["project_id", "api_key_id", "model", "service_tier"]
            ),
            "openai.costs": openai_costs(rows, self.since, self.until, ["project_id", "api_key_id", "line_item"]),
        }
        for source, buckets in reports.items():
            body = exact_json({"object": "page", "data": buckets, "has_more": False, "next_page": None})
            options = Options(since=self.since, until=self.until, is_final=True)
            answer = self.statements.take_in(pack([body]), source, options, by=FIN, reason="r", key=next(self.keys))
            assert isinstance(answer, Imported), answer

    def match(self, billed: int, fee: int = 0, accepted: Sequence[str] = ()) -> Any:
        self.clock.advance(timedelta(seconds=1))
        lines = (BillLine(kind="platform_fee", amount_nanousd=fee),) if fee else ()
        bill = Bill(vendor="openai", invoice_id="INV-1", total_nanousd=billed, lines=lines)
        found = self.reconciling.match(self.month, "openai", [bill], (), self.by(), accepted)
        assert not isinstance(found, Problem), found
        return found

    def resolve(self) -> int:
        found = self.reconciling.compared(self.month, "openai", (), ())
        assert not isinstance(found, Problem), found
        return self.reconciling.resolve(found.resolutions, self.by())

    def post(self, found: Any) -> None:
        """Fin asks for it and bo approves."""
        self.decided(lambda tree: self.reconciling.asked_to_post(tree, found, "command"))

    def decided(self, make: Any) -> None:
        """What fin asks for, approved by bo, at the desk's own time."""
        authority = Authority(self.system.settings, self.system.url, self.clock)

        def do(unit: Any) -> Any:
            service = authority.tickets_over(unit)
            asked = make(unit.tree())
            ticket = service.open(asked, self.by())
            assert not isinstance(ticket, list), ticket
            approved = service.approve(ticket.id, self.by(BO))
            return approved, {"state": getattr(approved, "state", approved)}

        done = authority.writes.once(next(self.keys), {"actor": FIN, "operation": "post"}, do)
        assert done.state == "approved", done

    def close(self, waived: Sequence[Waiver] = ()) -> Closed | ToDecide | Problem:
        return self.reconciling.close(self.month, waived, self.by())


def books_of(system: System) -> list[BookRow]:
    """The vendor simulator's books, as its reports are made from them."""
    return [booked(row, PriceList.default()) for row in system.vendor.rows()]


def spend(system: System) -> str:
    """Plain calls, a 500 that is billed and tried again, a caller who leaves; the key they were made with."""
    system.apply({"acme": root("50.00")})
    key = system.key("acme")
    with system.client(key, max_retries=2) as client:
        for size in (3, 7, 11):
            client.chat.completions.create(model="sim-fractional", messages=HELLO, max_tokens=size)
        system.vendor.script(error=500, billed=True, first=1)
        client.chat.completions.create(model="sim-dime", messages=HELLO, max_tokens=2)
    system.vendor.script(chunk_ms=5, completion_tokens=6)
    caller = open_stream(system, key, dime(6))
    caller.recv(64)
    caller.close()
    system.wait_until_no_hold_is_open()
    system.vendor.wait_idle()
    entries = system.entries("acme")
    retried = [one for one in entries if one["model_requested"] == "sim-dime" and one["attempt"] is not None]
    assert [(one["kind"], one["attempt"]) for one in retried] == [("suspense", 1), ("usage", 2)]
    assert len({one["operation_id"] for one in retried}) == 1
    return key


def break_again(desk: Desk, key: str) -> list[BookRow]:
    """In the cell of a call that was in suspense and is settled: a stream that breaks off and is billed, and a 500 that is not.

    The next statement settles these too, and calls that were settled are what the vendor says they are.
    """
    system = desk.system
    system.vendor.script(mode="truncated:1", completion_tokens=4)
    with pytest.raises(http.client.IncompleteRead):
        ask(system, key, {**dime(4), "stream": True})
    system.vendor.script(error=500)
    assert ask(system, key, dime(1)).status == 500
    system.vendor.script()
    system.wait_until_no_hold_is_open()
    system.vendor.wait_idle()
    rows = books_of(system)
    desk.bring(rows)
    assert (desk.resolve(), desk.resolve()) == (2, 0)
    owed = system.vendor.books().total_nanousd
    again = desk.match(owed)
    assert (system.spent("acme"), again.ledger_nanousd, again.findings) == (owed, owed, 0)
    return rows


def test_books_agree_through_close_with_a_500_that_is_billed(system: System) -> None:
    """Plain calls, a 500 that is billed and tried again, a caller who leaves; a fee and use past the gateway on the bill besides.

    Every attempt is in the ledger once, what is unknown is settled by the statement, what was not metered is found with its
    cause and booked by the word of two, and the month closes at the bill, to the nano-dollar.
    """
    key = spend(system)
    desk = Desk(system)
    rows = books_of(system)
    shadow = BookRow(
        at=rows[0].at, model="sim-dime", used={"output": 3}, costs_nanousd={"output": 300_000_000}, requests=3,
        project="proj-x", key_id="key-x", id="shadow",
    )  # fmt: skip
    assert isinstance(desk.close(), Problem), "nothing was compared yet"
    desk.bring(rows)
    assert desk.resolve() == 1, "one call in suspense, and the vendor states one call more"
    owed = system.vendor.books().total_nanousd
    assert system.spent("acme") == owed and desk.resolve() == 0
    system.assert_books_agree()

    exact = desk.match(owed)
    assert (exact.ledger_nanousd, exact.found_nanousd, exact.entries) == (owed, 0, 0)

    rows = break_again(desk, key)
    owed = system.vendor.books().total_nanousd

    fee, past_us = 12_340_000_000, 300_000_000
    billed = owed + past_us + fee
    desk.bring([*rows, shadow])
    found = desk.match(billed, fee)
    drift = {one.cause: one for one in desk.reconciling.books.drift(found.id)}
    assert {cause: (one.amount_nanousd, one.outcome) for cause, one in drift.items()} == {
        "platform_fee": (fee, "adjustment"),
        "shadow_use": (past_us, "look"),
    }
    assert (drift["shadow_use"].about["key_id"], drift["shadow_use"].evidence["requests"]) == ("key-x", 3)
    refused = desk.close()
    assert isinstance(refused, Problem) and refused.code == "bill_differs"
    assert format_usd(owed) in refused.detail

    desk.post(found)
    # The use past the gateway is nobody's: somebody looked, and it is booked where what nobody explains is.
    rest = desk.match(billed, fee, ["shadow_use"])
    assert (rest.ledger_nanousd, rest.proposed_nanousd, rest.entries) == (owed + fee, past_us, 1)
    desk.post(rest)
    again = desk.match(billed, fee, ["shadow_use"])
    assert (again.ledger_nanousd, again.found_nanousd, again.entries) == (billed, 0, 0)
    closed = desk.close()
    assert isinstance(closed, Closed), closed
    assert closed.totals["vendors"] == {"openai": billed}
    assert month_text(closed.month) == month_text(desk.month)
    system.assert_books_agree()

    ask(system, key, dime(1))
    system.wait_until_no_hold_is_open()
    late = system.entries("acme")[-1]
    assert late["billing_month"] == month_after(desk.month).isoformat(), "the closed month stays as it was signed off"
    assert late["held_at"][:7] == month_text(desk.month)
    system.assert_books_agree()


def test_a_bill_that_differs_is_waived_by_two(system: System) -> None:
    """Fin, who compared, gets a ticket for it and no closed month; bo's yes closes it, with what was shown and no more."""
    desk = Desk(system)
    desk.month = month_after(desk.month)
    after = month_after(desk.month)
    desk.clock.advance_to(datetime(after.year, after.month, 3, tzinfo=UTC))
    owed = desk.reconciling.months.owed(desk.month)["openai"]
    desk.match(owed + 7)
    asks = desk.close([Waiver(what="difference", vendor="openai", reason="disputed")])
    assert isinstance(asks, ToDecide) and [one.amount_nanousd for one in asks.waived] == [7]
    # An open month is listed once its first entries are in the sums that are kept.
    until(lambda: [one.status for one in desk.reconciling.months.months()] == ["closed", "open"])
    desk.decided(lambda tree: desk.reconciling.asked_to_close(tree, asks, "command"))
    closed = desk.reconciling.months.months()[-1]
    assert (closed.month, closed.status, closed.changed_by) == (desk.month, "closed", BO)
    assert closed.totals is not None and (closed.totals["waived_nanousd"], closed.totals["alone_nanousd"]) == (7, 0)
    system.assert_books_agree()
