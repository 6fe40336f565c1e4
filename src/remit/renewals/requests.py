"""What people ask for, in their words (paths, amounts), as requests about grants of the tree.

One thing has one open ticket: a renewal of one expiry, an increase of one grant. Asking again names the ticket that waits.
"""

from collections.abc import Mapping
from datetime import date, datetime

from remit.grants.edits import NewGrant
from remit.grants.model import Grant, Problem
from remit.grants.serialise import format_instant
from remit.grants.tree import Tree
from remit.kernel.decisions import Dimension
from remit.kernel.periods import PeriodKind
from remit.ledger.months import ToDecide
from remit.renewals.effects import (
    BreakGlass,
    CloseMonth,
    CreateGrant,
    LimitChange,
    MoveLimit,
    PostAdjustments,
    RenewGrant,
    ReopenMonth,
    SetLimits,
)
from remit.renewals.model import Source
from remit.renewals.service import Asked

LimitChanges = Mapping[tuple[Dimension, PeriodKind], int]
"""New amounts by dimension and period."""


def renewal_key(grant: Grant) -> str:
    """What one open ticket at most is about: the renewal of one expiry."""
    return f"renew:{grant.id}:{format_instant(grant.expires_at)}"


def new_grant(new: NewGrant, source: Source) -> Asked:
    """A grant that one may not make oneself."""
    return Asked(effect=CreateGrant(new), dedupe_key=f"grant:{new.path}", source=source)


def renewal(  # noqa: PLR0917 - one parameter per part of the request
    tree: Tree, ref: str, expires_at: datetime, limits: LimitChanges | None, source: Source, suggested: bool = False
) -> Asked | Problem:
    """A later expiry for a grant, and other limits with it where some are stated or those its use suggests are wanted."""
    grant = _find(tree, ref)
    if isinstance(grant, Problem):
        return grant
    if expires_at <= grant.expires_at:
        detail = f"`{grant.path}` expires at {format_instant(grant.expires_at)}: a renewal is later than that"
        return Problem(code="expiry_not_later", path=grant.path, field="expires_at", detail=detail)
    if suggested and limits:
        detail = "a renewal asks for the suggested limits or for stated ones, not for both"
        return Problem(code="limits_twice", path=grant.path, field="suggested", detail=detail)
    changed = None if not limits else _stated(grant, limits)
    if isinstance(changed, Problem):
        return changed
    effect = RenewGrant(grant_id=grant.id, expires_at=expires_at, limits=changed)
    return Asked(effect=effect, dedupe_key=renewal_key(grant), source=source, suggested=suggested)


def increase(tree: Tree, ref: str, limits: LimitChanges, source: Source) -> Asked | Problem:
    """Other limits for a grant."""
    grant = _find(tree, ref)
    if isinstance(grant, Problem):
        return grant
    changed = _stated(grant, limits)
    if isinstance(changed, Problem):
        return changed
    effect = SetLimits(grant_id=grant.id, limits=changed)
    return Asked(effect=effect, dedupe_key=f"increase:{grant.id}", source=source)


def transfer(  # noqa: PLR0917 - one parameter per part of the move
    tree: Tree, source_ref: str, target_ref: str, dimension: Dimension, period: PeriodKind, amount: int, source: Source
) -> Asked | Problem:
    """A part of one grant's limit for its sibling."""
    grants = [_find(tree, ref) for ref in (source_ref, target_ref)]
    for one in grants:
        if isinstance(one, Problem):
            return one
    giver, taker = (one for one in grants if isinstance(one, Grant))
    effect = MoveLimit(source_id=giver.id, target_id=taker.id, dimension=dimension, period=period, amount=amount)
    return Asked(effect=effect, dedupe_key=f"transfer:{giver.id}:{taker.id}:{dimension}:{period}", source=source)


def break_glass(tree: Tree, ref: str, amount_nanousd: int, ends_at: datetime, source: Source) -> Asked | Problem:
    """More usd for a few hours, in an emergency."""
    grant = _find(tree, ref)
    if isinstance(grant, Problem):
        return grant
    if not any(limit.dimension == "usd" for limit in grant.limits):
        detail = f"`{grant.path}` has no usd limit of its own that could be raised"
        return Problem(code="limit_unknown", path=grant.path, field="usd", detail=detail)
    effect = BreakGlass(grant_id=grant.id, amount_nanousd=amount_nanousd, ends_at=ends_at)
    return Asked(effect=effect, dedupe_key=f"break-glass:{grant.id}", source=source)


def _find(tree: Tree, ref: str) -> Grant | Problem:
    grant = tree.find(ref)
    return grant or unknown(ref)


def unknown(ref: str) -> Problem:
    """What is said of a grant that is not there."""
    return Problem(code="grant_unknown", path=ref, detail=f"there is no grant `{ref}`")


def _stated(grant: Grant, changes: LimitChanges) -> tuple[LimitChange, ...] | Problem:
    """What is to change, beside what is there; a limit that the grant does not have yet is added."""
    if not changes:
        detail = "a request says which limit it wants, and how much"
        return Problem(code="limit_missing", path=grant.path, field="limits", detail=detail)
    known = {(one.dimension, one.period): one.amount for one in grant.limits}
    stated = tuple(
        LimitChange(dimension=key[0], period=key[1], amount=amount, was=known.get(key))
        for key, amount in changes.items()
        if known.get(key) != amount
    )
    if not stated:
        detail = f"`{grant.path}` has these limits already"
        return Problem(code="nothing_changes", path=grant.path, field="limits", detail=detail)
    return stated


def post_adjustments(  # noqa: PLR0917 - one parameter per part of what is booked
    tree: Tree,
    ref: str,
    reconciliation_id: str,
    vendor: str,
    month: date,
    amount_nanousd: int,
    entries: int,
    digest: str,
    source: Source,
) -> Asked | Problem:
    """What a comparison with a vendor's statements proposes; `ref` is the grant that bears what no other grant explains."""
    grant = _find(tree, ref)
    if isinstance(grant, Problem):
        return grant
    effect = PostAdjustments(
        grant_id=grant.id,
        reconciliation_id=reconciliation_id,
        vendor=vendor,
        month=month,
        amount_nanousd=amount_nanousd,
        entries=entries,
        digest=digest,
    )
    return Asked(effect=effect, dedupe_key=f"books:{reconciliation_id}", source=source)


def reopen_month(tree: Tree, ref: str, month: date, source: Source) -> Asked | Problem:
    """The month that was closed last, open again; `ref` as above."""
    grant = _find(tree, ref)
    if isinstance(grant, Problem):
        return grant
    effect = ReopenMonth(grant_id=grant.id, month=month)
    return Asked(effect=effect, dedupe_key=f"reopen:{month.isoformat()}", source=source)


def close_month(tree: Tree, ref: str, wanted: ToDecide, source: Source) -> Asked | Problem:
    """A month, closed although something does not hold; `ref` as above."""
    grant = _find(tree, ref)
    if isinstance(grant, Problem):
        return grant
    effect = CloseMonth(grant_id=grant.id, month=wanted.month, bills=tuple(wanted.bills), waived=tuple(wanted.waived))
    return Asked(effect=effect, dedupe_key=f"close:{wanted.month.isoformat()}", source=source)
