"""What the tree refuses, one case a line: containment, shares, delegation, and what is deliberately allowed."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from remit.grants.edits import GrantEdit
from remit.grants.model import (
    Delegation,
    Limit,
    OnExhausted,
    Overdraft,
    Rate,
    Renewal,
    Scope,
    Shape,
)
from remit.grants.service import NotWritten
from tests.grants.builders import NOW, YEAR_END, World, by, codes, tokens, usd, written

PARENT: dict[str, Any] = {
    "grant_class": "production",
    "scope": Scope(team="search", environment="prod"),
    "limits": (usd("300"), usd("50", "day"), tokens(1000)),
    "rate": Rate(rpm=60, tpm=None, concurrency=4),
    "shape": Shape(
        models=("gpt-4o*", "o3"), vendors=("openai",), surfaces=("chat",), max_output_tokens=1000, tools=False
    ),
    "data_classes": ("public", "internal"),
    "required_tags": ("feature",),
    "starts_at": NOW,
}

CHILDREN = [
    ("says nothing", {}, None),
    ("says the same", {key: PARENT[key] for key in ("scope", "limits", "rate", "shape", "data_classes")}, None),
    ("fills in scope", {"scope": Scope(feature="ranking")}, None),
    ("changes scope", {"scope": Scope(team="ads")}, "scope_not_contained"),
    ("narrower pattern", {"shape": Shape(models=("gpt-4o-mini*", "gpt-4o"))}, None),
    ("other model", {"shape": Shape(models=("claude-*",))}, "shape_not_contained"),
    ("wider pattern", {"shape": Shape(models=("gpt-4*",))}, "shape_not_contained"),
    ("any model", {"shape": Shape(models=("*",))}, "shape_not_contained"),
    ("exact to pattern", {"shape": Shape(models=("o3*",))}, "shape_not_contained"),
    ("no model at all", {"shape": Shape(models=())}, None),
    ("other vendor", {"shape": Shape(vendors=("openai", "azure"))}, "shape_not_contained"),
    ("other surface", {"shape": Shape(surfaces=("images",))}, "shape_not_contained"),
    ("longer output", {"shape": Shape(max_output_tokens=1001)}, "shape_not_contained"),
    ("same output", {"shape": Shape(max_output_tokens=1000)}, None),
    ("input left open above", {"shape": Shape(max_input_tokens=5)}, None),
    ("tools", {"shape": Shape(tools=True)}, "shape_not_contained"),
    ("data class", {"data_classes": ("public", "pii")}, "data_classes_not_contained"),
    ("no data class", {"data_classes": ()}, None),
    ("rpm", {"rate": Rate(rpm=61)}, "rate_not_contained"),
    ("concurrency", {"rate": Rate(concurrency=5)}, "rate_not_contained"),
    ("tpm left open above", {"rate": Rate(tpm=1_000_000)}, None),
    ("later expiry", {"expires_at": YEAR_END + timedelta(seconds=1)}, "expires_after_parent"),
    ("earlier start", {"starts_at": NOW - timedelta(seconds=1)}, "starts_before_parent"),
    ("experiment under production", {"grant_class": "experimentation"}, None),
    ("more than the month", {"limits": (usd("300.000000001"),)}, "limit_not_contained"),
    ("exactly the month", {"limits": (usd("300"),)}, None),
    ("more than the day", {"limits": (usd("50.01", "day"),)}, "limit_not_contained"),
    ("zero", {"limits": (usd("0"), tokens(0), Limit("requests", 0, "day"))}, None),
    ("longer period than any above", {"limits": (usd("301", "quarter"),)}, "limit_not_contained"),
    ("once, spent in one month", {"limits": (usd("300.01", "once"),)}, "limit_not_contained"),
    ("a week over the month", {"limits": (usd("301", "week"),)}, "limit_not_contained"),
    ("escrow over the month", {"limits": (usd("290"),), "overdraft": Overdraft(max_nanousd=11 * 10**9)}, "limit_not_contained"),
    ("escrow fits", {"limits": (usd("290"),), "overdraft": Overdraft(max_nanousd=10 * 10**9)}, None),
    ("dimension left open above", {"limits": (Limit("requests", 10**9, "day"),)}, None),
    ("days sum up to the month", {"limits": (usd("9.67", "day"),)}, None),
    ("days sum up over the month", {"limits": (usd("9.68", "day"),)}, "shares_exceeded"),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "code"), [case[1:] for case in CHILDREN], ids=[case[0] for case in CHILDREN])
def test_a_child_is_created_within_its_parent(fields: dict[str, Any], code: str | None) -> None:
    """A child is created exactly if nothing in it reaches beyond its parent."""
    world = World()
    world.made("acme", **PARENT)
    answer = world.create("acme/search", **fields)
    assert codes(answer) >= ({code} if code else set())
    assert bool(codes(answer)) == bool(code)


@pytest.mark.parametrize(("fields", "code"), [case[1:] for case in CHILDREN], ids=[case[0] for case in CHILDREN])
def test_a_child_is_changed_within_its_parent(fields: dict[str, Any], code: str | None) -> None:
    """A change is judged by the same rules as a creation."""
    world = World()
    world.made("acme", **PARENT)
    world.made("acme/search", starts_at=NOW + timedelta(days=1))
    answer = world.service.change("acme/search", GrantEdit(**fields), by())
    assert bool(codes(answer)) == bool(code)


@pytest.mark.parametrize(("fields", "code"), [case[1:] for case in CHILDREN], ids=[case[0] for case in CHILDREN])
def test_a_parent_is_not_narrowed_below_its_live_child(fields: dict[str, Any], code: str | None) -> None:
    """Narrowing a parent is judged against every live child, and passes once the child is gone."""
    world = World()
    wide = {"starts_at": NOW - timedelta(days=9), "expires_at": YEAR_END + timedelta(days=9)}
    world.made("acme", **wide)
    world.made("acme/search", **{**wide, "expires_at": YEAR_END, "starts_at": NOW, **fields})
    narrow = GrantEdit(expires_at=YEAR_END, **PARENT)
    answer = world.service.change("acme", narrow, by())
    assert codes(answer) >= ({code} if code else set())
    assert bool(codes(answer)) == bool(code)
    written(world.service.revoke("acme/search", by()))
    written(world.service.change("acme", narrow, by()))


@pytest.mark.parametrize(
    ("fields", "code"),
    [case[1:] for case in CHILDREN if case[0] != "earlier start"],
    ids=[case[0] for case in CHILDREN if case[0] != "earlier start"],
)
def test_a_silent_grant_between_hides_nothing(fields: dict[str, Any], code: str | None) -> None:
    """A grandchild is bounded by its grandparent even where the grant between them says nothing."""
    world = World()
    world.made("acme", **PARENT)
    world.made("acme/folder")
    assert bool(codes(world.create("acme/folder/x", **fields))) == bool(code)


def test_production_does_not_stand_under_experimentation() -> None:
    """An experiment's grant cannot be turned into production authority, by creation or by changing the parent."""
    world = World()
    world.made("lab", grant_class="experimentation")
    assert codes(world.create("lab/x", grant_class="production")) == {"class_not_contained"}
    world.made("acme")
    world.made("acme/x")
    answer = world.service.change("acme", GrantEdit(grant_class="experimentation"), by())
    assert codes(answer) == {"class_not_contained"}


SHARES = [
    # parent's limits, overcommit, children's limits, does the last child fit
    ("exactly all", [usd("100")], 0, [[usd("60")], [usd("40")]], True),
    ("one nano-dollar over", [usd("100")], 0, [[usd("60")], [usd("40.000000001")]], False),
    ("overcommit", [usd("100")], 50, [[usd("90")], [usd("60")]], True),
    ("over the overcommit", [usd("100")], 50, [[usd("90")], [usd("60.000000001")]], False),
    ("a child without a limit counts nothing", [usd("100")], 0, [[usd("100")], []], True),
    ("another dimension", [usd("100")], 0, [[usd("100")], [tokens(5)]], True),
    ("zero under zero", [usd("0")], 0, [[usd("0")], [usd("0")]], True),
    ("day in week", [usd("7", "week")], 0, [[usd("1", "day")]], True),
    ("day over week", [usd("7", "week")], 0, [[usd("1.000000001", "day")]], False),
    ("day in month", [usd("31")], 0, [[usd("1", "day")]], True),
    ("day over month", [usd("30.99")], 0, [[usd("1", "day")]], False),
    ("week touches six times a month", [usd("6")], 0, [[usd("1", "week")]], True),
    ("week over month", [usd("5.99")], 0, [[usd("1", "week")]], False),
    ("month in quarter", [usd("3", "quarter")], 0, [[usd("1")]], True),
    ("month over quarter", [usd("2.99", "quarter")], 0, [[usd("1")]], False),
    ("quarter counts fully in a month", [usd("100")], 0, [[usd("60", "quarter")], [usd("41", "quarter")]], False),
    ("months straddle a week", [usd("100", "week")], 0, [[usd("50.01", "month")]], False),
    ("half a month in a week", [usd("100", "week")], 0, [[usd("50", "month")]], True),
    ("once counts fully", [usd("100")], 0, [[usd("60", "once")], [usd("41")]], False),
    ("the tightest of several binds", [usd("100")], 0, [[usd("5", "day"), usd("60")], [usd("40")]], True),
    ("a brake is shared", [usd("300"), usd("20", "day")], 0, [[usd("100")], [usd("100")], [usd("100")]], True),
    ("a brake is divided where divided", [usd("300"), usd("20", "day")], 99, [[usd("15", "day")], [usd("25", "day")]], False),
    ("months under once", [usd("8", "once")], 0, [[usd("1")]], True),  # June to December and the start of January
    ("months over once", [usd("6.99", "once")], 0, [[usd("1")]], False),
]  # fmt: skip


@pytest.mark.parametrize(
    ("limits", "overcommit", "children", "fits"), [case[1:] for case in SHARES], ids=[c[0] for c in SHARES]
)
def test_live_children_share_their_parents_limits(
    limits: list[Limit], overcommit: int, children: list[list[Limit]], fits: bool
) -> None:
    """The last child is created exactly if all live children together stay within the parent's limits."""
    world = World()
    world.made("acme", limits=tuple(limits), delegation=Delegation(overcommit_percent=overcommit))
    for index, own in enumerate(children[:-1]):
        world.made(f"acme/c{index}", limits=tuple(own))
    answer = world.create("acme/last", limits=tuple(children[-1]))
    assert bool(codes(answer)) != fits
    assert codes(answer) <= {"shares_exceeded", "limit_not_contained"}


def test_the_refusal_of_a_sum_has_its_numbers() -> None:
    """The sentence names the parent, its limit, the sum and the largest shares."""
    world = World()
    world.made("acme", limits=(usd("100"),))
    world.made("acme/a", limits=(usd("70"),))
    answer = world.create("acme/b", limits=(usd("1", "day"),))
    assert isinstance(answer, NotWritten)
    (problem,) = answer.problems
    assert problem.path == "acme"
    assert problem.detail == (
        "`acme` holds $100.00 per month with 0 percent overcommit, and its live children would hold $101.00 per month: "
        "`acme/a` $70.00, `acme/b` $31.00"
    )


def test_a_folder_is_not_a_hole() -> None:
    """Children below a grant without a limit share the limit above it."""
    world = World()
    world.made("acme", limits=(usd("100"),))
    world.made("acme/folder")
    world.made("acme/folder/a", limits=(usd("60"),))
    assert codes(world.create("acme/folder/b", limits=(usd("41"),))) == {"shares_exceeded"}
    assert codes(world.create("acme/c", limits=(usd("41"),))) == {"shares_exceeded"}
    world.made("acme/c", limits=(usd("40"),))


def test_removing_a_limit_opens_the_folder() -> None:
    """A grant that drops its limit no longer stands for its overcommitted children."""
    world = World()
    world.made("acme", limits=(usd("100"),))
    world.made("acme/a", limits=(usd("100"),), delegation=Delegation(overcommit_percent=100))
    world.made("acme/a/x", limits=(usd("100"),))
    world.made("acme/a/y", limits=(usd("100"),))
    assert codes(world.service.change("acme/a", GrantEdit(limits=()), by())) == {"shares_exceeded"}


def test_what_ends_gives_its_share_back_and_takes_it_again() -> None:
    """Revoked and expired children free their share, suspended ones keep it, and a revival is judged anew."""
    world = World()
    world.made("acme", limits=(usd("100"),))
    world.made("acme/a", limits=(usd("100"),), expires_at=NOW + timedelta(days=10))
    written(world.service.suspend("acme/a", by()))
    assert codes(world.create("acme/b", limits=(usd("1"),))) == {"shares_exceeded"}
    world.clock.pass_days(10)
    world.made("acme/b", limits=(usd("1"),))
    later = world.clock.instant + timedelta(days=10)
    assert codes(world.service.renew("acme/a", later, by())) == {"shares_exceeded"}
    written(world.service.change("acme/a", GrantEdit(expires_at=later, limits=(usd("99"),)), by()))
    written(world.service.resume("acme/a", by()))
    written(world.service.revoke("acme/a", by()))
    world.made("acme/c", limits=(usd("99"),))


def test_a_request_holds_nothing_until_it_is_activated() -> None:
    """A requested grant takes no share; activating it is judged like creating it."""
    world = World()
    world.made("acme", limits=(usd("100"),))
    world.made("acme/a", limits=(usd("60"),), status="requested")
    world.made("acme/b", limits=(usd("60"),))
    assert codes(world.service.activate("acme/a", by())) == {"shares_exceeded"}
    written(world.service.change("acme/b", GrantEdit(limits=(usd("40"),)), by()))
    assert written(world.service.activate("acme/a", by())).status == "active"


def test_delegation_is_bounded_in_depth_and_term() -> None:
    """No grant appears deeper, or lives longer, than what stands above hands on."""
    world = World()
    world.made("acme", delegation=Delegation(max_depth=1, max_term_days=30))
    soon = NOW + timedelta(days=30)
    assert codes(world.create("acme/a")) == {"term_exceeded"}
    assert codes(world.create("acme/a", expires_at=soon, delegation=Delegation(max_depth=1))) == {
        "delegation_not_contained"
    }
    assert codes(world.create("acme/a", expires_at=soon, delegation=Delegation(max_term_days=31))) == {
        "delegation_not_contained"
    }
    world.made("acme/a", expires_at=soon, delegation=Delegation(allowed=False))
    assert codes(world.create("acme/a/b")) == {"delegation_not_allowed", "delegation_too_deep"}
    world.clock.pass_days(5)
    assert codes(world.service.renew("acme/a", soon + timedelta(days=6), by())) == {"term_exceeded"}
    written(world.service.renew("acme/a", soon + timedelta(days=5), by()))
    answer = world.service.change("acme", GrantEdit(delegation=Delegation(allowed=False)), by())
    assert codes(answer) == {"delegation_not_allowed"}
    written(world.service.change("acme", GrantEdit(delegation=Delegation(max_term_days=1)), by()))
    written(world.service.suspend("acme/a", by()))


MALFORMED: list[tuple[dict[str, Any], str]] = [
    ({"path": "Acme"}, "path_invalid"),
    ({"path": ""}, "path_invalid"),
    ({"path": "-acme"}, "path_invalid"),
    ({"path": "a" * 64}, "path_invalid"),
    ({"path": "grant_01k9zzzzzzzzzzzzzzzzzzzzzz"}, "path_invalid"),
    ({"owner": "the platform team"}, "owner_invalid"),
    ({"owner": "@acme.example"}, "owner_invalid"),
    ({"time_zone": "Mars/Olympus"}, "time_zone_invalid"),
    ({"time_zone": "localtime"}, "time_zone_invalid"),
    ({"time_zone": "../../etc/passwd"}, "time_zone_invalid"),
    ({"limits": (usd("1"), usd("2"))}, "limit_repeated"),
    ({"limits": (Limit("usd", -1, "month"),)}, "limit_invalid"),
    ({"limits": (Limit("usd", 2**63, "month"),)}, "limit_invalid"),
    ({"limits": (Limit("usd", 1, "minute"),)}, "limit_invalid"),
    ({"limits": (usd("1"),), "overdraft": Overdraft(max_nanousd=2**63 - 1)}, "limit_invalid"),
    ({"rate": Rate(rpm=-1)}, "rate_invalid"),
    ({"shape": Shape(models=("gpt-*-mini",))}, "item_invalid"),
    ({"shape": Shape(models=("a", "a"))}, "item_repeated"),
    ({"shape": Shape(max_output_tokens=-1)}, "shape_invalid"),
    ({"required_tags": ("Feature!",)}, "item_invalid"),
    ({"scope": Scope(team="se arch")}, "scope_invalid"),
    ({"delegation": Delegation(overcommit_percent=-1)}, "delegation_invalid"),
    ({"overdraft": Overdraft(max_nanousd=1)}, "overdraft_without_limit"),
    ({"grant_class": "experimentation", "limits": (usd("1"),), "overdraft": Overdraft(max_nanousd=1)}, "overdraft_needs_production"),
    ({"on_exhausted": OnExhausted(pace_from_percent=50)}, "pacing_needs_experimentation"),
    ({"on_exhausted": OnExhausted(page_percents=(80, 80))}, "on_exhausted_invalid"),
    ({"on_exhausted": OnExhausted(page_percents=(101,))}, "on_exhausted_invalid"),
    ({"on_exhausted": OnExhausted(webhook="file:///etc/passwd")}, "on_exhausted_invalid"),
    ({"renewal": Renewal(lead_time_days=-1)}, "renewal_invalid"),
    ({"expires_at": NOW, "starts_at": NOW}, "expires_before_start"),
    ({"expires_at": datetime(2027, 1, 1)}, "instant_invalid"),  # noqa: DTZ001
    ({"expires_at": NOW, "starts_at": NOW - timedelta(days=1)}, "already_expired"),
    ({"expires_at": None}, "field_missing"),
    ({"grant_class": None}, "field_missing"),
    ({"status": "suspended"}, "status_not_allowed"),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "code"), MALFORMED, ids=[f"{code}-{next(iter(f))}" for f, code in MALFORMED])
def test_a_malformed_grant_is_not_written(fields: dict[str, Any], code: str) -> None:
    """What means nothing, or contradicts itself, is answered with its own code."""
    world = World()
    answer = world.create(fields.pop("path", "acme"), **fields)
    assert codes(answer) == {code}
    assert len(world.tree()) == 0


def test_a_path_has_at_most_sixteen_levels() -> None:
    """The sixteenth level is written, the seventeenth is not."""
    world = World()
    path = "a"
    world.made(path)
    for _ in range(15):
        path += "/a"
        world.made(path)
    assert codes(world.create(path + "/a")) == {"path_invalid"}


def test_a_path_is_never_used_again() -> None:
    """A stored path is taken, also after its grant was revoked."""
    world = World()
    world.made("acme")
    world.made("acme/a")
    assert codes(world.create("acme/a")) == {"path_taken"}
    written(world.service.revoke("acme/a", by()))
    assert codes(world.create("acme/a")) == {"path_taken"}
    assert codes(world.create("acme/nobody/b")) == {"parent_unknown"}


def test_nothing_is_created_below_what_is_not_active() -> None:
    """Below a suspended, requested, expired or revoked grant nothing begins."""
    world = World()
    world.made("acme", expires_at=datetime(2026, 7, 1, tzinfo=UTC))
    world.made("acme/a")
    written(world.service.suspend("acme", by()))
    assert codes(world.create("acme/a/b")) == {"parent_inactive"}
    written(world.service.resume("acme", by()))
    world.made("acme/r", status="requested")
    assert codes(world.create("acme/r/b")) == {"parent_inactive"}
    world.clock.pass_days(31)
    assert "parent_inactive" in codes(world.create("acme/c", starts_at=NOW))
