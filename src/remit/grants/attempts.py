"""What is refused or tried in vain, counted until it is written: bounded, and without a write for each request. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

MAX_KEYS = 1000
"""So many different attempts are counted one by one between two writes; others count under their kind alone."""
OTHERS = "(others)"
REFUSED = "refused_"
"""What the kind of a refusal that counts by its code alone begins with."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """What was tried. `subject` is an access key's id or a capability's first block: both are the issuer's words."""

    grant_id: str
    kind: str
    subject: str
    tag: str = ""
    value: str = ""


@dataclass(slots=True)
class Count:
    """How often, first and last when."""

    count: int
    first: datetime
    last: datetime


class Attempts:
    """Counts of attempts; nothing is lost but detail, and that is counted as `(others)`."""

    def __init__(self) -> None:
        self._counts: dict[Attempt, Count] = {}

    def __len__(self) -> int:
        return len(self._counts)

    def add(self, attempt: Attempt, at: datetime, count: int = 1, first: datetime | None = None) -> None:
        """Counts an attempt."""
        known = self._counts.get(attempt)
        if known is None and len(self._counts) >= MAX_KEYS:
            attempt = Attempt("", attempt.kind, OTHERS, OTHERS, OTHERS)
            known = self._counts.get(attempt)
        if known is not None:
            known.count += count
            known.first, known.last = min(known.first, first or at), max(known.last, at)
        else:
            self._counts[attempt] = Count(count, first or at, at)

    def take(self) -> list[tuple[Attempt, Count]]:
        """What was counted, and begins anew."""
        taken, self._counts = list(self._counts.items()), {}
        return taken

    def give_back(self, taken: Iterable[tuple[Attempt, Count]]) -> None:
        """Counts again what could not be written."""
        for attempt, count in taken:
            self.add(attempt, count.last, count.count, count.first)
