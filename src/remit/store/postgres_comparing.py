"""A vendor's month for comparing: `remit.reconcile.service.MonthReader`, in the reader's role, as of one instant."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from datetime import UTC, date, datetime
from decimal import Decimal
from itertools import groupby
from typing import Any, Final

import psycopg
from psycopg.rows import dict_row

from remit.ledger.months import month_after
from remit.reconcile.comparison import Standing
from remit.reconcile.matching.cells import CellKey, PricedLine
from remit.reconcile.matching.from_facts import Fact
from remit.reconcile.matching.registry import Registered
from remit.reconcile.matching.suspense import SuspendedHold
from remit.reconcile.other_months import OtherMonths
from remit.reconcile.service import Stated
from remit.reconcile.statements.model import StatementLine
from remit.store.archived_months import bring_back
from remit.store.archived_seals import OpensArchive, no_archive
from remit.store.connect import connect
from remit.store.named import query
from remit.store.postgres_books import read_standing
from remit.store.rows import dicts

MIDNIGHT_MINUTES: Final = 15
_TIMEOUT_MILLISECONDS: Final = 30 * 60 * 1000
_AT_ONCE: Final = 5_000
_MAX_STATEMENTS: Final = 1_000
# What the price lines of entries call otherwise than statements do.
_METERS: Final = {"request": "requests"}
_OF_A_LINE: Final = frozenset(one.name for one in fields(StatementLine))


@contextmanager
def open_month(
    url: str, month: date, vendor: str, deployments: Mapping[str, Registered], archive: OpensArchive = no_archive
) -> Iterator["PostgresMonthReader"]:
    """The month with the reader's role; `deployments` say by which account, project and key each is known to its vendor.

    What is in the archive alone is read there. Raises ArchivedError where it cannot be.
    """
    with connect(url, "remit_reader") as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        with connection.transaction():
            connection.execute(f"SET LOCAL statement_timeout = {_TIMEOUT_MILLISECONDS}".encode())
            connection.execute(query("entries_shared"))
            months = connection.execute(query("month_archived"), {"month": month}).fetchall()
            bring_back(connection, [row[0] for row in months], archive)
            connection.execute("SET TRANSACTION READ ONLY")
            yield PostgresMonthReader(connection, month, vendor, deployments)


class PostgresMonthReader:
    """Inside one transaction."""

    def __init__(
        self, connection: psycopg.Connection, month: date, vendor: str, deployments: Mapping[str, Registered]
    ) -> None:
        self._connection = connection
        self._deployments = deployments
        self._month, self._vendor = month, vendor
        after = month_after(month)
        self._asked = {
            "vendor": vendor,
            "month": month,
            "since": datetime(month.year, month.month, 1, tzinfo=UTC),
            "until": datetime(after.year, after.month, 1, tzinfo=UTC),
        }

    def facts(self) -> Iterable[Fact]:
        with self._connection.cursor("ledger_facts", row_factory=dict_row) as cursor:
            cursor.itersize = _AT_ONCE
            cursor.execute(query("ledger_facts"), {**self._asked, "midnight_minutes": MIDNIGHT_MINUTES})
            for _, rows in groupby(cursor, key=_distinguished):
                yield self._fact(list(rows))

    def suspended(self) -> list[SuspendedHold]:
        rows = dicts(self._connection.execute(query("suspended_holds"), self._asked))
        return [
            SuspendedHold(
                hold_id=row["hold_id"],
                day=row["day"],
                key=self._key(row),
                ceiling_nanousd=row["amount_nanousd"],
                ceiling_tokens=row["tokens"],
                vendor_request_id=row["vendor_request_id"],
            )
            for row in rows
        ]

    def standing(self) -> Standing:
        return read_standing(self._connection, self._month, self._vendor)

    def others(self) -> OtherMonths:
        row = self._connection.execute(query("other_months"), self._asked).fetchone()
        assert row is not None
        late, moved, carried = row
        return OtherMonths(late_nanousd=late, moved_nanousd=moved, carried_nanousd=carried)

    def statements(self) -> list[Stated]:
        wanted = {"id": None, "before": None, "source": None, "vendor": self._asked["vendor"], "current": True}
        rows = dicts(self._connection.execute(query("statements_page"), {**wanted, "count": _MAX_STATEMENTS}))
        return [
            Stated(
                **{
                    name: row[name]
                    for name in ("id", "source", "account", "covers_since", "covers_until", "is_complete")
                }
            )
            for row in reversed(rows)
            if row["covers_since"] < self._asked["until"] and row["covers_until"] > self._asked["since"]
        ]

    def lines(self, statement_id: str) -> Iterable[StatementLine]:
        after = 0
        while True:
            asked = {"id": statement_id, "after": after, "count": _AT_ONCE}
            rows = dicts(self._connection.execute(query("statement_lines_page"), asked))
            for row in rows:
                yield StatementLine(
                    **{name: value for name, value in row.items() if name in _OF_A_LINE and name != "quantity"},
                    quantity=_quantity(row["quantity"]),
                )
            if len(rows) < _AT_ONCE:
                return
            after = rows[-1]["number"]

    def _fact(self, rows: list[dict[str, Any]]) -> Fact:
        first = rows[0]
        lines = tuple(
            PricedLine(
                _METERS.get(row["meter"], row["meter"]), row["price"], row["units"] or 0, row["line_nanousd"] or 0
            )
            for row in rows
            if row["meter"] is not None
        )
        return Fact(
            day=first["day"],
            key=self._key(first),
            kind=first["kind"],
            grant_id=first["grant_id"],
            requests=sum(row["requests"] for row in rows),
            amount_nanousd=sum(row["amount_nanousd"] for row in rows),
            lines=lines,
            price_source=first["price_source"],
            usage_source=first["usage_source"],
            note=first["note"],
            is_amount_only=first["is_amount_only"],
            is_later_attempt=first["is_later_attempt"],
            is_late=first["later_day"] is not None and not first["midnight"],
            midnight=first["midnight"],
            settled_on=first["later_day"],
        )

    def _key(self, row: Mapping[str, Any]) -> CellKey:
        known = self._deployments.get(row["deployment"])
        return CellKey(
            vendor=self._vendor,
            account=None if known is None else known.account,
            project=None if known is None else known.project,
            key_id=None if known is None else known.key_id,
            deployment=row["deployment"],
            model=row["model"],
            tier=row["tier"],
        )


_DISTINGUISHED: Final = (
    "day", "deployment", "model", "tier", "kind", "grant_id", "price_source", "usage_source", "note", "is_amount_only",
    "is_later_attempt", "later_day", "midnight",
)  # fmt: skip


def _distinguished(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(row[name] for name in _DISTINGUISHED)


def _quantity(stated: Decimal | None) -> int | Decimal | None:
    if stated is None:
        return None
    return int(stated) if stated == stated.to_integral_value() else stated
