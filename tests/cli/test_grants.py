"""Applying files, looking at the tree, changing grants one by one."""

import fcntl
import os
import pty
import re
import select
import subprocess
import termios
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.cli.conftest import Cli, Ran
from tests.cli.test_keys import call
from tests.system.harness import System

FILE = """
version: 1
grants:
  {name}:
    owner: ada@acme.example
    class: production
    expires: 2099-01-01
    time_zone: Europe/Berlin
    limits: [{{usd: "{usd}", per: month}}]
    children:
      lab:
        owner: eva@acme.example
        class: experimentation
        limits: [{{usd: "1.00", per: day}}]
"""


def write(cli: Cli, name: str, usd: str = "100.00") -> str:
    path = cli.folder / f"{name}.yaml"
    path.write_text(FILE.format(name=name, usd=usd))
    return str(path)


def on_a_terminal(cli: Cli, *arguments: str, typed: str = "", columns: int = 120, **environment: str) -> Ran:
    """The command with a terminal for all three streams; what it prints arrives as one text.

    What is typed is typed when something is asked; Ctrl-C and Ctrl-D do what they do on a terminal.
    """
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [*cli.command(), *arguments],
        stdin=follower,
        stdout=follower,
        stderr=follower,
        cwd=cli.folder,
        env={**cli.environment, "TERM": "xterm-256color", "COLUMNS": str(columns), **environment},
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509 - takes no lock
    )
    os.close(follower)
    seen = b""
    try:
        while True:
            if select.select([leader], [], [], 0.5)[0]:
                seen += os.read(leader, 65536)
            elif typed and b"[y/N] " in seen and b"nothing was changed" not in seen:
                # Ctrl-C between the question and the reading of an answer is noticed with the next key only: type again. Not
                # once it was answered: another Ctrl-C would meet an interpreter that is ending.
                os.write(leader, typed.encode())
    except OSError:
        pass  # how a terminal says that the last writer has left
    os.close(leader)
    return Ran(process.wait(60), seen.decode(), "")


def test_a_plan_is_shown_and_needs_a_yes(cli: Cli) -> None:
    """Without a terminal nothing is applied unless --yes is there, and --dry-run changes nothing."""
    file = write(cli, "planned")
    dry = cli.ok("apply", file, "--dry-run")
    assert "+ planned/lab" in dry.out and "2 to create" in dry.out
    refused = cli.process("apply", file)
    assert refused.code == 2 and "--yes" in refused.err and refused.err.count("\n") == 1
    assert cli("grant", "show", "planned").code == 2
    assert cli.process("apply", file, "--yes").out.endswith("applied\n")
    assert "0 to create, 0 to change" in cli.ok("apply", file).out


@pytest.mark.parametrize(("typed", "code", "words"), [("y\n", 0, "applied"), ("\n", 1, "nothing was changed")])
def test_a_terminal_is_asked(cli: Cli, typed: str, code: int, words: str) -> None:
    """On a terminal the plan is applied on yes and on nothing else."""
    ran = on_a_terminal(cli, "apply", write(cli, f"asked{code}"), typed=typed)
    assert (ran.code, words in ran.out) == (code, True), ran.out
    assert cli("grant", "show", f"asked{code}").code == (0 if code == 0 else 2)


def test_a_file_can_come_by_standard_input(cli: Cli) -> None:
    """`-` reads the file from a pipe; JSON tells what was done."""
    text = FILE.format(name="piped", usd="50")
    done = cli.ok("apply", "-", "--yes", "--json", "--reason", "a pipe", stdin=text).json()
    assert done["applied"] is True and [one["path"] for one in done["creates"]] == ["piped", "piped/lab"]
    (revision,) = cli.ok("grant", "history", "piped", "--json").json()
    assert (revision["reason"], revision["changed_by"]) == ("a pipe", "ada@localhost")


def test_what_the_rules_forbid_is_exit_code_one(cli: Cli) -> None:
    """A child above its parent is refused with its numbers, in the plan and on a single command."""
    cli.ok("apply", write(cli, "narrow"), "--yes")
    refused = cli("apply", write(cli, "narrow", usd="0.50"), "--yes")
    assert refused.code == 1 and "cannot be applied" in refused.out
    single = cli("grant", "edit", "narrow/lab", "--limit", "5000 usd per month")
    assert single.code == 1 and "$100.00" in single.err and "$5,000.00" in single.err
    as_json = cli("grant", "edit", "narrow/lab", "--limit", "5000 usd per month", "--json")
    assert as_json.code == 1 and as_json.json()["problems"][0]["code"] == "limit_not_contained"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("grants: [", "line 1"),
        ("grants: {a: {owner: x@y.z}, a: {owner: x@y.z}}", "stands twice"),
        ("grants: {a: {owner: x@y.z, limits: [{usd: 0.1, per: day}]}}", "binary fraction"),
        ("grants: {a: {ownr: x@y.z}}", "did you mean `owner`?"),
        ("\ngrants: {a: {owner: x@y.z, expires: 2026-02-31}}", "line 2, column 37: `2026-02-31` is not a day"),
        ("\x00", "line 1 holds a control character"),
        ("[" * 5000, "nested too deeply"),
        ("grants: {}\n---\ngrants: {}\n", "line 2, column 1: a second document begins here"),
        *(
            (
                f"grants: {{a: {{owner: x@y.z, limits: [{{usd: {number}, per: day}}]}}}}",
                f"`{number}` is not a decimal amount",
            )
            for number in ("0100", "1:30", "0x10", "0o17", "1_000", "+5", "-5", "1e3", ".inf")
        ),
        ("grants: {a: {owner: x@y.z, limits: [{tokens: 0100, per: day}]}}", "`0100`, not a whole number"),
        ("grants: {a: {owner: x@y.z, limits: [{usd: '0.0000000001', per: day}]}}", "`0.0000000001` is finer"),
        ("grants: {a: {owner: x@y.z, limits: [{usd: '$5', per: day}]}}", "`$5` is not a decimal amount"),
        ("grants: {a: {owner: x@y.z, limits: [{usd: '\u0661', per: day}]}}", "`\u0661` is not a decimal amount"),
        ("version: !!int 0x1\ngrants: {}", "`0x1` is not a whole number in plain digits"),
    ],
)
def test_a_bad_file_is_a_line_and_exit_code_two(cli: Cli, text: str, words: str) -> None:
    """What is wrong with a file is said with its place, without a traceback."""
    path = cli.folder / "bad.yaml"
    path.write_text(text)
    ran = cli("apply", str(path), "--yes")
    assert ran.code == 2 and words in ran.err and all(line.startswith("remit: ") for line in ran.err.splitlines())


def test_a_missing_file_is_exit_code_two(cli: Cli) -> None:
    """A file that is not there, or is no text, is named as it was written."""
    ran = cli("apply", "Nowhere.yaml")
    assert (ran.code, ran.err) == (2, "remit: cannot read `Nowhere.yaml`: no such file or directory\n")
    (cli.folder / "picture").write_bytes(b"\x89PNG\xff")
    assert cli("apply", "picture").err == "remit: `picture` is not text in UTF-8\n"


def test_the_tree_shows_how_limits_burn(cli: Cli, spent: str) -> None:
    """Posted, held and left of the current period stand in the text and, exactly, in the JSON."""
    text = cli.ok("grant", "tree", spent).out
    assert "$0.30 posted, $0.00 held, $4.70 left" in text and "\x1b[" not in text
    assert "█" in text or "#" in text
    rows = {one["path"]: one for one in cli.ok("grant", "tree", spent, "--json").json()}
    assert list(rows) == ["books", "books/lab", "books/search"]
    (limit,) = rows["books"]["limits"]
    assert (limit["limit"], limit["posted"], limit["held"], limit["remaining"]) == (10**10, 4 * 10**8, 0, 96 * 10**8)
    assert (limit["unit"], limit["dimension"], limit["period"]) == ("nano-usd", "usd", "month")


def test_show_says_what_binds(cli: Cli, spent: str) -> None:
    """A grant's page has its own terms, the limits of all above it, and the node that binds."""
    text = cli.ok("grant", "show", f"{spent}/search").out
    assert "$4.70 can be spent now; `books/search` is what binds" in text and "team search" in text
    page = cli.ok("grant", "show", f"{spent}/search", "--json").json()
    assert page["binding_node"] == "books/search" and page["spendable_nanousd"] == 4_700_000_000
    assert page["effective"]["scope"] == {"team": "search"} and page["effective"]["refusal"] is None


def test_a_grant_is_changed_step_by_step(cli: Cli) -> None:
    """Create, edit, suspend, resume, renew, revoke: each is a revision with who, when and why."""
    cli.ok("apply", write(cli, "steps"), "--yes")
    owner = ["--owner", "kim@acme.example"]
    cli.ok(
        "grant",
        "create",
        "steps/new",
        *owner,
        "--limit",
        "2 usd per day",
        "--model",
        "sim-*",
        "--expires",
        "2090-01-01",
    )
    changed = cli.ok("grant", "edit", "steps/new", "--rpm", "5", "--unset", "models", "--limit", "9 requests per day")
    assert "rate: none -> rpm 5" in changed.out and "$2.00 per day, 9 requests per day" in changed.out
    assert "status: active -> suspended" in cli.ok("grant", "suspend", "steps/new", "--reason", "pause").out
    assert "nothing can be spent" in cli.ok("grant", "show", "steps/new").out
    cli.ok("grant", "resume", "steps/new")
    cli.ok("grant", "renew", "steps/new", "--expires", "2091-01-01", "--actor", "root@acme.example")
    cli.ok("grant", "edit", "steps/new", "--unset-limit", "usd per day")
    cli.ok("grant", "revoke", "steps/new")
    history = cli.ok("grant", "history", "steps/new").out
    assert history.count("revision ") == 7 and "pause" in history and "root@acme.example" in history
    # A date is the start of a day in the grant's own time zone.
    assert "expires_at: 2089-12-31T23:00:00Z -> 2090-12-31T23:00:00Z" in history
    assert "new" not in cli.ok("grant", "tree", "steps").out.replace("renew", "")
    assert "revoked" in cli.ok("grant", "tree", "steps", "--all").out
    assert cli("grant", "renew", "steps/new", "--expires", "2092-01-01").code == 1


def test_every_status_is_reached_and_left(cli: Cli, system: System) -> None:
    """From requested by way of active, suspended and expired to revoked, and what is refused says how it goes on."""
    cli.ok("apply", write(cli, "states"), "--yes")
    made = ("states/new", "--owner", "kim@acme.example", "--requested", "--limit", "2 usd per day")
    assert cli.ok("grant", "create", *made, "--json").json()["grant"]["status"] == "requested"

    def shown() -> tuple[str, Any]:
        page = cli.ok("grant", "show", "states/new", "--json").json()
        return page["grant"]["status"], page["effective"]["refusal"]

    status, refusal = shown()
    assert (status, refusal["code"]) == ("requested", "grant_inactive")
    assert "ask `ada@acme.example`, the owner of `states`, to activate it" in refusal["detail"]
    key = system.key("states/new")
    with pytest.raises(openai.PermissionDeniedError, match="not activated yet"):
        call(system, key)
    assert "status: requested -> active" in cli.ok("grant", "activate", "states/new", "--reason", "agreed").out
    call(system, key)
    assert "is so already" in cli.ok("grant", "activate", "states/new").out
    cli.ok("grant", "suspend", "states/new")
    status, refusal = shown()
    assert (status, refusal["code"]) == ("suspended", "grant_inactive")
    assert cli("grant", "activate", "states/new").code == 1
    cli.ok("grant", "resume", "states/new")
    cli.ok("grant", "edit", "states/new", "--expires", (datetime.now(UTC) + timedelta(seconds=1)).isoformat())
    deadline = time.monotonic() + 60
    while (seen := shown())[0] != "expired":
        assert time.monotonic() < deadline, seen
        time.sleep(0.2)
    assert seen[1]["code"] == "grant_expired"
    cli.ok("grant", "renew", "states/new", "--expires", "2090-01-01")
    assert shown() == ("active", None)
    cli.ok("grant", "revoke", "states/new")
    assert shown()[0] == "revoked"
    assert "agreed" in cli.ok("grant", "history", "states/new").out


def test_a_repeated_write_under_one_key_is_done_once(cli: Cli) -> None:
    """The same request under the same idempotency key is answered as before; another request is refused."""
    cli.ok("apply", write(cli, "once"), "--yes")
    edit = ["grant", "edit", "once/lab", "--idempotency-key", "k-1", "--json"]
    first = cli.ok(*edit, "--team", "lab").json()
    again = cli.ok(*edit, "--team", "lab").json()
    assert (first["replayed"], again["replayed"]) == (False, True) and first["grant"] == again["grant"]
    other = cli(*edit, "--team", "other")
    assert other.code == 1 and "idempotency key" in other.err


def test_a_revocation_says_what_it_takes_with_it(cli: Cli) -> None:
    """On a terminal it is asked for; anywhere it prints how many grants and keys end."""
    cli.ok("apply", write(cli, "ending"), "--yes")
    cli.ok("key", "create", "ending/lab", "--name", "one")
    asked = on_a_terminal(cli, "grant", "revoke", "ending", typed="n\n")
    assert asked.code == 1 and "1 grant below it and 1 key end with it [y/N]" in asked.out
    assert "nothing was changed" in asked.out and "active" in cli.ok("grant", "tree", "ending").out
    assert on_a_terminal(cli, "grant", "revoke", "ending/lab", "--yes").code == 0
    assert "0 grants below it and 0 keys end with it" in cli.ok("grant", "revoke", "ending").out
    cli.ok("apply", write(cli, "ending2"), "--yes")
    assert cli.ok("grant", "revoke", "ending2", "--json").json()["ended"] == {"grants_below": 1, "keys": 0}
    assert "is so already" in cli.ok("grant", "revoke", "ending").out


def test_what_is_above_shows_below(cli: Cli) -> None:
    """A grant or key whose ancestor is stopped is not shown as active, and shows the earliest expiry that binds it."""
    cli.ok("apply", write(cli, "above"), "--yes")
    cli.ok("key", "create", "above/lab", "--name", "one")
    (key,) = cli.ok("key", "list", "above/lab", "--json").json()
    assert (key["effective_status"], key["effective_status_of"]) == ("active", None)
    cli.ok("grant", "suspend", "above")
    assert "suspended with above" in cli.ok("grant", "tree", "above").out
    assert "suspended with above" in cli.ok("key", "list", "above/lab").out
    cli.ok("grant", "revoke", "above")
    rows = cli.ok("grant", "tree", "above", "--all", "--json").json()
    assert [(one["status"], one["effective_status"], one["effective_status_of"]) for one in rows] == [
        ("revoked", "revoked", "above"),
        ("active", "revoked", "above"),
    ]
    (key,) = cli.ok("key", "list", "above/lab", "--json").json()
    assert (key["revoked_at"], key["effective_status"], key["effective_status_of"]) == (None, "revoked", "above")
    assert key["effective_expires_at"] <= key["expires_at"]


def test_what_is_unknown_is_a_problem_in_json_too(cli: Cli) -> None:
    """A name that stands for nothing is exit code two everywhere, and with --json a problem on standard output."""
    for command in (("grant", "show", "nothing"), ("key", "revoke", "nothing"), ("person", "revoke", "nothing")):
        ran = cli(*command, "--json")
        assert ran.code == 2 and ran.json()["problems"][0]["code"] in ("grant_unknown", "unknown_key", "unknown_token")
    path = cli.folder / "orphan.yaml"
    path.write_text("grants: {nowhere/at/all: {owner: x@y.z}}")
    assert cli("apply", str(path), "--yes").code == 2


def test_a_history_cannot_steer_a_terminal(cli: Cli) -> None:
    """Control characters are refused in owner, reason and author, each by name."""
    cli.ok("apply", write(cli, "plain"), "--yes")
    edit = ["grant", "edit", "plain/lab", "--team", "lab"]
    for option, code in (("--reason", "reason_invalid"), ("--actor", "actor_invalid"), ("--owner", "owner_invalid")):
        ran = cli(*edit, option, "a\x1b[31m@b.example", "--json")
        assert ran.code == 1 and [one["code"] for one in ran.json()["problems"]] == [code]
        assert "\x1b" not in ran.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("grant", "create", "Bad Path", "--owner", "x@y.z"), "is not a path segment"),
        (("--json", "grant", "tree"), "options follow the command"),
        (("grant", "shw"), 'did you mean "show"? see `remit grant --help`'),
        (("grant", "show", "plannd"), "there is no grant `plannd`"),
        (("grant", "edit", "books"), "nothing to change"),
        (("grant", "edit", "books", "--limit", "1 eur per day"), "`eur per day`"),
        (("grant", "edit", "books", "--limit", "1.2345678901 usd per day"), "finer than a nano-dollar"),
        (("grant", "edit", "books", "--unset", "colour"), "cannot be unset"),
        (("grant", "edit", "books", "--unset-limit", "usd per day"), "no limit `usd per day`"),
        (("grant", "edit", "books", "--expires", "2099-01-01T00:00"), "without an offset"),
        (("grant", "edit", "books", "--expires", "soon"), "neither a date"),
        (("grant", "edit", "books", "--time-zone", "Mars/Base"), "time zone"),
        (("grant", "frobnicate"), "unknown command"),
        (("grant", "tree", "--colour"), "--colour"),
        (("key", "create", "books"), "--name"),
    ],
)
def test_mistakes_are_one_line_and_exit_code_two(cli: Cli, spent: str, arguments: tuple[str, ...], words: str) -> None:
    """A mistake on the command line is one lower-case line on standard error and changes nothing."""
    ran = cli(*arguments)
    assert ran.code == 2 and ran.out == "" and words in ran.err
    assert ran.err.startswith("remit: ") and ran.err.count("\n") == 1 and not ran.err[7].isupper()


def test_colour_is_for_terminals_that_want_it(cli: Cli, spent: str) -> None:
    """A terminal gets colour, NO_COLOR takes it away."""
    assert "\x1b[32m" in on_a_terminal(cli, "grant", "tree", spent).out
    plain = on_a_terminal(cli, "grant", "tree", spent, NO_COLOR="1").out
    assert "books" in plain and "\x1b[32m" not in plain


def test_a_narrow_terminal_cuts_nothing(cli: Cli, spent: str) -> None:
    """Numbers move to a line of their own where there is little room."""
    narrow = on_a_terminal(cli, "grant", "tree", f"{spent}/search", columns=60, NO_COLOR="1").out
    assert "\r\n      $0.30 posted, $0.00 held, $4.70 left" in narrow.replace("\x1b[2m", "").replace("\x1b[0m", "")


def test_a_very_narrow_terminal_gets_rows_written_out(cli: Cli, spent: str) -> None:
    """At forty columns a report is one line for each value, and nothing is broken in the middle."""
    by = ("ledger", "report", "--by", "grant")
    narrow, wide = (
        re.sub(r"\x1b\[[0-9]*m", "", on_a_terminal(cli, *by, columns=columns, NO_COLOR="1").out)
        for columns in (40, 120)
    )
    assert f"grant     {spent}/search\r\n" in narrow and "amount    $0.30\r\n" in narrow
    assert f"grant     {spent}/search\r\n" not in wide


def test_a_change_that_reads_alike_is_told_apart(cli: Cli) -> None:
    """No data classes stated and none allowed are two things, in the answer and in the history."""
    cli.ok("apply", write(cli, "classes"), "--yes")
    changed = cli.ok("grant", "edit", "classes/lab", "--data-class", "").out
    assert "data_classes: not stated -> an empty list" in changed
    assert "data_classes: not stated -> an empty list" in cli.ok("grant", "history", "classes/lab").out


def test_a_new_user_is_told_where_the_database_would_be(cli: Cli, tmp_path: Path) -> None:
    """Looking makes no empty database by mistake: exit code 3 says there is none."""
    ran = cli("grant", "tree", "--data-dir", str(tmp_path / "none"), REMIT_CONFIG="")
    assert ran.code == 3 and "there is no database" in ran.err and not (tmp_path / "none").exists()
