"""Who is there and who has which role, in one open transaction: `remit.renewals.ports.People`."""

from collections.abc import Sequence
from datetime import datetime

import psycopg

from remit.kernel.clock import Clock
from remit.store.named import query


class PostgresStanding:
    """Over a connection of the authority's role."""

    def __init__(self, connection: psycopg.Connection, clock: Clock) -> None:
        self._connection = connection
        self._clock = clock

    def is_active(self, name: str) -> bool:
        return True

    def delegate_of(self, name: str, now: datetime) -> str | None:
        return None

    def rota(self, grant_ids: Sequence[str]) -> list[str]:
        return []

    def acts_for(self, name: str, grant_ids: Sequence[str]) -> frozenset[str]:
        return frozenset()

    def org_owners(self) -> list[str]:
        rows = self._connection.execute(query("people_admins"), {"now": self._clock.now()}).fetchall()
        return [row[0] for row in rows]

    def finance(self) -> list[str]:
        return []
