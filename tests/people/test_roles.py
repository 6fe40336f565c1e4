"""The table of rights, line by line, through the real API with a person of each role."""

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from remit.grants.model import ROLES, Actor, Role, RoleBinding
from remit.grants.permissions import may_change, may_create, raised_fields
from remit.grants.roles import RIGHTS, RIGHTS_OF, acts_for, may, who_may
from remit.grants.tree import Tree
from tests.api.support import ADMIN, Caller, Plane, ref, refused, usd
from tests.grants.builders import World

EVERYWHERE = None
Deed = Callable[[Caller, str], httpx.Response]


class Cast:
    """`org` is ada's, `org/team` olga's, `org/team/app` hers as well; `org/other` is ada's. One person per role and scope."""

    def __init__(self, plane: Plane) -> None:
        self.plane = plane
        plane.admin.made("org", 1000)
        plane.admin.made("org/team", 500, owner="olga@acme.example")
        plane.admin.made("org/team/app", 100, owner="olga@acme.example", expires_at="2098-01-01T00:00:00Z")
        plane.admin.made("org/other", 100)
        self.people: dict[tuple[str, str | None], Caller] = {}
        for role in ROLES:
            for scope in (EVERYWHERE, "org/team"):
                name = f"{role}-{'all' if scope is None else 'team'}@acme.example"
                body = {"person": name, "role": role, "grant": scope, "reason": "test"}
                answer = plane.admin.write("POST", "/roles", body)
                assert answer.status_code == 201, answer.text
                self.people[role, scope] = plane.caller(name)

    def key_of(self, path: str) -> str:
        made = self.plane.admin.write("POST", "/keys", {"grant": path, "name": "ci"})
        assert made.status_code == 201, made.text
        return str(made.json()["key"]["id"])


@pytest.fixture(scope="module")
def cast() -> Iterator[Cast]:
    with Plane() as plane:
        yield Cast(plane)


# Each right as a request about a grant: read ones answer 200 and hold something exactly where the right is there.
def sees_grant(caller: Caller, path: str) -> bool:
    return caller.get(f"/grants/{ref(path)}").status_code == 200


def sees_ledger(caller: Caller, path: str) -> bool:
    return caller.get("/ledger/entries", under=path).status_code == 200


def sees_keys(caller: Caller, path: str) -> bool:
    answer = caller.get("/keys", grant=path)
    return answer.status_code == 200


READS: dict[str, Callable[[Caller, str], bool]] = {
    "read_grants": sees_grant,
    "read_ledger": sees_ledger,
    "read_keys": sees_keys,
}
WHOLE: dict[str, str] = {
    "read_people": "/people",
    "read_gateways": "/gateways",
    "read_jobs": "/jobs",
    "run_doctor": "/doctor",
}


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("right", READS)
def test_a_role_shows_what_its_line_says_and_where(cast: Cast, role: Role, right: str) -> None:
    """For the whole organization a role shows everything, bound to a grant that and below; without the right nothing."""
    has = right in RIGHTS_OF[role]
    everywhere, bound = cast.people[role, EVERYWHERE], cast.people[role, "org/team"]
    for path, expected_of_bound in (("org", False), ("org/other", False), ("org/team", has), ("org/team/app", has)):
        assert READS[right](everywhere, path) is has, path
        assert READS[right](bound, path) is expected_of_bound, path


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("right", WHOLE)
def test_what_concerns_everybody_takes_a_role_for_everything(cast: Cast, role: Role, right: str) -> None:
    """People, gateways and the doctor are shown by a role for the whole organization, never by one bound to a grant."""
    answer = cast.people[role, EVERYWHERE].get(WHOLE[right])
    assert answer.status_code == (200 if right in RIGHTS_OF[role] else 403), answer.text
    refused(cast.people[role, "org/team"].get(WHOLE[right]), 403, "not_permitted")


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("scope", [EVERYWHERE, "org/team"])
def test_ending_things(cast: Cast, role: Role, scope: str | None) -> None:
    """Suspending grants and revoking grants, keys and capabilities takes org_owner or security, each within its reach."""
    caller, plane = cast.people[role, scope], cast.plane
    label = f"{role}{'all' if scope is None else 'team'}".replace("_", "")
    may_end = "end" in RIGHTS_OF[role]
    for parent, in_reach in (("org/team", True), ("org", scope is None)):
        path = f"{parent}/{label}"
        plane.admin.made(path, 1)
        key = cast.key_of(path)
        block = plane.admin.write("POST", "/capabilities", {"grant": path, "purpose": "test"}).json()["capability"][
            "id"
        ]
        expected = may_end and in_reach
        answers = [
            caller.act("suspend", path),
            caller.write("POST", "/revocations", {"subject": f"block:{block}", "reason": "test"}),
            caller.write("POST", f"/keys/{key}/revoke", {"reason": "test"}),
            caller.act("revoke", path),
        ]
        for answer in answers:
            assert (answer.status_code in (200, 201)) is expected, (path, answer.text)


RAISES: dict[str, Deed] = {
    "limit": lambda caller, path: caller.patch(path, limits=[usd(150)]),
    "expiry": lambda caller, path: caller.act("renew", path, expires_at="2098-06-01T00:00:00Z"),
    "owner": lambda caller, path: caller.patch(path, owner="eve@acme.example"),
    "resume": lambda caller, path: caller.act("resume", path),
    "create": lambda caller, path: caller.create(f"{path}/new"),
    "key": lambda caller, path: caller.write("POST", "/keys", {"grant": path, "name": "x"}),
    "capability": lambda caller, path: caller.write("POST", "/capabilities", {"grant": path, "purpose": "x"}),
    "role": lambda caller, path: caller.write(
        "POST", "/roles", {"person": "eve@acme.example", "role": "auditor", "grant": path, "reason": "x"}
    ),
    "manifest": lambda caller, path: caller.apply({f"{path}/file": {"owner": ADMIN}}),
}


@pytest.mark.parametrize("role", [role for role in ROLES if role != "org_owner"])
@pytest.mark.parametrize("deed", RAISES)
def test_no_role_but_org_owner_raises_anything(cast: Cast, role: Role, deed: str) -> None:
    """Whatever makes authority is refused to every other role, everywhere and where it is bound to."""
    for scope in (EVERYWHERE, "org/team"):
        answer = RAISES[deed](cast.people[role, scope], "org/team/app")
        assert answer.status_code in (403, 404, 422), answer.text
        assert answer.json()["code"] in ("not_permitted", "grant_unknown", "parent_unknown"), answer.text


def test_an_org_owner_of_a_grant_is_an_admin_there_and_nowhere_else(cast: Cast) -> None:
    """They raise the grant itself within its parent, and all below; what stands beside or above is out of sight."""
    caller, plane = cast.people["org_owner", "org/team"], cast.plane
    assert caller.patch("org/team", limits=[usd(600)]).status_code == 200
    refused(caller.patch("org/team", limits=[usd(2000)]), 422, "limit_not_contained")
    assert caller.create("org/team/mine", 5).status_code == 201
    refused(caller.patch("org", limits=[usd(2000)]), 404, "grant_unknown")
    refused(caller.create("root"), 403, "not_permitted")
    give = {"person": "eve@acme.example", "role": "auditor", "reason": "x"}
    assert caller.write("POST", "/roles", {**give, "grant": "org/team"}).status_code == 201
    refused(caller.write("POST", "/roles", give), 403, "not_permitted")
    refused(caller.write("POST", "/roles", {**give, "grant": "org/other"}), 404, "grant_unknown")
    assert plane.admin.get("/roles", person="eve@acme.example").json()["roles"][0]["grant_path"] == "org/team"


def test_a_role_ends_with_the_next_request(cast: Cast) -> None:
    """An ended role shows nothing any more, stays in the list of all, and ends once more without complaint."""
    plane = cast.plane
    caller = plane.caller("temp@acme.example")
    body = {"person": "TEMP@acme.example", "role": "auditor", "reason": "test"}
    given_role = plane.admin.write("POST", "/roles", body).json()
    assert plane.admin.write("POST", "/roles", body).json() == given_role
    assert caller.get("/people").status_code == 200
    ended = plane.admin.write("POST", f"/roles/{given_role['id']}/revoke", {"reason": "test"}).json()
    assert plane.admin.write("POST", f"/roles/{given_role['id']}/revoke", {"reason": "test"}).json() == ended
    refused(caller.get("/people"), 403, "not_permitted")
    assert caller.get("/roles").json()["roles"] == []
    assert caller.get("/roles", ended=True).json()["roles"] == [ended]
    refused(caller.write("POST", f"/roles/{given_role['id']}/revoke", {"reason": "x"}), 403, "not_permitted")
    refused(plane.admin.write("POST", "/roles/x/revoke", {"reason": "x"}), 404, "unknown_role_binding")


def test_an_org_owner_of_everything_is_an_admin(cast: Cast) -> None:
    """The role alone makes an admin, who creates roots."""
    assert cast.people["org_owner", EVERYWHERE].create("second", 5).status_code == 201


def _tree() -> Tree:
    world = World()
    for path in ("a", "a/b", "a/b/c", "a/d", "e"):
        world.made(path)
    return world.tree()


TREE = _tree()


def test_an_approver_stands_in_for_owners_of_their_subtree() -> None:
    """The ids are those of the bound grant and below; all for the whole organization; none for roles that decide nothing."""
    paths = {one.id: one.path for one in TREE}

    def of(*bindings: RoleBinding) -> set[str]:
        return {paths[one] for one in acts_for(TREE, bindings)}

    at_b = next(one.id for one in TREE if one.path == "a/b")
    assert of(RoleBinding("approver", at_b)) == {"a/b", "a/b/c"}
    assert of(RoleBinding("approver")) == set(paths.values())
    assert of(RoleBinding("finance"), RoleBinding("auditor", at_b)) == set()


def test_who_may_decide_is_who_has_a_role_there_or_above() -> None:
    """People are named once each, for their role on the grant, above it, or for everything; not for one beside it."""
    at = {one.path: one for one in TREE}
    bindings = [
        ("all@acme.example", RoleBinding("approver")),
        ("b@acme.example", RoleBinding("approver", at["a/b"].id)),
        ("b@acme.example", RoleBinding("org_owner", at["a"].id)),
        ("d@acme.example", RoleBinding("approver", at["a/d"].id)),
        ("eye@acme.example", RoleBinding("auditor")),
    ]
    assert who_may("decide_tickets", TREE.path_to(at["a/b/c"]), bindings) == ["all@acme.example", "b@acme.example"]
    assert who_may("decide_tickets", (), bindings) == ["all@acme.example"]


@settings(max_examples=200)
@given(
    st.lists(
        st.builds(
            RoleBinding,
            st.sampled_from([role for role in ROLES if role != "org_owner"]),
            st.sampled_from([None, *(one.id for one in TREE)]),
        ),
        max_size=6,
    ),
    st.sampled_from(list(TREE)),
    st.sampled_from(["active", "suspended", "revoked", "expired"]),
    st.sampled_from(["active", "suspended", "revoked"]),
    st.booleans(),
)
def test_no_set_of_roles_raises(bindings: list[RoleBinding], old: Any, before: Any, after: Any, widen: bool) -> None:
    """Without owning anything, no roles together permit a write that creates or raises, whatever it ends besides."""
    from dataclasses import replace

    actor = Actor("eve@acme.example", roles=tuple(bindings))
    old = replace(old, status=before)
    new = replace(old, status=after, revision=old.revision + 1, owner="eve@acme.example" if widen else old.owner)
    if raised_fields(old, new):
        assert may_change(TREE, actor, old, new)
    assert may_create(TREE, actor, replace(old, id="grant_new", path=f"{old.path}/x", parent_id=old.id))
    assert not may(actor, "write_grants", TREE.path_to(old)) and not may(actor, "give_roles")


def test_every_right_and_role_stands_in_the_reference() -> None:
    """The page's table of roles and rights is the table of the code."""
    import re
    from pathlib import Path

    from remit.grants.roles import RIGHTS_OF_OWNERS

    page = (Path(__file__).resolve().parents[2] / "docs" / "reference" / "roles.md").read_text(encoding="utf-8")
    head, *rows = [
        [cell.strip().strip("`") for cell in line.strip("|").split("|")]
        for line in re.findall(r"^\|.*\|$", page.partition("## Rights")[2].partition("\n## ")[0], re.MULTILINE)
    ]
    columns = head[2:]
    assert columns == ["owner", *ROLES]
    table = {row[0]: {name for name, cell in zip(columns, row[2:], strict=True) if cell == "x"} for row in rows[1:]}
    expected = {right: {role for role in ROLES if right in RIGHTS_OF[role]} for right in RIGHTS}
    for right in RIGHTS_OF_OWNERS:
        expected[right].add("owner")
    assert table == expected
