"""A month is closed when everything of it is known and billed; from then on it stays as it was signed off."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from remit.grants.model import Problem
from remit.ledger.accounting import Adjustment
from remit.ledger.months import Bill, Closed, ToDecide, Waiver, month_after, month_of, month_text
from remit.ledger.service import spend_report
from remit.renewals.effects import CloseMonth, effect_body
from remit.store.postgres_accounting import PostgresAccounting
from remit.store.postgres_months import PostgresMonths
from remit.store.postgres_rollups import PostgresRollups
from tests.leases.trial import Trial, grant, usd
from tests.store.database import AS_A_TEST, fresh_database

MARCH, APRIL = date(2026, 3, 1), date(2026, 4, 1)
FIN = "fin@acme.example"
DISPUTED = Waiver(what="difference", vendor="openai", reason="disputed")


@pytest.fixture
def trial() -> Iterator[Trial]:
    """A call of 50 in March; it is April."""
    made = Trial(fresh_database())
    root = made.write(grant("root", limits=(usd(10_000),)))
    made.take(hold := made.hold(root, 50, 10))
    made.settle(hold.id, 50, 10)
    made.clock.instant = datetime(2026, 4, 3, tzinfo=UTC)
    yield made
    made.close()


def months(trial: Trial) -> PostgresMonths:
    return PostgresMonths(trial.care._connect, trial.clock)


def close(
    trial: Trial,
    month: date = MARCH,
    *bills: int,
    key: str = "c",
    waived: Sequence[Waiver] = (),
    by: str = FIN,
    reason: str = "agreed",
    alone: int = 0,
    is_decided: bool = False,
) -> Closed | ToDecide | Problem:
    stated = [Bill(vendor="openai", invoice_id=f"inv_{n}", total_nanousd=total) for n, total in enumerate(bills)]
    return months(trial).close(
        month, stated, waived, by, reason, key, "command", alone_nanousd=alone, is_decided=is_decided
    )


def code(answer: Closed | ToDecide | Problem | int) -> str:
    assert isinstance(answer, Problem), answer
    return answer.code


def call(trial: Trial, amount: int, outcome: str = "settled") -> Any:
    trial.take(hold := trial.hold(trial.grants["grant_root"], amount))
    trial.finish((hold.id, outcome, amount, 0))
    return hold


def status(trial: Trial) -> dict[str, tuple[str, int]]:
    return {month_text(one.month): (one.status, one.revision) for one in months(trial).months()}


@pytest.mark.parametrize("folded", [False, True])
def test_a_month_is_signed_off_with_its_numbers(trial: Trial, folded: bool) -> None:
    """Bills of one vendor add up to what it is owed, whether or not the sums were kept already; the audit knows who closed it."""
    if folded:
        PostgresRollups(trial.care._connect).fold()
    answer = close(trial, MARCH, 30, 20)
    assert isinstance(answer, Closed) and answer.revision == 1
    assert (answer.totals["charged_nanousd"], answer.totals["vendors"]) == (50, {"openai": 50})
    assert [bill["invoice_id"] for bill in answer.totals["bills"]] == ["inv_0", "inv_1"]
    (audited,) = trial.looking.execute(
        "SELECT actor, after ->> 'status' FROM audit WHERE subject_kind = 'month'"
    ).fetchall()
    assert audited == ("fin@acme.example", "closed")
    PostgresRollups(trial.care._connect).fold()
    assert status(trial) == {"2026-03": ("closed", 1)}


def test_what_comes_later_is_booked_in_the_next_month(trial: Trial) -> None:
    """A correction of March found in April leaves March as it was signed off, to the nano-dollar."""
    close(trial, MARCH, 50)
    bill = Adjustment(
        grant_id="grant_root", vendor="openai", amount_nanousd=7, held_at=datetime(2026, 3, 9, tzinfo=UTC), cause="x"
    )
    PostgresAccounting(trial.care._connect, trial.clock).post([bill], by="f", reason="r", key="k", source="command")
    assert months(trial).owed(MARCH) == {"openai": 50} and months(trial).owed(APRIL) == {"openai": 7}
    report = spend_report(trial.ledger, ("month", "billing_month"))
    assert {row.group: row.amount_nanousd for row in report.rows} == {
        ("2026-03", "2026-03"): 50,
        ("2026-03", "2026-04"): 7,
    }
    assert [one for result in trial.ledger.checks() for one in result.differences] == []


def test_a_bill_that_differs_keeps_the_month_open(trial: Trial) -> None:
    """By a nano-dollar, or missing, or of a vendor that nothing was bought from; a person may say why it is closed all the same."""
    assert code(close(trial, MARCH)) == "bill_missing"
    assert code(close(trial, MARCH, 51)) == "bill_differs"
    stranger = Bill(vendor="who", invoice_id="i", total_nanousd=1)
    ours = Bill(vendor="openai", invoice_id="i", total_nanousd=50)
    assert code(months(trial).close(MARCH, [ours, stranger], (), "f", "r", "c", "command")) == "bill_differs"
    answer = close(trial, MARCH, 51, waived=(DISPUTED,), alone=1)
    assert isinstance(answer, Closed) and answer.totals["waived"][0]["reason"] == "disputed"


def test_a_waiver_is_for_one_vendor_and_one_thing(trial: Trial) -> None:
    """Another vendor's, or another kind, waives nothing."""
    for waiver in (
        Waiver(what="difference", vendor="other", reason="r"),
        Waiver(what="no_bill", vendor="openai", reason="r"),
        Waiver(what="suspense", vendor="openai", reason="r"),
    ):
        assert code(close(trial, MARCH, 51, waived=(waiver,))) == "bill_differs"
    assert isinstance(close(trial, waived=(Waiver(what="no_bill", vendor="openai", reason="r"),), alone=50), Closed)


def test_what_is_not_known_keeps_the_month_open(trial: Trial) -> None:
    """A call under way, and one whose cost nobody knows, until evidence says it."""
    trial.clock.instant = datetime(2026, 3, 31, 23, 59, tzinfo=UTC)
    trial.take(open_ := trial.hold(trial.grants["grant_root"], 10))
    trial.clock.instant += timedelta(minutes=2)
    assert code(close(trial, MARCH, 50)) == "holds_open"
    trial.finish((open_.id, "suspense", 0, 0))
    assert code(close(trial, MARCH, 60)) == "suspense_open"
    PostgresRollups(trial.care._connect).fold()
    assert code(close(trial, MARCH, 60)) == "suspense_open"
    trial.evidence((open_.id, 4, 0))
    assert isinstance(close(trial, MARCH, 54), Closed)


def test_months_are_closed_when_they_are_over_and_in_order(trial: Trial) -> None:
    """Not the present one, not one before which another is open, none twice; an empty month in between is passed over."""
    assert code(close(trial, APRIL, 50)) == "month_not_over"
    trial.clock.instant = datetime(2026, 6, 30, 23, 59, tzinfo=UTC)
    call(trial, 3)
    trial.clock.instant = datetime(2026, 7, 1, tzinfo=UTC)
    june = date(2026, 6, 1)
    assert code(close(trial, june, 3)) == "month_before_open"
    assert isinstance(close(trial, MARCH, 50), Closed)
    assert isinstance(close(trial, june, 3, key="j"), Closed)
    assert code(close(trial, date(2026, 5, 1), key="m")) == "month_already_closed"


def test_a_key_closes_once(trial: Trial) -> None:
    """The same again is answered as the first time, another month under the key is refused."""
    first, again = close(trial, MARCH, 50), close(trial, MARCH, 50)
    assert isinstance(first, Closed) and isinstance(again, Closed)
    assert (first.is_repeated, again.is_repeated, again.totals) == (False, True, first.totals)
    assert code(close(trial, APRIL)) == "conflict_different_month"


def test_another_request_under_a_key_is_a_conflict(trial: Trial) -> None:
    """By somebody else, for another reason, with other bills or other waivers: what differs is said, and the month stays as it is."""
    assert isinstance(close(trial, MARCH, 51, waived=(DISPUTED,), alone=1), Closed)
    for field, other in (
        ("actor", close(trial, MARCH, 51, waived=(DISPUTED,), alone=1, by="bo@acme.example")),
        ("reason", close(trial, MARCH, 51, waived=(DISPUTED,), alone=1, reason="other")),
        ("bills", close(trial, MARCH, waived=(DISPUTED,), alone=1)),
        ("waived", close(trial, MARCH, 51, alone=1)),
    ):
        assert code(other) == f"conflict_different_{field}"
    again = close(trial, MARCH, 51, waived=(DISPUTED,), alone=1, by=FIN.upper())
    assert isinstance(again, Closed) and again.is_repeated
    assert status(trial) == {"2026-03": ("closed", 1)}


def test_a_key_answers_for_a_month_no_longer_once_it_was_opened_again(trial: Trial) -> None:
    """The same request is refused then, and closes under another key: it is not said to be closed while it is open."""
    close(trial, MARCH, 50)
    approve_reopening(trial, "ticket_1")
    months(trial).reopen(MARCH, "bo@acme.example", "late bill", "r1", "command")
    assert code(close(trial, MARCH, 50)) == "month_changed_since"
    assert status(trial) == {"2026-03": ("open", 2)}
    assert isinstance(close(trial, MARCH, 50, key="c2"), Closed)
    assert code(close(trial, MARCH, 50)) == "month_changed_since"


def test_what_one_person_waives_is_bounded(trial: Trial) -> None:
    """All waivers together, by what they come to; beyond the bound nothing is changed, and it is said what is to be decided."""
    trial.clock.instant = datetime(2026, 3, 31, 23, 59, tzinfo=UTC)
    call(trial, 10, "suspense")
    trial.clock.instant = datetime(2026, 4, 3, tzinfo=UTC)
    both = (DISPUTED, Waiver(what="suspense", vendor="openai", reason="lost"))
    found = close(trial, MARCH, 57, waived=both, alone=12)
    assert isinstance(found, ToDecide)
    assert [(one.what, one.amount_nanousd) for one in found.waived] == [("difference", 3), ("suspense", 10)]
    assert status(trial) == {}, "nothing happened to any month"
    unneeded = Waiver(what="no_bill", vendor="nobody", reason="r")
    answer = close(trial, MARCH, 57, waived=(*both, unneeded), alone=13)
    assert isinstance(answer, Closed)
    assert (answer.totals["waived_nanousd"], answer.totals["alone_nanousd"]) == (13, 13)
    assert [one["amount_nanousd"] for one in answer.totals["waived"]] == [3, 10, 0]


def test_no_waiver_of_weight_without_its_ticket(trial: Trial) -> None:
    """Whoever asks the database: an approved ticket of this month, with these bills and waivers, or nothing is closed."""
    wanted = close(trial, MARCH, 51, waived=(DISPUTED,))
    assert isinstance(wanted, ToDecide)
    for ticket, month, total in (("declined", MARCH, 51), ("other_month", APRIL, 51), ("other_bill", MARCH, 52)):
        approve_closing(
            trial,
            f"ticket_{ticket}",
            replace(wanted, month=month),
            total,
            state="declined" if ticket == "declined" else "approved",
        )
        with pytest.raises(psycopg.errors.CheckViolation, match="no approved ticket"):
            close(trial, MARCH, 51, key=f"ticket:ticket_{ticket}", waived=wanted.waived, is_decided=True)
    approve_closing(trial, "ticket_right", wanted, 51)
    moved = [replace(wanted.waived[0], amount_nanousd=2)]
    assert code(close(trial, MARCH, 51, key="ticket:ticket_right", waived=moved, is_decided=True)) == "waiver_differs"
    assert isinstance(close(trial, MARCH, 51, key="ticket:ticket_right", waived=wanted.waived, is_decided=True), Closed)


def approve_closing(trial: Trial, ticket_id: str, wanted: ToDecide, total: int, state: str = "approved") -> None:
    bills = (replace(wanted.bills[0], total_nanousd=total),)
    effect = CloseMonth(grant_id="grant_root", month=wanted.month, bills=bills, waived=tuple(wanted.waived))
    trial.looking.execute(AS_A_TEST)
    trial.looking.execute(
        "INSERT INTO tickets (id, kind, path, requester, assignees, tier, opened_at, due_at, expires_at, reason, effect, evidence,"
        " revision, state, decided_at, decided_by, decision_reason)"
        " SELECT %s, 'books', '', 'ana', '{bo}', 'large', now(), now(), now() + interval '1 day', 'r', %s, '{}', 1, %s, now(), 'bo', 'yes'",
        (ticket_id, Jsonb(effect_body(effect)), state),
    )


def test_only_an_approved_ticket_opens_a_month_again(trial: Trial) -> None:
    """Each opening takes a ticket of its own, whoever asks the database; then the month can be closed anew."""
    close(trial, MARCH, 50)
    with pytest.raises(psycopg.errors.CheckViolation, match="no approved ticket"):
        months(trial).reopen(MARCH, "bo@acme.example", "late bill", "r1", "command")
    approve_reopening(trial, "ticket_1")
    assert months(trial).reopen(MARCH, "bo@acme.example", "late bill", "r1", "command") == 2
    assert trial.one("SELECT booked_month('2026-03-09')") == MARCH
    call(trial, 2)
    assert isinstance(close(trial, MARCH, 50, key="c2"), Closed)
    with pytest.raises(psycopg.errors.CheckViolation, match="no approved ticket"):
        months(trial).reopen(MARCH, "bo@acme.example", "once more", "r2", "command")
    PostgresRollups(trial.care._connect).fold()
    assert status(trial)["2026-03"] == ("closed", 3)


def approve_reopening(trial: Trial, ticket_id: str) -> None:
    trial.looking.execute(AS_A_TEST)
    trial.looking.execute(
        "INSERT INTO tickets (id, kind, path, requester, assignees, tier, opened_at, due_at, expires_at, reason, effect, evidence,"
        " revision, state, decided_at, decided_by, decision_reason)"
        " SELECT %s, 'finding', '', 'ana', '{bo}', 'large', now(), now(), now() + interval '1 day', 'r',"
        " '{\"effect\": \"reopen_month\", \"month\": \"2026-03-01\"}', '{}', 1, 'approved', now(), 'bo', 'yes'",
        (ticket_id,),
    )


def test_only_the_last_closed_month_is_opened_again(trial: Trial) -> None:
    """Of two closed months the later one first; then what is found is booked in it and not after it."""
    close(trial, MARCH, 50)
    trial.clock.instant = datetime(2026, 5, 1, tzinfo=UTC)
    close(trial, APRIL, key="a")
    approve_reopening(trial, "ticket_1")
    assert code(months(trial).reopen(MARCH, "bo", "r", "r1", "command")) == "month_not_last"
    trial.looking.execute("UPDATE books SET closed_through = NULL")
    none = months(trial).reopen(MARCH, "bo", "r", "r1", "command")
    assert isinstance(none, Problem) and (none.code, none.detail.partition(", and ")[2]) == (
        "month_not_last",
        "no month is closed",
    )


def test_the_doctor_sees_a_closed_month_that_changed(trial: Trial) -> None:
    """An entry that was put into it by hand."""
    close(trial, MARCH, 50)
    call(trial, 3)
    trial.looking.execute("SET session_replication_role = replica")
    trial.looking.execute("UPDATE entries SET billing_month = '2026-03-01'")
    (found,) = [check for check in trial.ledger.checks() if check.name == "months"]
    assert [(one.subject, one.expected, one.found) for one in found.differences] == [
        ("2026-03", {"openai": 50}, {"openai": 53})
    ]


def test_closing_waits_for_calls_that_are_being_booked(trial: Trial) -> None:
    """No entry can slip into a month while it is closed: who closes has the books alone."""
    with psycopg.connect(trial.url, options="-c search_path=remit") as booking:
        booking.execute("SELECT lock_tree(false)")
        trial.looking.execute("SET lock_timeout = '50ms'")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            trial.looking.execute("SELECT close_month(now(), '2026-03-01', 'f', 'r', '[]', '[]', 'k')")


@pytest.mark.parametrize("text", ["2026", "2026-13", "2026-1", "2026-00", "0000-01", "26-01", "2026-1a", ""])
def test_what_is_no_month(text: str) -> None:
    """A month is four digits, a dash and two."""
    with pytest.raises(ValueError, match="month"):
        month_of(text)


def test_months_follow_each_other() -> None:
    """Over the end of a year as well."""
    assert month_after(month_of("2026-12")) == date(2027, 1, 1) and month_text(month_after(MARCH)) == "2026-04"
