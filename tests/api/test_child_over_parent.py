"""No path of writing puts a child above its parent (I16, I29), one by one or twenty at once."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.api.support import ADMIN, END, Caller, Plane, ref, refused, usd

EARLY = "2098-01-01T00:00:00Z"


def node(limit_nanousd: int | None = None, **more: Any) -> dict[str, Any]:
    """A node of a manifest; amounts of a manifest are dollars."""
    limits = [] if limit_nanousd is None else [{"usd": f"{limit_nanousd / 10**9:.9f}", "per": "month"}]
    return {"owner": ADMIN, "limits": limits, **more}


def root(limit_nanousd: int, **more: Any) -> dict[str, Any]:
    return node(limit_nanousd, **{"class": "production", "expires": EARLY, **more})


def create(admin: Caller, name: str) -> httpx.Response:
    return admin.create(f"{name}/over", 101)


def create_sum(admin: Caller, name: str) -> httpx.Response:
    admin.made(f"{name}/first", 60)
    return admin.create(f"{name}/second", 41)


def create_wider_class(admin: Caller, name: str) -> httpx.Response:
    admin.made(f"{name}/lab", 10, **{"class": "experimentation"})
    return admin.create(f"{name}/lab/prod", 5, **{"class": "production"})


def create_outliving(admin: Caller, name: str) -> httpx.Response:
    return admin.create(f"{name}/long", 1, expires_at=END)


def create_wider_models(admin: Caller, name: str) -> httpx.Response:
    admin.made(f"{name}/small", 10, shape={"models": ["gpt-4o-mini"]})
    return admin.create(f"{name}/small/any", 5, shape={"models": ["*"]})


def patch_child(admin: Caller, name: str) -> httpx.Response:
    admin.made(f"{name}/child", 60)
    return admin.patch(f"{name}/child", limits=[usd(101)])


def patch_overdraft(admin: Caller, name: str) -> httpx.Response:
    admin.made(f"{name}/child", 60)
    return admin.patch(f"{name}/child", overdraft={"max_nanousd": 41})


def patch_parent(admin: Caller, name: str) -> httpx.Response:
    admin.made(f"{name}/child", 60)
    return admin.patch(name, limits=[usd(59)])


def apply_child(admin: Caller, name: str) -> httpx.Response:
    return admin.apply({name: root(100, children={"over": node(101)})})


def apply_subtree(admin: Caller, name: str) -> httpx.Response:
    return admin.apply({f"{name}/over": node(101)})


def apply_sum(admin: Caller, name: str) -> httpx.Response:
    return admin.apply({name: root(100, children={"a": node(60), "b": node(41)})})


def renew_past_parent(admin: Caller, name: str) -> httpx.Response:
    admin.made(f"{name}/child", 60)
    return admin.act("renew", f"{name}/child", expires_at=END)


def resume_above_narrowed_parent(admin: Caller, name: str) -> httpx.Response:
    """A suspended grant keeps its share, so the parent cannot be narrowed below it either; expired ones can."""
    admin.made(f"{name}/child", 60)
    admin.act("suspend", f"{name}/child")
    return admin.patch(name, limits=[usd(59)])


def split_over(admin: Caller, name: str) -> httpx.Response:
    parts = [{"name": "a", "owner": ADMIN, "amount": 60}, {"name": "b", "owner": ADMIN, "amount": 41}]
    return admin.act("split", name, parts=parts)


def split_wider_models(admin: Caller, name: str) -> httpx.Response:
    admin.made(f"{name}/small", 10, shape={"models": ["gpt-4o-mini"]})
    return admin.act("split", f"{name}/small", parts=[{"name": "a", "owner": ADMIN, "percent": 50, "models": ["*"]}])


def transfer_over_shared_child(admin: Caller, name: str) -> httpx.Response:
    """What the source has handed on cannot be given away as well."""
    admin.made(f"{name}/source", 60)
    admin.made(f"{name}/source/child", 50)
    admin.made(f"{name}/target", 40)
    return admin.act("transfer", f"{name}/source", to=f"{name}/target", limit=usd(11))


def transfer_more_than_there_is(admin: Caller, name: str) -> httpx.Response:
    admin.made(f"{name}/source", 60)
    admin.made(f"{name}/target", 40)
    return admin.act("transfer", f"{name}/source", to=f"{name}/target", limit=usd(61))


def reclaim_from_under_a_child(admin: Caller, name: str) -> httpx.Response:
    admin.made(f"{name}/child", 60)
    admin.made(f"{name}/child/deep", 50)
    return admin.act("reclaim", f"{name}/child", limit=usd(11))


PATHS: list[tuple[Callable[[Caller, str], httpx.Response], str]] = [
    (create, "limit_not_contained"),
    (create_sum, "shares_exceeded"),
    (create_wider_class, "class_not_contained"),
    (create_outliving, "expires_after_parent"),
    (create_wider_models, "shape_not_contained"),
    (patch_child, "limit_not_contained"),
    (patch_overdraft, "limit_not_contained"),
    (patch_parent, "limit_not_contained"),
    (apply_child, "limit_not_contained"),
    (apply_subtree, "limit_not_contained"),
    (apply_sum, "shares_exceeded"),
    (renew_past_parent, "expires_after_parent"),
    (resume_above_narrowed_parent, "limit_not_contained"),
    (split_over, "shares_exceeded"),
    (split_wider_models, "shape_not_contained"),
    (transfer_over_shared_child, "limit_not_contained"),
    (transfer_more_than_there_is, "not_unspent"),
    (reclaim_from_under_a_child, "not_unspent"),
]


@pytest.mark.parametrize(("write", "code"), PATHS, ids=[write.__name__ for write, _ in PATHS])
def test_child_over_parent(
    plane: Plane, admin: Caller, name: str, write: Callable[[Caller, str], httpx.Response], code: str
) -> None:
    """Every path that would put a child above its parent is refused with the numbers, and nothing is written."""
    admin.made(name, 100, expires_at=EARLY)
    answer = write(admin, name)
    problem = refused(answer, 422, code)
    assert name in problem["detail"]
    limits = {
        path: body["limits"]
        for path, body in plane.sql("SELECT path, body FROM grants WHERE path = %s OR path LIKE %s", name, f"{name}/%")
    }
    assert limits[name] == [usd(100)]
    assert sum(one["amount"] for path, own in limits.items() if path.count("/") == 1 for one in own) <= 100


def test_a_resumed_child_is_judged_again(plane: Plane, admin: Caller, name: str) -> None:
    """A grant whose parent was narrowed around it while it was out of force does not come back above it."""
    admin.made(name, 100, expires_at=EARLY)
    admin.made(f"{name}/child", 60)
    admin.act("suspend", f"{name}/child")
    # The database is changed past every rule, as a restored backup or a hand might: resuming still judges the tree.
    plane.sql(
        "UPDATE grants SET body = jsonb_set(body, '{limits,0,amount}', '59') WHERE path = %s RETURNING path", name
    )
    refused(admin.act("resume", f"{name}/child"), 422, "limit_not_contained")
    assert admin.get(f"/grants/{ref(f'{name}/child')}").json()["status"] == "suspended"


def test_a_renewed_child_is_judged_again(plane: Plane, admin: Caller, name: str) -> None:
    """An expired grant gave its share back; it cannot be renewed once a sibling has taken it."""
    admin.made(name, 100, expires_at=EARLY)
    admin.made(f"{name}/old", 60)
    plane.sql(
        "UPDATE grants SET expires_at = '2001-01-01', status = 'expired', body = body || "
        """'{"expires_at": "2001-01-01T00:00:00Z", "starts_at": "2000-01-01T00:00:00Z", "status": "expired"}'"""
        " WHERE path = %s RETURNING path",
        f"{name}/old",
    )
    admin.made(f"{name}/new", 60)
    refused(admin.act("renew", f"{name}/old", expires_at=EARLY), 422, "shares_exceeded")


@pytest.mark.parametrize("overcommit_percent", [0, 50])
def test_children_created_at_once_never_exceed_their_parent(
    plane: Plane, admin: Caller, name: str, overcommit_percent: int
) -> None:
    """Of twenty children created at the same moment, those stand that fit below the parent, and not one more."""
    admin.made(name, 100, delegation={"overcommit_percent": overcommit_percent})

    def make(number: int) -> httpx.Response:
        caller = plane.bearer(token)
        return caller.create(f"{name}/c{number}", 15)

    token = plane.token(ADMIN, is_admin=True).text
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(make, range(20)))
    made = [answer for answer in answers if answer.status_code == 201]
    assert len(made) == (100 + overcommit_percent) // 15
    for answer in answers:
        if answer not in made:
            refused(answer, 422, "shares_exceeded")
    children = [one for one in admin.get("/grants", under=name).json()["grants"] if one["path"] != name]
    assert sum(one["limits"][0]["amount"] for one in children) == 15 * len(made) <= 100 + overcommit_percent
