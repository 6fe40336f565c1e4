"""`remit reconcile match`, `findings`, `list` and `post`."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from remit.cli.bills import Bills
from remit.cli.codes import EXIT_DIFFERENCES, EXIT_OK, CommandError
from remit.cli.options import By, Json, Where

if TYPE_CHECKING:
    from datetime import date

    from remit.api.reconciling import Reconciling
    from remit.grants.service import Authorship
    from remit.reconcile.comparison import Drift, Reconciliation

MonthOption = Annotated[str, Parameter(help="Month of UTC, such as 2026-10.")]


def month_given(text: str) -> "date":
    """The first day of a month that was given as an option."""
    from remit.ledger.months import month_of

    try:
        return month_of(text)
    except ValueError as error:
        raise CommandError(f"--month: {error}") from None


def match(
    *,
    month: MonthOption,
    vendor: Annotated[str, Parameter(help="Vendor, as the ledger calls it.")],
    accept: Annotated[
        tuple[str, ...],
        Parameter(
            help="Book findings of this cause too, which somebody has looked into, such as shadow_use; repeatable."
        ),
    ] = (),
    statement: Annotated[
        tuple[str, ...], Parameter(help="Compare with this statement only; repeatable. All there are if left out.")
    ] = (),
    resolve: Annotated[
        bool, Parameter(help="First book what statements say that calls in suspense cost, where they say it.")
    ] = False,
    bills: Bills | None = None,
    json: Json = False,
    by: By | None = None,
    where: Where | None = None,
) -> int:
    """Compare the ledger with a vendor's statements and bills for a month, and keep what is found.

    What was billed is then the ledger and all findings, to the nano-dollar. Nothing is booked; `remit reconcile post` asks for that.
    """
    from remit.cli.output import print_json, refused
    from remit.cli.session import open_authority
    from remit.grants.model import Problem
    from remit.reconcile.comparison import stays_unexplained

    authority = open_authority(where)
    reconciling, said, first_day = authority.reconciling(), _author(by), month_given(month)
    stated = (bills or Bills()).of(vendor)
    corrected = 0
    found = reconciling.compared(first_day, vendor, stated, statement, accept)
    if isinstance(found, Problem):
        return refused([found], json=json)
    waiting = found.resolutions
    if resolve:
        corrected = reconciling.resolve(waiting, said)
    kept = reconciling.match(first_day, vendor, stated, statement, said, accept)
    if isinstance(kept, Problem):
        return refused([kept], json=json)
    drift = reconciling.books.drift(kept.id)
    if json:
        print_json({"reconciliation": kept, "findings": drift, "resolvable": len(waiting), "resolved": corrected})
    else:
        _print(kept, drift)
        _print_suspense(len(waiting), corrected)
    return EXIT_DIFFERENCES if stays_unexplained(kept.unexplained_nanousd, drift) else EXIT_OK


def findings(
    reconciliation: Annotated[str, Parameter(help="Id of a comparison.")],
    /,
    *,
    json: Json = False,
    where: Where | None = None,
) -> int:
    """Show what a comparison found: each difference with its cause, what it is about and the numbers it was decided on."""
    from remit.cli.output import print_json
    from remit.cli.session import open_authority

    books = open_authority(where).reconciling().books
    found = _known(books.find(reconciliation), reconciliation)
    drift = books.drift(found.id)
    if json:
        print_json({"reconciliation": found, "findings": drift})
        return EXIT_OK
    _print(found, drift)
    for one in drift:
        said = ", ".join(f"{name} {_value(value)}" for name, value in one.evidence.items() if value not in ({}, 0, ""))
        print(f"  {one.cause}: {said}")
    for told in found.feedback:
        print(f"  {_feedback(told)}")
    return EXIT_OK


def listed(
    *,
    month: Annotated[str | None, Parameter(help="Only of this month.")] = None,
    vendor: Annotated[str | None, Parameter(help="Only of this vendor.")] = None,
    json: Json = False,
    where: Where | None = None,
) -> int:
    """List comparisons, the newest first, and what became of what they propose."""
    from remit.cli.output import moment_text, print_json, print_table, table
    from remit.cli.session import open_authority
    from remit.kernel.money import format_usd
    from remit.ledger.months import month_text

    first_day = None if month is None else month_given(month)
    found = open_authority(where).reconciling().books.listed(first_day, vendor)
    if json:
        print_json(found)
        return EXIT_OK
    if not found:
        print("nothing was compared yet")
        return EXIT_OK
    shown = table("id", "month", "vendor", "made", "findings", "proposed", "unexplained", "booked", right=["proposed"])
    for one in found:
        booked = "" if one.posted_at is None else moment_text(one.posted_at)
        booked = booked or ("outdated" if one.withdrawn else "")
        amounts = (format_usd(one.proposed_nanousd), format_usd(one.unexplained_nanousd))
        made = moment_text(one.made_at)
        shown.add_row(one.id, month_text(one.month), one.vendor, made, f"{one.findings:,}", *amounts, booked)
    print_table(shown)
    return EXIT_OK


def post(
    reconciliation: Annotated[str, Parameter(help="Id of a comparison.")],
    /,
    *,
    json: Json = False,
    by: By | None = None,
    where: Where | None = None,
) -> int:
    """Ask to book what a comparison proposes: a ticket that somebody else of finance decides.

    What `reconcile.auto_post_usd` allows is booked at once.
    """
    from remit.cli.output import print_json, refused
    from remit.cli.session import open_authority
    from remit.cli.ticket_page import opening, write_ticket
    from remit.grants.model import Problem

    authority = open_authority(where)
    reconciling = authority.reconciling()
    found = _known(reconciling.books.find(reconciliation), reconciliation)
    if reconciling.books_itself(found):
        posted = reconciling.post_itself(found)
        if isinstance(posted, Problem):
            return refused([posted], json=json)
        if json:
            print_json({"posted": list(posted)})
        else:
            print(f"{len(posted):,} entries were booked without a ticket, as `reconcile.auto_post_usd` allows")
        return EXIT_OK
    act = opening(lambda tree: reconciling.asked_to_post(tree, found, "command"))
    return write_ticket(authority, by, "reconcile post", {"reconciliation": found.id}, act, json=json)


def _value(value: Any) -> str:
    """A number of the evidence, or those of a group of them, such as of each meter."""
    if isinstance(value, Mapping):
        return f"({', '.join(f'{name} {_value(one)}' for name, one in value.items())})"
    return str(value)


def _feedback(told: Mapping[str, Any]) -> str:
    """What the price book or the ceilings should learn, as a sentence."""
    from remit.kernel.money import format_usd

    whose = f"{told['vendor']} {told['model'] or 'whatever model'}"
    if told["what"] == "ceiling":
        amount = format_usd(told["amount_nanousd"])
        return f"ceiling: {whose} cost {amount} more than its ceilings in {told['requests']:,} calls ({told['cause']})"
    ours, theirs = told["ours_nanousd_per_million"], format_usd(told["theirs_nanousd_per_million"])
    booked = "has none" if ours is None else f"has {format_usd(ours)}"
    return f"price: {whose} {told['meter']} is {theirs} a million since {told['since']}, and the price book {booked}"


def _author(by: By | None) -> "Authorship":
    from remit.grants.service import authorship_problems

    said = (by or By()).authorship("remit reconcile")
    for problem in authorship_problems(said):
        raise CommandError(problem.detail)
    return said


def _known(found: "Reconciliation | None", asked: str) -> "Reconciliation":
    if found is None:
        raise CommandError(f"there is no comparison `{asked}`")
    return found


def _print(kept: "Reconciliation", drift: "list[Drift]") -> None:
    from remit.cli.output import print_table, table
    from remit.kernel.money import format_usd
    from remit.ledger.months import month_text

    missing = "no bill yet" if kept.statements else "no bill"
    billed = missing if kept.billed_nanousd is None else f"billed {format_usd(kept.billed_nanousd)}"
    if kept.withdrawn:
        print(f"withdrawn since: {', '.join(kept.withdrawn)}; it does not hold any more, compare again")
    print(f"{kept.id}: {kept.vendor} {month_text(kept.month)}, ledger {format_usd(kept.ledger_nanousd)}, {billed}")
    if drift:
        shown = table("cause", "about", "days", "amount", "what follows", right=["amount"])
        for one in sorted(drift, key=lambda each: -abs(each.amount_nanousd)):
            about = " ".join(f"{name}={value}" for name, value in one.about.items())
            days = f"{one.first_day}" if one.first_day == one.last_day else f"{one.first_day} to {one.last_day}"
            shown.add_row(one.cause, about, days, format_usd(one.amount_nanousd), f"{one.outcome}, {one.confidence}")
        print_table(shown)
    proposed = f"{format_usd(kept.proposed_nanousd)} in {kept.entries:,} entries proposed"
    left = f"{format_usd(kept.unexplained_nanousd)} unexplained"
    print(f"{len(drift):,} findings, {format_usd(kept.found_nanousd)} in all; {proposed}; {left}")


def _print_suspense(waiting: int, corrected: int) -> None:
    from remit.cli.output import remark

    if corrected:
        print(f"{corrected:,} calls in suspense were settled by what the statements say")
    elif waiting:
        remark(f"the statements say what {waiting:,} calls in suspense cost; `--resolve` books it")


def reconciling_of(where: Where | None) -> "Reconciling":
    """What compares and closes, over the database that is set."""
    from remit.cli.session import open_authority

    return open_authority(where).reconciling()
