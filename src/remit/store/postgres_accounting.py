"""Books what belongs to no call, in PostgreSQL: adjustments and transfers, once for each key."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from remit.grants.model import Problem
from remit.grants.ports import Said
from remit.kernel.clock import Clock
from remit.ledger.accounting import Adjustment, Transfer, adjustment_entry, transfer_entries
from remit.store.authored import Source, record_deed, say_unless_said
from remit.store.connect import Opens
from remit.store.named import query

_REFUSED = {
    "grant_unknown": "there is no grant `{grant}`",
    "unbalanced": "transfer `{transfer_id}` does not sum to nothing, but to {by_nanousd} nano-USD",
    "conflict_different_entries": "other entries were posted under this key",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Posted:
    """The ids of the entries, in the order asked for. `is_repeated`: they were posted before, under the same key."""

    entry_ids: tuple[str, ...]
    is_repeated: bool


class PostgresAccounting:
    """Over connections in the authority's role, or over that of one open write."""

    def __init__(self, opens: Opens, clock: Clock) -> None:
        self._opens = opens
        self._clock = clock

    def post(
        self, booked: Sequence[Adjustment | Transfer], *, by: str, reason: str, key: str, source: Source
    ) -> Posted | Problem:
        """Books all of it or nothing, once for each key; a problem (codes: `_REFUSED`) has changed nothing."""
        entries = [
            entry
            for one in booked
            for entry in (transfer_entries(one) if isinstance(one, Transfer) else [adjustment_entry(one)])
        ]
        return self.post_entries(entries, by=by, reason=reason, key=key, source=source)

    def post_entries(
        self, entries: Sequence[dict[str, Any]], *, by: str, reason: str, key: str, source: Source
    ) -> Posted | Problem:
        """The same, of entries as `adjustment_entry` and `transfer_entries` write them."""
        now = self._clock.now()
        with self._opens() as connection, connection.transaction():
            values = {"now": now, "entries": msgspec.json.encode(entries).decode(), "by": by, "key": key}
            row = connection.execute(query("post_entries"), values).fetchone()
            assert row is not None
            answer: dict[str, Any] = row[0]
            if "refused" in answer:
                return Problem(
                    code=answer["refused"],
                    path=str(answer.get("grant", "")),
                    detail=_REFUSED[answer["refused"]].format(**answer),
                )
            if not answer["repeated"]:
                said = Said(at=now, actor=by, operation="ledger post", reason=reason, request_key=key[:200])
                say_unless_said(connection, said, source)
                total = sum(entry["amount_nanousd"] for entry in entries)
                record_deed(connection, "posting", key[:200], None, {"entries": len(entries), "total_nanousd": total})
        return Posted(entry_ids=tuple(answer["posted"]), is_repeated=answer["repeated"])
