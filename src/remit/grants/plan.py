"""From a manifest and the stored tree to the steps between them, judged as a whole.

All steps are carried out in one unit of work, so no other reader or writer ever sees a tree between two of them,
and only the end state is judged. The steps are nevertheless ordered so that authority is given back before it is
handed out: revocations, then changes that only lower (children first), then the others (parents first), then
new grants (parents first).
"""

from collections.abc import Callable
from dataclasses import dataclass, fields
from datetime import UTC, date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from remit.grants.edits import GrantEdit, NewGrant, apply_edit, resolve_new, root_problem
from remit.grants.fields import zone_problem
from remit.grants.manifest import Manifest, ManifestGrant
from remit.grants.model import Grant, Problem, parent_path_of
from remit.grants.permissions import raised_fields
from remit.grants.rules import state_problems
from remit.grants.tree import Tree
from remit.kernel.decisions import GrantClass


@dataclass(frozen=True, slots=True)
class Difference:
    """One model field of a grant, before and after."""

    field: str
    old: Any
    new: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedChange:
    """The edit of one stored grant, for the revision it was planned on."""

    grant_id: str
    path: str
    revision: int
    edit: GrantEdit
    differences: tuple[Difference, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The steps from the stored tree to the manifest, in the order they are carried out, and what forbids them.

    `orphans` stand in the tree below a path the file speaks for, but not in the file; only with `prune` are the
    highest of them revoked (`revokes`), and everything below them dies with them.
    """

    manifest: Manifest
    prune: bool
    creates: tuple[NewGrant, ...]
    changes: tuple[PlannedChange, ...]
    revokes: tuple[Grant, ...]
    orphans: tuple[Grant, ...]
    unchanged: tuple[str, ...]
    problems: tuple[Problem, ...]

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to do."""
        return not (self.creates or self.changes or self.revokes)

    def body(self) -> dict[str, Any]:
        """The steps as JSON-able data; two plans with equal bodies do the same."""
        return {
            "creates": [one.body() for one in self.creates],
            "changes": [
                {"grant": one.grant_id, "revision": one.revision, "edit": one.edit.body()} for one in self.changes
            ],
            "revokes": [{"grant": one.id, "revision": one.revision} for one in self.revokes],
        }


def make_plan(manifest: Manifest, tree: Tree, now: datetime, *, prune: bool = False) -> Plan:
    """The plan for a tree at an instant. Its problems, if any, say why it cannot be carried out."""
    creates: list[NewGrant] = []
    changes: list[PlannedChange] = []
    unchanged: list[str] = []
    problems: list[Problem] = []
    wanted: dict[str, NewGrant] = {}
    for node in manifest.grants:
        resolved = _resolve(node, wanted, tree)
        if isinstance(resolved, Problem):
            problems.append(resolved)
            continue
        wanted[node.path] = resolved
        stored = tree.at_path(node.path)
        if stored is None:
            creates.append(resolved)
        elif change := _change(stored, resolved):
            changes.append(change)
        else:
            unchanged.append(node.path)
    orphans = _orphans(manifest, tree)
    plan = Plan(
        manifest=manifest,
        prune=prune,
        creates=tuple(creates),
        changes=_ordered(changes, tree, now),
        revokes=_highest(orphans) if prune else (),
        orphans=orphans,
        unchanged=tuple(unchanged),
        problems=tuple(problems),
    )
    return plan if problems else _judged(plan, tree, now)


def written_grants(plan: Plan, tree: Tree, make_id: Callable[[datetime], str], now: datetime) -> list[Grant] | Problem:
    """Every grant as the plan leaves it, in the order of the steps."""
    grants = [tree[one.id].revoked() for one in plan.revokes]
    grants += [apply_edit(tree[change.grant_id], change.edit, now) for change in plan.changes]
    known = {grant.path: grant for grant in grants}
    for new in plan.creates:
        parent_path = parent_path_of(new.path)
        parent = None if parent_path is None else known.get(parent_path) or tree.at_path(parent_path)
        grant = resolve_new(new, parent, make_id(now), now)
        if isinstance(grant, Problem):
            return grant
        known[grant.path] = grant
        grants.append(grant)
    return grants


def _judged(plan: Plan, tree: Tree, now: datetime) -> Plan:
    numbers = iter(range(len(plan.creates) + 1))
    grants = written_grants(plan, tree, lambda _: f"planned_{next(numbers)}", now)
    problems = [grants] if isinstance(grants, Problem) else state_problems(tree, grants, now)
    gone = [_gone(path, tree) for path in plan.unchanged]
    return _with_problems(plan, [*(one for one in gone if one is not None), *problems])


def _with_problems(plan: Plan, problems: list[Problem]) -> Plan:
    own = {one.name: getattr(plan, one.name) for one in fields(plan)}
    return Plan(**own | {"problems": tuple(problems)})


def _gone(path: str, tree: Tree) -> Problem | None:
    """A grant that stands in the file as it does in the tree, but is dead for good."""
    stored = tree.at_path(path)
    assert stored is not None
    for node in tree.path_to(stored):
        if node.status == "revoked":
            detail = f"`{path}` stands in the file, and `{node.path}` is revoked, which is final"
            return Problem(code="grant_revoked", path=path, detail=detail)
    return None


def _resolve(node: ManifestGrant, wanted: dict[str, NewGrant], tree: Tree) -> NewGrant | Problem:
    """The node with its parent's class, time zone and expiry where it states none, and dates turned into instants."""
    parent_path = parent_path_of(node.path)
    parent: NewGrant | Grant | None = None
    if parent_path is not None:
        parent = wanted.get(parent_path) or tree.at_path(parent_path)
        if parent is None:
            detail = f"`{node.path}` has no parent: `{parent_path}` is neither in the file nor stored"
            return Problem(code="parent_unknown", path=node.path, field="path", detail=detail)
    zone = node.time_zone or (parent.time_zone if parent else None) or "UTC"
    wrong = zone_problem(zone)
    if wrong:
        return Problem(code="time_zone_invalid", path=node.path, field="time_zone", detail=f"{wrong} in `{node.path}`")
    grant_class: GrantClass | None = node.grant_class or (parent.grant_class if parent else None)
    expires_at = _instant(node.expires, zone) if node.expires else (parent.expires_at if parent else None)
    if grant_class is None or expires_at is None:
        return root_problem(node.path, {"class": grant_class, "expires": expires_at})
    own = {one.name: getattr(node, one.name) for one in fields(node) if one.name not in ("starts", "expires")}
    resolved = {
        "time_zone": zone,
        "grant_class": grant_class,
        "starts_at": _instant(node.starts, zone) if node.starts else None,
        "expires_at": expires_at,
    }
    return NewGrant(**own | resolved)


def _instant(moment: date | datetime, zone: str) -> datetime:
    """An instant as it is; a date as the first instant of that local day."""
    if isinstance(moment, datetime):
        return moment.astimezone(UTC)
    return datetime(moment.year, moment.month, moment.day, tzinfo=ZoneInfo(zone)).astimezone(UTC)


def _change(stored: Grant, wanted: NewGrant) -> PlannedChange | None:
    """The edit that makes the stored grant what the file says; a start the file leaves out stays."""
    differences = []
    for one in fields(GrantEdit):
        old, new = getattr(stored, one.name), getattr(wanted, one.name)
        if old != new and not (one.name == "starts_at" and new is None):
            differences.append(Difference(one.name, old, new))
    if not differences:
        return None
    return PlannedChange(
        grant_id=stored.id,
        path=stored.path,
        revision=stored.revision,
        edit=GrantEdit(**{one.field: one.new for one in differences}),
        differences=tuple(differences),
    )


def _ordered(changes: list[PlannedChange], tree: Tree, now: datetime) -> tuple[PlannedChange, ...]:
    """Pure lowering first, children before parents; then the rest, parents before children."""
    lowers: list[PlannedChange] = []
    raises: list[PlannedChange] = []
    for change in changes:
        stored = tree[change.grant_id]
        (raises if raised_fields(stored, apply_edit(stored, change.edit, now)) else lowers).append(change)
    return (*reversed(lowers), *raises)


def _orphans(manifest: Manifest, tree: Tree) -> tuple[Grant, ...]:
    paths = {one.path for one in manifest.grants}
    found = []
    for top in manifest.tops:
        stack = [tree.at_path(top)]
        while stack:
            grant = stack.pop()
            if grant is None or grant.status == "revoked":
                continue
            if grant.path not in paths:
                found.append(grant)
            stack.extend(tree.children(grant.id))
    return tuple(sorted(found, key=lambda one: one.path.split("/")))


def _highest(orphans: tuple[Grant, ...]) -> tuple[Grant, ...]:
    ids = {one.id for one in orphans}
    return tuple(one for one in orphans if one.parent_id not in ids)
