"""`remit person`: tokens of people for the control plane's API."""

from datetime import timedelta
from typing import Annotated

from cyclopts import App, Parameter

from remit.cli.codes import EXIT_OK
from remit.cli.options import Actor, By, Json, Where

app_command = App(
    name="person",
    help="""Make, list and revoke tokens of people for the API.

A token says who calls. What they may do follows from the grants they own; an admin may do all.
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
    actor: Actor = None,
    where: Where | None = None,
) -> int:
    """Make a token for a person and print it, once.

    Only the token goes to standard output, so TOKEN=$(remit person create NAME) keeps it off the screen.
    """
    from remit.cli.output import moment_text, print_json, refused, remark
    from remit.cli.session import open_authority
    from remit.grants.model import Problem

    authority = open_authority(where, create=True)
    by = By(actor=actor).who().name
    life = timedelta(days=min(days, 100_000))
    made = authority.people().create(name, by, is_admin=admin, life=life)
    if isinstance(made, Problem):
        return refused([made], json=json)
    person = made.person
    if json:
        print_json({"id": person.id, "name": person.name, "expires_at": person.expires_at, "token": made.text})
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
    where: Where | None = None,
) -> int:
    """Make a token useless from the next request on; again, it changes nothing."""
    from remit.cli.output import moment_text, print_json, refused
    from remit.cli.session import open_authority
    from remit.grants.model import Problem

    revoked = open_authority(where).people().revoke(token)
    if isinstance(revoked, Problem):
        return refused([revoked], json=json)
    assert revoked.revoked_at is not None
    if json:
        print_json({"id": revoked.id, "name": revoked.name, "revoked_at": revoked.revoked_at})
        return EXIT_OK
    print(f"revoked token {revoked.id} of {revoked.name} ({moment_text(revoked.revoked_at)})")
    return EXIT_OK
