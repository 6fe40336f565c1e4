"""The books of one billing month as the FOCUS export reads them: `remit.reports.focus.ports.FocusReader`."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import date, datetime
from typing import Any

import psycopg
from psycopg.rows import dict_row

from remit.kernel.money import MAX_NANOUSD
from remit.ledger.months import month_after
from remit.reports.focus.meters import METERS
from remit.reports.focus.model import (
    BillingMonth,
    Charge,
    Grain,
    Invoice,
    InvoiceCategory,
    InvoiceLine,
    PriceLine,
    first_instant,
)
from remit.store.archived_months import bring_back
from remit.store.archived_seals import OpensArchive, no_archive
from remit.store.connect import connect
from remit.store.named import query

# The database sorts a month on its disk before the first row comes; afterwards rows come as fast as they are taken.
SORT_TIMEOUT_MILLISECONDS = 30 * 60 * 1000
AT_ONCE = 2000


@contextmanager
def open_month(url: str, month: date, archive: OpensArchive = no_archive) -> Iterator["PostgresMonth"]:
    """The month with the reader's role, everything as of one instant; what is in the archive alone is read there.

    Raises ArchivedError where it cannot be.
    """
    with connect(url, "remit_reader") as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        with connection.transaction():
            connection.execute(f"SET LOCAL statement_timeout = {SORT_TIMEOUT_MILLISECONDS}".encode())
            connection.execute(query("entries_shared"))
            months = connection.execute(query("months_archived"), {"month": month}).fetchall()
            bring_back(connection, [row[0] for row in months], archive)
            connection.execute("SET TRANSACTION READ ONLY")
            yield PostgresMonth(connection, month)


class PostgresMonth:
    """Implements `FocusReader` inside one transaction. Rows come through a cursor of the server, `AT_ONCE` at a time."""

    def __init__(self, connection: psycopg.Connection, month: date) -> None:
        self._connection = connection
        self.month = month

    def charges(self, grain: Grain) -> Iterator[Charge]:
        with self._connection.cursor("focus_charges", row_factory=dict_row) as cursor:
            cursor.itersize = AT_ONCE
            cursor.execute(query("focus_charges"), {**self._bounds(), "grain": grain})
            for row in cursor:
                yield Charge(**{**row, "block_ids": tuple(row["block_ids"]), "lines": _lines(row["lines"])})

    def total_nanousd(self) -> int:
        """By the sums that reports read, and not by the rows of `charges`."""
        return int(self._one("focus_total"))

    def deployments(self) -> Iterable[tuple[str | None, str | None]]:
        return self._connection.execute(query("focus_deployments"), self._bounds()).fetchall()

    def billing_month(self) -> BillingMonth:
        """A month is there since it began, and changed when its last entry was recorded."""
        began, last = first_instant(self.month), self._one("focus_last")
        return BillingMonth(
            month=self.month, is_closed=self._is_closed(), created_at=began, updated_at=max(began, last or began)
        )

    def invoices(self) -> Iterable[Invoice]:
        """The bills that the month was closed with; none while it is open."""
        row = self._connection.execute(query("focus_bills"), self._bounds()).fetchone()
        return () if row is None else tuple(_invoice(bill, self.month, *row) for bill in row[0]["bills"])

    def _is_closed(self) -> bool:
        return bool(self._one("focus_closed"))

    def _one(self, name: str) -> Any:
        row = self._connection.execute(query(name), self._bounds()).fetchone()
        assert row is not None
        return row[0]

    def _bounds(self) -> dict[str, Any]:
        return {
            "month": self.month,
            "since": first_instant(self.month),
            "until": first_instant(month_after(self.month)),
        }


def _lines(written: Any) -> tuple[PriceLine, ...]:
    """The price lines of an entry. Where one cannot be read none is: the amount is then one that nothing explains.

    Gateways write them, and the database checks only amounts.
    """
    if not isinstance(written, list):
        return ()
    lines = [_line(one) for one in written]
    return () if None in lines else tuple(line for line in lines if line is not None)


def _line(written: Any) -> PriceLine | None:
    if not isinstance(written, dict) or str(written.get("kind")) not in METERS:
        return None
    units, price = written.get("units"), written.get("price_nanousd_per_million")
    amount = written.get("amount_nanousd")
    if not (isinstance(units, int) and isinstance(price, int) and isinstance(amount, int)):
        return None
    # What does not fit the columns of a table is no number of tokens and no price.
    if not (0 <= units <= MAX_NANOUSD and 0 <= price <= MAX_NANOUSD and abs(amount) <= MAX_NANOUSD):
        return None
    return PriceLine(str(written["kind"]), units, price, amount)


_CATEGORIES: Mapping[str, InvoiceCategory] = {"tax": "Tax", "credit": "Credit", "purchase": "Purchase"}


def _invoice(bill: dict[str, Any], month: date, totals: dict[str, Any], signed_at: datetime) -> Invoice:
    """A bill as it was signed off: a line for usage, and one for each part that is none."""
    parts = bill.get("lines") or []
    usage = bill["total_nanousd"] - sum(part["amount_nanousd"] for part in parts)
    stated = [("usage", usage, None), *((part["kind"], part["amount_nanousd"], part.get("text")) for part in parts)]
    lines = [
        InvoiceLine(
            detail_id=f"{bill['invoice_id']}-{number}",
            amount_nanousd=amount,
            created_at=signed_at,
            updated_at=signed_at,
            category="Usage" if kind == "usage" else _CATEGORIES.get(kind, "Adjustment"),
            description=text or kind.replace("_", " "),
        )
        for number, (kind, amount, text) in enumerate(stated, 1)
    ]
    return Invoice(
        vendor=bill["vendor"],
        invoice_id=bill["invoice_id"],
        month=month,
        status="Issued",
        lines=lines,
        issuer=bill.get("issuer"),
        owed_nanousd=totals["vendors"].get(bill["vendor"], 0),
    )
