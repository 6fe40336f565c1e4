"""A directory says who is here and who left."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from remit.api.scim import ENTERPRISE
from remit.settings import SettingsError, load_settings, scim_token
from tests.api.support import Plane, ref, refused

TOKEN = "a-directory-s-token-of-its-own"
PATCH = "urn:ietf:params:scim:api:messages:2.0:PatchOp"


class Directory:
    """Speaks to `/v1/scim/v2/Users` with a token."""

    def __init__(self, plane: Plane, token: str = TOKEN) -> None:
        headers = {"authorization": f"Bearer {token}", "content-type": "application/scim+json"}
        self.plane = plane
        self.http = httpx.Client(base_url=f"{plane.server.url}/scim/v2", headers=headers, timeout=30)

    def user(self, name: str, **more: Any) -> dict[str, Any]:
        answer = self.http.post("/Users", json={"userName": name, "active": True, **more})
        assert answer.status_code == 201, answer.text
        user: dict[str, Any] = answer.json()
        return user

    def patch(self, user: dict[str, Any], *operations: dict[str, Any]) -> httpx.Response:
        return self.http.patch(f"/Users/{user['id']}", json={"schemas": [PATCH], "Operations": list(operations)})


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Directory]:
    file = tmp_path_factory.mktemp("scim") / "token"
    file.touch(mode=0o600)
    file.write_text(TOKEN)
    with Plane(api={"listen": "127.0.0.1:0", "scim_token_file": file}) as plane:
        made = Directory(plane)
        yield made
        made.http.close()


def test_only_the_directory_speaks(directory: Directory) -> None:
    """Neither an admin's token nor a wrong one nor none is taken, and the directory's is good for nothing else."""
    plane = directory.plane
    for token in ("wrong", plane.token("ada@acme.example", is_admin=True).text):
        answer = httpx.get(f"{plane.server.url}/scim/v2/Users", headers={"authorization": f"Bearer {token}"})
        assert answer.status_code == 401 and answer.json()["schemas"] == ["urn:ietf:params:scim:api:messages:2.0:Error"]
    assert httpx.post(f"{plane.server.url}/scim/v2/Users", json={"userName": "a@b.example"}).status_code == 401
    refused(plane.bearer(TOKEN).get("/grants"), 401, "unauthenticated")


def test_without_a_token_set_nobody_speaks() -> None:
    """Where no directory is set every token is refused."""
    with Plane() as plane:
        answer = httpx.get(f"{plane.server.url}/scim/v2/Users", headers={"authorization": "Bearer x"})
        assert answer.status_code == 401


def test_users_are_made_and_found(directory: Directory) -> None:
    """A user is found by name without regard to case, by id, and is not made twice; another filter is refused."""
    made = directory.user("Una@acme.example", externalId="x1")
    assert made["userName"] == "una@acme.example" and made["active"] and made["externalId"] == "x1"
    found = directory.http.get("/Users", params={"filter": 'userName eq "UNA@acme.example"', "attributes": "id"}).json()
    assert found["totalResults"] == 1 and found["Resources"] == [made]
    assert directory.http.get(f"/Users/{made['id']}").json() == made
    assert directory.http.get("Users/una@acme.example").status_code == 404
    nobody = directory.http.get("/Users", params={"filter": 'userName eq "no@acme.example"'}).json()
    assert nobody["totalResults"] == 0
    assert directory.http.post("/Users", json={"userName": "una@acme.example"}).status_code == 409
    assert directory.http.post("/Users", json={"userName": "una"}).status_code == 400
    assert directory.http.get("/Users", params={"filter": 'emails eq "x"'}).json()["scimType"] == "invalidFilter"
    assert directory.http.post("/Users", content=b"{").json()["scimType"] == "invalidSyntax"
    assert directory.http.put(f"/Users/{made['id']}", json={"userName": "other@acme.example"}).status_code == 400


DEACTIVATIONS: dict[str, Any] = {
    "by path": {"op": "replace", "path": "active", "value": False},
    "without a path": {"op": "Replace", "value": {"active": False}},
    "as text": {"op": "replace", "path": "active", "value": "False"},
}


@pytest.mark.parametrize("way", [*DEACTIVATIONS, "put"])
def test_who_is_active_no_more_has_left(directory: Directory, way: str) -> None:
    """However a directory writes it, tokens end and grants go to the manager, who is known and active."""
    plane, label = directory.plane, way.replace(" ", "")
    boss = directory.user(f"boss@{label}.example")
    user = directory.user(f"mo@{label}.example", **{ENTERPRISE: {"manager": {"value": boss["id"]}}})
    plane.admin.made(label, 10, owner="mo@" + label + ".example")
    caller = plane.caller(f"MO@{label}.example")
    if way == "put":
        stated = {"userName": user["userName"], "active": False}
        answer = directory.http.put(f"/Users/{user['id']}", json=stated)
    else:
        answer = directory.patch(user, DEACTIVATIONS[way])
    assert answer.status_code == 200 and answer.json()["active"] is False, answer.text
    refused(caller.get("/grants"), 401, "person_left")
    assert plane.admin.get(f"/grants/{label}").json()["owner"] == f"boss@{label}.example"
    again = directory.patch(user, DEACTIVATIONS["by path"])
    assert again.status_code == 200
    assert directory.patch(user, {"op": "replace", "path": "active", "value": True}).json()["active"] is True
    made = plane.caller(f"mo@{label}.example")
    assert made.get("/grants").json()["grants"] == []


@pytest.mark.parametrize("manager", ["none", "left", "unknown"])
def test_without_an_active_manager_the_grants_are_told_of(directory: Directory, manager: str) -> None:
    """Where nobody can take over, what they own stays theirs and whoever answers above is told."""
    plane = directory.plane
    more: dict[str, Any] = {}
    if manager == "left":
        boss = directory.user("boss@left.example")
        more = {ENTERPRISE: {"manager": boss["id"]}}
        directory.patch(boss, DEACTIVATIONS["by path"])
    elif manager == "unknown":
        more = {ENTERPRISE: {"manager": {"value": "person_nobody"}}}
    user = directory.user(f"pat@{manager}.example", **more)
    plane.admin.made(f"un{manager}", 10)
    plane.admin.made(f"un{manager}/x", 10, owner=f"pat@{manager}.example")
    assert directory.patch(user, DEACTIVATIONS["by path"]).status_code == 200
    assert plane.admin.get(f"/grants/{ref(f'un{manager}/x')}").json()["owner"] == f"pat@{manager}.example"
    rows = plane.sql(
        "SELECT recipients FROM notifications WHERE kind = 'ownerless' AND body ->> 'path' = %s", f"un{manager}/x"
    )
    assert rows == [(["ada@acme.example"],)]


def test_a_manager_can_be_named_with_the_end(directory: Directory) -> None:
    """In one patch the manager is taken over before the person leaves."""
    boss, user = directory.user("boss@both.example"), directory.user("kim@both.example")
    directory.plane.admin.made("both", 10, owner="kim@both.example")
    manager = {"op": "add", "path": f"{ENTERPRISE}:manager", "value": {"value": boss["id"]}}
    assert directory.patch(user, DEACTIVATIONS["by path"], manager).json()["active"] is False
    assert directory.plane.admin.get("/grants/both").json()["owner"] == "boss@both.example"


@pytest.mark.parametrize("name", [r"\q", r"\ud800", r"\u0000", "%00", r"\u12"])
def test_a_filter_that_is_no_text_is_refused(directory: Directory, name: str) -> None:
    """Escapes that mean nothing, half a pair of surrogates and NUL are no names."""
    answer = directory.http.get(f'/Users?filter=userName eq "{name}"')
    assert (answer.status_code, answer.json()["status"]) == (400, "400"), answer.text
    assert directory.http.get("/Users/%00").status_code == 400


@pytest.mark.parametrize(
    "body", [{}, {"Operations": "x"}, {"Operations": [{"op": "move"}]}, {"Operations": [1]}, []], ids=str
)
def test_a_patch_that_means_nothing_is_refused(directory: Directory, body: Any) -> None:
    """Operations that cannot be read change nothing."""
    user = directory.http.get("/Users").json()["Resources"][0]
    assert directory.http.patch(f"/Users/{user['id']}", json=body).status_code == 400


def test_the_token_is_kept_from_others(tmp_path: Path) -> None:
    """A token in a file that others may read, and one that can be guessed, are told at start."""
    file = tmp_path / "token"
    file.write_text(TOKEN)
    file.chmod(0o644)
    settings = load_settings(overrides={"api": {"scim_token_file": file}}, environment={})
    with pytest.raises(SettingsError, match="0600"):
        scim_token(settings.api)
    short = load_settings(overrides={"api": {"scim_token_env": "T"}}, environment={})
    with pytest.raises(SettingsError, match="16 bytes"):
        scim_token(short.api, {"T": "short"})


def test_who_is_deactivated_leaves_their_tickets_too(directory: Directory) -> None:
    """A request that waited for them goes to their manager in the same write."""
    admin, heir, gone = directory.plane.admin, "heir@queue.example", "gone@queue.example"
    manager = directory.user(heir)
    user = directory.user(gone, **{ENTERPRISE: {"manager": {"value": heir}}})
    admin.made("queue", 1_000)
    admin.made("queue/team", 500, owner=gone)
    admin.made("queue/team/leaf", 100, owner="asks@queue.example")
    limit = {"dimension": "usd", "amount": 200, "period": "month"}
    asks = directory.plane.caller("asks@queue.example")
    body = {"grant": "queue/team/leaf", "limits": [limit], "reason": "more"}
    ticket = asks.write("POST", "/tickets/increase", body).json()
    assert ticket["assignees"] == [gone] and manager["active"]
    answer = directory.patch(user, {"op": "replace", "path": "active", "value": False})
    assert answer.status_code == 200, answer.text
    assert asks.get(f"/tickets/{ticket['id']}").json()["assignees"] == [heir]
