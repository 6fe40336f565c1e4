"""One dataset of one month, row by row; a file that is not the ledger is never finished."""

from collections.abc import Iterator

from remit.kernel.money import format_usd
from remit.reports.focus.columns import Dataset, Row
from remit.reports.focus.group import cost_rows
from remit.reports.focus.invoice import invoice_rows
from remit.reports.focus.model import Grain
from remit.reports.focus.names import Naming
from remit.reports.focus.periods import period_rows
from remit.reports.focus.ports import FocusReader


class ExportMismatchError(Exception):
    """The rows do not sum to what the ledger says of the month."""


def dataset_rows(dataset: Dataset, reader: FocusReader, naming: Naming, grain: Grain = "day") -> Iterator[Row]:
    """The rows of a dataset. Raises ExportMismatchError after the last row of one that is not the ledger."""
    naming = naming.with_bills(reader.invoices())
    if dataset == "billing-period":
        booked = {naming.of(*one).issuer for one in reader.deployments()}
        return period_rows(reader.billing_month(), booked | naming.issuers())
    if dataset == "invoice-detail":
        return invoice_rows(naming.invoices, naming)
    return _checked(cost_rows(reader.charges(grain), grain, naming), reader)


def _checked(rows: Iterator[Row], reader: FocusReader) -> Iterator[Row]:
    total = 0
    for row in rows:
        cost = row["BilledCost"]
        assert type(cost) is int
        total += cost
        yield row
    booked = reader.total_nanousd()
    if total != booked:
        raise ExportMismatchError(
            f"the rows sum to {format_usd(total)} and the ledger says {format_usd(booked)}: `remit doctor` looks for the reason"
        )
