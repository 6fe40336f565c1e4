"""`remit ledger report`, `tail` and `suspense`."""

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from remit.cli.codes import EXIT_OK, CommandError
from remit.cli.options import Json, Where
from remit.cli.values import parse_moment, parse_names
from remit.kernel.money import divide_half_even
from remit.ledger.model import REPORT_DIMENSIONS, REPORT_SUMS

if TYPE_CHECKING:
    from remit.ledger.model import Report
    from remit.store.postgres_ledger import PostgresLedger

_POLL_SECONDS = 0.5
_AT_ONCE = 1000
# Entries get their number before their transaction is seen, so one may turn up behind another with a higher number.
_OVERLAP = 500
_MAX_TAIL = 100_000


def report(
    *,
    by: Annotated[
        tuple[str, ...],
        Parameter(help=f"What to group by, joined by commas: {', '.join(REPORT_DIMENSIONS)}, or the name of a tag."),
    ] = ("team",),
    since: Annotated[str | None, Parameter(help="Calls begun from here on: date (UTC) or instant.")] = None,
    until: Annotated[str | None, Parameter(help="Calls begun before this: date (UTC) or instant.")] = None,
    only: Annotated[
        tuple[str, ...],
        Parameter(
            help="Only charges with this value, as NAME=VALUE of a dimension or tag; NAME= for those without. Repeat it for"
            " several; values of one name are alternatives."
        ),
    ] = (),
    format_: Annotated[
        Literal["table", "csv", "json"] | None,
        Parameter(name="--format", help="How to print it; a table if left out."),
    ] = None,
    json: Annotated[bool, Parameter(name="--json", help="The same as --format json.")] = False,
    where: Where | None = None,
) -> int:
    """Sum charges by team, feature, experiment, environment, class, model and more, largest first.

    A report whose total is not the ledger's is never shown. `suspense` is the part of the amount that is an upper bound
    and not a fact yet, `booked` the part that is no call's cost: a vendor's adjustments and transfers. Amounts in CSV and JSON are exact.
    """
    from remit.cli.output import print_csv, print_json, remark
    from remit.cli.session import open_authority
    from remit.ledger.cells import text_cell
    from remit.ledger.service import conditions, remarks_on, spend_report

    names = parse_names(by)
    if not names:
        raise CommandError("--by names nothing to group by")
    if json and format_ not in (None, "json"):
        raise CommandError(f"--json and --format {format_} are two formats; give one")
    begin = None if since is None else parse_moment(since, "--since")
    end = None if until is None else parse_moment(until, "--until")
    if begin is not None and end is not None and begin >= end:
        raise CommandError(f"--since `{since}` is not before --until `{until}`")
    ledger, restricted = open_authority(where).ledger, conditions(only)
    found = spend_report(ledger, names, begin, end, restricted)
    for line in remarks_on(ledger, (*names, *restricted)):
        remark(line)
    if json or format_ == "json":
        print_json(_report_json(found))
    elif format_ == "csv":
        header = [*names, *REPORT_SUMS, "amount_usd"]
        print_csv(header, ([*map(text_cell, row.group), *_numbers(row)] for row in found.rows))
    else:
        _print_report(found)
    return EXIT_OK


def share_text(amount: int, total: int) -> str:
    """Percent of the total, rounded; what is there is never shown as nothing, and not all never as all."""
    if total <= 0:
        return ""
    percent = divide_half_even(amount * 100, total)
    if percent == 0 and amount > 0:
        return "<1%"
    return ">99%" if percent == 100 and amount < total else f"{percent}%"


def tail(
    *,
    count: Annotated[
        int, Parameter(name=["--count", "-n"], help="How many of the newest entries; 20 if left out.")
    ] = 20,
    follow: Annotated[
        bool, Parameter(name=["--follow", "-f"], help="Keep printing entries as they are written.")
    ] = False,
    json: Annotated[bool, Parameter(name="--json", help="Print each entry in full, one JSON object a line.")] = False,
    where: Where | None = None,
) -> int:
    """Print the newest entries, oldest first."""
    from remit.cli.output import console, print_json_line, remark, with_instants
    from remit.cli.session import open_authority

    if not 0 <= count <= _MAX_TAIL:
        raise CommandError(f"--count is a number from 0 to {_MAX_TAIL:,}")
    ledger = open_authority(where).ledger
    if count == 0 and not follow:
        remark("no entry was asked for: `-n 0` is for use with --follow")
    out = console()
    for entry in _entries(ledger, count, follow=follow):
        if json:
            print_json_line(with_instants(entry))
        else:
            out.print(_entry_line(entry))
    return EXIT_OK


def suspense(*, json: Json = False, where: Where | None = None) -> int:
    """List calls booked at their ceiling because what they cost is not known; a vendor's statement settles them."""
    from remit.cli.output import moment_text, print_json, print_table, remark, table
    from remit.cli.session import open_authority
    from remit.kernel.money import format_usd

    rows = open_authority(where).ledger.unresolved_suspense()
    if json:
        print_json(rows)
        return EXIT_OK
    if not rows:
        print("nothing is in suspense")
        return EXIT_OK
    shown = table("hold", "vendor", "model", "begun", "booked at", right=["booked at"])
    for row in rows:
        amount = format_usd(row["amount_nanousd"])
        shown.add_row(row["hold_id"], row["vendor"], row["model_requested"], moment_text(row["held_at"]), amount)
    print_table(shown)
    total = format_usd(sum(row["amount_nanousd"] for row in rows))
    remark(f"{len(rows):,} in suspense, {total} at most; `remit ledger evidence FILE` settles them")
    return EXIT_OK


def _entries(ledger: "PostgresLedger", count: int, *, follow: bool) -> Iterator[dict[str, Any]]:
    newest = ledger.tail(max(count, 1), None)
    yield from newest[len(newest) - min(count, len(newest)) :]
    if not follow:
        return
    last = newest[-1]["seq"] if newest else 0
    # What was there before is not news, shown or not.
    seen = {entry["seq"] for entry in ledger.tail(_OVERLAP, max(last - _OVERLAP, 0))} if newest else set()
    while True:
        fresh = ledger.tail(_AT_ONCE + _OVERLAP, max(last - _OVERLAP, 0))
        for entry in fresh:
            if entry["seq"] not in seen:
                yield entry
        last = max([last, *(entry["seq"] for entry in fresh)])
        seen = {seq for seq in seen | {entry["seq"] for entry in fresh} if seq > last - _OVERLAP}
        if len(fresh) < _AT_ONCE + _OVERLAP:
            time.sleep(_POLL_SECONDS)


def _entry_line(entry: dict[str, Any]) -> str:
    from remit.kernel.money import format_usd

    model = entry["model_served"] or entry["model_requested"]
    tags = " ".join(f"{name}={value}" for name, value in sorted(entry["tags"].items()))
    amount = format_usd(entry["amount_nanousd"])
    if entry["settlement"] is not None:
        model = f"{entry['debt_period']} debt"
    words = [entry["held_at"][:19].replace("T", " ") + "Z", f"{entry['kind']:<10}", f"{amount:>14}"]
    return "  ".join([*words, entry["grant_path"], model, f"{entry['tokens']:,} tokens", tags]).rstrip()


def _numbers(row: Any) -> list[Any]:
    from remit.kernel.money import format_usd

    usd = format_usd(row.amount_nanousd).replace("$", "").replace(",", "")
    return [*(getattr(row, name) for name in REPORT_SUMS), usd]


def _report_json(report: "Report") -> dict[str, Any]:
    def body(row: Any) -> dict[str, Any]:
        return {name: getattr(row, name) for name in REPORT_SUMS}

    return {
        "by": report.by,
        "since": report.since,
        "until": report.until,
        "rows": [{"group": dict(zip(report.by, row.group, strict=True)), **body(row)} for row in report.rows],
        "total": body(report.total),
    }


def _print_report(report: "Report") -> None:
    from remit.cli.output import print_table, table
    from remit.kernel.money import format_usd

    is_booked = any(row.booked_nanousd for row in (*report.rows, report.total))
    numbers = ("requests", "tokens", "amount", "suspense", *(("booked",) if is_booked else ()), "share")
    shown = table(*report.by, *numbers, right=numbers)

    def add(names: list[str], row: Any, style: str | None = None) -> None:
        total = report.total.amount_nanousd
        share = share_text(row.amount_nanousd, total)
        waiting = format_usd(row.suspense_nanousd) if row.suspense_nanousd else ""
        amount = format_usd(row.amount_nanousd)
        booked = [format_usd(row.booked_nanousd)] if is_booked else []
        shown.add_row(*names, f"{row.requests:,}", f"{row.tokens:,}", amount, waiting, *booked, share, style=style)

    for row in report.rows:
        add(["-" if value is None else value for value in row.group], row)
    add(["total", *("" for _ in report.by[1:])], report.total, "bold")
    print_table(shown)
