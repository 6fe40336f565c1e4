"""Revocations over HTTP: who may, what is answered, once."""

from dataclasses import replace
from typing import Any

import httpx

from remit.capabilities.chain import first_block_id
from remit.capabilities.encoding import Frame, decode_token, encode_token
from remit.grants.keys import NewKey
from remit.grants.model import Actor
from tests.api.support import Caller, Plane, refused

ADA = Actor("ada@acme.example", is_admin=True)
OWNER, STRANGER = "bo@acme.example", "cy@acme.example"


def key_of(plane: Plane, path: str) -> NewKey:
    made = plane.authority.keys().create(path, "test", ADA)
    assert isinstance(made, NewKey), made
    return made


def revoke(caller: Caller, subject: str, *, key: str | None = None, **more: Any) -> httpx.Response:
    return caller.write("POST", "/revocations", {"subject": subject, "reason": "leaked", **more}, key=key)


def test_an_owner_revokes_what_is_theirs_and_sees_what_became_of_it(plane: Plane, admin: Caller, name: str) -> None:
    """The owner of an ancestor ends a key by its id; asked for again by its id, the revocation tells the same."""
    admin.made(name, owner=OWNER)
    made = key_of(plane, name)
    owner = plane.caller(OWNER)
    answer = revoke(owner, made.key.id, cut=True, key=f"{name}-once")
    assert answer.status_code == 201, answer.text
    given = answer.json()
    assert (given["kind"], given["subject"], given["cut"]) == ("key", made.key.id, True)
    assert (given["revoked_by"], given["reason"]) == (OWNER, "leaked")
    assert (given["gateways"], given["calls_under_way"], given["at_most_nanousd"]) == ([], 0, 0)
    assert given["tree_revision"] == plane.sql("SELECT revision FROM tree_state")[0][0]
    assert owner.get(f"/revocations/{given['id']}").json() == given
    assert revoke(owner, made.key.id, cut=True, key=f"{name}-once").headers["idempotency-replayed"] == "true"
    refused(revoke(owner, made.key.id), 409, "already_revoked")
    refused(revoke(owner, made.key.id, key=f"{name}-once"), 409, "conflict_different_cut")


def test_what_one_does_not_see_is_not_there(plane: Plane, admin: Caller, name: str) -> None:
    """A stranger gets one answer for what exists and what does not, in writing and in reading, and for issuer keys."""
    admin.made(name, owner=OWNER)
    made = key_of(plane, name)
    stranger = plane.caller(STRANGER)
    assert made.token is not None
    (kid,) = [row[0] for row in plane.sql("SELECT kid FROM issuer_keys")]
    for subject in (name, made.key.id, made.token, kid, "nothing", "0" * 12, "0" * 64):
        refused(revoke(stranger, subject), 404, "unknown_subject")
    given = revoke(admin, name).json()
    refused(stranger.get(f"/revocations/{given['id']}"), 404, "unknown_revocation")
    refused(stranger.get("/revocations/rev_none"), 404, "unknown_revocation")


def test_a_grant_goes_with_its_revocation_or_not_at_all(plane: Plane, admin: Caller, name: str) -> None:
    """Revoking a grant raises its epoch in the same write; a cut-off is for issuer keys alone and leaves nothing."""
    admin.made(name, owner=OWNER)
    refused(revoke(admin, name, issued_before="2026-01-01T00:00:00Z"), 422, "issued_before_not_allowed")
    assert admin.get(f"/grants/{name}").json()["status"] == "active"
    given = revoke(admin, name).json()
    stored = admin.get(f"/grants/{name}").json()
    assert (stored["id"], stored["status"], stored["epoch"]) == (given["grant_id"], "revoked", 1)


def test_a_capability_is_named_by_itself_and_not_remembered(plane: Plane, admin: Caller, name: str) -> None:
    """The text of a capability names its last block, and is nowhere in the database afterwards."""
    admin.made(name, owner=OWNER)
    made = key_of(plane, name)
    assert made.token is not None
    given = revoke(admin, made.token).json()
    assert given["kind"] == "block" and len(given["subject"]) == 64
    assert not plane.sql("SELECT 1 FROM answers WHERE body::text LIKE %s", f"%{made.token[5:60]}%")
    assert plane.sql("SELECT keep_until > now() FROM revocations WHERE subject = %s", given["subject"]) == [(True,)]


def test_issuer_keys_take_an_admin_and_the_one_that_signs_stays(plane: Plane, admin: Caller, name: str) -> None:
    """The key that signs at present is not revoked; its cut-off moves later, never back and never into the future."""
    admin.made(name, owner=OWNER)
    key_of(plane, name)
    (kid,) = [row[0] for row in plane.sql("SELECT kid FROM issuer_keys")]
    refused(revoke(admin, kid), 409, "issuer_key_signs")
    assert revoke(admin, kid, issued_before="2026-01-02T00:00:00Z").status_code == 201
    refused(revoke(admin, f"issuer:{kid}", issued_before="2026-01-01T00:00:00Z"), 409, "already_revoked")
    refused(revoke(admin, kid, issued_before="2199-01-01T00:00:00Z"), 422, "issued_before_in_the_future")
    assert plane.sql("SELECT status, min_issued_at = '2026-01-02' FROM issuer_keys") == [("signing", True)]


def test_what_was_left_to_finish_can_be_cut_afterwards_once(plane: Plane, admin: Caller, name: str) -> None:
    """A grant, a key and a block that were revoked are revoked again to cut what runs, whatever route ended them."""
    admin.made(name, owner=OWNER)
    key, other, block = (key_of(plane, name) for _ in range(3))
    assert block.token is not None
    assert revoke(admin, key.key.id).status_code == 201
    assert admin.write("POST", f"/keys/{other.key.id}/revoke", {"reason": "leaked"}).status_code == 200
    assert revoke(admin, block.token).status_code == 201
    assert admin.act("revoke", name).status_code == 200
    for subject in (key.key.id, other.key.id, block.token, name):
        refused(revoke(plane.caller(STRANGER), subject, cut=True), 404, "unknown_subject")
        refused(revoke(admin, subject), 409, "already_revoked")
        given = revoke(admin, subject, cut=True).json()
        assert given["cut"] and given["tree_revision"] == plane.sql("SELECT revision FROM tree_state")[0][0]
        refused(revoke(admin, subject, cut=True), 409, "already_revoked")


def test_a_cut_of_an_issuer_key_is_for_the_cut_off_that_stands(plane: Plane, admin: Caller, name: str) -> None:
    """With the cut-off that was set before its calls are cut; with an earlier one, which would cut more, they are not."""
    admin.made(name, owner=OWNER)
    key_of(plane, name)
    (kid,) = [row[0] for row in plane.sql("SELECT kid FROM issuer_keys")]
    standing = "2026-01-05T00:00:00Z"
    assert revoke(admin, kid, issued_before=standing).status_code == 201
    refused(revoke(admin, kid, issued_before="2026-01-03T00:00:00Z", cut=True), 409, "already_revoked")
    refused(revoke(admin, kid, cut=True), 409, "issuer_key_signs")
    assert revoke(admin, kid, issued_before=standing, cut=True).json()["cut"]
    refused(revoke(admin, kid, issued_before=standing, cut=True), 409, "already_revoked")


def test_every_way_to_revoke_is_recorded_with_who_and_why(plane: Plane, admin: Caller, name: str) -> None:
    """A key and a grant that are ended by their own routes stand among the revocations, each once."""
    admin.made(name, owner=OWNER)
    key, silent = key_of(plane, name).key.id, key_of(plane, name).key.id
    assert admin.write("POST", f"/keys/{key}/revoke", {"reason": "left"}).status_code == 200
    assert admin.write("POST", f"/keys/{silent}/revoke").status_code == 200
    refused(admin.write("POST", f"/keys/{key}/revoke", {"reason": "left"}), 409, "already_revoked")
    for _ in range(2):
        assert admin.act("revoke", name, reason="project over").status_code == 200
    grant = admin.get(f"/grants/{name}").json()["id"]
    rows = plane.sql(
        "SELECT kind, subject, grant_id, cut_streams, revoked_by, reason FROM revocations WHERE grant_id = %s ORDER BY seq",
        grant,
    )
    by = ("ada@acme.example",)
    assert rows == [
        ("key", key, grant, False, *by, "left"),
        ("key", silent, grant, False, *by, "no reason was given"),
        ("grant", grant, grant, False, *by, "project over"),
    ]


def test_a_text_that_was_changed_on_its_way_is_not_taken_for_a_capability(
    plane: Plane, admin: Caller, name: str
) -> None:
    """A text whose signature does not verify names no block that exists: it is refused, so that nobody believes it revoked."""
    admin.made(name, owner=OWNER)
    made = key_of(plane, name)
    assert made.token is not None
    frame = decode_token(made.token)
    assert isinstance(frame, Frame)
    block = frame.blocks[0]
    nonce = block.payload.index(b'"nonce":"') + 9
    other = replace(block, payload=block.payload[:nonce] + b"AAAA" + block.payload[nonce + 4 :])
    for changed in (
        replace(frame, blocks=(other,)),
        replace(frame, blocks=(replace(block, signature=bytes(64)),)),
        replace(frame, blocks=(block, block)),
        replace(frame, bearer_secret=bytes(32)),
        replace(frame, kid="0" * 24),
    ):
        refused(revoke(admin, encode_token(changed)), 422, "capability_invalid")
    assert plane.sql("SELECT count(*) FROM revocations JOIN grants g ON g.id = grant_id WHERE g.path = %s", name) == [
        (0,)
    ]
    assert revoke(admin, made.token).status_code == 201


def test_a_block_of_a_key_from_before_blocks_were_recorded_is_known(plane: Plane, admin: Caller, name: str) -> None:
    """The id of a key's capability names it although no row of its block is there."""
    admin.made(name, owner=OWNER)
    stored = key_of(plane, name).key
    id_ = first_block_id(stored.capability.payload)
    plane.insert("DELETE FROM capability_blocks WHERE id = %(id)s RETURNING id", {"id": id_})
    refused(revoke(plane.caller(STRANGER), id_), 404, "unknown_subject")
    given = revoke(admin, id_).json()
    assert (given["kind"], given["subject"]) == ("block", id_)
