"""Boundaries, splits, transfers and what is taken back."""

import secrets
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from remit.grants.boundary import owner_within
from remit.grants.division import Part, handed_out
from remit.grants.edits import GrantEdit, NewGrant
from remit.grants.manifest import Manifest, parse_manifest
from remit.grants.model import Actor, Boundary, Delegation, Envelope, Limit, Shape
from remit.grants.serialise import from_body, to_body
from remit.grants.service import Authorship, GrantService, NotWritten, Written
from remit.grants.tree import Tree
from remit.testing.clock import ManualClock
from remit.testing.grants import MemoryGrantRepository

NOW = datetime(2027, 1, 4, tzinfo=UTC)
USD = 1_000_000_000
ADA, RITA, SAM, EVE = "ada@acme.example", "rita@acme.example", "sam@acme.example", "eve@else.example"


def usd(amount: int) -> Limit:
    return Limit("usd", amount * USD, "month")


class World:
    """`acme` (ada, $1000) > `acme/team` (rita, $400, with a boundary) > `acme/team/sub` (sam, $100)."""

    def __init__(self, boundary: Boundary | None) -> None:
        self.repository = MemoryGrantRepository()
        self.service = GrantService(self.repository, ManualClock(NOW))
        self.create(
            ADA, "acme", ADA, usd(1000), grant_class="production", expires_at=NOW + timedelta(days=365), admin=True
        )
        self.create(ADA, "acme/team", RITA, usd(400), delegation=Delegation(boundary=boundary))
        self.create(ADA, "acme/team/sub", SAM, usd(100), shape=Shape(models=("gpt-4o",)))

    def by(self, name: str, *, admin: bool = False) -> Authorship:
        return Authorship(actor=Actor(name, admin), reason="test", idempotency_key=secrets.token_hex(8))

    def create(self, name: str, path: str, owner: str, *limits: Limit, admin: bool = False, **more: Any) -> Any:
        new = NewGrant(path=path, owner=owner, limits=limits, **more)
        return self.service.create(new, self.by(name, admin=admin))

    def tree(self) -> Tree:
        with self.repository.read() as reads:
            return Tree(reads.load_tree())

    def amount(self, path: str) -> int:
        grant = self.tree().at_path(path)
        assert grant is not None
        return grant.limits[0].amount


def codes(answer: Any) -> set[str]:
    return {problem.code for problem in answer.problems} if isinstance(answer, NotWritten) else set()


def test_a_boundary_holds_whoever_acts_from_it_or_below() -> None:
    """Rita, whose grant has it, and sam below her hand out no more than it says; ada above may, and so may an admin."""
    world = World(Boundary(max_nanousd=50 * USD))
    assert codes(world.create(RITA, "acme/team/a", RITA, usd(51))) == {"outside_boundary"}
    assert codes(world.create(SAM, "acme/team/sub/a", SAM, usd(51), shape=Shape(models=("gpt-4o",)))) == {
        "outside_boundary"
    }
    assert isinstance(world.create(RITA, "acme/team/a", RITA, usd(50)), Written)
    assert isinstance(world.create(ADA, "acme/team/b", RITA, usd(51)), Written)
    assert isinstance(world.create("someone@acme.example", "acme/team/c", RITA, usd(51), admin=True), Written)


def test_every_part_of_a_boundary_binds() -> None:
    """Class, models, owners, the most and the share are each refused where they are left, and said which."""
    boundary = Boundary(
        max_share_percent=20, classes=("experimentation",), models=("gpt-4o-mini*",), owners=("*@acme.example",)
    )
    world = World(boundary)
    fine: dict[str, Any] = {"grant_class": "experimentation", "shape": Shape(models=("gpt-4o-mini",))}

    def fields(owner: str, amount: int, **more: Any) -> set[str | None]:
        answer = world.create(RITA, "acme/team/a", owner, usd(amount), **{**fine, **more})
        assert isinstance(answer, NotWritten)
        return {problem.field for problem in answer.problems}

    assert fields(SAM, 81) == {"limits.usd/month"}
    assert fields(EVE, 80) == {"owner"}
    assert fields(SAM, 80, grant_class="production") == {"class"}
    assert fields(SAM, 80, shape=Shape(models=("gpt-4o",))) == {"shape.models"}
    assert fields(SAM, 80, shape=Shape()) == {"shape.models"}
    assert isinstance(world.create(RITA, "acme/team/a", SAM, usd(80), **fine), Written)


def test_a_boundary_binds_changes_and_not_what_gives_back() -> None:
    """Raising beyond it is refused, narrowing what stands outside it already is not."""
    world = World(Boundary(max_nanousd=50 * USD))
    assert codes(world.service.change("acme/team/sub", GrantEdit(limits=(usd(120),)), world.by(RITA))) == {
        "outside_boundary"
    }
    assert isinstance(world.service.change("acme/team/sub", GrantEdit(limits=(usd(90),)), world.by(RITA)), Written)
    assert isinstance(world.service.suspend("acme/team/sub", world.by(RITA)), Written)
    later = NOW + timedelta(days=364)
    assert isinstance(
        world.service.change("acme/team/sub", GrantEdit(expires_at=NOW + timedelta(days=30)), world.by(RITA)), Written
    )
    # A renewal hands out again what stands outside, so it takes somebody above.
    assert codes(world.service.renew("acme/team/sub", later, world.by(RITA))) == {"outside_boundary"}
    assert isinstance(world.service.renew("acme/team/sub", later, world.by(ADA)), Written)


def test_nobody_widens_their_own_boundary() -> None:
    """The owner of the grant it stands on may narrow it; taking it away or widening it takes somebody above."""
    world = World(Boundary(max_nanousd=50 * USD, grace_hours=24))
    for wider in (None, Boundary(max_nanousd=51 * USD), Boundary(max_nanousd=50 * USD, grace_hours=25), Boundary()):
        edit = GrantEdit(delegation=Delegation(boundary=wider))
        assert codes(world.service.change("acme/team", edit, world.by(RITA))) == {"not_permitted"}, wider
    narrow = GrantEdit(delegation=Delegation(boundary=Boundary(max_nanousd=10 * USD)))
    assert isinstance(world.service.change("acme/team", narrow, world.by(RITA)), Written)
    assert isinstance(world.service.change("acme/team", GrantEdit(delegation=Delegation()), world.by(ADA)), Written)


def test_an_envelope_below_is_no_wider_than_one_above() -> None:
    """A child's boundary may not let more be approved without a person than its parent's does."""
    world = World(Boundary(auto_approve=Envelope(max_increase_percent=10, max_nanousd=50 * USD)))
    wide = Boundary(auto_approve=Envelope(max_increase_percent=11))
    answer = world.create(RITA, "acme/team/a", RITA, usd(10), delegation=Delegation(boundary=wide))
    assert codes(answer) == {"delegation_not_contained"}


def test_a_body_holds_the_whole_boundary() -> None:
    """What is written into a revision comes back as it was, and bodies from before there were boundaries are read."""
    boundary = Boundary(
        max_share_percent=5, classes=("production",), owners=("*",), auto_approve=Envelope(max_renewals=2)
    )
    grant = World(boundary).tree().at_path("acme/team")
    assert grant is not None and from_body(to_body(grant)) == grant
    old = to_body(grant)
    del old["delegation"]["boundary"]
    assert from_body(old).delegation.boundary is None


@given(
    shares=st.lists(st.integers(1, 60), min_size=1, max_size=4).filter(lambda one: sum(one) <= 100),
    cents=st.integers(0, 10**11),
)
@settings(max_examples=60, deadline=None)
def test_a_split_conserves_every_nano_dollar(shares: list[int], cents: int) -> None:
    """Children get whole nano-dollars, together never more than was left to divide; the rest stays."""
    world = World(None)
    world.service.change("acme/team", GrantEdit(limits=(Limit("usd", 100 * USD + cents, "month"),)), world.by(ADA))
    parts = [Part(name=f"p{number}", owner=SAM, percent=share) for number, share in enumerate(shares)]
    assert isinstance(world.service.split("acme/team", parts, world.by(RITA)), Written)
    amounts = [world.amount(f"acme/team/p{number}") for number in range(len(shares))]
    assert amounts == [cents * share // 100 for share in shares]
    team = world.tree().at_path("acme/team")
    assert team is not None
    (whole,) = handed_out(world.tree(), team, NOW)
    assert whole.amount == 100 * USD + sum(amounts) <= team.limits[0].amount
    assert whole.left == team.limits[0].amount - whole.amount


def test_a_split_is_all_or_nothing() -> None:
    """One part that does not fit leaves none."""
    world = World(None)
    parts = [Part(name="fits", owner=SAM, amount=100 * USD), Part(name="not", owner=SAM, amount=201 * USD)]
    assert codes(world.service.split("acme/team", parts, world.by(RITA))) == {"shares_exceeded"}
    assert world.tree().at_path("acme/team/fits") is None
    assert codes(world.service.split("acme/team", parts, world.by(SAM))) == {"not_permitted"}


@given(amount=st.integers(-5, 120), name=st.sampled_from([ADA, RITA, SAM, EVE]))
@settings(max_examples=60, deadline=None)
def test_a_transfer_conserves_what_siblings_hold(amount: int, name: str) -> None:
    """Both limits together are what they were; only who owns the source or stands above moves anything."""
    world = World(None)
    world.create(ADA, "acme/team/other", EVE, usd(50), shape=Shape(models=("gpt-4o",)))
    answer = world.service.transfer("acme/team/sub", "acme/team/other", "usd", "month", amount * USD, world.by(name))
    assert world.amount("acme/team/sub") + world.amount("acme/team/other") == 150 * USD
    moved = 0 < amount <= 100 and name != EVE
    assert isinstance(answer, Written) is moved
    assert world.amount("acme/team/other") == (50 + amount) * USD if moved else 50 * USD


def test_a_transfer_stays_inside_the_boundary_of_the_parent() -> None:
    """A sibling that would come to hold more than the boundary allows gets nothing from another's owner."""
    world = World(Boundary(max_nanousd=60 * USD))
    world.create(ADA, "acme/team/other", EVE, usd(50), shape=Shape(models=("gpt-4o",)))

    def move(amount: int, name: str) -> Any:
        ends = ("acme/team/sub", "acme/team/other")
        return world.service.transfer(*ends, "usd", "month", amount * USD, world.by(name))

    assert codes(move(11, SAM)) == {"outside_boundary"}
    assert isinstance(move(10, SAM), Written)
    assert isinstance(move(10, ADA), Written)


def test_only_siblings_exchange() -> None:
    """Nothing moves between generations, to itself, or to a limit that is not there."""
    world = World(None)
    world.create(ADA, "acme/team/other", EVE, Limit("tokens", 5, "month"))
    for target, code in (
        ("acme/team", "not_siblings"),
        ("acme/team/sub", "not_siblings"),
        ("acme/team/other", "limit_unknown"),
    ):
        answer = world.service.transfer("acme/team/sub", target, "usd", "month", USD, world.by(ADA))
        assert codes(answer) == {code}


def test_what_was_never_spent_comes_back_whole() -> None:
    """Reclaiming a grant that nobody used leaves it nothing, and its parent may hand all of it out again."""
    world = World(None)
    assert isinstance(world.service.reclaim("acme/team/sub", world.by(RITA)), Written)
    assert world.amount("acme/team/sub") == 0
    assert isinstance(world.create(RITA, "acme/team/new", SAM, usd(400)), Written)


def test_a_file_says_the_whole_boundary() -> None:
    """Every part is read in dollars, hours and percent, and what is none of its parts is refused with its place."""
    auto = {"max_increase_percent": 20, "max_usd": "500.00", "max_renewals": 2, "max_term_days": 30}
    said = {"max_share_percent": 20, "max_usd": 2000, "classes": ["experimentation"], "owners": ["*@acme.example"]}
    node: dict[str, Any] = {"owner": ADA, "delegation": {"boundary": {**said, "grace_hours": 24, "auto_approve": auto}}}
    read = parse_manifest({"grants": {"acme": node}})
    assert isinstance(read, Manifest)
    assert read.grants[0].delegation.boundary == Boundary(
        max_share_percent=20,
        max_nanousd=2000 * USD,
        classes=("experimentation",),
        owners=("*@acme.example",),
        grace_hours=24,
        auto_approve=Envelope(max_increase_percent=20, max_nanousd=500 * USD, max_renewals=2, max_term_days=30),
    )
    node["delegation"]["boundary"]["share"] = 5
    wrong = parse_manifest({"grants": {"acme": node}})
    assert isinstance(wrong, list) and [one.field for one in wrong] == ["grants.acme.delegation.boundary.share"]


def test_owners_are_matched_whole() -> None:
    """A pattern of a domain covers no other domain that ends alike, and case does not count."""
    assert owner_within("Ada@ACME.example", "*@acme.example")
    assert not owner_within("ada@not-acme.example", "*@acme.example")
    assert not owner_within("*@acme.example", "ada@acme.example")
    assert owner_within("*@acme.example", "*") and not owner_within("*", "*@acme.example")


def test_a_grant_between_counts_for_what_is_below_it() -> None:
    """A grant without a money limit can spend what the one between it and the boundary can, and a daily one 31 days of it."""
    world = World(Boundary(max_nanousd=310 * USD))
    assert isinstance(world.create(SAM, "acme/team/sub/open", SAM, shape=Shape(models=("gpt-4o",))), Written)
    assert codes(world.create(RITA, "acme/team/open", SAM)) == {"outside_boundary"}
    assert isinstance(world.create(RITA, "acme/team/daily", SAM, Limit("usd", 9 * USD, "day")), Written)
    assert codes(world.service.change("acme/team/daily", GrantEdit(limits=()), world.by(ADA))) == set()
    assert codes(world.create(SAM, "acme/team/daily/all", SAM)) == {"outside_boundary"}
