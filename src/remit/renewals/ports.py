"""What the ticket service needs from storage, all of it inside one write of the tree."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Literal, Protocol

from remit.grants.model import Problem, RoleBinding
from remit.grants.suggested import PeriodUse
from remit.kernel.periods import PeriodKind
from remit.ledger.months import Bill, Waived
from remit.renewals.model import Event, Ticket, Use


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """A notification to people by name."""

    kind: str
    grant_id: str
    recipients: tuple[str, ...]
    body: Mapping[str, Any]
    ticket_id: str = ""
    occasion: datetime | None = None
    number: int = 0


class Tickets(Protocol):
    """Tickets and their events, in one open transaction."""

    def insert(self, ticket: Ticket) -> None:
        """Stores a new ticket."""
        ...

    def update(self, ticket: Ticket) -> None:
        """Stores the next revision of a ticket. Raises StaleTicketError where the stored one is not the one before."""
        ...

    def find(self, ticket_id: str) -> Ticket | None: ...

    def open_with(self, dedupe_key: str) -> Ticket | None:
        """The open ticket of that key."""
        ...

    def waiting_of(self, requester: str) -> int:
        """How many tickets that a person asked for are open."""
        ...

    def all_open(self) -> list[Ticket]:
        """Every open ticket, the first due first."""
        ...

    def record(self, event: Event) -> None:
        """Appends an event."""
        ...

    def events(self, ticket_id: str) -> list[Event]:
        """What happened, oldest first."""
        ...

    def notify(self, notice: Notice) -> bool:
        """Writes a notification, once for a kind, grant, ticket, occasion and number; whether it is new."""
        ...

    def evidence(self, grant_id: str, now: datetime) -> Mapping[str, Any]:
        """JSON-able: how the grant was used, and what it was refused."""
        ...

    def use(self, grant_id: str, now: datetime) -> Sequence[Use]:
        """Its usd buckets: those that hold `now` first, then earlier ones, newest first."""
        ...

    def periods(self, grant_id: str, now: datetime) -> Sequence[PeriodUse]:
        """How much of its limits it used in the periods that its limits are suggested from."""
        ...

    def prices_moved(self, grant_id: str, now: datetime) -> bool:
        """Whether what the grant calls costs over a tenth more than it did."""
        ...

    def renewals_in_a_row(self, grant_id: str) -> int:
        """How often an envelope renewed the grant since a person last did."""
        ...

    def envelope_author(self, grant_id: str) -> str:
        """Who wrote the envelope of this grant's boundary as it stands."""
        ...

    def begin_break_glass(self, ticket: Ticket) -> None:
        """Keeps what an approved break-glass raised (`evidence["done"]`), so that it can be taken back."""
        ...

    def written_as(self, author: str, reason: str) -> AbstractContextManager[None]:
        """A block whose writes are audited as somebody's, and why, who is not whoever made the request."""
        ...

    def trial(self) -> AbstractContextManager[None]:
        """A block whose writes are undone at its end."""
        ...


class People(Protocol):
    """Who is there, who stands in for whom, and who has which role."""

    def is_active(self, name: str) -> bool: ...

    def left(self) -> frozenset[str]:
        """Everybody who left, by their key."""
        ...

    def delegate_of(self, name: str, now: datetime) -> str | None:
        """Who stands in for a person at the moment."""
        ...

    def rota(self, grant_ids: Sequence[str]) -> list[str]:
        """The approvers of the nearest of these grants (root first) that has any, else of the whole organisation."""
        ...

    def acts_for(self, name: str, grant_ids: Sequence[str]) -> frozenset[str]:
        """For which of these grants (a path, root first) a person may decide as their owner would: as an approver."""
        ...

    def roles(self, name: str) -> tuple[RoleBinding, ...]:
        """The roles a person has."""
        ...

    def org_owners(self) -> list[str]: ...

    def finance(self, grant_ids: Sequence[str]) -> list[str]:
        """Who decides about debts below these grants (a path): for the whole organisation, or by a role at one of them."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Glass:
    """A break-glass that was approved: what it raised (`{grant_id, path, dimension, period, amount}`), until when."""

    ticket_id: str
    ends_at: datetime
    raised: Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Owed:
    """An overdraft that is owed, in nano-USD."""

    grant_id: str
    period_kind: PeriodKind
    period_start: datetime
    amount_nanousd: int
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Trip:
    """A breaker that tripped, and what it said."""

    id: str
    grant_id: str
    about: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class RoundDue:
    """Whether a round may have something to tell people, and something to decide. False is certain, true is not."""

    tells: bool
    decides: bool


class Queue(Protocol):
    """What waits for the passing of time, in one open transaction."""

    def due(self, now: datetime, remind: Sequence[timedelta]) -> RoundDue:
        """What a round would find, as far as that can be said without the tree."""
        ...

    def grace_until(self, grant_id: str) -> datetime | None:
        """The end of the grace a grant was given last."""
        ...

    def keep_grace(self, grant_id: str, regular_until: datetime, until: datetime) -> None: ...

    def break_glasses_due(self, now: datetime) -> list[Glass]: ...

    def end_break_glass(self, ticket_id: str, now: datetime) -> None: ...

    def debts_without_ticket(self, now: datetime) -> list[Owed]:
        """Debts of periods that are over, which no ticket was opened about."""
        ...

    def trips_without_ticket(self) -> list[Trip]: ...

    def was_ever_open(self, dedupe_key: str) -> bool:
        """Whether there is a ticket of that key, open or ended."""
        ...


class Settlement(Protocol):
    """What became of a debt."""

    @property
    def settled(self) -> int:
        """In nano-USD."""
        ...


class Debts(Protocol):
    """Overdrafts that are owed."""

    def settle(
        self,
        grant_id: str,
        period: str,
        amount_nanousd: int,
        how: Literal["repay", "forgive"],
        *,
        by: str,
        note: str | None,
        key: str,
    ) -> Settlement | Problem:
        """Repays or forgives so much of a debt, exactly once per key; or why that cannot be."""
        ...


class StaleTicketError(Exception):
    """The stored revision of a ticket is not the expected one; nothing was written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """What a comparison proposes to book: who made it, and how much on each grant, by its id, in nano-USD."""

    made_by: str
    amounts: Mapping[str, int]


class Books(Protocol):
    """The books of the whole organization."""

    def proposal(self, reconciliation_id: str) -> Proposal | None:
        """What a reconciliation proposes; None where there is none of that id."""
        ...

    def close(
        self, month: date, bills: Sequence[Bill], waived: Sequence[Waived], *, by: str, reason: str, key: str
    ) -> int | Problem:
        """Closes a month of which the ticket is approved in the same transaction, if it is what was shown; its revision."""
        ...

    def post_proposed(
        self, reconciliation_id: str, digest: str, *, by: str, reason: str, key: str
    ) -> Sequence[str] | Problem:
        """Books what a reconciliation proposed, if it is what the digest is of, once; the ids of the entries."""
        ...

    def reopen(self, month: date, *, by: str, reason: str, key: str) -> int | Problem:
        """Opens a month again, of which the ticket is approved in the same transaction; its revision."""
        ...
