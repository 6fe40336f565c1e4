"""A ledger that spans some months, and its archive in a folder."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg

from remit.jobs.archiving import Archived, Archiver, Terms
from remit.store.connect import opener
from remit.store.delta_archive import DeltaArchive
from remit.store.lake import Lake
from remit.store.postgres_archive import PostgresArchive
from remit.store.postgres_rollups import PostgresRollups
from remit.store.postgres_seals import PostgresSeals
from tests.leases.trial import Trial, grant, usd

BEGIN = datetime(2026, 1, 10, 12, 7, tzinfo=UTC)
HOT_DAYS = 40
NOW = datetime(2026, 6, 20, tzinfo=UTC)


class Ground:
    """Calls of two grants from January to June 2026 in partitions of their months, and what archives them."""

    def __init__(self, url: str, folder: Path, like: "Ground | None" = None) -> None:
        """Over an empty database or, with `like`, over a copy of that ground's."""
        self.trial = Trial(url, seed=3)
        self.opens = opener(url, "remit_authority")
        self.books = PostgresArchive(self.opens)
        self.folder = folder
        if like is not None:
            self.trial.take_over(like.trial)
            self.a, self.b = like.a, like.b
            return
        self.trial.clock.instant = BEGIN
        self.books.ensure_partitions(BEGIN, 6)
        limits = (usd(10**9), usd(10**10, "month"), usd(10**11, "once"))
        root = self.trial.write(grant("root", starts_at=BEGIN - timedelta(days=1), limits=limits))
        self.a = self.trial.write(grant("a", root, starts_at=root.starts_at, limits=limits, time_zone="Asia/Kolkata"))
        self.b = self.trial.write(
            grant("b", root, starts_at=root.starts_at, limits=limits, grant_class="experimentation")
        )

    def close(self) -> None:
        self.trial.close()

    def call(self, leaf: Any, cost: int = 7, **fields: Any) -> str:
        """A call that is settled at once."""
        wanted = self.trial.hold(leaf, 10, 10, **fields)
        wanted = replace(wanted, entry={**wanted.entry, "class": leaf.grant_class})
        assert self.trial.take(wanted) == [True]
        assert self.trial.settle(wanted.id, cost, 5) == "settled"
        return wanted.id

    def fill(self, months: int = 5, calls: int = 6) -> None:
        """So many months of calls of both grants, one of them beyond its ceiling each month."""
        for _ in range(months):
            for number in range(calls):
                self.call(self.a if number % 3 else self.b, 7 if number else 13)
                self.trial.clock.instant += timedelta(hours=5, minutes=11)
            self.trial.clock.instant += timedelta(days=28)
        self.trial.clock.instant = NOW
        self.fold()

    def fold(self) -> None:
        """Everything is in the sums that reports read, and in the tree: what is not is not archived."""
        PostgresRollups(self.opens).fold()
        with PostgresSeals(self.opens).alone() as sealing:
            while sealing.append(sealing.watermark(), self.trial.clock.now()) is not None:
                pass

    def archiver(self, reached: Callable[[str], None] = lambda _: None, **fields: Any) -> Archiver:
        terms = Terms(**{"hot_days": HOT_DAYS, "segment_entries": 4, "keep_months": {}, **fields})
        return Archiver(self.books, self.delta(), terms, self.trial.clock, reached)

    def archive(self, **fields: Any) -> Archived:
        return self.archiver(**fields).archive()

    def delta(self) -> DeltaArchive:
        return DeltaArchive(str(self.folder))

    def lake(self) -> Lake:
        return Lake(opener(self.trial.url, "remit_reader"), self.delta())

    def hot(self) -> list[tuple[Any, ...]]:
        """Number, id, amount and hash of every entry in the database."""
        return self.trial.looking.execute(
            "SELECT seq, id, amount_nanousd, entry_hash FROM entries ORDER BY seq"
        ).fetchall()

    def everywhere(self) -> list[tuple[Any, ...]]:
        """The same of every entry, archived or not."""
        return self.lake().ask("SELECT seq, id, amount_nanousd, entry_hash FROM entries ORDER BY seq").rows

    def buckets(self) -> list[tuple[Any, ...]]:
        """What every bucket says, rates left out."""
        return self.trial.looking.execute(
            "SELECT node_id, dimension, period_kind, period_start, posted, held, overage, overdraft_posted, repaid FROM buckets"
            " WHERE period_kind NOT IN ('minute', 'inflight') ORDER BY 1, 2, 3, 4"
        ).fetchall()

    def partitions(self) -> set[str]:
        rows = self.trial.looking.execute(
            "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'entries'::regclass"
        ).fetchall()
        return {row[0] for row in rows}


def superuser(url: str) -> psycopg.Connection:
    """A connection that triggers and rights do not hold."""
    connection = psycopg.connect(url, autocommit=True, options="-c search_path=remit")
    connection.execute("SET session_replication_role = replica")
    return connection
