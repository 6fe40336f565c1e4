"""Budget boundaries compared: which of two is wider, what one leaves open, whom it lets be handed anything.

Whether a write stays inside one is judged in `outside.py`.
"""

from dataclasses import replace
from datetime import datetime, timedelta

from remit.grants.model import Boundary, Envelope
from remit.grants.shapes import names_outside, patterns_outside


def raised_boundary(old: Boundary | None, new: Boundary | None) -> bool:
    """Whether a boundary was taken away or became wider in any part."""
    if old is None:
        return new is not None and new.grace_hours + _size(new.auto_approve) > 0
    if new is None:
        return True
    return (
        any(_opened(getattr(old, name), getattr(new, name)) for name in ("classes", "models", "owners"))
        or bool(names_outside(new.classes, old.classes))
        or bool(owners_outside(new.owners, old.owners))
        or bool(patterns_outside(new.models, old.models))
        or any(_above(getattr(old, name), getattr(new, name)) for name in ("max_share_percent", "max_nanousd"))
        or new.grace_hours > old.grace_hours
        or _wider(old.auto_approve, new.auto_approve)
    )


def filled_in(above: Boundary, own: Boundary) -> Boundary:
    """The boundary with what it leaves open taken from the one above; grace and envelope are no silence but nothing."""
    names = ("max_share_percent", "max_nanousd", "classes", "models", "owners")
    open_ones = {name: getattr(above, name) for name in names if getattr(own, name) is None}
    return replace(own, **open_ones)


def owner_within(inner: str, outer: str) -> bool:
    """Whether an address, or a pattern of addresses, is covered by another. A pattern has one `*`, in front."""
    inner, outer = inner.casefold(), outer.casefold()
    return inner.removeprefix("*").endswith(outer[1:]) if outer.startswith("*") else inner == outer


def owners_outside(inner: tuple[str, ...] | None, outer: tuple[str, ...] | None) -> list[str]:
    """The patterns of `inner` that no single one of `outer` covers; silence of either side is within."""
    if inner is None or outer is None:
        return []
    return [one for one in inner if not any(owner_within(one, wide) for wide in outer)]


def _opened(old: object | None, new: object | None) -> bool:
    return old is not None and new is None


def _above(old: int | None, new: int | None) -> bool:
    return old is not None and (new is None or new > old)


def _size(envelope: Envelope | None) -> int:
    return 0 if envelope is None else sum(_parts(envelope))


def _parts(envelope: Envelope) -> tuple[int, ...]:
    return (
        envelope.max_increase_percent,
        envelope.max_nanousd,
        envelope.max_renewals,
        envelope.max_term_days,
    )


def _wider(old: Envelope | None, new: Envelope | None) -> bool:
    return any(
        after > before for before, after in zip(_parts(old or Envelope()), _parts(new or Envelope()), strict=True)
    )


def within_envelope(envelope: Envelope, expires_at: datetime, now: datetime) -> bool:
    """Whether a renewal to that expiry is short enough."""
    return expires_at <= now + timedelta(days=envelope.max_term_days)
