"""`remit ledger debts`."""

from typing import Annotated

from cyclopts import Parameter

from remit.cli.codes import EXIT_OK
from remit.cli.options import Json, Where


def debts(
    *,
    every: Annotated[bool, Parameter(name="--all", help="Also debts that are settled.")] = False,
    json: Json = False,
    where: Where | None = None,
) -> int:
    """List what overdrafts lent and is still owed, by grant and kind of limit.

    A debt is repaid from the next period of the same limit, as far as it fits, unless a person forgives it first.
    """
    from remit.cli.output import moment_text, print_json, print_table, remark, table
    from remit.cli.session import open_authority
    from remit.kernel.money import format_usd

    found = open_authority(where).ledger.debts(settled=every)
    if json:
        print_json(found)
        return EXIT_OK
    if not found:
        print("nothing is owed")
        return EXIT_OK
    numbers = ("made", "repaid", "forgiven", "outstanding")
    shown = table("grant", "owner", "per", *numbers, "since", right=numbers)
    for debt in found:
        amounts = (debt.made, debt.repaid, debt.forgiven, debt.outstanding)
        since = "" if debt.since is None else moment_text(debt.since)
        shown.add_row(debt.path, debt.owner, debt.period, *(format_usd(amount) for amount in amounts), since)
    print_table(shown)
    total = sum(debt.outstanding for debt in found)
    remark(f"{format_usd(total)} outstanding")
    return EXIT_OK
