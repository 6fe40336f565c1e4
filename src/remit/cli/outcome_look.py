"""`remit outcome list`, `report` and `compare`."""

from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter
from cyclopts.validators import Number

from remit.cli.codes import EXIT_OK, CommandError
from remit.cli.options import Json, Where
from remit.cli.values import parse_moment, parse_names

if TYPE_CHECKING:
    from datetime import datetime

    from remit.bootstrap import Authority
    from remit.outcomes.model import Arm, Comparison, Interval, Report, Row

Kind = Annotated[str | None, Parameter(help="Only outcomes of this kind.")]
SinceOption = Annotated[str | None, Parameter(help="From here on: date (UTC) or instant.")]
UntilOption = Annotated[str | None, Parameter(help="Before this: date (UTC) or instant.")]
Under = Annotated[str | None, Parameter(help="Only this grant, by path or id, and what is below it.")]


def list_(
    *,
    kind: Kind = None,
    subject: Annotated[str | None, Parameter(help="Only what is said about this subject.")] = None,
    source: Annotated[str | None, Parameter(help="Only what this system of record says.")] = None,
    since: SinceOption = None,
    until: UntilOption = None,
    under: Under = None,
    after: Annotated[int, Parameter(validator=Number(gte=0), help="Only those after this number. [0]")] = 0,
    count: Annotated[
        int, Parameter(name=["--count", "-n"], validator=Number(gte=1, lte=1000), help="At most so many. [100]")
    ] = 100,
    json: Json = False,
    where: Where | None = None,
) -> int:
    """List events as they were asserted, oldest first."""
    from remit.cli.output import moment_text, print_json, print_table, table
    from remit.cli.session import open_authority

    authority = open_authority(where)
    begin, end = _span(since, until)
    wanted = {"kind": kind, "subject": subject, "source": source, "since": begin, "until": end}
    nodes = _nodes(authority, under)
    rows = authority.outcomes.page(after, count, **wanted, nodes=None if nodes is None else list(nodes))
    if json:
        print_json({"events": [one for one, _ in rows]})
        return EXIT_OK
    if not rows:
        print("nobody asserted an outcome")
        return EXIT_OK
    shown = table("number", "occurred", "kind", "subject", "status", "grant", "source", "asserted by", right=["number"])
    for one, path in rows:
        event = one.event
        cells = (event.kind, event.subject, event.status, path, event.source, one.asserted_by)
        shown.add_row(str(one.seq), moment_text(event.occurred_at), *cells)
    print_table(shown)
    return EXIT_OK


def report(
    *,
    by: Annotated[
        tuple[str, ...],
        Parameter(
            help="What to group by, joined by commas: grant, model, another dimension of `remit ledger report`, or a tag."
        ),
    ] = ("grant",),
    kind: Kind = None,
    since: SinceOption = None,
    until: UntilOption = None,
    under: Under = None,
    json: Json = False,
    where: Where | None = None,
) -> int:
    """Show what outcomes cost, failed attempts included, and how much of the spend belongs to none.

    An outcome counts in the span in which it was decided; its attempts are looked for up to 31 days before. Every kind is held against
    the whole ledger of the span, and a report that does not sum to it is never shown.
    """
    from remit.cli.output import print_json
    from remit.cli.session import open_authority
    from remit.outcomes.model import Wanted
    from remit.outcomes.service import outcome_report

    names = parse_names(by)
    if not names:
        raise CommandError("--by names nothing to group by")
    authority = open_authority(where)
    begin, end = _span(since, until)
    wanted = Wanted(kind=kind, since=begin, until=end, nodes=_nodes(authority, under), by=names)
    found = outcome_report(authority.outcomes, wanted)
    if json:
        print_json(found)
    else:
        _print_report(found)
    return EXIT_OK


def compare(
    *,
    experiment: Annotated[
        tuple[str, ...], Parameter(help="One of the two; give it twice, the first to compare with first.")
    ],
    kind: Annotated[str, Parameter(help="The kind of outcome.")],
    by: Annotated[
        str, Parameter(help="What tells the two apart: a tag, or `grant`, `model`, ... [experiment]")
    ] = "experiment",
    since: SinceOption = None,
    until: UntilOption = None,
    under: Under = None,
    json: Json = False,
    where: Where | None = None,
) -> int:
    """Compare what a success costs in two experiments, with an interval; too few outcomes are said to be too few."""
    from remit.cli.output import print_json
    from remit.cli.session import open_authority
    from remit.outcomes.model import Wanted
    from remit.outcomes.service import outcome_comparison

    if len(experiment) != 2 or experiment[0] == experiment[1]:
        raise CommandError("--experiment is given twice, with two values")
    authority = open_authority(where)
    begin, end = _span(since, until)
    wanted = Wanted(kind=kind, since=begin, until=end, nodes=_nodes(authority, under), by=(by,))
    made = outcome_comparison(authority.outcomes, wanted, (experiment[0], experiment[1]))
    if json:
        print_json(made)
    else:
        _print_comparison(made)
    return EXIT_OK


def _span(since: str | None, until: str | None) -> "tuple[datetime | None, datetime | None]":
    begin = None if since is None else parse_moment(since, "--since")
    end = None if until is None else parse_moment(until, "--until")
    if begin is not None and end is not None and begin >= end:
        raise CommandError(f"--since `{since}` is not before --until `{until}`")
    return begin, end


def _nodes(authority: "Authority", under: str | None) -> tuple[str, ...] | None:
    if under is None:
        return None
    with authority.repository.read() as reads:
        grant = reads.find(under)
    if grant is None:
        raise CommandError(f"there is no grant `{under}`", code="grant_unknown", path=under)
    return (grant.id,)


def _usd(amount: int | None) -> str:
    from remit.kernel.money import format_usd

    return "unknown" if amount is None else format_usd(amount)


def _print_report(found: "Report") -> None:
    from remit.cli.output import print_table, table

    if not found.kinds:
        print(f"nobody asserted an outcome; {_usd(found.ledger_nanousd)} was spent")
    numbers = ("outcomes", "successes", "reversed", "attributed", "per success", "unattributed", "share", "suspense")
    for kind in found.kinds:
        print(kind.kind)
        shown = table(*found.by, *numbers, right=numbers)
        for row in kind.rows:
            shown.add_row(*("-" if value is None else value for value in row.group), *_cells(row))
        shown.add_row("total", *("" for _ in found.by[1:]), *_cells(kind.total), style="bold")
        print_table(shown)


def _cells(row: "Row") -> list[str]:
    from remit.cli.ledger_look import share_text

    counts = [f"{row.outcomes:,}", f"{row.successes:,}", f"{row.reversed:,}"]
    costs = [_usd(row.attributed_nanousd), _usd(row.cost_per_success_nanousd), _usd(row.unattributed_nanousd)]
    waiting = _usd(row.suspense_nanousd) if row.suspense_nanousd else ""
    return [*counts, *costs, share_text(row.unattributed_nanousd, row.total_nanousd), waiting]


def _interval(interval: "Interval | None") -> str:
    return "nothing bounds it" if interval is None else f"{_usd(interval.low)} to {_usd(interval.high)}"


def _arm_line(arm: "Arm") -> str:
    counts = f"{arm.successes:,} of {arm.outcomes:,} succeeded, {_usd(arm.cost_nanousd)} in all"
    return f"{arm.name}: {_usd(arm.cost_per_success_nanousd)} per success ({_interval(arm.interval)}); {counts}"


def _print_comparison(made: "Comparison") -> None:
    print(_arm_line(made.first))
    print(_arm_line(made.second))
    if made.in_both:
        print(f"{made.in_both:,} outcome{'' if made.in_both == 1 else 's'} with spend of both left out")
    words: dict[str, Any] = {
        "first_costs_less": f"a success costs less in {made.first.name}",
        "second_costs_less": f"a success costs less in {made.second.name}",
        "no_difference_shown": "no difference is shown: the interval holds zero",
        "too_few": f"too little to say: {made.why}",
    }
    if made.interval is not None:
        difference = f"{made.second.name} less {made.first.name}: {_usd(made.difference_nanousd)} per success"
        print(f"{difference}, {made.confidence_percent} % interval {_interval(made.interval)} ({made.method})")
    print(words[made.verdict])
