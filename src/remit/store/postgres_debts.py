"""What is owed for overdrafts, in one open transaction of the authority's role: `remit.renewals.ports.Debts`."""

from datetime import datetime

import psycopg

from remit.kernel.clock import Clock


class PostgresDebts:
    """Over a connection whose transaction its user ends."""

    def __init__(self, connection: psycopg.Connection, clock: Clock) -> None:
        self._connection = connection
        self._clock = clock

    def forgive(  # noqa: PLR0917 - one parameter per column of the entry
        self, grant_id: str, period_kind: str, period_start: datetime, amount_nanousd: int, by: str, note: str, key: str
    ) -> int:
        row = self._connection.execute(
            "SELECT settle_debt(%s, %s, %s, %s, 'forgive', %s, %s, %s)",
            (self._clock.now(), grant_id, period_kind, amount_nanousd, by, note, key),
        ).fetchone()
        assert row is not None
        return int(row[0])
