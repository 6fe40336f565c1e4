"""What findings need from storage."""

from datetime import datetime
from typing import Protocol

from remit.findings.model import Facts


class FindingsReader(Protocol):
    """Reads facts, as many as there are grants and keys: never the ledger from end to end."""

    def facts(self, now: datetime, since: datetime, left: frozenset[str] = frozenset()) -> Facts:
        """The facts as of now, with the use of periods that were not over at `since`.

        `left` are names of people who left.
        """
        ...
