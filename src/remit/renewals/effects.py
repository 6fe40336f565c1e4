"""What an approval carries out. Each effect has one body (JSON-able, kept with its ticket) and one write of the tree.

The write is judged like any other: an approval gives no authority that its author does not have.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import date, datetime
from typing import Any, Final

from remit.grants.edits import NewGrant
from remit.grants.model import Limit
from remit.grants.serialise import InvalidBodyError, format_instant, from_body
from remit.kernel.decisions import Dimension
from remit.kernel.periods import PeriodKind
from remit.ledger.months import Bill, BillLine, Waived


@dataclass(frozen=True, slots=True)
class CreateGrant:
    """A new grant, active at once."""

    new: NewGrant


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitChange:
    """Another amount for one limit. `was` is the amount when it was asked, None where there was no such limit."""

    dimension: Dimension
    period: PeriodKind
    amount: int
    was: int | None

    @property
    def raises(self) -> bool:
        """Whether more was asked for. To be given a limit where there was none is to be given less."""
        return self.was is not None and self.amount > self.was


@dataclass(frozen=True, slots=True, kw_only=True)
class RenewGrant:
    """A later expiry; with `limits`, these as well (a renewal is where a grant shrinks to what it needs)."""

    grant_id: str
    expires_at: datetime
    limits: tuple[LimitChange, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SetLimits:
    """Other amounts of some limits; the others stay as they are when it is approved."""

    grant_id: str
    limits: tuple[LimitChange, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class MoveLimit:
    """A part of one grant's limit to its sibling."""

    source_id: str
    target_id: str
    dimension: Dimension
    period: PeriodKind
    amount: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakGlass:
    """So much more usd in every period of a grant until an instant, and of whatever stands above it that lacks the room."""

    grant_id: str
    amount_nanousd: int
    ends_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class SettleDebt:
    """What becomes of an overdraft's debt: approving forgives it, declining leaves it to be repaid."""

    grant_id: str
    period_kind: PeriodKind
    period_start: datetime
    amount_nanousd: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Acknowledge:
    """A finding was looked at; `code` and `about` say what was found. Nothing is written but the decision."""

    code: str
    about: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PostAdjustments:
    """Books what the comparison with a vendor's statements of a month proposed. `digest` is that of exactly these entries."""

    grant_id: str
    reconciliation_id: str
    vendor: str
    month: date
    amount_nanousd: int
    entries: int
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReopenMonth:
    """Opens the month that was closed last again."""

    grant_id: str
    month: date


@dataclass(frozen=True, slots=True, kw_only=True)
class CloseMonth:
    """Closes a month although something does not hold: with exactly these bills, and waivers that come to exactly as much."""

    grant_id: str
    month: date
    bills: tuple[Bill, ...]
    waived: tuple[Waived, ...]


OfBooks = PostAdjustments | ReopenMonth | CloseMonth
"""Effects on the books of the whole organization. `grant_id` is the grant that is charged what no other grant explains."""
Effect = CreateGrant | RenewGrant | SetLimits | MoveLimit | BreakGlass | SettleDebt | Acknowledge | OfBooks


def changed_limits(limits: Sequence[Limit], changes: Sequence[LimitChange]) -> tuple[Limit, ...]:
    """The limits as they are now with what was asked: who asked for more gets no less, who asked for less no more.

    Whoever changed the same limit meanwhile in the same direction, and further, has said the last word about it.
    """
    amounts = {(one.dimension, one.period): one.amount for one in limits}
    for change in changes:
        key = (change.dimension, change.period)
        now = amounts.get(key)
        if change.raises:
            # A limit that was taken away holds nobody back any more.
            if now is not None:
                amounts[key] = max(now, change.amount)
        elif change.amount != change.was:
            amounts[key] = change.amount if now is None else min(now, change.amount)
    return tuple(Limit(dimension, amount, period) for (dimension, period), amount in amounts.items())


def effect_body(effect: Effect) -> dict[str, Any]:
    """JSON-able form; `effect_of` is the exact inverse."""
    if isinstance(effect, CreateGrant):
        return {"effect": "create_grant", "new": effect.new.body()}
    stated = {one.name: _plain(getattr(effect, one.name)) for one in fields(effect)}
    return {"effect": _NAMES[type(effect)], **stated}


def effect_of(body: Mapping[str, Any]) -> Effect:
    """The effect of a body. Raises InvalidBodyError."""
    try:
        return _READERS[body["effect"]]({name: value for name, value in body.items() if name != "effect"})
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidBodyError(f"not the body of an effect: {error}") from error


def new_grant_of(body: Mapping[str, Any]) -> NewGrant:
    """The request that `NewGrant.body` wrote down. Raises InvalidBodyError."""
    # A request leaves out what its parent fills in; a grant says all of it.
    left_out = {name for name in ("class", "time_zone", "starts_at", "expires_at") if body[name] is None}
    filled = {**body, "id": "", "parent_id": None, **{name: _FILLER[name] for name in left_out}}
    grant = from_body(filled)
    stated = {one.name: getattr(grant, one.name) for one in fields(NewGrant)}
    return NewGrant(**stated | {("grant_class" if name == "class" else name): None for name in left_out})


_FILLER: Final = {
    "class": "production",
    "time_zone": "UTC",
    "starts_at": "1970-01-01T00:00:00Z",
    "expires_at": "1970-01-01T00:00:00Z",
}
_NAMES: Final[Mapping[type, str]] = {
    RenewGrant: "renew_grant",
    SetLimits: "set_limits",
    MoveLimit: "move_limit",
    BreakGlass: "break_glass",
    SettleDebt: "settle_debt",
    Acknowledge: "acknowledge",
    PostAdjustments: "post_adjustments",
    ReopenMonth: "reopen_month",
    CloseMonth: "close_month",
}


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return format_instant(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, tuple):
        return [asdict(item) for item in value]
    return value


def _limits(value: Any) -> tuple[LimitChange, ...] | None:
    # One that says nothing of what was there changes nothing: it would bring back what somebody lowered meanwhile.
    return None if value is None else tuple(LimitChange(**{"was": one["amount"], **one}) for one in value)


def _bill(body: Mapping[str, Any]) -> Bill:
    return Bill(**{**body, "lines": tuple(BillLine(**line) for line in body["lines"])})


def _read(kind: type[Any]) -> Callable[[dict[str, Any]], Effect]:
    def read(body: dict[str, Any]) -> Effect:
        for name in ("expires_at", "ends_at", "period_start"):
            if name in body:
                body[name] = datetime.fromisoformat(body[name])
        if "month" in body:
            body["month"] = date.fromisoformat(body["month"])
        if "bills" in body:
            body["bills"] = tuple(_bill(one) for one in body["bills"])
            body["waived"] = tuple(Waived(**one) for one in body["waived"])
        if "limits" in body:
            body["limits"] = _limits(body["limits"])
        made: Effect = kind(**body)
        return made

    return read


_READERS: Final[Mapping[str, Callable[[dict[str, Any]], Effect]]] = {
    "create_grant": lambda body: CreateGrant(new_grant_of(body["new"])),
    **{name: _read(kind) for kind, name in _NAMES.items()},
}
