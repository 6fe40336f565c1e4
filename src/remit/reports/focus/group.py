"""Charges that come in the order of their groups, as rows: sums in whole numbers, and what they were summed from."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from remit.reports.focus.columns import Row
from remit.reports.focus.model import Charge, Grain, charge_period
from remit.reports.focus.names import Naming
from remit.reports.focus.parts import Part, parts_of
from remit.reports.focus.rows import cost_row, credential


@dataclass(slots=True)
class Sum:
    """A row in the making: one meter at one price in one group of charges.

    The digest is SHA-256 over the ids of the entries, each ended by a line feed, in the order of the charges: by id, an
    overage right after the entry of its call.
    """

    units: int = 0
    amount_nanousd: int = 0
    entries: int = 0
    first_id: str = ""
    last_id: str = ""
    digest: Any = field(default_factory=hashlib.sha256)
    _last_charge: str = ""

    def add(self, charge: Charge, part: Part) -> None:
        self.units += part.units
        self.amount_nanousd += part.amount_nanousd
        if charge.entry_id == self._last_charge:
            return  # two parts of one entry that are priced alike are one row
        self._last_charge = charge.entry_id
        for entry_id in charge.entry_ids:
            self.first_id = self.first_id or entry_id
            self.last_id = entry_id
            self.entries += 1
            self.digest.update(f"{entry_id}\n".encode())


def group_key(charge: Charge, grain: Grain) -> tuple[Any, ...]:
    """What the charges of a row have in common, besides meter and price. Only calls are ever summed."""
    period = charge_period(charge.held_at, grain)
    alone = charge.entry_id if grain == "entry" or charge.kind in ("adjustment", "transfer") else ""
    return (
        period[0], charge.grant_id, charge.grant_path, charge.owner, charge.grant_class, charge.tags, charge.principal_id,
        charge.vendor, charge.deployment, charge.model, charge.tier, charge.usage_source, charge.price_source, charge.kind,
        charge.billing_month, alone,
    )  # fmt: skip


def cost_rows(charges: Iterable[Charge], grain: Grain, naming: Naming) -> Iterator[Row]:
    """Rows of Cost and Usage. Charges of one group come one after the other, in the order of their ids.

    Memory is that of one group: as many sums as it has prices, however many charges.
    """
    first: Charge | None = None
    key: tuple[Any, ...] = ()
    sums: dict[tuple[str, int], tuple[Part, Sum]] = {}
    for charge in charges:
        of_this = group_key(charge, grain)
        if first is None or of_this != key:
            if first is not None:
                yield from _rows(first, sums, grain, naming)
            first, key, sums = charge, of_this, {}
        for part in parts_of(charge):
            name = "" if part.meter is None else part.meter.slug
            sums.setdefault((name, part.price_nanousd_per_million), (part, Sum()))[1].add(charge, part)
    if first is not None:
        yield from _rows(first, sums, grain, naming)


def _rows(charge: Charge, sums: dict[tuple[str, int], tuple[Part, Sum]], grain: Grain, naming: Naming) -> Iterator[Row]:
    period: tuple[datetime, datetime] = charge_period(charge.held_at, grain)
    names = naming.of(charge.vendor, charge.deployment)
    for part, summed in sums.values():
        yield cost_row(charge, part, names, period) | {
            **_money(part, summed),
            **credential(charge.block_ids if grain == "entry" else ()),
            "x_LedgerEntriesCount": summed.entries,
            "x_LedgerEntriesDigest": summed.digest.hexdigest(),
            "x_LedgerEntryFirstId": summed.first_id,
            "x_LedgerEntryId": summed.first_id if grain == "entry" else None,
            "x_LedgerEntryLastId": summed.last_id,
        }


def _money(part: Part, summed: Sum) -> Row:
    """Costs and quantities.

    What is billed is the ledger's sum, to the nano-dollar. What is contracted is quantity times price, in full: the two
    differ by what rounding each call's line to a nano-dollar made, at most half a nano-dollar for each.
    """
    billed: Row = {"BilledCost": summed.amount_nanousd, "EffectiveCost": summed.amount_nanousd}
    if part.meter is None:
        in_full = summed.amount_nanousd * 10**6
        return billed | {
            "ContractedCost": in_full, "ListCost": in_full, "ContractedUnitPrice": None, "ListUnitPrice": None,
            "PricingQuantity": None, "ConsumedQuantity": None,
        }  # fmt: skip
    product = summed.units * part.price_nanousd_per_million
    # Tokens are priced by the million and counted in millions, which have six decimals; requests are priced one by one.
    price = part.price_nanousd_per_million * (10**6 if part.meter.is_tokens else 1)
    quantity = summed.units * (1 if part.meter.is_tokens else 10**6)
    return billed | {
        "ContractedCost": product, "ListCost": product, "ContractedUnitPrice": price, "ListUnitPrice": price,
        "PricingQuantity": quantity, "ConsumedQuantity": summed.units,
    }  # fmt: skip
