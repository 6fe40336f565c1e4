"""What the ledger's readers need from storage."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

from remit.ledger.model import CheckResult, ReportRow


class LedgerReader(Protocol):
    """Reads entries; nobody writes them through this port."""

    def report(
        self,
        by: Sequence[str],
        since: datetime | None,
        until: datetime | None,
        only: Mapping[str, Sequence[str]] | None = None,
    ) -> tuple[list[ReportRow], int]:
        """Sums of charges by group, largest first, and their sum without grouping, as of the same instant."""
        ...

    def total_nanousd(self, since: datetime | None, until: datetime | None) -> int:
        """Sum of charges, computed without grouping."""
        ...

    def unknown_tags(self, names: Sequence[str]) -> list[str]:
        """Those of the names that no charge has as a tag, whenever it was, and that no vocabulary governs."""
        ...

    def reports_of_buckets(self) -> list[tuple[str, int, int]]:
        """For every limit in money at the top of the tree: its name, what a report comes to, and what is posted.

        The report is the one of its grant and period; amounts are in nano-USD, as of one instant.
        """
        ...

    def tail(self, count: int, after_seq: int | None) -> list[dict[str, Any]]:
        """The newest entries, oldest first; with `after_seq`, the first entries after that one."""
        ...

    def checks(self) -> Iterable[CheckResult]:
        """Runs the checks of the books, one after the other."""
        ...
