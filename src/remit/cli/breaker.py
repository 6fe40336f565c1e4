"""`remit breaker`: what the runaway breaker holds, and letting it go."""

from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter
from cyclopts.validators import Number

from remit.cli.codes import EXIT_OK
from remit.cli.once import write_once
from remit.cli.options import By, Json, Where

if TYPE_CHECKING:
    from remit.grants.model import Problem
    from remit.store.postgres_writes import WriteUnit

app_command = App(
    name="breaker",
    help="""List what the runaway breaker stopped or throttled; end it before its time.

Gateways trip by themselves, by the rules of the settings' table `breaker`; a trip ends when its time is up.
""",
    help_epilogue="",
    group_commands="Commands",
)


@app_command.command(name="list", sort_key=0)
def list_trips(
    *,
    ended: Annotated[bool, Parameter(name="--all", help="Show trips that are over as well.")] = False,
    after: Annotated[int, Parameter(validator=Number(gte=0), help="Only those after this number. [0]")] = 0,
    count: Annotated[
        int, Parameter(name=["--count", "-n"], validator=Number(gte=1, lte=1000), help="At most so many. [100]")
    ] = 100,
    json: Json = False,
    where: Where | None = None,
) -> int:
    """List trips, oldest first: what tripped, by which rule, with the tags most of its calls share."""
    from remit.cli.output import moment_text, print_json, print_table, table
    from remit.cli.session import open_authority
    from remit.leases.trips import sentence

    authority = open_authority(where)
    rows = authority.trips.page(after, count, None, now=authority.clock.now(), active=not ended)
    if json:
        print_json(rows)
        return EXIT_OK
    if not rows:
        print("no trips" if ended else "nothing is held; `--all` shows trips that are over")
        return EXIT_OK
    shown = table("trip", "grant", "what", "why", "tags", "mode", "tripped", "until")
    for row in rows:
        what = "all of it" if row["scope"] == "grant" else f"{row['scope']} {row['subject'][:24]}"
        tags = ", ".join(f"{name}={value}" for name, value in row["tags"].items())
        until = moment_text(row["until"])
        if row["ended_at"] is not None:
            until = f"ended {moment_text(row['ended_at'])} by {row['ended_by']}"
        why = sentence(row["rule"], row["measured"], row["allowed"])
        shown.add_row(row["id"], row["path"], what, why, tags, row["mode"], moment_text(row["tripped_at"]), until)
    print_table(shown)
    return EXIT_OK


@app_command.command(name="end", sort_key=1)
def end_trip(
    trip: Annotated[str, Parameter(help="Id of the trip, as refusals and `remit breaker list` show it.")],
    /,
    *,
    json: Json = False,
    by: By | None = None,
    where: Where | None = None,
) -> int:
    """Let a trip's calls go on, at every gateway; again, it changes nothing."""
    from remit.cli.output import instant_text, print_json, refused
    from remit.cli.session import open_authority
    from remit.grants.model import Problem
    from remit.grants.ports import Remembered

    authority = open_authority(where)
    authorship = (by or By()).authorship("remit breaker end")

    def do(unit: "WriteUnit") -> "tuple[dict[str, Any], dict[str, Any]] | Problem":
        ended = unit.trips.end(trip, authorship.actor.name, authorship.reason, authority.clock.now())
        if isinstance(ended, Problem):
            return ended
        told = {
            "id": ended["id"],
            "path": ended["path"],
            "ended_at": instant_text(ended["ended_at"]),
            "ended_by": ended["ended_by"],
        }
        return told, told

    ended = write_once(authority, by, "breaker end", {"trip": trip}, do)
    if isinstance(ended, Problem):
        return refused([ended], json=json)
    told = ended.answer if isinstance(ended, Remembered) else ended
    if json:
        print_json({**told, "replayed": isinstance(ended, Remembered)})
        return EXIT_OK
    print(f"ended trip {told['id']} of {told['path']} ({told['ended_at']}, by {told['ended_by']})")
    return EXIT_OK
