"""What may be presented but not kept: no log line, no row and no answer has a secret, whatever came of the request."""

import json
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from joserfc.jwk import OKPKey

from remit.api.people import NewPerson
from remit.capabilities.encoding import Frame, decode_token
from remit.grants.keys import NewKey
from tests.system.harness import ADMIN, System, root
from tests.system.test_proofs import CHAT, Holder, ed25519_holder
from tests.workloads.issuer import sign
from tests.workloads.test_exchange import EXCHANGE, JWT

ISSUER = OKPKey.generate_key("Ed25519", {"kid": "ed"})
WORKLOADS = """
[[workloads]]
name = "ci"
issuer = "https://issuer.example"
audience = "remit.acme.example"
jwks_file = "{folder}/keys.json"
claims = {{ sub = "repo:acme/*" }}
grant = "acme"
"""


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """A Remit that exchanges tokens of one issuer."""
    folder = tmp_path_factory.mktemp("keys")
    (folder / "keys.json").write_text(json.dumps({"keys": [ISSUER.as_dict(private=False)]}))
    with System(settings=WORKLOADS.format(folder=folder)) as running:
        running.apply({"acme": root("100.00")})
        yield running


class Told:
    """Secrets that were presented, and everything that was answered but the answers that give a secret out."""

    def __init__(self, system: System) -> None:
        self.secrets: dict[str, str] = {}
        self.answers: list[str] = []
        self.gateway = f"http://127.0.0.1:{system.port}"
        self.plane = f"http://{system.settings.api.listen}"

    def send(self, method: str, url: str, *, status: int, **more: Any) -> httpx.Response:
        answer = httpx.request(method, url, timeout=30, **more)
        assert answer.status_code == status, (url, answer.text)
        if ("token" not in url and "capabilities" not in url) or status >= 400:
            self.answers.append(f"{answer.headers} {answer.text}")
        return answer

    def credential(self, name: str, text: str) -> None:
        """Remembers a credential, and of a capability the bytes of its tail."""
        self.secrets[name] = text[-40:]
        frame = decode_token(text) if text.startswith("rmt1.") else None
        if isinstance(frame, Frame) and frame.bearer_secret is not None:
            self.secrets[f"{name}, its tail"] = frame.bearer_secret.hex()


def present_to_the_gateway(system: System, told: Told) -> None:
    """Credentials where they belong and where they do not, good and bad."""
    made = system.authority.keys().create("acme", "leaky", ADMIN)
    assert isinstance(made, NewKey) and made.token is not None
    told.credential("access key", made.text)
    told.credential("capability", made.token)
    chat = f"{told.gateway}/v1/chat/completions"
    for text in (made.text, made.token):
        told.send("POST", chat, status=200, content=CHAT, headers={"authorization": f"Bearer {text}"})
        for headers in (
            {"authorization": f"Basic {text}"},
            {"authorization": text},
            {"x-api-key": text},
            {"authorization": f"Bearer {text[:-3]}xyz"},
            {"authorization": f"DPoP {text}", "dpop": text},
            [("authorization", f"Bearer {text}"), ("authorization", f"Bearer {text}")],
        ):
            told.send("POST", chat, status=401, content=CHAT, headers=headers)
        told.send("GET", f"{told.gateway}/v1/models?key={text}", status=401)
        told.send("GET", f"{told.gateway}/v1/models", status=400, headers={"authorization": f"Bearer {text}\x01"})
    holder = ed25519_holder(system)
    proof, stray = holder.proof(), Holder(system, holder.token, Ed25519PrivateKey.generate()).proof()
    told.credential("proof", proof)
    told.credential("stray proof", stray)
    assert holder.send(proof).status_code == 200
    for proofs in ([proof], [stray], [proof, stray], []):
        told.answers.append(holder.send(*proofs).text)


def present_to_the_control_plane(system: System, told: Told) -> None:
    """A person's token, a workload's, and capabilities as what is to be revoked."""
    person = system.authority.people().create("ada@acme.example", "ada@acme.example", is_admin=True)
    assert isinstance(person, NewPerson)
    told.credential("person token", person.text)
    now = int(time.time())
    claims = {"iss": "https://issuer.example", "aud": "remit.acme.example", "sub": "repo:acme/app", "exp": now + 300}
    good, bad = sign(claims, "EdDSA", ISSUER), sign({**claims, "sub": "repo:evil/app"}, "EdDSA", ISSUER)
    form = {"grant_type": EXCHANGE, "subject_token_type": JWT}
    for name, token, status in (("good", good, 200), ("bad", bad, 400), ("forged", f"{good[:-4]}AAAA", 400)):
        told.credential(f"{name} workload token", token)
        answer = told.send("POST", f"{told.plane}/v1/token", status=status, data={**form, "subject_token": token})
        if status == 200:
            told.credential("exchanged capability", answer.json()["access_token"])
    as_person = {"authorization": f"Bearer {person.text}"}
    told.send("GET", f"{told.plane}/v1/grants", status=401, headers={"authorization": f"Bearer {person.text[:-3]}xyz"})
    told.send("GET", f"{told.plane}/v1/grants?token={person.text}", status=400, headers=as_person)
    write = {**as_person, "idempotency-key": "mint"}
    minting = {"grant": "acme", "purpose": "test", "reason": "test"}
    for _ in range(2):
        answer = told.send("POST", f"{told.plane}/v1/capabilities", status=201, json=minting, headers=write)
        told.credential("minted capability", answer.json()["token"] or told.secrets["minted capability"])
    minted = httpx.post(
        f"{told.plane}/v1/capabilities", json=minting, headers={**as_person, "idempotency-key": "mint-again"}
    ).json()["token"]
    told.credential("capability to revoke", minted)
    for key, text, status in (("a", f"{minted[:-3]}xyz", 422), ("b", minted, 201), ("c", minted, 409)):
        body = {"subject": text, "reason": "leaked"}
        told.send(
            "POST",
            f"{told.plane}/v1/revocations",
            status=status,
            json=body,
            headers={**as_person, "idempotency-key": key},
        )


def test_no_secret_is_kept_or_told(system: System) -> None:
    """After each credential was used well and badly, no row of any table, no line of the log and no answer has any of it."""
    told = Told(system)
    present_to_the_gateway(system, told)
    present_to_the_control_plane(system, told)
    system.wait_until_no_hold_is_open()
    tables = [row[0] for row in system.sql("SELECT tablename FROM pg_tables WHERE schemaname = 'remit'")]
    rows = {table: str(system.sql(f"SELECT t::text FROM {table} AS t")) for table in tables}
    log = system.log.read_text()
    # What is looked through is what was written: each of these has something of these very requests.
    assert "capability_exchanged" in log and "exchange_refused" in log and "proof_required" in log
    assert all("repo:acme/app" in text for text in (rows["capability_blocks"], log))
    assert "mint-again" in rows["answers"]
    places = {**rows, "log": log, "answers told": "\n".join(told.answers)}
    assert len(told.secrets) == 15, sorted(told.secrets)
    found = [(name, place) for name, secret in told.secrets.items() for place, text in places.items() if secret in text]
    assert not found
