"""CSV of any vendor, by a mapping file in TOML that says which column is what. See docs/howto/import-a-statement.md."""

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final
from zoneinfo import ZoneInfo

from remit.reconcile.statements.exact import InexactError, in_range, next_month, parse_instant
from remit.reconcile.statements.focus import json_object, quantity_fields
from remit.reconcile.statements.meters import meter_of
from remit.reconcile.statements.model import CHARGES, METERS, StatementError, StatementLine
from remit.reconcile.statements.raw import csv_rows
from remit.reconcile.statements.reading import Fields, Reading

COLUMNS: Final = (
    "starts_at",
    "ends_at",
    "account",
    "project",
    "key_id",
    "region",
    "resource",
    "model",
    "tier",
    "context_window",
    "meter",
    "quantity",
    "quantity_unit",
    "requests",
    "amount",
    "list_amount",
    "currency",
    "charge",
    "invoice_id",
    "invoice_issuer",
    "native_id",
    "text",
    "tags",
)
_TEXTS: Final = (
    "account",
    "project",
    "key_id",
    "region",
    "resource",
    "model",
    "tier",
    "context_window",
    "invoice_id",
    "invoice_issuer",
    "native_id",
    "text",
)
_FORMAT_KEYS: Final = {
    "delimiter": str,
    "decimal_comma": bool,
    "date_format": str,
    "time_zone": str,
    "period": str,
    "amount_unit": str,
}
MAX_MAPPING_CHARACTERS: Final = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Mapping_:  # noqa: N801 - `Mapping` is the type of what it is read from
    """A mapping file: the vendor, the form of cells, which column is what, what is the same in every row, words for words."""

    vendor: str
    columns: Mapping[str, str]
    constants: Mapping[str, str]
    values: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    ignored: frozenset[str] = frozenset()
    delimiter: str = ","
    decimal_comma: bool = False
    date_format: str | None = None
    zone: ZoneInfo = ZoneInfo("UTC")
    period: str | None = None
    is_cents: bool = False


def parse_mapping(text: str) -> Mapping_:
    """Reads a mapping file. Raises StatementError with what is wrong in it."""
    if len(text) > MAX_MAPPING_CHARACTERS:
        raise StatementError("the mapping file is longer than 100,000 characters")
    try:
        document = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise StatementError(f"the mapping file is not TOML: {error}") from None
    unknown = sorted(document.keys() - {"vendor", "format", "columns", "constants", "values", "ignored"})
    if unknown:
        raise StatementError(f"the mapping file has `{unknown[0]}`, which is not known")
    columns, constants = _texts(document, "columns"), _texts(document, "constants")
    form = document.get("format", {})
    _check(document, form, columns, constants)
    values = document.get("values", {})
    if not isinstance(values, dict):
        raise StatementError("`values` of the mapping file is no table")
    try:
        zone = ZoneInfo(form.get("time_zone", "UTC"))
    except (KeyError, ValueError):
        raise StatementError(f"`time_zone` of the mapping file is `{form['time_zone']}`, which is no zone") from None
    return Mapping_(
        vendor=document["vendor"],
        columns=columns,
        constants=constants,
        values={name: _texts(values, name) for name in values},
        ignored=frozenset(map(str, document.get("ignored", ()))),
        delimiter=form.get("delimiter", ","),
        decimal_comma=form.get("decimal_comma", False),
        date_format=form.get("date_format"),
        zone=zone,
        period=form.get("period"),
        is_cents=form.get("amount_unit", "units") == "cents",
    )


def read_generic(reading: Reading) -> Iterator[StatementLine]:
    """A line for each row, by the mapping file."""
    if reading.options.mapping is None:
        raise StatementError("generic CSV needs a mapping file: --mapping names it")
    mapping = parse_mapping(reading.options.mapping)
    reading.notes.vendor = mapping.vendor

    def header(names: list[str]) -> None:
        missing = [name for name in (*mapping.columns.values(), *mapping.ignored) if name not in names]
        if missing:
            raise StatementError(f"the mapping file names the column `{missing[0]}`, which the file has not")
        reading.unread({*names} - {*mapping.columns.values()} - mapping.ignored)

    for line, row in csv_rows(reading.raw, header, delimiter=mapping.delimiter):
        yield _line(reading, mapping, _Row(mapping, row, line))


class _Row:
    """A row by our names."""

    def __init__(self, mapping: Mapping_, row: Mapping[str, str], line: int) -> None:
        self.mapping = mapping
        named = {ours: row[theirs] for ours, theirs in mapping.columns.items()}
        self.fields = Fields({**mapping.constants, **named}, line)

    def text(self, name: str) -> str | None:
        stated = self.fields.text(name)
        words = self.mapping.values.get(name)
        if stated is None or words is None:
            return stated
        if stated not in words:
            raise self.fields.error(
                f"`{name}` is `{stated[:60]}`, for which `values.{name}` of the mapping file has nothing"
            )
        return words[stated]

    def decimal(self, name: str) -> Decimal | None:
        return self.fields.decimal(name, decimal_comma=self.mapping.decimal_comma and name in self.mapping.columns)

    def amount(self, name: str) -> Decimal | None:
        found = self.decimal(name)
        if found is None or not self.mapping.is_cents:
            return found
        sign, digits, exponent = found.as_tuple()
        assert isinstance(exponent, int)
        return Decimal((sign, digits, exponent - 2))

    def moment(self, name: str) -> datetime | None:
        text = self.fields.text(name)
        if text is None:
            return None
        try:
            if self.mapping.date_format is not None:
                found = datetime.strptime(text, self.mapping.date_format)  # noqa: DTZ007 - its zone is the mapping's
                zone = found.tzinfo or self.mapping.zone
                return in_range(found.replace(tzinfo=zone).astimezone(UTC))
            if any(mark in text[10:] for mark in "Z+-"):
                return parse_instant(text)
            return in_range(datetime.fromisoformat(text).replace(tzinfo=self.mapping.zone).astimezone(UTC))
        except (ValueError, OverflowError, InexactError):
            raise self.fields.error(
                f"`{name}` is `{text[:40]}`, not a moment of the form the mapping file says"
            ) from None


def _line(reading: Reading, mapping: Mapping_, row: _Row) -> StatementLine:
    fields, line = row.fields, row.fields.line
    amount, currency = row.amount("amount"), row.text("currency")
    reading.notes.row(*([] if amount is None else [(reading.currency(currency, line), amount)]))
    begin = row.moment("starts_at")
    if begin is None:
        raise fields.error("`starts_at` is missing")
    meter_text = row.text("meter") or "other"
    meter = next((one for one in METERS if one == meter_text), None) or meter_of(meter_text)
    charge_text = (row.text("charge") or "usage").lower()
    charge = next((one for one in CHARGES if one == charge_text), None)
    if charge is None:
        raise fields.error(f"`charge` is `{charge_text[:60]}`, not one of {', '.join(CHARGES)}")
    texts: dict[str, Any] = {name: row.text(name) for name in _TEXTS}
    if meter == "other" and texts["text"] is None:
        texts["text"] = meter_text
    return StatementLine(
        line=line,
        starts_at=begin,
        ends_at=row.moment("ends_at") or _end(mapping, begin),
        vendor=mapping.vendor,
        meter=meter,
        charge=charge,
        requests=fields.count("requests"),
        **quantity_fields(row.decimal("quantity"), row.text("quantity_unit"), meter),
        **reading.money(amount, currency, line),
        list_amount_nanousd=reading.list_money(row.amount("list_amount"), currency, line),
        is_correction=amount is not None and amount < 0,
        tags=json_object(fields, "tags"),
        **texts,
    )


def _end(mapping: Mapping_, begin: datetime) -> datetime:
    if mapping.period == "hour":
        return begin + timedelta(hours=1)
    local = begin.astimezone(mapping.zone)
    if mapping.period == "month":
        month = next_month(local.replace(tzinfo=UTC))
        return month.replace(tzinfo=mapping.zone).astimezone(UTC)
    # A day of the zone, which may have 23 or 25 hours.
    return (local.replace(tzinfo=None) + timedelta(days=1)).replace(tzinfo=mapping.zone).astimezone(UTC)


def _texts(document: Mapping[str, Any], name: str) -> dict[str, str]:
    table = document.get(name, {})
    if not isinstance(table, dict) or not all(isinstance(value, str) for value in table.values()):
        raise StatementError(f"`{name}` of the mapping file is no table of texts")
    return table


def _check(document: Mapping[str, Any], form: Any, columns: Mapping[str, str], constants: Mapping[str, str]) -> None:
    vendor = document.get("vendor")
    if not isinstance(vendor, str) or not vendor:
        raise StatementError("the mapping file does not say whose statement it is: `vendor` is missing")
    for name in (*columns, *constants):
        if name not in COLUMNS:
            raise StatementError(f"the mapping file has `{name}`, which is none of {', '.join(COLUMNS)}")
    both = sorted(columns.keys() & constants.keys())
    if both:
        raise StatementError(f"`{both[0]}` of the mapping file is a column and a constant at once")
    if "starts_at" not in columns:
        raise StatementError("`columns` of the mapping file has no `starts_at`")
    if not isinstance(form, dict):
        raise StatementError("`format` of the mapping file is no table")
    for name, value in form.items():
        if name not in _FORMAT_KEYS or not isinstance(value, _FORMAT_KEYS[name]):
            raise StatementError(f"`format.{name}` of the mapping file is not known, or of another type")
    if form.get("period", "day") not in {"hour", "day", "month"}:
        raise StatementError("`format.period` of the mapping file is `hour`, `day` or `month`")
    if "period" not in form and "ends_at" not in columns:
        raise StatementError(
            "the mapping file says neither `columns.ends_at` nor `format.period`: how long is a row's period?"
        )
    if form.get("amount_unit", "units") not in {"units", "cents"}:
        raise StatementError("`format.amount_unit` of the mapping file is `units` or `cents`")
    if len(form.get("delimiter", ",")) != 1:
        raise StatementError("`format.delimiter` of the mapping file is one character")
