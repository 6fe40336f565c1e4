"""`remit sinks` and `remit exports`: what goes to other systems, and how far it has come."""

from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from remit.cli.codes import EXIT_OK, CommandError
from remit.cli.once import write_once
from remit.cli.options import By, Json, Where
from remit.cli.values import parse_moment

if TYPE_CHECKING:
    from remit.store.postgres_writes import WriteUnit

_MAX_COUNT = 100_000
app_command = App(name="sinks")


@app_command.default
def sinks(
    *,
    letters: Annotated[bool, Parameter(help="List entries that a receiver refused for good instead, and why.")] = False,
    count: Annotated[int, Parameter(name=["--count", "-n"], help="How many letters at most; 50 if left out.")] = 50,
    json: Json = False,
    where: Where | None = None,
) -> int:
    """Show how far each receiver of the ledger's entries has been fed, what waits for it, and what it refused.

    Entries are sent by `remit up`.
    """
    from remit.cli.output import moment_text, print_json, print_table, table
    from remit.cli.session import open_authority

    if not 1 <= count <= _MAX_COUNT:
        raise CommandError(f"--count is a number from 1 to {_MAX_COUNT:,}")
    authority = open_authority(where)
    if letters:
        return _print_letters(authority.sinks.letters(count), json=json)
    named = {one.name for one in authority.settings.sinks}
    rows = [{**row, "set": row["name"] in named} for row in authority.sinks.listed()]
    if json:
        print_json(rows)
        return EXIT_OK
    if not rows:
        print("no sinks")
        return EXIT_OK
    shown = table("sink", "up to", "waiting", "since", "delivered", "refused", "last", "failure",
                  right=("up to", "waiting", "delivered", "refused"))  # fmt: skip
    for row in rows:
        since = moment_text(row["waiting_since"]) if row["waiting_since"] else ""
        last = moment_text(row["delivered_at"]) if row["delivered_at"] else "never"
        name = row["name"] if row["set"] else f"{row['name']} (not set)"
        numbers = (f"{row[key]:,}" for key in ("seq", "waiting"))
        shown.add_row(name, *numbers, since, f"{row['delivered']:,}", f"{row['letters']:,}", last, _failure(row))
    print_table(shown)
    return EXIT_OK


@app_command.command
def retry(sink: str, /, *, by: By | None = None, where: Where | None = None) -> int:
    """Try again at once to feed a sink, and send it what it refused once more."""
    from remit.cli.output import refused
    from remit.cli.session import open_authority
    from remit.grants.model import Problem
    from remit.grants.ports import Remembered

    authority = open_authority(where)

    def do(unit: "WriteUnit") -> "tuple[int, dict[str, Any]] | Problem":
        due = unit.retry_letters(sink, authority.clock.now())
        return _unknown(sink) if due is None else (due, {"letters": due})

    done = write_once(authority, by, "sink retry", {"sink": sink}, do)
    if isinstance(done, Problem):
        return refused([done])
    letters = done.answer["letters"] if isinstance(done, Remembered) else done
    print(f"sink {sink} is due, with {letters:,} entries that it refused")
    return EXIT_OK


@app_command.command
def rewind(
    sink: str,
    /,
    *,
    since: Annotated[str, Parameter(help="Entries recorded from here on: date (UTC) or instant.")],
    by: By | None = None,
    where: Where | None = None,
) -> int:
    """Send a sink everything that was recorded from an instant on, once more or, if that is later, alone.

    Ids are the same as the first time, so that a receiver that knows them keeps one of each.
    """
    from remit.cli.output import refused
    from remit.cli.session import open_authority
    from remit.grants.model import Problem
    from remit.grants.ports import Remembered

    instant = parse_moment(since, "--since")
    authority = open_authority(where)

    def do(unit: "WriteUnit") -> "tuple[tuple[int, int], dict[str, Any]] | Problem":
        places = unit.rewind_sink(sink, instant, authority.clock.now())
        return _unknown(sink) if places is None else (places, {"before": places[0], "now": places[1]})

    done = write_once(authority, by, "sink rewind", {"sink": sink, "since": instant}, do)
    if isinstance(done, Problem):
        return refused([done])
    before, now = (done.answer["before"], done.answer["now"]) if isinstance(done, Remembered) else done
    print(f"sink {sink} goes on after entry {now:,}; it was at {before:,}")
    return EXIT_OK


def exports(
    *,
    count: Annotated[int, Parameter(name=["--count", "-n"], help="How many of the newest; 50 if left out.")] = 50,
    json: Json = False,
    where: Where | None = None,
) -> int:
    """List the files that scheduled exports wrote, newest first, and those that could not be written yet."""
    from remit.cli.output import moment_text, print_json, print_table, table
    from remit.cli.session import open_authority

    if not 1 <= count <= _MAX_COUNT:
        raise CommandError(f"--count is a number from 1 to {_MAX_COUNT:,}")
    rows = open_authority(where).sinks.exports(count)
    if json:
        print_json(rows)
        return EXIT_OK
    if not rows:
        print("no exports")
        return EXIT_OK
    shown = table("export", "period", "written", "rows", "attempts", "file or failure", right=("rows", "attempts"))
    for row in rows:
        written = moment_text(row["written_at"]) if row["written_at"] else "not yet"
        number = "" if row["rows"] is None else f"{row['rows']:,}"
        what = row["path"] or row["error"] or ""
        shown.add_row(row["export"], str(row["period"]), written, number, str(row["attempts"]), " ".join(what.split()))
    print_table(shown)
    return EXIT_OK


def _print_letters(rows: list[dict[str, Any]], *, json: bool) -> int:
    from remit.cli.output import moment_text, print_json, print_table, table

    if json:
        print_json(rows)
        return EXIT_OK
    if not rows:
        print("no entries were refused")
        return EXIT_OK
    shown = table("sink", "number", "entry", "state", "when", "why", right=("number",))
    for row in rows:
        entry = row["entry_id"] or "in the archive"
        shown.add_row(row["sink"], str(row["seq"]), entry, row["state"], moment_text(row["at"]), row["error"])
    print_table(shown)
    return EXIT_OK


def _failure(row: dict[str, Any]) -> str:
    from remit.cli.output import moment_text

    if not row["attempts"]:
        return ""
    error = " ".join((row["error"] or "").split())
    return f"{error} ({row['attempts']} times, again {moment_text(row['next_attempt_at'])})"


def _unknown(sink: str) -> "Any":
    from remit.grants.model import Problem

    return Problem(code="unknown_sink", path="", detail=f"no sink `{sink}` was ever fed here; `remit sinks` lists them")
