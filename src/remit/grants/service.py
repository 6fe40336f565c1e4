"""Every write to the grant tree: load, judge by the rules, save, remember, in one unit of work."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

from remit.grants.division import Part, giver_of, moved_limit, reclaimed, split_grants
from remit.grants.edits import GrantEdit, NewGrant, apply_edit, is_later, resolve_new
from remit.grants.fields import field_problems
from remit.grants.leaving import owned_by
from remit.grants.model import Actor, Grant, GrantStatus, Limit, Problem, Revision, parent_path_of, same_person
from remit.grants.outside import ReadUsage, boundary_problems
from remit.grants.permissions import may_change, may_create
from remit.grants.plan import Plan, make_plan, written_grants
from remit.grants.ports import GrantReads, GrantRepository, GrantUnit, Remembered, Said
from remit.grants.rules import change_problems, state_problems
from remit.grants.serialise import format_instant, from_body, to_body, to_plain
from remit.grants.tree import Tree
from remit.grants.usage import Usage
from remit.grants.vocabulary import scope_problems
from remit.kernel.clock import Clock
from remit.kernel.decisions import Dimension
from remit.kernel.ids import new_id
from remit.kernel.periods import PeriodKind

_MAX_REASON = 2_000
_MAX_KEY = 200
# What the audit calls an operation where that is another word than requests are remembered by.
_CALLED = {"change": "edit", "expire_due": "expire", "hand_over": "hand over"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Authorship:
    """Who writes, why, and the key under which a repeated call gets the first answer."""

    actor: Actor
    reason: str
    idempotency_key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """The write stands. `grants` are the written grants as they were at that moment.

    `replayed` tells that an earlier call under the same key did it.
    """

    grants: tuple[Grant, ...]
    replayed: bool = False

    @property
    def grant(self) -> Grant:
        """The one grant of a write that concerns one."""
        (grant,) = self.grants
        return grant


@dataclass(frozen=True, slots=True)
class NotWritten:
    """Nothing was written, for these reasons. The idempotency key stays free."""

    problems: tuple[Problem, ...]


Answer = Written | NotWritten
_Decision = list[Grant] | list[Problem]
_Decide = Callable[[Tree, datetime, ReadUsage], _Decision]


class GrantService:
    """The one way to write the tree, for the command line, the API and the ticket effects alike."""

    def __init__(
        self,
        repository: GrantRepository,
        clock: Clock,
        make_id: Callable[[datetime], str] = lambda now: new_id("grant", now),
    ) -> None:
        self._repository = repository
        self._clock = clock
        self._make_id = make_id

    def create(self, new: NewGrant, by: Authorship) -> Answer:
        """Create an active grant, or a requested one, below its parent."""

        def decide(tree: Tree, now: datetime, read: ReadUsage) -> _Decision:
            if new.status not in ("active", "requested"):
                detail = f"a grant begins active or requested, not {new.status}"
                return [Problem(code="status_not_allowed", path=new.path, field="status", detail=detail)]
            parent_path = parent_path_of(new.path)
            parent = None if parent_path is None else tree.at_path(parent_path)
            grant = resolve_new(new, parent, self._make_id(now), now)
            if isinstance(grant, Problem):
                return [grant]
            return self._judge(tree, [grant], by.actor, now, read) or [grant]

        return self._write(by, {"operation": "create", **new.body()}, decide)

    def change(self, grant_ref: str, edit: GrantEdit, by: Authorship, expected_revision: int | None = None) -> Answer:
        """Give some fields new values. With an expected revision, another stored one is a problem."""

        def decide(tree: Tree, now: datetime, read: ReadUsage) -> _Decision:
            old = tree.find(grant_ref)
            if old is None:
                return [_unknown(grant_ref)]
            if expected_revision not in (None, old.revision):
                detail = f"`{old.path}` is at revision {old.revision}, not {expected_revision}"
                return [Problem(code="revision_conflict", path=old.path, detail=detail)]
            new = apply_edit(old, edit, now)
            return self._judge(tree, [new], by.actor, now, read) or [new]

        body = {"operation": "change", "grant": grant_ref, "expected_revision": expected_revision, **edit.body()}
        return self._write(by, body, decide)

    def problems_of(self, grant_ref: str, edit: GrantEdit, actor: Actor) -> list[Problem]:
        """Why this person could not make this change now; empty where they could. Reads only."""
        with self._repository.read() as reads:
            now, tree = self._clock.now(), Tree(reads.load_tree())
            old = tree.find(grant_ref)
            if old is None:
                return [_unknown(grant_ref)]
            new = apply_edit(old, edit, now)
            judged = self._judge(tree, [new], actor, now, lambda ids: Usage(reads.used(ids, now), now))
            return judged or [*owner_problems(reads, tree, [new], now), *scope_problems(reads, tree, [new])]

    def renew(self, grant_ref: str, expires_at: datetime, by: Authorship) -> Answer:
        """Move the expiry later; an expired grant becomes active again."""

        def decide(tree: Tree, now: datetime, read: ReadUsage) -> _Decision:
            old = tree.find(grant_ref)
            if old is None:
                return [_unknown(grant_ref)]
            if not is_later(expires_at, max(old.expires_at, now)):
                detail = f"`{old.path}` expires at {format_instant(old.expires_at)}: a renewal is later than that and than now"
                return [Problem(code="expiry_not_later", path=old.path, field="expires_at", detail=detail)]
            new = apply_edit(old, GrantEdit(expires_at=expires_at), now)
            return self._judge(tree, [new], by.actor, now, read) or [new]

        body = {"operation": "renew", "grant": grant_ref, "expires_at": format_instant(expires_at)}
        return self._write(by, body, decide)

    def activate(self, grant_ref: str, by: Authorship) -> Answer:
        """Make a requested grant active; from here on it holds a part of its parent's authority."""
        return self._set_status("activate", grant_ref, {"requested"}, "active", by)

    def suspend(self, grant_ref: str, by: Authorship) -> Answer:
        """Stop spending at once, reversibly. The grant keeps its part of its parent's authority."""
        return self._set_status("suspend", grant_ref, {"active"}, "suspended", by)

    def resume(self, grant_ref: str, by: Authorship) -> Answer:
        """Make a suspended grant active again."""
        return self._set_status("resume", grant_ref, {"suspended"}, "active", by)

    def revoke(self, grant_ref: str, by: Authorship) -> Answer:
        """End a grant for good and, without touching them, everything below it: the epoch rises."""
        return self._set_status("revoke", grant_ref, {"requested", "active", "suspended", "expired"}, "revoked", by)

    def transfer(  # noqa: PLR0917 - one parameter per part of the move
        self, source: str, target: str, dimension: Dimension, period: PeriodKind, amount: int, by: Authorship
    ) -> Answer:
        """Move a part of one grant's limit, unspent in its present period, to a sibling's limit of the same period.

        It takes the owner of something above both, or the source's own owner where the sibling is no wider than the source.
        """

        def decide(tree: Tree, now: datetime, read: ReadUsage) -> _Decision:
            moved = moved_limit(tree, source, target, Limit(dimension, amount, period), read)
            if isinstance(moved, Problem):
                return [moved]
            giver = giver_of(by.actor, tree[moved[0].id], tree[moved[1].id])
            return self._judge(tree, list(moved), giver, now, read) or list(moved)

        body = {"operation": "transfer", "source": source, "target": target}
        return self._write(by, {**body, "dimension": dimension, "period": period, "amount": amount}, decide)

    def reclaim(self, grant_ref: str, by: Authorship, part: Limit | None = None) -> Answer:
        """Take back what a grant has neither used nor handed on: of every limit, or an amount of one.

        What is lowered is its parent's again at once; calls under way are settled.
        """

        def decide(tree: Tree, now: datetime, read: ReadUsage) -> _Decision:
            old = tree.find(grant_ref)
            if old is None:
                return [_unknown(grant_ref)]
            new = reclaimed(tree, old, part, read([old.id]), now)
            if isinstance(new, Problem):
                return may_change(tree, by.actor, old, old) or [new]
            return self._judge(tree, [new], by.actor, now, read) or [new]

        body = {"operation": "reclaim", "grant": grant_ref, "part": None if part is None else to_plain(asdict(part))}
        return self._write(by, body, decide)

    def split(self, grant_ref: str, parts: Sequence[Part], by: Authorship, period: PeriodKind | None = None) -> Answer:
        """Several grants below one, all of them or none, from amounts or from shares of what is not handed out yet.

        They divide the usd limit of that period; it may be left out where the grant has one usd limit.
        """

        def decide(tree: Tree, now: datetime, read: ReadUsage) -> _Decision:
            parent = tree.find(grant_ref)
            if parent is None:
                return [_unknown(grant_ref)]
            made = split_grants(tree, parent, parts, period, self._make_id, now)
            if isinstance(made, Problem):
                return [made]
            return self._judge(tree, made, by.actor, now, read) or list[Grant](made)

        body = {"operation": "split", "grant": grant_ref, "parts": [part.body() for part in parts], "period": period}
        return self._write(by, body, decide)

    def hand_over(self, leaver: str, successor: str, by: Authorship) -> Answer:
        """Give what a person owns, and what is alive or requested, to another: a revision for each grant.

        What cannot change owner by the rules stays as it is; compare the written grants with `leaving.owned_by`.
        """

        def decide(tree: Tree, now: datetime, read: ReadUsage) -> _Decision:
            moved = []
            for old in owned_by(tree, leaver, now):
                new = replace(old, owner=successor, revision=old.revision + 1)
                if not self._judge(tree, [new], by.actor, now, read):
                    moved.append(new)
            return moved

        return self._write(by, {"operation": "hand_over", "leaver": leaver, "successor": successor}, decide)

    def expire_due(self, by: Authorship) -> Answer:
        """Give the status `expired` to every active grant past its expiry; they stopped spending at that instant already.

        A suspended one stays suspended: its time is up as well, and a later expiry must not undo what somebody stopped.
        """

        def decide(tree: Tree, now: datetime, _read: ReadUsage) -> _Decision:
            due = [one for one in tree if one.status == "active" and not one.is_live(now)]
            due = [one for one in due if not change_problems(tree, one)]
            grants = [replace(one, status="expired", revision=one.revision + 1) for one in due]
            problems = [problem for one in grants for problem in may_change(tree, by.actor, tree[one.id], one)]
            return problems or grants

        return self._write(by, {"operation": "expire_due"}, decide)

    def apply(self, plan: Plan, by: Authorship) -> Answer:
        """Carry out a plan, all of it or nothing; a plan made for another tree than the stored one is a problem."""

        def decide(tree: Tree, now: datetime, read: ReadUsage) -> _Decision:
            fresh = make_plan(plan.manifest, tree, now, prune=plan.prune)
            if fresh.problems:
                return list(fresh.problems)
            if fresh.body() != plan.body():
                detail = "the tree has changed since the plan was made; plan again"
                return [Problem(code="plan_stale", path="", detail=detail)]
            grants = written_grants(fresh, tree, self._make_id, now)
            if isinstance(grants, Problem):
                return [grants]
            return self._judge(tree, grants, by.actor, now, read) or grants

        return self._write(by, {"operation": "apply", "plan": plan.body()}, decide)

    def _judge(self, tree: Tree, grants: list[Grant], actor: Actor, now: datetime, read: ReadUsage) -> list[Problem]:
        """All problems of writing these grants together: first permission, then the rules."""
        problems: list[Problem] = [problem for grant in grants for problem in field_problems(grant)]
        if problems:
            return problems
        known = {grant.id: grant for grant in grants}
        for grant in grants:
            old = tree.find(grant.id)
            if old is not None:
                problems += may_change(tree, actor, old, grant)
                continue
            # A new grant may stand below another new one, down to the first that is stored.
            above = grant
            while above.parent_id in known and tree.find(above.parent_id) is None:
                above = known[above.parent_id]
            problems += may_create(tree, actor, above)
        return problems or state_problems(tree, grants, now) or boundary_problems(tree, grants, actor, read)

    def _set_status(
        self, verb: str, grant_ref: str, start: set[GrantStatus], end: GrantStatus, by: Authorship
    ) -> Answer:
        def decide(tree: Tree, now: datetime, read: ReadUsage) -> _Decision:
            old = tree.find(grant_ref)
            if old is None:
                return [_unknown(grant_ref)]
            if old.status == end:
                return may_change(tree, by.actor, old, old) or [old]
            if old.status not in start:
                detail = f"`{old.path}` is {old.status}, which cannot become {end}"
                return [Problem(code="status_not_allowed", path=old.path, field="status", detail=detail)]
            new = old.revoked() if end == "revoked" else replace(old, status=end, revision=old.revision + 1)
            if end == "active":
                return self._judge(tree, [new], by.actor, now, read) or [new]
            # Giving authority back breaks no rule, so not even a grant in disorder can withstand it.
            return may_change(tree, by.actor, old, new) or change_problems(tree, old) or [new]

        return self._write(by, {"operation": verb, "grant": grant_ref}, decide)

    def _write(self, by: Authorship, request: Mapping[str, Any], decide: _Decide) -> Answer:
        wrong = authorship_problems(by)
        if wrong:
            return NotWritten(tuple(wrong))
        body = {**request, "reason": by.reason, "actor": by.actor.name}
        with self._repository.write(self._said(by, request)) as unit:
            first = unit.remembered(by.idempotency_key)
            if first is not None:
                return _first_answer(first, body)
            now = self._clock.now()
            tree = Tree(unit.load_tree())
            decided = decide(tree, now, lambda ids: Usage(unit.used(ids, now), now))
            problems = [one for one in decided if isinstance(one, Problem)]
            grants = tuple(one for one in decided if isinstance(one, Grant))
            problems += [*owner_problems(unit, tree, grants, now), *scope_problems(unit, tree, grants)]
            if problems:
                about = next((request[name] for name in ("grant", "path", "source") if name in request), None)
                unit.refused(about, problems)
                return NotWritten(tuple(problems))
            for grant in grants:
                _save(unit, tree.find(grant.id), grant, by, now)
            answer = {"grants": [to_body(grant) for grant in grants]}
            unit.remember(Remembered(key=by.idempotency_key, body=body, answer=answer))
            return Written(grants=grants)

    def _said(self, by: Authorship, request: Mapping[str, Any]) -> Said:
        return Said(
            at=self._clock.now(),
            actor=by.actor.name,
            operation=f"grant {_CALLED.get(request['operation'], request['operation'])}",
            reason=by.reason,
            request_key=by.idempotency_key,
        )


def owner_problems(reads: GrantReads, tree: Tree, grants: Sequence[Grant], now: datetime) -> list[Problem]:
    """Who left is made owner of nothing, on any path: by a new owner, a new grant, or one that comes to life."""
    taken = []
    for grant in grants:
        old = tree.find(grant.id)
        revived = old is not None and grant.is_live(now) and not old.is_live(now)
        if old is None or revived or not same_person(old.owner, grant.owner):
            taken.append(grant)
    left = reads.left([grant.owner for grant in taken]) if taken else frozenset()
    return [
        Problem(
            code="owner_left",
            path=grant.path,
            field="owner",
            detail=f"`{grant.path}` would belong to `{grant.owner}`, who left",
        )
        for grant in taken
        if grant.owner.casefold() in left
    ]


def _save(unit: GrantUnit, old: Grant | None, grant: Grant, by: Authorship, now: datetime) -> None:
    if old == grant:
        return
    revision = Revision(
        grant_id=grant.id,
        revision=grant.revision,
        body=to_body(grant),
        changed_at=now,
        changed_by=by.actor.name,
        reason=by.reason,
        idempotency_key=by.idempotency_key,
    )
    if old is None:
        assert grant.revision == 1
        unit.insert(grant, revision)
    else:
        assert grant.revision == old.revision + 1
        unit.update(grant, old.revision, revision)


def _first_answer(first: Remembered, body: Mapping[str, Any]) -> Answer:
    """The remembered answer, or which field of the request differs from the remembered one."""
    conflict = first.conflict(body)
    if conflict is not None:
        return NotWritten((conflict,))
    return Written(grants=tuple(from_body(one) for one in first.answer["grants"]), replayed=True)


def authorship_problems(by: Authorship) -> list[Problem]:
    """What is missing of who, why and under which key; empty for a write that says it all."""
    problems = []
    if not by.reason.strip() or len(by.reason) > _MAX_REASON:
        detail = f"a write needs a reason of at most {_MAX_REASON} characters"
        problems.append(Problem(code="reason_missing", path="", field="reason", detail=detail))
    # Who reads a history reads it on a terminal, which obeys what is in there.
    for name, text in (("reason", by.reason), ("actor", by.actor.name), ("idempotency_key", by.idempotency_key)):
        if not text.isprintable():
            detail = f"the {name.replace('_', ' ')} holds a control character or a line break"
            problems.append(Problem(code=f"{name}_invalid", path="", field=name, detail=detail))
    if not by.idempotency_key.strip() or len(by.idempotency_key) > _MAX_KEY:
        detail = f"a write needs an idempotency key of at most {_MAX_KEY} characters"
        problems.append(Problem(code="idempotency_key_missing", path="", field="idempotency_key", detail=detail))
    return problems


def _unknown(grant_ref: str) -> Problem:
    return Problem(code="grant_unknown", path=grant_ref, detail=f"there is no grant `{grant_ref}`")
