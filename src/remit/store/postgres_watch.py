"""What somebody who only looks needs: how buckets stand, what each hold came to. Reader's role, nothing here writes."""

from dataclasses import dataclass

import psycopg

from remit.store.connect import connect, connect_async
from remit.store.named import query

_AT_ONCE = 10_000


@dataclass(frozen=True, slots=True)
class BucketState:
    """One bucket at one moment. Amounts in the dimension's unit; `path` is the node's id where it is no grant."""

    path: str
    grant_class: str | None
    dimension: str
    period_kind: str
    limit: int
    overdraft_limit: int
    used: int
    held: int
    overdraft_used: int

    @property
    def excess(self) -> int:
        """What is used and held beyond the limit and its escrowed overdraft; zero or less where the cap holds."""
        return self.used + self.held - self.limit - self.overdraft_limit


class PostgresWatch:
    """Looks at a running authority's database."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._live: psycopg.AsyncConnection | None = None

    async def buckets_live(self) -> list[BucketState]:
        """All buckets, on a connection that is kept; raises psycopg.Error."""
        if self._live is None or self._live.closed:
            self._live = await connect_async(self._url, "remit_reader")
        cursor = await self._live.execute(query("pressure"))
        return [BucketState(*row) for row in await cursor.fetchall()]

    async def close(self) -> None:
        """Ends the connection that was kept."""
        if self._live is not None:
            await self._live.close()
            self._live = None

    def buckets(self) -> list[BucketState]:
        """All buckets, blocking."""
        with connect(self._url, "remit_reader") as connection:
            return [BucketState(*row) for row in connection.execute(query("pressure")).fetchall()]

    def spend_by_hold(self) -> dict[str, int]:
        """Nano-USD by hold id, for every hold that was booked."""
        with connect(self._url, "remit_reader") as connection:
            cursor = connection.execute(query("spend_by_hold"))
            amounts: dict[str, int] = {}
            while rows := cursor.fetchmany(_AT_ONCE):
                amounts.update(rows)
            return amounts
