"""FOCUS, 1.0 to 1.4, as CSV or Parquet: what any vendor's export in the FinOps Foundation's form says.

Columns by the specification: charge and billing periods, BilledCost, ListCost, ConsumedQuantity or PricingQuantity with their units,
SkuMeter, SkuPriceDetails (with the `x_` keys, and those of the 1.5 draft), Tags.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Any, Final

from remit.reconcile.statements.exact import InexactError, count_of, parse_instant, parse_unit, plain, times
from remit.reconcile.statements.meters import meter_of
from remit.reconcile.statements.model import CHARGES, TOKEN_METERS, Charge, Meter, StatementError, StatementLine
from remit.reconcile.statements.parquet import parquet_rows
from remit.reconcile.statements.raw import csv_rows, looks_like
from remit.reconcile.statements.reading import Fields, Reading

_READ: Final = frozenset(
    {
        "BilledCost",
        "BillingAccountId",
        "BillingCurrency",
        "BillingPeriodEnd",
        "BillingPeriodStart",
        "ChargeCategory",
        "ChargeClass",
        "ChargeDescription",
        "ChargePeriodEnd",
        "ChargePeriodStart",
        "ConsumedQuantity",
        "ConsumedUnit",
        "HostProviderName",
        "InvoiceDetailId",
        "InvoiceId",
        "InvoiceIssuerName",
        "ListCost",
        "PricingQuantity",
        "PricingUnit",
        "ProviderName",
        "RegionId",
        "ResourceId",
        "ServiceName",
        "ServiceProviderName",
        "SkuId",
        "SkuMeter",
        "SkuPriceDetails",
        "SubAccountId",
        "Tags",
        "CredentialId",
    }
)
_NEEDED: Final = ("BilledCost", "ChargePeriodStart", "ChargePeriodEnd", "ChargeCategory")
_CHARGE_METERS: Final[Mapping[Charge, Meter]] = {"tax": "tax", "credit": "credit", "purchase": "purchase"}


def rows_of(
    reading: Reading, what: str, needed: Iterable[str], known: frozenset[str]
) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Rows by column, from CSV or Parquet. Names of columns are compared as `known` has them, by whichever case they are written.

    Raises StatementError where a needed column is missing; what no line has anything of is remarked on.
    """
    ours = {name.lower(): name for name in known}

    def header(names: list[str]) -> None:
        found = {ours.get(name.lower(), name) for name in names}
        if len(found) < len(names):
            raise StatementError("the header names a column twice, in different cases")
        missing = [name for name in needed if name not in found]
        if missing:
            raise StatementError(f"it is no {what}: the column `{missing[0]}` is missing")
        reading.unread(found - known)

    rows = parquet_rows if looks_like(reading.raw) == "parquet" else csv_rows
    for line, row in rows(reading.raw, header):
        yield line, {ours.get(name.lower(), name): value for name, value in row.items()}


def focus_reader(vendor: str | None) -> Any:
    """The reader of a vendor's FOCUS export, or of whoever's each row names."""

    def read(reading: Reading) -> Iterator[StatementLine]:
        for line, row in rows_of(reading, "FOCUS export", _NEEDED, _READ):
            fields = Fields(row, line)
            cost = fields.decimal("BilledCost")
            if cost is None:
                raise fields.error("`BilledCost` is missing, which is never so in FOCUS")
            paid = (reading.currency(fields.text("BillingCurrency"), line), cost)
            only = reading.options.only
            if only and not {fields.text("ServiceName"), fields.text("SkuId")} & set(only):
                reading.notes.left_out(paid)
                continue
            reading.notes.row(paid)
            yield _line(reading, fields, cost, vendor)

    return read


def _line(reading: Reading, fields: Fields, cost: Decimal, vendor: str | None) -> StatementLine:
    details, tags = json_object(fields, "SkuPriceDetails"), json_object(fields, "Tags")
    charge, text = _charge(fields), fields.text("ChargeDescription")
    meter = _CHARGE_METERS.get(charge) or _meter(fields, details)
    stated, unit = fields.decimal("ConsumedQuantity"), fields.text("ConsumedUnit")
    if stated is None:
        stated, unit = fields.decimal("PricingQuantity"), fields.text("PricingUnit")
    _cover(reading, fields)
    if "InvoiceId" in fields.values:
        reading.notes.final(fields.text("InvoiceId") is not None)
    named = reading.options.vendor or fields.text("ServiceProviderName", "ProviderName")
    return StatementLine(
        line=fields.line,
        starts_at=instant(fields, "ChargePeriodStart"),
        ends_at=instant(fields, "ChargePeriodEnd"),
        vendor=vendor or named or "unknown",
        account=fields.text("BillingAccountId"),
        project=fields.text("SubAccountId"),
        key_id=fields.text("CredentialId"),
        region=fields.text("RegionId"),
        resource=fields.text("ResourceId"),
        model=_detail(details, "ModelId"),
        tier=_detail(details, "ServiceTier"),
        context_window=_detail(details, "ContextWindow"),
        meter=meter,
        **quantity_fields(stated, unit, meter),
        **reading.money(cost, fields.text("BillingCurrency"), fields.line),
        list_amount_nanousd=reading.list_money(fields.decimal("ListCost"), fields.text("BillingCurrency"), fields.line),
        charge=charge,
        is_correction=fields.text("ChargeClass") == "Correction",
        invoice_id=fields.text("InvoiceId"),
        invoice_issuer=fields.text("InvoiceIssuerName"),
        native_id=fields.text("InvoiceDetailId"),
        text=text,
        tags=tags,
    )


def quantity_fields(stated: Decimal | None, unit: str | None, meter: Meter) -> dict[str, Any]:
    """The fields of a line that say how much, in single units, with what was stated."""
    if stated is None:
        return {}
    factor, single = (1, None) if unit is None else parse_unit(unit)
    if meter in TOKEN_METERS and single in {"count", "units", None}:
        single = "tokens"
    return {
        "quantity": count_of(times(stated, factor)),
        "unit": single,
        "stated_quantity": plain(stated),
        "stated_unit": unit,
    }


def instant(fields: Fields, name: str) -> Any:
    """The instant in a column. Raises StatementError."""
    try:
        return parse_instant(fields.required(name))
    except InexactError as error:
        raise fields.error(f"`{name}`: {error}") from None


def json_object(fields: Fields, name: str) -> dict[str, str]:
    """A cell that holds a JSON object, each value as text; what holds none is empty."""
    value = fields.values.get(name)
    if value is None or value in ("", "NULL", "null"):
        return {}
    if isinstance(value, str):
        try:
            value = json.loads(value, parse_float=Decimal)
        except (ValueError, RecursionError):
            raise fields.error(f"`{name}` is no JSON object") from None
    if isinstance(value, list):
        # Parquet's form of a map.
        value = {str(pair[0]): pair[1] for pair in value if isinstance(pair, tuple) and len(pair) == 2}
    if not isinstance(value, dict):
        raise fields.error(f"`{name}` is no JSON object")
    return {str(key): one if isinstance(one, str) else _as_text(one) for key, one in value.items() if one is not None}


def _as_text(value: Any) -> str:
    return plain(value) if isinstance(value, Decimal) else json.dumps(value, default=str, ensure_ascii=False)


def _cover(reading: Reading, fields: Fields) -> None:
    if fields.text("BillingPeriodStart") is not None and fields.text("BillingPeriodEnd") is not None:
        reading.notes.covers(instant(fields, "BillingPeriodStart"), instant(fields, "BillingPeriodEnd"))


def _charge(fields: Fields) -> Charge:
    stated = fields.required("ChargeCategory").lower()
    found = next((charge for charge in CHARGES if charge == stated), None)
    if found is None:
        raise fields.error(f"`ChargeCategory` is `{stated}`, not one of {', '.join(CHARGES)}")
    return found


def _detail(details: Mapping[str, str], name: str) -> str | None:
    return details.get(f"x_{name}") or details.get(name)


def _meter(fields: Fields, details: Mapping[str, str]) -> Meter:
    direction, cache = _detail(details, "TokenDirection"), (_detail(details, "TokenCacheAction") or "").lower()
    meter = fields.text("SkuMeter")
    if meter is not None and (found := meter_of(meter)) != "other":
        return found
    if direction is not None:
        if direction.lower() == "output":
            return "output"
        return {"read": "cache_read", "write": "cache_write"}.get(cache, "input")  # type: ignore[return-value]
    # What is described in prose is only taken for a meter where it counts tokens.
    unit = (fields.text("ConsumedUnit", "PricingUnit") or "").lower()
    return meter_of(fields.text("ChargeDescription") or "") if "token" in unit else "other"
