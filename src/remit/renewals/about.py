"""What an effect is about, and what it would do to the tree: the facts that a decision is made on."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Final, Self

from remit.grants.edits import NewGrant
from remit.grants.model import Grant, Limit, Shape
from remit.grants.tree import Tree
from remit.grants.words import amount_text, instant_text, limit_text, period_text, printable
from remit.kernel.money import format_usd
from remit.ledger.months import month_text
from remit.renewals.effects import (
    Acknowledge,
    BreakGlass,
    CloseMonth,
    CreateGrant,
    Effect,
    MoveLimit,
    OfBooks,
    PostAdjustments,
    RenewGrant,
    ReopenMonth,
    SetLimits,
    SettleDebt,
)
from remit.renewals.exposure import Exposure, monthly_exposure


@dataclass(frozen=True, slots=True)
class Raise:
    """A limit of a stored grant that becomes larger. In nano-USD, tokens or requests."""

    path: str
    dimension: str
    period: str
    before: int
    after: int

    @property
    def place(self) -> tuple[str, str, str]:
        return self.path, self.dimension, self.period

    @property
    def by(self) -> int:
        return self.after - self.before


@dataclass(frozen=True, slots=True)
class Outlook:
    """What a person is shown of an effect: what it asks in words, the worst case a month, every limit that rises."""

    exposure: Exposure
    raises: tuple[Raise, ...]
    asks: tuple[str, ...] = ()

    def goes_beyond(self, shown: "Outlook") -> bool:
        """Whether somebody who decided by what was shown would give more than they saw, in sum or in any limit."""
        known = {one.place: one for one in shown.raises}
        return self.exposure.goes_beyond(shown.exposure) or any(
            one.place not in known or one.after > known[one.place].after or one.by > known[one.place].by
            for one in self.raises
        )

    def body(self) -> dict[str, Any]:
        """As a ticket's evidence keeps it; `of_evidence` reads it back."""
        worst = self.exposure
        return {
            "exposure": {"before_nanousd": worst.before, "after_nanousd": worst.after, "text": worst.text()},
            "raises": [
                {
                    "path": one.path,
                    "dimension": one.dimension,
                    "period": one.period,
                    "before": one.before,
                    "after": one.after,
                }
                for one in self.raises
            ],
            "asks": list(self.asks),
        }

    @classmethod
    def of_evidence(cls, evidence: Mapping[str, Any]) -> Self:
        """What was shown. A ticket whose evidence says nothing showed that nothing changes."""
        stated = evidence.get("exposure", {"before_nanousd": 0, "after_nanousd": 0})
        raises = tuple(Raise(**one) for one in evidence.get("raises", ()))
        return cls(Exposure(stated["before_nanousd"], stated["after_nanousd"]), raises, tuple(evidence.get("asks", ())))


def outlook(tree: Tree, after: Tree, effect: Effect) -> Outlook:
    """What an effect does, by the tree before it and the one it would leave."""
    asks = asked_lines(effect, tree, after)
    if isinstance(effect, SettleDebt | Acknowledge | OfBooks):
        return Outlook(Exposure(0, 0), (), asks)
    return Outlook(_exposure(tree, after, effect), tuple(_raises(tree, after)), asks)


def people_needed(effect: Effect) -> int:
    """How many people have to say yes."""
    return 2 if isinstance(effect, BreakGlass) else 1


def asked_lines(effect: Effect, tree: Tree, after: Tree) -> tuple[str, ...]:
    """What a yes would give, in short lines, the weightiest first; by the tree before it and the one it would leave."""
    return tuple(printable(line) for line in _lines(effect, tree, after))


def _lines(effect: Effect, tree: Tree, after: Tree) -> list[str]:
    match effect:
        case CreateGrant():
            return _new_lines(effect.new, after)
        case RenewGrant():
            old, new = tree[effect.grant_id], after[effect.grant_id]
            expiry = f"expiry: {instant_text(old.expires_at)} -> {instant_text(new.expires_at)}"
            return [expiry, *_changes(old, new), _kept(old, new)]
        case SetLimits():
            return _changes(tree[effect.grant_id], after[effect.grant_id])
        case MoveLimit():
            part = limit_text(Limit(effect.dimension, effect.amount, effect.period))
            return [f"moves {part} from {tree[effect.source_id].path} to {tree[effect.target_id].path}"]
        case BreakGlass():
            extra = f"{format_usd(effect.amount_nanousd)} on top of each of its usd limits"
            lines = [
                f"{extra} until {instant_text(effect.ends_at)}",
                f"takes the yes of {people_needed(effect)} people",
            ]
            raised = [(one, tree.find(one.id)) for one in after]
            return lines + [
                f"{new.path}: {line}" for new, old in raised if old is not None for line in _changes(old, new)
            ]
        case SettleDebt():
            since = f"the {effect.period_kind} that began {instant_text(effect.period_start)}"
            period = "a limit that never refills" if effect.period_kind == "once" else since
            return [f"forgives {format_usd(effect.amount_nanousd)} that is owed from {period}"]
        case PostAdjustments():
            what = f"{effect.entries:,} entries of {effect.vendor} for {month_text(effect.month)}"
            return [f"books {format_usd(effect.amount_nanousd)} in {what}, as {effect.reconciliation_id} proposes"]
        case ReopenMonth():
            return [f"opens {month_text(effect.month)} again, which was signed off"]
        case CloseMonth():
            return _closing_lines(effect)
        case Acknowledge():
            return [f"to look at: {effect.code.replace('_', ' ')} of {path_of(tree, effect)}"]


def _closing_lines(effect: CloseMonth) -> list[str]:
    waived = [
        f"waives `{one.what}` of {one.vendor}, {format_usd(one.amount_nanousd)}: {one.reason}" for one in effect.waived
    ]
    bills = [f"{one.vendor} billed {format_usd(one.total_nanousd)} ({one.invoice_id})" for one in effect.bills]
    return [f"closes {month_text(effect.month)} although something does not hold", *waived, *bills]


def _new_lines(new: NewGrant, after: Tree) -> list[str]:
    made = after.at_path(new.path)
    assert made is not None, "the effect was tried"
    limits = ", ".join(map(limit_text, made.limits)) or "no limits of its own"
    starts = "" if new.starts_at is None else f"starts {instant_text(new.starts_at)}, "
    models = "all that the grants above allow" if new.shape.models is None else ", ".join(new.shape.models) or "none"
    lines = [
        f"new grant {new.path}: {limits}",
        f"owner: {new.owner}",
        f"class: {made.grant_class}, {starts}expires {instant_text(made.expires_at)}",
        f"models: {models}",
    ]
    if new.overdraft is not None:
        lines.append(f"overdraft: up to {format_usd(new.overdraft.max_nanousd)} above each usd limit")
    # A yes is to all of it: what has no words here is at least named.
    also = [one.name for one in fields(new) if one.name not in _IN_WORDS and getattr(new, one.name) != one.default]
    also += ["shape"] if replace(new.shape, models=None) != Shape() else []
    return [*lines, f"also states: {', '.join(name.replace('_', ' ') for name in also)}"] if also else lines


_IN_WORDS: Final = frozenset(
    {"path", "owner", "grant_class", "time_zone", "starts_at", "expires_at", "limits", "shape", "overdraft"}
)


def _changes(old: Grant, new: Grant) -> list[str]:
    """Each limit that becomes another, was not there, or is there no more."""
    before, now = ({(one.dimension, one.period): one for one in grant.limits} for grant in (old, new))
    return [
        f"limit {period_text(key[1])}: {_amount(before.get(key))} -> {_amount(now.get(key))}"
        for key in dict.fromkeys([*before, *now])
        if before.get(key) != now.get(key)
    ]


def _kept(old: Grant, new: Grant) -> str:
    """The limits that go on as they are."""
    kept = [limit_text(one) for one in new.limits if one in old.limits]
    if kept:
        return f"{'limits stay' if old.limits == new.limits else 'other limits stay'}: {', '.join(kept)}"
    return "no other limits of its own" if new.limits else "no limits of its own"


def _amount(limit: Limit | None) -> str:
    return "none" if limit is None else amount_text(limit.dimension, limit.amount)


def limit_change(effect: Effect, shown: Outlook) -> dict[str, Any]:
    """The first limit that a request wants otherwise, as messages say it in one line; nothing where there is none."""
    if not isinstance(effect, RenewGrant | SetLimits) or not effect.limits:
        return {}
    one = effect.limits[0]
    rises = (rise.before for rise in shown.raises if (rise.dimension, rise.period) == (one.dimension, one.period))
    before = next(rises, one.was)
    change = {"dimension": one.dimension, "period": one.period, "before": before, "after": one.amount}
    return {"limit_change": change}


def settled(effect: Effect, after: Tree) -> Effect:
    """The effect with what it left to its parent written out as it was tried: a later change there is not asked for."""
    if not isinstance(effect, CreateGrant):
        return effect
    made = after.at_path(effect.new.path)
    assert made is not None, "the effect was tried"
    new = replace(effect.new, grant_class=made.grant_class, time_zone=made.time_zone, expires_at=made.expires_at)
    return CreateGrant(new)


def grant_of(effect: Effect) -> str:
    """The id of the stored grant that an effect is about; a new grant has none."""
    if isinstance(effect, MoveLimit):
        return effect.source_id
    assert not isinstance(effect, CreateGrant)
    return effect.about if isinstance(effect, Acknowledge) else effect.grant_id


def path_of(tree: Tree, effect: Effect) -> str:
    """The path of the grant that an effect is about."""
    if isinstance(effect, CreateGrant):
        return effect.new.path
    grant = tree.find(grant_of(effect))
    return grant_of(effect) if grant is None else grant.path


def _exposure(tree: Tree, after: Tree, effect: Effect) -> Exposure:
    """The worst case of a month before and after; of a new grant, from nothing."""
    ref = effect.new.path if isinstance(effect, CreateGrant) else grant_of(effect)
    old = tree.find(ref)
    before = 0 if old is None else monthly_exposure(tree.path_to(old))
    if isinstance(effect, MoveLimit):
        return Exposure(before, before)  # what one gives the other gets
    new = after.find(ref)
    assert new is not None, "the effect was tried"
    return Exposure(before, monthly_exposure(after.path_to(new)))


def _raises(tree: Tree, after: Tree) -> list[Raise]:
    found = []
    for grant in after:
        old = tree.find(grant.id)
        if old is None or old.limits == grant.limits:
            continue
        before = {(one.dimension, one.period): one.amount for one in old.limits}
        for limit in grant.limits:
            was = before.get((limit.dimension, limit.period))
            if was is not None and limit.amount > was:
                found.append(Raise(grant.path, limit.dimension, limit.period, was, limit.amount))
    return found
