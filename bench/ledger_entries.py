"""Entries made in bulk, as the gateway would have written them: DuckDB draws what differs from one to the next, from its number.

Of 2,000 entries one is a suspense, every other one of these has its correction, and one is an overage. All else is usage.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Any

import duckdb
import pyarrow as pa
from deltalake import CommitProperties, Transaction, WriterProperties, write_deltalake

from remit.store.archive_rows import PARTITION_BY, SCHEMA
from remit.store.delta_archive import APP

TEAMS, FEATURES, MODELS = 8, 10, 4
AT_ONCE = 50_000
_FILE_BYTES = 128 * 1024 * 1024
_MICROSECOND = timedelta(microseconds=1)
PAIRED = 2_000
"""Entries that belong together have numbers in the same two thousand."""

# A drawn number for each purpose, always the same one for an entry; what corrects or exceeds another entry draws as that one does.
_MADE = """
WITH numbered AS (
    SELECT n, n % 2000 AS place, n - (n % 4000 = 2 OR n % 2000 = 5)::BIGINT AS base FROM range($first, $last + 1) AS r (n)
), drawn AS (
    SELECT n, base,
           CASE WHEN place = 1 THEN 'suspense' WHEN n % 4000 = 2 THEN 'correction' WHEN place = 5 THEN 'overage' ELSE 'usage' END AS kind,
           (hash(base * 32 + 1) % 8)::BIGINT AS team, (hash(base * 32 + 2) % 10)::BIGINT AS feature, (hash(base * 32 + 3) % 4)::BIGINT AS model,
           (20 + hash(base * 32 + 4) % 97 * (hash(base * 32 + 5) % 97))::BIGINT AS input, (1 + hash(base * 32 + 6) % 61 * (hash(base * 32 + 7) % 31))::BIGINT AS output,
           CASE WHEN hash(base * 32 + 8) % 4 = 0 THEN (1 + hash(base * 32 + 9) % 4096)::BIGINT ELSE 0 END AS cached,
           $begin + to_microseconds((base - $before) * $step) AS held
    FROM numbered
), priced AS (
    SELECT *, [150, 2500, 3000, 1100][model + 1] AS price, 'team' || team AS grant_name,
           CASE WHEN team % 4 = 0 THEN 'experimentation' ELSE 'production' END AS class,
           lower(to_base(epoch_ms(held), 32, 10)) AS stamp,
           date_trunc('month', held) AS month_start
    FROM drawn
), told AS (
    SELECT *, stamp || lower(to_base((hash(base * 32 + 10) >> 24)::BIGINT, 32, 8) || to_base((hash(base * 32 + 11) >> 24)::BIGINT, 32, 8)) AS hold,
           strftime(month_start, '%Y-%m-%dT00:00:00+00:00') AS period, kind IN ('usage', 'suspense') AS is_call,
           CASE kind WHEN 'overage' THEN 1000 + input * 7 WHEN 'correction' THEN -(input + output) * price
                     ELSE (input + 4 * output) * price + cached * price // 10 END AS amount
    FROM priced
)
SELECT n AS seq, 'entry_' || hold || CASE kind WHEN 'correction' THEN '_correction' WHEN 'overage' THEN '_overage' ELSE '' END AS id,
       kind, amount AS amount_nanousd, 'grant_' || grant_name AS grant_id, 'root/' || grant_name AS grant_path,
       ['grant_root', 'grant_' || grant_name] AS node_ids,
       [md5('a' || team || hash(base * 32 + 12) % 40) || md5('b' || team || hash(base * 32 + 12) % 40)] AS block_ids,
       NULL AS debtor_id, NULL AS debt_period, class, 'owner' || (team * 10 + feature) || '@acme.example' AS owner,
       '{"team": "team-' || team || '", ' || CASE feature WHEN 9 THEN '' ELSE '"feature": "feature-' || feature || '", ' END
           || '"environment": "' || CASE WHEN team % 4 = 0 THEN 'dev' ELSE 'production' END || '"}' AS tags,
       NULL AS tag_conflicts, CASE WHEN model < 2 THEN 'openai' ELSE 'anthropic' END AS vendor, vendor AS deployment,
       'model-' || model AS model_requested, CASE WHEN kind <> 'suspense' THEN 'model-' || model || '-2026-01-01' END AS model_served,
       'default' AS tier,
       CASE WHEN kind = 'usage' THEN '{"input_tokens": ' || input || ', "output_tokens": ' || output || ', "cache_read_tokens": ' || cached
           || ', "cache_write_tokens": 0, "input_audio_tokens": 0, "output_audio_tokens": 0}' END AS usage,
       CASE WHEN kind = 'usage' THEN '[{"kind": "input", "units": ' || input || ', "amount_nanousd": ' || input * price
           || ', "price_nanousd_per_million": ' || price || '000000}, {"kind": "output", "units": ' || output || ', "amount_nanousd": '
           || output * 4 * price || ', "price_nanousd_per_million": ' || 4 * price || '000000}'
           || CASE WHEN cached = 0 THEN '' ELSE ', {"kind": "cache_read", "units": ' || cached || ', "amount_nanousd": '
              || cached * price // 10 || ', "price_nanousd_per_million": ' || price || '00000}' END || ']' END AS price_lines,
       'genai-prices 0.2.' || n // 8000000 AS price_source, CASE kind WHEN 'suspense' THEN 'estimated' WHEN 'correction' THEN 'recovered'
           ELSE 'vendor' END AS usage_source,
       CASE kind WHEN 'overage' THEN 0 WHEN 'correction' THEN -output ELSE input + output + cached END AS tokens, is_call::INTEGER AS requests,
       'req_' || stamp || lower(to_base((hash(base * 32 + 13) >> 24)::BIGINT, 32, 8) || to_base((hash(base * 32 + 14) >> 24)::BIGINT, 32, 8)) AS request_id,
       'op_' || stamp || lower(to_base((hash(base * 32 + 15) >> 24)::BIGINT, 32, 8) || to_base((hash(base * 32 + 16) >> 24)::BIGINT, 32, 8)) AS operation_id,
       'hold_' || hold AS hold_id,
       CASE WHEN kind <> 'suspense' THEN 'chatcmpl-' || lower(to_base((hash(base * 32 + 17) >> 1)::BIGINT, 36, 12)
           || to_base((hash(base * 32 + 18) >> 1)::BIGINT, 36, 12)) END AS vendor_request_id,
       CASE WHEN kind = 'correction' THEN 'entry_' || hold END AS corrects, 1 + n // 500000 AS policy_version,
       'dec_' || stamp || lower(to_base((hash(base * 32 + 19) >> 24)::BIGINT, 32, 8) || to_base((hash(base * 32 + 20) >> 24)::BIGINT, 32, 8)) AS decision_id,
       held AS held_at, held + to_microseconds((200000 + hash(n * 32 + 21) % 20000000)::BIGINT) AS recorded_at,
       CASE WHEN kind = 'correction' THEN 'by the vendor''s statement' END AS note, unhex(sha256(n::VARCHAR)) AS entry_hash,
       '[{"kind": "month", "node": "grant_root", "start": "' || period || '"}, {"kind": "month", "node": "grant_' || grant_name
           || '", "start": "' || period || '"}]' AS periods,
       NULL AS settlement, month_start::DATE AS billing_month, NULL AS trace_id,
       CASE WHEN hash(base * 32 + 22) % 50 = 0 THEN 2 END AS attempt, strftime(held, '%Y-%m') AS month
FROM told
"""


def _has_instant_of_the_one_before(number: int) -> bool:
    return number % (2 * PAIRED) == 2 or number % PAIRED == 5


class Maker:
    """Draws the entries after number `before`, `step` apart from `begin` on, in one DuckDB of its own."""

    def __init__(self, begin: datetime, step: timedelta, before: int) -> None:
        self._begin, self._before = begin, before
        self._step = max(step // _MICROSECOND, 1)
        self._connection = duckdb.connect()
        self._connection.execute("SET memory_limit = '1GB'; SET TimeZone = 'UTC'")

    def last_before(self, instant: datetime) -> int:
        """The last number of the entries from before an instant."""
        found = self._before + -((self._begin - instant) // _MICROSECOND // self._step) - 1
        return found + 1 if _has_instant_of_the_one_before(found + 1) else found

    def batches(self, first: int, last: int) -> Iterator[pa.RecordBatch]:
        """Entries with numbers from `first` to `last`, in order, as rows of the archive."""
        for at in range(first, last + 1, AT_ONCE):
            asked: dict[str, Any] = {"first": at, "last": min(at + AT_ONCE - 1, last), "begin": self._begin,
                                     "step": self._step, "before": self._before}  # fmt: skip
            made = self._connection.sql(_MADE, params=asked).to_arrow_table().combine_chunks()
            yield from made.select(SCHEMA.names).cast(SCHEMA).to_batches()


def write_compact(path: str, batches: Iterable[pa.RecordBatch], last_seq: int) -> None:
    """Appends rows in one commit, in files as compaction leaves them: it would only make the same of smaller ones."""
    terms = CommitProperties(app_transactions=[Transaction(APP, last_seq)])
    write_deltalake(
        path, pa.RecordBatchReader.from_batches(SCHEMA, batches), mode="append", partition_by=PARTITION_BY, commit_properties=terms,
        target_file_size=_FILE_BYTES, writer_properties=WriterProperties(compression="ZSTD", compression_level=1),
    )  # fmt: skip
