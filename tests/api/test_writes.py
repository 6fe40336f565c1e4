"""Idempotency keys, preconditions, and what is refused before any rule is asked."""

import secrets
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from remit.api.bodies import MAX_BODY_BYTES
from tests.api.support import ADMIN, END, SAID, Caller, Plane, ref, refused, usd


def test_the_same_write_is_done_once(admin: Caller, name: str) -> None:
    """The same key with the same body gets the first answer, also after the grant has changed since."""
    first = admin.create(name, 100, key=f"{name}-1")
    admin.patch(name, limits=[usd(50)])
    again = admin.create(name, 100, key=f"{name}-1")
    assert "idempotency-replayed" not in first.headers
    assert again.headers["idempotency-replayed"] == "true"
    assert (again.status_code, again.json(), again.headers["etag"]) == (201, first.json(), first.headers["etag"])
    assert len(admin.get(f"/grants/{name}/history").json()["revisions"]) == 2


@pytest.mark.parametrize(
    ("change", "field"),
    [({"owner": "bo@acme.example"}, "owner"), ({"limits": [usd(101)]}, "limits"), ({"reason": "other"}, "reason")],
)
def test_another_write_under_the_same_key_is_refused(
    admin: Caller, name: str, change: dict[str, Any], field: str
) -> None:
    """The same key with another body is a conflict that names the field."""
    admin.create(name, 100, key=f"{name}-1")
    refused(admin.create(name, **{"limits": [usd(100)], **change}, key=f"{name}-1"), 409, f"conflict_different_{field}")


def test_a_key_is_for_one_kind_of_write(plane: Plane, admin: Caller, name: str) -> None:
    """Another route, another person and another precondition under the same key are conflicts."""
    admin.create(name, 100, key=f"{name}-1")
    suspend = admin.write("POST", f"/grants/{name}/suspend", {"reason": "test"}, key=f"{name}-1")
    refused(suspend, 409, "conflict_different_operation")
    other = plane.caller("bo@acme.example", is_admin=True)
    refused(other.create(name, 100, key=f"{name}-1"), 409, "conflict_different_actor")
    body = {"reason": "test", "limits": []}
    admin.write("PATCH", f"/grants/{name}", body, key=f"{name}-2", if_match=1)
    refused(admin.write("PATCH", f"/grants/{name}", body, key=f"{name}-2"), 409, "conflict_different_if_match")


def test_what_was_not_written_leaves_its_key_free(admin: Caller, name: str) -> None:
    """A refused write can be mended and sent again under its key."""
    admin.made(name, 100)
    refused(admin.create(f"{name}/a", 101, key=f"{name}-a"), 422, "limit_not_contained")
    assert admin.create(f"{name}/a", 99, key=f"{name}-a").status_code == 201


def test_the_same_write_at_once_is_done_once(plane: Plane, admin: Caller, name: str) -> None:
    """Ten equal requests at the same moment make one grant, and all get its first answer."""
    token = plane.token(ADMIN, is_admin=True).text
    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(lambda _: plane.bearer(token).create(name, 100, key=f"{name}-1"), range(10)))
    assert {answer.status_code for answer in answers} == {201} and all(
        answer.json() == answers[0].json() for answer in answers
    )
    assert sum("idempotency-replayed" in answer.headers for answer in answers) == 9


def test_a_repetition_waits_for_no_other_write(plane: Plane, admin: Caller, name: str) -> None:
    """While somebody writes the tree, a write that was done is answered, and a conflict of its key is refused."""
    first = admin.create(name, 100, key=f"{name}-1")
    with plane.authority.repository.write(SAID):
        again = admin.create(name, 100, key=f"{name}-1")
        other = admin.create(name, 101, key=f"{name}-1")
    assert (again.status_code, again.json()) == (201, first.json())
    refused(other, 409, "conflict_different_limits")


@pytest.mark.parametrize(
    ("method", "route", "body"),
    [
        ("POST", "/grants", {"path": "x", "owner": ADMIN, "class": "production", "expires_at": END, "reason": "test"}),
        ("PATCH", "/grants/{name}", {"reason": "test"}),
        ("POST", "/grants/{name}/activate", {"reason": "test"}),
        ("POST", "/grants/{name}/suspend", {"reason": "test"}),
        ("POST", "/grants/{name}/resume", {"reason": "test"}),
        ("POST", "/grants/{name}/renew", {"reason": "test", "expires_at": END}),
        ("POST", "/grants/{name}/revoke", {"reason": "test"}),
        ("POST", "/apply", {"manifest": {"grants": {}}, "reason": "test"}),
        ("POST", "/keys", {"grant": "x", "name": "y"}),
        ("POST", "/keys/000000000000/rotate", None),
        ("POST", "/keys/000000000000/revoke", None),
    ],
)
def test_every_write_needs_an_idempotency_key(admin: Caller, name: str, method: str, route: str, body: Any) -> None:
    """Without the header, or with one that is no key, a write is refused before anything else."""
    admin.made(name, 100)
    route = route.format(name=name)
    refused(admin.http.request(method, route, json=body), 400, "idempotency_key_missing")
    refused(admin.write(method, route, body, key="two words"), 400, "idempotency_key_missing")
    refused(admin.write(method, route, body, key="x" * 201), 400, "idempotency_key_missing")


@pytest.mark.parametrize("verb", ["edit", "suspend", "resume", "renew", "revoke", "key"])
def test_a_write_for_another_revision_is_refused(admin: Caller, name: str, verb: str) -> None:
    """With `If-Match`, a write happens at that revision or not at all; a repetition still gets its first answer."""
    admin.made(name, 100)
    admin.act("suspend" if verb == "resume" else "resume", name)
    now = admin.get(f"/grants/{name}").json()["revision"]
    routes: dict[str, tuple[str, str, dict[str, Any]]] = {
        "edit": ("PATCH", f"/grants/{name}", {"reason": "test", "limits": [usd(1)]}),
        "renew": ("POST", f"/grants/{name}/renew", {"reason": "test", "expires_at": "2100-01-01T00:00:00Z"}),
        "key": ("POST", "/keys", {"grant": name, "name": "ci"}),
    }
    method, route, body = routes.get(verb, ("POST", f"/grants/{name}/{verb}", {"reason": "test"}))
    refused(admin.write(method, route, body, if_match=now + 1), 409, "revision_conflict")
    for tag in ("*", 'W/"1"', "x"):
        refused(admin.write(method, route, body, if_match=tag), 400, "if_match_invalid")
    done = admin.write(method, route, body, if_match=f'"{now}"', key=f"{name}-{verb}")
    assert done.status_code in {200, 201}, done.text
    again = admin.write(method, route, body, if_match=f'"{now}"', key=f"{name}-{verb}")
    assert again.headers["idempotency-replayed"] == "true"


def test_of_edits_for_one_revision_one_is_made(plane: Plane, admin: Caller, name: str) -> None:
    """Ten edits at once that all mean revision 1: one is made, nine are refused."""
    admin.made(name, 100)
    token = plane.token(ADMIN, is_admin=True).text

    def edit(amount: int) -> httpx.Response:
        return plane.bearer(token).write(
            "PATCH", f"/grants/{name}", {"reason": "test", "limits": [usd(amount)]}, if_match=1
        )

    with ThreadPoolExecutor(10) as pool:
        statuses = sorted(answer.status_code for answer in pool.map(edit, range(10)))
    assert statuses == [200] + [409] * 9


def test_a_precondition_that_means_nothing_is_refused(admin: Caller, name: str) -> None:
    """A write that changes no stored grant refuses `If-Match` rather than ignoring it."""
    body = {"path": name, "owner": ADMIN, "class": "production", "expires_at": END, "reason": "test"}
    refused(admin.write("POST", "/grants", body, if_match=1), 400, "if_match_invalid")
    refused(admin.write("POST", "/keys/000000000000/revoke", if_match=1), 400, "if_match_invalid")


BAD_BODIES: list[bytes] = [
    b"",
    b"null",
    b"[]",
    b"{",
    b"\xff",
    b'{"path": "x", "owner": "a@b.example", "reason": "r", "limts": []}',
    b'{"path": "x", "owner": "a@b.example"}',
    b'{"path": 7, "owner": "a@b.example", "reason": "r"}',
    b'{"path": "x", "owner": "a@b.example", "reason": ""}',
    b'{"path": "x", "owner": "a@b.example", "reason": "\\u0000"}',
    b'{"path": "x", "owner": "a@b.example", "reason": "\\ud800"}',
    b'{"path": "x", "owner": "a@b.example", "reason": "r", "expires_at": "2099-01-01T00:00:00"}',
    b'{"path": "x", "owner": "a@b.example", "reason": "r", "expires_at": 4070908800}',
    b'{"path": "x", "owner": "a@b.example", "reason": "r", "expires_at": "0001-01-01T00:00:00+14:00"}',
    b'{"path": "x", "owner": "a@b.example", "reason": "r", "starts_at": "9999-12-31T23:59:59-14:00"}',
    b'{"path": "x", "owner": "a@b.example", "reason": "r", "scope": {"teem": "x"}}',
    b'{"path": "x", "owner": "a@b.example", "reason": "r", "limits": [{"dimension": "usd", "amount": "5", "period": "day"}]}',
    b'{"path": "x", "owner": "a@b.example", "reason": "r", "limits": [{"dimension": "usd", "amount": 1.5, "period": "day"}]}',
    b'{"path": "x", "owner": "a@b.example", "reason": "r", "limits": [{"dimension": "usd", "amount": -1, "period": "day"}]}',
    b'{"path": "x", "owner": "a@b.example", "reason": "r", "limits": [{"dimension": "usd", "amount": 9223372036854775808, "period": "day"}]}',
    b'{"path": "x", "owner": "a@b.example", "reason": "r", "limits": [{"dimension": "usd", "amount": 1, "period": "year"}]}',
    b'{"path": "x", "owner": "a@b.example", "reason": "r", "delegation": {"allowed": 1}}',
    b'{"path": "x", "reason": "r", "owner": ' + b"[" * 100_000,
    b'{"path": "x", "path": "y", "owner": "a@b.example", "reason": "r"}',
    b'{"path": "x", "owner": "a@b.example", "reason": "r", "scope": {"team": "a", "te\\u0061m": "b"}}',
]


@pytest.mark.parametrize("body", BAD_BODIES, ids=range(len(BAD_BODIES)))
def test_a_body_that_cannot_be_read_is_refused(admin: Caller, body: bytes) -> None:
    """Bodies that are not exactly what the route takes are refused as malformed, never guessed at."""
    answer = admin.http.post(
        "/grants", content=body, headers={"idempotency-key": "bad", "content-type": "application/json"}
    )
    refused(answer, 400, "malformed_request")


def test_a_manifest_as_deep_as_a_body_allows_is_refused(admin: Caller) -> None:
    """Depth that would exhaust the parser is refused like any other malformed body."""
    body = b'{"reason": "r", "manifest": {"grants": ' + b'{"a":' * 150_000 + b"1" + b"}" * 150_002
    answer = admin.http.post("/apply", content=body, headers={"idempotency-key": "deep"})
    refused(answer, 400, "malformed_request")


def test_a_body_has_a_bound(admin: Caller, name: str) -> None:
    """A body above 1 MiB is refused, whether it says its length or comes in chunks."""
    headers = {"idempotency-key": "large"}
    large = b'{"reason": "' + b"x" * MAX_BODY_BYTES + b'"}'
    told = refused(admin.http.post("/grants", content=large, headers=headers), 413, "body_too_large")
    assert told["detail"] == "a body here has at most 1 MiB"
    refused(admin.http.post("/grants", content=iter([large]), headers=headers), 413, "body_too_large")


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=1001", "limit=x", "limit=1&limit=2", "lmit=1", "status=dead", "after=%00", "%00=1"],
)
def test_query_parameters_are_read_strictly(admin: Caller, name: str, query: str) -> None:
    """A page size out of bounds, an unknown parameter and a repeated one are refused."""
    answer = admin.http.get(f"/grants?{query}")
    refused(answer, 400, "malformed_request")


@pytest.mark.parametrize(
    ("method", "route"),
    [
        ("GET", "/tickets?after=%00"),
        ("GET", "/tickets/%00"),
        ("GET", "/revocations/a%00b"),
        ("GET", "/roles?person=%00"),
        ("POST", "/trips/%00/end"),
        ("POST", "/people/%00/return"),
        ("POST", "/roles/%00/revoke"),
    ],
)
def test_nul_in_a_url_is_refused(admin: Caller, method: str, route: str) -> None:
    """What the database cannot look for is refused as malformed, wherever in the URL it stands."""
    headers = {"idempotency-key": secrets.token_hex(8)}
    refused(admin.http.request(method, route, json={"reason": "x"}, headers=headers), 400, "malformed_request")


@pytest.mark.parametrize("since", ["0", "0.5", "1767225600", "nan", "2026-07-01", "2026-07-01T00:00:00"])
@pytest.mark.parametrize("route", ["/ledger/report", "/security/feed"])
def test_an_instant_is_stated_as_one(admin: Caller, route: str, since: str) -> None:
    """Seconds since 1970, a date and a time without an offset are no instants."""
    refused(admin.get(route, since=since), 400, "malformed_request")


def test_instants_of_parts_are_bounded_as_well(admin: Caller, name: str) -> None:
    """An instant that some zone does not have is refused deep in a body and in a manifest."""
    admin.made(name, 10)
    late = "9999-12-31T23:59:59Z"
    part = {"name": "a", "owner": ADMIN, "amount": 1, "expires_at": late}
    refused(admin.act("split", name, parts=[part]), 400, "malformed_request")
    node = {"owner": ADMIN, "class": "production", "expires": late}
    refused(admin.apply({f"{name}x": node}), 422, "manifest_value")


def test_a_misspelt_dry_run_writes_nothing(admin: Caller, name: str) -> None:
    """`dryrun` is refused; it must not be taken for the real thing."""
    tree = {name: {"owner": ADMIN, "class": "production", "expires": "2099-01-01"}}
    answer = admin.write("POST", "/apply", {"manifest": {"grants": tree}, "reason": "test"}, dryrun="true")
    refused(answer, 400, "malformed_request")
    refused(admin.get(f"/grants/{name}"), 404, "grant_unknown")


def test_unknown_routes_and_methods(admin: Caller, name: str) -> None:
    """What is not a route, or not a method of one, is answered as a problem too."""
    refused(admin.get("/grunts"), 404, "unknown_route")
    answer = admin.http.delete(f"/grants/{ref(name)}")
    refused(answer, 405, "method_not_allowed")
    assert {"GET", "PATCH"} <= set(answer.headers["allow"].split(", "))


def test_every_problem_of_a_write_is_listed(admin: Caller, name: str) -> None:
    """A write with several faults is answered with all of them, each with its grant, field and sentence."""
    answer = admin.create(name, owner="nobody", time_zone="Mars/Olympus", scope={"team": " "})
    problems = refused(answer, 422, "owner_invalid")["problems"]
    assert {one["code"] for one in problems} == {"owner_invalid", "time_zone_invalid", "scope_invalid"}
    assert {one["path"] for one in problems} == {name} and all(one["field"] and one["detail"] for one in problems)
