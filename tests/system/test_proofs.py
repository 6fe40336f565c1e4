"""Proof of possession at a running gateway: signed proofs, by raw HTTP and through the official SDK."""

import hashlib
import json
import secrets
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import httpx
import openai
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from remit.capabilities.access_keys import new_access_key
from remit.capabilities.model import Confirmation, Minted
from remit.capabilities.proofs import HolderKey, jwk_thumbprint, make_proof, public_jwk
from remit.grants.keys import StoredKey
from remit.kernel.clock import SystemClock
from tests.cli.conftest import HELLO
from tests.system.capabilities import bearer, handed_to, minted
from tests.system.harness import ADMIN, System, another_gateway, root

CLOCK = SystemClock()
CHAT = json.dumps({"model": "gpt-4o-mini", "messages": HELLO, "max_tokens": 5}).encode()


@pytest.fixture(scope="module")
def system() -> Iterator[System]:
    """A Remit without any setting about proofs."""
    with System() as running:
        running.apply({"acme": root("100.00")})
        yield running


@dataclass
class Holder:
    """Someone with a capability and the key it names."""

    system: System
    token: str
    key: HolderKey
    base: str = ""

    def proof(self, *, path: str = "/v1/chat/completions", body: bytes = CHAT, **changed: Any) -> str:
        arguments = {
            "method": "POST",
            "url": f"{self.base or f'http://127.0.0.1:{self.system.port}'}{path}",
            "token": self.token,
            "body_sha256": hashlib.sha256(body).digest(),
            "now": CLOCK.now(),
            "unique_id": secrets.token_hex(16),
            **changed,
        }
        return make_proof(arguments.pop("key", self.key), **arguments)

    def send(
        self,
        *proofs: str,
        scheme: str = "DPoP",
        path: str = "/v1/chat/completions",
        body: bytes | None = CHAT,
        port: int | None = None,
        more: dict[str, str] | None = None,
    ) -> httpx.Response:
        """One call with these `dpop` headers, and `more` of others."""
        headers = [(b"authorization", f"{scheme} {self.token}".encode()), (b"content-type", b"application/json")]
        headers += [(b"dpop", proof.encode()) for proof in proofs]
        headers += [(name.encode(), value.encode()) for name, value in (more or {}).items()]
        method = "GET" if body is None else "POST"
        url = f"http://127.0.0.1:{port or self.system.port}{path}"
        return httpx.request(method, url, content=body, headers=headers, timeout=30)


def refused(answer: httpx.Response) -> tuple[str, str]:
    """The code and detail of a refusal that asks for a proof as RFC 9449 does."""
    assert answer.status_code == 401, answer.text
    remit = answer.json()["error"]["remit"]
    if remit["code"] == "proof_required":
        assert answer.headers["www-authenticate"] == 'DPoP algs="EdDSA ES256"'
    return remit["code"], remit["detail"]


def ed25519_holder(system: System, **more: Any) -> Holder:
    key = Ed25519PrivateKey.generate()
    block: Minted = minted(system, "acme", next_key=key.public_key().public_bytes_raw(), **more)
    return Holder(system, block.token, key)


def p256_holder(system: System) -> Holder:
    key = ec.generate_private_key(ec.SECP256R1())
    return Holder(system, bearer(system, "acme", Confirmation("jkt", jwk_thumbprint(public_jwk(key)))), key)


@pytest.mark.parametrize("make", [ed25519_holder, p256_holder], ids=["tail of none", "cnf"])
@pytest.mark.parametrize("scheme", ["DPoP", "dpop", "Bearer"])
def test_whoever_proves_possession_is_served(system: System, make: Any, scheme: str) -> None:
    """A chain without a secret, and one that names a key, is served with a proof under either scheme, again and again."""
    holder = make(system)
    for _ in range(2):
        answer = holder.send(holder.proof(), scheme=scheme)
        assert answer.status_code == 200, answer.text


def test_a_list_of_models_takes_a_proof_for_get(system: System) -> None:
    """A request without a body is proven with the digest of no bytes; its query is no part of the proof."""
    holder = ed25519_holder(system)
    path = "/v1/models"
    good = holder.proof(method="GET", path=path, body=b"")
    assert holder.send(good, path=path + "?limit=1", body=None).status_code == 200
    wrong = holder.proof(method="GET", path=path, body=CHAT)
    assert refused(holder.send(wrong, path=path, body=None))[1].startswith(
        "the proof is of no use: it is for another body"
    )


def test_what_is_not_proven_is_refused(system: System) -> None:
    """No proof, two, another key's, another body's, an old one: each is refused, says why, and costs nothing."""
    holder = ed25519_holder(system)
    before = system.spent("acme")
    cases: list[tuple[list[str], str]] = [
        ([], "none came"),
        ([holder.proof(), holder.proof()], "more than one came"),
        ([holder.proof(key=Ed25519PrivateKey.generate())], "another key"),
        ([holder.proof(body=CHAT + b" ")], "another body"),
        ([holder.proof(path="/v1/models")], "another URL"),
        ([holder.proof(url="http://other.example/v1/chat/completions")], "another URL"),
        ([holder.proof(method="GET")], "another method"),
        ([holder.proof(token=ed25519_holder(system).token)], "another credential"),
        ([holder.proof(now=CLOCK.now().replace(year=2020))], "too old"),
        (["x" * 5000], "longer than"),
        (["ü"], "no signed text"),
    ]
    for proofs, why in cases:
        code, detail = refused(holder.send(*proofs))
        assert (code, why in detail) == ("proof_required", True), detail
        assert refused(holder.send(*proofs, scheme="Bearer"))[0] == "proof_required"
    assert system.spent("acme") == before


def test_a_proof_counts_although_the_chain_is_cached(system: System) -> None:
    """After a call that was served, the same capability without a proof is refused."""
    holder = ed25519_holder(system)
    assert holder.send(holder.proof()).status_code == 200
    assert refused(holder.send())[0] == "proof_required"


def test_a_large_body_is_proven_as_any_other(system: System) -> None:
    """A body beyond what is read for strangers is hashed whole."""
    holder = ed25519_holder(system)
    body = json.dumps(
        {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "x" * 90_000}], "max_tokens": 5}
    )
    assert holder.send(holder.proof(body=body.encode()), body=body.encode()).status_code == 200
    assert refused(holder.send(holder.proof(), body=body.encode()))[0] == "proof_required"


def test_every_key_of_a_chain_has_its_say(system: System) -> None:
    """A chain handed on to a holder's key is that holder's: the parent's proof is no longer enough."""
    parent, child = ed25519_holder(system), Ed25519PrivateKey.generate()
    assert isinstance(parent.key, Ed25519PrivateKey)
    until = int(CLOCK.now().timestamp()) + 300
    secret = parent.key.private_bytes_raw()
    token = handed_to(parent.token, child.public_key().public_bytes_raw(), until, secret)
    assert (
        refused(Holder(system, token, parent.key).send(Holder(system, token, parent.key).proof()))[0]
        == "proof_required"
    )
    holder = Holder(system, token, child)
    assert holder.send(holder.proof()).status_code == 200


def test_the_scheme_says_that_there_is_a_key(system: System) -> None:
    """Under the scheme DPoP a capability or key that is bound to no key is refused, with whatever proof."""
    for token in (bearer(system, "acme"), system.key("acme")):
        holder = Holder(system, token, Ed25519PrivateKey.generate())
        code, detail = refused(holder.send(holder.proof()))
        assert (code, "bound to a key" in detail) == ("proof_required", True)
        assert holder.send(scheme="Bearer").status_code == 200


def test_revocation_is_told_before_the_proof(system: System) -> None:
    """Who holds a revoked capability hears that, whether they prove possession or not."""
    key = Ed25519PrivateKey.generate()
    text, key_id = access_key(system, key)
    system.authority.keys().revoke(key_id, ADMIN)
    holder = Holder(system, text, key)
    assert refused(holder.send())[0] == refused(holder.send(holder.proof()))[0] == "capability_revoked"


def test_an_access_key_can_be_bound(system: System) -> None:
    """An access key whose capability names a key needs that key's proof over the access key's own text."""
    key = Ed25519PrivateKey.generate()
    holder = Holder(system, access_key(system, key)[0], key)
    assert refused(holder.send(scheme="Bearer"))[0] == "proof_required"
    assert holder.send(holder.proof(), scheme="Bearer").status_code == 200
    assert refused(holder.send(holder.proof(token=system.key("acme"))))[0] == "proof_required"


def access_key(system: System, key: Ed25519PrivateKey) -> tuple[str, str]:
    """An access key bound to a holder's key, and its id."""
    public = key.public_key().public_bytes_raw()
    named = Confirmation("jkt", jwk_thumbprint(public_jwk(key)))
    block = minted(system, "acme", next_key=public, confirmation=named)
    fresh, now = new_access_key(secrets.token_bytes), system.authority.clock.now()
    ((grant_id,),) = system.sql("SELECT id FROM grants WHERE path = 'acme'")
    stored = StoredKey(
        id=fresh.key_id,
        grant_id=grant_id,
        name="bound",
        secret_hash=fresh.secret_hash,
        capability=block.stored,
        created_at=now,
        created_by="ada@acme.example",
        expires_at=now.replace(year=now.year + 1),
    )
    assert system.authority.key_store.insert(stored, None, now)
    return fresh.text, fresh.key_id


class Proving(httpx.Auth):
    """What a holder adds to the official SDK: a proof for each attempt."""

    requires_request_body = True

    def __init__(self, holder: Holder) -> None:
        self._holder = holder

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        request.headers["authorization"] = f"DPoP {self._holder.token}"
        request.headers["dpop"] = self._holder.proof(
            method=request.method, url=str(request.url), body_sha256=hashlib.sha256(request.content).digest()
        )
        yield request


def test_the_official_sdk_proves_possession(system: System) -> None:
    """With an auth hook of a few lines the official SDK calls, streams and lists models; without it, it is refused."""
    holder = ed25519_holder(system)
    with httpx.Client(auth=Proving(holder)) as http:
        client = openai.OpenAI(base_url=system.base_url, api_key="unused", max_retries=0, http_client=http)
        answer = client.chat.completions.create(model="gpt-4o-mini", messages=HELLO, max_tokens=5)
        assert answer.choices[0].message.content
        chunks = client.chat.completions.create(model="gpt-4o-mini", messages=HELLO, max_tokens=5, stream=True)
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
        assert "gpt-4o-mini" in {model.id for model in client.models.list()}
    with pytest.raises(openai.AuthenticationError, match="signed proof"):
        system.client(holder.token).chat.completions.create(model="gpt-4o-mini", messages=HELLO, max_tokens=5)


def test_what_other_headers_say_of_a_request_counts_for_nothing(system: System) -> None:
    """A proof is for the address and method that were called, whatever forwarded headers claim; alone it is no credential."""
    holder = ed25519_holder(system)
    claimed = [
        ("forwarded", "host=other.example;proto=https"),
        ("x-forwarded-host", "other.example"),
        ("x-forwarded-proto", "https"),
        ("x-original-url", "/v1/other"),
        ("x-http-method-override", "GET"),
    ]
    chat = f"http://127.0.0.1:{system.port}/v1/chat/completions"

    def send(proof: str, *authorizations: str, **more: Any) -> httpx.Response:
        headers = [*claimed, ("dpop", proof), *(("authorization", one) for one in authorizations)]
        return httpx.post(chat, content=CHAT, headers=headers, timeout=30, **more)

    mine = f"DPoP {holder.token}"
    for changed in (
        {"url": "https://other.example/v1/chat/completions"},
        {"url": f"http://127.0.0.1:{system.port}/v1/other"},
        {"url": f"http://127.0.0.1:{system.port}/v1/chat/completions/"},
        {"url": f"http://127.0.0.1:{system.port}/v1/chat/%63ompletions"},
        {"method": "GET"},
    ):
        assert refused(send(holder.proof(**changed), mine))[0] == "proof_required", changed
    for authorizations in ((), (mine, mine), (f"Bearer {holder.token}", mine), (f"Token {holder.token}",)):
        assert refused(send(holder.proof(), *authorizations))[0] == "unauthenticated", authorizations
    assert send(holder.proof(), mine).status_code == 200


def test_a_public_address_is_the_one_that_counts() -> None:
    """With `gateway.public_url` proofs are for that address, and a `host` header does not change it."""
    with System(gateway={"public_url": "https://LLM.acme.example:443/"}) as system:
        system.apply({"acme": root("1.00")})
        holder = ed25519_holder(system)
        assert "another URL" in refused(holder.send(holder.proof()))[1]
        public = Holder(system, holder.token, holder.key, "https://llm.acme.example")
        assert public.send(public.proof()).status_code == 200


def test_a_proof_is_good_for_one_call_wherever_it_is_sent() -> None:
    """Of many calls with one proof at two gateways at once one is served; later ones, as retries too, at neither gateway."""
    public = "https://llm.acme.example"
    with System(gateway={"public_url": public}) as system, another_gateway(system) as other:
        system.apply({"acme": root("100.00")})
        bound = replace(ed25519_holder(system), base=public)
        ports, used = (system.port, other), "the proof of possession was used before"
        for port in ports:
            assert bound.send(bound.proof(), port=port).status_code == 200, "each of them serves this holder"
        for first, second in (ports, ports[::-1]):
            proof = bound.proof()
            retried = {"idempotency-key": secrets.token_hex(8)}
            assert bound.send(proof, port=first, more=retried).status_code == 200
            for port in (second, first):
                for more in (retried, {}, {"x-stainless-retry-count": "1"}):
                    code, detail = refused(bound.send(proof, port=port, more=more))
                    assert (code, used in detail) == ("proof_required", True), detail
        for _ in range(3):
            proof = bound.proof()
            with ThreadPoolExecutor(12) as pool:
                sent = [pool.submit(bound.send, proof, port=ports[number % 2]) for number in range(12)]
            answers = [one.result() for one in sent]
            assert sorted(answer.status_code for answer in answers) == [200] + [401] * 11
        system.reconcile_with_vendor("acme")
        assert system.vendor.books().requests == 2 + 2 + 3
