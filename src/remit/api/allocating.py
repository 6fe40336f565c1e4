"""Rules that divide shared cost: who may write and post them, and posting what they come to, once for each month."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime

from remit.grants.model import Actor, Problem, same_person
from remit.grants.roles import may
from remit.grants.tree import Tree
from remit.grants.vocabulary import first_not_allowed, governing, not_allowed_text
from remit.kernel.clock import Clock
from remit.kernel.names import PERSON_NAME
from remit.ledger.accounting import Transfer, moved_by_grant
from remit.ledger.allocate import CostRule, Method, NotDivided, Target, Use, rule_problems, transfer_of
from remit.renewals.conflicts import relieved_people, why_barred
from remit.store.authored import Source as Door
from remit.store.postgres_cost_rules import PostgresCostRules
from remit.store.postgres_writes import WriteUnit


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleTerms:
    """What a rule is to be. The `grant_id` of a target is an id or a path."""

    owner: str
    description: str
    source: Mapping[str, Sequence[str]]
    method: Method
    use: Use | None = None
    targets: Sequence[Target] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Allocated:
    """What a rule moves, or moved, of a month; `transfer` is None where nothing was left to move.

    `booked_in` is the month it is booked in, which is a later one where the books of `month` are closed.
    """

    rule: CostRule
    month: date
    booked_in: date
    transfer: Transfer | None
    entry_ids: tuple[str, ...] = ()


class AllocatingService:
    """The one way to write rules and to post what they come to, inside one write."""

    def __init__(self, unit: WriteUnit, clock: Clock, door: Door) -> None:
        self._unit = unit
        self._store = unit.cost_rules
        self._clock = clock
        self._door: Door = door

    def set(
        self, name: str, terms: RuleTerms, actor: Actor, reason: str, expected_revision: int | None = None
    ) -> CostRule | Problem:
        """Writes a rule, or its next revision. The same again changes nothing."""
        if problem := _not_permitted(actor, name):
            return problem
        old = self._store.find(name)
        tree = self._unit.tree()
        targets = []
        for one in terms.targets:
            grant = None if one.grant_id is None else tree.find(one.grant_id)
            if one.grant_id is not None and grant is None:
                detail = f"there is no grant `{one.grant_id}`"
                return Problem(code="grant_unknown", path=one.grant_id, detail=detail, field="targets")
            targets.append(replace(one, grant_id=None if grant is None else grant.id, tags=dict(one.tags)))
        new = CostRule(
            name=name,
            revision=1 if old is None else old.revision + 1,
            owner=terms.owner,
            description=terms.description,
            source={key: tuple(values) for key, values in terms.source.items()},
            method=terms.method,
            use=None
            if terms.use is None
            else replace(terms.use, only={k: tuple(v) for k, v in terms.use.only.items()}),
            targets=tuple(targets),
            written_by=actor.name,
        )
        if problem := _at_revision(name, old, expected_revision) or self._problem(new, tree):
            return problem
        if old is not None and _plain(old) == _plain(new):
            return old
        self._store.put(new, self._clock.now(), actor.name, reason)
        return new

    def retire(self, name: str, actor: Actor, reason: str, expected_revision: int | None = None) -> CostRule | Problem:
        """Ends a rule: it is posted no more. What it moved stays moved."""
        if problem := _not_permitted(actor, name):
            return problem
        old = self._store.find(name)
        if old is None or old.is_retired:
            return unknown_rule(name)
        if problem := _at_revision(name, old, expected_revision):
            return problem
        new = replace(old, revision=old.revision + 1, is_retired=True, written_by=actor.name, agreed_by=None)
        self._store.put(new, self._clock.now(), actor.name, reason)
        return new

    def post(self, name: str, month: date, actor: Actor, reason: str) -> Allocated | Problem:
        """Posts what the rule still has to move in a month; where that is nothing, nothing is posted.

        Nobody posts what they, or whom they stand in for, are charged less by; and a revision is first posted by somebody who did
        not write it, who thereby agrees to it.
        """
        if problem := _not_permitted(actor, name):
            return problem
        found = preview(self._store, name, month)
        if isinstance(found, Problem) or found.transfer is None:
            return found
        transfer = found.transfer
        if problem := self._alone(found.rule, transfer, actor):
            return problem
        if found.rule.agreed_by is None:
            self._store.agree(found.rule, self._clock.now(), actor.name, reason)
            found = replace(found, rule=replace(found.rule, agreed_by=actor.name))
        key = f"allocate {transfer.id}"
        posted = self._unit.accounting(self._clock).post(
            [transfer], by=actor.name, reason=reason, key=key, source=self._door
        )
        if isinstance(posted, Problem):
            return posted
        assert not posted.is_repeated, "the run's number is new"
        return replace(found, entry_ids=posted.entry_ids)

    def _alone(self, rule: CostRule, transfer: Transfer, actor: Actor) -> Problem | None:
        """Why this is not theirs to post, or not theirs alone."""
        people = self._unit.standing(self._clock)
        barred = relieved_people(self._unit.tree(), moved_by_grant(transfer), people, self._clock.now())
        if why := why_barred(actor.name, barred):
            detail = f"`{actor.name}` may not post this: {why}; somebody else of finance has to"
            return Problem(code="relieves_yourself", path=rule.name, detail=detail)
        if rule.agreed_by is None and same_person(rule.written_by, actor.name):
            detail = (
                f"`{actor.name}` wrote revision {rule.revision} of `{rule.name}`, and what is booked takes two people: somebody"
                " else of finance posts it first"
            )
            return Problem(code="second_person_needed", path=rule.name, detail=detail)
        return None

    def _problem(self, rule: CostRule, tree: Tree) -> Problem | None:
        wrong = next(iter(rule_problems(rule)), None)
        if wrong is not None:
            return _problem(rule.name, wrong)
        if not PERSON_NAME.fullmatch(rule.owner):
            detail = f"`{rule.owner[:80]}` is no e-mail address of a person"
            return Problem(code="owner_invalid", path=rule.name, detail=detail, field="owner")
        if rule.owner.casefold() in self._unit.roster.left([rule.owner]):
            detail = f"`{rule.name}` would be answered for by `{rule.owner}`, who left"
            return Problem(code="owner_left", path=rule.name, detail=detail, field="owner")
        tags = self._unit.vocabulary.all()
        for one in rule.targets:
            path = () if one.grant_id is None else tree.path_to(tree[one.grant_id])
            said = first_not_allowed(governing(tags, {node.id for node in path}), [one.tags])
            if said is not None:
                detail = not_allowed_text(*said)
                return Problem(code="tag_value_not_allowed", path=rule.name, detail=detail, field="targets")
        return None


def preview(store: PostgresCostRules, name: str, month: date) -> Allocated | Problem:
    """What a rule would move of a month now."""
    rule = store.find(name)
    if rule is None or rule.is_retired:
        return unknown_rule(name)
    found = transfer_of(rule, store.facts(rule, month))
    if isinstance(found, NotDivided):
        return _problem(name, found)
    booked = store.booked_in(datetime(month.year, month.month, 1, tzinfo=UTC))
    return Allocated(rule=rule, month=month, booked_in=booked, transfer=found)


def unknown_rule(name: str) -> Problem:
    """What is said of a rule that does not exist, or is retired."""
    return Problem(code="unknown_cost_rule", path=name[:80], detail=f"there is no cost rule `{name[:80]}`")


def _not_permitted(actor: Actor, name: str) -> Problem | None:
    # Owning what a rule takes from or gives to is no right to it.
    if may(actor, "allocate"):
        return None
    detail = f"`{actor.name}` may not divide cost: that takes finance or an org_owner"
    return Problem(code="not_permitted", path=name[:80], detail=detail)


def _problem(name: str, wrong: NotDivided) -> Problem:
    return Problem(code=wrong.code, path=name[:80], detail=wrong.detail, field=wrong.field)


def _at_revision(name: str, old: CostRule | None, expected: int | None) -> Problem | None:
    stored = 0 if old is None else old.revision
    if expected in (None, stored):
        return None
    detail = f"the cost rule `{name[:80]}` is at revision {stored}, not {expected}"
    return Problem(code="revision_conflict", path=name[:80], detail=detail)


def _plain(rule: CostRule) -> tuple[object, ...]:
    source = {name: sorted(values) for name, values in rule.source.items()}
    only = None if rule.use is None else {name: sorted(values) for name, values in rule.use.only.items()}
    use = None if rule.use is None else (rule.use.measure, rule.use.by)
    targets = [(one.grant_id, dict(one.tags), one.ppm) for one in rule.targets]
    return (rule.owner, rule.description, source, rule.method, use, only, targets, rule.is_retired)
