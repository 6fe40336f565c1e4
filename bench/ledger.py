"""`python -m bench.ledger [--entries N] [--hot M]`: what a large ledger costs, in PostgreSQL, in the archive, and to ask.

Entries are made in bulk, not settled: the last M come by COPY into PostgreSQL, through its triggers, those before straight into
the archive, a month at a time, with their sums beside. Everything after that is what the product does: folding, sealing, archiving,
dropping, reports. See docs/benchmarks.md.
"""

import argparse
import resource
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import psycopg

from bench.ledger_ask import COMMANDS, ask_reports, run_command, statement, time_command
from bench.ledger_entries import PAIRED, TEAMS, Maker, write_compact
from bench.ledger_sums import ArchiveSums
from bench.ledger_watch import Watch
from bench.machine import describe
from remit.jobs.archiving import Archiver, Terms
from remit.ledger.service import spend_report
from remit.store.archive_rows import COLUMNS
from remit.store.connect import opener
from remit.store.delta_archive import DeltaArchive
from remit.store.embedded import start_embedded
from remit.store.lake import Lake, ask
from remit.store.migrate import migrate
from remit.store.postgres_archive import PostgresArchive
from remit.store.postgres_ledger import PostgresLedger
from remit.store.postgres_rollups import PostgresRollups
from tests.grants.builders import Clock as SetClock
from tests.leases.trial import Trial, grant, usd

# The first of each month; three are the hot ones, and all before them cold.
MONTHS = [datetime(2024 + n // 12, n % 12 + 1, 1, tzinfo=UTC) for n in range(3, 30)]
COLD_SINCE = MONTHS[0]
SEGMENT = 50_000
HOT_DAYS = 24
LIMIT = 10**18


def main() -> int:
    """Prints one table. The exit code is 1 if sums made here are not those the product makes, or not those of the entries."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entries", type=int, default=200_000, help="how many entries in all")
    parser.add_argument(
        "--hot", type=int, help="how many of them come by way of PostgreSQL; a quarter, at most 5 million"
    )
    parser.add_argument(
        "--folder", type=Path, help="where it is made and left, else a temporary one; what was broken off there goes on by months, and"
        " what is there as a whole is only asked. A file `enough` in it ends the months before after the one at hand",
    )  # fmt: skip
    asked = parser.parse_args()
    print(describe())
    if asked.folder is not None:
        run = Run(asked.folder)
        return run.ask() if run.ledger.counts()["entries"] else run.all(asked.entries, asked.hot)
    with tempfile.TemporaryDirectory(prefix="remit-bench-", ignore_cleanup_errors=True) as folder:
        return Run(Path(folder)).all(asked.entries, asked.hot)


def told(what: str, value: str) -> None:
    """One row, at once: a long run shows how far it is."""
    print(f"| {what} | {value} |", flush=True)


def head(what: str) -> None:
    """Begins the table."""
    print(f"{what}\n\n| what | is |\n|---|---|", flush=True)


def rate(count: int, seconds: float) -> str:
    """So many a second."""
    return f"{count / seconds:,.0f} entries/s"


class Run:
    """A ledger of its own, from empty to asked."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.url = start_embedded(folder)
        migrate(self.url)
        self.cold = self.hot = 0
        self.clock = SetClock()
        self.begin_hot(MONTHS[-3])
        self.opens = opener(self.url, "remit_authority")
        self.archive = DeltaArchive(str(folder / "archive"))
        self.sums = ArchiveSums(self.url, self.archive, folder)
        self.books = PostgresArchive(self.opens)
        self.ledger = PostgresLedger(self.url, self.clock)

    def begin_hot(self, since: datetime) -> None:
        """The three months from there on are the hot ones; it is the 26th of the last of them."""
        self.hot_since = since
        self.months = [
            since,
            *(datetime(since.year + n // 12, n % 12 + 1, 1, tzinfo=UTC) for n in (since.month, since.month + 1)),
        ]
        self.now = self.clock.instant = self.months[-1].replace(day=26)

    def all(self, entries: int, hot: int | None) -> int:
        """Makes it, and takes every figure."""
        hot = min(entries // 4, 5_000_000) if hot is None else hot
        self.cold = (entries - hot) // (2 * PAIRED) * (2 * PAIRED)
        self.hot = entries - self.cold
        head(f"{entries:,} entries, {self.hot:,} of them in the last three months by way of PostgreSQL")
        watch = Watch(self.folder)
        if self.cold:
            self.write_cold()
        self.books.ensure_partitions(self.hot_since, 3)
        self.copy_hot()
        self.fold()
        self.seal()
        self.archive_hot()
        is_same = self.check_sums()
        self.set_limits()
        self.weigh()
        is_same &= self.ask_all()
        watch.close()
        told("most disk in use at any time", f"{watch.disk / 10**9:,.1f} GB")
        told("most memory of PostgreSQL, all its processes", f"{watch.database_memory // 10**6:,} MB")
        return 0 if is_same else 1

    def ask(self) -> int:
        """Only asks what is there."""
        head(f"asked again: what is in `{self.folder}`")
        with self.owner() as owner:
            row = owner.execute(
                "SELECT date_trunc('month', max(held_at), 'UTC') - interval '2 months' FROM entries"
            ).fetchone()
        assert row is not None
        self.begin_hot(row[0].astimezone(UTC))
        return 0 if self.ask_all() else 1

    def ask_all(self) -> bool:
        """Questions, which change nothing; whether reports and entries come to the same."""
        is_same = self.ask_sums() == self.ask_lake()
        self.run_commands()
        told("most memory of this process", f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024:,} MB")
        return is_same

    def owner(self) -> psycopg.Connection:
        """A connection that no role holds, for what no product does."""
        return psycopg.connect(self.url, autocommit=True, options="-c search_path=remit -c synchronous_commit=off")

    def write_cold(self) -> None:
        """The months before, straight into the archive as compaction leaves them, and the sums of each beside the next one."""
        step = (MONTHS[-3] - COLD_SINCE) / (self.cold + 1)
        maker, writing, summing, written = Maker(COLD_SINCE, step, 0), 0.0, [], self.archive.last_seq()
        summed, before = self.sums.months(), written
        with ThreadPoolExecutor(1) as beside:
            for begins, ends in pairwise(MONTHS[:-2]):
                last, begun = min(maker.last_before(ends), self.cold), time.monotonic()
                if last > written:
                    write_compact(self.archive.path, maker.batches(written + 1, last), last)
                    written, writing = last, writing + time.monotonic() - begun
                if begins.date() not in summed:
                    summing.append(beside.submit(self.sums.fill, begins.date(), ends))
                print(f"{begins:%Y-%m}: {last:,} entries, {writing:.0f} s", file=sys.stderr, flush=True)
                if (self.folder / "enough").exists():
                    break
            self.cold = last
            self.begin_hot(ends)
            took = sum(one.result() for one in summing)
        told("bulk into the archive, a commit for each month", rate(self.cold - before, max(writing, 1e-3)))
        told("sums of what is in the archive alone, by DuckDB, beside", rate(self.cold - before, max(took, 1e-3)))
        count, amount = self.archive.totals()
        with self.owner() as owner:
            owner.execute(
                "INSERT INTO segments VALUES (1, %s, %s, %s, sha256(''), sha256(''), %s, %s)",
                (self.cold, count, amount, self.archive.version(), self.now),
            )
            owner.execute("SELECT setval('entries_seq_seq', %s)", (self.cold,))
            owner.execute("UPDATE rollup_state SET seq = %s", (self.cold,))
            owner.execute("VACUUM ANALYZE rollup_hours, rollup_days, rollup_series, archived_sums")

    def copy_hot(self) -> None:
        """The last three months by COPY: partitions, indexes, checks and hashes are those of the product."""
        names = [name for name in COLUMNS if name != "seq"]
        listed = ", ".join(f'"{name}"' for name in names)
        maker = Maker(self.hot_since, (self.now - timedelta(days=2) - self.hot_since) / (self.hot + 1), self.cold)
        with self.owner() as owner:
            begun = time.monotonic()
            with owner.cursor() as cursor, cursor.copy(f"COPY entries ({listed}) FROM STDIN".encode()) as copy:
                for batch in maker.batches(self.cold + 1, self.cold + self.hot):
                    for row in zip(*(batch.column(name).to_pylist() for name in names), strict=True):
                        copy.write_row(row)
            told("bulk into PostgreSQL, one connection", rate(self.hot, time.monotonic() - begun))
            owner.execute("VACUUM ANALYZE entries")
            size = owner.execute(
                "SELECT sum(pg_total_relation_size(inhrelid)), sum(pg_indexes_size(inhrelid)) FROM pg_inherits"
                " WHERE inhparent = 'entries'::regclass"
            ).fetchone()
        assert size is not None
        told(
            "PostgreSQL: bytes an entry, indexes included; of them indexes",
            f"{int(size[0]) // self.hot:,}; {int(size[1]) // self.hot:,}",
        )

    def fold(self) -> None:
        """What upkeep does."""
        begun = time.monotonic()
        PostgresRollups(self.opens).fold()
        told("fold into the sums of reports", rate(self.hot, time.monotonic() - begun))

    def seal(self) -> None:
        """The command, as a process of its own; what went straight into the archive is not in the tree."""
        ran = run_command(self.folder, self.now, ("ledger", "seal"))
        told("`remit ledger seal`", f"{rate(self.hot, ran.seconds)}; {ran.memory} MB")

    def archive_hot(self) -> None:
        """What the product does: segments written, read back and recorded; compacted; two months dropped."""
        terms = Terms(hot_days=HOT_DAYS, segment_entries=SEGMENT, keep_months={})
        marks: dict[str, float] = {}
        begun = time.monotonic()
        archiver = Archiver(
            self.books, self.archive, terms, self.clock, lambda name: marks.update({name: time.monotonic()})
        )
        done = archiver.archive()
        told("archived: read, written, read back, recorded", rate(done.entries, marks["recorded"] - begun))
        told("compacted, and compared before and after", f"{marks['compacted'] - marks['recorded']:.0f} s")
        told(f"{len(done.dropped)} months dropped, sums kept", f"{marks['dropped'] - marks['compacted']:.0f} s")
        files, size = self.archive.size()
        told("archive: bytes an entry, compacted; files", f"{size // self.archive.totals()[0]:,}; {files:,}")

    def check_sums(self) -> bool:
        """Whether sums as they were made of the cold months are, for a hot one, those that folding and dropping left."""
        month = self.hot_since.date()
        found = self.sums.differences(month)
        rows = ", ".join(f"{name} {count}" for name, count in found.items())
        told(f"{month:%Y-%m} folded by the product and from the archive: rows that differ", rows)
        return not any(found.values())

    def set_limits(self) -> None:
        """A tree with limits: what counts for them is summed when they are set, of months that have left as well."""
        trial = Trial(self.url)
        trial.clock.instant = self.now
        root = trial.write(grant("root", starts_at=COLD_SINCE))
        tree = [root, *(trial.write(grant(f"team{team}", root, starts_at=COLD_SINCE)) for team in range(TEAMS))]
        begun = time.monotonic()
        for one in tree:
            trial.write(replace(one, limits=(usd(LIMIT, "month"), usd(LIMIT, "once"))))
        trial.close()
        told(f"{2 * len(tree)} limits set, half of them since the first month", f"{time.monotonic() - begun:.1f} s")

    def weigh(self) -> None:
        """Sizes of what is kept beside entries."""
        with self.owner() as owner:
            for table in ("rollup_hours", "rollup_days", "rollup_series", "archived_sums", "ledger_tiles"):
                row = owner.execute(
                    f"SELECT (SELECT count(*) FROM {table}), pg_total_relation_size('{table}')".encode()
                ).fetchone()
                assert row is not None
                told(f"{table}: rows; MB, indexes included", f"{row[0]:,}; {row[1] / 10**6:,.1f}")
            row = owner.execute("SELECT pg_database_size(current_database())").fetchone()
        assert row is not None
        database, archive = int(row[0]), self.archive.size()[1]
        whole = (database + archive) // (self.cold + self.hot)
        told("database; archive; both, bytes an entry",
             f"{database / 10**9:,.2f} GB; {archive / 10**9:,.2f} GB; {whole:,}")  # fmt: skip

    def ask_sums(self) -> tuple[int, int]:
        """The ten reports as the product answers them, over all entries; answers charge and requests."""
        rows = spend_report(self.ledger, ("kind",)).total
        told("entries' charge as reports have it; requests", f"{rows.amount_nanousd} nano-USD; {rows.requests:,}")
        each = self.timed("ten reports from the sums", lambda by, only: spend_report(self.ledger, by, None, None, only))
        told(
            "the median of each of them",
            ", ".join(f"{'+'.join(by)} {taken * 1000:,.0f}" for by, taken in each.items()) + " ms",
        )
        return rows.amount_nanousd, rows.requests

    def run_commands(self) -> None:
        """Whole processes, from start to end."""
        for command in COMMANDS:
            told(f"`remit {' '.join(command)}`, whole process: median of 5; slowest; processor; memory",
                 time_command(self.folder, self.now, command))  # fmt: skip
        print(run_command(self.folder, self.now, COMMANDS[0]).printed, file=sys.stderr)

    def ask_lake(self) -> tuple[int, int]:
        """The same ten of the entries themselves; answers charge and requests."""
        begun = time.monotonic()
        with Lake(self.opens, self.archive).open() as connection:
            told("one table opened: what is hot is read", f"{time.monotonic() - begun:.1f} s")
            row = ask(
                connection, "SELECT sum(amount_nanousd)::VARCHAR, sum(requests)::VARCHAR, count(*) FROM entries"
            ).rows[0]
            told(
                "entries' charge as DuckDB sums them; requests; entries",
                f"{row[0]} nano-USD; {int(row[1]):,}; {row[2]:,}",
            )
            self.timed("ten reports over all entries, DuckDB, 1 GB of memory",
                       lambda by, only: ask(connection, statement(by, only)))  # fmt: skip
        return int(row[0]), int(row[1])

    def timed(self, what: str, work: Any) -> dict[tuple[str, ...], float]:
        """The ten reports, several times each."""
        found, each = ask_reports(work)
        told(f"{what}: p50; p95", found)
        return each


if __name__ == "__main__":
    sys.exit(main())
