"""What belongs to no call: adjustments and transfers, the month they are booked in, and that every account sums to nothing."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime
from itertools import count
from typing import Any

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from remit.grants.model import Problem
from remit.kernel.usage import Usage
from remit.ledger.accounting import Adjustment, Bearer, Part, Transfer, transfer_entries
from remit.ledger.service import check_books, spend_report
from remit.store.postgres_accounting import Posted, PostgresAccounting
from tests.leases.trial import Trial, as_json, grant, usd
from tests.store.database import fresh_database

IN_MARCH = datetime(2026, 3, 14, tzinfo=UTC)
BILL = Adjustment(
    grant_id="grant_root",
    vendor="openai",
    amount_nanousd=7,
    held_at=IN_MARCH,
    cause="platform_fee",
    evidence={"statement_id": "stmt_1"},
    usage=Usage(input_tokens=5),
    requests=2,
)
MOVE = Transfer(
    id="xfer_1",
    held_at=IN_MARCH,
    sources=[(Bearer(grant_id="grant_a", tags={"team": "search"}), 30)],
    parts=[
        Part(bearer=Bearer(grant_id="grant_b", tags={"team": "ads"}), amount_nanousd=20),
        Part(bearer=Bearer(grant_id="grant_root"), amount_nanousd=10),
    ],
    rule="shared-cache",
    method="fixed",
)


@pytest.fixture
def trial() -> Iterator[Trial]:
    """One call of 50 by grant a."""
    made = Trial(fresh_database())
    root = made.write(grant("root", limits=(usd(10_000),)))
    for name in ("a", "b"):
        made.write(grant(name, root, limits=(usd(500),)))
    made.take(hold := made.hold(made.grants["grant_a"], 50, 10))
    made.settle(hold.id, 50, 10)
    yield made
    made.close()


def post(trial: Trial, *booked: Adjustment | Transfer, key: str = "k") -> Posted | Problem:
    accounting = PostgresAccounting(trial.care._connect, trial.clock)
    return accounting.post(booked, by="fin@acme.example", reason="the March bill", key=key, source="command")


def accounts(trial: Trial) -> dict[str, int]:
    rows = trial.looking.execute("SELECT account, sum(amount_nanousd)::bigint FROM postings GROUP BY 1").fetchall()
    return {account: amount for account, amount in rows if amount}


def entries(trial: Trial, kind: str) -> list[dict[str, Any]]:
    return [entry for entry in trial.ledger.tail(100, None) if entry["kind"] == kind]


def test_every_account_and_what_it_comes_to(trial: Trial) -> None:
    """What grants are charged is what the vendor is owed, and a transfer moves it without changing either."""
    post(trial, BILL, MOVE)
    assert accounts(trial) == {"grant:grant_a": 20, "grant:grant_b": 20, "grant:grant_root": 17, "vendor:openai": -57}
    report = spend_report(trial.ledger, ("grant",))
    assert {row.group[0]: (row.amount_nanousd, row.booked_nanousd) for row in report.rows} == {
        "root/a": (20, -30),
        "root/b": (20, 20),
        "root": (17, 17),
    }
    assert (report.total.amount_nanousd, report.total.booked_nanousd, report.total.requests) == (57, 7, 3)


def test_what_is_booked_uses_up_no_limit(trial: Trial) -> None:
    """Buckets hold what calls cost: finance booking a bill never makes a call fail, and the books still agree."""
    post(trial, replace(BILL, amount_nanousd=1_000_000), MOVE)
    assert trial.one("SELECT max(posted) FROM buckets WHERE dimension = 'usd'") == 50
    assert [difference for result in check_books(trial.ledger) for difference in result.differences] == []


def test_an_entry_says_why_from_what_and_by_whom(trial: Trial) -> None:
    """An adjustment has the vendor's counts and its evidence; the audit knows who posted."""
    answer = post(trial, BILL)
    (entry,) = entries(trial, "adjustment")
    assert isinstance(answer, Posted) and answer.entry_ids == (entry["id"],)
    assert entry["settlement"] == {
        "how": "reconciled",
        "cause": "platform_fee",
        "statement_id": "stmt_1",
        "key": "k:1",
        "by": "fin@acme.example",
        "batch": entry["settlement"]["batch"],
    }
    assert (entry["tokens"], entry["requests"], entry["usage"]["input_tokens"]) == (5, 2, 5)
    assert trial.one("SELECT actor FROM audit WHERE subject_kind = 'posting'") == "fin@acme.example"


def test_a_key_posts_once(trial: Trial) -> None:
    """The same again is answered as the first time, other entries under the key are refused; nothing is added."""
    first = post(trial, BILL, MOVE)
    again = post(trial, BILL, MOVE)
    other = post(trial, replace(BILL, amount_nanousd=8), MOVE)
    assert isinstance(first, Posted) and isinstance(again, Posted) and isinstance(other, Problem)
    assert again.entry_ids == first.entry_ids and (first.is_repeated, again.is_repeated) == (False, True)
    assert len(set(first.entry_ids)) == 4 and other.code == "conflict_different_entries"
    assert len(trial.ledger.tail(100, None)) == 5


def test_all_or_nothing(trial: Trial) -> None:
    """A bill for a grant that is not there posts nothing of the rest."""
    answer = post(trial, BILL, replace(BILL, grant_id="grant_none"))
    assert isinstance(answer, Problem) and answer.code == "grant_unknown"
    assert entries(trial, "adjustment") == []


def test_what_does_not_balance_is_refused_by_the_database(trial: Trial) -> None:
    """Whoever asks: the entries of a transfer sum to nothing, or none is written."""
    wrong = as_json(transfer_entries(MOVE)[1:])
    row = trial.call(trial.authority, "SELECT post_entries(now(), %s::jsonb, 'me', 'k')", wrong)
    assert (row["refused"], row["by_nanousd"]) == ("unbalanced", 30)


@pytest.mark.parametrize(
    ("change", "constraint"),
    [
        ({"vendor": None}, "what_belongs_to_no_call"),
        ({"settlement": {"how": "reconciled"}}, "what_belongs_to_no_call"),
        ({"settlement": {"cause": "x"}}, "debt_names_its_debtor"),
        ({"settlement": {"how": "forgive", "cause": "x"}}, "debt_names_its_debtor"),
        ({"kind": "usage"}, "what_belongs_to_no_call"),
        ({"kind": "correction"}, "correction_names_what_it_corrects|what_belongs_to_no_call"),
    ],
)
def test_the_table_refuses_what_is_no_adjustment(trial: Trial, change: dict[str, Any], constraint: str) -> None:
    """Nothing is booked beside calls without saying how it came about, and nothing pretends to be a call."""
    entry = {"kind": "adjustment", "grant_id": "grant_root", "amount_nanousd": 1, "held_at": IN_MARCH, "vendor": "v"}
    entry["settlement"] = {"how": "reconciled", "cause": "x"}
    with pytest.raises(psycopg.errors.CheckViolation, match=constraint):
        trial.call(trial.authority, "SELECT post_entries(now(), %s::jsonb, 'me', 'k')", as_json([{**entry, **change}]))


def test_a_closed_month_is_not_touched(trial: Trial) -> None:
    """What is found later about March is booked in April, and still says March; what is of May is May's."""
    trial.looking.execute("UPDATE books SET closed_through = '2026-03-01'")
    late = trial.hold(trial.grants["grant_a"], 3)
    trial.take(late)
    trial.settle(late.id, 3)
    post(trial, BILL, replace(BILL, held_at=datetime(2026, 5, 1, tzinfo=UTC)))
    months = [(entry["held_at"][:7], entry["billing_month"]) for entry in trial.ledger.tail(100, None)]
    assert months == [
        ("2026-03", "2026-03-01"),
        ("2026-03", "2026-04-01"),
        ("2026-03", "2026-04-01"),
        ("2026-05", "2026-05-01"),
    ]


def test_months_are_those_of_utc(trial: Trial) -> None:
    """The last microsecond of a month is that month's, wherever the reader sits."""
    for held_at, month in (
        (datetime(2026, 3, 31, 23, 59, 59, 999_999, tzinfo=UTC), date(2026, 3, 1)),
        (datetime(2026, 4, 1, tzinfo=UTC), date(2026, 4, 1)),
    ):
        trial.looking.execute("SET timezone = 'Pacific/Auckland'")
        assert trial.looking.execute("SELECT booked_month(%s)", (held_at,)).fetchone() == (month,)
    trial.looking.execute("SET timezone = UTC")


def test_the_doctor_finds_a_transfer_that_does_not_sum(trial: Trial) -> None:
    """One leg changed by hand: the check names the transfer and by how much."""
    post(trial, MOVE)
    trial.looking.execute("SET session_replication_role = replica")
    trial.looking.execute("UPDATE entries SET amount_nanousd = 11 WHERE kind = 'transfer' AND amount_nanousd = 10")
    trial.looking.execute("SET session_replication_role = origin")
    (found,) = [check for check in trial.ledger.checks() if check.name == "transfers"]
    assert [(one.subject, one.found) for one in found.differences] == [("xfer_1", 1)]


def test_entries_are_counted_only_when_all_below_are_there(trial: Trial) -> None:
    """A number is settled when every writer that might still use a lower one is done."""
    before = trial.one("SELECT max(seq) FROM entries")
    with psycopg.connect(trial.url, options="-c search_path=remit") as slow:
        slow.execute("SELECT lock_tree(false)")
        slow.execute("SELECT nextval(pg_get_serial_sequence('remit.entries', 'seq'))")
        trial.looking.execute("SET lock_timeout = '50ms'")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            trial.looking.execute("SELECT settled_seq()")
        trial.looking.execute("RESET lock_timeout")
    assert trial.one("SELECT settled_seq()") == before


def test_grants_and_vendors_always_agree(trial: Trial) -> None:
    """Whatever is booked: what grants are charged is what vendors are owed, and transfers come to nothing."""

    @settings(max_examples=30, deadline=None)
    @given(
        amounts=st.lists(st.integers(-(2**40), 2**40), min_size=1, max_size=6),
        bills=st.lists(st.integers(-(2**40), 2**40), max_size=4),
    )
    def whatever(amounts: list[int], bills: list[int]) -> None:
        owed = accounts(trial).get("vendor:openai", 0)
        bearers = [Bearer(grant_id=("grant_a", "grant_b")[n % 2]) for n in range(len(amounts))]
        parts = [Part(bearer=one, amount_nanousd=amount) for one, amount in zip(bearers, amounts, strict=True)]
        key = f"any {next(numbers)}"
        move = replace(MOVE, id=key, sources=[(Bearer(grant_id="grant_a"), sum(amounts))], parts=parts)
        assert isinstance(post(trial, move, *(replace(BILL, amount_nanousd=one) for one in bills), key=key), Posted)
        after = accounts(trial)
        charged = sum(amount for account, amount in after.items() if account.startswith("grant:"))
        assert charged == -after.get("vendor:openai", 0) and "transfers" not in after
        assert after.get("vendor:openai", 0) == owed - sum(bills)

    numbers = count()
    whatever()
