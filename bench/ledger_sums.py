"""The sums of months that were written straight into the archive, as if they had been folded and dropped: by DuckDB, from the archive.

`differences` makes them of a month that the product itself folded, archived and dropped, and compares.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Final

import duckdb
import psycopg

from remit.store.delta_archive import DeltaArchive

# What `fold_entries` groups by (migration 0028), times left out; `tags` are JSON as text.
_DIMS: Final = "grant_id, node_ids, tags, class, owner, kind, grant_path, vendor, deployment, model, tier"
_SUMS: Final = "entries, requests, retries, tokens, input_tokens, cache_read_tokens, cache_write_tokens, output_tokens, amount_nanousd, suspense_nanousd"
_COUNTS: Final = ("input_tokens", "input_audio_tokens", "cache_read_tokens", "cache_write_tokens", "output_tokens", "output_audio_tokens")  # fmt: skip
# The view entry_facts, of a month: a correction takes what it corrects out of what is in suspense, in the group of that.
_FACTS: Final = f"""
CREATE OR REPLACE TEMP TABLE grouped AS
WITH month_entries AS (
    SELECT *, coalesce(model_served, model_requested) AS model, coalesce(billing_month, date_trunc('month', held_at)::DATE) AS booked,
           date_trunc('hour', held_at) AS hour,
           from_json(usage, '{{{", ".join(f'"{name}": "BIGINT"' for name in _COUNTS)}}}') AS used
    FROM archived WHERE month = $month
), facts AS (
    SELECT {_DIMS}, hour, booked, count(*) AS entries, sum(requests) AS requests,
           sum(CASE WHEN attempt > 1 THEN requests ELSE 0 END) AS retries, sum(tokens) AS tokens,
           sum(coalesce(used.input_tokens, 0) + coalesce(used.input_audio_tokens, 0)) AS input_tokens,
           sum(coalesce(used.cache_read_tokens, 0)) AS cache_read_tokens,
           sum(coalesce(used.cache_write_tokens, 0)) AS cache_write_tokens,
           sum(coalesce(used.output_tokens, 0) + coalesce(used.output_audio_tokens, 0)) AS output_tokens,
           sum(amount_nanousd) AS amount_nanousd, sum(CASE WHEN kind = 'suspense' THEN amount_nanousd ELSE 0 END) AS suspense_nanousd
    FROM month_entries
    WHERE kind IN ('usage', 'overage', 'suspense', 'correction', 'transfer') OR kind = 'adjustment' AND debtor_id IS NULL
    GROUP BY ALL
    UNION ALL
    SELECT {", ".join("s." + name for name in _DIMS.split(", "))}, s.hour, s.booked, 0, 0, 0, 0, 0, 0, 0, 0, 0, -s.amount_nanousd
    FROM month_entries AS c JOIN month_entries AS s ON s.id = c.corrects
    WHERE c.kind = 'correction'
)
SELECT {_DIMS}, hour, booked, {", ".join(f"sum({name})::BIGINT AS {name}" for name in _SUMS.split(", "))}
FROM facts GROUP BY ALL
"""
# What drop_partition leaves of a month (migration 0029). No block of these entries is known: none is named.
_LEFT: Final = """
SELECT $partition, grant_id, '{' || array_to_string(node_ids, ',') || '}', '{}', time_bucket(INTERVAL 15 MINUTES, held_at) AS quarter,
       count(*), sum(amount_nanousd)::BIGINT, coalesce(sum(amount_nanousd) FILTER (WHERE kind = 'overage'), 0)::BIGINT,
       sum(tokens)::BIGINT, sum(requests)::BIGINT,
       count(*) FILTER (WHERE class = 'experimentation' AND tags ->> '$.environment' IN ('production', 'prod')), max(held_at)
FROM archived WHERE month = $month AND kind IN ('usage', 'overage', 'suspense', 'correction')
GROUP BY grant_id, node_ids, quarter ORDER BY quarter
"""
_PART: Final = (
    "SELECT max(seq), count(*), sum(amount_nanousd)::VARCHAR, max(recorded_at) FROM archived WHERE month = $month"
)
# The key of a series is made as fold_entries makes it.
_SERIES: Final = """
INSERT INTO rollup_series (key, grant_id, node_ids, dims)
SELECT sha256(convert_to(jsonb_build_array(g.grant_id, g.node_ids, g.dims)::text, 'UTF8')), g.*
FROM (SELECT %s::text AS grant_id, %s::text[] AS node_ids,
             dims_of(%s::jsonb, %s::text, %s::text, %s::text, %s::text, %s::text, %s::text, %s::text, %s::text) AS dims) AS g
ON CONFLICT (key) DO UPDATE SET key = excluded.key
RETURNING id
"""
_KNOWN: Final = (
    "CREATE TEMP TABLE series (id INTEGER, grant_id VARCHAR, node_ids VARCHAR[], tags VARCHAR, class VARCHAR, owner VARCHAR, kind VARCHAR,"
    " grant_path VARCHAR, vendor VARCHAR, deployment VARCHAR, model VARCHAR, tier VARCHAR)"
)
_KNOW: Final = "INSERT INTO series VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_DAYS: Final = f"""
SELECT (hour AT TIME ZONE 'UTC')::date, series_id, billing_month, {", ".join(f"sum({name})::bigint" for name in _SUMS.split(", "))}
FROM made_hours GROUP BY 1, 2, 3
"""


class ArchiveSums:
    """Makes sums of months of an archive, and puts them where the product keeps its own."""

    def __init__(self, url: str, archive: DeltaArchive, folder: Path) -> None:
        self._url = url
        self._archive = archive
        self._file = folder / "sums.csv"
        self._known: list[tuple[object, ...]] = []

    def fill(self, month: date, now: datetime) -> float:
        """Makes the sums of a month, and says that it has left the database; answers how many seconds that took."""
        begun = time.monotonic()
        named = {"month": f"{month:%Y-%m}"}
        begins = datetime(month.year, month.month, 1, tzinfo=UTC)
        with self._open() as (lake, owner), owner.transaction():
            self._make(lake, owner, month)
            owner.execute("INSERT INTO rollup_hours SELECT * FROM made_hours ORDER BY hour, series_id")
            owner.execute(f"INSERT INTO rollup_days {_DAYS}".encode())
            facts = _row(lake.execute(_PART, named))
            owner.execute(
                "INSERT INTO ledger_partitions (name, begins, ends, dropped_at, summed_seq, entries, amount_nanousd, last_recorded_at)"
                " VALUES (%s, %s, %s + interval '1 month', %s, %s, %s, %s, %s)",
                (_partition(month), begins, begins, now, *facts),
            )
            owner.execute("INSERT INTO archived_sums SELECT * FROM made_sums")
        return time.monotonic() - begun

    def months(self) -> set[date]:
        """The months whose sums are there."""
        with psycopg.connect(self._url) as owner:
            return {
                row[0]
                for row in owner.execute(
                    "SELECT (begins AT TIME ZONE 'UTC')::date FROM remit.ledger_partitions WHERE dropped_at IS NOT NULL"
                )
            }

    def differences(self, month: date) -> dict[str, int]:
        """By table, how many rows of a month that the product made are not those made here, either way round."""
        hours = f"SELECT * FROM rollup_hours WHERE hour >= '{month}' AND hour < date '{month}' + interval '1 month'"
        days = f"SELECT * FROM rollup_days WHERE day >= '{month}' AND day < date '{month}' + interval '1 month'"
        left = f"SELECT * FROM archived_sums WHERE partition = '{_partition(month)}'"
        pairs = {
            "rollup_hours": (hours, "SELECT * FROM made_hours"),
            "rollup_days": (days, _DAYS),
            "archived_sums": (left, "SELECT * FROM made_sums"),
        }
        found = {}
        with self._open() as (lake, owner), owner.transaction(force_rollback=True):
            self._make(lake, owner, month)
            for name, (theirs, ours) in pairs.items():
                asked = f"SELECT (SELECT count(*) FROM ({theirs} EXCEPT {ours})) + (SELECT count(*) FROM ({ours} EXCEPT {theirs}))"
                found[name] = int(_row(owner.execute(asked.encode()))[0])
        return found

    @contextmanager
    def _open(self) -> Iterator[tuple[duckdb.DuckDBPyConnection, psycopg.Connection]]:
        options = "-c search_path=remit -c timezone=UTC -c synchronous_commit=off"
        with (
            duckdb.connect() as lake,
            psycopg.connect(self._url, autocommit=True, options=options) as owner,
        ):
            lake.execute(
                f"SET memory_limit = '1GB'; SET temp_directory = '{self._file.parent}/spilled'; SET TimeZone = 'UTC'"
            )
            lake.execute(_KNOWN)
            if self._known:
                lake.executemany(_KNOW, self._known)
            self._archive.relation(lake, "archived")
            owner.execute(
                "CREATE TEMP TABLE made_hours (LIKE rollup_hours); CREATE TEMP TABLE made_sums (LIKE archived_sums)"
            )
            yield lake, owner
            self._file.unlink(missing_ok=True)

    def _make(self, lake: duckdb.DuckDBPyConnection, owner: psycopg.Connection, month: date) -> None:
        """Leaves the sums of a month in tables of the session."""
        owner.execute("TRUNCATE made_hours, made_sums")
        lake.execute(_FACTS, {"month": f"{month:%Y-%m}"})
        for series in lake.execute(
            f"SELECT DISTINCT {_DIMS} FROM grouped EXCEPT SELECT {_DIMS} FROM series"
        ).fetchall():
            number = _row(owner.execute(_SERIES, series))[0]
            self._known.append((number, *series))
            lake.execute(_KNOW, self._known[-1])
        same = " AND ".join(f"g.{name} IS NOT DISTINCT FROM s.{name}" for name in _DIMS.split(", "))
        self._copy(
            lake, owner, "made_hours", f"SELECT g.hour, s.id, g.booked, {_SUMS} FROM grouped AS g JOIN series AS s ON {same}", {}
        )  # fmt: skip
        self._copy(lake, owner, "made_sums", _LEFT, {"month": f"{month:%Y-%m}", "partition": _partition(month)})

    def _copy(
        self, lake: duckdb.DuckDBPyConnection, owner: psycopg.Connection, table: str, asked: str, values: dict[str, str]
    ) -> None:
        lake.execute(f"COPY ({asked}) TO '{self._file}' (FORMAT csv, HEADER false)", values)
        statement = f"COPY {table} FROM STDIN (FORMAT csv)".encode()
        with self._file.open("rb") as file, owner.cursor() as cursor, cursor.copy(statement) as copy:
            while part := file.read(1 << 20):
                copy.write(part)


def _partition(month: date) -> str:
    return f"entries_{month:%Y_%m}"


def _row(found: duckdb.DuckDBPyConnection | psycopg.Cursor) -> tuple[object, ...]:
    row = found.fetchone()
    assert row is not None
    return tuple(row)
