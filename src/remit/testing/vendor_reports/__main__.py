"""The vendor simulator's books as OpenAI would report them, from the command line: files that `remit reconcile import` reads."""

import argparse
import re
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from remit.kernel.money import format_usd
from remit.testing.vendor_reports.books import BookRow, costs, decimal_text, dollars, exact_json
from remit.testing.vendor_reports.openai import openai_costs, openai_usage
from remit.testing.vendor_reports.simulated import UnreadableBooksError, read_books

_MONTH = re.compile(r"(20[0-9]{2})-(0[1-9]|1[0-2])")


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes `usage.json` and `costs.json` of one month. Exit code 2 where there are no such books, or they cannot be written."""
    parser = argparse.ArgumentParser(
        prog="python -m remit.testing.vendor_reports",
        description="The vendor simulator's books as a month of OpenAI's reports of usage and costs.",
    )
    parser.add_argument("books", help="the simulator's address, or a file from its /sim/books.csv")
    parser.add_argument("--month", help="which month of UTC, such as 2026-10 (default: that of the last call)")
    parser.add_argument(
        "--on", metavar="DAY", help="report all calls as made on this day (for a rehearsal of another date)"
    )
    parser.add_argument("--out", type=Path, default=Path(), help="an existing folder for the files (default: this one)")
    parser.add_argument(
        "--prices", type=Path, help="the simulator's price list, if the books are a file and it had one"
    )
    parser.add_argument("--project", default="proj-1", help="project that calls were made in (default: %(default)s)")
    parser.add_argument("--key", default="key-1", help="id of the key that calls were made with (default: %(default)s)")
    options = parser.parse_args(arguments)
    try:
        rows = read_books(options.books, options.prices, project=options.project, key_id=options.key)
        month, inside = _of_month(rows, options.month, options.on)
        _write(options.out, month, inside)
    except UnreadableBooksError as error:
        print(f"vendor-reports: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(
            f"vendor-reports: cannot write to `{options.out}`: {(error.strerror or str(error)).lower()}",
            file=sys.stderr,
        )
        return 2
    total = sum(costs(inside).values())
    print(f"{len(inside)} calls of {month:%Y-%m} in {options.out / 'usage.json'} and {options.out / 'costs.json'}")
    print(f"{format_usd(total)} in all: --bill INVOICE={decimal_text(dollars(total))}")
    if left_out := len(rows) - len(inside):
        print(f"{left_out} calls of other months are left out")
    return 0


def _of_month(rows: list[BookRow], month: str | None, day: str | None) -> tuple[date, list[BookRow]]:
    """The month that is reported, by its first day, and its calls."""
    if day is not None:
        try:
            noon = datetime.combine(date.fromisoformat(day), datetime.min.time(), UTC).replace(hour=12)
        except ValueError:
            raise UnreadableBooksError(f"--on `{day}` is not a day such as 2026-10-20") from None
        rows = [replace(row, at=noon) for row in rows]
    if not rows:
        raise UnreadableBooksError("there is no call in the books")
    first = max(row.day for row in rows).date().replace(day=1)
    if month is not None:
        found = _MONTH.fullmatch(month)
        if found is None:
            raise UnreadableBooksError(f"--month `{month}` is not a month such as 2026-10")
        first = date(int(found[1]), int(found[2]), 1)
    return first, [row for row in rows if row.day.date().replace(day=1) == first]


def _write(folder: Path, month: date, rows: list[BookRow]) -> None:
    since = datetime(month.year, month.month, 1, tzinfo=UTC)
    until = datetime(month.year + month.month // 12, month.month % 12 + 1, 1, tzinfo=UTC)
    reports: dict[str, list[dict[str, Any]]] = {
        "usage": openai_usage(rows, since, until, ["project_id", "api_key_id", "model", "service_tier"]),
        "costs": openai_costs(rows, since, until, ["project_id", "api_key_id", "line_item"]),
    }
    for name, buckets in reports.items():
        page = {"object": "page", "data": buckets, "has_more": False, "next_page": None}
        (folder / f"{name}.json").write_bytes(exact_json(page))


if __name__ == "__main__":
    sys.exit(main())
