"""Tokens of workloads are exchanged by the rules, and by nothing else, at a real server with a real issuer."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from joserfc.jwk import ECKey, OKPKey, RSAKey

from remit.capabilities.encoding import decode_token
from remit.capabilities.payload import parse_block0
from tests.api.support import Plane
from tests.workloads.issuer import KEYS, Issuer, running_issuer, sign

EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
JWT = "urn:ietf:params:oauth:token-type:jwt"


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    with running_issuer() as running:
        yield running


@pytest.fixture(scope="module")
def plane(issuer: Issuer) -> Iterator[Plane]:
    common = {"issuer": issuer.url, "audience": "remit.acme.example", "grant": "acme"}
    rules = [
        {
            **common,
            "name": "ci",
            "claims": {"sub": "repo:acme/*:ref:refs/heads/main", "repository_owner_id": ["42", "43"]},
            "limits": [{"usd": "0.50"}],
            "labels": {"team": "search"},
            "labels_from": {"workload": "repository"},
        },
        {**common, "name": "pods", "claims": {"sub": "system:serviceaccount:prod:*"}, "grant": "acme/prod"},
        {
            **common,
            "name": "narrow",
            "claims": {"sub": "narrow:*"},
            "grant": "acme/short",
            "ttl_seconds": 3600,
            "models": ["m"],
            "surfaces": ["chat.completions"],
            "limits": [{"usd": "0.01"}, {"requests": 3, "per": "day"}],
            "delegate": {"max_depth": 0, "max_children": 0, "max_ttl_seconds": 60},
        },
        {**common, "name": "one", "claims": {"sub": "twice:*"}},
        {**common, "name": "two", "claims": {"sub": "twice:x"}, "grant": "acme/prod"},
        {
            "name": "mesh",
            "audience": "remit.acme.example",
            "jwks_url": f"{issuer.url}/jwks",
            "claims": {"sub": "spiffe://acme.example/ns/*"},
            "grant": "acme",
        },
    ]
    with Plane(workloads=rules) as running:
        running.admin.made("acme", 10**10)
        running.admin.made("acme/prod", 10**9)
        soon = datetime.now(UTC) + timedelta(minutes=10)
        running.admin.made("acme/short", expires_at=f"{soon:%Y-%m-%dT%H:%M:%SZ}")
        yield running


def github(issuer: Issuer, **more: Any) -> dict[str, Any]:
    """The claims of a CI job."""
    now = int(time.time())
    return {
        "iss": issuer.url,
        "aud": "remit.acme.example",
        "sub": "repo:acme/app:ref:refs/heads/main",
        "repository": "acme/app",
        "repository_owner_id": "42",
        "jti": "1",
        "iat": now,
        "nbf": now - 5,
        "exp": now + 300,
        **more,
    }


def ask(plane: Plane, token: str, headers: Any = None, **more: str) -> httpx.Response:
    form = {"grant_type": EXCHANGE, "subject_token": token, "subject_token_type": JWT, **more}
    return plane.nobody.http.post("/token", data=form, headers=headers)


def refused(answer: httpx.Response, error: str = "invalid_grant") -> None:
    assert (answer.status_code, answer.json()["error"]) == (400, error), answer.text
    if error == "invalid_grant":
        assert answer.json()["error_description"] == "this token is not exchanged here"


def block_of(answer: httpx.Response) -> Any:
    assert answer.status_code == 200, answer.text
    frame = decode_token(answer.json()["access_token"])
    return frame, parse_block0(frame.blocks[0].payload)  # type: ignore[union-attr]


@pytest.mark.parametrize("algorithm", ["RS256", "PS256", "ES256", "EdDSA"])
def test_a_ci_job_gets_what_its_rule_says(plane: Plane, issuer: Issuer, algorithm: str) -> None:
    """The capability has the rule's grant, limits, labels and life, whichever algorithm signed the token."""
    answer = ask(plane, sign(github(issuer), algorithm))
    _, block = block_of(answer)
    body = answer.json()
    assert body["token_type"] == "Bearer" and 880 < body["expires_in"] <= 900
    assert answer.headers["cache-control"] == "no-store"
    assert dict(block.labels) == {"team": "search", "workload": "acme/app"}
    assert [(one.dimension, one.amount, one.period) for one in block.limits] == [("usd", 500_000_000, "once")]
    rows = plane.sql("SELECT purpose, limits FROM capability_blocks WHERE issued_by = 'workload:ci'")
    assert ("repo:acme/app:ref:refs/heads/main", 500_000_000) in [(sub, one[0]["amount"]) for sub, one in rows]


def test_pods_and_meshes_are_exchanged_too(plane: Plane, issuer: Issuer) -> None:
    """A service account's token and a SPIFFE token without an issuer find their rules."""
    now = int(time.time())
    pod = {"iss": issuer.url, "aud": ["other", "remit.acme.example"], "exp": now + 3600, "iat": now}
    block_of(ask(plane, sign({**pod, "sub": "system:serviceaccount:prod:api"})))
    svid = {"aud": ["remit.acme.example"], "sub": "spiffe://acme.example/ns/agents", "exp": now + 300}
    block_of(ask(plane, sign(svid, "ES256")))
    refused(ask(plane, sign({**svid, "sub": "spiffe://acme.example.evil/ns/agents"}, "ES256")))


@pytest.mark.parametrize(
    "change",
    [
        {"aud": "other"},
        {"iss": "https://evil.example"},
        {"exp": 1},
        {"exp": None},
        {"exp": 2**40},
        {"nbf": 2**33},
        {"iat": 2**33},
        {"exp": 2**32},
        {"sub": "repo:acme-evil/x:ref:refs/heads/main"},
        {"sub": "repo:acme/app:ref:refs/heads/main2"},
        {"sub": ["repo:acme/app:ref:refs/heads/main"]},
        {"sub": "repo:acme/app:ref:refs/heads/main\n"},
        {"repository_owner_id": "44"},
        {"repository_owner_id": None},
        {"repository": "x" * 200},
        {"repository": "\ud800"},
        {"iss": "\ud800"},
        {"\ud800": 1},
        {"filling": "x" * 20_000},
        {f"c{number}": 1 for number in range(100)},
    ],
    ids=str,
)
def test_whatever_a_rule_does_not_admit_is_refused(plane: Plane, issuer: Issuer, change: dict[str, Any]) -> None:
    """A well-signed token with one thing wrong gets the one fixed phrase."""
    refused(ask(plane, sign(github(issuer, **change))))


def test_nothing_in_a_token_widens_what_its_rule_gives(plane: Plane, issuer: Issuer) -> None:
    """Whatever claims say of limits, models, life and grants, the capability has the rule's, and ends with its grant."""
    wider = {"grant": "acme", "ttl": 9999, "models": ["*"], "limits": [], "delegate": {"max_depth": 7}, "scope": "acme"}
    answer = ask(plane, sign(github(issuer, sub="narrow:*", **wider)), requested_expires_in="9999")
    frame, block = block_of(answer)
    assert len(frame.blocks) == 1 and 580 < answer.json()["expires_in"] <= 600
    (grant,) = plane.sql("SELECT id FROM grants WHERE path = 'acme/short'")[0]
    assert (block.grant, block.models, block.surfaces) == (grant, ("m",), ("chat.completions",))
    assert {(one.dimension, one.period): one.amount for one in block.limits} == {
        ("usd", "once"): 10_000_000,
        ("requests", "day"): 3,
    }
    delegate = block.delegate
    assert (delegate.max_depth, delegate.max_children, delegate.max_ttl_seconds) == (0, 0, 60)
    plane.admin.act("suspend", "acme/short")
    refused(ask(plane, sign(github(issuer, sub="narrow:x"))))
    plane.admin.act("resume", "acme/short")
    block_of(ask(plane, sign(github(issuer, sub="narrow:x"))))


def part(value: Any) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def test_forged_tokens_are_refused(plane: Plane, issuer: Issuer) -> None:
    """No algorithm, a secret made of the public key, another's key, a changed payload, another key's algorithm."""
    claims = github(issuer)
    refused(ask(plane, f"{part({'alg': 'none', 'kid': 'rsa'})}.{part(claims)}."))
    signing = f"{part({'alg': 'HS256', 'kid': 'rsa'})}.{part(claims)}"
    mac = hmac.new(KEYS["RS256"].as_pem(private=False), signing.encode(), hashlib.sha256).digest()
    refused(ask(plane, f"{signing}.{part(mac)}"))
    refused(ask(plane, sign(claims, key=RSAKey.generate_key(2048, {"kid": "rsa"}))))
    refused(ask(plane, sign(claims, kid="ec")))
    refused(ask(plane, sign(claims, zip="DEF")))
    head, _, signature = sign(claims).split(".")
    refused(ask(plane, f"{head}.{part(github(issuer, jti='2'))}.{signature}"))
    twice = json.dumps(claims)[:-1] + ', "sub": "repo:acme/app:ref:refs/heads/main"}'
    refused(ask(plane, sign(twice.encode())))
    refused(ask(plane, "a.b.c"))


def test_forms_are_read_strictly(plane: Plane, issuer: Issuer) -> None:
    """Errors have OAuth's shape and codes."""
    token = sign(github(issuer))
    refused(ask(plane, token, grant_type="password"), "unsupported_grant_type")
    refused(ask(plane, token, subject_token_type="saml"), "invalid_request")
    refused(ask(plane, token, audience="elsewhere"), "invalid_target")
    refused(ask(plane, token, resource="https://x.example"), "invalid_target")
    refused(ask(plane, token, actor_token="x"), "invalid_request")
    headers = {"content-type": "application/x-www-form-urlencoded"}
    body = f"grant_type={EXCHANGE}&subject_token={token}&subject_token={token}&subject_token_type={JWT}"
    refused(plane.nobody.http.post("/token", content=body, headers=headers), "invalid_request")
    refused(plane.nobody.http.post("/token", json={"grant_type": EXCHANGE}), "invalid_request")
    long = plane.nobody.http.post("/token", content="x" * 40_000, headers=headers)
    assert (long.status_code, long.json()["error"]) == (413, "invalid_request")
    block_of(ask(plane, token, audience="remit"))


def test_of_several_rules_the_scope_chooses(plane: Plane, issuer: Issuer) -> None:
    """Without a scope two admitting rules are an error, told only to whoever holds a signed token."""
    claims = github(issuer, sub="twice:x")
    refused(ask(plane, sign(claims)), "invalid_request")
    refused(ask(plane, sign(claims, key=RSAKey.generate_key(2048, {"kid": "rsa"}))))
    block_of(ask(plane, sign(claims), scope="two"))
    block_of(ask(plane, sign(claims), scope="acme/prod"))
    refused(ask(plane, sign(claims), scope="ci"))


@pytest.mark.parametrize("algorithm", ["EdDSA", "ES256"])
def test_a_proof_binds_the_capability_to_its_key(plane: Plane, issuer: Issuer, algorithm: str) -> None:
    """With a proof the capability names the key and holds no secret; a proof for elsewhere is refused."""
    key: Any = OKPKey.generate_key("Ed25519") if algorithm == "EdDSA" else ECKey.generate_key("P-256")
    claims = {"htm": "POST", "htu": f"{plane.server.url}/token", "iat": int(time.time()), "jti": "x"}
    more = {"typ": "dpop+jwt", "jwk": key.as_dict(private=False)}

    def proven(**change: Any) -> httpx.Response:
        return ask(plane, sign(github(issuer)), {"DPoP": sign({**claims, **change}, algorithm, key, **more)})

    answer = proven()
    frame, block = block_of(answer)
    assert answer.json()["token_type"] == "DPoP" and frame.bearer_secret is None
    assert (block.confirmation.kind, block.confirmation.value) == ("jkt", key.thumbprint())
    for change in ({"htm": "GET"}, {"htu": "https://other.example/v1/token"}, {"iat": 1}, {"jti": ""}):
        refused(proven(**change), "invalid_dpop_proof")
    other = sign(claims, algorithm, KEYS[algorithm], **more)
    refused(ask(plane, sign(github(issuer)), {"DPoP": other}), "invalid_dpop_proof")
