"""A capability that was exchanged spends at the real gateway, within its rule, and says for whom in the ledger."""

import time

import httpx
import openai
import pytest

from tests.system.harness import SIM_PRICES, System, root
from tests.workloads.issuer import running_issuer, sign

RULE = """
[[workloads]]
name = "ci"
issuer = "{issuer}"
audience = "remit"
claims = {{ sub = "repo:acme/*" }}
grant = "ci"
ttl_seconds = 4
limits = [{{ usd = "0.10" }}]
labels_from = {{ workload = "sub" }}
"""


def test_an_exchanged_capability_spends_within_its_rule_and_expires() -> None:
    """One dime fits and is labelled, a second one is refused though the grant has more, and soon nothing works."""
    with running_issuer() as issuer, System(settings=SIM_PRICES + RULE.format(issuer=issuer.url)) as system:
        system.apply({"ci": root("5.00")})
        now = int(time.time())
        token = sign({"iss": issuer.url, "aud": "remit", "sub": "repo:acme/app", "iat": now, "exp": now + 60})
        form = {
            "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
            "subject_token": token,
            "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        }
        answer = httpx.post(f"http://{system.settings.api.listen}/v1/token", data=form)
        began = time.monotonic()
        client = system.client(answer.json()["access_token"])

        def call() -> None:
            hello = [{"role": "user", "content": "hello"}]
            client.chat.completions.create(model="sim-dime", messages=hello, max_completion_tokens=1)  # type: ignore[arg-type]

        call()
        with pytest.raises(openai.APIStatusError) as refused:
            call()
        assert refused.value.status_code in (402, 429)
        system.wait_until_no_hold_is_open()
        (entry,) = [one for one in system.entries("ci") if one["kind"] == "usage"]
        assert entry["tags"]["workload"] == "repo:acme/app" and system.spent("ci") == 100_000_000
        time.sleep(max(0.0, 5 - (time.monotonic() - began)))
        with pytest.raises(openai.AuthenticationError, match="expired"):
            call()
        log = system.log.read_text()
        assert "capability_exchanged" in log and token not in log and answer.json()["access_token"] not in log
