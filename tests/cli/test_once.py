"""Keys and person tokens are written with who and why, once under an idempotency key."""

from typing import Any

import pytest

from tests.cli.conftest import Cli
from tests.system.harness import System, root

ANSWER = "SELECT body ->> 'operation', body ->> 'reason', body ->> 'actor', answer::text FROM answers WHERE idempotency_key = %s"


def why(key: str, reason: str) -> list[str]:
    return ["--idempotency-key", key, "--reason", reason, "--actor", "kim@acme.example", "--json"]


def recorded(system: System, key: str) -> tuple[Any, ...]:
    (row,) = system.sql(ANSWER, key)
    return tuple(row)


def test_a_key_is_made_rotated_and_revoked_once(cli: Cli, system: System) -> None:
    """A repetition makes nothing and shows no secret; who and why are recorded, and the secret is not."""
    system.apply({"oncekey": root("5.00")})
    create = ["key", "create", "oncekey", "--name", "ci", "--limit", "1 usd per day", *why("k-create", "for the build")]
    made, again = cli.ok(*create).json(), cli.ok(*create).json()
    assert again == made | {"secret": None, "replayed": True} and made["secret"] and not made["replayed"]
    silent = cli.ok(*create[:-1])
    assert silent.out == "" and made["id"] in silent.err
    rotate = ["key", "rotate", made["id"], *why("k-rotate", "every month")]
    turned, again = cli.ok(*rotate).json(), cli.ok(*rotate).json()
    assert again == turned | {"secret": None, "replayed": True} and turned["rotated_from"] == made["id"]
    revoke = ["key", "revoke", turned["id"], *why("k-revoke", "found in a log")]
    ended, again = cli.ok(*revoke).json(), cli.ok(*revoke).json()
    assert again == ended | {"replayed": True} and ended["revoked_by"] == "kim@acme.example"
    assert len(cli.ok("key", "list", "oncekey", "--all", "--json").json()) == 2
    for verb, reason in (("create", "for the build"), ("rotate", "every month"), ("revoke", "found in a log")):
        operation, said, actor, answer = recorded(system, f"k-{verb}")
        assert (operation, said, actor) == (f"key {verb}", reason, "kim@acme.example")
        assert made["secret"] not in answer and turned["secret"] not in answer


def test_a_token_is_made_and_revoked_once(cli: Cli, system: System) -> None:
    """The same for tokens of people."""
    create = ["person", "create", "lea@acme.example", "--days", "5", *why("p-create", "joins the team")]
    made, again = cli.ok(*create).json(), cli.ok(*create).json()
    assert again == made | {"token": None, "replayed": True} and made["token"]
    assert cli.ok(*create[:-1]).out == ""
    revoke = ["person", "revoke", made["id"], *why("p-revoke", "left the team")]
    ended, again = cli.ok(*revoke).json(), cli.ok(*revoke).json()
    assert again == ended | {"replayed": True} and ended["id"] == made["id"]
    for verb, reason in (("create", "joins the team"), ("revoke", "left the team")):
        operation, said, actor, answer = recorded(system, f"p-{verb}")
        assert (operation, said, actor) == (f"person {verb}", reason, "kim@acme.example")
        assert made["token"] not in answer


@pytest.mark.parametrize("changed", [["--name", "other"], ["--reason", "other"], ["--actor", "eva@acme.example"]])
def test_another_write_under_the_same_key_is_refused(cli: Cli, system: System, changed: list[str]) -> None:
    """A key made under an idempotency key is not taken for another one, and what is refused leaves its key free."""
    path, key = f"other-{changed[0][2:]}", f"k-{changed[0]}"
    assert cli("key", "create", path, "--name", "ci", "--idempotency-key", key).code == 2
    system.apply({path: root("5.00")})
    options = {"--name": "ci", "--reason": "r", "--actor": "kim@acme.example", "--idempotency-key": key}
    assert cli("key", "create", path, *words(options | {"--name": ""})).code == 1
    cli.ok("key", "create", path, *words(options))
    refused = cli("key", "create", path, *words(options | {changed[0]: changed[1]}))
    assert refused.code == 1 and f"conflict_different_{changed[0][2:]}" in refused.err and refused.out == ""


def words(options: dict[str, str]) -> list[str]:
    return [word for option in options.items() for word in option]
