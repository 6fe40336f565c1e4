"""What statements are misread by, one test each."""

import gzip
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from remit.reconcile.statements import formats
from remit.reconcile.statements.exact import InexactError, parse_decimal, parse_unit, to_nanousd
from remit.reconcile.statements.formats import FORMATS, Format
from remit.reconcile.statements.meters import meter_of
from remit.reconcile.statements.model import Options, StatementError, StatementLine
from remit.reconcile.statements.openai import parse_line_item
from remit.reconcile.statements.reading import Reading
from tests.reconcile.books import read

DAY = {"object": "bucket", "start_time": 1793491200, "end_time": 1793577600}  # 2026-11-01


def openai(*results: dict[str, Any], kind: str = "completions", more: bool = False) -> bytes:
    made = [{"object": f"organization.usage.{kind}.result", **result} for result in results]
    return json.dumps({"object": "page", "data": [{**DAY, "results": made}], "has_more": more}).encode()


def costs(*results: dict[str, Any]) -> bytes:
    made = [{"object": "organization.costs.result", **result} for result in results]
    return json.dumps({"object": "page", "data": [{**DAY, "results": made}], "has_more": False}).encode()


def anthropic(*results: dict[str, Any]) -> bytes:
    bucket = {"starting_at": "2026-11-01T00:00:00Z", "ending_at": "2026-11-02T00:00:00Z", "results": list(results)}
    return json.dumps({"data": [bucket], "has_more": False, "next_page": None}).encode()


def fails(content: bytes, source: str, words: str, options: Options | None = None) -> None:
    with pytest.raises(StatementError, match=words):
        read(content, source, options)


def test_cached_input_is_not_counted_twice() -> None:
    """OpenAI's 1,000 input tokens with 600 cached and 100 written are 300, 600 and 100."""
    usage = {"input_tokens": 1000, "input_cached_tokens": 600, "input_cache_write_tokens": 100, "output_tokens": 5}
    _, lines = read(openai({**usage, "num_model_requests": 2}), "openai.usage_completions")
    assert [(line.meter, line.quantity) for line in lines] == [
        ("input", 300), ("cache_read", 600), ("cache_write", 100), ("output", 5), ("requests", 2),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "wrong",
    [
        {"input_tokens": 10, "input_cached_tokens": 11, "output_tokens": 0},
        {"input_tokens": 10, "input_cached_tokens": 6, "input_cache_write_tokens": 5, "output_tokens": 0},
        {"input_tokens": 10, "input_audio_tokens": 11, "output_tokens": 0},
        {"input_tokens": 10, "input_cached_tokens": 1, "input_uncached_tokens": 3, "output_tokens": 0},
        {"input_tokens": 10, "output_tokens": 1, "output_audio_tokens": 2},
        {"input_tokens": -1, "output_tokens": 1},
        {"input_tokens": 1.5, "output_tokens": 1},
        {"input_tokens": 10},
    ],
)
def test_counts_that_contradict_each_other_are_refused(wrong: dict[str, Any]) -> None:
    """No count becomes negative, and none is guessed: the row is named."""
    fine = {"input_tokens": 1, "output_tokens": 1, "num_model_requests": 1}
    fails(openai(fine, {**wrong, "num_model_requests": 1}), "openai.usage_completions", "line 2: ")


def test_zero_is_stated_and_missing_is_not() -> None:
    """A count of 0 has a line, one that is missing has none, and its absence is remarked on."""
    zero = {"input_tokens": 5, "input_cached_tokens": 0, "output_tokens": 0, "num_model_requests": 1}
    _, lines = read(openai(zero), "openai.usage_completions")
    assert ("cache_read", 0) in [(line.meter, line.quantity) for line in lines]
    missing = {"input_tokens": 5, "output_tokens": 0, "num_model_requests": 1}
    summary, lines = read(openai(missing), "openai.usage_completions")
    assert "cache_read" not in {line.meter for line in lines}
    assert any("cached tokens are not stated" in remark.text for remark in summary.remarks)
    summary, lines = read(costs({"amount": {"value": "0", "currency": "usd"}}, {"amount": None}), "openai.costs")
    assert [line.amount_nanousd for line in lines] == [0, None] and summary.amount_nanousd == 0


@pytest.mark.parametrize(
    ("item", "read_as"),
    [
        ("gpt-6-astra, input_tokens", ("gpt-6-astra", "input")),
        ("gpt-4o-2024-08-06, cached input", ("gpt-4o-2024-08-06", "cache_read")),
        ("ft:gpt-4o:acme, inc::abc, output", ("ft:gpt-4o:acme, inc::abc", "output")),
        ("gpt-4o-audio, audio input", ("gpt-4o-audio", "input_audio")),
        ("web search tool calls", (None, "web_search")),
        ("something nobody knows", (None, "other")),
        ("input", (None, "other")),
        (None, (None, "other")),
    ],
)
def test_line_items_are_parsed_or_kept_as_they_are(item: str | None, read_as: tuple[str | None, str]) -> None:
    """Model and kind where both can be read, `other` with the text where not."""
    assert parse_line_item(item) == read_as


def test_amounts_are_exact_however_they_are_written() -> None:
    """A JSON number is never a float; what is finer than a nano-dollar is rounded half-even, and kept as text."""
    written = b'{"data": [{"start_time": 1793491200, "end_time": 1793577600, "results": [%s]}], "has_more": false}'
    result = b'{"object": "organization.costs.result", "amount": {"value": %s, "currency": "usd"}}'
    numbers = [b"0.1", b"0.30000000000000004", b"1E-10", b"2.5e-9", b"123456789.123456789"]
    summary, lines = read(written % b",".join(result % number for number in numbers), "openai.costs")
    assert [line.amount_nanousd for line in lines] == [100_000_000, 300_000_000, 0, 2, 123_456_789_123_456_789]
    assert [line.amount_text for line in lines] == [None, "0.30000000000000004", "0.0000000001", "0.0000000025", None]
    assert summary.amounts == {"USD": sum(map(Decimal, [number.decode() for number in numbers]), Decimal(0))}


def test_cents_are_not_dollars() -> None:
    """Anthropic's "123.45" is $1.2345."""
    row = {"amount": "123.45", "currency": "USD", "cost_type": "tokens", "token_type": "output_tokens", "model": "m"}
    _, (line,) = read(anthropic(row), "anthropic.cost_report")
    assert (line.amount_nanousd, line.meter) == (1_234_500_000, "output")


def test_null_is_somebody_where_results_are_kept_apart() -> None:
    """With keys in it, a result without one is the Workbench's, one without a workspace the default one's; else nothing is said."""
    tokens = {"uncached_input_tokens": 1, "output_tokens": 1}
    with_key = {**tokens, "api_key_id": "key-1", "workspace_id": "ws-1"}
    _, lines = read(anthropic(with_key, tokens), "anthropic.usage_messages")
    assert [(line.key_id, line.project, line.tags) for line in lines[::2]] == [
        ("key-1", "ws-1", {}), (None, "default", {"origin": "workbench"}),
    ]  # fmt: skip
    _, lines = read(anthropic(tokens), "anthropic.usage_messages")
    assert {(line.key_id, line.project, len(line.tags)) for line in lines} == {(None, None, 0)}
    asked = Options(grouped_by=("api_key_id", "workspace_id"))
    _, lines = read(anthropic(tokens), "anthropic.usage_messages", asked)
    assert {(line.key_id, line.project, line.tags.get("origin")) for line in lines} == {(None, "default", "workbench")}


def test_reports_that_cannot_be_summed_are_refused() -> None:
    """The legacy analytics report has only the largest groups, and groups of RBAC overlap."""
    legacy = {"amount": "5", "currency": "USD", "list_amount": "6", "model": "m"}
    fails(anthropic(legacy), "anthropic.cost_report", "100 largest groups")
    fails(anthropic(legacy), "anthropic.analytics_cost", "100 largest groups")
    overlapping = {"uncached_input_tokens": 1, "output_tokens": 1, "rbac_group_id": "g"}
    fails(anthropic(overlapping), "anthropic.usage_messages", "overlap")
    fails(openai({"input_tokens": 1, "output_tokens": 1}, more=True), "openai.usage_completions", "not whole")
    fails(
        openai({"input_tokens": 1, "num_model_requests": 1}, kind="embeddings"),
        "openai.usage_completions",
        "another endpoint",
    )


def test_what_is_not_known_is_remarked_on_or_refused() -> None:
    """A new field is told of, a new kind of cache write is refused, as it would be missing from every sum."""
    row = {
        "uncached_input_tokens": 1,
        "output_tokens": 1,
        "cache_creation": {"ephemeral_5m_input_tokens": 1},
        "new_thing": 7,
    }
    summary, _ = read(anthropic(row), "anthropic.usage_messages")
    assert any("`new_thing`" in remark.text and remark.line == 1 for remark in summary.remarks)
    fails(
        anthropic({**row, "cache_creation": {"ephemeral_1d_input_tokens": 1}}),
        "anthropic.usage_messages",
        "line 1: `cache_creation`",
    )
    tools = {
        "uncached_input_tokens": 1,
        "output_tokens": 1,
        "server_tool_use": {"web_search_requests": 2, "web_fetch_requests": 3},
    }
    _, lines = read(anthropic(tools), "anthropic.usage_messages")
    assert [(line.meter, line.quantity, line.text) for line in lines[2:]] == [
        ("web_search", 2, None),
        ("other", 3, "web_fetch_requests"),
    ]
    focus = "BilledCost,ChargePeriodStart,ChargePeriodEnd,ChargeCategory,BillingCurrency,x_Mine\n1,2026-11-01,2026-11-02,Usage,USD,y\n"
    summary, _ = read(focus.encode(), "focus", Options(vendor="v"))
    assert [remark.text for remark in summary.remarks] == ["kept in the raw statement only: x_Mine"]
    fails(focus.replace("Usage", "Gift").encode(), "focus", "line 2: `ChargeCategory`", Options(vendor="v"))


@pytest.mark.parametrize(
    ("text", "means"),
    [
        ("1K Tokens", (1000, "tokens")),
        ("1M tokens", (1_000_000, "tokens")),
        ("1000_tokens", (1000, "tokens")),
        ("1000000 Tokens", (1_000_000, "tokens")),
        ("1,000,000 tokens", (1_000_000, "tokens")),
        ("Tokens", (1, "tokens")),
        ("1K", (1000, "units")),
        ("1M count", (1_000_000, "count")),
        ("Minutes", (1, "minutes")),
        ("GB-Mo", (1, "GB-Mo")),
        ("1 Hour", (1, "hours")),
        ("duration_minutes", (1, "minutes")),
        ("MB", (1, "MB")),
    ],
)
def test_units_are_multiplied_out(text: str, means: tuple[int, str]) -> None:
    """Thousands and millions are; the M of minutes and megabytes is not one."""
    assert parse_unit(text) == means


def test_numbers_are_read_one_way_only() -> None:
    """A decimal comma only where it was said; `1,234` never by chance; digits grouped by points in threes or not at all."""
    assert parse_decimal("500000.0") == 500_000 and parse_decimal("1.234,50", decimal_comma=True) == Decimal("1234.50")
    assert parse_decimal("-0,5", decimal_comma=True) == Decimal("-0.5")
    for text, comma in (
        ("1,234", False),
        ("1.23,4", True),
        ("nan", False),
        ("Infinity", False),
        ("1e999", False),
        ("0x10", False),
        ("", False),
    ):
        with pytest.raises(InexactError):
            parse_decimal(text, decimal_comma=comma)
    with pytest.raises(InexactError, match=r"`1\.234,5\.6` is not a plain number such as `12` or `1\.234,05`"):
        parse_decimal("1.234,5.6", decimal_comma=True)
    assert to_nanousd(Decimal("-0.0000000015")) == (-2, False)
    with pytest.raises(InexactError, match="64 bits"):
        to_nanousd(Decimal(10**10))


@pytest.mark.parametrize("quantity", ["9" * 60, "-9223372036854775808", "1e30"])
def test_a_number_beyond_64_bits_is_none(quantity: str) -> None:
    """Nobody used as much; the row is named, and what is just within is taken as it is."""
    mapping = 'vendor = "v"\n[format]\nperiod = "day"\n[columns]\nstarts_at = "day"\nmeter = "meter"\nquantity = "quantity"\n[values.meter]\nin = "input"\n'
    rows = "day,meter,quantity\n2026-11-01,in,9223372036854775807\n2026-11-01,in,{}\n"
    with pytest.raises(StatementError, match=r"line 3: `quantity`: `.*` is beyond 64 bits"):
        read(rows.format(quantity).encode(), "csv", Options(mapping=mapping))
    assert read(rows.format(1).encode(), "csv", Options(mapping=mapping))[0].meters["input"].quantity == 2**63


FOCUS = (
    "BilledCost,BillingAccountId,BillingCurrency,BillingPeriodStart,BillingPeriodEnd,ChargeCategory,ChargeClass,ChargePeriodStart,"
    "ChargePeriodEnd,ConsumedQuantity,ConsumedUnit,ProviderName,SkuMeter\n"
    "{cost},123456789012,{currency},2026-11-01 00:00:00,2026-12-01 00:00:00,Usage,{kind},2026-11-03T23:00:00-05:00,"
    "2026-11-04T00:00:00-05:00,{count},Tokens,AWS,Input Tokens\n"
)  # fmt: skip


def focus(cost: str = "1.5", currency: str = "USD", kind: str = "", count: str = "500000.0") -> bytes:
    return FOCUS.format(cost=cost, currency=currency, kind=kind, count=count).encode()


def test_files_come_as_tools_write_them() -> None:
    """With a byte order mark, CRLF, gzip, quoted line breaks: the same lines; all-digit ids are texts, instants become UTC."""
    plain, lines = read(focus(), "focus")
    for content in (
        b"\xef\xbb\xbf" + focus(),
        focus().replace(b"\n", b"\r\n"),
        gzip.compress(focus()),
        gzip.compress(focus()[:99]) + gzip.compress(focus()[99:]),
    ):
        assert read(content, "focus")[0].lines_sha256 == plain.lines_sha256
    (line,) = lines
    assert (line.account, line.quantity, plain.account) == ("123456789012", 500_000, "123456789012")
    assert line.starts_at == datetime(2026, 11, 4, 4, tzinfo=UTC)
    multi = focus().replace(b"Input Tokens\n", b'"Input\nTokens"\n')
    assert read(multi, "focus")[1][0].meter == "input"


def test_corrections_may_take_back() -> None:
    """A negative count is refused in use, and taken in a correction."""
    fails(focus(count="-5"), "focus", "line 2: input would be -5")
    _, (line,) = read(focus(cost="-1.5", kind="Correction", count="-5"), "focus")
    assert (line.quantity, line.amount_nanousd, line.is_correction) == (-5, -1_500_000_000, True)


def test_other_currencies_stay_what_they_are() -> None:
    """Without a rate an amount in euros is kept as text and counted in no dollars; with one it is both. None is guessed."""
    summary, (line,) = read(focus(currency="EUR"), "focus")
    assert (line.amount_nanousd, line.amount_text, line.currency) == (None, "1.5", "EUR")
    assert summary.amount_nanousd is None and summary.amounts == {"EUR": Decimal("1.5")}
    assert any("EUR" in remark.text and "not counted" in remark.text for remark in summary.remarks)
    _, (line,) = read(focus(currency="EUR"), "focus", Options(rates={"EUR": Decimal("1.0834")}))
    assert (line.amount_nanousd, line.amount_text) == (1_625_100_000, "1.5")
    fails(focus(currency=""), "focus", "--currency")


def test_rows_of_other_products_are_counted() -> None:
    """What `only` leaves out is told of, with its sum, and stands in no line."""
    row = focus().decode().splitlines()[1]
    table = focus().decode().splitlines()[0] + ",ServiceName\n" + f"{row},Bedrock\n{row},S3\n{row},S3\n"
    summary, lines = read(table.encode(), "focus", Options(only=("Bedrock",)))
    assert len(lines) == summary.rows == 1 and summary.rows_left_out == 2
    assert (summary.amounts, summary.amounts_left_out) == ({"USD": Decimal("1.5")}, {"USD": Decimal(3)})


def test_a_statement_says_what_it_covers_or_is_asked() -> None:
    """An empty bucket covers its day; a file without a row and a period needs to be told."""
    summary, lines = read(openai(), "openai.usage_completions")
    assert lines == [] and summary.since == datetime(2026, 11, 1, tzinfo=UTC)
    header = focus().splitlines(keepends=True)[0]
    fails(header, "focus", "--since", Options(vendor="v"))
    fails(
        header,
        "focus",
        "--vendor",
        Options(since=datetime(2026, 11, 1, tzinfo=UTC), until=datetime(2026, 12, 1, tzinfo=UTC)),
    )
    late = focus().replace(b"2026-11-03T23", b"2026-10-03T23").replace(b"2026-11-04T00", b"2026-10-04T00")
    summary, _ = read(late, "focus")
    assert any("outside" in remark.text for remark in summary.remarks)


def test_google_states_credits_tax_and_rounding_apart() -> None:
    """A credit is a line of its own beside its row, tax and rounding errors are what they are, and the sum is the row's."""
    base = {
        "usage_start_time": "2026-11-01 00:00:00 UTC", "usage_end_time": "2026-11-01 01:00:00 UTC", "currency": "USD",
        "invoice": {"month": "202611"}, "sku": {"description": "Gemini 2.5 Pro Input Text Tokens"},
    }  # fmt: skip
    rows = [
        {**base, "cost": 10, "credits": [{"name": "promo", "amount": -2.5}], "usage": {"amount": 4, "unit": "count"}},
        {**base, "cost": 1.9, "cost_type": "tax"},
        {**base, "cost": -0.000001, "cost_type": "rounding_error"},
    ]
    summary, lines = read("\n".join(map(json.dumps, rows)).encode(), "google.billing_export")
    assert [(line.meter, line.charge, line.amount_nanousd) for line in lines] == [
        ("input", "usage", 10_000_000_000), ("credit", "credit", -2_500_000_000), ("tax", "tax", 1_900_000_000),
        ("rounding", "adjustment", -1_000),
    ]  # fmt: skip
    assert summary.rows == 3 and summary.amounts == {"USD": Decimal("9.399999")} and lines[0].model == "Gemini 2.5 Pro"
    fails(
        json.dumps({**base, "cost": 1, "cost_type": "bribe"}).encode(), "google.billing_export", "line 1: `cost_type`"
    )


@pytest.mark.parametrize(
    ("words", "meter"),
    [
        ("gpt 4o 0806 cached Inp glbl Tokens", "cache_read"),
        ("gpt-4o-mini-0718-Outp-regnl Tokens", "output"),
        ("Cache Write Input Tokens", "cache_write"),
        ("cache_creation.ephemeral_1h_input_tokens", "cache_write_1h"),
        ("Gemini 2.5 Flash Cached Text Input Tokens", "cache_read"),
        ("Context Cache Storage", "storage"),
        ("Web Search Calls", "web_search"),
        ("OutputTokens", "output"),
        ("Elastic Load Balancing", "other"),
    ],
)
def test_words_for_meters(words: str, meter: str) -> None:
    """Cached before input, storage before cache; what names none is `other`."""
    assert meter_of(words) == meter


def test_a_row_that_gets_lost_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader that counts a row and makes no line of it is found out by the two sums."""
    whole = FORMATS["focus"]

    def forgetful(reading: Reading) -> Iterator[StatementLine]:
        lines = whole.read(reading)
        next(lines)
        yield from lines

    monkeypatch.setattr(formats, "FORMATS", {"focus": Format("focus", None, forgetful)})
    fails(
        focus() + focus().splitlines(keepends=True)[1],
        "focus",
        "its rows come to 3 USD, the lines read from them to 1.5 USD",
    )
