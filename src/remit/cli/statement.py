"""A vendor's statement: rows of CSV, and what each says about a call in suspense."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Literal

from remit.cli.codes import CommandError
from remit.kernel.money import InvalidAmountError, format_usd, parse_usd
from remit.kernel.usage import Usage
from remit.pricing.book import PriceBook
from remit.pricing.cost import Priced, price_usage
from remit.pricing.model import Unpriced
from remit.reconcile.matching.from_facts import NOT_STATED

_KEY: Final = "idempotency_key"
_AMOUNTS: Final = ("amount_nanousd", "amount_usd")
_COUNTS: Final = ("prompt_tokens", "completion_tokens", "cached_tokens", "cache_write_tokens")

OnDifference = Literal["leave", "priced", "stated"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StatementRow:
    """One line of the statement. `usage` and `amount_nanousd` are None where the vendor does not state them."""

    line: int
    hold_id: str
    model: str | None
    tier: str | None
    vendor_request_id: str | None
    usage: Usage | None
    amount_nanousd: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What a row means for its call: `evidence` is what to book, None to leave it in suspense; `difference` says why."""

    line: int | None
    hold_id: str
    stated_nanousd: int | None
    priced_nanousd: int | None
    difference: str | None
    evidence: dict[str, Any] | None


def read_statement(file: Path) -> list[StatementRow]:
    """The rows that name a call, in order. Raises CommandError with the line that cannot be read."""
    try:
        with file.open(encoding="utf-8-sig", newline="") as lines:
            reader = csv.DictReader(lines, strict=True)
            names = reader.fieldnames or []
            if _KEY not in names or not any(name in names for name in (*_AMOUNTS, "prompt_tokens")):
                wanted = f"`{_KEY}`, and `amount_nanousd`, `amount_usd` or `prompt_tokens`"
                raise CommandError(f"`{file}` is no statement: its header needs the columns {wanted}")
            return [_row(row, reader.line_num, file) for row in reader if row[_KEY]]
    except OSError as error:
        raise CommandError(f"cannot read `{file}`: {(error.strerror or str(error)).lower()}") from None
    except (csv.Error, UnicodeDecodeError) as error:
        raise CommandError(f"`{file}` is not CSV in UTF-8: {error}") from None


def judge_rows(
    rows: Sequence[StatementRow],
    waiting: Mapping[str, Mapping[str, Any]],
    prices: PriceBook,
    on_difference: OnDifference,
    note: str,
) -> list[Judged]:
    """A judgement for each row about a call in suspense; rows about other calls say nothing here."""
    about = [row for row in rows if row.hold_id in waiting]
    counts: dict[str, int] = {}
    for row in about:
        counts[row.hold_id] = counts.get(row.hold_id, 0) + 1
    return [
        _judge(row, waiting[row.hold_id], prices, on_difference, note) if counts[row.hold_id] == 1 else _repeated(row)
        for row in about
    ]


@dataclass(frozen=True, slots=True)
class Span:
    """Calls of one vendor, or of the only one there is, that were begun from `begin` until before `end`."""

    begin: datetime
    end: datetime
    vendor: str | None


def judge_absent(
    rows: Sequence[StatementRow], waiting: Mapping[str, Mapping[str, Any]], span: Span, note: str
) -> list[Judged]:
    """A judgement for each call in suspense that a complete statement of a span does not have: it was not charged.

    Raises CommandError where calls of several vendors would be meant and none was named.
    """
    stated = {row.hold_id for row in rows}
    within = [
        call
        for call in waiting.values()
        if span.begin <= call["held_at"] < span.end and span.vendor in {None, call["vendor"]}
    ]
    vendors = sorted({call["vendor"] for call in within})
    if len(vendors) > 1:
        raise CommandError(f"calls of {', '.join(vendors)} are in suspense: name the statement's by --vendor")
    entry = {"usage_source": "vendor", "price_source": "statement", "note": f"{note}, {NOT_STATED}"}
    return [
        Judged(
            line=None,
            hold_id=call["hold_id"],
            stated_nanousd=0,
            priced_nanousd=None,
            difference=None,
            evidence={"hold_id": call["hold_id"], "usd": 0, "tokens": 0, "entry": entry},
        )
        for call in within
        if call["hold_id"] not in stated
    ]


def _judge(
    row: StatementRow, call: Mapping[str, Any], prices: PriceBook, on_difference: OnDifference, note: str
) -> Judged:
    priced = _priced(row, call, prices)
    cost = priced.total_nanousd if isinstance(priced, Priced) else None
    difference = None
    if isinstance(priced, Unpriced):
        difference = f"its usage cannot be priced: {priced.reason}"
    elif cost is not None and row.amount_nanousd is not None and cost != row.amount_nanousd:
        difference = f"the vendor states {format_usd(row.amount_nanousd)}, its usage costs {format_usd(cost)}"
    elif cost is None and row.amount_nanousd is None:
        difference = "it states neither usage nor an amount"
    if difference is None:
        booked = row.amount_nanousd if cost is None else cost
    else:
        booked = {"leave": None, "priced": cost, "stated": row.amount_nanousd}[on_difference]
    return Judged(
        line=row.line,
        hold_id=row.hold_id,
        stated_nanousd=row.amount_nanousd,
        priced_nanousd=cost,
        difference=difference,
        evidence=None if booked is None else _evidence(row, call, booked, priced, note),
    )


def _repeated(row: StatementRow) -> Judged:
    return Judged(
        line=row.line,
        hold_id=row.hold_id,
        stated_nanousd=row.amount_nanousd,
        priced_nanousd=None,
        difference="the statement has more than one row for this call",
        evidence=None,
    )


def _priced(row: StatementRow, call: Mapping[str, Any], prices: PriceBook) -> Priced | Unpriced | None:
    """The cost at the prices of the instant the hold was taken, as a settled call's would be."""
    if row.usage is None:
        return None
    book = prices.lookup(call["vendor"], row.model or call["model_requested"], call["held_at"])
    return book if isinstance(book, Unpriced) else price_usage(book, row.usage, row.tier, requested_tier=call["tier"])


def _evidence(
    row: StatementRow, call: Mapping[str, Any], booked: int, priced: Priced | Unpriced | None, note: str
) -> dict[str, Any]:
    entry: dict[str, Any] = {"usage_source": "vendor", "note": f"{note}, line {row.line}"}
    entry |= {
        name: value
        for name, value in (("model_served", row.model), ("vendor_request_id", row.vendor_request_id))
        if value is not None
    }
    if row.usage is not None:
        entry["usage"] = asdict(row.usage)
    if isinstance(priced, Priced):
        entry["tier"] = priced.tier
        # Lines that do not add up to what is booked would explain an amount nobody booked.
        entry |= (
            {"price_lines": [asdict(line) for line in priced.lines], "price_source": priced.source}
            if priced.total_nanousd == booked
            else {"price_source": "statement"}
        )
    else:
        entry["price_source"] = "statement"
    tokens = call["tokens"] if row.usage is None else row.usage.total_tokens
    return {"hold_id": row.hold_id, "usd": booked, "tokens": tokens, "entry": entry}


def _row(row: Mapping[str, str | None], line: int, file: Path) -> StatementRow:
    try:
        return StatementRow(
            line=line,
            hold_id=row[_KEY] or "",
            model=row.get("model") or None,
            tier=row.get("service_tier") or None,
            vendor_request_id=row.get("vendor_request_id") or None,
            usage=_usage(row),
            amount_nanousd=_amount(row),
        )
    except ValueError as error:
        raise CommandError(f"`{file}`, line {line}: {error}") from None


def _usage(row: Mapping[str, str | None]) -> Usage | None:
    """Counts as OpenAI states them: the prompt includes what was read from and written to a cache."""
    if not row.get("prompt_tokens") or not row.get("completion_tokens"):
        return None
    prompt, completion, cached, written = (_count(row, name) for name in _COUNTS)
    if cached + written > prompt:
        raise ValueError(f"{cached + written} cached tokens are more than the {prompt} of the prompt")
    return Usage(
        input_tokens=prompt - cached - written,
        cache_read_tokens=cached,
        cache_write_tokens=written,
        output_tokens=completion,
    )


def _count(row: Mapping[str, str | None], name: str) -> int:
    text = row.get(name) or "0"
    if not (text.isascii() and text.isdecimal() and len(text) < 16):
        raise ValueError(f"`{name}` is `{text}`, not a whole number")
    return int(text)


def _amount(row: Mapping[str, str | None]) -> int | None:
    if text := row.get("amount_nanousd"):
        if not (text.isascii() and text.isdecimal() and len(text) < 19):
            raise ValueError(f"`amount_nanousd` is `{text}`, not a whole number")
        return int(text)
    if text := row.get("amount_usd"):
        try:
            return parse_usd(text)
        except InvalidAmountError as error:
            raise ValueError(f"`amount_usd`: {error}") from None
    return None
