"""`remit ledger total`, `forecast`, `units`, `coverage` and `budget`."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from remit.cli.codes import EXIT_OK, CommandError
from remit.cli.options import Json, Where
from remit.cli.values import parse_moment, parse_names
from remit.kernel.money import divide_half_even, format_usd
from remit.ledger.model import REPORT_DIMENSIONS, TIMES

if TYPE_CHECKING:
    from remit.bootstrap import Authority
    from remit.grants.model import Grant
    from remit.grants.tree import Tree
    from remit.reports.budget import BudgetLine
    from remit.reports.total import Total

_DIMENSIONS = ", ".join(REPORT_DIMENSIONS)
By = Annotated[
    tuple[str, ...], Parameter(help=f"What to group by, joined by commas: {_DIMENSIONS}, or the name of a tag.")
]
Since = Annotated[str | None, Parameter(help="Calls begun from here on: date (UTC) or instant.")]
Until = Annotated[str | None, Parameter(help="Calls begun before this: date (UTC) or instant.")]
Only = Annotated[tuple[str, ...], Parameter(help="Only charges with this value, as NAME=VALUE of a dimension or tag.")]


def total(
    *,
    month: Annotated[bool, Parameter(help="This month of UTC.")] = False,
    quarter: Annotated[bool, Parameter(help="This quarter of UTC; also if nothing else is said.")] = False,
    year: Annotated[bool, Parameter(help="This year of UTC.")] = False,
    since: Since = None,
    until: Until = None,
    json: Json = False,
    where: Where | None = None,
) -> int:
    """Say how much is charged in all, by class and vendor, beside the span before.

    `suspense` is the part that is an upper bound and not a fact yet, `booked` the part that is no call's cost.
    """
    from remit.cli.output import print_json
    from remit.cli.session import open_authority
    from remit.reports.total import InvalidSpanError, calendar_span, span_of, total_of

    if month + quarter + year + (since is not None or until is not None) > 1:
        raise CommandError("give one of --month, --quarter, --year, or --since with --until")
    authority = open_authority(where)
    now = authority.clock.now()
    if since is None and until is None:
        span = calendar_span("month" if month else "year" if year else "quarter", now)
    else:
        if since is None:
            raise CommandError("--until needs --since")
        try:
            span = span_of(parse_moment(since, "--since"), now if until is None else parse_moment(until, "--until"))
        except InvalidSpanError as error:
            raise CommandError(f"--since and --until: {error}") from None
    found = total_of(authority.ledger, span, now)
    if json:
        print_json(found)
        return EXIT_OK
    _print_total(found)
    return EXIT_OK


def forecast(*, by: By = (), only: Only = (), json: Json = False, where: Where | None = None) -> int:
    """Say what this month comes to: so far, expected at its end, and the ends of a band that holds nine months in ten.

    Days cost what their weekday cost in the eight weeks before; with less than 14 days known nothing is forecast.
    """
    from remit.cli.output import print_json, print_table, remark, table
    from remit.cli.session import open_authority
    from remit.ledger.service import conditions, remarks_on
    from remit.reports.forecast import BAND_PERCENT, MIN_DAYS, Forecast, forecasts_of

    names = _no_times(parse_names(by))
    authority, restricted = open_authority(where), conditions(only)
    rows, whole = forecasts_of(authority.ledger, names, authority.clock.now(), restricted)
    for line in remarks_on(authority.ledger, (*names, *restricted)):
        remark(line)
    if json:
        print_json({"by": names, "band_percent": BAND_PERCENT, "rows": _groups(names, rows) if names else [],
                    "total": asdict(whole)})  # fmt: skip
        return EXIT_OK
    numbers = ("so far", "expected", "from", "to", "days known")
    shown = table(*names, *numbers, right=numbers)

    def add(words: Sequence[str], one: Forecast, style: str | None = None) -> None:
        amounts = (one.to_date_nanousd, one.expected_nanousd, one.low_nanousd, one.high_nanousd)
        shown.add_row(*words, *map(_usd, amounts), str(one.days), style=style)

    if names:
        for one in rows:
            add(_words(one.group), one)
    add(["total", *("" for _ in names[1:])] if names else [], whole, "bold")
    print_table(shown)
    if whole.expected_nanousd is None:
        remark(f"{whole.days} days are known; a forecast takes {MIN_DAYS}")
    return EXIT_OK


def units(
    *,
    by: By = ("model",),
    since: Since = None,
    until: Until = None,
    only: Only = (),
    json: Json = False,
    where: Where | None = None,
) -> int:
    """Say what a unit costs, by any dimension or tag: a request, a thousand tokens; and shares of caches and retries.

    What has nothing to be divided by is left empty, and is null in JSON.
    """
    from remit.cli.output import print_json, print_table, remark, table
    from remit.cli.session import open_authority
    from remit.ledger.service import conditions, remarks_on
    from remit.reports.units import UnitCosts, units_of

    names = parse_names(by)
    if not names:
        raise CommandError("--by names nothing to group by")
    begin, end = _span(since, until)
    ledger, restricted = open_authority(where).ledger, conditions(only)
    rows, whole = units_of(ledger, names, begin, end, restricted)
    for line in remarks_on(ledger, (*names, *restricted)):
        remark(line)
    if json:
        print_json({"by": names, "since": begin, "until": end, "rows": _groups(names, rows), "total": asdict(whole)})
        return EXIT_OK
    numbers = ("requests", "per request", "per 1k tokens", "cache hits", "retries", "output/input")
    shown = table(*names, *numbers, right=numbers)

    def add(words: Sequence[str], one: UnitCosts, style: str | None = None) -> None:
        costs = (_usd(one.per_request_nanousd), _usd(one.per_1k_tokens_nanousd))
        shares = (_percent(one.cache_hit_ppm), _percent(one.retry_ppm), _percent(one.output_per_input_ppm))
        shown.add_row(*words, f"{one.requests:,}", *costs, *shares, style=style)

    for one in rows:
        add(_words(one.group), one)
    add(["total", *("" for _ in names[1:])], whole, "bold")
    print_table(shown)
    return EXIT_OK


def coverage(
    *,
    tags: Annotated[
        tuple[str, ...],
        Parameter(help="The tags that charges should have, joined by commas; team and feature if left out."),
    ] = ("team", "feature"),
    since: Since = None,
    until: Until = None,
    json: Json = False,
    where: Where | None = None,
) -> int:
    """Say how much carries the tags it should, how much does not, and whose it is."""
    from remit.cli.output import print_json, print_table, remark, table
    from remit.cli.session import open_authority
    from remit.ledger.service import remarks_on
    from remit.reports.coverage import coverage_of

    names = parse_names(tags)
    if not names:
        raise CommandError("--tags names no tag")
    begin, end = _span(since, until)
    ledger = open_authority(where).ledger
    found = coverage_of(ledger, names, begin, end)
    for line in remarks_on(ledger, names):
        remark(line)
    if json:
        print_json(found)
        return EXIT_OK
    shown = table("tag", "with it", "of", "share", right=("with it", "of", "share"))
    for one in found.by_tag:
        shown.add_row(one.tag, _usd(one.with_nanousd), _usd(found.charged_nanousd), _percent(one.share_ppm))
    print_table(shown)
    if found.missing:
        print()
        shown = table("grant", "owner", "without", "requests", "amount", right=("requests", "amount"))
        for lost in found.missing:
            words = (lost.grant or "-", lost.owner or "-", ", ".join(lost.tags))
            shown.add_row(*words, f"{lost.requests:,}", _usd(lost.amount_nanousd))
        print_table(shown)
    share = _percent(found.unattributed_ppm)
    remark(f"{_usd(found.unattributed_nanousd)} unattributed{f', {share}' if share else ''}")
    return EXIT_OK


def budget(
    path: Annotated[str | None, Parameter(help="Only this grant and what is below it, by id or path.")] = None,
    /,
    *,
    json: Json = False,
    where: Where | None = None,
) -> int:
    """Set limits in money against what was spent of them, and against what is forecast for the end of their period."""
    from remit.cli.output import print_json, print_table, table
    from remit.cli.session import open_authority

    lines = budget_lines(open_authority(where), path)
    if json:
        print_json({"lines": lines})
        return EXIT_OK
    if not lines:
        print("no limits in money")
        return EXIT_OK
    numbers = ("limit", "spent", "used", "expected", "from", "to")
    shown = table("grant", "per", *numbers, "", right=numbers)
    for one in lines:
        amounts = map(_usd, (one.expected_nanousd, one.low_nanousd, one.high_nanousd))
        spent = (_usd(one.limit_nanousd), _usd(one.posted_nanousd), _percent(one.used_ppm))
        shown.add_row(one.path, one.period, *spent, *amounts, VERDICTS[one.verdict])
    print_table(shown)
    return EXIT_OK


VERDICTS = {
    "spent": "spent",
    "will_exceed": "will reach its limit",
    "may_exceed": "may reach its limit",
    "fits": "fits",
    "unknown": "no forecast",
}


def budget_lines(authority: "Authority", ref: str | None) -> "list[BudgetLine]":
    """Lines of a grant and what is below it, or of all; those that were revoked are left out. Raises CommandError."""
    from remit.cli.grant_look import find_grant
    from remit.grants.tree import Tree

    with authority.repository.read() as reads:
        tree = Tree(reads.load_tree())
    top = None if ref is None else find_grant(tree, ref)
    return lines_of(authority, living(tree, top))


def living(tree: "Tree", top: "Grant | None") -> "list[Grant]":
    """Grants from one on down, or all, that are not revoked."""
    return [
        one
        for one in tree
        if one.status != "revoked" and (top is None or one.id == top.id or one.path.startswith(f"{top.path}/"))
    ]


def lines_of(authority: "Authority", grants: "Sequence[Grant]") -> "list[BudgetLine]":
    """Budget lines of these grants now."""
    from remit.reports.budget import Used, budget_of

    used = {
        (one.node_id, one.period_kind, one.period_start): Used(one.posted, one.held)
        for one in authority.ledger.buckets([grant.id for grant in grants])
        if one.dimension == "usd"
    }
    return budget_of(authority.ledger, grants, used, authority.clock.now())


def _span(since: str | None, until: str | None) -> tuple[datetime | None, datetime | None]:
    begin = None if since is None else parse_moment(since, "--since")
    end = None if until is None else parse_moment(until, "--until")
    if begin is not None and end is not None and begin >= end:
        raise CommandError(f"--since `{since}` is not before --until `{until}`")
    return begin, end


def _no_times(names: tuple[str, ...]) -> tuple[str, ...]:
    for name in names:
        if name in TIMES:
            raise CommandError(f"--by `{name}` is a time, and a forecast is of one month")
    return names


def _groups(names: Sequence[str], rows: Sequence[Any]) -> list[dict[str, Any]]:
    return [{**asdict(row), "group": dict(zip(names, row.group, strict=True))} for row in rows]


def _words(group: Sequence[str | None]) -> list[str]:
    return ["-" if value is None else value for value in group]


def _usd(amount: int | None) -> str:
    return "" if amount is None else format_usd(amount)


def _percent(ppm: int | None) -> str:
    """Percent with one decimal; what is there is never shown as nothing."""
    if ppm is None:
        return ""
    tenths = divide_half_even(ppm, 1000)
    return "<0.1%" if tenths == 0 and ppm > 0 else f"{tenths // 10}.{tenths % 10}%"


def _print_total(found: "Total") -> None:
    from remit.cli.output import print_table, table

    numbers = ("amount", "suspense", "booked", "requests")
    shown = table("", "", *numbers, right=numbers)
    days = f"{found.span.since:%Y-%m-%d} to {found.span.until:%Y-%m-%d}"
    rows = [("total", days, found.sums), *(("class", row.group[0] or "-", row) for row in found.by_class),
            *(("vendor", row.group[0] or "-", row) for row in found.by_vendor)]  # fmt: skip
    for kind, name, row in rows:
        amounts = (row.amount_nanousd, row.suspense_nanousd, row.booked_nanousd)
        shown.add_row(kind, name, *map(_usd, amounts), f"{row.requests:,}", style="bold" if kind == "total" else None)
    print_table(shown)
    before = found.previous
    print(f"\n{before.since:%Y-%m-%d} to {before.until:%Y-%m-%d}: {_usd(found.previous_nanousd)}")
    if found.previous_to_date is not None:
        print(f"of it until {found.previous_to_date.until:%Y-%m-%d}: {_usd(found.previous_to_date_nanousd)}")
