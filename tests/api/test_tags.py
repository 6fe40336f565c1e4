"""The vocabulary of tags over HTTP: who may change it, and that every way to write a grant keeps to it."""

from collections.abc import Iterator
from itertools import count
from typing import Any

import httpx
import pytest

from tests.api.support import END, Caller, Plane, ref, refused, usd
from tests.store.database import fresh_database

FIN, TESS = "fin@acme.example", "tess@acme.example"
_numbers = count(1)


@pytest.fixture(scope="module")
def plane() -> Iterator[Plane]:
    """A control plane over a database of this process's own server."""
    with Plane(url=fresh_database()) as running:
        yield running


@pytest.fixture(scope="module")
def fin(plane: Plane) -> Caller:
    """Finance of the whole organization."""
    assert plane.admin.write("POST", "/roles", {"person": FIN, "role": "finance", "reason": "books"}).is_success
    return plane.caller(FIN)


@pytest.fixture(scope="module")
def tess(plane: Plane) -> Caller:
    """Somebody without a role."""
    return plane.caller(TESS)


def govern(caller: Caller, tag: str, *, key: str | None = None, if_match: Any = None, **more: Any) -> httpx.Response:
    body = {"owner": TESS, "description": "which product", "values": ["search", "ads"], "reason": "order", **more}
    return caller.write("PUT", f"/tags/{tag}", body, key=key, if_match=if_match)


def retire(caller: Caller, tag: str, *values: str, **more: Any) -> httpx.Response:
    return caller.write("POST", f"/tags/{tag}/retire", {"values": values, "reason": "over"}, **more)


@pytest.fixture
def tag(fin: Caller) -> str:
    """The name of a tag of tess's with two values."""
    name = f"product{next(_numbers)}"
    assert govern(fin, name).is_success
    return name


@pytest.fixture
def feature(plane: Plane, fin: Caller, name: str) -> str:
    """A root below which `feature` has two values; only there, so that no other test has to know."""
    plane.admin.made(name, 1000)
    assert govern(fin, "feature", under=name).is_success
    return name


def test_a_tag_is_governed_read_and_freed(fin: Caller, tess: Caller, tag: str) -> None:
    """Everybody reads which values there are; what is left out of a list is retired; a name that is retired is free."""
    one = tess.get(f"/tags/{tag}")
    assert one.headers["etag"] == '"1"' and one.json()["values"] == ["ads", "search"]
    changed = govern(fin, tag, values=["search", "maps"]).json()
    assert (changed["revision"], changed["values"], changed["retired_values"]) == (2, ["maps", "search"], ["ads"])
    assert govern(fin, tag, values=["maps", "search"]).json()["revision"] == 2, "the same again is no revision"
    assert retire(fin, tag, "maps").json()["retired_values"] == ["ads", "maps"]
    freed = retire(fin, tag).json()
    assert (freed["is_retired"], freed["revision"]) == (True, 4)
    assert tag not in [each["name"] for each in tess.get("/tags").json()["tags"]]
    assert tag in [each["name"] for each in tess.get("/tags", retired=True).json()["tags"]]
    refused(retire(fin, tag), 404, "unknown_tag")
    refused(tess.get("/tags/never"), 404, "unknown_tag")
    assert govern(fin, tag).json()["revision"] == 5, "governed again, it goes on where it was"


def test_who_may(plane: Plane, fin: Caller, tess: Caller, tag: str) -> None:
    """Finance and org owners; a tag's owner as far as its values go; finance of one grant, and anybody else, not at all."""
    assert govern(tess, tag, values=["search"]).status_code == 200
    assert retire(tess, tag, "search").json()["values"] == []
    for more in ({"owner": FIN}, {"description": "mine"}):
        refused(govern(tess, tag, values=[], **more), 403, "not_permitted")
    refused(retire(tess, tag), 403, "not_permitted")
    refused(govern(tess, "another"), 403, "not_permitted")
    plane.admin.made(f"{tag}-org", 10)
    bound = {"person": "bo@acme.example", "role": "finance", "grant": f"{tag}-org", "reason": "part of it"}
    assert plane.admin.write("POST", "/roles", bound).is_success
    refused(govern(plane.caller("bo@acme.example"), tag), 403, "not_permitted")
    assert govern(plane.admin, tag).status_code == 200


def test_a_write_is_for_a_revision_and_done_once(fin: Caller, tag: str) -> None:
    """As every write: another revision than the stored one is refused, the same key answers as the first time."""
    refused(govern(fin, tag, values=["x"], if_match=7), 409, "revision_conflict")
    first = govern(fin, tag, values=["x"], if_match=1, key=f"{tag}-1")
    again = govern(fin, tag, values=["x"], if_match=1, key=f"{tag}-1")
    assert first.json() == again.json() and again.headers["idempotency-replayed"] == "true"
    refused(govern(fin, tag, values=["y"], if_match=1, key=f"{tag}-1"), 409, "conflict_different_values")
    refused(retire(fin, tag, "x", if_match=1), 409, "revision_conflict")
    refused(govern(fin, "new-name", if_match=1), 409, "revision_conflict")


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"owner": "nobody"}, "owner_invalid"),
        ({"description": "a\u0007b"}, "description_invalid"),
        ({"values": [" x"]}, "tag_value_invalid"),
        ({"values": [""]}, "tag_value_invalid"),
        ({"under": "never/there"}, "grant_unknown"),
    ],
)
def test_what_cannot_be(fin: Caller, more: dict[str, Any], code: str) -> None:
    """Each with the code of what is wrong with it; nothing is written."""
    answer = govern(fin, "cannot", **more)
    refused(answer, answer.status_code, code)
    refused(fin.get("/tags/cannot"), 404, "unknown_tag")
    refused(govern(fin, "No-Name"), 422, "tag_name_invalid")


def test_nobody_who_left_answers_for_a_tag(plane: Plane, fin: Caller) -> None:
    """Whoever left is made owner of no tag."""
    plane.token("gone@acme.example")
    assert plane.admin.write("POST", "/people/gone@acme.example/leave", {"reason": "left"}).is_success
    refused(govern(fin, "lonely", owner="gone@acme.example"), 409, "owner_left")


def test_a_change_is_a_revision_and_stands_in_the_audit(plane: Plane, fin: Caller, tag: str) -> None:
    """Before and after, who and why; the doctor finds the audit in order; no revision is changed or left out."""
    govern(fin, tag, values=["maps"], reason="maps came")
    rows = plane.admin.get("/audit", subject=tag).json()["rows"]
    assert [(row["actor"], row["reason"], row["subject_kind"]) for row in rows] == [
        (FIN, "order", "tag"),
        (FIN, "maps came", "tag"),
    ]
    assert rows[1]["before"] == rows[0]["after"] and rows[1]["after"]["allowed"] == ["maps"]
    (audit,) = (one for one in plane.admin.get("/doctor").json()["checks"] if one["name"] == "audit")
    assert audit["differences"] == []
    with pytest.raises(Exception, match="append-only"):
        plane.sql("UPDATE tag_revisions SET reason = 'none' RETURNING 1")
    with pytest.raises(Exception, match="no revision before"):
        plane.sql("INSERT INTO tag_revisions SELECT name, revision + 5, owner, description, allowed, retired, grant_id,"
                  " is_retired, changed_at, changed_by, reason FROM tag_names WHERE name = %s RETURNING 1", tag)  # fmt: skip


def test_every_way_to_write_a_grant_keeps_to_it(plane: Plane, feature: str) -> None:
    """Create, change, apply, a new grant by ticket, and labels of keys and capabilities: a value that is not allowed is refused."""
    admin, path = plane.admin, f"{feature}/team"
    wrong: dict[str, Any] = {"scope": {"feature": "serch"}}
    problem = refused(admin.create(path, 10, **wrong), 422, "tag_value_not_allowed")
    assert "did you mean `search`?" in problem["detail"] and problem["problems"][0]["field"] == "scope.feature"
    admin.made(path, 10, scope={"feature": "search"}, owner=TESS)
    admin.made(f"{feature}/free", 10)
    refused(admin.patch(f"{feature}/free", **wrong), 422, "tag_value_not_allowed")
    refused(admin.apply({f"{feature}/new": {"owner": TESS, **wrong}}), 422, "tag_value_not_allowed")
    for route in ("/keys", "/capabilities"):
        body = {"grant": f"{feature}/free", "name": "k", "purpose": "run", "labels": {"feature": "serch"}}
        del body["purpose" if route == "/keys" else "name"]
        refused(admin.write("POST", route, body), 422, "tag_value_not_allowed")
        assert admin.write("POST", route, {**body, "labels": {"feature": "ads"}}).is_success
    asked = {"path": f"{feature}/asked", "owner": TESS, "limits": [usd(5)], "expires_at": END, "reason": "new", **wrong}
    ticket = plane.caller(TESS).write("POST", "/tickets/grant", asked)
    if ticket.is_success:
        ticket = admin.write("POST", f"/tickets/{ticket.json()['id']}/approve", {"reason": "yes"})
    refused(ticket, 422, "tag_value_not_allowed")
    assert admin.get(f"/grants/{ref(f'{feature}/asked')}").status_code == 404


def test_what_stands_is_not_broken(plane: Plane, fin: Caller, feature: str) -> None:
    """A grant that fixes a value retired since is changed in everything else; elsewhere the name is free."""
    path = f"{feature}/team"
    plane.admin.made(path, 10, scope={"feature": "ads"})
    assert retire(fin, "feature", "ads").is_success
    assert plane.admin.patch(path, limits=[usd(9)]).status_code == 200
    assert plane.admin.act("suspend", path).is_success and plane.admin.act("resume", path).is_success
    refused(plane.admin.create(f"{feature}/late", 1, scope={"feature": "ads"}), 422, "tag_value_not_allowed")
    plane.admin.made(f"{feature}-other", 10, scope={"feature": "whatever"})
