"""The worst case a grant can spend in a month, and what a change does to it.

A limit of a shorter period counts as often as its periods can touch one month of 31 days; one of a longer period counts
whole, because all of it may be spent in one month. Every limit on the way to the root binds, so the least one counts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from remit.grants.model import Grant
from remit.kernel.money import format_usd

_PER_MONTH: Final = {"day": 31, "week": 6, "month": 1, "quarter": 1, "once": 1}


@dataclass(frozen=True, slots=True)
class Exposure:
    """Nano-USD a month before and after a change; None is no bound at all."""

    before: int | None
    after: int | None

    @property
    def raised_by(self) -> int | None:
        """By how much the worst case rises, 0 where it does not; None where it becomes, or stays, unbounded."""
        if self.after is None:
            return None
        return 0 if self.before is None else max(0, self.after - self.before)

    def goes_beyond(self, shown: "Exposure") -> bool:
        """Whether it ends higher, or rises by more, than another that somebody was shown."""
        return _more(self.after, shown.after) or _more(self.raised_by, shown.raised_by)

    def text(self) -> str:
        """`$41,000 -> $58,000 a month`."""
        return f"{amount_a_month(self.before)} -> {amount_a_month(self.after)} a month"


def amount_a_month(amount: int | None) -> str:
    """`$41,000`, or that there is none."""
    return "no bound" if amount is None else format_usd(amount)


def monthly_exposure(path: Sequence[Grant]) -> int | None:
    """The most that can be spent through the last grant of a path (root first) in a month; None without any usd limit."""
    amounts = [amount for node in path for amount in _amounts(node)]
    return min(amounts, default=None)


def _amounts(grant: Grant) -> list[int]:
    escrow = grant.overdraft.max_nanousd if grant.overdraft else 0
    return [(limit.amount + escrow) * _PER_MONTH[limit.period] for limit in grant.limits if limit.dimension == "usd"]


def _more(amount: int | None, than: int | None) -> bool:
    """Whether an amount is larger; None is without bound."""
    return than is not None and (amount is None or amount > than)
