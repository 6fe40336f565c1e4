"""What commands print: text with colour on a terminal only, JSON with stable keys, CSV, progress.

Answers go to standard output; progress and remarks to standard error, so that output can be piped.
"""

import csv
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, is_dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

import msgspec
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from remit.cli.codes import EXIT_DIFFERENCES, EXIT_USAGE
from remit.grants.model import Problem
from remit.grants.standing import Standing
from remit.grants.words import printable

_T = TypeVar("_T")
# Far wider than any line, so that nothing is cut where no terminal has a width.
_UNBOUNDED_COLUMNS = 10_000
# Below this, cells that fold are harder to read than rows written out.
_TABLE_COLUMNS = 60
_NOTHING_SUCH = (
    "grant_unknown",
    "unknown_grant",
    "unknown_key",
    "unknown_token",
    "unknown_person",
    "unknown_role_binding",
    "parent_unknown",
    "unknown_subject",
    "ticket_unknown",
    "unknown_trip",
    "unknown_tag",
    "unknown_cost_rule",
    "unknown_job",
    "unknown_statement",
    "vendor_unknown",
    "unknown_dead_letter",
)
_STATUS_STYLES = {"active": "green", "requested": "cyan", "suspended": "yellow", "expired": "red", "revoked": "red"}


def console() -> Console:
    """Standard output for lines. Colour only on a terminal, and not where NO_COLOR is set; nothing is cut to fit."""
    return Console(width=_UNBOUNDED_COLUMNS, highlight=False, markup=False, emoji=False, soft_wrap=True)


def is_narrow(columns: int) -> bool:
    """Whether standard output is a terminal with less room than that."""
    return sys.stdout.isatty() and Console().width < columns


def remark(text: str) -> None:
    """Something a person may want to know besides the answer."""
    print(text, file=sys.stderr)


def print_json(value: Any) -> None:
    """One JSON document, indented for people."""
    print(msgspec.json.format(msgspec.json.encode(jsonable(value)), indent=2).decode())


def print_json_line(value: Any) -> None:
    """One JSON object on one line."""
    print(msgspec.json.encode(jsonable(value)).decode(), flush=True)


def jsonable(value: Any) -> Any:
    """Plain data: dataclasses become objects, instants ISO 8601 in UTC with `Z`, members of enumerations their names."""
    if isinstance(value, Enum):
        return value.name
    if is_dataclass(value) and not isinstance(value, type):
        return jsonable(asdict(value))
    if isinstance(value, datetime):
        return instant_text(value)
    if isinstance(value, dict):
        return {str(name): jsonable(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [jsonable(item) for item in value]
    return value


def parts_as_json(value: Any) -> Any:
    """A value for one cell: what has parts, and truth, is JSON on one line; anything else stays."""
    return msgspec.json.encode(jsonable(value)).decode() if isinstance(value, dict | list | bool) else value


def print_csv(names: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """A header and one line a row; what is not known is empty."""
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(names)
    writer.writerows(rows)


def table(*names: str, right: Sequence[str] = ()) -> Table:
    """An empty table; the columns in `right` are numbers."""
    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for name in names:
        made.add_column(name, justify="right" if name in right else "left", overflow="fold")
    return made


def print_table(made: Table) -> None:
    """Prints it in the width of the terminal, or as wide as it wants to be; on a very narrow one, row by row."""
    if sys.stdout.isatty():
        out = Console(highlight=False, markup=False, emoji=False)
        wanted = Measurement.get(out, out.options.update(max_width=_UNBOUNDED_COLUMNS), made).maximum
        if out.width < min(wanted, _TABLE_COLUMNS):
            _print_records(out, made)
        else:
            out.print(made)
        return
    out = console()
    with out.capture() as captured:
        out.print(made)
    print("\n".join(line.rstrip() for line in captured.get().splitlines()))


def _print_records(out: Console, made: Table) -> None:
    """Each row as lines of `column value`, what is empty left out."""
    width = max(len(str(column.header)) for column in made.columns)
    for number, cells in enumerate(zip(*(column.cells for column in made.columns), strict=True)):
        if number:
            out.print()
        for column, cell in zip(made.columns, cells, strict=True):
            if str(cell):
                out.print(Text.assemble((f"{column.header!s:<{width}}", "bold"), "  ", cell), soft_wrap=True)


def status_text(status: str) -> Text:
    """A grant's status in its colour."""
    return Text(status, style=_STATUS_STYLES.get(status, ""))


def standing_text(standing: Standing, path: str) -> Text:
    """The status in effect for the grant at that path, in its colour."""
    return Text(standing.text(path), style=_STATUS_STYLES.get(standing.status, ""))


def with_instants(row: dict[str, Any]) -> dict[str, Any]:
    """A row of the database's own JSON whose instants (`*_at`) have the form of all others here."""
    return {
        name: instant_text(datetime.fromisoformat(value)) if name.endswith("_at") and isinstance(value, str) else value
        for name, value in row.items()
    }


def instant_text(instant: datetime) -> str:
    """`2027-01-31T00:00:00Z`, microseconds only where there are any."""
    return instant.astimezone(UTC).isoformat().replace("+00:00", "Z")


def moment_text(instant: datetime, zone: str = "UTC") -> str:
    """The same for people: the date where a day of that zone begins, otherwise to the minute in UTC."""
    local = instant.astimezone(ZoneInfo(zone))
    if (local.hour, local.minute, local.second) == (0, 0, 0):
        return f"{local:%Y-%m-%d}"
    return f"{instant.astimezone(UTC):%Y-%m-%d %H:%M}Z"


def refused(problems: Iterable[Problem], *, json: bool = False) -> int:
    """Says why nothing was written, one line each; the exit code."""
    found = list(problems)
    if json:
        print_json({"problems": [asdict(problem) for problem in found]})
    for problem in found:
        remark(f"remit: {problem.code}: {printable(problem.detail)}")
    return code_of(found)


def code_of(problems: Iterable[Problem]) -> int:
    """The exit code of what was refused: a name that stands for nothing is a mistake in the command or the file."""
    return EXIT_USAGE if all(problem.code in _NOTHING_SUCH for problem in problems) else EXIT_DIFFERENCES


@contextmanager
def progress_to(total: int, title: str) -> Iterator[Callable[[int], None]]:
    """Shows how far something has come, as it is told, on standard error while it is a terminal."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as shown:
        task = shown.add_task(title, total=total)
        yield lambda done: shown.update(task, completed=done)


def progress(items: Iterable[_T], title: str, total: int | None = None) -> Iterator[_T]:
    """The items, with a progress bar on standard error while it is a terminal."""
    if not sys.stderr.isatty():
        yield from items
        return
    from rich.progress import track

    yield from track(items, description=title, total=total, console=Console(stderr=True), transient=True)
