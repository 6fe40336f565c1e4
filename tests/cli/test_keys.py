"""Secrets of access keys are printed once and nowhere else."""

import openai
import pytest

from tests.cli.conftest import HELLO, Cli
from tests.system.harness import System, root


def call(system: System, secret: str, model: str = "sim-dime") -> None:
    system.client(secret).chat.completions.create(model=model, messages=HELLO, max_completion_tokens=1)


def test_a_secret_is_printed_once_and_works(cli: Cli, system: System) -> None:
    """Standard output is the secret alone; neither the list nor the database has it."""
    system.apply({"keys": root("5.00")})
    made = cli.process("key", "create", "keys", "--name", "ci")
    secret = made.out.strip()
    assert made.out.count("\n") == 1 and secret not in made.err and "ci" in made.err
    call(system, secret)
    listed = cli.ok("key", "list", "keys").out + cli.ok("key", "list", "--json").out
    key_id = cli.ok("key", "list", "keys", "--json").json()[0]["id"]
    assert key_id in listed and secret not in listed and secret.rpartition("_")[2] not in listed
    assert secret not in str(system.sql("SELECT to_jsonb(k) FROM access_keys AS k"))


def test_a_key_can_be_narrower_than_its_grant(cli: Cli, system: System) -> None:
    """Limits and models of the key bind besides the grant's."""
    system.apply({"narrowkey": root("5.00")})
    options = ["--limit", "0.10 usd per day", "--model", "sim-dime", "--expires", "2090-01-01", "--token"]
    made = cli.ok("key", "create", "narrowkey", "--name", "small", *options, "--json").json()
    assert made["token"].startswith("rmt1.") and made["expires_at"] == "2090-01-01T00:00:00Z"
    with pytest.raises(openai.PermissionDeniedError):
        call(system, made["secret"], "gpt-4o-mini")
    call(system, made["secret"])
    with pytest.raises(openai.APIStatusError) as refused:
        call(system, made["secret"])
    assert refused.value.status_code in (402, 429)


def test_rotating_and_revoking_end_the_old_secret(cli: Cli, system: System) -> None:
    """A rotated key has a new secret at once, a revoked one has none."""
    system.apply({"turn": root("5.00")})
    old = cli.ok("key", "create", "turn", "--name", "prod", "--json").json()
    new = cli.ok("key", "rotate", old["id"], "--json").json()
    assert new["rotated_from"] == old["id"] and new["secret"] != old["secret"]
    call(system, new["secret"])
    with pytest.raises(openai.AuthenticationError):
        call(system, old["secret"])
    cli.ok("key", "revoke", new["id"])
    with pytest.raises(openai.AuthenticationError):
        call(system, new["secret"])
    assert "no access keys" in cli.ok("key", "list", "turn").out
    assert cli.ok("key", "list", "turn", "--all").out.count("revoked") == 2
    assert cli("key", "revoke", new["id"]).code == 1
    assert cli("key", "rotate", "nothing").code == 2
