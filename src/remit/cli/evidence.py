"""`remit ledger evidence`: a vendor's statement settles what is in suspense."""

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from remit.cli.codes import EXIT_DIFFERENCES, EXIT_OK
from remit.cli.options import Actor, By, Json, Where

if TYPE_CHECKING:
    from remit.bootstrap import Authority
    from remit.cli.statement import Judged, Span

_AT_ONCE = 200


def evidence(
    file: Annotated[Path, Parameter(help="The statement as CSV with a header; see `docs/reference/cli.md`.")],
    /,
    *,
    on_difference: Annotated[
        Literal["leave", "priced", "stated"],
        Parameter(
            help="Where the vendor's amount is not what its usage costs by the price book: leave the call in suspense "
            "(the default), book the price of its usage, or book the vendor's amount."
        ),
    ] = "leave",
    complete_from: Annotated[
        str | None,
        Parameter(
            help="With --complete-until: the statement has every call that was charged and begun in this span, so a call in "
            "suspense that it does not have is settled at nothing. Date (UTC) or instant."
        ),
    ] = None,
    complete_until: Annotated[str | None, Parameter(help="End of that span, itself outside.")] = None,
    vendor: Annotated[
        str | None, Parameter(help="Whose statement it is, where calls of several are in suspense.")
    ] = None,
    dry_run: Annotated[bool, Parameter(help="Compare only and change nothing.")] = False,
    json: Json = False,
    actor: Actor = None,
    reason: Annotated[str | None, Parameter(help="Why; recorded in the note of every correction.")] = None,
    where: Where | None = None,
) -> int:
    """Settle calls in suspense by a vendor's statement.

    A row belongs to a call by its column idempotency_key: the gateway sent the id of the hold there. Where the row states
    usage, it is priced by the price book and compared with the amount stated. Every difference is reported and makes the
    exit code 1. Applying a statement again changes nothing.
    """
    from remit.bootstrap import make_price_book
    from remit.cli.output import print_json
    from remit.cli.session import open_authority
    from remit.cli.statement import judge_absent, judge_rows, read_statement

    rows = read_statement(file)
    span = _span(complete_from, complete_until, vendor)
    authority = open_authority(where)
    prices = make_price_book(authority.settings)
    who = By(actor=actor).who().name
    note = f"{reason or 'by a vendor statement'} (from {file.name} by {who})"
    waiting = {row["hold_id"]: row for row in authority.ledger.unresolved_suspense()}
    judged = judge_rows(rows, waiting, prices, on_difference, note)
    if span is not None:
        judged += judge_absent(rows, waiting, span, note)
    applied = Counter[str]() if dry_run else _apply(authority, judged, who, note)
    summary = _summary(rows, judged, waiting, applied)
    if json:
        print_json(summary)
    else:
        _print_summary(summary, dry_run=dry_run)
    return EXIT_DIFFERENCES if summary["differences"] else EXIT_OK


def _span(begin: str | None, end: str | None, vendor: str | None) -> "Span | None":
    from remit.cli.codes import CommandError
    from remit.cli.statement import Span
    from remit.cli.values import parse_moment

    if begin is None and end is None:
        if vendor is not None:
            raise CommandError("--vendor goes with --complete-from and --complete-until")
        return None
    if begin is None or end is None:
        raise CommandError("--complete-from and --complete-until go together")
    span = Span(parse_moment(begin, "--complete-from"), parse_moment(end, "--complete-until"), vendor)
    if span.begin >= span.end:
        raise CommandError(f"--complete-from `{begin}` is not before --complete-until `{end}`")
    return span


def _apply(authority: "Authority", judged: "list[Judged]", by: str, note: str) -> Counter[str]:
    from remit.cli.output import progress

    bodies = [one.evidence for one in judged if one.evidence is not None]
    batches = [bodies[start : start + _AT_ONCE] for start in range(0, len(bodies), _AT_ONCE)]
    answers: Counter[str] = Counter()
    for batch in progress(batches, "applying evidence"):
        answers.update(authority.care.apply_evidence(batch, by=by, reason=note))
    return answers


def _summary(rows: list[Any], judged: "list[Judged]", waiting: dict[str, Any], applied: Counter[str]) -> dict[str, Any]:
    settled = {one.hold_id: one for one in judged if one.evidence is not None}
    return {
        "rows": len(rows),
        "in_suspense_before": len(waiting),
        "matched": sum(one.line is not None for one in judged),
        "absent": sum(one.line is None for one in judged),
        "settled": applied["corrected"],
        "settled_before": applied["already_settled"],
        "still_open": applied["still_open"],
        "booked_before_nanousd": sum(waiting[hold_id]["amount_nanousd"] for hold_id in settled),
        "booked_now_nanousd": sum(one.evidence["usd"] for one in settled.values() if one.evidence is not None),
        "left_in_suspense": len(waiting) - len(settled),
        "differences": [
            {
                "hold_id": one.hold_id,
                "line": one.line,
                "detail": one.difference,
                "stated_nanousd": one.stated_nanousd,
                "priced_nanousd": one.priced_nanousd,
                "booked": one.evidence is not None,
            }
            for one in judged
            if one.difference is not None
        ],
    }


def _print_summary(summary: dict[str, Any], *, dry_run: bool) -> None:
    from remit.kernel.money import format_usd

    for one in summary["differences"]:
        left = "" if one["booked"] else "; left in suspense"
        print(f"line {one['line']}, {one['hold_id']}: {one['detail']}{left}")
    before, now = format_usd(summary["booked_before_nanousd"]), format_usd(summary["booked_now_nanousd"])
    print(f"{summary['rows']:,} rows, {summary['matched']:,} of them for {summary['in_suspense_before']:,} in suspense")
    if summary["absent"]:
        print(f"{summary['absent']:,} in suspense are not in it, so they were not charged")
    if dry_run:
        print(f"would book {now} where {before} is booked now")
    else:
        print(f"{summary['settled']:,} settled: {now} booked where {before} was")
    print(f"{summary['left_in_suspense']:,} left in suspense, {len(summary['differences']):,} differences")
