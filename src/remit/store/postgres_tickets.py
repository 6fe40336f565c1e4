"""Tickets in PostgreSQL, in one open transaction of the authority's role, and for people who look them up."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from datetime import datetime, timedelta
from typing import Any, cast

import psycopg
from psycopg.types.json import Jsonb

from remit.grants.ports import Said
from remit.grants.suggested import LONGEST_PERIOD, WINDOW_DAYS, PeriodUse
from remit.kernel.clock import Clock
from remit.kernel.periods import BEGINNING, PeriodKind
from remit.outcomes.rules import cost_by_kind
from remit.renewals.model import Event, Ticket, Use
from remit.renewals.ports import Glass, Notice, Owed, RoundDue, StaleTicketError, Trip
from remit.store.authored import written_as
from remit.store.enqueue import Wanted, defer, for_notification, for_ticket
from remit.store.named import query
from remit.store.postgres_debts import PostgresDebts, dedupe_key
from remit.store.postgres_outcomes import read_spend_of
from remit.store.postgres_trips import PostgresTrips
from remit.store.rows import dicts

_AT_ONCE = 100
# As long as a month, whatever the grant's own periods are.
OUTCOME_DAYS = 30

_ANY: Mapping[str, Any] = {
    "id": None,
    "state": None,
    "kind": None,
    "dedupe_key": None,
    "person": None,
    "assignee": None,
    "nodes": None,
    "viewer": None,
    "within": None,
    "after": None,
    "by_id": False,
    "count": 100_000,
}


class PostgresTickets:
    """Implements `remit.renewals.ports.Tickets` and `Queue` over a connection whose transaction its user ends."""

    def __init__(self, connection: psycopg.Connection, clock: Clock) -> None:
        self._connection = connection
        self._clock = clock

    def insert(self, ticket: Ticket) -> None:
        self._connection.execute(query("ticket_insert"), _columns(ticket))
        defer(self._connection, self._clock.now(), for_ticket(ticket))

    def update(self, ticket: Ticket) -> None:
        if self._connection.execute(query("ticket_update"), _columns(ticket)).rowcount != 1:
            raise StaleTicketError(ticket.id)
        defer(self._connection, self._clock.now(), for_ticket(ticket))

    def find(self, ticket_id: str) -> Ticket | None:
        return next(iter(self.listed(id=ticket_id)), None)

    def open_with(self, dedupe_key: str) -> Ticket | None:
        return next(iter(self.listed(dedupe_key=dedupe_key, state="open")), None)

    def was_ever_open(self, dedupe_key: str) -> bool:
        return bool(self.listed(dedupe_key=dedupe_key, count=1))

    def waiting_of(self, requester: str) -> int:
        row = self._connection.execute(query("ticket_waiting"), {"requester": requester}).fetchone()
        assert row is not None, "a count is a row"
        return int(row[0])

    def all_open(self) -> list[Ticket]:
        return self.listed(state="open")

    def listed(self, **wanted: Any) -> list[Ticket]:
        """Tickets of those terms, the first due first.

        Terms are `id`, `state`, `kind`, `dedupe_key`, `person` (who asks or is asked), `assignee`, `nodes` with `viewer` (about
        these grants, or theirs), `within` (a path: of the grant there and below), `after` with `by_id`, `count`.
        """
        return [_ticket(row) for row in dicts(self._connection.execute(query("ticket_list"), {**_ANY, **wanted}))]

    def record(self, event: Event) -> None:
        self._connection.execute(
            query("ticket_event_insert"),
            {
                "ticket_id": event.ticket_id,
                "at": event.at,
                "who": event.who,
                "what": event.what,
                "text": event.text,
                "source": event.source,
            },
        )

    def events(self, ticket_id: str) -> list[Event]:
        rows = self._connection.execute(query("ticket_events"), {"ticket_id": ticket_id}).fetchall()
        return [
            Event(ticket_id=row[0], at=row[1], who=row[2], what=row[3], text=row[4], source=row[5], seq=row[6])
            for row in rows
        ]

    def notify(self, notice: Notice) -> bool:
        cursor = self._connection.execute(
            query("ticket_notify"),
            {
                "kind": notice.kind,
                "node_id": notice.grant_id,
                "number": notice.number,
                "occasion": notice.occasion or BEGINNING,
                "ticket_id": notice.ticket_id,
                "recipients": list(notice.recipients),
                "body": Jsonb(dict(notice.body)),
                "now": self._clock.now(),
            },
        )
        if cursor.rowcount == 1:
            defer(self._connection, self._clock.now(), for_notification(self._connection))
        return cursor.rowcount == 1

    def use(self, grant_id: str, now: datetime) -> Sequence[Use]:
        rows = self._connection.execute(query("ticket_use"), {"grant_id": grant_id, "now": now}).fetchall()
        return [
            Use(period_kind=row[0], start=row[1], end=row[2], limit=row[3], posted=row[4], held=row[5]) for row in rows
        ]

    def periods(self, grant_id: str, now: datetime) -> Sequence[PeriodUse]:
        asked = {"grant_id": grant_id, "since": now - timedelta(days=WINDOW_DAYS) - LONGEST_PERIOD}
        return [PeriodUse(*row) for row in self._connection.execute(query("ticket_periods"), asked).fetchall()]

    def prices_moved(self, grant_id: str, now: datetime) -> bool:
        row = self._connection.execute(query("prices_moved"), {"grant_id": grant_id, "now": now}).fetchone()
        return row is not None and bool(row[0])

    def evidence(self, grant_id: str, now: datetime) -> Mapping[str, Any]:
        uses = self.use(grant_id, now)
        last = self._connection.execute(query("ticket_last_call"), {"grant_id": grant_id}).fetchone()
        refused = self._connection.execute(query("ticket_refusals"), {"grant_id": grant_id, "now": now}).fetchall()
        return {
            "use": [
                {
                    "period": one.period_kind,
                    "start": one.start.isoformat(),
                    "limit_nanousd": one.limit,
                    "posted_nanousd": one.posted,
                    "held_nanousd": one.held,
                    "unused_percent": _unused_percent(one),
                    "forecast_nanousd": _forecast(one, now),
                }
                for one in uses
            ],
            "last_call_at": None if last is None or last[0] is None else last[0].isoformat(),
            "refusals": [{"kind": row[0], "count": row[1], "last_at": row[2].isoformat()} for row in refused],
            **self._outcomes(grant_id, now),
        }

    def _outcomes(self, grant_id: str, now: datetime) -> dict[str, Any]:
        """What the outcomes of the last days cost, by kind; the headline is that of the kind with the most of them.

        Where nobody asserted any it is unknown, which is not zero; so is the cost per success of a kind without one.
        """
        found = read_spend_of(self._connection, grant_id, now, OUTCOME_DAYS)
        kinds = None if found is None else cost_by_kind(*found)
        if not kinds:
            return {"cost_per_outcome_nanousd": None, "outcomes": None}
        first = kinds[0]["cost_per_success_nanousd"]
        return {"cost_per_outcome_nanousd": first, "outcomes": {"days": OUTCOME_DAYS, "kinds": kinds}}

    def renewals_in_a_row(self, grant_id: str) -> int:
        rows = self._connection.execute(query("ticket_renewals"), {"grant_id": grant_id}).fetchall()
        automatic = [bool(row[0]) for row in rows]
        return automatic.index(False) if False in automatic else len(automatic)

    def envelope_author(self, grant_id: str) -> str:
        row = self._connection.execute(query("envelope_author"), {"grant_id": grant_id}).fetchone()
        assert row is not None, "a grant has a revision"
        return str(row[0])

    def begin_break_glass(self, ticket: Ticket) -> None:
        done = ticket.evidence["done"]
        ends_at = datetime.fromisoformat(done["ends_at"])
        row = {"ticket_id": ticket.id, "ends_at": ends_at, "raised": Jsonb(done["raised"])}
        self._connection.execute(query("glass_insert"), row)
        defer(self._connection, self._clock.now(), [Wanted(task="escalate", due=ends_at)])

    def break_glasses_due(self, now: datetime) -> list[Glass]:
        rows = self._connection.execute(query("glass_due"), {"now": now}).fetchall()
        return [Glass(ticket_id=row[0], ends_at=row[1], raised=row[2]) for row in rows]

    def end_break_glass(self, ticket_id: str, now: datetime) -> None:
        self._connection.execute(query("glass_end"), {"ticket_id": ticket_id, "now": now})

    def due(self, now: datetime, remind: Sequence[timedelta]) -> RoundDue:
        row = self._connection.execute(query("round_due"), {"now": now, "remind": list(remind)}).fetchone()
        assert row is not None, "it is one row of two"
        return RoundDue(tells=row[0], decides=row[1])

    def grace_until(self, grant_id: str) -> datetime | None:
        row = self._connection.execute(query("grace_last"), {"grant_id": grant_id}).fetchone()
        return None if row is None else row[0]

    def keep_grace(self, grant_id: str, regular_until: datetime, until: datetime) -> None:
        row = {"grant_id": grant_id, "regular_until": regular_until, "until": until}
        self._connection.execute(query("grace_insert"), row)

    def debts_without_ticket(self, now: datetime) -> list[Owed]:
        debts = PostgresDebts(lambda: nullcontext(self._connection), self._clock).without_ticket()
        owed = (
            Owed(
                grant_id=debt.grant_id,
                period_kind=cast(PeriodKind, debt.period),
                period_start=debt.period_start,
                amount_nanousd=debt.outstanding,
                key=dedupe_key(debt),
            )
            for debt in debts
            if debt.period_start is not None
        )
        # A ticket that was declined left the debt to be repaid: it is not asked about again.
        return [one for one in owed if not self.was_ever_open(one.key)]

    def trips_without_ticket(self) -> list[Trip]:
        rows = PostgresTrips(lambda: nullcontext(self._connection)).without_ticket(_AT_ONCE)
        return [Trip(id=row["id"], grant_id=row["grant_id"], about=_json(row)) for row in rows]

    @contextmanager
    def written_as(self, author: str, reason: str) -> Iterator[None]:
        said = Said(at=self._clock.now(), actor=author, operation="ticket decide", reason=reason)
        with written_as(self._connection, said):
            yield

    @contextmanager
    def trial(self) -> Iterator[None]:
        with self._connection.transaction(force_rollback=True):
            yield


def _columns(ticket: Ticket) -> Mapping[str, Any]:
    names = Ticket.__dataclass_fields__
    columns = {name: getattr(ticket, name) for name in names}
    return columns | {
        "assignees": list(ticket.assignees),
        "approved_by": list(ticket.approved_by),
        "effect": Jsonb(dict(ticket.effect)),
        "evidence": Jsonb(dict(ticket.evidence)),
    }


def _ticket(row: dict[str, Any]) -> Ticket:
    return Ticket(**row | {"assignees": tuple(row["assignees"]), "approved_by": tuple(row["approved_by"])})


def _json(row: Mapping[str, Any]) -> dict[str, Any]:
    """The row as a ticket's evidence keeps it."""
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in row.items()}


def _unused_percent(use: Use) -> int | None:
    return None if not use.limit else max(0, (use.limit - use.posted - use.held) * 100 // use.limit)


def _forecast(use: Use, now: datetime) -> int | None:
    """What the period will have cost at the pace so far; None for one that is over or never is."""
    if not use.start < now < use.end or use.period_kind == "once":
        return None
    elapsed = (now - use.start) // timedelta(microseconds=1)
    return use.posted * ((use.end - use.start) // timedelta(microseconds=1)) // elapsed
