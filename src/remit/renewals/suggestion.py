"""The smaller limits that a grant's use suggests for its renewal, as tickets and reminders state them. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from remit.grants.model import Grant
from remit.grants.shares import shares_of
from remit.grants.suggested import PeriodUse, suggested_limits
from remit.grants.tree import Tree
from remit.grants.words import amount_text, period_text
from remit.renewals.effects import LimitChange, RenewGrant


def suggested_changes(tree: Tree, grant: Grant, use: Iterable[PeriodUse], now: datetime) -> tuple[LimitChange, ...]:
    """The limits that would be smaller, yet hold what was handed out below; none where nothing is suggested."""
    percent = 100 + grant.delegation.overcommit_percent
    changes = []
    for old, new in zip(grant.limits, suggested_limits(grant, use, now), strict=True):
        if new.amount == old.amount:
            continue
        handed_out = sum(share.amount for share in shares_of(tree, grant, old, now))
        amount = max(new.amount, -(-handed_out * 100 // percent))
        if amount < old.amount:
            changes.append(LimitChange(dimension=old.dimension, period=old.period, amount=amount, was=old.amount))
    return tuple(changes)


def filled_in(effect: RenewGrant, changes: tuple[LimitChange, ...]) -> RenewGrant:
    """The renewal with the suggested limits; as it is where there are none."""
    return replace(effect, limits=changes or None)


def suggestion_body(changes: Sequence[LimitChange], *, taken: bool = False) -> dict[str, Any]:
    """As a ticket's evidence keeps it: the limits, one sentence, and whether the renewal asks for them."""
    limits = [
        {"dimension": one.dimension, "period": one.period, "before": one.was, "after": one.amount} for one in changes
    ]
    return {"limits": limits, "text": suggestion_text(changes), "taken": taken and bool(changes)}


def suggestion_text(changes: Sequence[LimitChange]) -> str:
    """What is suggested, in words."""
    if not changes:
        return "no other limits are suggested by its use"
    texts = []
    for one in changes:
        assert one.was is not None, "only what is there is made smaller"
        after, before = amount_text(one.dimension, one.amount), amount_text(one.dimension, one.was)
        texts.append(f"{after} {period_text(one.period)} instead of {before}")
    return f"its use suggests {', '.join(texts)}"
