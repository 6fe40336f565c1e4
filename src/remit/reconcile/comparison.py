"""A comparison of the ledger with a vendor's statements, as it is kept: what it found, and what it proposes to book."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Literal

from remit.ledger.accounting import Adjustment
from remit.ledger.months import Bill

Outcome = Literal["adjustment", "explained", "look"]
"""What becomes of a finding: it is booked, it needs no booking, or somebody has to look at it."""
Confidence = Literal["exact", "likely"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """One difference, why there is one, and what that was decided on. The amount is what the vendor charges more, in nano-USD.

    `about` names what it is about, as far as that is known: day, account, project, key_id, deployment, model, meter.
    """

    cause: str
    outcome: Outcome
    confidence: Confidence
    first_day: date
    last_day: date
    about: Mapping[str, Any]
    amount_nanousd: int
    evidence: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What was compared, and what came of it. `bills` are the invoices; empty where there was none yet.

    What was billed is then what the ledger says and all the drift, to the nano-dollar: a difference that nothing explains is
    drift too. `feedback` is about prices and ceilings that were wrong.
    """

    month: date
    vendor: str
    statements: Sequence[str]
    bills: Sequence[Bill]
    ledger_nanousd: int
    drift: Sequence[Drift]
    adjustments: Sequence[Adjustment]
    feedback: Sequence[Mapping[str, Any]] = ()

    @property
    def billed_nanousd(self) -> int | None:
        return sum(one.total_nanousd for one in self.bills) if self.bills else None

    @property
    def found_nanousd(self) -> int:
        return sum(one.amount_nanousd for one in self.drift)

    @property
    def unexplained_nanousd(self) -> int:
        """What nothing explains and nobody has accepted."""
        return sum(one.amount_nanousd for one in self.drift if one.cause == "unexplained" and one.outcome == "look")

    @property
    def proposed_nanousd(self) -> int:
        return sum(one.amount_nanousd for one in self.adjustments)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciliation:
    """A comparison under its id, and whether what it proposes was booked."""

    id: str
    month: date
    vendor: str
    made_at: datetime
    made_by: str
    statements: Sequence[str]
    bills: Sequence[Mapping[str, Any]]
    ledger_nanousd: int
    billed_nanousd: int | None
    found_nanousd: int
    unexplained_nanousd: int
    proposed_nanousd: int
    entries: int
    findings: int
    feedback: Sequence[Mapping[str, Any]]
    digest: str
    posted_at: datetime | None
    posted_by: str | None


def digest_of(entries: bytes) -> str:
    """What a ticket names, so that what is approved is what was proposed."""
    return hashlib.sha256(entries).hexdigest()
