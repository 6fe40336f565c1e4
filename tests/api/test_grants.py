"""Grants over HTTP: what is written is what is read."""

from tests.api.support import ADMIN, END, Caller, Plane, ref, refused, usd


def test_a_grant_is_created_read_and_listed(admin: Caller, name: str) -> None:
    """What was created is answered by id, by path and in the list, with its revision as the entity tag."""
    made = admin.made(name, 100, scope={"team": "core"}, overdraft={"max_nanousd": 7})
    child = admin.made(f"{name}/a", 40)
    by_path = admin.get(f"/grants/{name}")
    assert by_path.json() == made == admin.get(f"/grants/{made['id']}").json()
    assert by_path.headers["etag"] == '"1"'
    assert made["class"] == "production" and made["expires_at"] == END and made["overdraft"] == {"max_nanousd": 7}
    assert admin.get(f"/grants/{ref(name + '/a')}").json() == child
    assert [one["path"] for one in admin.get("/grants", under=name).json()["grants"]] == [name, f"{name}/a"]


def test_an_edit_tells_unset_from_null(admin: Caller, name: str) -> None:
    """A field left out stays, null takes a value away where that is allowed, and is refused where it is not."""
    admin.made(name, 100, overdraft={"max_nanousd": 7}, data_classes=["public"])
    kept = admin.patch(name, required_tags=["feature"]).json()
    assert kept["overdraft"] == {"max_nanousd": 7} and kept["data_classes"] == ["public"] and kept["revision"] == 2
    cleared = admin.patch(name, overdraft=None, data_classes=None).json()
    assert cleared["overdraft"] is None and cleared["data_classes"] is None and cleared["revision"] == 3
    refused(admin.patch(name, owner=None), 400, "malformed_request")


def test_suspend_resume_renew_revoke(admin: Caller, name: str) -> None:
    """The four writes of a status give the status they name; after the last, nothing changes any more."""
    admin.made(name, 100)
    assert admin.act("suspend", name).json()["status"] == "suspended"
    assert admin.act("resume", name).json()["status"] == "active"
    assert (
        admin.act("renew", name, expires_at="2099-06-01T00:00:00+02:00").json()["expires_at"] == "2099-05-31T22:00:00Z"
    )
    refused(admin.act("renew", name, expires_at=END), 422, "expiry_not_later")
    assert admin.act("revoke", name).json()["status"] == "revoked"
    refused(admin.act("resume", name), 409, "status_not_allowed")
    refused(admin.patch(name, limits=[]), 409, "grant_revoked")


def test_a_requested_grant_waits_to_be_activated(plane: Plane, admin: Caller, name: str) -> None:
    """A requested grant holds no share; activating it takes the owner of one above, or an admin, and judges it anew."""
    admin.made(name, 100, owner=f"above@{name}.example")
    above, own = plane.caller(f"above@{name}.example"), plane.caller(f"own@{name}.example")
    wanted, other = f"{name}/wanted", f"{name}/other"
    assert above.made(wanted, 60, owner=f"own@{name}.example", status="requested")["status"] == "requested"
    admin.made(other, 60)
    refused(own.act("activate", wanted), 403, "not_permitted")
    refused(above.act("activate", wanted), 422, "shares_exceeded")
    admin.act("revoke", other)
    assert above.act("activate", wanted).json()["status"] == "active"
    refused(above.act("activate", other), 409, "status_not_allowed")


def test_a_request_is_withdrawn_by_revoking_it(admin: Caller, name: str) -> None:
    """What was requested and is not wanted any more ends like any other grant; it can be neither suspended nor resumed."""
    admin.made(name, 100)
    admin.made(f"{name}/wanted", 60, status="requested")
    for verb in ("suspend", "resume"):
        refused(admin.act(verb, f"{name}/wanted"), 409, "status_not_allowed")
    assert admin.act("revoke", f"{name}/wanted").json()["status"] == "revoked"


def test_history_says_who_when_and_why(admin: Caller, name: str) -> None:
    """Each change is one revision with its author, reason and idempotency key, in pages."""
    admin.made(name, 100, reason="begin")
    admin.write("PATCH", f"/grants/{name}", {"limits": [usd(50)], "reason": "less"}, key=f"{name}-edit")
    history = admin.get(f"/grants/{name}/history").json()
    assert [one["reason"] for one in history["revisions"]] == ["begin", "less"]
    last = history["revisions"][1]
    assert (last["changed_by"], last["idempotency_key"]) == (ADMIN, f"{name}-edit")
    assert last["body"]["limits"] == [usd(50)]
    first = admin.get(f"/grants/{name}/history", limit=1).json()
    assert first["next"] == 1
    assert admin.get(f"/grants/{name}/history", after=1).json()["revisions"] == [last]


def test_the_list_comes_in_pages(admin: Caller, name: str) -> None:
    """Pages of any size put together are the whole list in its order, parents before children."""
    admin.made(name, 100)
    paths = [name, *(f"{name}/{part}" for part in ("a", "a/b", "a-b", "c"))]
    for path in paths[1:]:
        admin.made(path)
    found: list[str] = []
    after = None
    while True:
        page = admin.get("/grants", under=name, limit=2, **({} if after is None else {"after": after})).json()
        found += [one["path"] for one in page["grants"]]
        after = page["next"]
        if after is None:
            break
    assert found == [name, f"{name}/a", f"{name}/a/b", f"{name}/a-b", f"{name}/c"]


def test_a_plan_is_shown_and_carried_out(admin: Caller, name: str) -> None:
    """A dry run changes nothing and needs no key; the plan it names is the one that is carried out, or none."""
    tree = {
        name: {"owner": ADMIN, "class": "production", "expires": "2099-01-01", "limits": [{"usd": "1", "per": "day"}]}
    }
    plan = admin.http.post("/apply?dry_run=true", json={"manifest": {"version": 1, "grants": tree}}).json()
    assert [one["path"] for one in plan["creates"]] == [name] and plan["problems"] == [] and f"+ {name}" in plan["text"]
    refused(admin.get(f"/grants/{name}"), 404, "grant_unknown")
    refused(admin.apply(tree, plan="other"), 409, "plan_stale")
    applied = admin.apply(tree, plan=plan["plan"], key=f"{name}-apply")
    assert [one["path"] for one in applied.json()["grants"]] == [name]
    again = admin.apply(tree, plan=plan["plan"], key=f"{name}-apply")
    assert again.headers["idempotency-replayed"] == "true" and again.json() == applied.json()
    refused(admin.apply({**tree, f"{name}2": tree[name]}, key=f"{name}-apply"), 409, "conflict_different_manifest")
    unchanged = admin.apply(tree)
    assert unchanged.json()["grants"] == []


def test_revocation_by_prune_needs_to_be_asked_for(admin: Caller, name: str) -> None:
    """What stands in the tree but not in the manifest is left alone, and revoked only with `prune`."""
    admin.made(name, 100)
    admin.made(f"{name}/old")
    tree = {name: {"owner": ADMIN, "class": "production", "expires": "2099-01-01"}}
    assert admin.apply(tree, dry_run=True).json()["orphans"] == [f"{name}/old"]
    admin.apply(tree)
    assert admin.get(f"/grants/{ref(name + '/old')}").json()["status"] == "active"
    admin.apply(tree, prune=True)
    assert admin.get(f"/grants/{ref(name + '/old')}").json()["status"] == "revoked"


def test_the_answer_is_what_the_tree_holds(plane: Plane, admin: Caller, name: str) -> None:
    """The service that the command line uses reads back what the API wrote."""
    made = admin.made(name, 100)
    with plane.authority.repository.read() as reads:
        stored = reads.find(made["id"])
    assert stored is not None and stored.limits[0].amount == 100 and stored.path == name
