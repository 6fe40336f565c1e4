"""The three files of a closed month join: one vendor has one issuer and one account in all of them."""

import csv
import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from focus_data_toolkit.validate import validate_dataset_bundle

from remit.ledger.accounting import Adjustment
from remit.ledger.months import Bill, BillLine, Closed, Waiver
from remit.reports.focus.columns import DATASETS
from remit.reports.focus.names import Naming, Stated
from remit.reports.focus.service import dataset_rows
from remit.store.postgres_accounting import PostgresAccounting
from remit.store.postgres_focus import PostgresMonth, open_month
from remit.store.postgres_months import PostgresMonths
from remit.store.postgres_rollups import PostgresRollups
from remit.store.table_files import write_csv
from tests.leases.trial import Trial, grant, usd
from tests.store.database import fresh_database

MARCH = date(2026, 3, 1)
Rows = list[dict[str, str]]
ACCOUNT = Stated("openai", account_id="4711", account_name="Acme", invoice_issuer="Acme Marketplace")


@pytest.fixture(scope="module")
def trial() -> Iterator[Trial]:
    """March: 100 at OpenAI and 40 at Mistral by calls, a fee of 7 and a credit of 3 that belong to no call; it is April."""
    made = Trial(fresh_database())
    root = made.write(grant("root", limits=(usd(10_000),)))
    holds = [made.hold(root, amount, 10, blocks=()) for amount in (60, 40)]
    made.take(*holds)
    for hold, amount in zip(holds, (60, 40), strict=True):
        made.settle(hold.id, amount, 10)
    with made.looking.transaction():
        made.looking.execute("SET LOCAL session_replication_role = replica")
        made.looking.execute("UPDATE entries SET vendor = 'mistral', deployment = 'gone' WHERE amount_nanousd = 40")
    made.clock.instant = datetime(2026, 4, 3, tzinfo=UTC)
    booked = [
        Adjustment(
            grant_id="grant_root", vendor="openai", amount_nanousd=amount, held_at=datetime(2026, 3, 30, tzinfo=UTC), cause=cause
        )
        for amount, cause in ((47, "platform_fee"), (-7, "credit"))
    ]  # fmt: skip
    PostgresAccounting(made.care._connect, made.clock).post(booked, by="f", reason="r", key="k", source="command")
    PostgresRollups(made.care._connect).fold()
    yield made
    made.close()


@contextmanager
def closed_month(trial: Trial, *bills: Bill, waived: Sequence[Waiver] = ()) -> Iterator[PostgresMonth]:
    """March as it was closed with these bills; afterwards it is open as before."""
    with trial.authority.transaction(force_rollback=True):
        opened = PostgresMonths(lambda: _same(trial.authority), trial.clock)
        answer = opened.close(MARCH, bills, waived, "fin@acme.example", "r", "close", "command", alone_nanousd=9)
        assert isinstance(answer, Closed), answer
        yield PostgresMonth(trial.authority, MARCH)


@contextmanager
def _same(connection: Any) -> Iterator[Any]:
    yield connection


def files(books: PostgresMonth, naming: Naming) -> dict[str, Rows]:
    """Each dataset, as it is read back from its file."""
    found = {}
    for dataset, columns in DATASETS.items():
        out = io.StringIO(newline="")
        write_csv(out, columns, dataset_rows(dataset, books, naming))
        found[dataset] = list(csv.DictReader(io.StringIO(out.getvalue(), newline="")))
    return found


def keys(rows: Rows, *columns: str) -> set[tuple[str, ...]]:
    return {tuple(row[column] for column in columns) for row in rows}


OPENAI = Bill(
    vendor="openai", invoice_id="INV-7", total_nanousd=100, lines=(BillLine(kind="platform_fee", amount_nanousd=47),)
)
MISTRAL = Bill(vendor="mistral", invoice_id="M-1", total_nanousd=40)
NAMINGS = {
    "not set": (Naming(), {("OpenAI", "vendor-openai"), ("Mistral AI", "vendor-mistral")}),
    "set": (Naming({"openai": ACCOUNT}), {("Acme Marketplace", "acct-4711"), ("Mistral AI", "vendor-mistral")}),
    "set for one of two deployments": (
        Naming({"another": ACCOUNT, "openai": Stated("openai")}),
        {("Acme Marketplace", "acct-4711"), ("Mistral AI", "vendor-mistral")},
    ),
}


@pytest.mark.parametrize("case", NAMINGS)
def test_the_files_of_a_month_join(trial: Trial, case: str) -> None:
    """Every charge has the issuer and account of its vendor's bill, adjustments too, and of each bill the charges are its sum."""
    naming, wanted = NAMINGS[case]
    with closed_month(trial, OPENAI, MISTRAL) as books:
        found = files(books, naming)
    usage, invoices, periods = (found[dataset] for dataset in DATASETS)
    assert {row["ChargeCategory"] for row in usage} == {"Usage", "Adjustment"}
    assert keys(usage, "InvoiceIssuerName", "BillingAccountId") == wanted
    assert keys(invoices, "InvoiceIssuerName", "BillingAccountId") == wanted
    assert keys(periods, "InvoiceIssuerName") == {(issuer,) for issuer, _ in wanted}
    assert len(keys(usage, "BillingAccountId", "BillingAccountName")) == len(wanted)
    key = ("InvoiceIssuerName", "BillingAccountId", "InvoiceId")
    assert keys(usage, *key) == keys(invoices, *key)
    for one in keys(invoices, *key):
        charged, asked = (
            sum(Decimal(row["BilledCost"]) for row in rows if tuple(row[column] for column in key) == one)
            for rows in (usage, invoices)
        )
        assert charged == asked > 0
    titles = {"Cost and Usage": usage, "Invoice Detail": invoices, "Billing Period": periods}
    report = validate_dataset_bundle(titles, invoice_detail_authoritative=True)
    assert report.ok and "reconcile_invoice_detail" in report.checks_run, report.format()
    # Rows are not matched with the lines of a bill, only with the bill; nothing else is missed.
    assert {one.code for one in report.diagnostics} <= {"FDT-CROSS-031"}, report.format()


def test_who_billed_is_the_issuer(trial: Trial) -> None:
    """A bill from a marketplace names the issuer of the vendor's charges, where no setting does."""
    market = Bill(vendor="mistral", invoice_id="M-1", total_nanousd=40, issuer="AWS Marketplace")
    with closed_month(trial, OPENAI, market) as books:
        found = files(books, Naming())
    for rows in found.values():
        assert keys(rows, "InvoiceIssuerName") == {("OpenAI",), ("AWS Marketplace",)}


def test_an_invoice_is_named_only_where_all_is_on_it(trial: Trial) -> None:
    """Not in an open month, and not where a vendor has two bills, or two accounts."""
    with open_month(trial.url, MARCH) as books:
        found = files(books, Naming())
    assert found["invoice-detail"] == [] and keys(found["cost-and-usage"], "InvoiceId") == {("",)}
    halves = [Bill(vendor="openai", invoice_id=name, total_nanousd=50) for name in ("INV-7", "INV-8")]
    with closed_month(trial, *halves, MISTRAL) as books:
        named = keys(files(books, Naming())["cost-and-usage"], "InvoiceIssuerName", "InvoiceId")
    assert named == {("OpenAI", ""), ("Mistral AI", "M-1")}
    two = Naming({"openai": ACCOUNT, "other": Stated("openai", account_id="org-other")})
    with closed_month(trial, OPENAI, MISTRAL) as books:
        named = keys(files(books, two)["cost-and-usage"], "BillingAccountId", "InvoiceId")
    assert named == {("acct-4711", ""), ("vendor-openai", ""), ("vendor-mistral", "M-1")}


def test_a_bill_that_differs_names_no_row(trial: Trial) -> None:
    """The rows of an invoice would not sum to what it asks for."""
    differs = Bill(vendor="mistral", invoice_id="M-1", total_nanousd=41)
    waived = Waiver(what="difference", vendor="mistral", reason="disputed")
    with closed_month(trial, OPENAI, differs, waived=(waived,)) as books:
        found = files(books, Naming())
    assert keys(found["cost-and-usage"], "InvoiceIssuerName", "InvoiceId") == {("OpenAI", "INV-7"), ("Mistral AI", "")}
    assert ("Mistral AI", "M-1") in keys(found["invoice-detail"], "InvoiceIssuerName", "InvoiceId")


def test_an_account_of_the_bills_issuer(trial: Trial) -> None:
    """Where a vendor is bought from two, a bill has the account at who billed it."""
    two = Naming({"openai": Stated("openai", account_id="org-acme", invoice_issuer="OpenAI"),
                  "cloud": Stated("openai", account_id="cloud-1", invoice_issuer="Cloud")})  # fmt: skip
    bills = [Bill(vendor="openai", invoice_id="INV-7", total_nanousd=60),
             Bill(vendor="openai", invoice_id="C-1", total_nanousd=40, issuer="Cloud")]  # fmt: skip
    with closed_month(trial, *bills, MISTRAL) as books:
        found = files(books, two)["invoice-detail"]
    assert ("Cloud", "cloud-1", "C-1") in keys(found, "InvoiceIssuerName", "BillingAccountId", "InvoiceId")
