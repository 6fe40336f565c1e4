"""Tokens that people make for themselves: never for more than the one that was shown, and ended with it."""

from typing import Any

import httpx
import pytest

from tests.api.support import Caller, Plane, ref, refused, usd
from tests.api.test_who import ROUTES


class Owner:
    """Olga owns `NAME/team`, below which `NAME/team/app` is, and `NAME/second`."""

    def __init__(self, plane: Plane, name: str) -> None:
        self.plane, self.name, self.person = plane, name, f"olga@{name}.example"
        plane.admin.made(name, 100)
        plane.admin.made(f"{name}/team", 50, owner=self.person)
        plane.admin.made(f"{name}/team/app", 20)
        plane.admin.made(f"{name}/second", 20, owner=self.person)
        self.caller = plane.caller(self.person)

    def make(self, caller: Caller, **more: Any) -> tuple[Caller, dict[str, Any]]:
        answer = caller.write("POST", "/tokens", {"purpose": "test", **more})
        assert answer.status_code == 201, answer.text
        return self.plane.bearer(answer.json()["secret"]), answer.json()["token"]


@pytest.fixture
def olga(plane: Plane, name: str) -> Owner:
    return Owner(plane, name)


def test_a_token_for_reading_writes_nowhere(olga: Owner) -> None:
    """Every route that writes refuses it, whatever its person may do; every route that reads answers as for them."""
    reading, _ = olga.make(olga.caller, read_only=True)
    assert reading.get("/grants").json() == olga.caller.get("/grants").json()
    writes = [(method, route) for method, route in ROUTES if method != "GET"]
    assert len(writes) > 15
    for method, route in writes:
        refused(reading.write(method, route, {}), 403, "not_permitted")


def test_a_token_for_a_grant_reaches_it_and_what_is_below(olga: Owner) -> None:
    """Beside and above it nothing is seen or written, also by an admin's token, which makes no roots and gives no roles."""
    name = olga.name
    for caller in (olga.caller, olga.plane.admin):
        held, _ = olga.make(caller, grant=f"{name}/team")
        seen = [one["path"] for one in held.get("/grants").json()["grants"]]
        assert seen == [f"{name}/team", f"{name}/team/app"]
        for path in (name, f"{name}/second"):
            refused(held.get(f"/grants/{ref(path)}"), 404, "grant_unknown")
            refused(held.get("/ledger/entries", under=path), 404, "grant_unknown")
            refused(held.patch(path, limits=[usd(1)]), 404, "grant_unknown")
            refused(held.act("revoke", path), 404, "grant_unknown")
            refused(held.write("POST", "/keys", {"grant": path, "name": "x"}), 404, "grant_unknown")
        refused(held.create(f"{name}root"), 403, "not_permitted")
        refused(held.get("/doctor"), 403, "not_permitted")
        refused(held.get("/people"), 403, "not_permitted")
        give = {"person": "eve@b.example", "role": "auditor", "reason": "x"}
        refused(held.write("POST", "/roles", give), 403, "not_permitted")
        refused(held.write("POST", f"/people/{olga.person}/leave", {"reason": "x"}), 403, "not_permitted")
        assert held.patch(f"{name}/team/app", limits=[usd(15)]).status_code == 200
        assert held.write("POST", "/keys", {"grant": f"{name}/team/app", "name": "x"}).status_code == 201


def test_no_token_makes_one_for_more(olga: Owner) -> None:
    """One that only reads makes none; one for a grant makes only such for it and below; none outlives the one shown."""
    held, token = olga.make(olga.caller, grant=f"{olga.name}/team", ttl_seconds=3600)
    _, below = olga.make(held, grant=f"{olga.name}/team/app", ttl_seconds=60)
    _, same = olga.make(held, ttl_seconds=60)
    assert same["grant_id"] == token["grant_id"] != below["grant_id"]
    body = {"purpose": "more", "grant": f"{olga.name}/second"}
    refused(held.write("POST", "/tokens", body), 404, "grant_unknown")
    refused(held.write("POST", "/tokens", {"purpose": "more", "ttl_seconds": 7200}), 422, "expires_after_maker")
    _, longest = olga.make(held)
    assert longest["expires_at"] == token["expires_at"]
    reading, _ = olga.make(held, read_only=True)
    refused(reading.write("POST", "/tokens", {"purpose": "x"}), 403, "not_permitted")
    assert olga.make(olga.plane.admin)[1]["is_admin"] and not olga.make(olga.caller)[1]["is_admin"]


def test_a_token_ends_with_the_one_it_was_made_with(olga: Owner) -> None:
    """Revoking one ends what was made with it, down to the last; one for a grant ends only itself and those."""
    first, one = olga.make(olga.caller)
    held, two = olga.make(first, grant=f"{olga.name}/team")
    last, three = olga.make(held)
    other, four = olga.make(olga.caller)
    refused(held.write("POST", f"/tokens/{four['id']}/revoke"), 404, "unknown_token")
    refused(held.write("POST", f"/tokens/{one['id']}/revoke"), 404, "unknown_token")
    assert {token["id"] for token in held.get("/tokens").json()["tokens"]} == {two["id"], three["id"]}
    refused(olga.plane.admin.write("POST", f"/tokens/{one['id']}/revoke"), 404, "unknown_token")
    assert first.write("POST", f"/tokens/{one['id']}/revoke").json()["revoked_at"] is not None
    for caller in (first, held, last):
        refused(caller.get("/grants"), 401, "token_revoked")
    assert other.get("/grants").status_code == 200


def test_no_token_outlives_its_person(olga: Owner) -> None:
    """When the person leaves, the tokens they made end like those that were made for them."""
    made, _ = olga.make(olga.caller, read_only=True)
    left = olga.plane.admin.write("POST", f"/people/{olga.person}/leave", {"reason": "x"})
    assert left.json()["tokens_revoked"] == 2
    refused(made.get("/grants"), 401, "person_left")


def test_a_token_is_shown_once(olga: Owner) -> None:
    """Repeated under its key a write gives the same token without its text, and lists hold none."""
    body = {"purpose": "ci"}
    first = olga.caller.write("POST", "/tokens", body, key=f"{olga.name}-once")
    again: httpx.Response = olga.caller.write("POST", "/tokens", body, key=f"{olga.name}-once")
    assert again.json() == {"token": first.json()["token"], "secret": None}
    listed = olga.caller.get("/tokens").text
    assert first.json()["secret"] not in listed and first.json()["token"]["id"] in listed
    ((kept,),) = olga.plane.sql("SELECT answer::text FROM answers WHERE idempotency_key = %s", f"{olga.name}-once")
    assert first.json()["secret"] not in kept


def test_an_answer_to_more_is_not_repeated_for_less(olga: Owner) -> None:
    """Under a token for a grant the key of a write made with another one gets no answer."""
    body = {"path": f"{olga.name}/second/x", "owner": olga.person, "reason": "x"}
    assert olga.caller.write("POST", "/grants", body, key=f"{olga.name}-k").status_code == 201
    held, _ = olga.make(olga.caller, grant=f"{olga.name}/team")
    refused(held.write("POST", "/grants", body, key=f"{olga.name}-k"), 409, "conflict_different_within")
