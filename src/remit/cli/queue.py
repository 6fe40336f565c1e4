"""`remit queue`: what waits for a person's decision."""

from typing import Annotated, Literal

from cyclopts import Parameter

from remit.cli.codes import EXIT_OK
from remit.cli.options import Json, Where


def queue(
    *,
    of: Annotated[str | None, Parameter(help="Only what waits for this person, by e-mail address.")] = None,
    kind: Annotated[
        Literal["grant", "renew", "increase", "transfer", "break-glass", "break_glass", "debt", "finding", "books"]
        | None,
        Parameter(help="Only tickets of this kind."),
    ] = None,
    overdue: Annotated[bool, Parameter(help="Only what should have been answered by now.")] = False,
    json: Json = False,
    where: Where | None = None,
) -> int:
    """List the open tickets, the first due first: who asks whom for what, and what it does to the worst case a month."""
    from remit.cli.output import moment_text, print_json, print_table, table
    from remit.cli.session import open_authority
    from remit.cli.ticket_page import ticket_json

    authority = open_authority(where)
    wanted = None if kind is None else kind.replace("-", "_")
    found = authority.tickets_listed(state="open", assignee=of, kind=wanted)
    now = authority.clock.now()
    tickets = [one for one in found if not overdue or one.due_at <= now]
    if json:
        print_json([ticket_json(one) for one in tickets])
        return EXIT_OK
    if not tickets:
        print("nothing waits for a decision")
        return EXIT_OK
    rows = table("ticket", "due", "kind", "about", "asked by", "waits for", "worst case a month", "asks")
    for one in tickets:
        due = moment_text(one.due_at) + (" overdue" if one.due_at <= now else "")
        exposure = str(one.evidence.get("exposure", {}).get("text", "")).removesuffix(" a month")
        waits_for, asks = ", ".join(one.assignees), next(iter(one.evidence.get("asks", ())), "")
        rows.add_row(one.id, due, one.kind.replace("_", "-"), one.path, one.requester, waits_for, exposure, asks)
    print_table(rows)
    return EXIT_OK
