"""What an effect is about, and what it would do to the tree: the facts that a decision is made on."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

from remit.grants.tree import Tree
from remit.renewals.effects import Acknowledge, CreateGrant, Effect, MoveLimit, RenewGrant, SetLimits, SettleDebt
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
    """What a person is shown of an effect: the worst case a month, and every limit that rises."""

    exposure: Exposure
    raises: tuple[Raise, ...]

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
        }

    @classmethod
    def of_evidence(cls, evidence: Mapping[str, Any]) -> Self:
        """What was shown. A ticket whose evidence says nothing showed that nothing changes."""
        stated = evidence.get("exposure", {"before_nanousd": 0, "after_nanousd": 0})
        raises = tuple(Raise(**one) for one in evidence.get("raises", ()))
        return cls(Exposure(stated["before_nanousd"], stated["after_nanousd"]), raises)


def outlook(tree: Tree, after: Tree, effect: Effect) -> Outlook:
    """What an effect does, by the tree before it and the one it would leave."""
    if isinstance(effect, SettleDebt | Acknowledge):
        return Outlook(Exposure(0, 0), ())
    return Outlook(_exposure(tree, after, effect), tuple(_raises(tree, after)))


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
