"""The books of the whole organization in PostgreSQL: comparisons with statements, and booking what they propose."""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

import msgspec
import psycopg

from remit.grants.model import Problem
from remit.grants.ports import Remembered, Said
from remit.kernel.clock import Clock
from remit.kernel.ids import new_id
from remit.kernel.money import format_usd
from remit.ledger.accounting import Adjustment, adjustment_entry
from remit.ledger.months import Bill, Closed, Waived, month_after, month_text
from remit.reconcile.comparison import Comparison, Drift, Reconciliation, Standing, digest_of
from remit.renewals.ports import Proposal
from remit.store.authored import Source, record_deed, say_unless_said
from remit.store.connect import Opens
from remit.store.named import query
from remit.store.postgres_accounting import Posted, PostgresAccounting
from remit.store.postgres_months import PostgresMonths
from remit.store.rows import dicts


@dataclass(frozen=True, slots=True)
class PostedBefore:
    """A comparison that was booked: with what, by whom, and what its entries are without their signs, in nano-USD."""

    id: str
    at: datetime
    had_bills: bool
    sources: Sequence[str]
    by: str
    moved_nanousd: int


class PostgresBooks:
    """Over connections in the authority's role, or over that of one open write."""

    def __init__(self, opens: Opens, clock: Clock, source: Source = "api") -> None:
        self._opens = opens
        self._clock = clock
        self._source = source

    def repeated(self, key: str, asked: Mapping[str, Any]) -> Reconciliation | Problem | None:
        """The comparison that was kept under a key; a problem (conflict_different_*) where something else was asked for then."""
        with self._opens() as connection:
            row = connection.execute(query("reconciliation_asked"), {"key": key}).fetchone()
            if row is None:
                return None
            conflict = Remembered(key=key, body=row[0], answer={}).conflict(_plain(asked))
            return conflict or next(iter(self._read(connection, key=key)))

    def keep(
        self, one: Comparison, asked: Mapping[str, Any], *, by: str, reason: str, key: str
    ) -> Reconciliation | Problem:
        """Keeps a comparison with all it found, once for each key; asked for again it is the one that was kept.

        `asked` is what is asked for, JSON-able; where that was something else under the key, it is refused as in `repeated`.
        """
        now = self._clock.now()
        made_id = new_id("rec", now)
        entries = _proposed_entries(one.adjustments, made_id)
        values = {
            "id": made_id,
            "month": one.month,
            "vendor": one.vendor,
            "made_at": now,
            "made_by": by,
            "statements": list(one.statements),
            "bills": _text(list(one.bills)),
            "ledger": one.ledger_nanousd,
            "billed": one.billed_nanousd,
            "found": one.found_nanousd,
            "unexplained": one.unexplained_nanousd,
            "proposed": one.proposed_nanousd,
            "entries": entries.decode(),
            "feedback": _text(list(one.feedback)),
            "digest": digest_of(entries),
            "key": key,
            "accepted": list(one.accepted),
            "basis": one.basis,
            "asked": _text(asked),
        }
        with self._opens() as connection, connection.transaction():
            row = connection.execute(query("reconciliation_put"), values).fetchone()
            if row is not None:
                drift = [{"number": number, **msgspec.to_builtins(each)} for number, each in enumerate(one.drift, 1)]
                connection.execute(query("drift_put"), {"id": made_id, "drift": _text(drift)})
                said = Said(at=now, actor=by, operation="reconcile", reason=reason, request_key=key[:200])
                say_unless_said(connection, said, self._source)
                what = {"month": month_text(one.month), "vendor": one.vendor, "findings": len(one.drift)}
                record_deed(connection, "reconciliation", made_id, None, what)
        kept = self.repeated(key, asked)
        assert kept is not None
        return kept

    def standing(self, month: date, vendor: str) -> Standing:
        """How the ledger has a vendor's month now."""
        with self._opens() as connection:
            return read_standing(connection, month, vendor)

    def vendors(self) -> set[str]:
        """Vendors of whom something was booked, in whatever month, or a statement is kept."""
        with self._opens() as connection:
            return {vendor for (vendor,) in connection.execute(query("vendors_known"))}

    def posted(self, month: date, vendor: str) -> list[PostedBefore]:
        """Comparisons of a vendor's month that were booked, the newest first."""
        with self._opens() as connection:
            return _posted(connection, month, vendor)

    def find(self, reconciliation_id: str) -> Reconciliation | None:
        """The comparison of an id."""
        with self._opens() as connection:
            return next(iter(self._read(connection, id=reconciliation_id)), None)

    def listed(self, month: date | None = None, vendor: str | None = None) -> list[Reconciliation]:
        """Comparisons, the newest first."""
        with self._opens() as connection:
            return self._read(connection, month=month, vendor=vendor)

    def drift(self, reconciliation_id: str) -> list[Drift]:
        """What a comparison found, in its order."""
        with self._opens() as connection:
            return [Drift(**row) for row in dicts(connection.execute(query("drift"), {"id": reconciliation_id}))]

    def post_proposed(
        self, reconciliation_id: str, digest: str, *, by: str, reason: str, key: str
    ) -> Sequence[str] | Problem:
        """Books what a comparison proposed, once; the ids of the entries.

        Codes: reconciliation_unknown, proposal_differs (the digest is of other entries), nothing_proposed,
        reconciliation_outdated (the ledger is not what was compared any more, another comparison of the month was booked
        since, or a statement was withdrawn), and those of posting. Booked before, it is
        answered as the first time.
        """
        with self._opens() as connection, connection.transaction():
            connection.execute("SELECT lock_tree(true)")
            found = next(iter(self._read(connection, id=reconciliation_id)), None)
            if found is None:
                detail = f"there is no reconciliation `{reconciliation_id}`"
                return Problem(code="reconciliation_unknown", path="", detail=detail)
            row = connection.execute(query("reconciliation_entries"), {"id": reconciliation_id}).fetchone()
            assert row is not None
            entries, posted = row
            if posted is not None:
                return tuple(posted)
            problem = _posting_problem(found, digest, entries) or _outdated(connection, found)
            if problem is not None:
                return problem
            answer = PostgresAccounting(lambda: nullcontext(connection), self._clock).post_entries(
                _labelled(connection, entries),
                by=by,
                reason=reason,
                key=f"reconcile:{reconciliation_id}",
                source=self._source,
            )
            if not isinstance(answer, Posted):
                return answer
            values = {"id": reconciliation_id, "at": self._clock.now(), "by": by, "entries": list(answer.entry_ids)}
            connection.execute(query("reconciliation_posted"), values)
        return answer.entry_ids

    def proposal(self, reconciliation_id: str) -> Proposal | None:
        """Who proposed what is to be booked, and how much on each grant."""
        found = self.find(reconciliation_id)
        if found is None:
            return None
        with self._opens() as connection:
            amounts: dict[str, int] = dict(
                connection.execute(query("reconciliation_grants"), {"id": reconciliation_id}).fetchall()
            )
        return Proposal(made_by=found.made_by, amounts=amounts)

    def bills_of(self, month: date) -> list[Bill]:
        """What vendors billed for a month, by the newest comparison of each."""
        newest: dict[str, Reconciliation] = {}
        for one in self.listed(month):
            newest.setdefault(one.vendor, one)
        return [msgspec.convert(bill, Bill) for one in newest.values() for bill in one.bills]

    def close(
        self, month: date, bills: Sequence[Bill], waived: Sequence[Waived], *, by: str, reason: str, key: str
    ) -> int | Problem:
        """Closes a month as an approved ticket says, if no later comparison has other bills; its revision."""
        if self.bills_of(month) != list(bills):
            detail = f"a later comparison of {month_text(month)} has other bills than were shown: ask again"
            return Problem(code="bills_outdated", path=month_text(month), detail=detail)
        months = PostgresMonths(self._opens, self._clock)
        closed = months.close(month, bills, waived, by, reason, key, self._source, is_decided=True)
        if isinstance(closed, Problem):
            return closed
        assert isinstance(closed, Closed), "it was decided"
        return closed.revision

    def reopen(self, month: date, *, by: str, reason: str, key: str) -> int | Problem:
        """Opens a month again; see PostgresMonths."""
        return PostgresMonths(self._opens, self._clock).reopen(month, by, reason, key, self._source)

    @staticmethod
    def _read(connection: psycopg.Connection, **by: Any) -> list[Reconciliation]:
        values = {"id": None, "key": None, "month": None, "vendor": None, **by}
        return [Reconciliation(**row) for row in dicts(connection.execute(query("reconciliations"), values))]


def _posted(connection: psycopg.Connection, month: date, vendor: str) -> list[PostedBefore]:
    rows = connection.execute(query("reconciliations_posted"), {"month": month, "vendor": vendor}).fetchall()
    return [PostedBefore(*row) for row in rows]


def _labelled(connection: psycopg.Connection, entries: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The entries under the tags that the grants which bear them fix: reports by these tags count what was booked as well."""
    ids = list({entry["grant_id"] for entry in entries})
    labels: dict[str, dict[str, str]] = dict(connection.execute(query("grant_labels"), {"ids": ids}).fetchall())
    return [{**entry, "tags": {**entry["tags"], **labels.get(entry["grant_id"], {})}} for entry in entries]


def _posting_problem(found: Reconciliation, digest: str, entries: list[dict[str, Any]]) -> Problem | None:
    if found.digest != digest or digest_of(msgspec.json.encode(entries, order="sorted")) != digest:
        detail = f"what {found.id} proposes is not what was approved"
        return Problem(code="proposal_differs", path=found.id, detail=detail)
    if not entries:
        return Problem(code="nothing_proposed", path=found.id, detail=f"{found.id} proposes nothing to book")
    return None


def read_standing(connection: psycopg.Connection, month: date, vendor: str) -> Standing:
    """How the ledger has a vendor's month, as of one instant."""
    after = month_after(month)
    row = connection.execute(
        query("books_standing"),
        {
            "month": month,
            "vendor": vendor,
            "since": datetime(month.year, month.month, 1, tzinfo=UTC),
            "until": datetime(after.year, after.month, 1, tzinfo=UTC),
        },
    ).fetchone()
    assert row is not None
    owed, charged, booked, posted, unexplained = row
    by_cause = {(grant, cause): amount for grant, cause, amount in booked}
    return Standing(
        owed_nanousd=owed,
        charged_nanousd=charged,
        booked_nanousd=by_cause,
        posted=posted,
        unexplained=[(about, amount) for about, amount in unexplained],
    )


def _outdated(connection: psycopg.Connection, found: Reconciliation) -> Problem | None:
    """Whether the ledger, what was booked in it or a statement is not what was compared. The tree has to be locked."""
    if found.withdrawn:
        detail = f"{found.id} was compared with {', '.join(found.withdrawn)}, withdrawn since: compare again"
        return Problem(code="reconciliation_outdated", path=found.id, detail=detail)
    now = read_standing(connection, found.month, found.vendor)
    if now.digest == found.basis:
        return None
    detail = (
        f"{found.vendor} is owed {format_usd(now.owed_nanousd)} for {month_text(found.month)} by now, and was"
        f" {format_usd(found.ledger_nanousd)} when it was compared, or another comparison was booked since: compare again"
    )
    return Problem(code="reconciliation_outdated", path=found.id, detail=detail)


def _plain(value: Any) -> Any:
    return msgspec.json.decode(msgspec.json.encode(value))


def _text(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _proposed_entries(adjustments: Sequence[Adjustment], reconciliation_id: str) -> bytes:
    """The entries that would be booked, as JSON; each names the comparison it comes from."""
    entries = []
    for one in adjustments:
        entry = adjustment_entry(one)
        entry["settlement"] = {**entry["settlement"], "reconciliation_id": reconciliation_id}
        entries.append(entry)
    return msgspec.json.encode(entries, order="sorted")
