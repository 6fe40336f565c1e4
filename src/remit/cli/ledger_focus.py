"""`remit ledger focus`: a month of the ledger as a file that FinOps tools read."""

import re
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from remit.cli.codes import EXIT_DIFFERENCES, EXIT_OK, CommandError
from remit.cli.options import Where

if TYPE_CHECKING:
    from remit.bootstrap import Authority
    from remit.reports.focus.columns import Dataset
    from remit.reports.focus.model import Grain

_ENDINGS = (".csv", ".csv.gz", ".parquet")
_MONTH = re.compile(r"([0-9]{4})-(0[1-9]|1[0-2])")


def focus(
    *,
    month: Annotated[str, Parameter(help="The billing month in UTC, such as 2026-11.")],
    out: Annotated[Path, Parameter(help="The file: its name ends in .csv, .csv.gz or .parquet.")],
    dataset: Annotated[
        Literal["cost-and-usage", "invoice-detail", "billing-period"],
        Parameter(help="Which dataset of FOCUS; cost-and-usage if left out."),
    ] = "cost-and-usage",
    grain: Annotated[
        Literal["hour", "day", "entry"],
        Parameter(help="What cost-and-usage is summed by: an hour or a day (the default) of UTC, or not at all."),
    ] = "day",
    where: Where | None = None,
) -> int:
    """Write what was booked in a month as FOCUS 1.4, one row for each kind of token, price, grant and tags.

    The file appears when it is complete; its BilledCost sums to the ledger's spend of the month, to the nano-dollar. A month that left
    the database is read from the archive, and refused where that cannot be. Parquet needs `remit[archive]`.
    """
    from remit.cli.out_file import require_out, writes
    from remit.cli.output import remark
    from remit.cli.session import open_authority
    from remit.reports.focus.service import ExportMismatchError
    from remit.store.table_files import NoParquetError

    booked_in = parse_month(month)
    if not out.name.endswith(_ENDINGS):
        raise CommandError(f"--out `{out}` ends in none of {', '.join(_ENDINGS)}")
    require_out(out)
    authority = open_authority(where)
    try:
        with writes(out):
            rows = _write(out, authority, booked_in, dataset, grain)
    except NoParquetError as error:
        raise CommandError(str(error)) from None
    except ExportMismatchError as error:
        raise CommandError(str(error), EXIT_DIFFERENCES) from None
    if dataset == "invoice-detail" and not rows:
        remark("no bill is known: a month has those that it was closed with")
    print(f"{rows:,} rows in {out}")
    return EXIT_OK


def parse_month(text: str) -> date:
    """The first day of a month written as 2026-11. Raises CommandError."""
    found = _MONTH.fullmatch(text)
    if found is None or found[1] in ("0000", "9999"):
        raise CommandError(f"--month `{text}` is not a month such as 2026-11")
    return date(int(found[1]), int(found[2]), 1)


def _write(out: Path, authority: "Authority", month: date, dataset: "Dataset", grain: "Grain") -> int:
    from remit.bootstrap import focus_naming, opens_archive
    from remit.reports.focus.columns import DATASETS
    from remit.reports.focus.service import dataset_rows
    from remit.store.postgres_focus import open_month
    from remit.store.table_files import require_parquet, write_table

    if out.name.endswith(".parquet"):
        require_parquet()  # before the database is asked to sort a month
    naming = focus_naming(authority.settings)
    with open_month(authority.url, month, opens_archive(authority.settings)) as books:
        return write_table(out, DATASETS[dataset], dataset_rows(dataset, books, naming, grain))
