"""`remit person`: people, and their tokens for the control plane's API."""

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from remit.cli.codes import EXIT_OK
from remit.cli.once import write_once
from remit.cli.options import By, Json, Where
from remit.cli.person_roster import delegate_person, leave_person, return_person
from remit.kernel.secret_texts import public_id

if TYPE_CHECKING:
    from remit.api.people import NewPerson
    from remit.store.postgres_writes import WriteUnit

app_command = App(
    name="person",
    help="""People: their tokens for the API, who stands in for them, and what happens when they leave.

A token says who calls. What they may do follows from the grants they own and their roles; an admin may do all.
""",
    help_epilogue="",
    group_commands="Commands",
)


@app_command.command(name="create", sort_key=0)
def create_person(
    name: Annotated[str, Parameter(help="E-mail address, as the owner of a grant is written.")],
    /,
    *,
    admin: Annotated[bool, Parameter(help="May do all, and sees all.")] = False,
    days: Annotated[int, Parameter(help="How long the token lives, at most 366; 90 if left out.")] = 90,
    json: Json = False,
    by: By | None = None,
    where: Where | None = None,
) -> int:
    """Make a token for a person and print it, once.

    Only the token goes to standard output, so TOKEN=$(remit person create NAME) keeps it off the screen.
    """
    from remit.cli.output import moment_text, print_json, refused, remark
    from remit.cli.session import open_authority
    from remit.grants.model import Problem
    from remit.grants.ports import Remembered

    authority = open_authority(where, create=True)
    by, life = by or By(), timedelta(days=min(days, 100_000))

    def do(unit: "WriteUnit") -> "tuple[NewPerson, dict[str, Any]] | Problem":
        made = authority.people_over(unit.people).create(name, by.who().name, is_admin=admin, life=life)
        if isinstance(made, Problem):
            return made
        return made, {"id": made.person.id, "name": made.person.name, "expires_at": made.person.expires_at}

    made = write_once(authority, by, "person create", {"name": name, "admin": admin, "days": days}, do)
    if isinstance(made, Problem):
        return refused([made], json=json)
    if isinstance(made, Remembered):
        if json:
            print_json({**made.answer, "token": None, "replayed": True})
        else:
            remark(f"token {made.answer['id']} was made before under this idempotency key, and shown then")
        return EXIT_OK
    person = made.person
    if json:
        told = {"id": person.id, "name": person.name, "expires_at": person.expires_at}
        print_json({**told, "token": made.text, "replayed": False})
        return EXIT_OK
    remark(f"token {person.id} of {person.name}, until {moment_text(person.expires_at)}; it is not shown again:")
    print(made.text)
    return EXIT_OK


@app_command.command(name="list", sort_key=1)
def list_people(
    *,
    revoked: Annotated[bool, Parameter(name="--all", help="Show revoked tokens as well.")] = False,
    json: Json = False,
    where: Where | None = None,
) -> int:
    """List tokens. Secrets are not stored and cannot be shown."""
    from remit.cli.output import moment_text, print_json, print_table, table
    from remit.cli.session import open_authority

    authority = open_authority(where)
    people = [one for one in authority.people().all() if revoked or one.revoked_at is None]
    if json:
        names = ("id", "name", "is_admin", "created_at", "created_by", "expires_at", "revoked_at")
        print_json([{name: getattr(one, name) for name in names} for one in people])
        return EXIT_OK
    if not people:
        print("no tokens: `remit person create NAME` makes one")
        return EXIT_OK
    now = authority.clock.now()
    rows = table("token", "name", "admin", "made", "by", "expires", "status")
    for one in people:
        status = "expired" if now >= one.expires_at else "active"
        if one.revoked_at is not None:
            status = f"revoked {moment_text(one.revoked_at)}"
        made, expires = moment_text(one.created_at), moment_text(one.expires_at)
        rows.add_row(one.id, one.name, "yes" if one.is_admin else "no", made, one.created_by, expires, status)
    print_table(rows)
    return EXIT_OK


@app_command.command(name="revoke", sort_key=2)
def revoke_person(
    token: Annotated[str, Parameter(help="Id of the token, as `remit person list` shows it.")],
    /,
    *,
    json: Json = False,
    by: By | None = None,
    where: Where | None = None,
) -> int:
    """Make a token useless from the next request on; again, it changes nothing."""
    from remit.cli.output import instant_text, print_json, refused
    from remit.cli.session import open_authority
    from remit.grants.model import Problem
    from remit.grants.ports import Remembered

    authority, token = open_authority(where), public_id(token)

    def do(unit: "WriteUnit") -> "tuple[dict[str, Any], dict[str, Any]] | Problem":
        revoked = authority.people_over(unit.people).revoke(token, (by or By()).who().name)
        if isinstance(revoked, Problem):
            return revoked
        assert revoked.revoked_at is not None
        told = {"id": revoked.id, "name": revoked.name, "revoked_at": instant_text(revoked.revoked_at)}
        return told, told

    revoked = write_once(authority, by, "person revoke", {"token": token}, do)
    if isinstance(revoked, Problem):
        return refused([revoked], json=json)
    told = revoked.answer if isinstance(revoked, Remembered) else revoked
    if json:
        print_json({**told, "replayed": isinstance(revoked, Remembered)})
        return EXIT_OK
    print(f"revoked token {told['id']} of {told['name']} ({told['revoked_at']})")
    return EXIT_OK


app_command.command(delegate_person, name="delegate", sort_key=3)
app_command.command(leave_person, name="leave", sort_key=4)
app_command.command(return_person, name="return", sort_key=5)
