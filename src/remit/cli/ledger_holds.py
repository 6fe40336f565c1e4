"""`remit ledger hold`: what must not be taken away, neither from the database nor from the archive."""

import secrets
from typing import Annotated

from cyclopts import App, Parameter

from remit.cli.codes import EXIT_DIFFERENCES, EXIT_OK, CommandError
from remit.cli.options import By, Json, Where

app_command = App(
    name="hold",
    sort_key=13,
    help="""Place, lift and list legal holds on entries.

While one is in force no month with such entries leaves the database, and none the archive.
""",
    help_epilogue="",
    group_commands="Commands",
)


@app_command.command(sort_key=0)
def place(
    *,
    reason: Annotated[str, Parameter(help="Which matter it is for; kept with the hold.")],
    under: Annotated[
        str | None, Parameter(help="Path or id of the grant whose entries, and those below it, stay; else all.")
    ] = None,
    actor: Annotated[str | None, Parameter(help="Who places it, where that is not you.")] = None,
    json: Json = False,
    where: Where | None = None,
) -> int:
    """Place a legal hold. It holds from now on; what has left already does not come back."""
    from remit.cli.output import print_json
    from remit.cli.session import open_authority
    from remit.grants.ports import Said

    if not reason.strip():
        raise CommandError("--reason says which matter it is for")
    authority = open_authority(where)
    grant_id = None
    if under is not None:
        with authority.repository.read() as reads:
            grant = reads.find(under)
        if grant is None:
            raise CommandError(f"there is no grant `{under}`")
        grant_id = grant.id
    hold_id = f"lhold_{secrets.token_hex(8)}"
    who = By(actor=actor).who().name
    said = Said(at=authority.clock.now(), actor=who, operation="ledger hold place", reason=reason.strip())
    authority.archive.place_hold(hold_id, grant_id, said, "command")
    if json:
        print_json({"id": hold_id, "grant_id": grant_id})
    else:
        print(f"{hold_id} is in force")
    return EXIT_OK


@app_command.command(sort_key=1)
def lift(
    hold: Annotated[str, Parameter(help="Id of the hold, as `remit ledger hold list` shows it.")],
    /,
    *,
    reason: Annotated[str, Parameter(help="Why; kept in the audit.")],
    actor: Annotated[str | None, Parameter(help="Who lifts it, where that is not you.")] = None,
    where: Where | None = None,
) -> int:
    """Lift a legal hold."""
    from remit.cli.session import open_authority
    from remit.grants.ports import Said

    authority = open_authority(where)
    who = By(actor=actor).who().name
    said = Said(at=authority.clock.now(), actor=who, operation="ledger hold lift", reason=reason)
    if not authority.archive.lift_hold(hold, said, "command"):
        raise CommandError(f"there is no legal hold `{hold}` in force", EXIT_DIFFERENCES)
    print(f"{hold} is lifted")
    return EXIT_OK


@app_command.command(name="list", sort_key=2)
def list_(
    *,
    every: Annotated[bool, Parameter(name="--all", help="Also those that were lifted.")] = False,
    json: Json = False,
    where: Where | None = None,
) -> int:
    """List legal holds, the oldest first."""
    from remit.cli.output import moment_text, print_json, print_table, table
    from remit.cli.session import open_authority

    found = open_authority(where).archive.legal_holds(lifted=every)
    if json:
        print_json(found)
        return EXIT_OK
    if not found:
        print("there is no legal hold")
        return EXIT_OK
    shown = table("id", "on", "reason", "placed by", "placed", "lifted")
    for one in found:
        lifted = "" if one.lifted_at is None else moment_text(one.lifted_at)
        shown.add_row(one.id, one.path or "everything", one.reason, one.placed_by, moment_text(one.placed_at), lifted)
    print_table(shown)
    return EXIT_OK
