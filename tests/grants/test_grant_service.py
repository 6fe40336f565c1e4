"""The service: who may write, revisions, idempotency, states."""

from datetime import timedelta

import pytest

from remit.grants.edits import GrantEdit
from remit.grants.model import Actor, Limit, OnExhausted, Renewal, Shape
from remit.grants.serialise import from_body
from remit.grants.service import NotWritten, Written
from tests.grants.builders import ADMIN, NOW, YEAR_END, World, by, codes, usd, written

ANA, BO, CY = Actor("ana@acme.example"), Actor("bo@acme.example"), Actor("cy@acme.example")


def team_world() -> World:
    """`acme` is Ana's, `acme/team` Bo's, `acme/team/svc` Cy's."""
    world = World()
    world.made("acme", owner=ANA.name, limits=(usd("100"),))
    world.made("acme/team", owner=BO.name, limits=(usd("50"),), shape=Shape(models=("gpt*",)))
    world.made("acme/team/svc", owner=CY.name, limits=(usd("10"),), expires_at=NOW + timedelta(days=30))
    return world


@pytest.mark.parametrize(
    ("actor", "path", "allowed"),
    [
        (CY, "acme/team/svc/x", True),
        (BO, "acme/team/svc/x", True),
        (ANA, "acme/team/svc/x", True),
        (ADMIN, "acme/team/svc/x", True),
        (Actor("BO@Acme.Example"), "acme/team/x", True),
        (CY, "acme/team/x", False),
        (BO, "acme/x", False),
        (Actor("eve@acme.example"), "acme/x", False),
        (ANA, "other", False),
        (ADMIN, "other", True),
    ],
)
def test_owners_create_below_themselves_only(actor: Actor, path: str, allowed: bool) -> None:
    """The owner of a grant or of anything above it creates below it; a root takes an admin."""
    answer = team_world().create(path, actor=actor)
    assert codes(answer) == (set() if allowed else {"not_permitted"})


EDITS = [
    ("lowers", GrantEdit(limits=(usd("5"),)), True),
    ("adds a limit", GrantEdit(limits=(usd("10"), Limit("tokens", 5, "day"))), True),
    ("raises", GrantEdit(limits=(usd("10.01"),)), False),
    ("drops the limit", GrantEdit(limits=()), False),
    ("swaps the period", GrantEdit(limits=(usd("1", "day"),)), False),
    ("narrows models", GrantEdit(shape=Shape(models=("gpt-4o",))), True),
    ("lives longer", GrantEdit(expires_at=NOW + timedelta(days=31)), False),
    ("lives shorter", GrantEdit(expires_at=NOW + timedelta(days=29)), True),
    ("hands over", GrantEdit(owner="eve@acme.example"), False),
    ("begins periods afresh", GrantEdit(time_zone="Asia/Tokyo"), False),
    ("renews itself", GrantEdit(renewal=Renewal(auto_tier="large")), False),
    ("pages elsewhere", GrantEdit(on_exhausted=OnExhausted(page_percents=(50,))), True),
]


@pytest.mark.parametrize(("edit", "allowed"), [case[1:] for case in EDITS], ids=[case[0] for case in EDITS])
def test_nobody_raises_what_they_were_given(edit: GrantEdit, allowed: bool) -> None:
    """An owner narrows the own grant; raising it takes the owner of something above, or an admin."""
    answer = team_world().service.change("acme/team/svc", edit, by(CY))
    assert codes(answer) == (set() if allowed else {"not_permitted"})
    for actor in (BO, ANA, ADMIN):
        assert isinstance(team_world().service.change("acme/team/svc", edit, by(actor)), Written)
    assert codes(team_world().service.change("acme/team", edit, by(CY))) == {"not_permitted"}


def test_an_owner_stops_but_does_not_restart() -> None:
    """The owner may suspend and revoke the own grant; resuming and renewing take authority above it."""
    world = team_world()
    written(world.service.suspend("acme/team/svc", by(CY)))
    assert codes(world.service.resume("acme/team/svc", by(CY))) == {"not_permitted"}
    assert codes(world.service.renew("acme/team/svc", YEAR_END, by(CY))) == {"not_permitted"}
    written(world.service.resume("acme/team/svc", by(BO)))
    assert codes(world.service.revoke("acme/team", by(CY))) == {"not_permitted"}
    written(world.service.revoke("acme/team/svc", by(CY)))


def test_every_change_is_a_revision() -> None:
    """Each write leaves the whole body with who, when and why; one that changes nothing leaves none."""
    world = team_world()
    grant = world.tree().find("acme/team")
    assert grant is not None
    written(world.service.change(grant.id, GrantEdit(limits=(usd("40"),)), by(BO, reason="less is fine")))
    written(world.service.change(grant.id, GrantEdit(limits=(usd("40"),)), by(BO)))
    written(world.service.revoke(grant.id, by(ANA, key="the-end")))
    with world.repository.read() as unit:
        revisions = unit.revisions(grant.id)
    assert [one.revision for one in revisions] == [1, 2, 3]
    assert [one.changed_by for one in revisions] == [ADMIN.name, BO.name, ANA.name]
    assert revisions[1].reason == "less is fine"
    assert revisions[2].idempotency_key == "the-end"
    assert [from_body(one.body).limits[0].amount for one in revisions] == [50 * 10**9, 40 * 10**9, 40 * 10**9]
    assert revisions[2].changed_at == NOW


def test_revocation_is_final_and_reaches_all_below() -> None:
    """Revoking raises the epoch of one grant; nothing below it can be written any more, and nothing revives it."""
    world = team_world()
    assert written(world.service.revoke("acme/team", by())).epoch == 1
    below = world.tree().find("acme/team/svc")
    assert below is not None and below.status == "active" and below.revision == 1
    assert codes(world.service.resume("acme/team", by())) == {"status_not_allowed"}
    assert codes(world.service.renew("acme/team/svc", YEAR_END, by())) == {"grant_revoked"}
    assert codes(world.service.suspend("acme/team/svc", by())) == {"grant_revoked"}
    assert codes(world.service.change("acme/team", GrantEdit(limits=()), by())) == {"grant_revoked"}
    assert written(world.service.revoke("acme/team", by())).epoch == 1


def test_expired_grants_are_marked_and_renewed() -> None:
    """What is past its expiry is marked by `expire_due`, and a renewal makes it active again."""
    world = team_world()
    world.clock.pass_days(30)
    answer = world.service.expire_due(by())
    assert isinstance(answer, Written)
    assert [grant.path for grant in answer.grants] == ["acme/team/svc"]
    assert world.service.expire_due(by()) == Written(grants=())
    assert codes(world.service.renew("acme/team/svc", world.clock.instant, by())) == {"expiry_not_later"}
    renewed = written(world.service.renew("acme/team/svc", YEAR_END, by()))
    assert (renewed.status, renewed.expires_at) == ("active", YEAR_END)


def test_a_later_expiry_resumes_nothing() -> None:
    """What somebody suspended stays so past its expiry and after a renewal; resuming it takes authority above it."""
    world = team_world()
    written(world.service.suspend("acme/team/svc", by()))
    world.clock.pass_days(30)
    assert world.service.expire_due(by()) == Written(grants=())
    renewed = written(world.service.renew("acme/team/svc", YEAR_END, by()))
    assert (renewed.status, renewed.expires_at) == ("suspended", YEAR_END)
    assert codes(world.service.resume("acme/team/svc", by(CY))) == {"not_permitted"}
    assert written(world.service.resume("acme/team/svc", by(BO))).status == "active"


def test_the_same_request_gets_the_first_answer() -> None:
    """A repeated key with the same request answers what the first call answered, whatever happened since."""
    world = team_world()
    edit = GrantEdit(limits=(usd("9"),))
    first = world.service.change("acme/team/svc", edit, by(CY, key="k1"))
    written(world.service.revoke("acme/team/svc", by()))
    again = world.service.change("acme/team/svc", edit, by(CY, key="k1"))
    assert written(again) == written(first)
    assert isinstance(again, Written) and again.replayed
    created = world.create("acme/team/svc2", actor=BO)
    assert isinstance(created, Written)


@pytest.mark.parametrize(
    ("edit", "author", "code"),
    [
        (GrantEdit(limits=(usd("8"),)), by(CY, key="k"), "conflict_different_limits"),
        (GrantEdit(limits=(usd("9"),), owner=BO.name), by(CY, key="k"), "conflict_different_owner"),
        (GrantEdit(limits=(usd("9"),)), by(CY, key="k", reason="other"), "conflict_different_reason"),
        (GrantEdit(limits=(usd("9"),)), by(BO, key="k"), "conflict_different_actor"),
        (GrantEdit(), by(CY, key="k"), "conflict_different_limits"),
    ],
)
def test_the_same_key_with_another_request_is_a_conflict(edit: GrantEdit, author: object, code: str) -> None:
    """The answer names the first field that differs, and nothing is written."""
    world = team_world()
    written(world.service.change("acme/team/svc", GrantEdit(limits=(usd("9"),)), by(CY, key="k")))
    assert codes(world.service.change("acme/team/svc", edit, author)) == {code}  # type: ignore[arg-type]
    assert codes(world.service.revoke("acme/team/svc", by(CY, key="k"))) == {"conflict_different_operation"}


def test_what_was_not_written_leaves_the_key_free() -> None:
    """A request with problems can be corrected and sent again under its key."""
    world = team_world()
    assert codes(world.create("acme/Nope", actor=ANA)) == {"path_invalid"}
    assert codes(world.service.change("acme/team/svc", GrantEdit(limits=(usd("99"),)), by(key="k"))) != set()
    written(world.service.change("acme/team/svc", GrantEdit(limits=(usd("9"),)), by(key="k")))


def test_a_write_needs_a_reason_a_key_a_target_and_its_revision() -> None:
    """Anonymous, unexplained and outdated writes are not made."""
    world = team_world()
    assert codes(world.service.revoke("acme", by(reason=" "))) == {"reason_missing"}
    assert codes(world.service.revoke("acme", by(key=" "))) == {"idempotency_key_missing"}
    assert codes(world.service.revoke("nobody", by())) == {"grant_unknown"}
    assert codes(world.service.change("nobody", GrantEdit(), by())) == {"grant_unknown"}
    assert codes(world.service.renew("nobody", YEAR_END, by())) == {"grant_unknown"}
    assert codes(world.service.change("acme", GrantEdit(), by(), expected_revision=7)) == {"revision_conflict"}
    assert isinstance(world.service.change("acme", GrantEdit(), by(), expected_revision=1), Written)
    answer = world.service.change("acme", GrantEdit(owner="x"), by())
    assert isinstance(answer, NotWritten) and "`x`" in answer.problems[0].detail
