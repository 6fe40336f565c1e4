"""Pure rules about debts: which limit repays one, when, and how much of it fits.

SQL decides the same at the moment a debt is settled (`settle_debt`), because it must be one atomic step; a test runs both on the
same random cases.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from remit.leases.model import HoldLine, NodeTerms
from remit.leases.rules import bucket_lines
from remit.ledger.model import Debt


@dataclass(frozen=True, slots=True, kw_only=True)
class Lent:
    """One thing that moved a debt: `amount` in nano-USD, below zero where it was settled (`is_settlement`) or not needed."""

    at: datetime
    amount: int
    is_settlement: bool = False


def repaying_line(terms: NodeTerms, period: str, now: datetime) -> HoldLine | None:
    """The grant's own limit in money that its debts of this period kind are repaid from; None where it has no such limit."""
    lines = bucket_lines(terms, {"usd": 0, "tokens": 0, "requests": 0}, now)
    return next((line for line in lines if (line.dimension, line.kind) == ("usd", period)), None)


def repayable(account: Sequence[Lent], line: HoldLine, *, used: int) -> int:
    """How much can be repaid out of a line's period, in nano-USD; `used` is posted, overage and held, its overdraft left out.

    Only what was lent before the period began: what its own overdraft lent was lent because the period's money was used up. What was
    settled so far counts for the oldest debts.
    """
    owed = sum(one.amount for one in account)
    older = sum(one.amount for one in account if one.is_settlement or one.at < line.starts)
    return max(0, min(owed, older, line.limit - used))


def is_due(debt: Debt, line: HoldLine | None, *, used: int) -> bool:
    """Whether anything of a debt can be repaid now. `used` as in `repayable`."""
    if line is None or debt.since is None or debt.outstanding <= 0:
        return False
    return debt.since < line.starts and used < line.limit
