"""Trips of the breaker and the security feed for people, over connections in the authority's role."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from remit.grants.model import Problem
from remit.store.connect import Opens
from remit.store.named import query
from remit.store.rows import dicts


class PostgresTrips:
    """Reads trips and what was counted for security, and ends trips. Only a gateway trips."""

    def __init__(self, opens: Opens) -> None:
        self._opens = opens

    def page(
        self, after: int, count: int, nodes: Sequence[str] | None, *, now: datetime, active: bool
    ) -> list[dict[str, Any]]:
        """Those after a number, oldest first; with `nodes` (grant ids), only those of these grants."""
        return self._rows(after=after, count=count, nodes=nodes, now=now, active=active, id=None)

    def find(self, trip_id: str, now: datetime) -> dict[str, Any] | None:
        """The trip of that id, whether in effect or not."""
        rows = self._rows(after=0, count=1, nodes=None, now=now, active=False, id=trip_id)
        return rows[0] if rows else None

    def end(self, trip_id: str, by: str, reason: str, now: datetime) -> dict[str, Any] | Problem:
        """Ends a trip at every gateway; the trip as it is then. One that has ended already stays as it ended."""
        if self.find(trip_id, now) is None:
            return Problem(code="unknown_trip", path="", detail=f"there is no trip `{trip_id[:40]}`")
        with self._opens() as connection:
            connection.execute(query("trip_end"), {"id": trip_id, "by": by, "reason": reason, "now": now})
        found = self.find(trip_id, now)
        assert found is not None
        return found

    def without_ticket(self, count: int) -> list[dict[str, Any]]:
        """Trips that no ticket with the dedupe key `trip:<id>` was opened for, oldest first."""
        with self._opens() as connection:
            return dicts(connection.execute(query("trips_without_ticket"), {"count": count}))

    def feed(self, count: int, nodes: Sequence[str] | None, since: datetime | None) -> list[dict[str, Any]]:
        """What was tried and is not theirs to do, by grant, kind, holder and words, the most frequent first."""
        asked = {"count": count, "nodes": None if nodes is None else list(nodes), "since": since}
        with self._opens() as connection:
            return dicts(connection.execute(query("security_feed"), asked))

    def _rows(self, *, nodes: Sequence[str] | None, **asked: Any) -> list[dict[str, Any]]:
        with self._opens() as connection:
            return dicts(
                connection.execute(query("trips_page"), {**asked, "nodes": None if nodes is None else list(nodes)})
            )
