"""What a channel is given, what it answers, and what is heard from one."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, Protocol

Action = Literal["approve", "decline", "comment", "withdraw", "open"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TicketFacts:
    """A ticket as it is now. Names of people are e-mail names; `asks` are the lines that say what a yes gives."""

    id: str
    state: str
    kind: str
    path: str
    requester: str
    assignees: tuple[str, ...]
    due_at: datetime
    asks: tuple[str, ...] = ()
    decided_by: str | None = None
    decision_reason: str | None = None

    @property
    def is_open(self) -> bool:
        return self.state == "open"


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A notification for people: what to say, to whom, and where it was said before.

    `thread` is where the channel keeps the ticket already. `so_far` is what an attempt before has reached.
    """

    id: int
    kind: str
    audience: str
    recipients: tuple[str, ...]
    title: str
    text: str
    facts: tuple[tuple[str, str], ...]
    ticket: TicketFacts | None
    created_at: datetime
    path: str
    body: Mapping[str, Any]
    thread: str | None = None
    so_far: str | None = None

    @property
    def asks(self) -> tuple[str, ...]:
        """What is asked, line by line, where the message is about that; under a comment it is not said again."""
        return () if self.ticket is None or self.kind == "ticket_commented" else self.ticket.asks


@dataclass(frozen=True, slots=True)
class Delivered:
    """It arrived. `remote_ref` is what the other side calls it."""

    remote_ref: str | None = None


@dataclass(frozen=True, slots=True)
class TryAgain:
    """It did not arrive, and may yet: after so many seconds, or with growing waits. `so_far` comes back next time."""

    after_seconds: int | None
    why: str
    so_far: str | None = None


@dataclass(frozen=True, slots=True)
class Dead:
    """It will never arrive. `status` is the HTTP status where the other side gave one, `body` what it said, if that is JSON."""

    why: str
    status: int | None = None
    body: Any = field(default=None, repr=False, compare=False)


Outcome = Delivered | TryAgain | Dead


class Channel(Protocol):
    """One way to people."""

    def deliver(self, message: Message) -> Outcome:
        """Carries one message, at least once. Raises nothing for what the other side does."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """What somebody did elsewhere, before it is known who they are here.

    `author` is the other side's name for them; `is_own` says that a machine did it, ourselves included. Of `ticket_id` and
    `remote_ref` one is there, or both.
    """

    action: Action
    author: str
    is_own: bool
    text: str
    ticket_id: str | None = None
    remote_ref: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """What a person wants done about a ticket. `source` is the channel; one `delivery_id` is one intent, however often."""

    source: str
    delivery_id: str
    action: Action
    person: str
    text: str
    ticket_id: str | None = None
    remote_ref: str | None = None


class Decides(Protocol):
    """Where intents are carried out."""

    def carry_out(self, intent: Intent) -> str:
        """What to say to the person; empty for nothing. An intent may come again when the process ended in the middle."""
        ...


@dataclass(frozen=True, slots=True)
class NotGenuine:
    """A message that is not from whom it says, or not from now."""

    why: str


class Hook(Protocol):
    """Hears one channel."""

    @property
    def name(self) -> str:
        """The channel's name in the settings."""
        ...

    def read(self, headers: Mapping[str, str], body: bytes, now: datetime) -> list[Heard] | NotGenuine:
        """What was done, after the signature was verified over the body as it came. Names of headers are lower case.

        Raises ValueError for a genuine body that cannot be read.
        """
        ...

    def person(self, heard: Heard) -> str | TryAgain | None:
        """Who the author is here; None for nobody."""
        ...

    def say(self, heard: Heard, text: str) -> None:
        """Says something where it was heard. What cannot be said is logged."""
        ...


@dataclass(frozen=True, slots=True)
class People:
    """Who people are on the other side: names here to names there, compared without regard to case."""

    there: Mapping[str, str] = field(default_factory=dict)

    def named(self, person: str) -> str | None:
        """The name there of a person here."""
        return next((there for here, there in self.there.items() if here.casefold() == person.casefold()), None)

    def person(self, name: str) -> str | None:
        """The person here behind a name there; None where that is nobody, or not one."""
        found = [here for here, there in self.there.items() if there.casefold() == name.casefold()]
        return found[0] if len(found) == 1 else None
