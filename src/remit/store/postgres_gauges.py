"""What monitoring asks of the database, as of one moment."""

from collections.abc import Mapping

from remit.kernel.clock import Clock
from remit.store.connect import Opens
from remit.store.named import query

# Whoever looks every few seconds does not wait for longer, and keeps nothing busy.
_TIMEOUT_MILLISECONDS = 10_000
Gauge = tuple[str, Mapping[str, str], int]


class PostgresGauges:
    """Over connections in the authority's role. With `grants` also of each grant, of which there may be many."""

    def __init__(self, opens: Opens, clock: Clock, *, grants: bool) -> None:
        self._opens = opens
        self._clock = clock
        self._grants = grants

    def read(self) -> list[Gauge]:
        """Names, labels and values, in order of names."""
        with self._opens() as connection, connection.transaction():
            connection.execute(f"SET LOCAL statement_timeout = {_TIMEOUT_MILLISECONDS}".encode())
            rows = connection.execute(query("gauges"), {"now": self._clock.now(), "grants": self._grants}).fetchall()
        return [(row[0], row[1], row[2]) for row in rows]
