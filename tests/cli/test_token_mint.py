"""`remit token mint` prints a capability once, and it is as narrow as was asked."""

import openai
import pytest

from remit.capabilities.encoding import Frame, decode_token
from tests.cli.conftest import HELLO, Cli
from tests.system.harness import System, root


def test_a_token_is_printed_once_and_is_bounded(cli: Cli, system: System) -> None:
    """Standard output is the token alone; it spends its limit and no more, and its block is recorded."""
    system.apply({"mint": root("5.00")})
    made = cli.ok(
        "token", "mint", "mint", "--limit", "0.10 usd", "--ttl", "10m", "--label", "team=ml", "--purpose", "a run"
    )
    token = made.out.strip()
    assert made.out.count("\n") == 1 and token not in made.err
    client = system.client(token)
    client.chat.completions.create(model="sim-dime", messages=HELLO, max_completion_tokens=1)
    with pytest.raises(openai.APIStatusError) as refused:
        client.chat.completions.create(model="sim-dime", messages=HELLO, max_completion_tokens=1)
    assert refused.value.status_code in (402, 429)
    assert system.sql("SELECT count(*) FROM capability_blocks WHERE purpose = 'a run'") == [(1,)]
    bound = cli.ok("token", "mint", "mint", "--jkt", "A" * 43, "--json").json()
    frame = decode_token(bound["token"])
    assert isinstance(frame, Frame) and frame.bearer_secret is None and not bound["bearer"]
    assert cli("token", "mint", "mint", "--expires", "2100-01-01").code == 1
