"""Jobs that follow from a write, deferred in the transaction of that write: there is the job exactly if there is the write.

What is to be done at an instant is said by our clock, and kept by the database's as the time that is left until then. A job that
comes too early finds nothing to do; what it would have done is found by the look that upkeep takes (`jobs_wanted.sql`).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, get_args

import psycopg
from psycopg.types.json import Jsonb

from remit.grants.model import Grant
from remit.kernel.decisions import Dimension
from remit.leases.rules import bucket_lines
from remit.leases.terms import terms_of_grant
from remit.renewals.model import Ticket
from remit.renewals.rounds import GRACE_AHEAD
from remit.store.named import query

Task = Literal[
    "expire", "remind", "escalate", "close_period", "deliver", "sync", "clean", "check_books", "feed", "export"
]
TASKS: tuple[Task, ...] = get_args(Task)
_CALENDAR = ("day", "week", "month", "quarter")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A job to be: `due` by our clock, now without one; `of` is what its task is about, where it has to know."""

    task: Task
    due: datetime | None = None
    of: str = ""
    arguments: dict[str, str] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """At most one job of a key runs at a time, and none is added to one that waits: either will do all there is."""
        work = f"{self.task}:{self.of}" if self.of else self.task
        return work if self.due is None else f"{work}@{_text(self.due)}"


def defer(connection: psycopg.Connection, now: datetime, jobs: Iterable[Wanted]) -> None:
    """Defers jobs in the transaction that is open, but for those that wait already.

    A job that waits is kept from starting until this transaction has ended: it sees what the transaction wrote.
    """
    found = {job.key: job for job in jobs}
    if not found:
        return
    wanted = [found[key] for key in sorted(found)]
    connection.execute(
        query("jobs_defer"),
        {
            "tasks": [job.task for job in wanted],
            "keys": [job.key for job in wanted],
            "waits": [timedelta() if job.due is None else max(job.due - now, timedelta()) for job in wanted],
            "arguments": [Jsonb(_arguments(job)) for job in wanted],
        },
    )


def for_grant(grant: Grant, now: datetime) -> list[Wanted]:
    """What time does to a grant that was written: its end, the grace before, its renewal, the end of its periods."""
    if grant.status not in ("active", "suspended", "requested") or grant.expires_at <= now:
        return []
    jobs = [Wanted(task="expire", due=grant.expires_at)]
    if grant.grant_class == "production":
        jobs.append(Wanted(task="escalate", due=grant.expires_at - GRACE_AHEAD))
    opens = grant.expires_at - timedelta(days=grant.renewal.lead_time_days)
    if opens > now:
        jobs.append(Wanted(task="remind", due=opens))
    return jobs + for_period_ends([grant], now)


def for_period_ends(grants: Iterable[Grant], now: datetime) -> list[Wanted]:
    """The end of every calendar period in which one of these grants, if live, has a limit now."""
    nothing: dict[Dimension, int] = {"usd": 0, "tokens": 0, "requests": 0}
    ends = {
        line.ends
        for grant in grants
        if grant.is_live(now)
        for line in bucket_lines(terms_of_grant(grant), nothing, now)
        if line.kind in _CALENDAR
    }
    return [Wanted(task="close_period", due=end) for end in ends]


def for_ticket(ticket: Ticket) -> list[Wanted]:
    """When silence does something to a ticket."""
    return [Wanted(task="escalate", due=min(ticket.due_at, ticket.expires_at))] if ticket.is_open else []


def for_notification(connection: psycopg.Connection) -> list[Wanted]:
    """Whoever carries what was written to people."""
    names = [row[0] for row in connection.execute(query("channel_names")).fetchall()]
    return [Wanted(task="deliver"), *for_channels(names)]


def for_channels(names: Sequence[str]) -> list[Wanted]:
    """The work of these channels."""
    return [Wanted(task="sync", of=name, arguments={"channel": name}) for name in names]


def for_sinks(names: Sequence[str]) -> list[Wanted]:
    """The work of these sinks."""
    return [Wanted(task="feed", of=name, arguments={"sink": name}) for name in names]


def for_exports(names: Sequence[str]) -> list[Wanted]:
    """The work of these exports."""
    return [Wanted(task="export", of=name, arguments={"export": name}) for name in names]


def _arguments(job: Wanted) -> dict[str, Any]:
    return {**job.arguments, **({} if job.due is None else {"due_at": _text(job.due)})}


def _text(instant: datetime) -> str:
    return instant.astimezone(UTC).isoformat().replace("+00:00", "Z")
