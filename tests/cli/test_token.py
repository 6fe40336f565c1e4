"""`remit token attenuate`, `inspect` and `verify`: offline, with the capability where nobody can read it."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from remit.capabilities.encoding import encode_base64url
from remit.kernel.clock import SystemClock
from remit.sdk import Capability
from tests.capabilities.vectors import AUDIENCE, KEY
from tests.cli.conftest import Cli
from tests.sdk.support import capability

ISSUER = encode_base64url(KEY.public_key)


def fresh(**changes: Any) -> str:
    second = int(SystemClock().now().timestamp())
    return capability(issued_at=second - 60, not_before=second - 60, not_after=second + 86_400, **changes).token


@pytest.fixture
def offline(tmp_path: Path) -> Cli:
    """The command line where there are neither settings nor a database."""
    return Cli(tmp_path, {name: value for name, value in os.environ.items() if not name.startswith("REMIT_")})


def test_a_capability_is_narrowed_and_nothing_else_is_printed(offline: Cli) -> None:
    """Standard output is the new capability alone; what was asked for is in its last block."""
    terms = [
        "--limit",
        "0.50 usd",
        "--limit",
        "9 requests per day",
        "--model",
        "gpt-4o,o3",
        "--surface",
        "chat.completions",
    ]
    more = ["--ttl", "2m", "--label", "run=7", "--max-depth", "1", "--max-children", "2", "--max-ttl", "1m"]
    ran = offline.ok("token", "attenuate", *terms, *more, stdin=f"{fresh()}\n")
    assert ran.err == "" and ran.out.count("\n") == 1
    view = Capability(ran.out.strip()).inspect()
    own = view.blocks[-1]
    assert [(one.dimension, one.amount, one.period) for one in own.limits] == [
        ("requests", 9, "day"),
        ("usd", 500_000_000, "once"),
    ]
    assert (own.models, own.surfaces, view.labels) == (("gpt-4o", "o3"), ("chat.completions",), {"run": "7"})
    assert (view.delegate.max_depth, view.delegate.max_children, view.delegate.max_ttl_seconds) == (1, 2, 60)


def test_a_time_to_live_that_is_cut_is_told(offline: Cli) -> None:
    """A parent that allows an hour gives an hour, and says so beside the answer."""
    ran = offline.ok("token", "attenuate", "--ttl", "2d", stdin=fresh())
    assert "cut to what the parent allows" in ran.err
    assert Capability(ran.out.strip()).inspect().blocks


def test_the_environment_is_read_where_standard_input_is_empty(offline: Cli) -> None:
    """$REMIT_CAPABILITY serves where nothing is piped in, and what is piped in wins."""
    first, second = fresh(), fresh()
    shown = offline.ok("token", "inspect", "--json", REMIT_CAPABILITY=first).json()
    assert shown["blocks"][0]["id"] == Capability(first).id
    shown = offline.ok("token", "inspect", "--json", stdin=second, REMIT_CAPABILITY=first).json()
    assert shown["blocks"][0]["id"] == Capability(second).id


@pytest.mark.parametrize("command", ["attenuate", "inspect", "verify"])
def test_a_capability_as_an_argument_is_refused(offline: Cli, command: str) -> None:
    """It is not taken, and it is not repeated on the screen."""
    token = fresh()
    ran = offline("token", command, token)
    assert (ran.code, ran.out) == (2, "")
    assert "no argument" in ran.err and token not in ran.err


@pytest.mark.parametrize(
    ("stdin", "arguments", "words"),
    [
        ("", [], "there is no capability"),
        ("sk-other", [], "begins with `rmt1.`"),
        ("rk_" + "0" * 12 + "_" + "A" * 43, [], "remit key create GRANT --name NAME --token"),
        (None, ["--limit", "0.5"], "is not a limit"),
        (None, ["--label", "x"], "name=value"),
        (None, ["--ttl", "soon"], "`soon` is not a duration such as `90s`"),
        (None, ["--public-key", "x"], "public_key"),
    ],
)
def test_mistakes_are_one_line(offline: Cli, stdin: str | None, arguments: list[str], words: str) -> None:
    """What cannot be narrowed as asked is a line that says why, and exit code 2."""
    ran = offline("token", "attenuate", *arguments, stdin=fresh() if stdin is None else stdin)
    assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1)
    assert words in ran.err


def test_inspecting_says_that_nothing_was_checked(offline: Cli) -> None:
    """Blocks, limits and the expiry in words; and that anybody could have written it."""
    child = offline.ok("token", "attenuate", "--limit", "0.50 usd", stdin=fresh(models=("gpt-4o",))).out
    out = offline.ok("token", "inspect", stdin=child).out
    assert out.startswith("signatures were not checked")
    for words in (
        "$0.50 once",
        "$5.00 once",
        "expires in 9 minutes",
        "gpt-4o",
        "block 1",
        "2 levels",
        "whoever has the text",
    ):
        assert words in out
    shown = json.loads(offline.ok("token", "inspect", "--json", stdin=child).out)
    assert shown["signatures_checked"] is False
    assert shown["limits"] == [{"dimension": "usd", "amount": 500_000_000, "unit": "nanousd", "period": "once"}]
    assert offline("token", "inspect", stdin="rmt1.AAAA").code == 1
    expired = capability().token
    assert "ago" in offline.ok("token", "inspect", stdin=expired).out or "expires" in out


def test_verifying_takes_an_issuers_key(offline: Cli) -> None:
    """The right key and audience verify; another key, another audience and a torn text are exit code 1 and named."""
    child = offline.ok("token", "attenuate", "--limit", "0.50 usd", stdin=fresh()).out
    given = ["--issuer-key", ISSUER, "--audience", AUDIENCE]
    assert offline.ok("token", "verify", *given, stdin=child).out.startswith("verified")
    assert offline.ok("token", "verify", *given, "--json", stdin=child).json()["signatures_checked"] is True
    assert "audience" in offline("token", "verify", "--issuer-key", ISSUER, stdin=child).err
    other = ["--issuer-key", encode_base64url(bytes(32)), "--audience", AUDIENCE]
    ran = offline("token", "verify", *other, stdin=child)
    assert (ran.code, ran.out) == (1, "") and "unknown issuer" in ran.err
    torn = child.strip()[:-5] + "AAAAA"
    assert offline("token", "verify", *given, stdin=torn).code == 1
    assert offline("token", "verify", stdin=child).code == 2


def test_verifying_names_what_has_to_be_proven(offline: Cli) -> None:
    """A capability without a secret is genuine, and says whose proof it takes."""
    handed = offline.ok("token", "attenuate", "--public-key", ISSUER, stdin=fresh()).out
    out = offline.ok("token", "verify", "--issuer-key", ISSUER, "--audience", AUDIENCE, stdin=handed).out
    assert "but for a proof of possession" in out and "proves possession of jkt" in out


def test_verifying_with_the_keys_of_the_database(cli: Cli, spent: str) -> None:
    """What the authority issued verifies by its own keys, children included."""
    token = cli.ok("key", "create", spent, "--name", "chain", "--token").out.splitlines()[1]
    child = cli.ok("token", "attenuate", "--limit", "0.10 usd", stdin=token).out
    assert cli.ok("token", "verify", "--keys-from-database", stdin=child).out.startswith("verified")
    assert cli("token", "verify", "--keys-from-database", stdin=fresh()).code == 1


def test_nothing_of_the_server_is_loaded(tmp_path: Path) -> None:
    """Narrowing at the command line loads no database driver, server or settings."""
    code = (
        "import sys\nfrom remit.cli.main import run\nassert run(['token', 'attenuate']) == 0\n"
        "print([name for name in ('psycopg', 'litestar', 'uvicorn', 'remit.settings', 'remit.store') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], input=fresh(), capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert done.stdout.splitlines()[-1] == "[]"
