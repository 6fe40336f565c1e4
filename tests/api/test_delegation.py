"""Handing on over HTTP: boundaries on every path of writing, splits, transfers, what is taken back, and why."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.api.support import ADMIN, Caller, Plane, ref, refused, usd

SOON = "2098-01-01T00:00:00Z"
BOUNDARY = {"max_share_percent": 20, "owners": ["*@acme.example"], "classes": ["experimentation"]}
LAB: dict[str, Any] = {"class": "experimentation"}

Write = Callable[[Caller, Caller, str], httpx.Response]


class Team:
    """`{name}` is an admin's; `{name}/lab`, with $100 and a boundary, is this person's."""

    def __init__(self, plane: Plane, admin: Caller, name: str, **boundary: Any) -> None:
        self.owner = f"bo-{name}@acme.example"
        self.caller = plane.caller(self.owner)
        self.path = f"{name}/lab"
        admin.made(name, 1000)
        terms = {"boundary": {**BOUNDARY, **boundary}}
        self.id = admin.made(self.path, 100, owner=self.owner, delegation=terms, expires_at=SOON)["id"]

    def spend(self, plane: Plane, posted: int, held: int) -> None:
        """Puts the bucket of the present month where calls would have brought it."""
        found = plane.insert(
            "UPDATE buckets SET posted = %(posted)s, held = %(held)s WHERE node_id = %(id)s RETURNING period_kind",
            {"id": self.id, "posted": posted, "held": held},
        )
        assert found == [("month",)]


def create(owner: Caller, _: Caller, path: str) -> httpx.Response:
    return owner.create(f"{path}/over", 21, **LAB)


def create_requested(owner: Caller, _: Caller, path: str) -> httpx.Response:
    return owner.create(f"{path}/over", 21, status="requested", **LAB)


def create_without_limit(owner: Caller, _: Caller, path: str) -> httpx.Response:
    return owner.create(f"{path}/over", **LAB)


def create_for_a_stranger(owner: Caller, _: Caller, path: str) -> httpx.Response:
    return owner.create(f"{path}/over", 1, owner="mal@else.example", **LAB)


def create_daily(owner: Caller, _: Caller, path: str) -> httpx.Response:
    return owner.create(f"{path}/over", limits=[usd(1, "day")], **LAB)


def edit(owner: Caller, _: Caller, path: str) -> httpx.Response:
    owner.made(f"{path}/fits", 20, **LAB)
    return owner.patch(f"{path}/fits", limits=[usd(21)])


def edit_class(owner: Caller, _: Caller, path: str) -> httpx.Response:
    owner.made(f"{path}/fits", 20, **LAB)
    return owner.patch(f"{path}/fits", **{"class": "production"})


def renew(owner: Caller, admin: Caller, path: str) -> httpx.Response:
    admin.made(f"{path}/given", 21, expires_at="2097-01-01T00:00:00Z", **LAB)
    return owner.act("renew", f"{path}/given", expires_at=SOON)


def activate(owner: Caller, admin: Caller, path: str) -> httpx.Response:
    admin.made(f"{path}/given", 21, status="requested", **LAB)
    return owner.act("activate", f"{path}/given")


def resume(owner: Caller, admin: Caller, path: str) -> httpx.Response:
    admin.made(f"{path}/given", 21, **LAB)
    assert owner.act("suspend", f"{path}/given").status_code == 200
    return owner.act("resume", f"{path}/given")


def apply(owner: Caller, _: Caller, path: str) -> httpx.Response:
    node = {"owner": ADMIN, "class": "experimentation", "limits": [{"usd": "0.000000021", "per": "month"}]}
    return owner.apply({f"{path}/over": node})


def split(owner: Caller, _: Caller, path: str) -> httpx.Response:
    parts = [{"name": "a", "owner": ADMIN, "amount": 5}, {"name": "b", "owner": ADMIN, "percent": 21}]
    return owner.act("split", path, parts=[{**one, **LAB} for one in parts])


def transfer(owner: Caller, admin: Caller, path: str) -> httpx.Response:
    for name in ("a", "b"):
        admin.made(f"{path}/{name}", 20, **LAB)
    return owner.act("transfer", f"{path}/a", to=f"{path}/b", limit=usd(1))


WRITES: list[Write] = [
    *(create, create_requested, create_without_limit, create_for_a_stranger, create_daily, edit, edit_class),
    *(renew, activate, resume, apply, split, transfer),
]


@pytest.mark.parametrize("write", WRITES, ids=[write.__name__ for write in WRITES])
def test_no_path_leads_outside_a_boundary(plane: Plane, admin: Caller, name: str, write: Write) -> None:
    """Whoever owns the grant of a boundary is refused beyond it on every path, told by how much and who can allow it."""
    team = Team(plane, admin, name)
    problem = refused(write(team.caller, admin, team.path), 403, "outside_boundary")
    assert f"the boundary of `{team.path}`, and {ADMIN}, the owner of `{name}`, can allow it" in problem["detail"]
    paths = {path for (path,) in plane.sql("SELECT path FROM grants WHERE path LIKE %s", f"{team.path}/%")}
    assert not paths & {f"{team.path}/over", f"{team.path}/a"} or write is transfer


@pytest.mark.parametrize("write", [create, apply])
def test_whoever_stands_above_is_not_bound(plane: Plane, admin: Caller, name: str, write: Write) -> None:
    """The same write by the owner of the grant above is made."""
    team = Team(plane, admin, name)
    above = plane.caller(f"ana-{name}@acme.example")
    assert admin.patch(name, owner=f"ana-{name}@acme.example").status_code == 200
    assert write(above, admin, team.path).status_code in (200, 201)


def test_a_share_is_of_what_is_left_at_that_moment(plane: Plane, admin: Caller, name: str) -> None:
    """With $40 posted and $10 held of $100, twenty percent are $10, to the nano-dollar."""
    team = Team(plane, admin, name)
    team.spend(plane, 40, 10)
    problem = refused(team.caller.create(f"{team.path}/a", 11, **LAB), 403, "outside_boundary")
    assert "20 percent of the $0.00000005 it has left" in problem["detail"]
    team.caller.made(f"{team.path}/a", 10, **LAB)


def test_nobody_loosens_their_own_boundary(plane: Plane, admin: Caller, name: str) -> None:
    """Its owner narrows it; wider, or gone, takes somebody above, and a child's is never wider than its parent's."""
    team = Team(plane, admin, name)
    wider = {"boundary": {**BOUNDARY, "max_share_percent": 21}}
    refused(team.caller.patch(team.path, delegation=wider), 403, "not_permitted")
    refused(team.caller.patch(team.path, delegation={}), 403, "not_permitted")
    answer = team.caller.create(f"{team.path}/sub", 5, delegation=wider, **LAB)
    refused(answer, 422, "delegation_not_contained")
    narrower = {"boundary": {**BOUNDARY, "max_share_percent": 10}}
    assert team.caller.patch(team.path, delegation=narrower).json()["delegation"]["boundary"]["max_share_percent"] == 10
    assert admin.patch(team.path, delegation=wider).status_code == 200


def test_a_split_says_what_is_handed_out(plane: Plane, admin: Caller, name: str) -> None:
    """Percentages are of what is not handed out; what does not divide stays; overcommit is said where it is allowed."""
    admin.made(name, 100, delegation={"overcommit_percent": 20})
    admin.made(f"{name}/old", 1)
    parts = [{"name": one, "owner": ADMIN, "percent": 33} for one in ("a", "b", "c")]
    answer = admin.act("split", name, parts=parts)
    assert answer.status_code == 201, answer.text
    assert [one["limits"][0]["amount"] for one in answer.json()["grants"]] == [32, 32, 32]
    (whole,) = answer.json()["handed_out"]
    assert (whole["handed_out"], whole["left"]) == (97, 3)
    over = admin.act("split", name, parts=[{"name": "d", "owner": ADMIN, "amount": 23}]).json()["handed_out"][0]
    assert over["text"] == "$0.00000012 of $0.0000001 per month handed out, 20 % overcommitted"
    refused(admin.act("split", name, parts=[{"name": "e", "owner": ADMIN, "amount": 1}]), 422, "shares_exceeded")


def test_an_owner_gives_to_a_sibling_that_is_no_wider(plane: Plane, admin: Caller, name: str) -> None:
    """What is one's own can be given away, but money for small models does not become money for all of them."""
    me = f"me-{name}@acme.example"
    caller = plane.caller(me)
    admin.made(name, 100)
    for path, models in (("mine", ["gpt-4o-mini"]), ("same", ["gpt-4o-mini"]), ("wide", ["*"])):
        admin.made(f"{name}/{path}", 20, owner=me, shape={"models": models})
    moved = caller.act("transfer", f"{name}/mine", to=f"{name}/same", limit=usd(5)).json()
    assert (moved["source"]["limits"], moved["target"]["limits"]) == ([usd(15)], [usd(25)])
    refused(caller.act("transfer", f"{name}/mine", to=f"{name}/wide", limit=usd(5)), 403, "not_permitted")
    assert admin.act("transfer", f"{name}/mine", to=f"{name}/wide", limit=usd(5)).status_code == 200


def test_what_is_used_stays_where_it_is(plane: Plane, admin: Caller, name: str) -> None:
    """Neither a transfer nor a reclaim takes what is posted or held; the rest is the parent's to hand out again."""
    team = Team(plane, admin, name)
    admin.made(f"{name}/other", 10)
    team.spend(plane, 40, 10)
    refused(admin.act("transfer", team.path, to=f"{name}/other", limit=usd(51)), 422, "not_unspent")
    assert admin.act("reclaim", team.path, limit=usd(20)).json()["limits"] == [usd(80)]
    team.spend(plane, 40, 10)  # a changed limit has its bucket made anew, from a ledger that knows nothing of this
    assert admin.act("reclaim", team.path).json()["limits"] == [usd(50)]
    team.spend(plane, 40, 10)
    refused(admin.act("reclaim", team.path, limit=usd(1)), 422, "not_unspent")


def test_why_shows_what_binds_and_hides_whose_it_is(plane: Plane, admin: Caller, name: str) -> None:
    """The owner of a grant sees the numbers of what stands above, and no path or owner of it; an admin sees all."""
    team = Team(plane, admin, name)
    team.spend(plane, 95, 0)
    mine = f"cy-{name}@acme.example"
    admin.made(f"{team.path}/mine", 50, owner=mine, shape={"models": ["gpt-4o*"]}, **LAB)
    route = f"/grants/{ref(f'{team.path}/mine')}/why"
    seen = plane.caller(mine).get(route, model="gpt-4o-mini", usd=6)
    assert seen.status_code == 200, seen.text
    body = seen.json()
    assert body["spendable_nanousd"] == 5
    assert [(line["limit"], line["left"], line["binds"]) for line in body["limits"]] == [
        *((1000, 1000, False), (100, 5, True), (50, 50, False))
    ]
    assert body["verdict"]["code"] == "grant_exhausted" and "a grant above" in body["verdict"]["detail"]
    assert body["boundaries"][0]["boundary"]["max_share_percent"] == 20
    assert body["boundaries"][0]["most"] == [["month", 1]]
    assert body["hand_on"][0]["most_to_one"] == 1
    assert f'"{name}' not in seen.text.replace(f'"{team.path}/mine', "") and team.owner not in seen.text
    whole = admin.get(route, model="o3").json()
    assert [line["node"]["path"] for line in whole["limits"]] == [name, team.path, f"{team.path}/mine"]
    assert whole["verdict"] == {
        "passes": False,
        "code": "model_not_allowed",
        "detail": f"`{team.path}/mine` does not allow the model `o3`, only gpt-4o*",
        "node": {"level": 3, "path": f"{team.path}/mine", "owner": mine},
    }
    refused(plane.caller(mine).get(f"/grants/{ref(name)}/why"), 404, "grant_unknown")
