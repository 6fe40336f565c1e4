"""What was used of limits in the periods that hold one instant, read once and asked per limit."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from remit.grants.model import Grant, Limit
from remit.kernel.decisions import Dimension
from remit.kernel.periods import PeriodKind, period_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Used:
    """One limit's use in its present period: nano-USD, tokens or requests.

    `posted` includes overage; `borrowed` is what overdraft has paid or holds, on top of the two others.
    """

    grant_id: str
    dimension: Dimension
    period: PeriodKind
    starts_at: datetime
    posted: int = 0
    held: int = 0
    borrowed: int = 0


class Usage:
    """The use of limits at an instant. A limit that nobody has used in its period stands at zero."""

    def __init__(self, rows: Iterable[Used], now: datetime) -> None:
        self._rows = {(one.grant_id, one.dimension, one.period, one.starts_at): one for one in rows}
        self._now = now

    def of(self, grant: Grant, limit: Limit) -> Used:
        """The use of one of the grant's limits in the period that its time zone has now."""
        start = period_of(limit.period, self._now, ZoneInfo(grant.time_zone)).start
        unused = Used(grant_id=grant.id, dimension=limit.dimension, period=limit.period, starts_at=start)
        return self._rows.get((grant.id, limit.dimension, limit.period, start), unused)

    def taken(self, grant: Grant, limit: Limit) -> int:
        """What is posted and held."""
        used = self.of(grant, limit)
        return used.posted + used.held

    def left(self, grant: Grant, limit: Limit) -> int:
        """What the limit itself still has, without overdraft; never below 0."""
        return max(0, limit.amount - self.taken(grant, limit))
