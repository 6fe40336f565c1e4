"""`remit audit`: who changed what, when and why, and what was refused."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter
from cyclopts.validators import Number

from remit.cli.codes import EXIT_OK, CommandError
from remit.cli.options import Json, Where
from remit.cli.values import parse_moment

if TYPE_CHECKING:
    from remit.bootstrap import Authority

_AT_ONCE = 1000
_MAX_SHOWN = 120
app_command = App(name="audit")


@app_command.default
def audit(
    *,
    grant: Annotated[
        str | None, Parameter(help="Only what is about this grant, by id or path, and what is below it.")
    ] = None,
    actor: Annotated[str | None, Parameter(help="Only what this person did or tried.")] = None,
    subject: Annotated[
        str | None, Parameter(help="Only what is about the thing of this id: a grant, a key, a ticket, a role.")
    ] = None,
    refused: Annotated[bool, Parameter(help="Only what was refused.")] = False,
    since: Annotated[str | None, Parameter(help="From here on: date (UTC) or instant.")] = None,
    until: Annotated[str | None, Parameter(help="Before this: date (UTC) or instant.")] = None,
    count: Annotated[
        int, Parameter(name=["--count", "-n"], validator=Number(gte=1, lte=100_000), help="So many of the newest. [50]")
    ] = 50,
    after: Annotated[
        int | None, Parameter(validator=Number(gte=0), help="All there is after this number, instead of the newest.")
    ] = None,
    json: Annotated[bool, Parameter(name="--json", help="Print each row in full, one JSON object a line.")] = False,
    where: Where | None = None,
) -> int:
    """List changes of grants, keys, people, roles and tickets, oldest first, and writes that were refused.

    Rows are added by the transaction that makes the change, and never altered or removed: `--after 0 --json` exports them all.
    """
    from remit.cli.output import print_json_line, print_table, table, with_instants
    from remit.cli.session import open_authority

    authority = open_authority(where)
    wanted = {
        "nodes": None if grant is None else _below(authority, grant),
        "actor": actor,
        "subject": subject,
        "outcome": "refused" if refused else None,
        "since": None if since is None else parse_moment(since, "--since"),
        "until": None if until is None else parse_moment(until, "--until"),
    }
    rows = iter(authority.audit.page(count, **wanted)) if after is None else _all_after(authority, after, wanted)
    if json:
        for row in rows:
            print_json_line(with_instants(row))
        return EXIT_OK
    shown = table("number", "when", "who", "did", "to", "why", right=["number"])
    for row in rows:
        shown.add_row(*_cells(row))
    if shown.row_count:
        print_table(shown)
    else:
        print("nothing in the audit")
    return EXIT_OK


@app_command.command
def show(
    number: Annotated[int, Parameter(help="Number of the row, as `remit audit` shows it.")],
    /,
    *,
    json: Json = False,
    where: Where | None = None,
) -> int:
    """Show one row: what was asked, why, and every value before and after."""
    from remit.cli.output import moment_text, print_json, print_table, table, with_instants
    from remit.cli.session import open_authority

    rows = open_authority(where).audit.page(1, seq=number)
    if not rows:
        raise CommandError(f"the audit has no row {number}")
    (row,) = rows
    if json:
        print_json(with_instants(row))
        return EXIT_OK
    print(f"{moment_text(row['at'])}  {row['actor']}  {row['operation']}  {row['outcome']}  (by {row['source']})")
    print(f"to      {_subject(row)}")
    print(f"why     {row['reason']}")
    print(f"key     {row['request_key']}")
    for problem in row["problems"] or ():
        print(f"refused {problem['code']}: {problem['detail']}")
    if row["after"] is not None:
        changes = table("what", "before", "after")
        for name, before, now in _changes(row["before"] or {}, row["after"]):
            changes.add_row(name, before, now)
        print_table(changes)
    return EXIT_OK


def _below(authority: "Authority", ref: str) -> list[str]:
    from remit.grants.model import is_within

    with authority.repository.read() as reads:
        top = reads.find(ref)
        if top is None:
            raise CommandError(f"there is no grant `{ref}`")
        return [one.id for one in reads.load_tree() if is_within(one.path, top.path)]


def _all_after(authority: "Authority", after: int, wanted: dict[str, Any]) -> Iterator[dict[str, Any]]:
    while page := authority.audit.page(_AT_ONCE, after=after, **wanted):
        yield from page
        after = page[-1]["seq"]


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    from remit.cli.output import moment_text

    why = row["reason"] if row["outcome"] == "done" else f"refused: {row['problems'][0]['code']}"
    return str(row["seq"]), moment_text(row["at"]), row["actor"], row["operation"], _subject(row), why


def _subject(row: dict[str, Any]) -> str:
    if row["subject_kind"] in (None, "grant"):
        return str(row["path"] or row["subject_id"] or "")
    of = f" of {row['path']}" if row["path"] else ""
    return f"{row['subject_kind'].replace('_', ' ')} {row['subject_id']}{of}"


def _changes(before: dict[str, Any], after: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Each value that is another one now; shortened, as `--json` has them whole."""
    for name in [*after, *(name for name in before if name not in after)]:
        if before.get(name) != after.get(name):
            yield name, _short(before.get(name)), _short(after.get(name))


def _short(value: Any) -> str:
    import msgspec

    if value is None:
        return ""
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}..."
