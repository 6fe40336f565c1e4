"""A person leaves: nothing works for them, and nothing they owned is without anybody unseen."""

import re
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest

from remit.grants.model import Problem
from remit.kernel.ids import new_id
from tests.api.support import ADMIN, Plane, ref, refused


class Desk:
    """What lia owns: `NAME/team` and `NAME/team/app`; `NAME` and `NAME/team/app/theirs` are of others."""

    def __init__(self, plane: Plane, name: str) -> None:
        self.plane, self.name, self.lia = plane, name, f"lia@{name}.example"
        plane.admin.made(name, 100)
        plane.admin.made(f"{name}/team", 50, owner=self.lia.upper().replace("EXAMPLE", "example"))
        plane.admin.made(f"{name}/team/app", 20, owner=self.lia)
        plane.admin.made(f"{name}/team/app/theirs", 5, owner=f"bo@{name}.example")
        plane.admin.made(f"{name}/asked", 5, owner=self.lia, status="requested")
        plane.admin.made(f"{name}/over", 5, owner=self.lia)
        plane.admin.act("revoke", f"{name}/over")

    def leave(self, **more: object) -> dict[str, object]:
        answer = self.plane.admin.write("POST", f"/people/{self.lia}/leave", {"reason": "left", **more})
        assert answer.status_code == 200, answer.text
        told: dict[str, object] = answer.json()
        return told


@pytest.fixture
def desk(plane: Plane, name: str) -> Desk:
    return Desk(plane, name)


def test_a_successor_takes_over_what_lives(desk: Desk) -> None:
    """Each live or requested grant gets a revision with the new owner and the reason; nothing else changes."""
    heir = f"sue@{desk.name}.example"
    told = desk.leave(successor=heir)
    mine = [f"{desk.name}/asked", f"{desk.name}/team", f"{desk.name}/team/app"]
    assert sorted(told["moved"]) == mine and told["ownerless"] == []  # type: ignore[call-overload]
    for path in mine:
        history = desk.plane.admin.get(f"/grants/{ref(path)}/history").json()["revisions"]
        before, after = history[-2]["body"], history[-1]["body"]
        assert after["owner"] == heir and history[-1]["reason"] == "left"
        assert {**before, "owner": heir, "revision": after["revision"]} == after
    owner = desk.plane.admin.get(f"/grants/{ref(f'{desk.name}/over')}").json()["owner"]
    assert owner == desk.lia


def test_without_a_successor_whoever_answers_above_is_told(desk: Desk) -> None:
    """The grants are told of by name, once each, and are found as ownerless until somebody owns them."""
    told = desk.leave()
    paths = [f"{desk.name}/asked", f"{desk.name}/team", f"{desk.name}/team/app"]
    assert told["moved"] == [] and sorted(told["ownerless"]) == paths  # type: ignore[call-overload]
    rows = desk.plane.sql(
        "SELECT body ->> 'path', recipients, audience FROM notifications WHERE kind = 'ownerless' AND body ->> 'owner' ILIKE %s",
        desk.lia,
    )
    assert sorted(rows) == [(path, [ADMIN], "named") for path in paths]
    with psycopg.connect(desk.plane.url, autocommit=True, options="-c search_path=remit") as connection:
        from remit.store.postgres_writes import WriteUnit

        def ownerless() -> list[str]:
            service = desk.plane.authority.roster_over(WriteUnit(connection))
            return [one.path for one in service.ownerless() if one.path.startswith(f"{desk.name}/")]

        assert ownerless() == [f"{desk.name}/team", f"{desk.name}/team/app"]
        desk.leave(successor=f"sue@{desk.name}.example")
        assert ownerless() == []


def test_of_a_root_the_admins_are_told(desk: Desk) -> None:
    """Where nobody owns anything above, whoever has the whole organization is told; without anybody, security."""
    root = f"{desk.name}root"
    desk.plane.admin.made(root, 5, owner=desk.lia)

    def told() -> list[tuple[object, ...]]:
        return desk.plane.sql(
            "SELECT recipients, audience FROM notifications WHERE kind = 'ownerless' AND body ->> 'path' = %s ORDER BY id",
            root,
        )

    desk.leave()
    assert told() == [([], "security")]
    role = {"person": f"chief@{desk.name}.example", "role": "org_owner", "reason": "test"}
    given = desk.plane.admin.write("POST", "/roles", role).json()
    desk.leave()
    assert told()[1:] == [([f"chief@{desk.name}.example"], "named")]
    desk.plane.admin.write("POST", f"/roles/{given['id']}/revoke", {"reason": "test"})


def test_who_left_can_do_nothing(desk: Desk) -> None:
    """No token works, no role stands, none can be made or given, and nobody has them stand in."""
    caller = desk.plane.caller(desk.lia)
    role = {"person": desk.lia, "role": "auditor", "reason": "test"}
    assert desk.plane.admin.write("POST", "/roles", role).status_code == 201
    stand = {"delegate": desk.lia, "until": "2099-01-01T00:00:00Z", "reason": "test"}
    assert desk.plane.admin.write("POST", f"/people/bo@{desk.name}.example/delegate", stand).status_code == 200
    assert caller.get("/people").status_code == 200
    told = desk.leave()
    assert (told["tokens_revoked"], told["roles_ended"]) == (1, 1)
    refused(caller.get("/grants"), 401, "person_left")
    made = desk.plane.people.create(desk.lia.upper(), ADMIN)
    assert isinstance(made, Problem) and made.code == "person_left"
    refused(desk.plane.admin.write("POST", "/roles", role), 409, "person_left")
    refused(desk.plane.admin.write("POST", f"/people/bo@{desk.name}.example/delegate", stand), 409, "person_left")
    people = {one["name"]: one for one in desk.plane.admin.get("/people").json()["people"]}
    assert people[desk.lia]["status"] == "left" and people[f"bo@{desk.name}.example"]["delegate"] is None


def test_who_left_is_made_owner_on_no_path(desk: Desk) -> None:
    """Creating, changing, applying, activating and a succession refuse an owner who left; what they own can be ended."""
    desk.leave()
    admin, name, lia = desk.plane.admin, desk.name, desk.lia.upper().replace("EXAMPLE", "example")
    refused(admin.create(f"{name}/new", 1, owner=lia), 409, "owner_left")
    refused(admin.create(f"{name}/new", 1, owner=lia, status="requested"), 409, "owner_left")
    refused(admin.patch(f"{name}/team/app/theirs", owner=lia), 409, "owner_left")
    refused(admin.act("activate", f"{name}/asked"), 409, "owner_left")
    refused(admin.apply({f"{name}/file": {"owner": lia}}), 409, "owner_left")
    refused(
        admin.write("POST", f"/people/bo@{name}.example/leave", {"reason": "x", "successor": lia}), 409, "person_left"
    )
    assert admin.patch(f"{name}/team/app", limits=[]).status_code in (200, 422)
    assert admin.act("suspend", f"{name}/team/app").status_code == 200
    assert admin.act("resume", f"{name}/team/app").status_code == 200


def test_coming_back_gives_nothing_back(desk: Desk) -> None:
    """Who comes back may own again; the tokens and roles from before stay ended."""
    caller = desk.plane.caller(desk.lia)
    desk.leave()
    back = desk.plane.admin.write("POST", f"/people/{desk.lia}/return", {"reason": "back"})
    assert back.status_code == 200 and back.json()["status"] == "active"
    refused(caller.get("/grants"), 401, "token_revoked")
    assert desk.plane.admin.create(f"{desk.name}/new", 1, owner=desk.lia).status_code == 201
    refused(desk.plane.admin.write("POST", "/people/no@b.example/return", {"reason": "x"}), 404, "unknown_person")


def test_leaving_is_one_write_and_takes_an_admin(desk: Desk) -> None:
    """A refused succession changes nothing; nobody but an admin says that somebody left."""
    caller = desk.plane.caller(desk.lia)
    for who in (caller, desk.plane.caller(f"bo@{desk.name}.example")):
        refused(who.write("POST", f"/people/{desk.lia}/leave", {"reason": "x"}), 403, "not_permitted")
    for successor in (desk.lia, "nobody"):
        answer = desk.plane.admin.write("POST", f"/people/{desk.lia}/leave", {"reason": "x", "successor": successor})
        assert answer.status_code == 422, answer.text
    assert caller.get("/grants").status_code == 200


def test_who_left_decides_no_ticket(desk: Desk) -> None:
    """The database itself refuses a decision by somebody who left, by either column that names them."""
    ticket = new_id("ticket", desk.plane.authority.clock.now())
    desk.leave()
    desk.plane.insert(
        "INSERT INTO tickets (id, kind, path, requester, assignees, tier, opened_at, due_at, expires_at, reason, effect,"
        " evidence, revision) VALUES (%(id)s, 'increase', 'x', 'bo@b.example', ARRAY[%(lia)s], 'small', now(), now(),"
        " now() + interval '1 day', 'x', '{}', '{}', 1) RETURNING id",
        {"id": ticket, "lia": desk.lia},
    )
    decide = (
        "UPDATE tickets SET state = 'approved', decided_by = %(by)s, decided_at = now(), decision_reason = 'x'"
        " WHERE id = %(id)s RETURNING id"
    )
    half = "UPDATE tickets SET approved_by = ARRAY[%(by)s] WHERE id = %(id)s RETURNING id"
    for statement in (decide, half):
        with pytest.raises(psycopg.errors.CheckViolation):
            desk.plane.insert(statement, {"id": ticket, "by": desk.lia.upper()})
    assert desk.plane.insert(decide, {"id": ticket, "by": ADMIN}) == [(ticket,)]


def test_a_delegate_is_named_by_the_person_or_an_admin(desk: Desk) -> None:
    """One may name who stands in for oneself, until an instant in the future, and nobody for anybody else."""
    caller = desk.plane.caller(desk.lia)
    until = (desk.plane.authority.clock.now() + timedelta(days=7)).isoformat()
    body = {"delegate": f"bo@{desk.name}.example", "until": until, "reason": "away"}
    answer = caller.write("POST", f"/people/{desk.lia}/delegate", body)
    assert answer.status_code == 200 and answer.json()["delegate"] == f"bo@{desk.name}.example"
    refused(caller.write("POST", f"/people/bo@{desk.name}.example/delegate", body), 403, "not_permitted")
    refused(
        caller.write("POST", f"/people/{desk.lia}/delegate", {**body, "delegate": desk.lia}), 422, "delegate_invalid"
    )
    past = {**body, "until": "2001-01-01T00:00:00Z"}
    refused(caller.write("POST", f"/people/{desk.lia}/delegate", past), 422, "delegate_invalid")
    nobody = caller.write("POST", f"/people/{desk.lia}/delegate", {"delegate": None, "until": None, "reason": "back"})
    assert nobody.json()["delegate"] is None


def test_a_first_start_makes_one_admin_token(tmp_path: Path) -> None:
    """Where nobody was ever known a file with an admin's token is made, for its owner's eyes; with anybody there, none."""
    from remit.bootstrap import Authority, open_database
    from remit.settings import load_settings
    from tests.store.database import leave_embedded

    settings = load_settings(overrides={"data_dir": tmp_path / "data"}, environment={})
    authority = Authority(settings, open_database(settings))
    try:
        made = authority.first_admin_token()
        assert made is not None and made.stat().st_mode & 0o777 == 0o600
        text = made.read_text().strip()
        assert re.fullmatch(r"rp_\w{12}_[\w-]{43}", text)
        known = authority.people().authenticate(text)
        assert not isinstance(known, str) and known[0].is_admin
        assert authority.first_admin_token() is None
    finally:
        leave_embedded(settings.data_dir)
