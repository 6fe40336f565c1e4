"""The export over a real PostgreSQL: what it reads is the ledger, in the order in which it is summed."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from remit.grants.model import Overdraft
from remit.kernel.money import line_cost_nanousd
from remit.ledger.months import month_after
from remit.reports.focus.columns import Row
from remit.reports.focus.group import group_key
from remit.reports.focus.model import Grain, first_instant
from remit.reports.focus.names import Naming
from remit.reports.focus.service import ExportMismatchError, dataset_rows
from remit.store import postgres_focus
from remit.store.postgres_focus import open_month
from tests.leases.trial import START, Trial, as_json, grant, usd
from tests.store.database import fresh_database

MARCH, APRIL = date(2026, 3, 1), date(2026, 4, 1)
GRAINS: tuple[Grain, ...] = ("hour", "day", "entry")


# Entries that differ from one of March in one column each, every other one by its id.
INTERLEAVED = """
WITH changed (number, change) AS (VALUES
    (1, '{"grant_id": "grant_b"}'::jsonb), (2, '{"grant_path": "root/x"}'), (3, '{"owner": "bob@acme.example"}'),
    (4, '{"class": "experimentation"}'), (5, '{"tags": {"team": "x"}}'), (6, '{"vendor": "azure"}'),
    (7, '{"deployment": "other"}'), (8, '{"model_served": "sim-other"}'), (9, '{"tier": "flex"}'),
    (10, '{"usage_source": "recovered"}'), (11, '{"price_source": "override:1"}'),
    (12, '{"block_ids": ["block_a", "block_b"]}'))
INSERT INTO entries OVERRIDING USER VALUE
SELECT (jsonb_populate_record(p, CASE WHEN n % 2 = 0 THEN c.change ELSE '{}' END || jsonb_build_object(
    'id', format('entry_mixed%s_%s', lpad(c.number::text, 2, '0'), n), 'hold_id', format('mixed%s_%s', c.number, n)))).*
FROM entries AS p, changed AS c, generate_series(1, 4) AS n
WHERE p.seq = (SELECT min(seq) FROM entries WHERE kind = 'usage')
"""


def lines(*units: tuple[str, int, int]) -> list[dict[str, Any]]:
    return [
        {"kind": kind, "units": count, "price_nanousd_per_million": price, "amount_nanousd": line_cost_nanousd(count, price)}
        for kind, count, price in units
    ]  # fmt: skip


def entry(price_lines: Any) -> dict[str, Any]:
    return {"usage_source": "vendor", "model_served": "sim-dime", "tier": "default", "price_lines": price_lines}


def settle(trial: Trial, name: str, price_lines: list[dict[str, Any]]) -> None:
    cost = sum(one["amount_nanousd"] for one in price_lines)
    ending = {"id": name, "outcome": "settled", "usd": cost, "tokens": 1, "entry": entry(price_lines)}
    trial.call(trial.gateway, "SELECT finish_holds(%s, %s::jsonb)", trial.clock.now(), as_json([ending]))


def rows(trial: Trial, month: date, grain: Grain = "day") -> list[Row]:
    with open_month(trial.url, month) as books:
        return list(dataset_rows("cost-and-usage", books, Naming(), grain))


def billed(found: list[Row]) -> int:
    return sum(int(str(row["BilledCost"])) for row in found)


def total(trial: Trial, month: date) -> int:
    return trial.ledger.total_nanousd(first_instant(month), first_instant(month_after(month)))


@pytest.fixture(scope="module")
def trial() -> Iterator[Trial]:
    """Two days around the end of a month: settled, beyond the ceiling, on credit, in doubt, and no longer in doubt."""
    made = Trial(fresh_database())
    root = made.write(grant("root", limits=(usd(7_500),), overdraft=Overdraft(max_nanousd=10**6)))
    leaves = [made.write(grant(name, root)) for name in ("a", "b")]
    made.write(grant("free"))
    for _ in range(2):
        holds = [made.hold(leaves[n % 2], 1_000, 10, seconds=60 if n >= 4 else 600) for n in range(8)]
        assert all(made.take(*holds))
        for hold in holds[:3]:
            settle(made, hold.id, lines(("input", 333, 500_000), ("output", 7, 1_000_001)))
        settle(made, holds[3].id, lines(("output", 3_000, 1_000_000)))
        made.clock.instant += timedelta(seconds=61)
        made.call(made.authority, "SELECT expire_holds(%s, 1000)", made.clock.now())
        said = [{"hold_id": holds[4].id, "usd": 400, "tokens": 9, "entry": entry(lines(("input", 400, 10**6)))},
                {"hold_id": holds[5].id, "usd": 40, "tokens": 9, "entry": entry(None)}]  # fmt: skip
        made.call(made.authority, "SELECT apply_evidence(%s, %s::jsonb)", made.clock.now(), as_json(said))
        void = [{"id": holds[6].id, "outcome": "voided"}]
        made.call(made.gateway, "SELECT finish_holds(%s, %s::jsonb)", made.clock.now(), as_json(void))
        settle(made, holds[7].id, lines(("input", 5, 10**6)))
        made.clock.instant = datetime(2026, 4, 1, 0, 0, 1, tzinfo=UTC)
    with made.looking.transaction():
        made.looking.execute("SET LOCAL session_replication_role = replica")
        made.looking.execute(INTERLEAVED)
    yield made
    made.close()


@pytest.mark.parametrize("grain", GRAINS)
@pytest.mark.parametrize("month", [MARCH, APRIL])
def test_the_file_sums_to_the_ledger(trial: Trial, month: date, grain: Grain) -> None:
    """To the nano-dollar, at every grain, and each month without the other."""
    found = rows(trial, month, grain)
    assert billed(found) == total(trial, month) > 0
    assert {row["BillingPeriodStart"] for row in found} == {first_instant(month)}


def test_a_month_without_calls_is_an_empty_file(trial: Trial) -> None:
    """No row, and no complaint."""
    assert rows(trial, date(2026, 2, 1)) == []


def test_every_entry_that_is_spend_is_in_the_lineage(trial: Trial) -> None:
    """An export by entry names each entry that is spend, and none that moved a debt."""
    wanted = trial.looking.execute(
        "SELECT id FROM entries WHERE debtor_id IS NULL AND kind <> 'overage' AND held_at < '2026-04-01' ORDER BY id"
    ).fetchall()
    assert sorted({str(row["x_LedgerEntryId"]) for row in rows(trial, MARCH, "entry")}) == [row[0] for row in wanted]
    overages = trial.one("SELECT count(*) FROM entries WHERE kind = 'overage' AND held_at < '2026-04-01'")
    named = {(row["x_LedgerEntryFirstId"], row["x_LedgerEntryLastId"]) for row in rows(trial, MARCH, "entry")}
    assert sum(first != last for first, last in named) == overages == 1
    assert trial.one("SELECT count(*) FROM entries WHERE debtor_id IS NOT NULL AND held_at < '2026-04-01'") > 0


@pytest.mark.parametrize("grain", GRAINS)
def test_charges_come_in_the_order_of_their_groups(trial: Trial, grain: Grain, monkeypatch: pytest.MonkeyPatch) -> None:
    """No group comes twice, however few rows are fetched at a time."""
    monkeypatch.setattr(postgres_focus, "AT_ONCE", 2)
    with open_month(trial.url, MARCH) as books:
        keys = [str(group_key(one, grain)) for one in books.charges(grain)]
    changes = [key for before, key in zip([None, *keys], keys, strict=False) if key != before]
    assert len(changes) == len(set(keys)) and len(keys) > 8


def test_single_entries_have_the_credential_that_was_shown(trial: Trial) -> None:
    """By entry, every block of it; by day, who authenticated, however many capabilities they made of theirs."""
    shown = {row["x_PrincipalId"]: row for row in rows(trial, MARCH, "entry")}["block_a"]
    assert (shown["x_ConsumerId"], shown["x_CredentialId"]) == ("block_b", "block_b")
    assert shown["x_CredentialDetails"] == '{"x_BlockIds":["block_a","block_b"]}'
    by_day = [row for row in rows(trial, MARCH) if row["x_PrincipalId"] == "block_a"]
    assert by_day and {row["x_CredentialId"] for row in by_day} == {None}


def test_a_month_is_closed_when_the_books_say_so(trial: Trial) -> None:
    """Up to the month through which they are closed, for every issuer."""
    with trial.looking.transaction(force_rollback=True):
        trial.looking.execute("CREATE TABLE IF NOT EXISTS books (one boolean, closed_through date)")
        trial.looking.execute("DELETE FROM books")
        trial.looking.execute("INSERT INTO books (one, closed_through) VALUES (true, '2026-03-01')")
        months = [postgres_focus.PostgresMonth(trial.looking, month).billing_month() for month in (MARCH, APRIL)]
    assert [one.is_closed for one in months] == [True, False]


def test_a_closed_month_has_its_bills(trial: Trial) -> None:
    """A row for usage and one for each part that is none; together they are what was billed."""
    bill = {"vendor": "openai", "invoice_id": "INV-1", "total_nanousd": 1_000}
    bill["lines"] = [{"kind": "tax", "amount_nanousd": 100, "text": None}]
    with trial.looking.transaction(force_rollback=True):
        vendors = trial.looking.execute("SELECT DISTINCT vendor FROM entries WHERE vendor IS NOT NULL").fetchall()
        waived = [
            {"what": what, "vendor": vendor, "reason": "r"}
            for (vendor,) in vendors
            for what in ("difference", "no_bill", "suspense")
        ]
        trial.looking.execute("UPDATE holds SET state = 'voided' WHERE state = 'open'")
        trial.looking.execute("SELECT set_config('remit.closing', '{\"alone_nanousd\": 9000000000000000000}', true)")
        closed = trial.call(
            trial.looking,
            "SELECT close_month('2026-06-01', '2026-03-01', 'fin', 'agreed', %s::jsonb, %s::jsonb, 'k')",
            as_json([bill]),
            as_json(waived),
        )
        assert closed["revision"] == 1, closed
        books = postgres_focus.PostgresMonth(trial.looking, MARCH)
        found = list(dataset_rows("invoice-detail", books, Naming()))
    assert [(row["ChargeCategory"], row["BilledCost"], row["InvoiceId"]) for row in found] == [
        ("Usage", 900, "INV-1"),
        ("Tax", 100, "INV-1"),
    ]


def test_what_is_booked_in_a_later_month_is_exported_there(trial: Trial) -> None:
    """An entry whose billing month is another than that of its call is in that month's file, as a correction."""
    march, april = billed(rows(trial, MARCH)), billed(rows(trial, APRIL))
    with trial.looking.transaction(force_rollback=False):
        trial.looking.execute("SET LOCAL session_replication_role = replica")
        trial.looking.execute("ALTER TABLE entries ADD COLUMN IF NOT EXISTS billing_month date")
        moved = trial.one(
            "WITH moved AS (UPDATE entries SET billing_month = '2026-04-01', recorded_at = '2026-04-02'"
            " WHERE kind = 'correction' AND held_at < '2026-04-01' RETURNING amount_nanousd)"
            " SELECT sum(amount_nanousd)::bigint FROM moved"
        )
    try:
        late = [row for row in rows(trial, APRIL) if row["ChargeClass"] == "Correction"]
        assert billed(rows(trial, MARCH)) == march - moved and billed(rows(trial, APRIL)) == april + moved
        assert billed(late) == moved != 0
        assert {str(row["ChargePeriodStart"])[:7] for row in late} == {"2026-03"}
    finally:
        with trial.looking.transaction():
            trial.looking.execute("SET LOCAL session_replication_role = replica")
            trial.looking.execute(
                "UPDATE entries SET billing_month = date_trunc('month', held_at AT TIME ZONE 'UTC')::date"
            )


def test_lines_that_cannot_be_read_lose_no_money(trial: Trial) -> None:
    """What a broken gateway wrote as lines is an amount that nothing itemises."""
    with trial.looking.transaction(force_rollback=False):
        trial.looking.execute("SET LOCAL session_replication_role = replica")
        trial.looking.execute(
            "UPDATE entries SET price_lines = '[{\"kind\": [\"x\"], \"units\": -1}]' WHERE kind = 'usage' AND held_at > '2026-04-01'"
        )
    found = rows(trial, APRIL)
    assert billed(found) == total(trial, APRIL)
    assert "Unitemised Request" in {row["SkuMeter"] for row in found if row["x_Kind"] == "usage"}


def test_an_overage_without_its_call_is_noticed(trial: Trial) -> None:
    """A file from which an entry is missing is never finished."""
    with trial.looking.transaction(force_rollback=True):
        trial.looking.execute("SET LOCAL session_replication_role = replica")
        trial.looking.execute("DELETE FROM entries WHERE kind = 'usage' AND hold_id IN (SELECT hold_id FROM entries"
                              " WHERE kind = 'overage' AND held_at < '2026-04-01')")  # fmt: skip
        books = postgres_focus.PostgresMonth(trial.looking, MARCH)
        with pytest.raises(ExportMismatchError):
            list(dataset_rows("cost-and-usage", books, Naming()))


def test_periods_are_of_the_month_and_its_issuers(trial: Trial) -> None:
    """Open since the month began, changed when its last entry was recorded."""
    with open_month(trial.url, MARCH) as books:
        microsoft, openai = dataset_rows("billing-period", books, Naming())
        assert list(dataset_rows("invoice-detail", books, Naming())) == []
    assert (microsoft["InvoiceIssuerName"], openai["InvoiceIssuerName"]) == ("Microsoft", "OpenAI")
    assert microsoft | {"InvoiceIssuerName": "OpenAI"} == openai and openai["BillingPeriodStatus"] == "Open"
    assert openai["BillingPeriodCreated"] == datetime(2026, 3, 1, tzinfo=UTC)
    last = trial.one("SELECT max(recorded_at) FROM entries WHERE held_at < '2026-04-01' AND debtor_id IS NULL")
    assert openai["BillingPeriodLastUpdated"] == last > START


CALLS = st.lists(
    st.tuples(st.integers(1, 10**6), st.integers(0, 10**9), st.integers(0, 999), st.booleans(), st.integers(0, 40)),
    min_size=1, max_size=8,
)  # fmt: skip


@settings(max_examples=15, deadline=None)
@given(CALLS)
def test_any_calls_sum_to_the_ledger(trial: Trial, calls: list[tuple[int, int, int, bool, int]]) -> None:
    """Whatever they cost, within or beyond their ceilings, on whichever day of the month they were begun."""
    day = datetime(2027, 1, 1, tzinfo=UTC)
    for units, price, ceiling, in_doubt, hours in calls:
        trial.clock.instant = day + timedelta(hours=hours)
        hold = trial.hold(trial.grants["grant_free"], ceiling)
        assert all(trial.take(hold))
        if in_doubt:
            end = as_json([{"id": hold.id, "outcome": "suspense"}])
            trial.call(trial.gateway, "SELECT finish_holds(%s, %s::jsonb)", trial.clock.now(), end)
        settle(trial, hold.id, lines(("input", units, price), ("output", units // 2, price // 3)))
    month = date(2027, 1, 1)
    for grain in GRAINS:
        assert billed(rows(trial, month, grain)) == total(trial, month)
