"""Carrying an effect out: the writes of the tree that it stands for, each judged like any other."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Protocol

from remit.grants.edits import UNSET, GrantEdit
from remit.grants.model import Actor, Grant, Limit, Problem
from remit.grants.serialise import format_instant
from remit.grants.service import Answer, Authorship, GrantService, NotWritten
from remit.grants.tree import Tree
from remit.grants.words import limit_text
from remit.ledger.months import month_text
from remit.renewals.effects import (
    Acknowledge,
    BreakGlass,
    CloseMonth,
    CreateGrant,
    Effect,
    MoveLimit,
    PostAdjustments,
    RenewGrant,
    ReopenMonth,
    SetLimits,
    SettleDebt,
    changed_limits,
)
from remit.renewals.ports import Books, Debts, Proposal, Tickets

Done = Mapping[str, Any]
"""What was written, for the event: JSON-able."""


class EffectWriter:
    """Carries effects out over services that are bound to one transaction."""

    def __init__(
        self, grants: GrantService, read_tree: "ReadTree", tickets: Tickets, debts: Debts, books: Books
    ) -> None:
        self._grants = grants
        self._read_tree = read_tree
        self._tickets = tickets
        self._debts = debts
        self._books = books

    def carry_out(self, effect: Effect, by: Authorship) -> Done | list[Problem]:
        """The writes of an effect, all or none of them with the transaction; or why they cannot be made."""
        match effect:
            case CreateGrant():
                return _done(self._grants.create(effect.new, by))
            case RenewGrant():
                return self._renew(effect, by)
            case SetLimits():
                return self._set_limits(effect, by)
            case MoveLimit():
                return self._move(effect, by)
            case BreakGlass():
                return self._raise_all(effect, by)
            case SettleDebt():
                settled = self._debts.settle(
                    effect.grant_id,
                    effect.period_kind,
                    effect.amount_nanousd,
                    "forgive",
                    by=by.actor.name,
                    note=by.reason,
                    key=by.idempotency_key,
                )
                return [settled] if isinstance(settled, Problem) else {"forgiven_nanousd": settled.settled}
            case PostAdjustments():
                posted = self._books.post_proposed(
                    effect.reconciliation_id, effect.digest, by=by.actor.name, reason=by.reason, key=by.idempotency_key
                )
                return [posted] if isinstance(posted, Problem) else {"entries": len(posted)}
            case ReopenMonth():
                revision = self._books.reopen(effect.month, by=by.actor.name, reason=by.reason, key=by.idempotency_key)
                return [revision] if isinstance(revision, Problem) else {"month": month_text(effect.month)}
            case CloseMonth():
                revision = self._books.close(
                    effect.month,
                    effect.bills,
                    effect.waived,
                    by=by.actor.name,
                    reason=by.reason,
                    key=by.idempotency_key,
                )
                return [revision] if isinstance(revision, Problem) else {"month": month_text(effect.month)}
            case Acknowledge():
                return {}

    def proposal(self, effect: Effect) -> Proposal | None:
        """What an effect books that somebody worked out; None of any other."""
        return self._books.proposal(effect.reconciliation_id) if isinstance(effect, PostAdjustments) else None

    def problems(self, effect: Effect, by: Authorship) -> list[Problem]:
        """Why this effect could not be carried out by this author now; empty where it could. Writes nothing."""
        with self._tickets.trial():
            done = self.carry_out(effect, by)
        return done if isinstance(done, list) else []

    def tried(self, effect: Effect, by: Authorship) -> Tree | list[Problem]:
        """The tree as this effect would leave it, or why it could not be carried out. Writes nothing."""
        with self._tickets.trial():
            done = self.carry_out(effect, by)
            return done if isinstance(done, list) else self._read_tree()

    def lower(self, raised: Sequence[Mapping[str, Any]], by: Authorship) -> list[str]:
        """Takes back what a break-glass raised, from the leaf up, where the grants still have those limits.

        Answers why it could not be, for each that somebody has handed on meanwhile or moved to a sibling, where it stays: a
        person has to look at those.
        """
        kept = []
        for one in reversed(raised):
            grant = self._read_tree().find(one["grant_id"])
            if grant is None:
                continue
            kept += _missing(grant, one)
            if grant.status == "revoked":
                continue
            limits = _moved_limits(grant, {(one["dimension"], one["period"]): -one["amount"]})
            if limits != grant.limits:
                answer = self._grants.change(grant.id, GrantEdit(limits=limits), _step(by, grant))
                if isinstance(answer, NotWritten):
                    kept += [problem.detail for problem in answer.problems]
        return kept

    def _renew(self, effect: RenewGrant, by: Authorship) -> Done | list[Problem]:
        grant = self._read_tree()[effect.grant_id]
        if effect.expires_at <= grant.expires_at:
            until = format_instant(grant.expires_at)
            detail = f"`{grant.path}` expires at {until} by now, which is no earlier than what this asks for"
            return [Problem(code="expiry_not_later", path=grant.path, field="expires_at", detail=detail)]
        limits = UNSET if effect.limits is None else changed_limits(grant.limits, effect.limits)
        return _done(self._grants.change(grant.id, GrantEdit(expires_at=effect.expires_at, limits=limits), by))

    def _set_limits(self, effect: SetLimits, by: Authorship) -> Done | list[Problem]:
        grant = self._read_tree()[effect.grant_id]
        limits = changed_limits(grant.limits, effect.limits)
        if limits == grant.limits:
            detail = f"the limits of `{grant.path}` are by now what this asks for, or beyond it"
            return [Problem(code="nothing_changes", path=grant.path, field="limits", detail=detail)]
        return _done(self._grants.change(grant.id, GrantEdit(limits=limits), by))

    def _move(self, effect: MoveLimit, by: Authorship) -> Done | list[Problem]:
        tree = self._read_tree()
        source, target = tree[effect.source_id], tree[effect.target_id]
        return _done(self._grants.transfer(source.id, target.id, effect.dimension, effect.period, effect.amount, by))

    def _raise_all(self, effect: BreakGlass, by: Authorship) -> Done | list[Problem]:
        """Raises the grant, and as many of those above it as the rules demand; from the top down."""
        tree = self._read_tree()
        path = tree.path_to(tree[effect.grant_id])
        problems: list[Problem] = []
        for first in range(len(path) - 1, -1, -1):
            with self._tickets.trial():
                problems = self._raise(path[first:], effect, by)
            if not problems or any(one.code == "not_permitted" for one in problems):
                break
        if problems:
            return problems
        problems = self._raise(path[first:], effect, by)
        assert not problems, "what was tried a moment ago, in this transaction"
        raised = [
            {"grant_id": grant.id, "path": grant.path, **one}
            for grant in path[first:]
            for one in _extra(grant, effect.amount_nanousd)
        ]
        return {"raised": raised, "ends_at": effect.ends_at.isoformat()}

    def _raise(self, nodes: Sequence[Grant], effect: BreakGlass, by: Authorship) -> list[Problem]:
        for node in nodes:
            change = {(one["dimension"], one["period"]): one["amount"] for one in _extra(node, effect.amount_nanousd)}
            if not change:
                continue
            answer = self._grants.change(node.id, GrantEdit(limits=_moved_limits(node, change)), _step(by, node))
            if isinstance(answer, NotWritten):
                return list(answer.problems)
        return []


class ReadTree(Protocol):
    """The tree as the transaction has left it so far."""

    def __call__(self) -> Tree: ...


def _extra(grant: Grant, amount: int) -> list[dict[str, Any]]:
    return [
        {"dimension": limit.dimension, "period": limit.period, "amount": amount}
        for limit in grant.limits
        if limit.dimension == "usd"
    ]


def _missing(grant: Grant, raised: Mapping[str, Any]) -> list[str]:
    """What a grant has no more of what it was given: of less than that, not all can be taken back."""
    place = (raised["dimension"], raised["period"])
    left = next((one for one in grant.limits if (one.dimension, one.period) == place), None)
    if left is not None and left.amount >= raised["amount"]:
        return []
    given = limit_text(Limit(place[0], raised["amount"], place[1]))
    has = "no such limit any more" if left is None else f"{limit_text(left)} left"
    return [f"`{grant.path}` was given {given} and has {has}: the rest was moved elsewhere, or taken back already"]


def _moved_limits(grant: Grant, change: Mapping[tuple[str, str], int]) -> tuple[Limit, ...]:
    return tuple(
        replace(limit, amount=max(0, limit.amount + change.get((limit.dimension, limit.period), 0)))
        for limit in grant.limits
    )


def _step(by: Authorship, grant: Grant) -> Authorship:
    return replace(by, idempotency_key=f"{by.idempotency_key}:{grant.id}"[:200])


def _done(answer: Answer) -> Done | list[Problem]:
    if isinstance(answer, NotWritten):
        return list(answer.problems)
    return {"grants": [{"id": grant.id, "path": grant.path, "revision": grant.revision} for grant in answer.grants]}


def system_author(reason: str, key: str, instant: datetime) -> Authorship:
    """The authorship of what no person does: an envelope, a deadline, the end of a break-glass."""
    actor = Actor(name="remit", is_admin=True)
    return Authorship(actor=actor, reason=reason, idempotency_key=f"{key}@{instant.isoformat()}"[:200])
