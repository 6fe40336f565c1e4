"""`remit tag`: which tag names are governed, by whom, and which values they may have."""

from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from remit.cli.codes import EXIT_DIFFERENCES, EXIT_OK, CommandError
from remit.cli.once import write_once
from remit.cli.options import By, Json, Where

if TYPE_CHECKING:
    from remit.grants.model import Problem
    from remit.grants.vocabulary_model import GovernedTag
    from remit.store.postgres_writes import WriteUnit

app_command = App(
    name="tag",
    help="""Say which values tags may have.

A governed name has an owner, a description and a list of values, or any. Calls with another value are refused; names that
nobody governs stay free.
""",
    help_epilogue="",
    group_commands="Commands",
)
Name = Annotated[str, Parameter(help="The tag's name, such as feature.")]


@app_command.command(name="set", sort_key=0)
def set_tag(
    name: Name,
    /,
    *,
    owner: Annotated[str | None, Parameter(help="Who answers for it, by e-mail address.")] = None,
    description: Annotated[str | None, Parameter(help="What it says of a call.")] = None,
    value: Annotated[tuple[str, ...], Parameter(help="A value to allow besides those there are. Repeat it.")] = (),
    any_value: Annotated[
        bool, Parameter(name="--any", help="Any value will do; whoever answers for it is known.")
    ] = False,
    under: Annotated[str | None, Parameter(help="Path or id of the grant it holds for, and below; else all.")] = None,
    json: Json = False,
    by: By | None = None,
    where: Where | None = None,
) -> int:
    """Govern a tag's name, or change how; what is left out stays as it is."""
    from remit.cli.session import open_authority
    from remit.grants.model import Problem
    from remit.grants.vocabulary_model import TagTerms

    if any_value and value:
        raise CommandError("--any and --value exclude each other")
    authority = open_authority(where, create=True)
    by = by or By()

    def do(unit: "WriteUnit") -> "tuple[dict[str, Any], dict[str, Any]] | Problem":
        old = unit.vocabulary.find(name)
        if (old is None or old.is_retired) and (owner is None or description is None or not (value or any_value)):
            detail = f"nobody governs `{name}` yet: that takes --owner, --description, and --value or --any"
            return Problem(code="terms_missing", path=name, detail=detail)
        before = None if old is None or old.is_retired else old
        grant_id = None if before is None else before.grant_id
        if under is not None:
            with unit.grants.read() as reads:
                grant = reads.find(under)
            if grant is None:
                return Problem(code="grant_unknown", path=under, detail=f"there is no grant `{under}`")
            grant_id = grant.id
        values = None if before is None else before.values
        if value:
            values = frozenset(value) | (values or frozenset())
        terms = TagTerms(
            owner=owner if owner is not None or before is None else before.owner,  # type: ignore[arg-type]
            description=description if description is not None or before is None else before.description,  # type: ignore[arg-type]
            values=None if any_value else values,
            grant_id=grant_id,
        )
        reason = by.reason or "remit tag set"
        return _twice(authority.vocabulary_over(unit).set(name, terms, by.who(), reason))

    asked = {"tag": name, "owner": owner, "description": description, "values": value, "any": any_value, "under": under}
    return _told(write_once(authority, by, "tag set", asked, do), json=json)


@app_command.command(name="retire", sort_key=1)
def retire_tag(
    name: Name,
    values: Annotated[tuple[str, ...], Parameter(help="Values to refuse from now on.")] = (),
    /,
    *,
    json: Json = False,
    by: By | None = None,
    where: Where | None = None,
) -> int:
    """Take values off a tag's list, or without any free its name. Entries stay as they are."""
    from remit.cli.session import open_authority

    authority = open_authority(where)
    by = by or By()

    def do(unit: "WriteUnit") -> "tuple[dict[str, Any], dict[str, Any]] | Problem":
        reason = by.reason or "remit tag retire"
        return _twice(authority.vocabulary_over(unit).retire(name, values, by.who(), reason))

    return _told(write_once(authority, by, "tag retire", {"tag": name, "values": values}, do), json=json)


@app_command.command(name="list", sort_key=2)
def list_tags(
    *,
    retired: Annotated[bool, Parameter(name="--all", help="Show names that are free again as well.")] = False,
    json: Json = False,
    where: Where | None = None,
) -> int:
    """List the tags that are governed."""
    from remit.cli.output import print_json, print_table, table
    from remit.cli.session import open_authority

    authority = open_authority(where)
    tags = authority.vocabulary.all(retired=retired)
    if json:
        print_json([_plain(one) for one in tags])
        return EXIT_OK
    if not tags:
        print("no tag is governed: `remit tag set NAME --owner PERSON --description TEXT --value VALUE` begins")
        return EXIT_OK
    with authority.repository.read() as reads:
        paths = {grant.id: grant.path for grant in reads.load_tree()}
    shown = table("tag", "values", "retired", "for", "owner", "description")
    for one in tags:
        values = "any" if one.values is None else ", ".join(sorted(one.values)) or "none"
        where_text = "everything" if one.grant_id is None else paths.get(one.grant_id, one.grant_id)
        shown.add_row(
            f"{one.name} (free)" if one.is_retired else one.name,
            values,
            ", ".join(sorted(one.retired)),
            where_text,
            one.owner,
            one.description,
        )
    print_table(shown)
    return EXIT_OK


@app_command.command(name="check", sort_key=3)
def check_tags(*, json: Json = False, where: Where | None = None) -> int:
    """Check the vocabulary against grants and people; exit 1 if a grant fixes what is not allowed, or an owner left."""
    from remit.cli.output import print_json
    from remit.cli.session import open_authority
    from remit.grants.model import Problem
    from remit.grants.tree import Tree
    from remit.grants.vocabulary import standing_problems

    authority = open_authority(where)
    now = authority.clock.now()
    with authority.repository.read() as reads:
        tree, tags = Tree(reads.load_tree()), reads.vocabulary()
        gone = reads.left([one.owner for one in tags])
    found = standing_problems(tags, tree, now)
    found += [
        Problem(code="owner_left", path=one.name, field="owner", detail=f"`{one.owner}`, who answers for it, left")
        for one in tags
        if one.owner.casefold() in gone
    ]
    if json:
        print_json({"healthy": not found, "problems": found})
    else:
        for one in found:
            print(f"{one.path}: {one.detail}")
        print("healthy" if not found else f"{len(found):,} to look at")
    return EXIT_DIFFERENCES if found else EXIT_OK


def _plain(one: "GovernedTag") -> dict[str, Any]:
    return {
        "name": one.name,
        "revision": one.revision,
        "owner": one.owner,
        "description": one.description,
        "values": None if one.values is None else sorted(one.values),
        "retired_values": sorted(one.retired),
        "grant_id": one.grant_id,
        "is_retired": one.is_retired,
    }


def _twice(made: "GovernedTag | Problem") -> "tuple[dict[str, Any], dict[str, Any]] | Problem":
    """What is answered, and the same to be remembered."""
    from remit.grants.model import Problem

    return made if isinstance(made, Problem) else (_plain(made), _plain(made))


def _told(done: Any, *, json: bool) -> int:
    from remit.cli.output import print_json, refused
    from remit.grants.model import Problem
    from remit.grants.ports import Remembered

    if isinstance(done, Problem):
        return refused([done], json=json)
    told = done.answer if isinstance(done, Remembered) else done
    if json:
        print_json({**told, "replayed": isinstance(done, Remembered)})
        return EXIT_OK
    values = "any value" if told["values"] is None else ", ".join(told["values"]) or "no value"
    if told["is_retired"]:
        print(f"tag {told['name']} is free again")
    else:
        print(f"tag {told['name']}: {values}; {told['owner']} answers for it (revision {told['revision']})")
    return EXIT_OK
