"""The frozen types of tickets. Amounts are integers in nano-USD, instants are aware and in UTC."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, Literal, get_args

TicketKind = Literal["grant", "renew", "increase", "transfer", "break_glass", "debt", "finding", "books"]
TicketState = Literal["open", "approved", "declined", "withdrawn", "expired"]
Tier = Literal["auto", "small", "standard", "large"]
What = Literal["opened", "commented", "approved", "declined", "withdrawn", "expired", "escalated", "reassigned"]
Source = Literal["remit", "command", "api", "slack", "github", "jira", "email"]

KINDS: Final[tuple[str, ...]] = get_args(TicketKind)
STATES: Final[tuple[str, ...]] = get_args(TicketState)

SYSTEM: Final = "remit"
"""Who opens what no person asked for, and decides what an envelope or the passing of time decides."""

ASKING: Final = frozenset({"ticket_opened", "ticket_escalated"})
"""The kinds of notification that go to people who are asked for a decision, and to nobody else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticket:
    """A request for a person's decision, as it stands now.

    `assignees` are the people it waits for at its level; level 0 is whoever stands above the grant, then come the rota
    and the owners of the organisation. `needed` decisions by as many people carry the effect out. `evidence` was
    gathered when the ticket was opened. `effect` is the body of an effect (`effects.py`).
    """

    id: str
    kind: TicketKind
    grant_id: str | None
    path: str
    requester: str
    assignees: tuple[str, ...]
    tier: Tier
    opened_at: datetime
    due_at: datetime
    expires_at: datetime
    reason: str
    effect: Mapping[str, Any]
    evidence: Mapping[str, Any]
    needed: int = 1
    approved_by: tuple[str, ...] = ()
    level: int = 0
    state: TicketState = "open"
    decided_at: datetime | None = None
    decided_by: str | None = None
    decision_reason: str | None = None
    dedupe_key: str | None = None
    revision: int = 1

    @property
    def is_open(self) -> bool:
        return self.state == "open"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One thing that happened to a ticket; events are never changed. `seq` is given by the store."""

    ticket_id: str
    at: datetime
    who: str
    what: What
    text: str = ""
    source: Source = "remit"
    seq: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What an organisation settled about its queue. Amounts are worst cases per month.

    A ticket that raises the worst case by at most `small_nanousd` is small, by `large_nanousd` or more large. It waits
    for the first people as long as its tier says, as long again after each escalation, and then expires.
    """

    small_nanousd: int = 500 * 1_000_000_000
    large_nanousd: int = 10_000 * 1_000_000_000
    due: Mapping[Tier, timedelta] = field(
        default_factory=lambda: {
            "auto": timedelta(hours=24),
            "small": timedelta(hours=24),
            "standard": timedelta(hours=72),
            "large": timedelta(hours=120),
        }
    )
    break_glass_due: timedelta = timedelta(hours=1)
    break_glass_max_nanousd: int = 1_000 * 1_000_000_000
    break_glass_max_life: timedelta = timedelta(hours=24)
    remind: tuple[timedelta, ...] = (timedelta(days=14), timedelta(days=7), timedelta(days=2))


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """How a grant's usd limit was used in one period, in nano-USD; `limit` is None where the bucket is gone."""

    period_kind: str
    start: datetime
    end: datetime
    limit: int | None
    posted: int
    held: int
