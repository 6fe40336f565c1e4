"""`remit role`: what people may read and do beyond what they own."""

from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, Parameter

from remit.cli.codes import EXIT_OK
from remit.cli.once import write_once
from remit.cli.options import By, Json, Where

if TYPE_CHECKING:
    from remit.grants.model import Problem
    from remit.store.postgres_roster import StoredBinding
    from remit.store.postgres_writes import WriteUnit

app_command = App(
    name="role",
    help="""Give, list and end roles of people.

A role holds for the whole organization, or for a grant and everything below it.
""",
    help_epilogue="",
    group_commands="Commands",
)
RoleName = Literal["org_owner", "finance", "security", "auditor", "approver", "gateway_operator", "system_of_record"]


@app_command.command(name="grant", sort_key=0)
def give_role(
    person: Annotated[str, Parameter(help="E-mail address.")],
    role: Annotated[RoleName, Parameter(help="Which role.")],
    /,
    *,
    under: Annotated[str | None, Parameter(help="Path or id of the grant it holds for, and below; else all.")] = None,
    json: Json = False,
    by: By | None = None,
    where: Where | None = None,
) -> int:
    """Give a person a role; once more, nothing changes."""
    from remit.cli.session import open_authority
    from remit.grants.model import Problem, RoleBinding

    authority = open_authority(where, create=True)
    by = by or By()

    def do(unit: "WriteUnit") -> "tuple[dict[str, Any], dict[str, Any]] | Problem":
        grant_id = None
        if under is not None:
            with unit.grants.read() as reads:
                grant = reads.find(under)
            if grant is None:
                return Problem(code="grant_unknown", path=under, detail=f"there is no grant `{under}`")
            grant_id = grant.id
        given = authority.roster_over(unit).give(person, RoleBinding(role, grant_id), by.who(), "command")
        return given if isinstance(given, Problem) else _twice(given)

    asked = {"person": person, "role": role, "under": under}
    return _told("gave", write_once(authority, by, "role grant", asked, do), json=json)


@app_command.command(name="revoke", sort_key=1)
def end_role(
    role: Annotated[str, Parameter(help="Id of the role, as `remit role list` shows it.")],
    /,
    *,
    json: Json = False,
    by: By | None = None,
    where: Where | None = None,
) -> int:
    """End a role from the next request on; again, it changes nothing."""
    from remit.cli.session import open_authority
    from remit.grants.model import Problem

    authority = open_authority(where)
    by = by or By()

    def do(unit: "WriteUnit") -> "tuple[dict[str, Any], dict[str, Any]] | Problem":
        ended = authority.roster_over(unit).end(role, by.who())
        return ended if isinstance(ended, Problem) else _twice(ended)

    return _told("ended", write_once(authority, by, "role revoke", {"role": role}, do), json=json)


@app_command.command(name="list", sort_key=2)
def list_roles(
    *,
    person: Annotated[str | None, Parameter(help="Only those of this person.")] = None,
    ended: Annotated[bool, Parameter(name="--all", help="Show ended roles as well.")] = False,
    json: Json = False,
    where: Where | None = None,
) -> int:
    """List roles of people."""
    from remit.cli.output import moment_text, print_json, print_table, table
    from remit.cli.session import open_authority
    from remit.store.postgres_roster import person_key

    roster = open_authority(where).roster()
    rows = roster.bindings(None if person is None else person_key(person), ended=ended)
    if json:
        print_json([_plain(one) for one in rows])
        return EXIT_OK
    if not rows:
        print("no roles: `remit role grant PERSON ROLE` gives one")
        return EXIT_OK
    shown = table("id", "person", "role", "for", "from", "since", "by", "status")
    for one in rows:
        status = "stands" if one.ended_at is None else f"ended {moment_text(one.ended_at)}"
        scope = "everything" if one.grant_id is None else str(one.grant_path)
        shown.add_row(
            one.id, one.person, one.role, scope, one.source, moment_text(one.created_at), one.created_by, status
        )
    print_table(shown)
    return EXIT_OK


def _plain(one: "StoredBinding") -> dict[str, Any]:
    from dataclasses import asdict

    from remit.cli.output import instant_text

    return {
        name: instant_text(value) if name.endswith("_at") and value is not None else value
        for name, value in asdict(one).items()
    }


def _twice(one: "StoredBinding") -> tuple[dict[str, Any], dict[str, Any]]:
    """What is answered, and the same to be remembered."""
    return _plain(one), _plain(one)


def _told(verb: str, done: Any, *, json: bool) -> int:
    from remit.cli.output import print_json, refused
    from remit.grants.model import Problem
    from remit.grants.ports import Remembered

    if isinstance(done, Problem):
        return refused([done], json=json)
    told = done.answer if isinstance(done, Remembered) else done
    if json:
        print_json({**told, "replayed": isinstance(done, Remembered)})
        return EXIT_OK
    scope = "everything" if told["grant_id"] is None else f"`{told['grant_path']}` and below"
    print(f"{verb} role {told['role']} of {told['person']} for {scope} ({told['id']})")
    return EXIT_OK
