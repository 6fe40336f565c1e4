"""Tables as files: a workbook of a spreadsheet, or CSV."""

import csv
import io
from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from remit.cli.codes import CommandError
from remit.ledger.cells import text_cell

if TYPE_CHECKING:
    from remit.reports.sheet import Table

_MOST_WIDE = 60
_MOST_LONG = 32_767  # what a cell holds
_DIGITS = 15


def workbook(tables: "Sequence[Table]") -> bytes:
    """One sheet a table. Raises CommandError without the package for it.

    A spreadsheet keeps 15 digits of a number. An amount that has more of them is written as text, which has all.
    """
    try:
        from xlsxwriter import Workbook
    except ImportError:
        raise CommandError("a workbook needs `remit[sheet]`; CSV does not") from None
    out = io.BytesIO()
    with Workbook(out, {"in_memory": True}) as book:
        bold, money = book.add_format({"bold": True}), book.add_format({"num_format": "#,##0.00#######"})
        day, right = book.add_format({"num_format": "yyyy-mm-dd"}), book.add_format({"align": "right"})
        for table in tables:
            sheet = book.add_worksheet(table.name)
            sheet.freeze_panes(1, 0)
            for column, name in enumerate(table.columns):
                longest = max((len(str(row[column] or "")) for row in table.rows), default=0)
                sheet.set_column(column, column, min(max(longest, len(name)) + 2, _MOST_WIDE))
                sheet.write_string(0, column, name, bold)
            for number, row in enumerate(table.rows, start=1):
                for column, value in enumerate(row):
                    if isinstance(value, Decimal) and _digits(value) <= _DIGITS:
                        sheet.write_number(number, column, value, money)
                    elif isinstance(value, Decimal):
                        sheet.write_string(number, column, f"{value:f}", right)
                    elif isinstance(value, int):
                        sheet.write_number(number, column, value)
                    elif isinstance(value, date):
                        sheet.write_datetime(number, column, datetime(value.year, value.month, value.day), day)  # noqa: DTZ001 - a day
                    elif value is not None:
                        sheet.write_string(number, column, _safe(value)[:_MOST_LONG])
    return out.getvalue()


def _digits(value: Decimal) -> int:
    return len(value.normalize().as_tuple().digits)


def csv_tables(tables: "Sequence[Table]") -> bytes:
    """All tables below each other: a line with the name, the header, the rows, an empty line."""
    out = io.StringIO(newline="")
    lines = csv.writer(out, lineterminator="\r\n")
    for number, table in enumerate(tables):
        if number:
            lines.writerow([])
        lines.writerow([table.name])
        lines.writerow(table.columns)
        lines.writerows([_plain(value) for value in row] for row in table.rows)
    return out.getvalue().encode()


def _safe(value: Any) -> Any:
    """Text that somebody else chose is text, and has no character that a workbook cannot hold."""
    if not isinstance(value, str):
        return value
    return text_cell("".join(one if one >= " " or one in "\t\n\r" else "\N{REPLACEMENT CHARACTER}" for one in value))


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return f"{value:f}"
    return value.isoformat() if isinstance(value, date) else _safe(value)
