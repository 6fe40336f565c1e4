"""`remit ledger statement` and `sheet`: a month for the one who is charged, and for finance."""

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from remit.cli.codes import EXIT_OK, CommandError
from remit.cli.options import Where

if TYPE_CHECKING:
    from remit.reports.total import Span

_MONTH = re.compile(r"([0-9]{4})-(0[1-9]|1[0-2])")
MonthName = Annotated[str, Parameter(help="The month of the books in UTC, such as 2026-10.")]


def statement(
    *,
    owner: Annotated[str, Parameter(help="Whose grants were charged, as in `remit ledger report --by owner`.")],
    month: MonthName,
    out: Annotated[Path, Parameter(help="The file, an HTML page: its name ends in .html or .htm.")],
    where: Where | None = None,
) -> int:
    """Write what one owner was charged in a month as a page to read and to print, with what is to be done.

    The page is one file that loads nothing and runs nothing.
    """
    from remit.cli.ledger_reports import lines_of, living
    from remit.cli.out_file import require_out, write_out
    from remit.cli.output import remark
    from remit.cli.session import open_authority
    from remit.grants.tree import Tree
    from remit.kernel.money import format_usd
    from remit.reports.page import page
    from remit.reports.statement import Held, Holding, statement_of
    from remit.store.postgres_bookings import PostgresBookings

    span = _month(month)
    if out.suffix not in (".html", ".htm"):
        raise CommandError(f"--out `{out}` ends neither in .html nor in .htm")
    require_out(out)
    authority = open_authority(where)
    with authority.repository.read() as reads:
        grants = [one for one in living(Tree(reads.load_tree()), None) if one.owner.lower() == owner.lower()]
    holding = Holding(
        owner=owner,
        spellings=tuple(one.owner for one in grants),
        grants=tuple(Held(one.path, one.expires_at) for one in grants),
        budget=tuple(lines_of(authority, grants)),
    )
    bookings = PostgresBookings(authority.url)
    found = statement_of(authority.ledger, bookings, holding, span, authority.clock.now())
    if not grants and not found.total.requests and not found.total.amount_nanousd:
        raise CommandError(f"`{owner}` owns no grant and was charged nothing in {month}")
    write_out(out, page(found).encode())
    remark(f"{out}: {format_usd(found.total.amount_nanousd)} in {month}")
    return EXIT_OK


def sheet(
    *,
    month: MonthName,
    out: Annotated[Path, Parameter(help="The file: its name ends in .xlsx or .csv.")],
    where: Where | None = None,
) -> int:
    """Write a month of the books for finance: summary, owners, grants, vendors and models, adjustments, bills.

    Amounts are exact decimals of dollars. A workbook needs `remit[sheet]`.
    """
    from remit.cli.out_file import require_out, write_out
    from remit.cli.output import remark
    from remit.cli.session import open_authority
    from remit.cli.workbook import csv_tables, workbook
    from remit.reports.sheet import sheet_of
    from remit.store.connect import opener
    from remit.store.postgres_bookings import PostgresBookings
    from remit.store.postgres_months import PostgresMonths

    span = _month(month)
    if out.suffix not in (".xlsx", ".csv"):
        raise CommandError(f"--out `{out}` ends neither in .xlsx nor in .csv")
    require_out(out)
    authority = open_authority(where)
    months = PostgresMonths(opener(authority.url, "remit_reader"), authority.clock).months()
    tables = sheet_of(authority.ledger, PostgresBookings(authority.url), months, span)
    write_out(out, workbook(tables) if out.suffix == ".xlsx" else csv_tables(tables))
    remark(f"{out}: {sum(len(one.rows) for one in tables):,} rows in {len(tables)} tables")
    return EXIT_OK


def _month(text: str) -> "Span":
    from remit.reports.total import calendar_span

    found = _MONTH.fullmatch(text)
    if found is None or not 1970 <= int(found[1]) < 9999:
        raise CommandError(f"--month `{text}` is not a month such as 2026-10")
    return calendar_span("month", datetime(int(found[1]), int(found[2]), 1, tzinfo=UTC))
