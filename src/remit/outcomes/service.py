"""What may be asserted is kept; reports and comparisons are made from one state of the ledger."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from remit.grants.model import Actor, Problem
from remit.grants.tree import Tree
from remit.kernel.names import TAG_NAME
from remit.ledger.service import UnknownDimensionError
from remit.outcomes.compare import compare
from remit.outcomes.model import Comparison, Event, Report, Wanted
from remit.outcomes.ports import Assertion, Known, Outcomes
from remit.outcomes.rules import refusal_of, report, subjects

MAX_EVENTS = 1000
"""Of one batch."""


def assert_outcomes(
    store: Outcomes, tree: Tree, actor: Actor, events: Sequence[Event], *, token_id: str | None, now: datetime
) -> list[Known] | list[Problem]:
    """Keeps events, all or none; or every reason why not. Their grants stand in the tree."""
    assert 0 < len(events) <= MAX_EVENTS
    problems: list[Problem] = []
    for number, event in enumerate(events):
        if (problem := refusal_of(event, actor, tree.path_to(tree[event.grant_id]), now)) is not None:
            place = "" if len(events) == 1 else f"[{number}]"
            field = f"{place}.{problem.field}" if place and problem.field else problem.field or place or None
            problems.append(replace(problem, field=field))
    if problems:
        return problems
    answer = store.record(events, Assertion(by=actor.name, token_id=token_id, at=now))
    return [answer] if isinstance(answer, Problem) else answer


def outcome_report(store: Outcomes, wanted: Wanted) -> Report:
    """Cost per outcome by group. Raises UnknownDimensionError, and OutcomeMismatchError instead of showing a wrong sum."""
    _check(wanted.by)
    return report(store.facts(wanted), wanted)


def outcome_comparison(store: Outcomes, wanted: Wanted, names: tuple[str, str]) -> Comparison:
    """Two values of the one dimension of `wanted`, for its kind. Raises UnknownDimensionError."""
    assert wanted.kind is not None and len(wanted.by) == 1 and names[0] != names[1]
    _check(wanted.by)
    first, second, both = subjects(store.facts(wanted), wanted, names)
    return compare(wanted.kind, names, first, second, both)


def _check(by: Sequence[str]) -> None:
    for name in by:
        if not TAG_NAME.fullmatch(name):
            raise UnknownDimensionError(f"`{name}` is neither a dimension nor the name of a tag")
