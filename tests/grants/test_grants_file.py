"""The declarative file: strict reading, the plan between file and tree, applying it as one."""

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from remit.grants.manifest import Manifest, parse_manifest
from remit.grants.model import Actor, Problem
from remit.grants.plan import Plan, make_plan
from remit.grants.render import render_plan
from remit.grants.service import Answer, Written
from tests.grants.builders import ADMIN, NOW, World, by, codes, usd, written

DOCS = Path(__file__).parents[2] / "docs" / "reference" / "grants-file.md"

COMPANY = """
version: 1
grants:
  acme:
    owner: ana@acme.example
    class: production
    time_zone: America/New_York
    expires: 2027-01-01
    limits: [{usd: 100, per: month}]
    children:
      a: {owner: bo@acme.example, limits: [{usd: "60.00", per: month}]}
      b: {owner: cy@acme.example, limits: [{usd: "40.00", per: month}]}
"""


def manifest_of(text: str) -> Manifest:
    parsed = parse_manifest(yaml.safe_load(text))
    assert isinstance(parsed, Manifest), parsed
    return parsed


def plan_of(world: World, text: str, *, prune: bool = False) -> Plan:
    return make_plan(manifest_of(text), world.tree(), world.clock.now(), prune=prune)


def apply(world: World, text: str, *, prune: bool = False, actor: Actor = ADMIN) -> Answer:
    return world.service.apply(plan_of(world, text, prune=prune), by(actor))


def problems_of(text: str) -> list[tuple[str, str | None]]:
    parsed = parse_manifest(yaml.safe_load(text))
    assert isinstance(parsed, list)
    return [(problem.code, problem.field) for problem in parsed]


def test_the_documented_example_applies() -> None:
    """The example of the reference page is a valid company, and applying it again changes nothing."""
    text = DOCS.read_text(encoding="utf-8").split("```yaml")[1].split("```")[0]
    world = World()
    plan = plan_of(world, text)
    assert plan.problems == ()
    assert len(plan.creates) == 7
    assert isinstance(world.service.apply(plan, by()), Written)
    pilot = world.tree().find("acme/research/pilot")
    assert pilot is not None
    assert pilot.grant_class == "experimentation"
    assert pilot.expires_at == datetime(2026, 11, 30, 23, tzinfo=UTC)
    again = plan_of(world, text)
    assert again.is_empty and again.problems == () and len(again.unchanged) == 7


def test_defaults_come_from_the_parent() -> None:
    """Class, time zone and expiry are the parent's, a date is the start of that local day, a start is now."""
    world = World()
    assert isinstance(apply(world, COMPANY), Written)
    child = world.tree().find("acme/a")
    assert child is not None
    assert (child.grant_class, child.time_zone) == ("production", "America/New_York")
    assert child.expires_at == datetime(2027, 1, 1, 5, tzinfo=UTC)
    assert child.starts_at == NOW
    assert child.limits == (usd("60"),)


def problem_case(lines: str, code: str, place: str) -> Any:
    return pytest.param(lines, code, place, id=f"{code}-{place}")


@pytest.mark.parametrize(
    ("lines", "code", "place"),
    [
        problem_case("limts: []", "manifest_unknown_key", "limts"),
        problem_case("limits: [{usd: 1.5, per: month}]", "manifest_type", "limits[0].usd"),
        problem_case("limits: [{usd: '1.0000000001', per: month}]", "manifest_value", "limits[0].usd"),
        problem_case("limits: [{usd: '-1', per: month}]", "manifest_value", "limits[0].usd"),
        problem_case("limits: [{usd: true, per: month}]", "manifest_type", "limits[0].usd"),
        problem_case("limits: [{usd: '', per: month}]", "manifest_value", "limits[0].usd"),
        problem_case("limits: [{usd: 1, per: year}]", "manifest_value", "limits[0].per"),
        problem_case("limits: [{usd: 1}]", "manifest_missing", "limits[0]"),
        problem_case("limits: [{usd: 1, tokens: 1, per: day}]", "manifest_missing", "limits[0]"),
        problem_case("limits: {usd: 1, per: day}", "manifest_type", "limits"),
        problem_case("limits: [{tokens: -1, per: day}]", "manifest_type", "limits[0].tokens"),
        problem_case("limits: [{tokens: true, per: day}]", "manifest_type", "limits[0].tokens"),
        problem_case("class: prod", "manifest_value", "class"),
        problem_case("starts: soon", "manifest_type", "starts"),
        problem_case("starts: 2026-01-01T00:00:00", "manifest_value", "starts"),
        problem_case("starts: 0001-01-01", "manifest_value", "starts"),
        problem_case("starts: 9999-12-31T23:59:59Z", "manifest_value", "starts"),
        problem_case("scope: {tema: x}", "manifest_unknown_key", "scope.tema"),
        problem_case("shape: {models: gpt-4o}", "manifest_type", "shape.models"),
        problem_case("shape: {tools: 1}", "manifest_type", "shape.tools"),
        problem_case("delegation: {overcommit_percent: 1.5}", "manifest_type", "delegation.overcommit_percent"),
        problem_case("on_exhausted: {page_percents: [a]}", "manifest_type", "on_exhausted.page_percents[0]"),
        problem_case("overdraft: {}", "manifest_missing", "overdraft"),
        problem_case("overdraft: 5", "manifest_type", "overdraft"),
        problem_case("children: [a]", "manifest_type", "children"),
        problem_case("children: {a/b: {}}", "manifest_path", "children.a/b"),
        problem_case("children: {B: {}}", "manifest_path", "children.B"),
        problem_case("children: {1: {}}", "manifest_type", "children.1"),
        problem_case("children: {a: {class: production}}", "manifest_missing", "children.a.owner"),
    ],
)
def test_a_mistake_is_named_with_its_place(lines: str, code: str, place: str) -> None:
    """Every mistake in a file is a problem with the place where it stands."""
    text = f"grants:\n  acme:\n    owner: ana@acme.example\n    expires: 2027-01-01\n    {lines}\n"
    assert (code, f"grants.acme.{place}") in problems_of(text)


def test_all_mistakes_are_told_at_once() -> None:
    """A file with several mistakes gets them all, with the nearest known name."""
    parsed = parse_manifest({"version": 2, "grant": {}, "grants": {"acme": {"ownr": "x", "class": "prod"}}})
    assert isinstance(parsed, list)
    sentences = [problem.detail for problem in parsed]
    assert "`grants.acme.ownr` is not known; did you mean `owner`?" in sentences
    assert len(sentences) == 5


@pytest.mark.parametrize(
    "document", [None, [], "grants", 5, {}, {"grants": None}, {"grants": []}, {"grants": {"acme": None}}]
)
def test_what_is_no_manifest_is_a_problem(document: object) -> None:
    """A document of another form is answered, not raised."""
    assert isinstance(parse_manifest(document), list)


def test_a_document_that_contains_itself_ends() -> None:
    """A node that is its own child through an alias ends at the deepest allowed level."""
    text = "grants:\n  acme: &a\n    owner: ana@acme.example\n    children:\n      a: *a\n      b: *a\n"
    assert isinstance(parse_manifest(yaml.safe_load(text)), list)


def test_a_path_stands_once() -> None:
    """The same grant as a child and as a top node is a problem."""
    text = COMPANY + "  acme/a: {owner: bo@acme.example}\n"
    assert problems_of(text) == [("manifest_path", "grants.acme/a")]


def test_a_team_keeps_a_file_of_its_own() -> None:
    """A file may begin below a stored parent, and then neither changes nor prunes anything beside it."""
    world = World()
    apply(world, COMPANY)
    team = "grants:\n  acme/a:\n    owner: bo@acme.example\n    limits: [{usd: 60, per: month}]\n    children:\n"
    team += "      svc: {owner: di@acme.example}\n"
    bo = Actor("bo@acme.example")
    plan = plan_of(world, team, prune=True)
    assert [new.path for new in plan.creates] == ["acme/a/svc"] and plan.orphans == ()
    assert isinstance(world.service.apply(plan, by(bo)), Written)
    raised = team.replace("usd: 60", "usd: 50").replace("di@acme.example}", "di@acme.example, expires: 2026-12-01}")
    assert isinstance(apply(world, raised, actor=bo), Written)
    assert codes(apply(world, team, actor=bo)) == {"not_permitted"}
    assert plan_of(world, team.replace("acme/a", "acme/zz")).creates[0].path == "acme/zz"
    assert {p.code for p in plan_of(world, team.replace("acme/a", "acm/zz")).problems} == {"parent_unknown"}


def test_money_moves_between_siblings_in_one_file() -> None:
    """Only the end state is judged, so one file can lower one child and raise another, and raise or lower them all."""
    world = World()
    apply(world, COMPANY)
    for a, b, top in ((30, 70, 100), (200, 300, 500), (1, 2, 3), (60, 40, 100)):
        text = COMPANY.replace('"60.00"', str(a)).replace('"40.00"', str(b)).replace("usd: 100", f"usd: {top}")
        assert isinstance(apply(world, text), Written)
    too_much = COMPANY.replace('"40.00"', "41")
    plan = plan_of(world, too_much)
    assert {problem.code for problem in plan.problems} == {"shares_exceeded"}
    before = list(world.tree())
    assert codes(world.service.apply(plan, by())) == {"shares_exceeded"}
    assert list(world.tree()) == before


def test_authority_is_given_back_before_it_is_handed_out() -> None:
    """Revocations come first, then lowering from the leaves up, then raising from the root down, then new grants."""
    world = World()
    apply(world, COMPANY)
    text = COMPANY.replace('"60.00"', "10").replace("usd: 100", "usd: 200").replace("      b:", "      c:")
    answer = apply(world, text, prune=True)
    assert isinstance(answer, Written)
    assert [(one.path, one.status) for one in answer.grants] == [
        ("acme/b", "revoked"), ("acme/a", "active"), ("acme", "active"), ("acme/c", "active"),
    ]  # fmt: skip
    lower = text.replace("usd: 200", "usd: 190").replace("usd: 10,", "usd: 9,")
    assert [one.path for one in plan_of(world, lower).changes] == ["acme/a", "acme"]
    again = plan_of(world, COMPANY)
    assert {problem.code for problem in again.problems} == {"grant_revoked"}


def test_orphans_are_reported_and_only_pruned_on_demand() -> None:
    """What the file does not name is left alone, or revoked at its highest node."""
    world = World()
    apply(world, COMPANY)
    world.made("acme/x")
    world.made("acme/x/y")
    world.made("other")
    plan = plan_of(world, COMPANY)
    assert plan.is_empty and [one.path for one in plan.orphans] == ["acme/x", "acme/x/y"]
    assert "left alone" in render_plan(plan)
    pruned = plan_of(world, COMPANY, prune=True)
    assert [one.path for one in pruned.revokes] == ["acme/x"]
    written(world.service.apply(pruned, by()))
    assert plan_of(world, COMPANY, prune=True).is_empty


def test_a_plan_is_for_one_tree() -> None:
    """A plan made before another write is not carried out; the same plan under the same key is, once."""
    world = World()
    plan = plan_of(world, COMPANY)
    first = world.service.apply(plan, by(key="once"))
    assert isinstance(first, Written)
    again = world.service.apply(plan, by(key="once"))
    assert isinstance(again, Written) and again.replayed and again.grants == first.grants
    assert codes(world.service.apply(plan, by())) == {"plan_stale"}


def test_a_plan_reads_well() -> None:
    """The text of a plan shows each step with old and new values."""
    world = World()
    apply(world, COMPANY)
    text = COMPANY.replace("usd: 100, per: month}", "usd: 150, per: month}, {tokens: 5000, per: day}")
    text = text.replace("bo@", "bob@") + "      c: {owner: di@acme.example, shape: {models: [o3], tools: false}}\n"
    assert render_plan(plan_of(world, text)) == (
        "~ acme\n"
        "    limit: $100.00 per month -> $150.00 per month\n"
        "    limit: none -> 5,000 tokens per day\n"
        "~ acme/a\n"
        "    owner: bo@acme.example -> bob@acme.example\n"
        "+ acme/c\n"
        "    owner: di@acme.example\n"
        "    class: production\n"
        "    time_zone: America/New_York\n"
        "    expires: 2027-01-01T05:00:00Z\n"
        "    shape: models o3, tools false\n"
        "\n"
        "1 to create, 2 to change, 0 to revoke, 1 unchanged\n"
    )
    broken = render_plan(plan_of(world, COMPANY.replace('"60.00"', "61")))
    assert "! shares_exceeded: `acme` holds $100.00 per month" in broken


def test_a_later_expiry_in_the_file_revives_an_expired_grant() -> None:
    """Renewing through the file works also after the grant was marked as expired."""
    world = World()
    apply(world, COMPANY.replace("bo@acme.example,", "bo@acme.example, expires: 2026-06-03,"))
    world.clock.pass_days(5)
    assert isinstance(world.service.expire_due(by()), Written)
    assert isinstance(apply(world, COMPANY), Written)
    revived = world.tree().find("acme/a")
    assert revived is not None and revived.status == "active"


def test_instants_and_dates_may_be_text() -> None:
    """A date or an instant means the same, quoted or not."""
    for moment in (date(2027, 1, 1), "2027-01-01", "2027-01-01T05:00:00+00:00", datetime(2027, 1, 1, 5, tzinfo=UTC)):
        node = {"owner": "a@b.example", "class": "production", "time_zone": "America/New_York", "expires": moment}
        parsed = parse_manifest({"grants": {"acme": node}})
        assert isinstance(parsed, Manifest), parsed
        plan = make_plan(parsed, World().tree(), NOW)
        assert plan.creates[0].expires_at == datetime(2027, 1, 1, 5, tzinfo=UTC)


def test_problems_are_values() -> None:
    """A bad zone or a root without class or expiry is told by the plan."""
    for line, code in (("time_zone: Nowhere/Land", "time_zone_invalid"), ("", "field_missing")):
        text = f"grants:\n  acme:\n    owner: ana@acme.example\n    {line}\n"
        plan = plan_of(World(), text)
        assert [problem.code for problem in plan.problems] == [code]
        assert line or "its class and its expires from" in plan.problems[0].detail
        assert all(isinstance(problem, Problem) for problem in plan.problems)
