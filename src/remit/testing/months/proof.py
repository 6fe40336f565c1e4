"""Whether what is found in a month is what was put into it."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from remit.reconcile.matching.adjust import propose
from remit.reconcile.matching.cells import CellKey
from remit.reconcile.matching.match import Matched, match_month
from remit.testing.months.month import Month

Fact = tuple[str, CellKey, int]
"""Cause, key and amount: what a finding and a mistake have to agree in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Mistakes that were found, that were not, and findings that are of no mistake."""

    injected: Counter[Fact]
    found: Counter[Fact]
    matched: Sequence[Matched]

    @property
    def right(self) -> int:
        return (self.injected & self.found).total()

    @property
    def missed(self) -> list[Fact]:
        return sorted((self.injected - self.found).elements(), key=str)

    @property
    def invented(self) -> list[Fact]:
        return sorted((self.found - self.injected).elements(), key=str)

    @property
    def precision_per_mille(self) -> int:
        return 1_000 if not self.found else self.right * 1_000 // self.found.total()

    @property
    def recall_per_mille(self) -> int:
        return 1_000 if not self.injected else self.right * 1_000 // self.injected.total()

    @property
    def is_right(self) -> bool:
        """Whether all that was put in was found, at its key and amount, and nothing else."""
        return self.injected == self.found

    @property
    def amounts_are_equal(self) -> bool:
        """Whether each cause comes to the same amount on both sides."""
        sums: Counter[str] = Counter()
        for (cause, _, amount), count in self.injected.items():
            sums[cause] += amount * count
        for (cause, _, amount), count in self.found.items():
            sums[cause] -= amount * count
        return not any(sums.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Sums:
    """A vendor's month in nano-USD, once every finding was looked at and booked. `explained` needs none."""

    vendor: str
    entries: int
    booked: int
    explained: int
    billed: int

    @property
    def agree(self) -> bool:
        return self.entries + self.booked + self.explained == self.billed


def sums(month: Month, matched: Sequence[Matched]) -> list[Sums]:
    """What each vendor's month comes to by its adjustments, and what its bills say."""
    found = []
    for one in matched:
        looked = [
            replace(finding, proposal="adjustment") if finding.proposal == "look" else finding
            for finding in one.findings
        ]
        booked = propose(
            looked, [cell for cell in month.ledger if cell.key.vendor == one.vendor], unassigned_grant_id="nobody"
        )
        bills = [bill.total_nanousd for bill in month.invoices if bill.vendor == one.vendor]
        found.append(
            Sums(
                vendor=one.vendor,
                entries=one.ledger_nanousd,
                booked=sum(adjustment.amount_nanousd for adjustment in booked.adjustments),
                explained=sum(finding.amount_nanousd for finding in booked.explained),
                billed=sum(bills) if bills else one.bill_nanousd,
            )
        )
    return found


def judge(month: Month) -> Verdict:
    """Matches a month and compares what is found with what was put in."""
    matched = match_month(month.ledger, month.vendor, month.invoices, month.settings)
    return Verdict(
        injected=Counter((one.cause.value, one.key, one.amount_nanousd) for one in month.injected),
        found=Counter((f.cause.value, f.key, f.amount_nanousd) for one in matched for f in one.findings),
        matched=matched,
    )
