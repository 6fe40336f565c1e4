"""`remit security`: what holders tried that is not theirs to do."""

from datetime import datetime
from typing import Annotated

from cyclopts import App, Parameter
from cyclopts.validators import Number

from remit.cli.codes import EXIT_OK, CommandError
from remit.cli.options import Json, Where

app_command = App(
    name="security",
    help="""Read what is counted for the security people.

Counts are kept by day, grant, holder and the caller's words.
""",
    help_epilogue="",
    group_commands="Commands",
)


@app_command.command(name="feed", sort_key=0)
def feed(
    *,
    since: Annotated[str | None, Parameter(help="Only what was seen since this instant or day, in UTC.")] = None,
    count: Annotated[
        int, Parameter(name=["--count", "-n"], validator=Number(gte=1, lte=100_000), help="At most so many. [100]")
    ] = 100,
    json: Json = False,
    where: Where | None = None,
) -> int:
    """List attempts, the most frequent first: wrong class, tags that were overruled, revoked capabilities, surfaces, trips."""
    from remit.cli.output import moment_text, print_json, print_table, table
    from remit.cli.session import open_authority

    rows = open_authority(where).trips.feed(count, None, None if since is None else _instant(since))
    if json:
        print_json(rows)
        return EXIT_OK
    if not rows:
        print("no attempts")
        return EXIT_OK
    shown = table("attempts", "what", "grant", "class", "holder", "said", "since", "last", right=("attempts",))
    for row in rows:
        holder = row["key_name"] or row["subject"][:12]
        said = f"{row['tag']}={row['value']}" if row["tag"] else ""
        first, last = moment_text(row["first_seen"]), moment_text(row["last_seen"])
        shown.add_row(f"{row['count']:,}", row["kind"], row["path"], row["class"] or "", holder, said, first, last)
    print_table(shown)
    return EXIT_OK


def _instant(text: str) -> datetime:
    from datetime import UTC

    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        raise CommandError("--since is an instant such as 2026-03-01 or 2026-03-01T12:00:00Z") from None
    return instant if instant.tzinfo is not None else instant.replace(tzinfo=UTC)
