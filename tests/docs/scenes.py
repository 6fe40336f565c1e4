"""One way to meet each refusal on a running Remit, so that the pages show what the code really answers."""

import http.client
import re
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import msgspec
import psycopg

from remit.capabilities.encoding import Frame, decode_token, encode_token
from remit.capabilities.model import Limit
from remit.grants.keys import NewKey
from remit.grants.service import Authorship, NotWritten
from remit.grants.vocabulary_model import GovernedTag, TagTerms
from remit.sdk import attenuate
from remit.store.postgres_writes import WriteUnit
from tests.system.harness import ADMIN, SIM_PRICES, System

CLOCK_AT = "2027-03-05T12:00:00Z"
# A vendor nobody listens for: port 1 is not in use on loopback.
SETTINGS = (
    SIM_PRICES
    + """
[gateway.bearer]
max_usd = "10000"

[breaker]
repetitions = 20
throttle_rpm = 5

[vendors.mistral]
base_url = "http://127.0.0.1:1"
"""
)
DOLLAR = 1_000_000_000
HELLO = [{"role": "user", "content": "hello"}]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a holder got: status, headers with lower-case names, the JSON body."""

    status: int
    headers: dict[str, str]
    body: Any


class Stage:
    """A running Remit dated `CLOCK_AT`, with one root grant that every scene puts its own grants below."""

    def __init__(self, system: System) -> None:
        self.system = system
        system.apply({"acme": self.grant("ada", starts="2026-01-01", limits=[{"usd": 10000, "per": "month"}])})

    def grant(self, owner: str, **more: Any) -> dict[str, Any]:
        """A production grant of the grants file."""
        return {"owner": f"{owner}@acme.example", "class": "production", "expires": "2028-01-01", **more}

    def key(self, name: str, **more: Any) -> str:
        """The key of a new grant `acme/<name>`, which has begun long ago."""
        path = f"acme/{name}"
        self.system.apply({path: self.grant("bo", **{"starts": "2026-01-01", **more})})
        return self.system.key(path)

    def chat(
        self, key: str | None, *, headers: Mapping[str, str] | None = None, path: str = "chat/completions", **body: Any
    ) -> Answer:
        """One call; `sim-dime` costs $0.10 for each of its `max_tokens`, its input is free."""
        request = {"model": "sim-dime", "messages": HELLO, "max_tokens": 1, **body}
        return self.post(key, msgspec.json.encode(request), headers=headers, path=path)

    def post(
        self,
        key: str | None,
        body: bytes,
        *,
        headers: Mapping[str, str] | None = None,
        path: str = "chat/completions",
    ) -> Answer:
        """The same with a body of any form."""
        sent = {"content-type": "application/json", **(headers or {})}
        if key is not None:
            sent["authorization"] = f"Bearer {key}"
        with closing(http.client.HTTPConnection("127.0.0.1", self.system.port, timeout=30)) as connection:
            connection.request("POST", f"/v1/{path}", body, sent)
            response = connection.getresponse()
            headers_seen = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, headers_seen, msgspec.json.decode(response.read()))

    def write(self, deed: Callable[..., Any], path: str, *arguments: Any) -> None:
        """One write of the grant service."""
        by = Authorship(actor=ADMIN, reason="scene", idempotency_key=f"{path} {deed.__name__}")
        answer = deed(path, *arguments, by=by)
        assert not isinstance(answer, NotWritten), answer

    def until(self, status: int, ask: Callable[[], Answer]) -> Answer:
        """The first answer with this status; the clocks of two processes differ by the time they took to start."""
        deadline = time.monotonic() + 20
        while (answer := ask()).status != status:
            assert time.monotonic() < deadline, answer
            time.sleep(0.2)
        return answer


def malformed_request(stage: Stage) -> Answer:
    return stage.chat(stage.key("malformed"), messages="hello")


def too_large(stage: Stage) -> Answer:
    with closing(http.client.HTTPConnection("127.0.0.1", stage.system.port, timeout=30)) as connection:
        connection.putrequest("POST", "/v1/chat/completions")
        connection.putheader("content-length", str(1 << 30))
        connection.endheaders()
        response = connection.getresponse()
        headers = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, headers, msgspec.json.decode(response.read()))


def unauthenticated(stage: Stage) -> Answer:
    return stage.chat(None)


def capability_invalid(stage: Stage) -> Answer:
    made = stage.system.authority.keys().create("acme", "scene", ADMIN)
    assert isinstance(made, NewKey) and made.token is not None
    frame = decode_token(made.token)
    assert isinstance(frame, Frame)
    signature = bytes([frame.blocks[0].signature[0] ^ 1]) + frame.blocks[0].signature[1:]
    changed = Frame(frame.kid, (type(frame.blocks[0])(frame.blocks[0].payload, signature),), frame.bearer_secret)
    return stage.chat(encode_token(changed))


def capability_expired(stage: Stage) -> Answer:
    stage.key("expired-key")
    soon = stage.system.authority.clock.now() + timedelta(seconds=2)
    key = stage.system.key("acme/expired-key", expires_at=soon)
    return stage.until(401, lambda: stage.chat(key))


def capability_revoked(stage: Stage) -> Answer:
    stage.key("revoked-key")
    made = stage.system.authority.keys().create("acme/revoked-key", "scene", ADMIN)
    assert isinstance(made, NewKey)
    stage.system.authority.keys().revoke(made.key.id, ADMIN)
    return stage.chat(made.text)


def proof_required(stage: Stage) -> Answer:
    made = stage.system.authority.keys().create("acme", "scene", ADMIN)
    assert isinstance(made, NewKey) and made.token is not None
    frame = decode_token(made.token)
    assert isinstance(frame, Frame)
    return stage.chat(encode_token(Frame(frame.kid, frame.blocks, None)))


def grant_inactive(stage: Stage) -> Answer:
    key = stage.key("suspended")
    stage.write(stage.system.authority.grants.suspend, "acme/suspended")
    return stage.chat(key)


def grant_expired(stage: Stage) -> Answer:
    soon = stage.system.authority.clock.now() + timedelta(seconds=2)
    key = stage.key("pilot", expires=soon.isoformat())
    return stage.until(403, lambda: stage.chat(key))


def surface_not_allowed(stage: Stage) -> Answer:
    return stage.chat(stage.key("surfaces"), path="embeddings", model="text-embedding-3-small")


def model_not_allowed(stage: Stage) -> Answer:
    return stage.chat(stage.key("small-models", shape={"models": ["gpt-4o-mini"]}), model="o3")


def tags_missing(stage: Stage) -> Answer:
    return stage.chat(stage.key("tagged", required_tags=["feature", "tenant"]), headers={"remit-tags": "tenant=t-17"})


def value_not_allowed(stage: Stage) -> Answer:
    key, authority = stage.key("governed"), stage.system.authority
    terms = TagTerms(owner="fin@acme.example", description="d", values=["search"])

    def govern(unit: WriteUnit) -> tuple[GovernedTag, dict[str, Any]]:
        with unit.grants.read() as reads:
            grant = reads.find("acme/governed")
        assert grant is not None
        set_ = authority.vocabulary_over(unit).set("feature", replace(terms, grant_id=grant.id), ADMIN, "order")
        assert isinstance(set_, GovernedTag), set_
        return set_, {}

    authority.writes.once("govern", {"actor": ADMIN.name, "operation": "tag set", "reason": "order"}, govern)
    return stage.chat(key, headers={"remit-tags": "feature=serch"})


def class_mismatch(stage: Stage) -> Answer:
    key = stage.key("lab", **{"class": "experimentation"})
    return stage.chat(key, headers={"remit-tags": "environment=production"})


def policy_forbidden(stage: Stage) -> Answer:
    stage.system.apply({"labs": stage.grant("bo", starts="2026-01-01", limits=[{"usd": 50000, "per": "month"}])})
    return stage.chat(stage.system.key("labs"))


def stopped(stage: Stage) -> Answer:
    key = stage.key("looping", **{"class": "experimentation"})
    return stage.until(403, lambda: stage.chat(key))


def too_many_children(stage: Stage) -> Answer:
    stage.key("crew")
    made = stage.system.authority.keys().create("acme/crew", "scene", ADMIN, limits=(Limit("usd", DOLLAR, "once"),))
    assert isinstance(made, NewKey) and made.token is not None
    now = stage.system.authority.clock.now()
    lead = attenuate(made.token, usd="0.50", ttl="30m", max_children=1, now=now)
    first, second = (attenuate(lead, usd="0.10", ttl="10m", now=now) for _ in range(2))
    assert stage.chat(first.token).status == 200
    return stage.chat(second.token)


def shape_exceeded(stage: Stage) -> Answer:
    return stage.chat(stage.key("short-answers", shape={"max_output_tokens": 1024}), max_tokens=4096)


def unpriced(stage: Stage) -> Answer:
    return stage.chat(stage.key("new-models"), model="gpt-99-preview")


def rate_limited(stage: Stage) -> Answer:
    key = stage.key("slow", rate={"rpm": 1})
    # A minute may end between two calls.
    return stage.until(429, lambda: stage.chat(key))


def throttled(stage: Stage) -> Answer:
    key = stage.key("reindex")
    return stage.until(429, lambda: stage.chat(key))


def paced(stage: Stage) -> Answer:
    key = stage.key(
        "evals",
        **{"class": "experimentation", "on_exhausted": {"pace_from_percent": 50}},
        limits=[{"usd": "1.00", "per": "month"}],
    )
    assert stage.chat(key, max_tokens=5).status == 200
    return stage.chat(key, max_tokens=2)


def exhausted_for_good(stage: Stage) -> Answer:
    key = stage.key("poc", limits=[{"usd": "1.00", "per": "once"}])
    assert stage.chat(key, max_tokens=9).status == 200
    return stage.chat(key, max_tokens=2)


def exhausted_until_the_window_refills(stage: Stage) -> Answer:
    key = stage.key("search", limits=[{"usd": "1.00", "per": "month"}])
    assert stage.chat(key, max_tokens=9).status == 200
    return stage.chat(key, max_tokens=2)


def authority_unreachable(stage: Stage) -> Answer:
    key = stage.key("cut-off")
    assert stage.chat(key).status == 200  # a key the gateway has not heard of yet cannot be told whose it is
    name = psycopg.conninfo.conninfo_to_dict(stage.system.url)["dbname"]
    elsewhere = psycopg.conninfo.make_conninfo(stage.system.url, dbname="template1")
    with psycopg.connect(elsewhere, autocommit=True) as connection:
        allow = "ALTER DATABASE {} WITH ALLOW_CONNECTIONS {}"
        database = psycopg.sql.Identifier(str(name))
        connection.execute(psycopg.sql.SQL(allow).format(database, psycopg.sql.SQL("false")))
        try:
            connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))
            return stage.chat(key)
        finally:
            connection.execute(psycopg.sql.SQL(allow).format(database, psycopg.sql.SQL("true")))


def no_deployment(stage: Stage) -> Answer:
    return stage.chat(stage.key("away", shape={"vendors": ["mistral"]}), model="mistral-small-latest")


Scene = Callable[[Stage], Answer]
# In the order of the examples on each page. `authority_unreachable` comes last: it takes the database away.
SCENES: dict[str, list[Scene]] = {
    "malformed_request": [malformed_request, too_large],
    "unauthenticated": [unauthenticated],
    "capability_invalid": [capability_invalid],
    "capability_expired": [capability_expired],
    "capability_revoked": [capability_revoked],
    "proof_required": [proof_required],
    "grant_inactive": [grant_inactive],
    "grant_expired": [grant_expired],
    "surface_not_allowed": [surface_not_allowed],
    "model_not_allowed": [model_not_allowed],
    "tags_missing": [tags_missing, value_not_allowed],
    "class_mismatch": [class_mismatch],
    "policy_forbidden": [policy_forbidden, too_many_children, stopped],
    "shape_exceeded": [shape_exceeded],
    "unpriced": [unpriced],
    "rate_limited": [rate_limited, throttled],
    "paced": [paced],
    "grant_exhausted": [exhausted_for_good, exhausted_until_the_window_refills],
    "no_deployment": [no_deployment],
    "authority_unreachable": [authority_unreachable],
}


def play(stage: Stage) -> dict[str, list[Answer]]:
    """Every scene, once."""
    return {code: [scene(stage) for scene in scenes] for code, scenes in SCENES.items()}


_ID = re.compile(r"\b([a-z]+)_[0-9a-z]{26}\b")
_BLOCK_ID = re.compile(r"#[0-9a-f]{12}\b")
_KEY_ID = re.compile(r"access key `[^`]+`")
_SECONDS_OF_INSTANT = re.compile(r"(2027-03-05T12):\d\d:\d\d(?:\.\d+)?Z")


def without_chance(body: Any) -> Any:
    """The body with what differs from run to run replaced: ids, waits, instants a scene makes up as it goes."""
    text = msgspec.json.encode(body).decode()
    text = _ID.sub(r"\1_", text)
    text = _BLOCK_ID.sub("#", text)
    text = _KEY_ID.sub("access key", text)
    text = _SECONDS_OF_INSTANT.sub(r"\1", text)
    value = msgspec.json.decode(text)
    wait = value["error"]["remit"]["retry_after_seconds"]
    if wait is not None and wait > 1:
        value["error"]["remit"]["retry_after_seconds"] = 2
    return value
