"""`remit notifications`: pages and reports to people."""

from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from remit.cli.codes import EXIT_OK, CommandError
from remit.cli.once import write_once
from remit.cli.options import By, Json, Where

if TYPE_CHECKING:
    from remit.store.postgres_writes import WriteUnit

_MAX_COUNT = 100_000
app_command = App(name="notifications")


@app_command.default
def notifications(
    *,
    count: Annotated[int, Parameter(name=["--count", "-n"], help="How many of the newest; 50 if left out.")] = 50,
    undelivered: Annotated[bool, Parameter(help="Show only those that no webhook has taken yet.")] = False,
    dead: Annotated[
        bool, Parameter(help="Show what did not reach a channel and is not tried any more, and why.")
    ] = False,
    json: Json = False,
    where: Where | None = None,
) -> int:
    """List pages and reports to people, oldest first: thresholds passed, caps reached, debts, calls in suspense.

    They stay here whether or not a webhook takes them.
    """
    from remit.cli.output import moment_text, print_json, print_table, table
    from remit.cli.session import open_authority

    if not 1 <= count <= _MAX_COUNT:
        raise CommandError(f"--count is a number from 1 to {_MAX_COUNT:,}")
    if dead:
        return _print_dead(open_authority(where).deliveries.dead(0, count), json=json)
    rows = open_authority(where).ledger.notifications(count, undelivered=undelivered)
    if json:
        print_json(rows)
        return EXIT_OK
    if not rows:
        print("no notifications")
        return EXIT_OK
    shown = table("when", "to", "about", "grant", "owner", "what", "delivered")
    for row in rows:
        delivered = moment_text(row["delivered_at"]) if row["delivered_at"] else "not yet"
        owner = str(row["body"].get("owner", ""))
        path = row["path"] or row["node_id"]
        shown.add_row(moment_text(row["created_at"]), row["audience"], row["kind"], path, owner, _what(row), delivered)
    print_table(shown)
    return EXIT_OK


def _what(row: dict[str, Any]) -> str:
    from remit.grants.words import amount_text

    body, dimension = row["body"], row["dimension"]
    if "amount_nanousd" in body:
        return amount_text("usd", body["amount_nanousd"])
    if row["kind"] == "forecast_exhaustion":
        return f"runs out {str(body.get('runs_out_at', ''))[:16]}"
    if "limit" in body and "posted" in body and dimension:
        used = f"{amount_text(dimension, body['posted'])} of {amount_text(dimension, body['limit'])}"
        return f"{row['threshold']}%: {used}" if row["threshold"] else used
    return str(body.get("detail", ""))


def _print_dead(rows: list[dict[str, Any]], *, json: bool) -> int:
    from remit.cli.output import moment_text, print_json, print_table, table

    if json:
        print_json(rows)
        return EXIT_OK
    if not rows:
        print("no dead letters")
        return EXIT_OK
    shown = table("id", "when", "channel", "about", "grant", "attempts", "why")
    for row in rows:
        when, path = moment_text(row["created_at"]), row["path"] or ""
        shown.add_row(str(row["id"]), when, row["channel"], row["kind"], path, str(row["attempts"]), row["error"])
    print_table(shown)
    return EXIT_OK


@app_command.command
def retry(notification: int, /, *, by: By | None = None, where: Where | None = None) -> int:
    """Try again to bring a notification to the channels that it did not reach.

    The number is the id that `remit notifications --dead` shows. All attempts are before it again.
    """
    from remit.cli.output import refused
    from remit.cli.session import open_authority
    from remit.grants.model import Problem
    from remit.grants.ports import Remembered

    authority = open_authority(where)

    def do(unit: "WriteUnit") -> "tuple[list[str], dict[str, Any]] | Problem":
        channels = unit.retry_delivery(notification, authority.clock.now())
        if not channels:
            detail = f"notification {notification} is dead in no channel"
            return Problem(code="unknown_dead_letter", path="", detail=detail)
        return channels, {"channels": channels}

    done = write_once(authority, by, "notification retry", {"notification": notification}, do)
    if isinstance(done, Problem):
        return refused([done], json=False)
    channels = done.answer["channels"] if isinstance(done, Remembered) else done
    print(f"notification {notification} is due again: {', '.join(channels)}")
    return EXIT_OK
