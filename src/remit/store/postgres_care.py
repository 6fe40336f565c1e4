"""Upkeep by the authority: ending overdue holds, forecasts, delivering notifications, applying evidence."""

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import msgspec
import psycopg

from remit.kernel.clock import Clock
from remit.store.connect import connect
from remit.store.named import query

_EXPIRE_AT_ONCE = 200
_DELIVER_AT_ONCE = 50
_MAX_WAIT_SECONDS = 3600


class PostgresCare:
    """Runs in the authority's role."""

    def __init__(self, url: str, clock: Clock) -> None:
        self._url = url
        self._clock = clock

    def expire_holds(self) -> int:
        """Books in suspense every open hold whose time is up; answers how many."""
        ended = 0
        with self._connect() as connection:
            while True:
                row = connection.execute("SELECT expire_holds(%s, %s)", (self._clock.now(), _EXPIRE_AT_ONCE)).fetchone()
                assert row is not None
                count = int(row[0])
                ended += count
                if count < _EXPIRE_AT_ONCE:
                    return ended

    def page_forecasts(self) -> int:
        """Pages on-call about production buckets that will not last; answers how many pages were new."""
        with self._connect() as connection:
            row = connection.execute("SELECT page_forecasts(%s)", (self._clock.now(),)).fetchone()
        assert row is not None
        return int(row[0])

    def drop_spent_rate_buckets(self) -> int:
        """Removes rate buckets of past minutes."""
        with self._connect() as connection:
            row = connection.execute("SELECT drop_spent_rate_buckets(%s)", (self._clock.now(),)).fetchone()
        assert row is not None
        return int(row[0])

    def deliver_notifications(self, send: Callable[[dict[str, Any]], bool]) -> int:
        """Hands due notifications to `send` one by one; those it answers False for are tried again later.

        Doubling waits, at most an hour. Answers how many were delivered.
        """
        delivered = 0
        with self._connect() as connection, connection.transaction():
            now = self._clock.now()
            cursor = connection.execute(query("notifications_due"), {"now": now, "count": _DELIVER_AT_ONCE})
            names = [column.name for column in cursor.description or ()]
            for row in cursor.fetchall():
                notification = dict(zip(names, row, strict=True))
                if send(notification):
                    delivered += 1
                    connection.execute(query("notification_delivered"), {"id": notification["id"], "now": now})
                else:
                    wait = min(2 ** min(notification["attempts"], 12), _MAX_WAIT_SECONDS)
                    again = {"id": notification["id"], "at": now + timedelta(seconds=wait)}
                    connection.execute(query("notification_again"), again)
        return delivered

    def apply_evidence(self, rows: Sequence[dict[str, Any]]) -> list[str]:
        """Corrects suspense entries: rows `{hold_id, usd, tokens, entry}`; answers what each did."""
        with self._connect() as connection:
            answer = connection.execute(
                "SELECT apply_evidence(%s, %s::jsonb)", (self._clock.now(), msgspec.json.encode(list(rows)).decode())
            ).fetchone()
        assert answer is not None
        return list(answer[0])

    def _connect(self) -> psycopg.Connection:
        return connect(self._url, "remit_authority")
