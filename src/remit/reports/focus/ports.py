"""What the export needs of the books."""

from collections.abc import Iterable, Iterator
from datetime import date
from typing import Protocol

from remit.reports.focus.model import BillingMonth, Charge, Grain, Invoice


class FocusReader(Protocol):
    """The books of one billing month, as of one moment."""

    @property
    def month(self) -> date: ...

    def charges(self, grain: Grain) -> Iterator[Charge]:
        """What was booked in the month as spend, in the order of `group.group_key` and then of the entries' ids."""
        ...

    def total_nanousd(self) -> int:
        """The ledger's own sum of the same."""
        ...

    def deployments(self) -> Iterable[tuple[str | None, str | None]]:
        """Every (vendor, deployment) that something of the month was booked for."""
        ...

    def billing_month(self) -> BillingMonth: ...

    def invoices(self) -> Iterable[Invoice]: ...
