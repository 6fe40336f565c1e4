"""Upkeep by the authority: ending overdue holds, forecasts, delivering notifications, applying evidence."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import psycopg

from remit.grants.model import Problem
from remit.grants.ports import Said
from remit.kernel.clock import Clock
from remit.store.authored import Source, record_deed, say
from remit.store.connect import connect
from remit.store.named import query
from remit.store.postgres_debts import How, PostgresDebts, Repaid, Settled

_EXPIRE_AT_ONCE = 200
_DELIVER_AT_ONCE = 50


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

    def drop_spent_blocks(self) -> int:
        """Forgets blocks of capabilities whose time was up a day ago, with their buckets; answers how many."""
        with self._connect() as connection:
            row = connection.execute("SELECT drop_spent_blocks(%s)", (self._clock.now(),)).fetchone()
        assert row is not None
        return int(row[0])

    def settle_debt(
        self, grant_id: str, period: str, amount_nanousd: int, how: How, *, by: str, note: str | None, key: str
    ) -> Settled | Problem:
        """As `PostgresDebts.settle`, as a write of its own."""
        return self._debts().settle(grant_id, period, amount_nanousd, how, by=by, note=note, key=key)

    def repay_due(self) -> list[Repaid]:
        """Repays debts of periods that are over, as far as it fits; see `PostgresDebts.repay_due`."""
        return self._debts().repay_due()

    def grants_are_due(self) -> bool:
        """Whether a grant's time is up that its status does not say yet; asked without a lock."""
        with self._connect() as connection:
            row = connection.execute(query("grants_due"), {"now": self._clock.now()}).fetchone()
        assert row is not None
        return bool(row[0])

    def deliver_notifications(self, send: Callable[[dict[str, Any]], bool]) -> int:
        """Hands due notifications to `send` one by one and answers how many were delivered.

        Each is put off before it is sent, with doubling waits of at most an hour, so that one whose sending fails in any
        way is tried again later and keeps no other from being sent. No transaction is open meanwhile.
        """
        delivered = 0
        with self._connect() as connection:
            for _ in range(_DELIVER_AT_ONCE):
                cursor = connection.execute(query("notification_claim"), {"now": self._clock.now()})
                row = cursor.fetchone()
                if row is None:
                    break
                names = [column.name for column in cursor.description or ()]
                notification = dict(zip(names, row, strict=True))
                if send(notification):
                    delivered += 1
                    done = {"id": notification["id"], "now": self._clock.now()}
                    connection.execute(query("notification_delivered"), done)
        return delivered

    def apply_evidence(
        self,
        rows: Sequence[dict[str, Any]],
        *,
        by: str = "remit",
        reason: str = "evidence about calls in suspense",
        source: Source = "command",
    ) -> list[str]:
        """Corrects suspense entries: rows `{hold_id, usd, tokens, entry}`; answers what each did."""
        with self._connect() as connection, connection.transaction():
            say(connection, Said(at=self._clock.now(), actor=by, operation="evidence", reason=reason), source)
            answer = connection.execute(
                "SELECT apply_evidence(%s, %s::jsonb)", (self._clock.now(), msgspec.json.encode(list(rows)).decode())
            ).fetchone()
            assert answer is not None
            done: Counter[str] = Counter(answer[0])
            if done["corrected"]:
                record_deed(
                    connection, "evidence", rows[0]["hold_id"], None, {"rows": len(rows), "answers": dict(done)}
                )
        return list(answer[0])

    def page_about_books(self, detail: str) -> None:
        """Tells on-call that the books differ, once a day."""
        with self._connect() as connection:
            connection.execute(query("books_page"), {"detail": detail, "now": self._clock.now()})

    def _debts(self) -> PostgresDebts:
        return PostgresDebts(self._connect, self._clock)

    def _connect(self) -> psycopg.Connection:
        return connect(self._url, "remit_authority")
