"""Months of the books in PostgreSQL: closing them, opening one again, and how they stand."""

from collections.abc import Sequence
from datetime import date
from typing import Any

import msgspec
import psycopg

from remit.grants.model import Problem
from remit.grants.ports import Said
from remit.kernel.clock import Clock
from remit.kernel.money import format_usd
from remit.ledger.months import Bill, Closed, Month, ToDecide, Waived, Waiver, month_text
from remit.store.authored import Source, record_deed, say_unless_said
from remit.store.connect import Opens
from remit.store.named import query
from remit.store.rows import dicts

_REFUSED = {
    "month_not_over": "the month ends at {ends_at}",
    "month_already_closed": "the books are closed through {through}",
    "month_before_open": "{before} has charges and is open; months are closed in order",
    "month_not_last": "only the month that was closed last is opened again, and {last}",
    "holds_open": "{count} calls that were begun in it, or before, are still under way",
    "suspense_open": "what calls to {vendor} cost is not known, {by} at most: settle them by evidence or a statement",
    "bill_missing": "{vendor} is owed {owed}, and no bill says so",
    "bill_differs": "{vendor} billed {billed} and is owed {owed}",
    "conflict_different_month": "something else was done under this key",
    "conflict_different_actor": "somebody else closed it under this key",
    "conflict_different_reason": "it was closed under this key for another reason",
    "conflict_different_bills": "it was closed under this key with other bills",
    "conflict_different_waived": "it was closed under this key with other waivers",
    "month_changed_since": "it was closed under this key at revision {revision}, and opened again since: close it under another key",
    "waiver_differs": "`{what}` of {vendor} comes to {by} by now, which is not what was shown: ask again",
}


class PostgresMonths:
    """Over connections in the authority's role, or over that of one open write."""

    def __init__(self, opens: Opens, clock: Clock) -> None:
        self._opens = opens
        self._clock = clock

    def months(self) -> list[Month]:
        """Every month that has charges or was closed, in order."""
        with self._opens() as connection:
            return [Month(**row) for row in dicts(connection.execute(query("months")))]

    def owed(self, month: date) -> dict[str, int]:
        """What each vendor is owed by what is booked in a month, in nano-USD."""
        with self._opens() as connection:
            return dict(connection.execute(query("month_owed"), {"month": month}).fetchall())

    def close(  # noqa: PLR0917 - one parameter per part of what is signed
        self,
        month: date,
        bills: Sequence[Bill],
        waived: Sequence[Waiver],
        by: str,
        reason: str,
        key: str,
        source: Source,
        *,
        alone_nanousd: int = 0,
        is_decided: bool = False,
    ) -> Closed | ToDecide | Problem:
        """Closes a month, once for each key. A problem (codes: `_REFUSED`) has changed nothing.

        Waivers that come to more than `alone_nanousd` in all are not one person's: unless an approved ticket says so
        (`is_decided`), nothing is changed either, and the answer is what is to be decided.
        """
        values = {
            "now": self._clock.now(),
            "month": month,
            "by": by,
            "reason": reason,
            "bills": msgspec.json.encode(list(bills)).decode(),
            "waived": msgspec.json.encode(list(waived)).decode(),
            "key": key,
        }
        terms = msgspec.json.encode({"alone_nanousd": alone_nanousd, "decided": is_decided}).decode()
        with self._opens() as connection, connection.transaction():
            connection.execute(query("month_close_terms"), {"terms": terms})
            answer = _answer(connection, "month_close", values)
            if answer.get("refused") == "second_person_needed":
                wanted = tuple(Waived(**one) for one in answer["waived"])
                return ToDecide(month=month, bills=tuple(bills), waived=wanted)
            if "refused" in answer:
                return _problem(month, answer)
            if not answer["repeated"]:
                self._record(connection, month, "close month", by, reason, key, source, answer["totals"])
        return Closed(month=month, revision=answer["revision"], totals=answer["totals"], is_repeated=answer["repeated"])

    def reopen(self, month: date, by: str, reason: str, key: str, source: Source) -> int | Problem:
        """Opens the month that was closed last again; its revision. To be called by what an approved ticket does."""
        values = {"now": self._clock.now(), "month": month, "by": by, "reason": reason, "key": key}
        with self._opens() as connection, connection.transaction():
            answer = _answer(connection, "month_reopen", values)
            if "refused" in answer:
                return _problem(month, answer)
            if not answer["repeated"]:
                self._record(connection, month, "reopen month", by, reason, key, source, None)
        return int(answer["revision"])

    def _record(  # noqa: PLR0917 - one parameter per part of what is kept
        self,
        connection: psycopg.Connection,
        month: date,
        operation: str,
        by: str,
        reason: str,
        key: str,
        source: Source,
        totals: Any,
    ) -> None:
        said = Said(at=self._clock.now(), actor=by, operation=operation, reason=reason, request_key=key[:200])
        say_unless_said(connection, said, source)
        what = {"status": "open" if totals is None else "closed"} | ({} if totals is None else {"totals": totals})
        record_deed(connection, "month", month_text(month), None, what)


def _answer(connection: psycopg.Connection, name: str, values: dict[str, Any]) -> dict[str, Any]:
    row = connection.execute(query(name), values).fetchone()
    assert row is not None
    answer: dict[str, Any] = row[0]
    return answer


def _problem(month: date, answer: dict[str, Any]) -> Problem:
    amounts = {
        name.removesuffix("_nanousd"): format_usd(value) for name, value in answer.items() if name.endswith("_nanousd")
    }
    last = f"that is {answer['through']}" if answer.get("through") else "no month is closed"
    detail = _REFUSED[answer["refused"]].format(**answer, **amounts, last=last)
    return Problem(code=answer["refused"], path=month_text(month), detail=detail)
