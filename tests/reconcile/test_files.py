"""Real and hostile files: published samples, Parquet, limits, and mapping files that mean nothing."""

import csv
import gzip
import io
import zlib
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from itertools import repeat
from pathlib import Path
from typing import Any

import pytest

from remit.reconcile.statements import raw as raw_module
from remit.reconcile.statements.formats import lines_of
from remit.reconcile.statements.generic import parse_mapping
from remit.reconcile.statements.model import Options, StatementError
from remit.reconcile.statements.raw import Raw, csv_rows, pack
from tests.reconcile.books import read
from tests.tidy.sources import ROOT

HEADER = b"BilledCost,ChargePeriodStart,ChargePeriodEnd,ChargeCategory,BillingCurrency\n"
FOCUS = ROOT.parent / "shared" / "data" / "focus"


def sample(name: str) -> bytes:
    file: Path = FOCUS / name
    if not file.exists():
        pytest.skip(f"there is no {name} beside the repository")
    return file.read_bytes()


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("focus_sample_1.0.csv", Options(account="payer", vendor="clouds")),
        ("focus_1_5_draft_examples/ai_prompt_caching_a.csv", Options()),
        ("focus_1_5_draft_examples/correction_closed_period_ledger_style.csv", Options(currency="USD", vendor="cloud")),
        ("llm_examples_synthetic/llm_focus_1_2.csv", Options()),
        ("llm_examples_synthetic/llm_focus_1_4.csv", Options()),
    ],
)
def test_published_samples_come_to_a_plain_sum(name: str, options: Options) -> None:
    """Every row is a line, and the amount is what adding up the column gives."""
    content = sample(name)
    costs = [Decimal(row["BilledCost"]) for row in csv.DictReader(io.StringIO(content.decode()))]
    summary, lines = read(content, "focus", options)
    assert summary.rows == summary.lines == len(lines) == len(costs)
    assert summary.amounts["USD"] == sum(costs) == sum((line.exact_amount or Decimal(0) for line in lines), Decimal(0))
    if "llm" in name or "caching" in name:
        assert {line.meter: line.quantity for line in lines} == {
            "input": 500_000, "cache_write": 2_000_000, "cache_read": 8_000_000, "output": 1_500_000,
        }  # fmt: skip
        assert len({line.model for line in lines}) == 1 and lines[0].model in {
            "solora-reasoning-pro",
            "claude-sonnet-4-5",
        }
    if "correction" in name:
        assert all(line.is_correction for line in lines) and any("outside" in one.text for one in summary.remarks)


def test_parquet_is_read_where_pyarrow_is() -> None:
    """Decimals and instants of Parquet give the same lines as CSV; without pyarrow it says what to install."""
    text = sample("llm_examples_synthetic/llm_focus_1_4.csv")
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        with pytest.raises(StatementError, match="install pyarrow"):
            read(b"PAR1" + b"\0" * 100, "focus")
        return
    rows: list[dict[str, Any]] = list(csv.DictReader(io.StringIO(text.decode())))
    for row in rows:
        row["BilledCost"] = Decimal(row["BilledCost"])
    table = pa.Table.from_pylist(rows)
    out = io.BytesIO()
    pq.write_table(table, out)
    # Rows of a table count from 1, lines of a file have the header before them.
    found = [replace(line, line=line.line + 1) for line in read(out.getvalue(), "focus")[1]]
    assert found == read(text, "focus")[1]
    with pytest.raises(StatementError, match="not Parquet"):
        read(out.getvalue()[:-100], "focus")


def test_what_is_too_large_is_refused_early(monkeypatch: pytest.MonkeyPatch) -> None:
    """More than is kept, a line without end, a small file that says it is huge, JSON beyond its bound: refused before memory is."""
    monkeypatch.setattr(raw_module, "MAX_PACKED_BYTES", 5_000)
    monkeypatch.setattr(raw_module, "MAX_BYTES", 800_000)
    monkeypatch.setattr(raw_module, "MAX_LINE_CHARACTERS", 1_000)
    monkeypatch.setattr(raw_module, "MAX_JSON_CHARACTERS", 10_000)
    with pytest.raises(StatementError, match="by day, or by account"):
        pack(repeat(b" " * 100_000))
    with pytest.raises(StatementError, match="by day, or by account"):
        pack([zlib.compress(str(number).encode() * 3) for number in range(2_000)])
    bomb = gzip.compress(b"a,b\n" + b"1,2\n" * 300_000)
    with pytest.raises(StatementError, match="uncompressed it is larger"):
        list(csv_rows(pack([bomb]), print))
    with pytest.raises(StatementError, match="longer than a million characters"):
        list(csv_rows(pack([b"a,b\n" + b"1" * 400_000]), print))
    with pytest.raises(StatementError, match="as JSON it is larger"):
        read(b"[" + b" " * 15_000 + b"]", "openai.costs")


@pytest.mark.parametrize(
    ("content", "source", "words"),
    [
        (b"", "focus", "nothing in it"),
        (b"\xff\xfe", "focus", "UTF-8"),
        (b"a,a\n1,2\n", "focus", "twice"),
        (HEADER + b"1\n", "focus", "line 2: 1 cells"),
        (HEADER + b'"1,2\n', "focus", "not CSV"),
        (b"[" * 100_000, "openai.costs", "not JSON"),
        (b'{"data": [', "openai.costs", "not JSON"),
        (b'{"data": NaN}', "openai.costs", "not JSON"),
        (b'{"data": 1e1000000000000}', "openai.costs", "no page|not JSON|is none"),
        (b'{"data": 1e99999999999999999999}', "openai.costs", "out of range"),
        (b"{}", "openai.costs", "a list `data`"),
        (b'{"data": [{"results": [{}]}]}', "openai.costs", "no period"),
        (b'{"data": [{"start_time": 1793491200, "end_time": 1e400, "results": []}]}', "openai.costs", "no period"),
        (
            b'{"data": [{"start_time": 99999999999999999, "end_time": 1, "results": []}]}',
            "openai.costs",
            "out of range",
        ),
        (gzip.compress(b"a,b\n1,2\n", mtime=0)[:-9], "focus", "breaks off|gzip"),
        (b"\x1f\x8bnothing", "focus", "gzip"),
        (b"PK\x03\x04", "aws.cur2", "no Cost and Usage Report"),
        (b"date,quantity\n2026-11-01,1\n", "azure.cost_details", "`costinbillingcurrency` is missing"),
        (b"[1]\n", "google.billing_export", "line 1: a row is an object"),
        (b'{"data": [1]}', "openrouter.activity", "line 1"),
        (b'{"data": [{"date": "yesterday"}]}', "openrouter.activity", "line 1"),
        (b"x", "anthropic.cost_report", "line 1"),
        (HEADER + b"1,0001-01-01T00:00:00+14:00,2026-11-02,Usage,USD\n", "focus", "line 2: `ChargePeriodStart`"),
        (HEADER + b"1,2026-11-01,9999-12-31T23:59:59-14:00,Usage,USD\n", "focus", "line 2: `ChargePeriodEnd`"),
        (HEADER + b"9e99,2026-11-01,2026-11-02,Usage,USD\n", "focus", "line 2: .*64 bits"),
        (HEADER + b"5e9,2026-11-01,2026-11-02,Usage,USD\n" * 2, "focus", "come to more than 64 bits"),
        (
            HEADER.replace(b"Currency", b"Currency,billedcost") + b"1,2026-11-01,2026-11-02,Usage,USD,2\n",
            "focus",
            "twice",
        ),
        (b'{"data": [{"date": "2026-11-03", "model": "\\ud800"}]}', "openrouter.activity", "line 1: a text"),
        (b'{"data": [{"date": "2026-11-03", "model": "a\\u0000"}]}', "openrouter.activity", "line 1: a text"),
        (b'{"data": [{"date": "2026-11-03", "requests": 1e70}]}', "openrouter.activity", "line 1: `requests`"),
    ],
)
def test_bytes_that_are_no_statement_are_one_error(content: bytes, source: str, words: str) -> None:
    """Whatever the bytes are, what comes of them is lines or an error that says what is wrong."""
    with pytest.raises(StatementError, match=words):
        read(content, source)


def test_rows_are_read_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first lines of a file of any length are there before the rest was looked at."""
    monkeypatch.setattr(raw_module, "_PIECE", 16_384)
    row = b"0.000001,2026-11-01T00:00:00Z,2026-11-02T00:00:00Z,Usage,USD\n"
    kept = pack([HEADER, *repeat(row, 4_000), b"then nonsense\n"])

    class Watched(Raw):
        def pieces(self) -> Iterator[bytes]:
            for piece in super().pieces():
                seen.append(len(piece))
                yield piece

    seen: list[int] = []
    lines = lines_of(Watched(kept.sha256, kept.size_bytes, kept.packed), "focus", Options(vendor="v"))
    assert [next(lines).line for _ in range(3)] == [2, 3, 4]
    assert sum(seen) < kept.size_bytes // 2
    with pytest.raises(StatementError, match="line 4002: 1 cells"):
        list(lines)


MAPPING = (
    'vendor = "v"\n[format]\nperiod = "day"\n[columns]\nstarts_at = "d"\namount = "a"\n[constants]\ncurrency = "USD"\n'
)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("vendor = ", "not TOML"),
        ("", "`vendor` is missing"),
        ('vendor = "v"\nmore = 1', "`more`"),
        (MAPPING.replace("amount", "amuont"), "`amuont`"),
        (MAPPING.replace("starts_at", "ends_at"), "no `starts_at`"),
        (MAPPING.replace('"day"', '"fortnight"'), "`hour`, `day` or `month`"),
        (MAPPING.replace('period = "day"', ""), "how long"),
        (MAPPING.replace('period = "day"', 'period = "day"\ndelimiter = 5'), "`format.delimiter`"),
        (MAPPING.replace('period = "day"', 'period = "day"\ntime_zone = "Mars"'), "no zone"),
        (MAPPING + 'amount = "5"', "column and a constant"),
    ],
)
def test_a_mapping_file_that_means_nothing_is_refused(text: str, words: str) -> None:
    """Each mistake by its name."""
    with pytest.raises(StatementError, match=words):
        parse_mapping(text)


def test_cells_that_a_mapping_does_not_fit_name_their_row() -> None:
    """A moment, a word or a number that is not as the mapping says, and a column the file has not."""
    for content, mapping, words in (
        ("d,a\nsoon,1\n", MAPPING, "line 2: `starts_at`"),
        ("d,a\n2026-11-01,1.2.3\n", MAPPING, "line 2: `amount`"),
        ("d,x\n2026-11-01,1\n", MAPPING, "the column `a`"),
        (
            "d,a,m\n2026-11-01,1,Foo\n",
            MAPPING.replace("[constants]", 'meter = "m"\n[values.meter]\nBar = "input"\n[constants]'),
            "`Foo`",
        ),
    ):
        with pytest.raises(StatementError, match=words):
            read(content.encode(), "csv", Options(mapping=mapping))
    cents = MAPPING.replace('period = "day"', 'period = "month"\namount_unit = "cents"')
    summary, (line,) = read(b"d,a,unsaid\n2026-11-01,123.45,x\n", "csv", Options(mapping=cents))
    assert (line.amount_nanousd, line.meter, summary.until.month) == (1_234_500_000, "other", 12)
    assert [one.text for one in summary.remarks] == ["kept in the raw statement only: unsaid"]
