"""Google Cloud's billing export from BigQuery, as JSON lines or as CSV with nested names joined by `.` or `_`."""

import json
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

from remit.reconcile.statements.exact import in_range, next_month, plus
from remit.reconcile.statements.focus import instant, quantity_fields
from remit.reconcile.statements.meters import meter_of
from remit.reconcile.statements.model import Charge, Meter, StatementError, StatementLine
from remit.reconcile.statements.raw import csv_rows, json_lines, looks_like
from remit.reconcile.statements.reading import Fields, Reading

VENDOR: Final = "google"
_READ: Final = frozenset(
    {
        "billing_account_id",
        "cost",
        "cost_at_list",
        "cost_type",
        "credits",
        "currency",
        "export_time",
        "invoice_month",
        "labels",
        "location_region",
        "project_id",
        "resource_global_name",
        "resource_name",
        "service_description",
        "service_id",
        "sku_description",
        "sku_id",
        "usage_amount",
        "usage_amount_in_pricing_units",
        "usage_end_time",
        "usage_pricing_unit",
        "usage_start_time",
        "usage_unit",
        "tags",
        "system_labels",
    }
)
_COST_TYPES: Final[Mapping[str, tuple[Charge, Meter | None]]] = {
    "regular": ("usage", None),
    "tax": ("tax", "tax"),
    "adjustment": ("adjustment", None),
    "rounding_error": ("adjustment", "rounding"),
}
_KIND: Final = re.compile(
    r"\b(cach\w*|input|output|text|image|audio|video|thinking|tokens?|batch|predict\w*|generate\w*|online|global|priority|flex)\b",
    re.IGNORECASE,
)


def read_export(reading: Reading) -> Iterator[StatementLine]:
    """A line for each row, and one for each credit in it; with `Options.only` the rows of these services."""
    seen: set[str] = set()
    for line, row in _rows(reading):
        if row.keys() - seen:
            seen |= row.keys()
        fields = Fields(row, line)
        cost, currency = fields.decimal("cost"), fields.text("currency")
        credits_ = list(_credits(fields))
        paid = [] if cost is None else [(reading.currency(currency, line), _all(cost, credits_))]
        if reading.options.only and fields.text("service_description") not in reading.options.only:
            reading.notes.left_out(*paid)
            continue
        if cost is None and credits_:
            raise fields.error("it has credits and no `cost`")
        reading.notes.row(*paid)
        _cover(reading, fields)
        yield from _lines(reading, fields, currency, credits_)
    reading.unread(seen - _READ)


def _all(cost: Decimal, credits_: list[tuple[Decimal, str]]) -> Decimal:
    for amount, _ in credits_:
        cost = plus(cost, amount)
    return cost


def _lines(
    reading: Reading, fields: Fields, currency: str | None, credits_: list[tuple[Decimal, str]]
) -> Iterator[StatementLine]:
    kind = fields.text("cost_type") or "regular"
    if kind not in _COST_TYPES:
        raise fields.error(f"`cost_type` is `{kind}`, which is not known here")
    charge, meter = _COST_TYPES[kind]
    sku = fields.text("sku_description") or ""
    meter = meter or meter_of(sku)
    words = sku.lower()
    who: dict[str, Any] = {
        "line": fields.line,
        "starts_at": instant(fields, "usage_start_time"),
        "ends_at": instant(fields, "usage_end_time"),
        "vendor": VENDOR,
        "account": fields.text("billing_account_id"),
        "project": fields.text("project_id"),
        "region": fields.text("location_region"),
        "resource": fields.text("resource_global_name", "resource_name"),
        "model": _model(sku) if meter not in {"other", "tax", "rounding"} else None,
        "tier": next((tier for tier in ("batch", "priority", "flex") if tier in words), None),
        "is_batch": "batch" in words,
        "invoice_id": fields.text("invoice_month"),
        "native_id": fields.text("sku_id"),
        "tags": _labels(fields),
    }
    if who["starts_at"] == who["ends_at"]:
        # Taxes and corrections have an instant for their period.
        who["ends_at"] = who["starts_at"].replace(microsecond=999_999)
    yield StatementLine(
        **who,
        meter=meter,
        charge=charge,
        is_correction=kind == "adjustment",
        **quantity_fields(fields.decimal("usage_amount"), fields.text("usage_unit"), meter),
        **reading.money(fields.decimal("cost"), currency, fields.line),
        list_amount_nanousd=reading.list_money(fields.decimal("cost_at_list"), currency, fields.line),
        text=sku or None,
    )
    for amount, name in credits_:
        yield StatementLine(
            **who, meter="credit", charge="credit", **reading.money(amount, currency, fields.line), text=name or None
        )


def _rows(reading: Reading) -> Iterator[tuple[int, dict[str, Any]]]:
    found: Iterator[tuple[int, Any]]
    if looks_like(reading.raw) == "json":
        found = json_lines(reading.raw)
    else:
        found = csv_rows(reading.raw, _header)
    for line, row in found:
        if not isinstance(row, Mapping):
            raise Fields({}, line).error("a row is an object: this is none")
        flat: dict[str, Any] = {}
        for name, value in row.items():
            if isinstance(value, dict) and name not in {"labels", "tags"}:
                flat |= {f"{name}_{inner}": one for inner, one in value.items()}
            else:
                flat[str(name).replace(".", "_")] = value
        yield line, flat


def _header(names: list[str]) -> None:
    if not {"cost", "usage_start_time", "usage_end_time"} <= {name.replace(".", "_") for name in names}:
        raise StatementError(
            "it is no billing export: it needs the columns `cost`, `usage_start_time`, `usage_end_time`"
        )


def _listed(fields: Fields, name: str) -> list[Mapping[str, Any]]:
    value = fields.values.get(name)
    if value is None or value == "":
        return []
    if isinstance(value, str):
        try:
            value = json.loads(value, parse_float=Decimal)
        except (ValueError, RecursionError):
            raise fields.error(f"`{name}` is no JSON list") from None
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        raise fields.error(f"`{name}` is no list of objects")
    return value


def _credits(fields: Fields) -> Iterator[tuple[Decimal, str]]:
    for one in _listed(fields, "credits"):
        inner = Fields(one, fields.line)
        amount = inner.decimal("amount")
        if amount is None:
            raise fields.error("a credit has no `amount`")
        yield amount, inner.text("full_name", "name", "type") or ""


def _labels(fields: Fields) -> dict[str, str]:
    found = [*_listed(fields, "labels"), *_listed(fields, "tags")]
    return {str(one.get("key")): str(one.get("value") or "") for one in found}


def _cover(reading: Reading, fields: Fields) -> None:
    month = fields.text("invoice_month")
    if month is None:
        return
    if len(month) != 6 or not month.isdecimal() or not 1 <= int(month[4:]) <= 12:
        raise fields.error(f"`invoice.month` is `{month[:20]}`, not such as 202611")
    try:
        begin = in_range(datetime(int(month[:4]), int(month[4:]), 1, tzinfo=UTC))
    except ValueError:
        raise fields.error(f"`invoice.month` is `{month[:20]}`, which is out of range") from None
    reading.notes.covers(begin, next_month(begin))


def _model(sku: str) -> str | None:
    """What stands before the first word of kind: `Gemini 2.5 Pro Input Text Tokens` is `Gemini 2.5 Pro`."""
    found = _KIND.search(sku)
    return None if found is None else sku[: found.start()].strip(" -(") or None
