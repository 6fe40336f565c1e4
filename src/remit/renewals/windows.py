"""When a grant should be renewed, as the server suggests it.

The window is a part of the grant's life (the last third), never more than its lead time, and earlier where the grant spends
faster than its life passes or where prices have risen. Like the renewal information of RFC 9773 it says why, and grants of
one expiry do not all open at one instant: each is moved by a part of its window that its id decides.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from remit.grants.model import Grant
from remit.renewals.model import Use

WindowReason = Literal["a part of its life", "it spends faster than its life passes", "prices moved"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Ask after `opens_at` and before `closes_at`, the expiry."""

    opens_at: datetime
    closes_at: datetime
    reason: WindowReason

    def is_open(self, now: datetime) -> bool:
        return self.opens_at <= now < self.closes_at


def renewal_window(
    grant: Grant, use: Sequence[Use], now: datetime, *, prices_moved: bool = False, until: datetime | None = None
) -> Window:
    """The window of a grant's present life, or of one until another instant. `use` are its usd buckets that hold `now`.

    `prices_moved`: what it calls costs over a tenth more than it did in the last 90 days.
    """
    ends_at = until or grant.expires_at
    life = ends_at - grant.starts_at
    length = min(life / 3, timedelta(days=grant.renewal.lead_time_days))
    opens_at = ends_at - length + _jitter(grant.id, length)
    reason: WindowReason = "a part of its life"
    earlier = min(opens_at, max(grant.starts_at, ends_at - 2 * length))
    if prices_moved:
        opens_at, reason = earlier, "prices moved"
    elif any(overspends(one, now) for one in use):
        opens_at, reason = earlier, "it spends faster than its life passes"
    return Window(opens_at=opens_at, closes_at=ends_at, reason=reason)


def overspends(use: Use, now: datetime) -> bool:
    """Whether a limit will not last: half of it is used, and at the pace so far the rest is gone before its period ends."""
    if use.limit is None or use.limit == 0 or not use.start < now < use.end:
        return False
    # Integers of microseconds: no float is near money.
    elapsed = (now - use.start) // timedelta(microseconds=1)
    whole = (use.end - use.start) // timedelta(microseconds=1)
    return 2 * use.posted >= use.limit and use.posted * whole > use.limit * elapsed


def _jitter(grant_id: str, length: timedelta) -> timedelta:
    """0 to a tenth of the window, the same for one grant at all times."""
    thousandths = int.from_bytes(hashlib.sha256(grant_id.encode()).digest()[:4], "big") % 1000
    return length * thousandths // 10_000
