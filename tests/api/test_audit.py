"""Who changed what, and what was refused, as the API tells it to those who may know."""

import json
import secrets

import pytest

from tests.api.support import ADMIN, Caller, Plane, ref, refused, usd


def _rows(caller: Caller, **wanted: object) -> list[dict[str, object]]:
    answer = caller.get("/audit", **wanted)
    assert answer.status_code == 200, answer.text
    rows: list[dict[str, object]] = answer.json()["rows"]
    return rows


def test_every_kind_of_write_leaves_its_rows(plane: Plane, admin: Caller, name: str) -> None:
    """Grants, keys, capabilities, roles, people, tickets and revocations: who, why, under which key; the doctor agrees."""
    owner = plane.caller(f"lia@{name}.example")
    grant = admin.made(name, 100)
    admin.made(f"{name}/app", 10, owner=f"lia@{name}.example")
    admin.patch(name, limits=[usd(90)])
    key = owner.write("POST", "/keys", {"grant": f"{name}/app", "name": "ci", "reason": "builds"}).json()["key"]["id"]
    owner.write("POST", f"/keys/{key}/rotate", {"reason": "monthly"})
    minted = owner.write("POST", "/capabilities", {"grant": f"{name}/app", "purpose": "evals", "ttl_seconds": 60})
    assert minted.status_code == 201, minted.text
    role = admin.write("POST", "/roles", {"person": f"bo@{name}.example", "role": "approver", "reason": "rota"}).json()
    asked = owner.write(
        "POST",
        "/tickets/increase",
        {"grant": f"{name}/app", "limits": [usd(20)], "reason": "launch"},
        key=f"{name}-ask",
    )
    assert asked.status_code == 201, asked.text
    approved = admin.write("POST", f"/tickets/{asked.json()['id']}/approve", {"reason": "fine"}, key=f"{name}-yes")
    assert approved.status_code == 200, approved.text
    kinds = {(row["operation"], row["subject_kind"]) for row in _rows(admin, limit=1000)}
    assert {
        ("grant create", "grant"), ("key create", "access_key"), ("key rotate", "access_key"), ("token mint", "capability"),
        ("role grant", "role"), ("role grant", "person"), ("ticket open", "ticket"), ("ticket approve", "ticket"),
        ("ticket approve", "grant"),
    } <= kinds  # fmt: skip
    changed = _rows(admin, subject=grant["id"])[-1]
    assert (changed["actor"], changed["reason"], changed["path"]) == (ADMIN, "test", name)
    assert changed["before"]["limits"][0]["amount"] != changed["after"]["limits"][0]["amount"]  # type: ignore[index]
    effect = [row for row in _rows(admin, under=ref(f"{name}/app")) if row["request_key"] == f"{name}-yes"]
    assert {(row["subject_kind"], row["actor"], row["reason"]) for row in effect} >= {("grant", ADMIN, "fine")}
    assert [row["after"]["role"] for row in _rows(admin, subject=role["id"])] == ["approver"]  # type: ignore[index]
    verdict = admin.get("/doctor").json()
    assert [one["differences"] for one in verdict["checks"] if one["name"] == "audit"] == [[]]


def test_what_was_refused_is_told_with_why(plane: Plane, admin: Caller, name: str) -> None:
    """Attempts beyond one's authority, by a stranger, an owner and a token that may only read; a repetition is none."""
    admin.made(name, 100)
    owner, stranger = plane.caller(f"lia@{name}.example"), plane.caller(f"eve@{name}.example")
    admin.made(f"{name}/app", 10, owner=f"lia@{name}.example")
    assert owner.patch(f"{name}/app", limits=[usd(50)]).status_code == 403
    refused(stranger.act("revoke", f"{name}/app"), 404, "grant_unknown")
    refused(owner.create(f"{name}/app/big", 60), 422, "shares_exceeded")
    key = secrets.token_hex(8)
    assert admin.create(f"{name}/more", 1, key=key).status_code == admin.create(f"{name}/more", 1, key=key).status_code
    reader = plane.bearer(owner.write("POST", "/tokens", {"purpose": "dashboards", "read_only": True}).json()["secret"])
    refused(reader.act("suspend", f"{name}/app"), 403, "not_permitted")
    told = [
        (str(row["actor"]).partition("@")[0], row["operation"], row["problems"][0]["code"])  # type: ignore[index]
        for row in _rows(admin, outcome="refused", limit=1000)
        if str(row["actor"]).endswith(f"@{name}.example")
    ]
    assert [(who, did) for who, did, _ in told] == [
        ("lia", "grant edit"),
        ("eve", "grant revoke"),
        ("lia", "grant create"),
        ("lia", f"POST /v1/grants/{name}%2Fapp/suspend"),
    ]
    assert [why for _, _, why in told][1:] == ["grant_unknown", "shares_exceeded", "not_permitted"]
    below = _rows(admin, outcome="refused", under=ref(f"{name}/app"))
    assert {row["operation"] for row in below} >= {"grant edit", "grant revoke", "grant create"}


def test_the_audit_is_for_those_who_may_read_it(plane: Plane, admin: Caller, name: str) -> None:
    """Owners and strangers are refused; an auditor of a grant sees what is about it and below, one of all sees all."""
    admin.made(name, 100)
    admin.made(f"{name}/app", 10, owner=f"lia@{name}.example")
    other = admin.made(f"{name}/other", 10)
    refused(plane.caller(f"lia@{name}.example").get("/audit"), 403, "not_permitted")
    refused(plane.caller(f"eve@{name}.example").get("/audit"), 403, "not_permitted")
    body = {"person": f"al@{name}.example", "role": "auditor", "grant": f"{name}/app", "reason": "audit"}
    assert admin.write("POST", "/roles", body).status_code == 201
    auditor = plane.caller(f"al@{name}.example")
    assert {row["path"] for row in _rows(auditor)} == {f"{name}/app"}
    refused(auditor.get("/audit", under=ref(f"{name}/other")), 404, "grant_unknown")
    assert _rows(auditor, subject=other["id"]) == []
    assert admin.write("POST", "/roles", {**body, "grant": None}).status_code == 201
    assert {f"{name}/app", f"{name}/other", name} <= {row["path"] for row in _rows(auditor, limit=1000)}


def test_pages_follow_each_other(plane: Plane, admin: Caller, name: str) -> None:
    """`next` continues the list, through all of it once; a page that is not full is the last."""
    for number in range(5):
        admin.made(f"{name}{number}", 100)
    numbers: list[int] = []
    after = 0
    while after is not None:
        page = admin.get("/audit", after=after, limit=2).json()
        numbers += [row["seq"] for row in page["rows"]]
        after = page["next"]
    assert numbers == [row["seq"] for row in _rows(admin, limit=1000)] and len(set(numbers)) == len(numbers) >= 5
    refused(admin.get("/audit", since="2026-01-01T00:00:00"), 400, "malformed_request")
    assert _rows(admin, until="2001-01-01T00:00:00Z") == []


def test_no_secret_that_somebody_sent_is_kept(
    plane: Plane, admin: Caller, name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """A whole token, key or capability in a URL or a text is in no row and no line of the log; a whole token is revoked by it."""
    admin.made(name, 100)
    token = plane.token(f"lia@{name}.example").text
    key = admin.write("POST", "/keys", {"grant": name, "name": "ci", "reason": "x"}).json()
    refused(plane.caller(f"eve@{name}.example").write("POST", f"/keys/{key['secret']}/revoke"), 404, "unknown_key")
    refused(admin.write("POST", f"/tokens/{token}/revoke"), 404, "unknown_token")
    why = f"leaked {key['secret']} and {key['capability']}"
    assert admin.patch(name, limits=[usd(90)], reason=why[:1000]).status_code == 200
    reader = plane.bearer(admin.write("POST", "/tokens", {"purpose": "look", "read_only": True}).json()["secret"])
    refused(reader.write("POST", f"/keys/{key['secret']}/revoke"), 403, "not_permitted")
    secrets_of = [token[16:], key["secret"][16:], key["capability"][10:60]]
    told = json.dumps(_rows(admin, limit=1000)) + capfd.readouterr().out
    assert key["key"]["id"] in told
    assert [one for one in secrets_of if one in told] == []
    mine = plane.bearer(token)
    assert mine.write("POST", f"/tokens/{token}/revoke").status_code == 200
    refused(mine.get("/grants"), 401, "token_revoked")
    assert admin.write("POST", f"/keys/{key['secret']}/revoke").json()["revoked_by"] == ADMIN
