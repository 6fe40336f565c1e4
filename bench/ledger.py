"""`python -m bench.ledger [--entries N] [--hot M]`: what a large ledger costs, in PostgreSQL, in the archive, and to ask.

Entries are made in bulk, not settled: the last M come by COPY into PostgreSQL, through its triggers, those before straight into
segments of the archive, a month at a time. Everything after that is what the product does: folding, archiving, dropping, reports.
"""

import argparse
import json
import os
import random
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pyarrow as pa
import pyarrow.compute as pc

from bench.machine import describe
from remit.jobs.archiving import Archiver, Terms
from remit.kernel.clock import Clock
from remit.ledger.service import spend_report
from remit.store.archive_rows import COLUMNS, SCHEMA, read_row, to_batch
from remit.store.connect import opener
from remit.store.delta_archive import DeltaArchive
from remit.store.embedded import start_embedded
from remit.store.lake import Lake, ask
from remit.store.migrate import migrate
from remit.store.postgres_archive import PostgresArchive
from remit.store.postgres_ledger import PostgresLedger
from remit.store.postgres_rollups import PostgresRollups
from tests.grants.builders import Clock as SetClock
from tests.leases.trial import Trial, grant

NOW = datetime(2026, 6, 25, tzinfo=UTC)
HOT_SINCE = datetime(2026, 4, 1, tzinfo=UTC)
COLD_SINCE = datetime(2024, 4, 1, tzinfo=UTC)
TEAMS, FEATURES, MODELS = 8, 10, 4
SEGMENT = 200_000
TIMES = 5
REPORTS: tuple[tuple[tuple[str, ...], dict[str, list[str]]], ...] = (
    (("team",), {}),
    (("team", "month"), {}),
    (("grant",), {}),
    (("model",), {}),
    (("class", "environment"), {}),
    (("vendor", "model", "month"), {}),
    (("owner",), {}),
    (("day",), {"team": ["team-3"]}),
    (("feature",), {"team": ["team-1"], "environment": ["production"]}),
    (("billing_month", "kind"), {}),
)
_TAGS = {"team", "feature", "environment"}


def main() -> None:
    """Prints one table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entries", type=int, default=200_000, help="how many entries in all")
    parser.add_argument(
        "--hot", type=int, help="how many of them come by way of PostgreSQL; a quarter, at most 5 million"
    )
    asked = parser.parse_args()
    hot = asked.hot if asked.hot is not None else min(asked.entries // 4, 5_000_000)
    print(describe())
    print(
        f"{asked.entries:,} entries over 27 months, {hot:,} of them in the last three by way of PostgreSQL\n\n| what | is |\n|---|---|"
    )
    with tempfile.TemporaryDirectory(prefix="remit-bench-", ignore_cleanup_errors=True) as folder:
        Run(Path(folder), asked.entries, hot).all()


def told(what: str, value: str) -> None:
    """One row, at once: a long run shows how far it is."""
    print(f"| {what} | {value} |", flush=True)


def rate(count: int, seconds: float) -> str:
    """So many a second."""
    return f"{count / seconds:,.0f} entries/s"


class Run:
    """A ledger of its own, from empty to asked."""

    def __init__(self, folder: Path, entries: int, hot: int) -> None:
        self.url = start_embedded(folder)
        migrate(self.url)
        self.entries, self.hot, self.cold = entries, hot, entries - hot
        self.clock: Clock = SetClock(NOW)
        self.opens = opener(self.url, "remit_authority")
        self.archive = DeltaArchive(str(folder / "archive"))
        self.random = random.Random(1)
        trial = Trial(self.url)
        root = trial.write(grant("root"))
        self.grants = [trial.write(grant(f"team{n}", root)) for n in range(TEAMS)]
        trial.close()
        self.books = PostgresArchive(self.opens)
        self.books.ensure_partitions(HOT_SINCE, 3)

    def all(self) -> None:
        """Every figure."""
        template = to_batch(read_row(self.row(n, HOT_SINCE)) for n in range(1, 20_001))
        self.write_cold(template)
        self.copy_hot()
        self.fold()
        self.ask_rollups()
        self.archive_hot()
        self.ask_lake()
        told(
            "peak memory of the process that archives and asks",
            f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024:,} MB",
        )

    def row(self, seq: int, held_at: datetime) -> str:
        """An entry as PostgreSQL would write it, about 1.5 KB; its hash is made up."""
        names = dict.fromkeys(COLUMNS)
        team, feature, model = (self.random.randrange(most) for most in (TEAMS, FEATURES, MODELS))
        found, text = self.grants[team], f"{self.random.getrandbits(100):026x}"
        cost, tokens = self.random.randrange(10**5, 10**8), self.random.randrange(200, 20_000)
        usage = {"input_tokens": tokens - 100, "output_tokens": 100}
        lines = [
            {"kind": name, "quantity": count, "nanousd_per_million": 2_500_000_000, "nanousd": count * 2500}
            for name, count in usage.items()
        ]
        names |= {
            "seq": seq, "id": f"entry_{text}", "kind": "usage", "amount_nanousd": cost, "grant_id": found.id,
            "grant_path": found.path, "node_ids": ["grant_root", found.id], "block_ids": [f"{self.random.getrandbits(256):064x}"],
            "class": "experimentation" if team % 4 == 0 else "production", "owner": f"owner{team * FEATURES + feature}@acme.example",
            "tags": {"team": f"team-{team}", "feature": f"feature-{feature}", "environment": "dev" if team % 4 == 0 else "production"},
            "vendor": "openai", "deployment": "openai", "model_requested": f"model-{model}",
            "model_served": f"model-{model}-2026-01-01", "usage": usage, "price_lines": lines,
            "price_source": "genai-prices 0.0.30", "usage_source": "vendor", "tokens": tokens, "requests": 1,
            "request_id": f"req_{text}", "operation_id": f"op_{text}", "hold_id": f"hold_{text}",
            "vendor_request_id": f"chatcmpl-{text}", "policy_version": 1, "decision_id": f"dec_{text}", "held_at": held_at.isoformat(),
            "recorded_at": held_at.isoformat(), "entry_hash": f"\\x{self.random.getrandbits(256):064x}",
            "periods": [{"node": "grant_root", "kind": "month", "start": "2026-04-01T00:00:00+00:00"}],
            "billing_month": f"{held_at:%Y-%m}-01", "attempt": 1,
        }  # fmt: skip
        return json.dumps(names)

    def write_cold(self, template: pa.RecordBatch) -> None:
        """The months before, straight into the archive; recorded as segments, so that archiving goes on behind them."""
        if self.cold <= 0:
            return
        step = (HOT_SINCE - COLD_SINCE) / max(self.cold, 1)
        begun, at = time.monotonic(), 1
        while at <= self.cold:
            last = min(at + SEGMENT - 1, self.cold)
            self.archive.append(self.cold_batches(template, at, last, step), last)
            at = last + 1
        told("bulk into the archive, commits of 200,000", rate(self.cold, time.monotonic() - begun))
        with psycopg.connect(self.url, autocommit=True, options="-c search_path=remit") as owner:
            count, amount = self.archive.totals()
            owner.execute(
                "INSERT INTO segments VALUES (1, %s, %s, %s, sha256(''), sha256(''), 0, %s)",
                (self.cold, count, amount, NOW),
            )
            owner.execute("SELECT setval('entries_seq_seq', %s)", (self.cold,))
            owner.execute("UPDATE rollup_state SET seq = %s", (self.cold,))

    def cold_batches(
        self, template: pa.RecordBatch, first: int, last: int, step: timedelta
    ) -> Iterator[pa.RecordBatch]:
        """The template with numbers, instants and ids of their own."""
        while first <= last:
            count = min(template.num_rows, last - first + 1)
            part = template.slice(0, count)
            texts = [f"{value:026x}" for value in map(int.from_bytes, (os.urandom(13) for _ in range(count)))]
            micros = step / timedelta(microseconds=1)
            base = int(COLD_SINCE.timestamp() * 1_000_000)
            held = pa.array([base + int((first + n) * micros) for n in range(count)], pa.int64()).cast(
                pa.timestamp("us", tz="UTC")
            )
            made: dict[str, Any] = {
                "seq": pa.array(range(first, first + count), pa.int64()),
                "held_at": held, "recorded_at": held, "month": pc.strftime(held, "%Y-%m"),
                "billing_month": pc.floor_temporal(held, unit="month").cast(pa.date32()),
                "entry_hash": pa.array([os.urandom(32) for _ in range(count)], pa.binary()),
            }  # fmt: skip
            for name, prefix in (("id", "entry_"), ("hold_id", "hold_"), ("request_id", "req_"), ("operation_id", "op_"),
                                 ("decision_id", "dec_"), ("vendor_request_id", "chatcmpl-")):  # fmt: skip
                made[name] = pa.array([prefix + text for text in texts], pa.string())
            yield pa.RecordBatch.from_arrays(
                [made.get(name, part.column(name)) for name in SCHEMA.names], schema=SCHEMA
            )
            first += count

    def copy_hot(self) -> None:
        """The last three months by COPY: partitions, indexes, checks and hashes are those of the product."""
        names = [name for name in COLUMNS if name != "seq"]
        listed = ", ".join(f'"{name}"' for name in names)
        step, begun = (NOW - timedelta(days=1) - HOT_SINCE) / max(self.hot, 1), time.monotonic()
        made = (read_row(self.row(n, HOT_SINCE + n * step)) for n in range(self.hot))
        with psycopg.connect(
            self.url, autocommit=True, options="-c search_path=remit -c synchronous_commit=off"
        ) as owner:
            with owner.cursor() as cursor, cursor.copy(f"COPY entries ({listed}) FROM STDIN".encode()) as copy:
                for one in made:
                    values = [getattr(one, "grant_class" if name == "class" else name) for name in names]
                    copy.write_row([_cell(value) for value in values])
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
        begun = time.monotonic()
        PostgresRollups(self.opens).fold()
        told("fold into the sums of reports", rate(self.hot, time.monotonic() - begun))

    def archive_hot(self) -> None:
        """What the product does: segments written, read back and recorded; compacted; two months dropped."""
        terms = Terms(hot_days=24, segment_entries=SEGMENT // 4, keep_months={})
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

    def ask_rollups(self) -> None:
        ledger = PostgresLedger(self.url, self.clock)
        self.timed(
            "ten reports from the sums of the hot part", lambda by, only: spend_report(ledger, by, None, None, only)
        )

    def ask_lake(self) -> None:
        lake = Lake(self.opens, self.archive)
        begun = time.monotonic()
        with lake.open() as connection:
            told("one table opened: what is hot is read", f"{time.monotonic() - begun:.1f} s")
            self.timed(
                "ten reports over all entries, DuckDB, 1 GB of memory",
                lambda by, only: ask(connection, statement(by, only)),
            )

    def timed(self, what: str, work: Callable[[tuple[str, ...], dict[str, list[str]]], Any]) -> None:
        """The ten reports, several times each."""
        taken = []
        for _ in range(TIMES):
            for by, only in REPORTS:
                begun = time.monotonic()
                work(by, only)
                taken.append(time.monotonic() - begun)
        taken.sort()
        p50, p95 = taken[len(taken) // 2], taken[len(taken) * 95 // 100]
        told(f"{what}: p50; p95", f"{p50 * 1000:,.0f} ms; {p95 * 1000:,.0f} ms")


def statement(by: tuple[str, ...], only: dict[str, list[str]]) -> str:
    """A report as a question in SQL."""
    columns = ", ".join(f"{_column(name)} AS {name}" for name in by)
    where = " AND ".join(f"{_column(name)} IN ({', '.join(map(repr, values))})" for name, values in only.items())
    return (
        f"SELECT {columns}, sum(amount_nanousd), sum(tokens), sum(requests) FROM entries"
        f"{' WHERE ' + where if where else ''} GROUP BY ALL ORDER BY 2 DESC"
    )


def _column(name: str) -> str:
    if name in _TAGS:
        return f"tags ->> '$.{name}'"
    return {
        "model": "coalesce(model_served, model_requested)",
        "grant": "grant_path",
        "day": "date_trunc('day', held_at)",
    }.get(name, name)


def _cell(value: Any) -> Any:
    """A value as COPY writes it; JSON as its text."""
    if not isinstance(value, msgspec.Raw):
        return value
    return None if bytes(value) == b"null" else bytes(value).decode()


if __name__ == "__main__":
    main()
