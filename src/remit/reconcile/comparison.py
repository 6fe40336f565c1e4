"""A comparison of the ledger with a vendor's statements, as it is kept: what it found, and what it proposes to book."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
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
class Standing:
    """How the ledger has a vendor's month: a proposal holds as long as it has it so. In nano-USD.

    `owed` by what is booked in the month, `charged` for what was used in it, what was `booked` for that besides calls, by grant and
    cause, and the ids of the comparisons it was booked by. `unexplained` is what of it was booked although nothing explains it,
    each with what it is about.
    """

    owed_nanousd: int
    charged_nanousd: int
    booked_nanousd: Mapping[tuple[str, str], int]
    posted: Sequence[str]
    unexplained: Sequence[tuple[Mapping[str, Any], int]] = ()

    @property
    def is_nothing(self) -> bool:
        """Whether nothing of the vendor is booked in the month, or was used in it."""
        return not (self.owed_nanousd or self.charged_nanousd or any(self.booked_nanousd.values()))

    @property
    def digest(self) -> str:
        parts = [str(self.owed_nanousd), str(self.charged_nanousd), *sorted(self.posted)]
        parts += [
            f"{grant} {cause} {amount}" for (grant, cause), amount in sorted(self.booked_nanousd.items()) if amount
        ]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What was compared, and what came of it. `bills` are the invoices; empty where there was none yet.

    What was billed is then what the ledger says and all the drift, to the nano-dollar: a difference that nothing explains is
    drift too. `ledger_nanousd` is what the vendor is owed by all that is booked in the month, `basis` the digest of how the
    ledger has it; `accepted` are causes that somebody looked into, `accepted_before` what was booked although nothing explains it,
    each with what it is about. `feedback` is about prices and ceilings that were wrong.
    """

    month: date
    vendor: str
    statements: Sequence[str]
    bills: Sequence[Bill]
    accepted: Sequence[str] = ()
    accepted_before: Sequence[tuple[Mapping[str, Any], int]] = ()
    ledger_nanousd: int
    basis: str
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
        """What nothing explains and nobody has accepted, now or when it was booked: signs left out, as too much hides no too little."""
        left: dict[tuple[tuple[str, Any], ...], int] = {}
        for one in self.drift:
            if _is_unexplained(one):
                left[_place(one.about)] = left.get(_place(one.about), 0) + one.amount_nanousd
        if not left:
            return 0
        for about, amount in self.accepted_before:
            left[_place(about)] = left.get(_place(about), 0) - amount
        return sum(map(abs, left.values()))

    @property
    def proposed_nanousd(self) -> int:
        return sum(one.amount_nanousd for one in self.adjustments)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciliation:
    """A comparison under its id, and whether what it proposes was booked.

    `moved_nanousd` is the sum of what its entries are without their signs: what nets to nothing moves cost all the same.
    `changes_booked`: some of them change what was booked for the month before. `withdrawn` are those of its statements that were
    withdrawn since: what it found does not count any more, and what it proposes is not booked.
    """

    id: str
    month: date
    vendor: str
    made_at: datetime
    made_by: str
    statements: Sequence[str]
    withdrawn: Sequence[str]
    bills: Sequence[Mapping[str, Any]]
    ledger_nanousd: int
    billed_nanousd: int | None
    found_nanousd: int
    unexplained_nanousd: int
    proposed_nanousd: int
    moved_nanousd: int
    changes_booked: bool
    accepted: Sequence[str]
    basis: str
    entries: int
    findings: int
    feedback: Sequence[Mapping[str, Any]]
    digest: str
    posted_at: datetime | None
    posted_by: str | None


def stays_unexplained(unexplained_nanousd: int, drift: Iterable[Drift]) -> bool:
    """Whether anything does: also counts alone, and days that even out, which come to nothing in money."""
    return bool(unexplained_nanousd) or any(_is_unexplained(one) and not one.amount_nanousd for one in drift)


def _is_unexplained(one: Drift) -> bool:
    return one.cause == "unexplained" and one.outcome == "look"


def _place(about: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    return tuple(sorted(about.items()))


def digest_of(entries: bytes) -> str:
    """What a ticket names, so that what is approved is what was proposed."""
    return hashlib.sha256(entries).hexdigest()
