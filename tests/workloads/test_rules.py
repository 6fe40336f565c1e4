"""Rules that would let in more than they say do not start; keys of issuers are read with care."""

from datetime import timedelta
from typing import Any

import pytest

from remit.api.jwks import FRESH_SECONDS, RETRY_SECONDS, STALE_SECONDS, KeySet, KeysUnavailableError, Source
from remit.api.workload_rules import read_rules
from remit.settings import SettingsError, load_settings
from remit.testing.clock import ManualClock
from tests.workloads.issuer import KEYS, running_issuer

GITHUB = "https://token.actions.githubusercontent.com"
GOOD: dict[str, Any] = {
    "name": "ci",
    "issuer": GITHUB,
    "audience": "remit",
    "claims": {"sub": "repo:acme/*"},
    "grant": "acme",
}


def read(**change: Any) -> Any:
    table = {name: value for name, value in {**GOOD, **change}.items() if value is not None}
    return read_rules(load_settings(overrides={"workloads": [table]}, environment={}).workloads)


def test_a_rule_is_read() -> None:
    """A limit without a period is for the capability's whole life."""
    (rule,) = read(limits=[{"usd": "0.50"}, {"requests": 9, "per": "day"}])
    assert [(one.amount, one.period) for one in rule.narrowing.limits] == [(500_000_000, "once"), (9, "day")]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"claims": {"sub": "*"}}, "fixes nothing"),
        ({"claims": {"sub": "repo:*"}}, "signs for everybody"),
        ({"claims": {"sub": "repo:acme*"}}, "signs for everybody"),
        ({"claims": {"sub": ["repo:acme/*", "*main"]}}, "signs for everybody"),
        ({"claims": {"ref": "refs/heads/main"}}, "signs for everybody"),
        ({"claims": {"job_workflow_ref": "acme/ci/.github/workflows/deploy.yml@*"}}, "signs for everybody"),
        ({"claims": {}}, "fixes nothing"),
        ({"claims": {"aud": "x"}}, "not for patterns"),
        ({"issuer": None}, "`issuer` is missing"),
        ({"issuer": None, "jwks_url": "https://x.example/k"}, "spiffe://DOMAIN/"),
        ({"issuer": "http://issuer.example"}, "not an https URL"),
        ({"jwks_file": "a", "jwks_url": "https://x.example/k"}, "both set"),
        ({"ttl_seconds": 3601}, "at most 3600"),
        ({"limits": [{"usd": 0.5}]}, "in quotes"),
        ({"labels": {"team": "x"}, "labels_from": {"team": "sub"}}, "stands in"),
        ({"labels": {"Team": "x"}}, "no label"),
        ({"claim": {}}, "did you mean `claims`"),
        ({"name": "Big One"}, "does not match"),
    ],
    ids=str,
)
def test_a_rule_that_cannot_be_used_is_one_line(change: dict[str, Any], why: str) -> None:
    """The message has the reason, on one line."""
    with pytest.raises(SettingsError, match=why) as error:
        read(**change)
    assert "\n" not in str(error.value)


def test_keys_follow_their_issuer() -> None:
    """A new key is found after a minute at the latest; without the issuer the last ones work for an hour."""
    clock = ManualClock()
    with running_issuer() as issuer:
        issuer.keys = [KEYS["RS256"]]
        keys = KeySet(Source("discovery", issuer.url, None), clock)
        assert keys.find("rsa") and keys.find("ec") is None and issuer.fetched == 1
        issuer.keys = [KEYS["ES256"]]
        assert keys.find("ec") is None and issuer.fetched == 1
        clock.advance(timedelta(seconds=RETRY_SECONDS + 1))
        assert keys.find("ec") and keys.find("rsa") is None and issuer.fetched == 2
        issuer.is_down = True
        clock.advance(timedelta(seconds=FRESH_SECONDS + 1))
        assert keys.find("ec")
        clock.advance(timedelta(seconds=STALE_SECONDS))
        with pytest.raises(KeysUnavailableError):
            keys.find("ec")
        issuer.is_down = False
        clock.advance(timedelta(seconds=RETRY_SECONDS + 1))
        assert keys.find("ec")
