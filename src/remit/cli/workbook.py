"""Tables as files: a workbook of a spreadsheet, or CSV. A file has its name when it is complete."""

import csv
import io
import os
import tempfile
from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from remit.cli.codes import CommandError
from remit.ledger.cells import text_cell

if TYPE_CHECKING:
    from remit.reports.sheet import Table

_MOST_WIDE = 60


def workbook(tables: "Sequence[Table]") -> bytes:
    """One sheet a table. Amounts are written as the decimals they are. Raises CommandError without the package for it."""
    try:
        from openpyxl import Workbook
        from openpyxl.cell import WriteOnlyCell
        from openpyxl.styles import Font
        from openpyxl.utils import get_column_letter
    except ImportError:
        raise CommandError("a workbook needs `remit[sheet]`; CSV does not") from None
    book = Workbook(write_only=True)
    for table in tables:
        sheet = book.create_sheet(table.name)
        sheet.freeze_panes = "A2"
        for number, name in enumerate(table.columns, start=1):
            longest = max((len(str(row[number - 1] or "")) for row in table.rows), default=0)
            sheet.column_dimensions[get_column_letter(number)].width = min(max(longest, len(name)) + 2, _MOST_WIDE)

        def cell(value: Any, *, bold: bool = False, sheet: Any = sheet) -> Any:
            made = WriteOnlyCell(sheet, value=_safe(value))
            if isinstance(value, Decimal):
                made.number_format = "#,##0.00#######"
            if bold:
                made.font = Font(bold=True)
            return made

        sheet.append([cell(name, bold=True) for name in table.columns])
        for row in table.rows:
            sheet.append([cell(value) for value in row])
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


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


def write_whole(path: Path, content: bytes) -> None:
    """Writes a file beside its name and gives it the name at the end: who looks finds the old one or all of the new one."""
    descriptor, beside = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        Path(beside).replace(path)
    finally:
        Path(beside).unlink(missing_ok=True)


def _safe(value: Any) -> Any:
    """Text that somebody else chose is text, and has no character that a workbook cannot hold."""
    if not isinstance(value, str):
        return value
    return text_cell("".join(one if one >= " " or one in "\t\n\r" else "\N{REPLACEMENT CHARACTER}" for one in value))


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return f"{value:f}"
    return value.isoformat() if isinstance(value, date) else _safe(value)
