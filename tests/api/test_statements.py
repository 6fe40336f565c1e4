"""Statements over HTTP: brought in once, looked at, and by whom."""

import secrets
from datetime import UTC, datetime
from itertools import count
from typing import Any

import httpx

from remit.testing.vendor_reports.books import BookRow
from remit.testing.vendor_reports.clouds import focus
from tests.api.support import Caller, Plane, refused

_numbers = count(1)


def content(account: str, *tokens: int) -> bytes:
    return focus(
        [
            BookRow(
                at=datetime(2026, 11, 3, tzinfo=UTC),
                model="m",
                used={"input": one},
                costs_nanousd={"input": one},
                account=account,
            )
            for one in tokens
        ]
    )


def bring(caller: Caller, body: bytes, key: str | None = None, **params: Any) -> httpx.Response:
    headers = {"idempotency-key": key or secrets.token_hex(8)}
    return caller.http.post("/statements", content=body, headers=headers, params={"source": "focus", **params})


def test_a_statement_is_brought_and_looked_at(plane: Plane, admin: Caller, name: str) -> None:
    """201 and the statement, 200 for the same again; listed with its lines page by page; the next version takes its place."""
    made = bring(admin, content(name, 5, 6, 7), reason="month end")
    assert made.status_code == 201, made.text
    statement = made.json()
    again = bring(admin, content(name, 5, 6, 7))
    assert again.status_code == 200 and again.json() == statement
    first = admin.get(f"/statements/{statement['id']}/lines", limit=2).json()
    rest = admin.get(f"/statements/{statement['id']}/lines", limit=2, after=first["next"]).json()
    assert [line["quantity"] for line in first["lines"] + rest["lines"]] == ["5", "6", "7"] and rest["next"] is None
    later = bring(admin, content(name, 5, 6, 8)).json()
    assert (later["version"], later["supersedes"]) == (2, statement["id"])
    listed = [one["id"] for one in admin.get("/statements").json()["statements"] if one["account"] == name]
    assert listed == [later["id"]]
    assert admin.get(f"/statements/{statement['id']}").json()["superseded_by"] == later["id"]
    page = admin.get("/statements", limit=1, current=False).json()
    assert (
        admin.get("/statements", limit=1, current=False, before=page["next"]).json()["statements"][0]["id"]
        == statement["id"]
    )
    told = admin.get("/audit", subject=statement["id"]).json()["rows"]
    assert [(row["operation"], row["reason"], row["source"]) for row in told] == [
        ("statement import", "month end", "api")
    ]


def test_a_statement_is_withdrawn(plane: Plane, admin: Caller, name: str) -> None:
    """It is shown with who and why, and not listed any more; not twice, not without a reason, and the same again is the same answer."""
    made = bring(admin, content(name, 5)).json()
    path, key, body = f"/statements/{made['id']}/withdraw", secrets.token_hex(8), {"reason": "of another account"}
    refused(admin.write("POST", path, {}), 400, "malformed_request")
    answer = admin.write("POST", path, body, key=key)
    assert answer.status_code == 200, answer.text
    gone = answer.json()
    assert (gone["withdrawn_by"], gone["withdrawn_reason"]) == ("ada@acme.example", "of another account")
    assert admin.write("POST", path, body, key=key).json() == gone == admin.get(f"/statements/{made['id']}").json()
    assert made["id"] not in [one["id"] for one in admin.get("/statements", limit=1000).json()["statements"]]
    refused(admin.write("POST", path, body), 409, "already_withdrawn")
    refused(admin.write("POST", "/statements/stmt_never/withdraw", body), 404, "unknown_statement")


def test_what_cannot_be_taken_in_is_refused(admin: Caller, name: str) -> None:
    """Bytes that are none, an overlap, a key of another request, a source and rates nobody knows, too large a body."""
    refused(bring(admin, b"what is this"), 422, "statement_unreadable")
    refused(bring(admin, b""), 422, "statement_unreadable")
    refused(bring(admin, content(name, 5), source="acme.bills"), 422, "statement_unreadable")
    key = secrets.token_hex(8)
    assert bring(admin, content(name, 5), key=key).status_code == 201
    refused(bring(admin, content(name, 6), key=key), 409, "conflict_different_sha256")
    period = {"since": "2026-11-20T00:00:00Z", "until": "2026-12-20T00:00:00Z"}
    refused(bring(admin, content(name, 6), **period), 409, "statement_overlaps")
    refused(bring(admin, content(name, 6), rates="EUR"), 400, "malformed_request")
    refused(bring(admin, content(name, 6), since="2026-11-20T00:00:00"), 400, "malformed_request")
    large = refused(bring(admin, b" " * (16 * 1024 * 1024 + 1)), 413, "body_too_large")
    assert large["detail"] == "a body here has at most 16 MiB"
    refused(admin.get("/statements/stmt_never"), 404, "unknown_statement")
    refused(admin.get("/statements/stmt_never/lines"), 404, "unknown_statement")


def test_statements_are_for_finance(plane: Plane, admin: Caller, name: str) -> None:
    """Finance brings and reads, an auditor reads, an owner of grants and finance of one grant do neither; attempts are audited."""
    admin.made(name, 100)
    made = bring(admin, content(name, 5)).json()["id"]

    def someone(role: str, grant: str | None = None) -> Caller:
        person = f"{role}{next(_numbers)}@{name}.example"
        body = {"person": person, "role": role, "grant": grant, "reason": "rota"}
        assert admin.write("POST", "/roles", body).status_code == 201
        return plane.caller(person)

    finance, auditor = someone("finance"), someone("auditor")
    assert bring(finance, content(name, 6)).status_code == 201
    for caller in (finance, auditor):
        assert caller.get(f"/statements/{made}/lines").status_code == 200
    refused(bring(auditor, content(name, 7)), 403, "not_permitted")
    refused(auditor.write("POST", f"/statements/{made}/withdraw", {"reason": "r"}), 403, "not_permitted")
    for caller in (someone("finance", name), someone("gateway_operator"), plane.caller(f"eve@{name}.example")):
        refused(bring(caller, content(name, 7)), 403, "not_permitted")
        for route in ("/statements", f"/statements/{made}", f"/statements/{made}/lines"):
            refused(caller.get(route), 403, "not_permitted")
    rows = admin.get("/audit", outcome="refused", limit=1000).json()["rows"]
    told = [row for row in rows if row["operation"] == "statement import"]
    (withdrawn,) = [row for row in rows if row["operation"] == "statement withdraw" and name in row["actor"]]
    assert withdrawn["actor"].startswith("auditor")
    assert len([row for row in told if row["problems"][0]["code"] == "not_permitted"]) >= 4
