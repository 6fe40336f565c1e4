"""Minting capabilities over HTTP: what is given, what is recorded, and whom it is refused."""

import secrets
import threading
from typing import Any

import httpx

from remit.capabilities.encoding import Frame, decode_token, encode_base64url
from remit.capabilities.model import Block0
from remit.capabilities.payload import parse_block0
from remit.store.postgres_writes import WriteUnit
from tests.api.support import ADMIN, Caller, Plane, refused, usd

OWNER, STRANGER = "bo@acme.example", "cy@acme.example"


def mint(caller: Caller, grant: str, *, key: str | None = None, **more: Any) -> httpx.Response:
    return caller.write("POST", "/capabilities", {"grant": grant, "purpose": "a job", **more}, key=key)


def minted(answer: httpx.Response) -> tuple[dict[str, Any], Frame, Block0]:
    """What the answer says of the capability, and the capability itself."""
    assert answer.status_code == 201, answer.text
    frame = decode_token(answer.json()["token"])
    assert isinstance(frame, Frame)
    block = parse_block0(frame.blocks[0].payload)
    assert isinstance(block, Block0)
    return answer.json()["capability"], frame, block


def rotate(plane: Plane) -> None:
    def do(unit: WriteUnit) -> tuple[str, dict[str, str]]:
        kid = plane.authority.rotate_issuer_key(unit)
        return kid, {"kid": kid}

    assert isinstance(
        plane.authority.writes.once(secrets.token_hex(8), {"actor": ADMIN, "operation": "issuer rotate"}, do), str
    )


def test_an_owner_mints_and_it_is_recorded(plane: Plane, admin: Caller, name: str) -> None:
    """The owner of an ancestor gets what was asked for; one row says who had it made, for what, with which limits."""
    admin.made(name, 10**9, owner=OWNER)
    admin.made(f"{name}/team", owner="di@acme.example")
    owner = plane.caller(OWNER)
    asked = {"ttl_seconds": 60, "limits": [usd(5, "once")], "models": ["m"], "labels": {"a": "b"}}
    answer = mint(owner, f"{name}/team", key=f"{name}-mint", **asked)
    given, frame, block = minted(answer)
    assert (given["grant_path"], given["issued_by"], given["purpose"], given["bearer"]) == (
        f"{name}/team",
        OWNER,
        "a job",
        True,
    )
    assert block.not_after - block.issued_at == 60 and block.grant == given["grant_id"]
    assert (block.limits[0].amount, block.models, dict(block.labels)) == (5, ("m",), {"a": "b"})
    rows = plane.sql(
        "SELECT grant_id, kid, issued_by, purpose, to_jsonb(b)->'limits'->0->>'amount',"
        " not_after - issued_at = interval '1 minute' FROM capability_blocks AS b WHERE id = %s",
        given["id"],
    )
    assert rows == [(given["grant_id"], frame.kid, OWNER, "a job", "5", True)]
    again = mint(owner, f"{name}/team", key=f"{name}-mint", **asked)
    assert again.headers["idempotency-replayed"] == "true" and again.json() == {"capability": given, "token": None}
    refused(
        mint(owner, f"{name}/team", key=f"{name}-mint", **{**asked, "ttl_seconds": 61}),
        409,
        "conflict_different_ttl_seconds",
    )
    assert plane.sql("SELECT count(*) FROM capability_blocks WHERE grant_id = %s", given["grant_id"]) == [(1,)]


def test_a_holder_with_a_key_gets_no_secret(admin: Caller, name: str) -> None:
    """With a public key or a confirmation the text has no tail, and the capability is nobody's who has the text alone."""
    admin.made(name)
    public = encode_base64url(secrets.token_bytes(32))
    thumbprint = encode_base64url(secrets.token_bytes(32))
    for more in ({"public_key": public}, {"confirmation": {"kind": "jkt", "value": thumbprint}}):
        given, frame, _ = minted(mint(admin, name, **more))
        assert not given["bearer"] and frame.bearer_secret is None


WRONG: list[tuple[dict[str, Any], int, str]] = [
    ({"ttl_seconds": 60, "expires_at": "2027-01-01T00:00:00Z"}, 422, "expiry_stated_twice"),
    ({"expires_at": "2199-01-01T00:00:00Z"}, 422, "expires_after_grant"),
    ({"expires_at": "2020-01-01T00:00:00Z"}, 422, "expiry_in_the_past"),
    ({"purpose": "two\nlines"}, 422, "purpose_invalid"),
    ({"labels": {"a": "\u0085"}}, 422, "capability_invalid"),
    ({"labels": {"Big": "b"}}, 422, "capability_invalid"),
    ({"models": []}, 422, "capability_invalid"),
    ({"models": ["*m"]}, 422, "capability_invalid"),
    ({"models": ["m" * 200] * 60}, 422, "capability_invalid"),
    ({"limits": [usd(1, "once"), usd(2, "once")]}, 422, "capability_invalid"),
    ({"public_key": "AAAA"}, 422, "public_key_invalid"),
    ({"confirmation": {"kind": "spiffe", "value": "https://acme.example"}}, 422, "capability_invalid"),
    ({"confirmation": {"kind": "x", "value": "y"}}, 400, "malformed_request"),
    ({"delegate": {"max_depth": 8}}, 400, "malformed_request"),
    ({"grant": "nothing"}, 404, "grant_unknown"),
    ({"epoch": 7}, 400, "malformed_request"),
]


def test_what_cannot_be_minted_leaves_no_row(plane: Plane, admin: Caller, name: str) -> None:
    """Each wrong request has its code, and neither a block nor an answer is stored for it."""
    admin.made(name)
    for number, (change, status, code) in enumerate(WRONG):
        asked = {"grant": name, "purpose": "a job", **change}
        refused(admin.write("POST", "/capabilities", asked, key=f"{name}-bad-{number}"), status, code)
    assert not plane.sql("SELECT 1 FROM capability_blocks JOIN grants AS g ON g.id = grant_id WHERE path = %s", name)
    assert not plane.sql("SELECT 1 FROM answers WHERE starts_with(idempotency_key, %s)", f"{name}-bad")


def test_who_does_not_see_a_grant_mints_nothing_of_it(plane: Plane, admin: Caller, name: str) -> None:
    """A stranger, and the owner of a sibling or of a grant below, are told that there is none; nobody is asked in vain."""
    admin.made(name, owner=OWNER)
    admin.made(f"{name}/a", owner=STRANGER)
    admin.made(f"{name}/b", owner=OWNER)
    stranger = plane.caller(STRANGER)
    minted(mint(stranger, f"{name}/a"))
    for grant in (name, f"{name}/b", f"{name}/none"):
        refused(mint(stranger, grant), 404, "grant_unknown")
    assert mint(plane.nobody, f"{name}/a").status_code == 401
    admin.act("suspend", f"{name}/a")
    refused(mint(stranger, f"{name}/a"), 409, "grant_inactive")
    admin.act("revoke", f"{name}/a")
    refused(mint(stranger, f"{name}/a"), 409, "grant_revoked")


def test_minting_follows_a_rotation_at_once(plane: Plane, admin: Caller, name: str) -> None:
    """Whoever mints while the issuer key is rotated gets a capability of a key that is known; afterwards it is the new one's."""
    admin.made(name)
    _, before, _ = minted(mint(admin, name))
    kids: list[str] = []

    def mint_one() -> None:
        kids.append(minted(mint(plane.caller(OWNER, is_admin=True), name))[1].kid)

    callers = [threading.Thread(target=mint_one) for _ in range(4)]
    for caller in callers:
        caller.start()
    rotate(plane)
    for caller in callers:
        caller.join()
    _, after, _ = minted(mint(admin, name))
    standing = dict(plane.sql("SELECT kid, status FROM issuer_keys"))
    assert standing == {before.kid: "verify_only", after.kid: "signing"}
    assert len(kids) == 4 and set(kids) <= standing.keys()


def test_a_key_that_was_retired_signs_nothing(plane: Plane, admin: Caller, name: str) -> None:
    """With an old key file back in the data folder minting is refused with what to do, and works with the new one again."""
    admin.made(name)
    minted(mint(admin, name))
    file = plane.authority.settings.data_dir / "issuer.key"
    old = file.read_bytes()
    rotate(plane)
    new = file.read_bytes()
    file.write_bytes(old)
    problem = refused(mint(admin, name), 409, "issuer_key_not_signing")
    assert "remit issuer rotate" in str(problem) and str(plane.authority.settings.data_dir) not in str(problem)
    refused(admin.write("POST", "/keys", {"grant": name, "name": "k", "reason": "test"}), 409, "issuer_key_not_signing")
    file.write_bytes(new)
    minted(mint(admin, name))
