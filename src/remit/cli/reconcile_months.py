"""`remit reconcile months`, `close` and `reopen`."""

from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from remit.cli.codes import EXIT_OK, CommandError
from remit.cli.options import By, Json, Where
from remit.cli.reconcile_match import MonthOption, _author, month_given, reconciling_of

if TYPE_CHECKING:
    from remit.ledger.months import Waiver


def months(*, json: Json = False, where: Where | None = None) -> int:
    """List months: open or closed, by whom, and what was signed off."""
    from remit.cli.output import moment_text, print_json, print_table, table
    from remit.kernel.money import format_usd
    from remit.ledger.months import month_text

    found = reconciling_of(where).months.months()
    if json:
        print_json(found)
        return EXIT_OK
    if not found:
        print("nothing was charged yet")
        return EXIT_OK
    shown = table("month", "status", "charged", "by", "at", "why", right=["charged"])
    for one in found:
        charged = "" if one.totals is None else format_usd(one.totals["charged_nanousd"])
        changed = "" if one.changed_at is None else moment_text(one.changed_at)
        shown.add_row(month_text(one.month), one.status, charged, one.changed_by or "", changed, one.reason or "")
    print_table(shown)
    return EXIT_OK


def close(
    *,
    month: MonthOption,
    waive: Annotated[
        tuple[str, ...],
        Parameter(
            help="Close although something does not hold, as WHAT:VENDOR=WHY; WHAT is no_bill, difference or suspense."
            " Repeatable."
        ),
    ] = (),
    json: Json = False,
    by: By | None = None,
    where: Where | None = None,
) -> int:
    """Close a month: from then on nothing is booked in it any more.

    Refused while calls of it are under way or in suspense, a vendor's bill is missing, or what it billed is not what it is owed. Bills
    are those of the newest comparison of each vendor. What is waived takes two people: it is asked by a ticket that somebody else of
    finance decides, unless it comes to no more than `reconcile.waive_usd`.
    """
    from remit.api.reconciling import to_be_asked
    from remit.cli.output import print_json, refused
    from remit.cli.session import open_authority
    from remit.cli.ticket_page import opening, write_ticket
    from remit.grants.model import Problem
    from remit.kernel.money import format_usd
    from remit.ledger.months import Closed, month_text

    authority, waived, by = open_authority(where), [_waiver(one) for one in waive], by or By()
    reconciling = authority.reconciling()
    answer = reconciling.close(month_given(month), waived, _author(by))
    asks = to_be_asked(answer, waived)
    if asks is not None:
        act = opening(lambda tree: reconciling.asked_to_close(tree, asks, "command"))
        asked = {"month": month, "waived": list(waive)}
        return write_ticket(authority, by, "reconcile close", asked, act, json=json)
    if not isinstance(answer, Closed):
        assert isinstance(answer, Problem)
        return refused([answer], json=json)
    if json:
        print_json(answer)
        return EXIT_OK
    total = format_usd(answer.totals["charged_nanousd"])
    print(f"{month_text(answer.month)} is closed, revision {answer.revision}: {total} charged")
    for vendor, owed in sorted(answer.totals["vendors"].items()):
        print(f"  {vendor}: {format_usd(owed)}")
    return EXIT_OK


def reopen(*, month: MonthOption, json: Json = False, by: By | None = None, where: Where | None = None) -> int:
    """Ask to open the month that was closed last again: a ticket that somebody else of finance decides."""
    from remit.cli.session import open_authority
    from remit.cli.ticket_page import opening, write_ticket

    first_day, authority = month_given(month), open_authority(where)
    act = opening(lambda tree: authority.reconciling().asked_to_reopen(tree, first_day, "command"))
    return write_ticket(authority, by, "reconcile reopen", {"month": month}, act, json=json)


def _waiver(text: str) -> "Waiver":
    from typing import get_args

    from remit.ledger.months import Waivable, Waiver

    head, given, reason = text.partition("=")
    what, colon, vendor = head.partition(":")
    kinds = {str(one): one for one in get_args(Waivable)}
    if not (given and colon and vendor and reason.strip()) or what not in kinds:
        raise CommandError(f"--waive: `{text}` is not of the form WHAT:VENDOR=WHY, WHAT being {', '.join(kinds)}")
    return Waiver(what=kinds[what], vendor=vendor, reason=reason.strip())
