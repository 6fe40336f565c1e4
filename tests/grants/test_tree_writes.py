"""Random writes through the service, and after each of them an independent look at the whole stored tree.

The checker shares no rule with the code: it walks the calendar, the ancestors and the children by itself.
"""

from dataclasses import fields
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from remit.grants.edits import GrantEdit, NewGrant
from remit.grants.manifest import Manifest, ManifestGrant
from remit.grants.model import (
    Actor,
    Delegation,
    Grant,
    Limit,
    Overdraft,
    Rate,
    Scope,
    Shape,
)
from remit.grants.plan import make_plan
from remit.grants.serialise import to_body
from remit.grants.service import Answer, NotWritten, Written
from tests.grants.builders import ADMIN, NOW, World, by

ORDER = ["day", "week", "month", "quarter", "once"]
MOST = {
    "week": {"day": 7, "month": 2, "quarter": 2},
    "month": {"day": 31, "week": 6},
    "quarter": {"day": 92, "week": 14, "month": 3},
}
PEOPLE = ["ana@acme.example", "bo@acme.example", "cy@acme.example"]
PATHS = ["a", "a", "a/b", "a/b/c", "a/b/c/d", "a/b/e", "a/f", "a/f/g", "a/f/h"]

amounts = st.one_of(st.sampled_from([0, 10, 31, 93, 100, 300]), st.integers(0, 400))
limits = st.lists(
    st.builds(Limit, st.sampled_from(["usd", "tokens"]), amounts, st.sampled_from(ORDER)),
    max_size=2,
    unique_by=lambda one: (one.dimension, one.period),
).map(tuple)
some = st.integers(0, 3)
instants = st.integers(1, 60).map(lambda days: NOW + timedelta(days=days))
values: dict[str, st.SearchStrategy[Any]] = {
    "owner": st.sampled_from(PEOPLE),
    "grant_class": st.sampled_from(["production", "experimentation"]),
    "limits": limits,
    "rate": st.builds(Rate, rpm=st.none() | some),
    "shape": st.builds(
        Shape,
        models=st.none() | st.lists(st.sampled_from(["x*", "xy", "xy*", "z"]), max_size=2, unique=True).map(tuple),
        max_output_tokens=st.none() | some,
        tools=st.none() | st.booleans(),
    ),
    "scope": st.builds(Scope, team=st.none() | st.sampled_from("st")),
    "data_classes": st.none() | st.sampled_from([(), ("public",), ("public", "pii")]),
    "delegation": st.builds(
        Delegation,
        allowed=st.booleans() | st.just(True),
        max_depth=st.none() | st.integers(0, 4),
        overcommit_percent=st.sampled_from([0, 0, 50, 100]),
    ),
    "overdraft": st.none() | st.builds(Overdraft, max_nanousd=st.integers(0, 30)),
    "expires_at": instants,
}
# Most writes touch a few fields only; otherwise hardly one would pass.
chosen = st.sets(st.sampled_from(sorted(values)), max_size=2).flatmap(
    lambda names: st.fixed_dictionaries({name: values[name] for name in sorted(names)})
)
sums = st.one_of(chosen, st.fixed_dictionaries({"limits": limits}))
actors = st.sampled_from([ADMIN, ADMIN, *(Actor(name) for name in PEOPLE)])


class TreeWrites(RuleBasedStateMachine):
    """Writes in any order; the tree is judged after each."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.last: list[Grant] = []
        # A grown tree to begin with: most rules speak of a grant with something above and something below it.
        self.accept(self.world.create("a", expires_at=NOW + timedelta(days=90), limits=(Limit("usd", 200, "month"),)))
        for path, amount in {"a/b": 100, "a/f": 93, "a/b/c": 31, "a/b/c/d": 10, "a/f/g": 31, "a/f/h": 31}.items():
            self.accept(self.world.create(path, limits=(Limit("usd", amount, "month"),)))

    def accept(self, answer: Answer) -> None:
        """What was not written left no trace; what was written is one more revision."""
        after = list(self.world.tree())
        if isinstance(answer, NotWritten):
            assert answer.problems
            assert after == self.last
        else:
            assert isinstance(answer, Written)
            before = {one.id: one for one in self.last}
            for one in after:
                old = before.get(one.id)
                assert old == one or one.revision == (old.revision + 1 if old else 1)
                assert old is None or (one.epoch > old.epoch) == (one.status == "revoked" != old.status)
                assert old is None or old.status != "revoked" or old == one
        self.last = after

    @rule(
        path=st.sampled_from(PATHS), own=sums, actor=actors, status=st.sampled_from(["active", "active", "requested"])
    )
    def create(self, path: str, own: dict[str, Any], actor: Actor, status: Any) -> None:
        new = NewGrant(path=path, **{"owner": PEOPLE[0], "status": status, **own})
        self.accept(self.world.service.create(new, by(actor)))

    @rule(path=st.sampled_from(PATHS), own=sums, actor=actors)
    def change(self, path: str, own: dict[str, Any], actor: Actor) -> None:
        self.accept(self.world.service.change(path, GrantEdit(**own), by(actor)))

    @rule(
        path=st.sampled_from(PATHS),
        verb=st.sampled_from(["activate", "suspend", "resume", "suspend", "resume", "revoke"]),
        actor=actors,
    )
    def set_status(self, path: str, verb: str, actor: Actor) -> None:
        self.accept(getattr(self.world.service, verb)(path, by(actor)))

    @rule(path=st.sampled_from(PATHS), days=st.integers(1, 90), actor=actors)
    def renew(self, path: str, days: int, actor: Actor) -> None:
        until = self.world.clock.instant + timedelta(days=days)
        self.accept(self.world.service.renew(path, until, by(actor)))

    @rule(days=st.integers(1, 15), mark=st.booleans())
    def time_passes(self, days: int, mark: bool) -> None:
        self.world.clock.pass_days(days)
        if mark:
            self.accept(self.world.service.expire_due(by()))

    @rule(
        nodes=st.dictionaries(st.sampled_from(PATHS[2:]), sums, max_size=4),
        top=limits,
        prune=st.booleans(),
        actor=actors,
    )
    @precondition(lambda self: self.last[0].status != "revoked")
    def apply(self, nodes: dict[str, dict[str, Any]], top: tuple[Limit, ...], prune: bool, actor: Actor) -> None:
        root = self.last[0]
        own: dict[str, Any] = {
            "grant_class": root.grant_class,
            "expires": root.expires_at,
            "limits": top,
            "owner": root.owner,
        }
        grants = [ManifestGrant(path="a", **own)]
        for path, stated in sorted(nodes.items()):
            renamed = {("expires" if name == "expires_at" else name): value for name, value in stated.items()}
            grants.append(ManifestGrant(path=path, **{"owner": PEOPLE[0], **renamed}))
        plan = make_plan(Manifest(tuple(grants), ("a",)), self.world.tree(), self.world.clock.now(), prune=prune)
        answer = self.world.service.apply(plan, by(actor))
        assert isinstance(answer, NotWritten) or not plan.problems
        self.accept(answer)

    @invariant()
    def the_tree_holds(self) -> None:
        check(self.last, self.world.clock.now())
        with self.world.repository.read() as unit:
            for one in self.last:
                assert unit.revisions(one.id)[-1].body == to_body(one)
                assert [r.revision for r in unit.revisions(one.id)] == list(range(1, one.revision + 1))


def check(tree: list[Grant], now: datetime) -> None:
    """I16 and I29 for every grant that is live down its whole path."""
    by_id = {one.id: one for one in tree}

    def above(one: Grant) -> list[Grant]:
        parent = by_id.get(one.parent_id or "")
        return [] if parent is None else [*above(parent), parent]

    def live(one: Grant) -> bool:
        return one.status in ("active", "suspended") and one.expires_at > now

    for one in tree:
        if not (live(one) and all(live(node) for node in above(one))):
            continue
        for node in above(one):
            check_pair(one, node, above(node))
        for bound in one.limits:
            children = [child for child in tree if child.parent_id == one.id and live(child)]
            longest = longest_of([*above(one), one], bound.dimension)
            total = sum(share(child, bound, longest, tree, now) for child in children)
            assert total <= bound.amount * (1 + one.delegation.overcommit_percent / 100), one.path


def check_pair(one: Grant, node: Grant, over: list[Grant]) -> None:
    """Nothing in a grant reaches beyond one that stands above it."""
    assert one.expires_at <= node.expires_at and one.starts_at >= node.starts_at
    assert node.delegation.allowed
    assert node.delegation.max_depth is None or one.path.count("/") - node.path.count("/") <= node.delegation.max_depth
    assert (node.grant_class, one.grant_class) != ("experimentation", "production")
    for narrow, wide in ((one.rate, node.rate), (one.shape, node.shape)):
        for part in fields(narrow):
            mine, theirs = getattr(narrow, part.name), getattr(wide, part.name)
            if mine is not None and theirs is not None and part.name != "models":
                assert mine <= theirs, part.name
    for model in ("x", "xy", "xyz", "xz", "z", "q"):
        assert one.shape.models is None or node.shape.models is None or model not in allowed(one) - allowed(node)
    if one.data_classes is not None and node.data_classes is not None:
        assert set(one.data_classes) <= set(node.data_classes)
    assert None in (one.scope.team, node.scope.team) or one.scope.team == node.scope.team
    for own in one.limits:
        for bound in node.limits:
            longest = longest_of([*over, node], bound.dimension)
            short = ORDER.index(own.period) <= ORDER.index(bound.period)
            if own.dimension == bound.dimension and (short or ORDER.index(own.period) > longest):
                assert most_of(one, own) <= bound.amount, (one.path, node.path)


def allowed(one: Grant) -> set[str]:
    patterns = one.shape.models or ()
    universe = ("x", "xy", "xyz", "xz", "z", "q")
    return {m for m in universe for p in patterns if m == p or (p.endswith("*") and m.startswith(p[:-1]))}


def most_of(one: Grant, own: Limit) -> int:
    return own.amount + (one.overdraft.max_nanousd if one.overdraft and own.dimension == "usd" else 0)


def longest_of(nodes: list[Grant], dimension: str) -> int:
    return max([ORDER.index(b.period) for node in nodes for b in node.limits if b.dimension == dimension], default=-1)


def share(child: Grant, bound: Limit, longest: int, tree: list[Grant], now: datetime) -> int:
    """The most a child can spend in one period of the bound, by its own limits or those of its live children."""
    own = [one for one in child.limits if one.dimension == bound.dimension]
    rank = ORDER.index(bound.period)
    if not any(ORDER.index(one.period) <= rank or ORDER.index(one.period) > longest for one in own):
        below = [one for one in tree if one.parent_id == child.id and one.status in ("active", "suspended")]
        return sum(share(one, bound, longest, tree, now) for one in below if one.expires_at > now)
    figures = []
    for one in own:
        times = 1
        if one.period not in (bound.period, "once"):
            lived = len({bucket(child.starts_at + timedelta(days=d), one.period) for d in range(days_of(child))})
            most = MOST.get(bound.period, {}).get(one.period, lived if ORDER.index(one.period) < rank else 1)
            times = min(lived, most)
        figures.append(most_of(child, one) * times)
    return min(figures)


def days_of(one: Grant) -> int:
    """Calendar days (UTC) that the grant lives through."""
    return ((one.expires_at - timedelta(microseconds=1)).date() - one.starts_at.date()).days + 1


def bucket(instant: datetime, kind: str) -> tuple[int, ...]:
    """The name of the calendar period of an instant in UTC."""
    day = instant.astimezone(UTC).date()
    return {
        "day": (day.year, day.month, day.day),
        "week": tuple(day.isocalendar()[:2]),
        "month": (day.year, day.month),
        "quarter": (day.year, (day.month + 2) // 3),
    }[kind]


TestTreeWrites = TreeWrites.TestCase
# Shrinking a long history outlasts the time limit of a test; the failing one is printed as it was found.
TestTreeWrites.settings = settings(
    max_examples=80, stateful_step_count=40, phases=(Phase.explicit, Phase.reuse, Phase.generate)
)
