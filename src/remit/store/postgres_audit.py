"""The audit, for whoever may read it. It is written by the transactions that it tells of (`authored.py`) and by nobody else."""

from collections.abc import Mapping
from typing import Any

from remit.ledger.model import CheckResult, Difference
from remit.store.connect import Opens
from remit.store.named import query
from remit.store.rows import dicts

_ANY: Mapping[str, Any] = {
    "after": None,
    "seq": None,
    "nodes": None,
    "actor": None,
    "subject": None,
    "outcome": None,
    "since": None,
    "until": None,
}


class PostgresAudit:
    """Reads the audit, over connections in the authority's role."""

    def __init__(self, opens: Opens) -> None:
        self._opens = opens

    def page(self, count: int, **wanted: Any) -> list[dict[str, Any]]:
        """At most so many rows, oldest first: the first after the number `after`, or else the newest.

        `wanted` narrows it: `seq`, `nodes` (ids of grants), `actor`, `subject` (an id), `outcome`, `since` and `until`. Rows get
        their number before their transaction is seen, so one may turn up behind another with a higher number.
        """
        assert wanted.keys() <= _ANY.keys(), wanted
        with self._opens() as connection:
            return dicts(connection.execute(query("audit_page"), {**_ANY, **wanted, "count": count}))

    def check(self) -> CheckResult:
        """Whether every row is as it was written, and everything that is audited as the last row about it says."""
        with self._opens() as connection:
            rows = connection.execute(query("check_audit")).fetchall()
        title = "every change is in the audit, and the audit as it was written"
        return CheckResult(
            "audit", title, rows[0][3], tuple(Difference("audit", *row[:3]) for row in rows if row[0] is not None)
        )
