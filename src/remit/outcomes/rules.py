"""Pure rules: what events come to, whose cost a part of the ledger is, what an outcome cost."""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from itertools import pairwise
from typing import Any

from remit.grants.model import Actor, Grant, Problem, same_person
from remit.grants.roles import may, owner_may
from remit.kernel.ids import encode_ulid
from remit.kernel.money import divide_half_even
from remit.outcomes.model import (
    MAX_AGE,
    MAX_AHEAD,
    Event,
    Facts,
    Group,
    KindReport,
    Outcome,
    Report,
    Row,
    Said,
    Spend,
    Subject,
    Wanted,
)


class OutcomeMismatchError(Exception):
    """A report's parts do not sum to the ledger (I21); such a report is never shown."""


def outcome_id(source: str, kind: str, subject: str) -> str:
    """The id of the outcome that events about this subject belong to: the same wherever it is computed."""
    digest = hashlib.sha256(f"{source}\x00{kind}\x00{subject}".encode()).digest()
    return f"out_{encode_ulid(int.from_bytes(digest[:16], 'big'))}"


def outcome_of(event: Event) -> str:
    """The id of the outcome an event is about."""
    return outcome_id(event.source, event.kind, event.subject)


def refusal_of(event: Event, actor: Actor, path: Sequence[Grant], now: datetime) -> Problem | None:
    """Why this person may not assert this now, None where they may. `path` leads to the event's grant, root first."""
    grant = path[-1]
    if not may(actor, "assert_outcomes", path):
        whose = "whoever owns a grant does not say what came of it: " if owner_may(actor, "read_grants", path) else ""
        detail = f"{whose}asserting outcomes of `{grant.path}` takes a system of record, by its role"
        return Problem(code="not_permitted", path=grant.path, detail=detail)
    if same_person(actor.name, grant.owner) and not may(actor, "write_grants", path):
        detail = f"`{actor.name}` owns `{grant.path}`, and nobody asserts what came of their own spending"
        return Problem(code="not_permitted", path=grant.path, detail=detail)
    held = actor.asserts
    if held is not None:
        for name, value, allowed in (("kind", event.kind, held.kinds), ("source", event.source, held.sources)):
            if allowed and value not in allowed:
                detail = f"this token asserts no outcomes of {name} `{value}`"
                return Problem(code="not_permitted", path=grant.path, field=name, detail=detail)
    if event.occurred_at > now + MAX_AHEAD:
        detail = (
            f"it is said to have occurred at {event.occurred_at.isoformat()}, which is more than 5 minutes from now"
        )
        return Problem(code="occurred_in_the_future", path=grant.path, field="time", detail=detail)
    if event.occurred_at < now - MAX_AGE:
        detail = f"it occurred at {event.occurred_at.isoformat()}; what is older than {MAX_AGE.days} days is not taken"
        return Problem(code="occurred_too_long_ago", path=grant.path, field="time", detail=detail)
    return None


def conflict(first: Event, again: Event) -> Problem | None:
    """What an event differs in from the one that was recorded under its source and id, None where it is the same."""
    for name in (
        "kind",
        "subject",
        "status",
        "grant_id",
        "occurred_at",
        "joins",
        "value_nanousd",
        "evidence_url",
        "weight_ppm",
    ):
        if getattr(first, name) != getattr(again, name):
            word = {"grant_id": "grant", "occurred_at": "time"}.get(name, name)
            detail = f"event `{again.event_id}` of `{again.source}` was recorded with another `{word}`"
            return Problem(code=f"conflict_different_{word}", path="", field=word, detail=detail)
    return None


def fold(outcome: str, kind: str, said: Iterable[Said]) -> Outcome:
    """What the events about one subject come to: the one that happened last decides, whenever it was heard of.

    Of two that happened at the same instant the one that was recorded last decides. A source's value stands until it states
    another.
    """
    events = sorted(said, key=lambda one: (one.occurred_at, one.seq))
    last = events[-1]
    stated = [one.value_nanousd for one in events if one.value_nanousd is not None]
    reversals = 0
    for before, now in pairwise(events):
        reversals += before.status == "success" and now.status == "reversed"
    return Outcome(
        id=outcome,
        kind=kind,
        status=last.status,
        decided_at=last.occurred_at,
        weight_ppm=last.weight_ppm,
        value_nanousd=stated[-1] if stated else None,
        reversals=reversals,
    )


def split(amount_nanousd: int, weights: Sequence[int]) -> list[int]:
    """Parts of an amount in proportion to weights, whose sum is the amount.

    What rounding leaves goes to the largest remainders, of equal ones to the first.
    """
    assert weights and all(weight > 0 for weight in weights)
    whole, sign = sum(weights), -1 if amount_nanousd < 0 else 1
    shares = [divmod(abs(amount_nanousd) * weight, whole) for weight in weights]
    parts = [quotient for quotient, _ in shares]
    left = abs(amount_nanousd) - sum(parts)
    for place in sorted(range(len(parts)), key=lambda number: (-shares[number][1], number))[:left]:
        parts[place] += 1
    return [sign * part for part in parts]


def per(amount_nanousd: int, count: int) -> int | None:
    """An amount for each of so many; for each of none it is unknown."""
    return None if count == 0 else divide_half_even(amount_nanousd, count)


def report(facts: Facts, wanted: Wanted) -> Report:
    """The report of facts. Raises OutcomeMismatchError instead of showing one that does not sum to the ledger."""
    kinds = sorted(
        {one.kind for one in facts.outcomes.values() if _counts(one, wanted)} | {one.kind for one in facts.spend}
    )
    made = tuple(_of_kind(kind, facts, wanted) for kind in kinds)
    for one in made:
        by_rows = sum(row.total_nanousd for row in one.rows)
        if not by_rows == one.total.total_nanousd == facts.ledger_nanousd:
            detail = f"the report of `{one.kind}` sums to {by_rows}, the ledger to {facts.ledger_nanousd} nano-USD"
            raise OutcomeMismatchError(detail)
    return Report(wanted.by, wanted.since, wanted.until, made, facts.ledger_nanousd)


def _counts(outcome: Outcome, wanted: Wanted) -> bool:
    """Whether an outcome is one of this window: it was decided in it."""
    return (wanted.since is None or outcome.decided_at >= wanted.since) and (
        wanted.until is None or outcome.decided_at < wanted.until
    )


class _Tally:
    """One row as it is summed up."""

    def __init__(self) -> None:
        self.costs: dict[str, int] = defaultdict(int)
        self.earlier = self.elsewhere = self.inside = 0

    def add(self, part: Spend, outcomes: Mapping[str, Outcome], wanted: Wanted) -> None:
        weights = [outcomes[name].weight_ppm for name in part.outcomes]
        if part.is_inside:
            self.inside += part.amount_nanousd
        for name, amount in zip(part.outcomes, split(part.amount_nanousd, weights), strict=True):
            if _counts(outcomes[name], wanted):
                self.costs[name] += amount
                self.earlier += 0 if part.is_inside else amount
            elif part.is_inside:
                self.elsewhere += amount


def _of_kind(kind: str, facts: Facts, wanted: Wanted) -> KindReport:
    tallies: dict[Group, _Tally] = {}
    whole = _Tally()
    for part in facts.spend:
        if part.kind == kind:
            tallies.setdefault(part.group, _Tally()).add(part, facts.outcomes, wanted)
    # The whole is the sum of the groups' own splits: it agrees with them to the nano-dollar.
    for tally in tallies.values():
        for name, amount in tally.costs.items():
            whole.costs[name] += amount
        whole.earlier += tally.earlier
        whole.elsewhere += tally.elsewhere
        whole.inside += tally.inside
    seen = {name for tally in tallies.values() for name in tally.costs}
    for name, outcome in facts.outcomes.items():
        if outcome.kind == kind and name not in seen and _counts(outcome, wanted):
            # Nothing in the ledger belongs to it; it counts all the same.
            nowhere: Group = (None,) * len(wanted.by)
            tallies.setdefault(nowhere, _Tally()).costs[name] = 0
            whole.costs[name] = 0
    totals = {one.group: (one.amount_nanousd, one.suspense_nanousd) for one in facts.totals}
    rows = [
        _row(group, tallies.get(group, _Tally()), *totals.get(group, (0, 0)), facts.outcomes)
        for group in dict.fromkeys([*tallies, *totals])
    ]
    rows.sort(key=lambda row: (-row.attributed_nanousd, -row.total_nanousd, [value or "" for value in row.group]))
    amounts = (sum(one.amount_nanousd for one in facts.totals), sum(one.suspense_nanousd for one in facts.totals))
    return KindReport(kind, tuple(rows), _row((), whole, *amounts, facts.outcomes))


def _row(group: Group, tally: _Tally, total: int, suspense: int, outcomes: Mapping[str, Outcome]) -> Row:
    counted = [outcomes[name] for name in tally.costs]
    by_status = {
        status: sum(one.status == status for one in counted) for status in ("success", "failure", "pending", "reversed")
    }
    attributed, successes = sum(tally.costs.values()), by_status["success"]
    values = [one.value_nanousd for one in counted if one.status == "success" and one.value_nanousd is not None]
    row = Row(
        group=group,
        outcomes=len(counted),
        successes=successes,
        failures=by_status["failure"],
        pending=by_status["pending"],
        reversed=by_status["reversed"],
        attributed_nanousd=attributed,
        failed_nanousd=sum(
            cost for name, cost in tally.costs.items() if outcomes[name].status in ("failure", "reversed")
        ),
        earlier_nanousd=tally.earlier,
        elsewhere_nanousd=tally.elsewhere,
        unattributed_nanousd=total - tally.inside,
        total_nanousd=total,
        suspense_nanousd=suspense,
        cost_per_success_nanousd=per(attributed, successes),
        cost_per_outcome_nanousd=per(attributed, len(counted)),
        value_nanousd=sum(values) if values else None,
        valued=len(values),
    )
    parts = row.attributed_nanousd - row.earlier_nanousd + row.elsewhere_nanousd + row.unattributed_nanousd
    if parts != total:
        raise OutcomeMismatchError(f"the parts of {group} sum to {parts}, the ledger to {total} nano-USD")
    return row


def subjects(facts: Facts, wanted: Wanted, names: tuple[str, str]) -> tuple[list[Subject], list[Subject], int]:
    """The outcomes of two values of the report's one dimension, and how many had spend of both and belong to neither."""
    tallies = {name: _Tally() for name in names}
    for part in facts.spend:
        value = part.group[0]
        if part.kind == wanted.kind and value in tallies:
            tallies[value].add(part, facts.outcomes, wanted)
    first, second = (tallies[name].costs for name in names)
    both = first.keys() & second.keys()

    def of(costs: Mapping[str, int]) -> list[Subject]:
        return [
            Subject(cost, facts.outcomes[name].status == "success")
            for name, cost in sorted(costs.items())
            if name not in both and facts.outcomes[name].status != "pending"
        ]

    return of(first), of(second), len(both)


def cost_by_kind(facts: Facts, wanted: Wanted) -> list[dict[str, Any]]:
    """What the outcomes of a window cost, for each kind, those with the most outcomes first; no sum of the ledger is needed."""
    found = []
    for kind in sorted({one.kind for one in facts.outcomes.values() if _counts(one, wanted)}):
        tally = _Tally()
        for part in facts.spend:
            if part.kind == kind:
                tally.add(part, facts.outcomes, wanted)
        counted = [one for one in facts.outcomes.values() if one.kind == kind and _counts(one, wanted)]
        cost, successes = sum(tally.costs.values()), sum(one.status == "success" for one in counted)
        row: dict[str, Any] = {"kind": kind, "outcomes": len(counted), "successes": successes, "cost_nanousd": cost}
        found.append({**row, "cost_per_success_nanousd": per(cost, successes)})
    return sorted(found, key=lambda one: -one["outcomes"])
