"""Azure's cost details (Enterprise Agreement and Microsoft Customer Agreement): daily rows by resource and meter.

Names of columns differ in case between schema versions, so they are compared without it.
"""

import json
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from remit.reconcile.statements.exact import InexactError, in_range, parse_instant
from remit.reconcile.statements.focus import quantity_fields, rows_of
from remit.reconcile.statements.meters import meter_of
from remit.reconcile.statements.model import Charge, Meter, StatementLine
from remit.reconcile.statements.reading import Fields, Reading

VENDOR: Final = "azure"
_READ: Final = frozenset(
    {
        "billingaccountid",
        "billingcurrency",
        "billingcurrencycode",
        "billingperiodenddate",
        "billingperiodstartdate",
        "chargetype",
        "costinbillingcurrency",
        "date",
        "invoiceid",
        "metercategory",
        "meterid",
        "metername",
        "metersubcategory",
        "paygcostinbillingcurrency",
        "quantity",
        "resourceid",
        "instanceid",
        "resourcelocation",
        "subscriptionid",
        "tags",
        "unitofmeasure",
    }
)
_CHARGES: Final[Mapping[str, Charge]] = {
    "usage": "usage",
    "purchase": "purchase",
    "refund": "credit",
    "tax": "tax",
    "roundingadjustment": "adjustment",
    "unusedreservation": "purchase",
    "unusedsavingsplan": "purchase",
}
_AMERICAN: Final = re.compile(r"(\d{1,2})/(\d{1,2})/(\d{4})")
_DIRECTION: Final = re.compile(
    r"\b(cach\w*|cchd|input|inp|inpt|in|output|outp|outpt|opt|out|batch|glbl|global|regnl|regional|dzone|dzn|data zone|tokens?|1k|1m)\b",
    re.IGNORECASE,
)


def read_cost_details(reading: Reading) -> Iterator[StatementLine]:
    """A line for each row; with `Options.only` those of these meter categories."""
    for line, row in rows_of(reading, "export of cost details", ("date", "costinbillingcurrency", "quantity"), _READ):
        fields = Fields(row, line)
        cost, currency = fields.decimal("costinbillingcurrency"), fields.text("billingcurrency", "billingcurrencycode")
        paid = [] if cost is None else [(reading.currency(currency, line), cost)]
        if reading.options.only and fields.text("metercategory") not in reading.options.only:
            reading.notes.left_out(*paid)
            continue
        reading.notes.row(*paid)
        if fields.text("billingperiodstartdate") and fields.text("billingperiodenddate"):
            # The end is the last day of the period here.
            reading.notes.covers(
                _day(fields, "billingperiodstartdate"), _day(fields, "billingperiodenddate") + timedelta(days=1)
            )
        if "invoiceid" in row:
            reading.notes.final(fields.text("invoiceid") is not None)
        yield _line(reading, fields, currency)


def _line(reading: Reading, fields: Fields, currency: str | None) -> StatementLine:
    stated = (fields.text("chargetype") or "usage").lower()
    if stated not in _CHARGES:
        raise fields.error(f"`ChargeType` is `{stated}`, which is not known here")
    charge, name, begin = _CHARGES[stated], fields.text("metername") or "", _day(fields, "date")
    meters: dict[str, Meter] = {"tax": "tax", "credit": "credit", "purchase": "purchase"}
    meter = "rounding" if stated == "roundingadjustment" else meters.get(charge) or meter_of(name)
    words = name.lower()
    return StatementLine(
        line=fields.line,
        starts_at=begin,
        ends_at=begin + timedelta(days=1),
        vendor=VENDOR,
        account=fields.text("billingaccountid"),
        project=fields.text("subscriptionid"),
        region=fields.text("resourcelocation"),
        resource=fields.text("resourceid", "instanceid"),
        model=_model(name) if meter != "other" else None,
        tier="batch" if "batch" in words else "priority" if "priority" in words else None,
        is_batch="batch" in words,
        meter=meter,
        **quantity_fields(fields.decimal("quantity"), fields.text("unitofmeasure"), meter),
        **reading.money(fields.decimal("costinbillingcurrency"), currency, fields.line),
        list_amount_nanousd=reading.list_money(fields.decimal("paygcostinbillingcurrency"), currency, fields.line),
        charge=charge,
        invoice_id=fields.text("invoiceid"),
        native_id=fields.text("meterid"),
        text=" / ".join(part for part in (fields.text("metercategory"), fields.text("metersubcategory"), name) if part)
        or None,
        tags=_tags(fields),
    )


def _model(name: str) -> str | None:
    """What stands before the first word of direction or deployment: `gpt 4o 0806 Inp glbl Tokens` is `gpt 4o 0806`."""
    found = _DIRECTION.search(name)
    return (name if found is None else name[: found.start()]).strip(" -") or None


def _day(fields: Fields, name: str) -> datetime:
    text = fields.required(name)
    found = _AMERICAN.fullmatch(text)
    try:
        if found is not None:
            return in_range(datetime(int(found[3]), int(found[1]), int(found[2]), tzinfo=UTC))
        return parse_instant(text)
    except (ValueError, InexactError):
        raise fields.error(f"`{name}` is `{text[:40]}`, neither 2026-11-03 nor 11/03/2026") from None


def _tags(fields: Fields) -> dict[str, Any]:
    """Tags come as a JSON object, with or without its braces."""
    text = fields.text("tags")
    if text is None:
        return {}
    try:
        value = json.loads(text if text.startswith("{") else f"{{{text}}}")
    except (ValueError, RecursionError):
        raise fields.error("`Tags` is no JSON object") from None
    return {str(name): str(one) for name, one in value.items()}
