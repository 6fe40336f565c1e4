"""What outcomes need from storage."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from remit.grants.model import Problem
from remit.outcomes.model import Event, Facts, RecordedEvent, Wanted


@dataclass(frozen=True, slots=True, kw_only=True)
class Assertion:
    """Who asserts, with which person token (None where the database was opened directly), and when."""

    by: str
    token_id: str | None
    at: datetime


@dataclass(frozen=True, slots=True)
class Known:
    """An event as it is kept; `is_new` where this was the first time it was said."""

    recorded: RecordedEvent
    is_new: bool


class Outcomes(Protocol):
    """Keeps events and reads what reports are made from; nobody changes or removes anything through this port."""

    def record(self, events: Sequence[Event], assertion: Assertion) -> list[Known] | Problem:
        """Keeps all of these events or none; one that is known already is answered, one that differs is a problem."""
        ...

    def page(self, after: int, count: int, **wanted: Any) -> list[tuple[RecordedEvent, str]]:
        """Events after a number, oldest first, each with its grant's path."""
        ...

    def facts(self, wanted: Wanted) -> Facts:
        """All that a report is made from, as of one instant."""
        ...
