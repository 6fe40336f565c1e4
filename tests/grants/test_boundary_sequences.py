"""Random writes by people above, at and below boundaries; after each an independent look at what was handed out.

The checker shares no rule with the code. It knows one period, the month, in which a limit per day counts 31 times.
"""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from remit.grants.division import Part
from remit.grants.edits import GrantEdit, NewGrant
from remit.grants.manifest import Manifest, ManifestGrant
from remit.grants.model import Actor, Boundary, Delegation, Envelope, Grant, Limit, Shape
from remit.grants.plan import make_plan
from remit.grants.service import Answer, NotWritten, Written
from remit.grants.usage import Used
from tests.grants.builders import ADMIN, NOW, World, by
from tests.grants.test_tree_writes import check

MONTH = datetime(2026, 6, 1, tzinfo=UTC)
ANA, BO, CY, DI, EVE = (f"{name}@acme.example" for name in ("ana", "bo", "cy", "di", "eve"))
MAL = "mal@else.example"
MODELS = ("x", "xy", "xyz", "z")
STORED = ["a/b", "a/b/c", "a/b/c", "a/b/d", "a/b/d", "a/b/c/f", "a/b/e"]
FRESH = ["a/b/e", "a/b/k", "a/b/l", "a/b/c/g", "a/b/c/m", "a/b/d/h", "a/b/c/f/n"]
PAIRS = [("a/b/c", "a/b/d"), ("a/b/d", "a/b/c"), ("a/b/d", "a/b/e"), ("a/b/e", "a/b/c"), ("a/b/c", "a/b/c/f")]

amounts = st.one_of(st.sampled_from([0, 1, 20, 40, 41, 80, 100]), st.integers(0, 420))
months = amounts.map(lambda amount: (Limit("usd", amount, "month"),))
limits = months | months | amounts.map(lambda amount: (Limit("usd", amount // 31, "day"),))
models = st.none() | st.sampled_from([("x*",), ("xy",), ("z",), ("*",), ("xy*", "z")])
boundaries = st.none() | st.builds(
    Boundary,
    max_share_percent=st.none() | st.sampled_from([0, 20, 50, 100]),
    max_nanousd=st.none() | st.sampled_from([30, 90]),
    classes=st.none() | st.just(("experimentation",)),
    models=st.none() | st.sampled_from([("x*",), ("xy", "z")]),
    owners=st.none() | st.sampled_from([("*@acme.example",), (CY, DI)]),
    grace_hours=st.sampled_from([0, 24]),
    auto_approve=st.none() | st.builds(Envelope, max_renewals=st.integers(0, 2)),
)
values: dict[str, st.SearchStrategy[Any]] = {
    "owner": st.sampled_from([CY, DI, MAL]),
    "grant_class": st.sampled_from(["production", "experimentation"]),
    "limits": limits | st.just(()),
    "shape": st.builds(Shape, models=models),
    "delegation": st.builds(Delegation, boundary=boundaries, overcommit_percent=st.sampled_from([0, 50])),
    "expires_at": st.integers(1, 60).map(lambda days: NOW + timedelta(days=days)),
}
some = st.sets(st.sampled_from(sorted(values)), max_size=2).flatmap(
    lambda names: st.fixed_dictionaries({name: values[name] for name in sorted(names)})
)
stated = st.fixed_dictionaries(
    {
        "owner": st.sampled_from([CY, CY, DI, MAL]),
        "grant_class": st.sampled_from(["experimentation", "experimentation", "production"]),
        "limits": limits,
        "shape": st.builds(Shape, models=st.sampled_from([("xy",), ("xy",), ("x*",), ("z",), None])),
    }
)
people = st.sampled_from([ANA, BO, BO, CY, CY, DI])


class BoundarySequences(RuleBasedStateMachine):
    """`a` is ana's, `a/b` with a boundary bo's; cy and di hold what is below. Eve acts for ana where she is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.spent: dict[str, int] = {}
        self.last: list[Grant] = []
        first = Boundary(max_share_percent=20, owners=("*@acme.example",), models=("x*",), classes=("experimentation",))
        month = (Limit("usd", 400, "month"),)
        until = NOW + timedelta(days=90)
        self.accept(ADMIN, self.world.create("a", owner=ANA, expires_at=until, limits=(Limit("usd", 1000, "month"),)))
        self.accept(ADMIN, self.world.create("a/b", owner=BO, limits=month, delegation=Delegation(boundary=first)))
        lab: Any = {"grant_class": "experimentation", "shape": Shape(models=("xy",))}
        for path, owner, amount in (("a/b/c", CY, 60), ("a/b/d", DI, 80), ("a/b/c/f", DI, 10)):
            own = {**lab, "limits": (Limit("usd", amount, "month"),), "expires_at": NOW + timedelta(days=30)}
            self.accept(ADMIN, self.world.create(path, owner=owner, **own))

    def accept(self, actor: Actor, answer: Answer) -> Answer:
        before, self.last = self.last, list(self.world.tree())
        if isinstance(answer, NotWritten):
            assert self.last == before
        for grant in self.last:
            old = next((one for one in before if one.id == grant.id), None)
            if old != grant and grant.status != "revoked":
                self.judge(actor, before, old, grant)
        check(self.last, self.world.clock.now())
        return answer

    def judge(self, actor: Actor, before: list[Grant], old: Grant | None, new: Grant) -> None:
        """Nothing that this write handed out is outside a boundary that binds its author."""
        for holder in above(self.last, new)[:-1]:
            boundary = holder.delegation.boundary
            if boundary is None or not bound(before, holder, actor):
                continue
            anew = old is None or new.expires_at > old.expires_at or (new.status == "active" != old.status)
            if boundary.classes is not None and new.grant_class not in boundary.classes:
                assert not anew and old is not None and new.grant_class == old.grant_class
            if boundary.owners is not None and not any(covers(one, new.owner) for one in boundary.owners):
                assert not anew and old is not None and new.owner == old.owner
            if boundary.models is not None:
                outside = usable(self.last, new) - allowed(boundary.models)
                assert not outside or (not anew and old is not None and outside <= usable(before, old))
            most = self.most(holder, boundary)
            if most is not None and (now := monthly(self.last, holder, new)) > most:
                assert not anew and old is not None and now <= monthly(before, holder, old), (new.path, now, most)

    def most(self, holder: Grant, boundary: Boundary) -> int | None:
        figures = [] if boundary.max_nanousd is None else [boundary.max_nanousd]
        month = [one.amount for one in holder.limits if one.period == "month"]
        if boundary.max_share_percent is not None and month:
            left = max(0, month[0] - self.spent.get(holder.id, 0))
            figures.append(left * boundary.max_share_percent // 100)
        return min(figures) if figures and month else None

    @rule(
        path=st.sampled_from(STORED),
        own=stated,
        name=people,
        more=some,
        status=st.sampled_from(["active", "requested"]),
    )
    def create(self, path: str, own: dict[str, Any], name: str, more: dict[str, Any], status: Any) -> None:
        new = NewGrant(path=path, status=status, **{**own, **more})
        self.accept(Actor(name), self.world.service.create(new, by(Actor(name))))

    @rule(path=st.sampled_from(STORED), own=some, name=people)
    def change(self, path: str, own: dict[str, Any], name: str) -> None:
        self.accept(Actor(name), self.world.service.change(path, GrantEdit(**own), by(Actor(name))))

    @rule(path=st.sampled_from(STORED), own=some, place=st.sampled_from(["a", "a/b"]))
    def change_for_another(self, path: str, own: dict[str, Any], place: str) -> None:
        actor = Actor(EVE, acts_for=frozenset({next(one.id for one in self.last if one.path == place)}))
        self.accept(actor, self.world.service.change(path, GrantEdit(**own), by(actor)))

    @rule(path=st.sampled_from(STORED), verb=st.sampled_from(["activate", "suspend", "resume", "resume"]), name=people)
    def set_status(self, path: str, verb: str, name: str) -> None:
        self.accept(Actor(name), getattr(self.world.service, verb)(path, by(Actor(name))))

    @rule(path=st.sampled_from(STORED[1:]), days=st.integers(1, 80), name=people)
    def renew(self, path: str, days: int, name: str) -> None:
        until = self.world.clock.now() + timedelta(days=days)
        self.accept(Actor(name), self.world.service.renew(path, until, by(Actor(name))))

    @rule(
        path=st.sampled_from(STORED[:5]),
        sizes=st.lists(st.integers(0, 60), min_size=1, max_size=3),
        name=people,
        own=stated,
    )
    def split(self, path: str, sizes: list[int], name: str, own: dict[str, Any]) -> None:
        parts = [
            Part(
                name="opqr"[index],
                owner=own["owner"],
                percent=size if index else None,
                amount=None if index else size,
                grant_class=own["grant_class"],
                models=own["shape"].models,
            )
            for index, size in enumerate(sizes)
        ]
        now = self.world.clock.now()
        top = next((one for one in self.last if one.path == path), None)
        taken = sum(held(self.last, one, now) for one in self.last if top is not None and one.parent_id == top.id)
        answer = self.accept(Actor(name), self.world.service.split(path, parts, by(Actor(name))))
        if isinstance(answer, Written):
            assert top is not None
            free = max(0, top.limits[0].amount - taken)
            wanted = [size * free // 100 if index else size for index, size in enumerate(sizes)]
            assert [one.limits for one in answer.grants] == [(replace(top.limits[0], amount=one),) for one in wanted]

    @rule(pair=st.sampled_from(PAIRS), amount=st.integers(-1, 60), name=people)
    def transfer(self, pair: tuple[str, str], amount: int, name: str) -> None:
        total = sum(limit.amount for one in self.last for limit in one.limits)
        answer = self.world.service.transfer(*pair, "usd", "month", amount, by(Actor(name)))
        self.accept(Actor(name), answer)
        assert sum(limit.amount for one in self.last for limit in one.limits) == total
        if isinstance(answer, Written):
            given = answer.grants[0]
            assert amount > 0 and given.limits[0].amount >= self.spent.get(given.id, 0)

    @rule(path=st.sampled_from(STORED), name=people)
    def reclaim(self, path: str, name: str) -> None:
        answer = self.accept(Actor(name), self.world.service.reclaim(path, by(Actor(name))))
        if isinstance(answer, Written):
            before = [one.amount for one in answer.grant.limits if one.period == "month"]
            assert all(amount >= min(self.spent.get(answer.grant.id, 0), amount) for amount in before)

    @rule(nodes=st.dictionaries(st.sampled_from(["c", "d", "e"]), stated, max_size=3), name=people)
    def apply(self, nodes: dict[str, dict[str, Any]], name: str) -> None:
        top = next(one for one in self.last if one.path == "a/b")
        same = {field: getattr(top, field) for field in ("owner", "grant_class", "limits", "shape", "delegation")}
        grants = [ManifestGrant(path="a/b", expires=top.expires_at, **same)]
        grants += [ManifestGrant(path=f"a/b/{segment}", **own) for segment, own in sorted(nodes.items())]
        manifest = Manifest(tuple(grants), ("a/b",))
        plan = make_plan(manifest, self.world.tree(), self.world.clock.now())
        self.accept(Actor(name), self.world.service.apply(plan, by(Actor(name))))

    @rule(path=st.sampled_from(["a", "a/b", "a/b/c"]), amount=st.integers(0, 200))
    def spend(self, path: str, amount: int) -> None:
        grant = next((one for one in self.last if one.path == path), None)
        if grant is not None:
            self.spent[grant.id] = amount
            own: Any = {"grant_id": grant.id, "dimension": "usd", "period": "month", "starts_at": MONTH}
            self.world.repository.use(Used(**own, posted=amount // 3, held=amount - amount // 3))

    @rule()
    def a_day_passes(self) -> None:
        if self.world.clock.now() + timedelta(days=1) < datetime(2026, 7, 1, tzinfo=UTC):
            self.world.clock.pass_days(1)


def above(tree: list[Grant], one: Grant) -> list[Grant]:
    """From the root down to the grant itself."""
    parent = next((node for node in tree if node.id == one.parent_id), None)
    return [one] if parent is None else [*above(tree, parent), one]


def bound(before: list[Grant], holder: Grant, actor: Actor) -> bool:
    """Nobody is bound who owns something above the holder, or acts for somebody who does."""
    stored = {one.id: one for one in before}
    over = (
        [stored[one.id] for one in above(before, stored[holder.id])[:-1]] if holder.id in stored else [*stored.values()]
    )
    return not actor.is_admin and not any(one.owner == actor.name or one.id in actor.acts_for for one in over)


def covers(pattern: str, owner: str) -> bool:
    return owner.partition("@")[2] == pattern[2:] if pattern.startswith("*@") else owner == pattern


def allowed(patterns: tuple[str, ...] | None) -> set[str]:
    if patterns is None:
        return {*MODELS, "any"}
    return {
        one for one in (*MODELS, "any") for p in patterns if one == p or (p.endswith("*") and one.startswith(p[:-1]))
    }


def usable(tree: list[Grant], one: Grant) -> set[str]:
    return set.intersection(*(allowed(node.shape.models) for node in above(tree, one)))


def monthly(tree: list[Grant], holder: Grant, one: Grant) -> float:
    """The most a grant can spend in a month, by itself or what stands between it and the holder."""
    path = above(tree, one)
    between = path[[node.id for node in path].index(holder.id) + 1 :]
    return min((figure(node, limit) for node in between for limit in node.limits), default=float("inf"))


def figure(node: Grant, limit: Limit) -> int:
    """What a limit comes to in a month; a grant that lives shorter counts its own days."""
    days = ((node.expires_at - timedelta(microseconds=1)).date() - node.starts_at.date()).days + 1
    return limit.amount * min(31, days) if limit.period == "day" else limit.amount


def held(tree: list[Grant], one: Grant, now: datetime) -> int:
    """What a child holds of its parent; without a limit, what its own children hold."""
    if one.status not in ("active", "suspended") or one.expires_at <= now:
        return 0
    if one.limits:
        return min(figure(one, limit) for limit in one.limits)
    return sum(held(tree, node, now) for node in tree if node.parent_id == one.id)


TestBoundarySequences = BoundarySequences.TestCase
# Shrinking a long history outlasts the time limit of a test; the failing one is printed as it was found.
TestBoundarySequences.settings = settings(
    max_examples=60, stateful_step_count=40, phases=(Phase.explicit, Phase.reuse, Phase.generate)
)
