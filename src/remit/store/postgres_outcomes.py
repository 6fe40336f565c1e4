"""Outcomes in PostgreSQL: events as they are asserted, and what reports are made from."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Any

import psycopg

from remit.grants.model import Problem
from remit.kernel.periods import BEGINNING
from remit.ledger.model import ArchivedError
from remit.outcomes.model import (
    LOOK_BACK,
    Event,
    Facts,
    Join,
    Outcome,
    RecordedEvent,
    Said,
    Spend,
    Total,
    Wanted,
    ordered,
)
from remit.outcomes.ports import Assertion, Known
from remit.outcomes.rules import conflict, fold, outcome_of
from remit.store.archived_months import bring_back
from remit.store.archived_seals import OpensArchive, no_archive
from remit.store.connect import Opens, connect
from remit.store.named import query
from remit.store.postgres_rollups import Asked, charges_by, total_charged
from remit.store.rows import dicts

MOST_MONTHS = 13
"""So many months of the archive are copied for one report: a year, and what is looked back."""

_ANY: dict[str, Any] = {
    "after": 0, "kind": None, "subject": None, "source": None, "event_id": None, "since": None, "until": None,
    "nodes": None, "count": 1,
}  # fmt: skip


class PostgresOutcomes:
    """Implements `remit.outcomes.ports.Outcomes`: writes over the authority's connections, reads facts in the reader's role."""

    def __init__(self, opens: Opens, url: str, archive: OpensArchive = no_archive) -> None:
        self._opens = opens
        self._url = url
        self._archive = archive

    def record(self, events: Sequence[Event], assertion: Assertion) -> list[Known] | Problem:
        """Keeps all of these events or none. An event that is known already is answered and changes nothing."""
        problem: Problem | None = None
        known: list[Known] = []
        with self._opens() as connection, connection.transaction():
            # One after the other: batches with the same subjects in another order would wait for each other for ever.
            connection.execute(query("outcome_lock"))
            for number, event in enumerate(events):
                answer = _recorded(connection, event, assertion)
                if isinstance(answer, Problem):
                    field = answer.field if len(events) == 1 else f"[{number}].{answer.field}"
                    problem = Problem(code=answer.code, path=answer.path, detail=answer.detail, field=field)
                    raise psycopg.Rollback
                known.append(answer)
        return known if problem is None else problem

    def page(self, after: int, count: int, **wanted: Any) -> list[tuple[RecordedEvent, str]]:
        """Events after a number, oldest first, each with its grant's path.

        Terms are `kind`, `subject`, `source`, `event_id`, `since`, `until` and `nodes` (ids of grants, with what is below).
        """
        with self._opens() as connection:
            rows = dicts(
                connection.execute(query("outcome_events_page"), {**_ANY, **wanted, "after": after, "count": count})
            )
        return [(_event(row), row["path"]) for row in rows]

    def facts(self, wanted: Wanted) -> Facts:
        """All that a report is made from, as of one instant; what is in the archive alone is read there.

        Raises ArchivedError where it cannot be, or is too much at once.
        """
        with connect(self._url, "remit_reader") as connection:
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            with connection.transaction():
                connection.execute(query("entries_shared"))
                months = _archived(connection, wanted)
                if len(months) > MOST_MONTHS:
                    raise ArchivedError(
                        f"{len(months)} months of it are in the archive, and at most {MOST_MONTHS} are read at once: name a later begin"
                    )
                bring_back(connection, months, self._archive)
                connection.execute("SET TRANSACTION READ ONLY")
                spend, outcomes = read_spend(connection, wanted)
                nodes = None if wanted.nodes is None else list(wanted.nodes)
                asked = Asked(wanted.since, wanted.until, nodes)
                rows = charges_by(connection, wanted.by, asked)
                # Not from the same question: a sum that was made otherwise shows what a wrong grouping would hide.
                total = total_charged(connection, asked)
        totals = tuple(Total(row.group, row.amount_nanousd, row.suspense_nanousd) for row in rows)
        return Facts(outcomes, spend, totals, total)


def _archived(connection: psycopg.Connection, wanted: Wanted) -> list[date]:
    """The months that are in the archive alone of those that are looked at."""
    asked = {"kind": wanted.kind, "from": _from(wanted), "until": wanted.until}
    return [row[0] for row in connection.execute(query("months_archived_in"), asked).fetchall()]


def _from(wanted: Wanted) -> datetime | None:
    return None if wanted.since is None or wanted.since < BEGINNING else wanted.since - LOOK_BACK


def _recorded(connection: psycopg.Connection, event: Event, assertion: Assertion) -> Known | Problem:
    outcome = outcome_of(event)
    row = {
        "outcome_id": outcome, "source": event.source, "event_id": event.event_id, "kind": event.kind,
        "subject": event.subject, "grant_id": event.grant_id, "status": event.status, "value_nanousd": event.value_nanousd,
        "evidence_url": event.evidence_url, "weight_ppm": event.weight_ppm, "occurred_at": event.occurred_at,
        "recorded_at": assertion.at, "asserted_by": assertion.by, "asserted_with": assertion.token_id,
    }  # fmt: skip
    known = _known(connection, event)
    if known is not None:
        return conflict(known.event, event) or Known(known, is_new=False)
    connection.execute(query("outcome_put"), row)
    at = connection.execute(query("outcome_grant"), row).fetchone()
    assert at is not None, "it is there by now"
    if at[0] != event.grant_id:
        detail = f"`{event.subject}` of `{event.source}` was asserted at another grant, and stays an outcome of that"
        return Problem(code="conflict_different_grant", path="", field="grant", detail=detail)
    put = connection.execute(query("outcome_event_put"), row).fetchone()
    assert put is not None, "nobody else asserts meanwhile"
    for join in event.joins:
        values = {
            "kind": join.kind,
            "name": join.name,
            "value": join.value,
            "since": join.since,
            "until": join.until,
        }
        connection.execute(query("outcome_join_put"), {**values, "event_seq": put[0], "outcome_id": outcome})
    known = _known(connection, event)
    assert known is not None, "it was put there"
    return Known(known, is_new=True)


def _known(connection: psycopg.Connection, event: Event) -> RecordedEvent | None:
    asked = {**_ANY, "source": event.source, "event_id": event.event_id}
    rows = dicts(connection.execute(query("outcome_events_page"), asked))
    return _event(rows[0]) if rows else None


def _event(row: dict[str, Any]) -> RecordedEvent:
    joins = {
        Join(how, value, name, _instant(since), _instant(until)) for how, name, value, since, until in row["joins"]
    }
    event = Event(
        joins=ordered(joins),
        **{name: row[name] for name in Event.__dataclass_fields__ if name != "joins"},
    )
    return RecordedEvent(
        seq=row["seq"],
        outcome_id=row["outcome_id"],
        event=event,
        asserted_by=row["asserted_by"],
        asserted_with=row["asserted_with"],
        recorded_at=row["recorded_at"],
    )


def _instant(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def read_spend(connection: psycopg.Connection, wanted: Wanted) -> tuple[tuple[Spend, ...], dict[str, Outcome]]:
    """Spend by the outcomes it belongs to, and these with those that were decided in the span, as the connection sees them."""
    nodes = None if wanted.nodes is None else list(wanted.nodes)
    asked = {
        "kind": wanted.kind,
        "since": wanted.since,
        "until": wanted.until,
        "from": _from(wanted),
        "nodes": nodes,
        "by": list(wanted.by),
    }
    rows = connection.execute(query("outcome_spend"), asked).fetchall()
    spend = tuple(Spend(row[0], tuple(row[1]), tuple(row[2]), *row[3:]) for row in rows)
    ids = sorted({name for part in spend for name in part.outcomes})
    said: dict[tuple[str, str], list[Said]] = defaultdict(list)
    for outcome, kind, *parts in connection.execute(query("outcome_said"), {**asked, "ids": ids}).fetchall():
        said[outcome, kind].append(Said(*parts))
    return spend, {outcome: fold(outcome, kind, events) for (outcome, kind), events in said.items()}


def read_spend_of(
    connection: psycopg.Connection, grant_id: str, now: datetime, days: int
) -> tuple[Facts, Wanted] | None:
    """The same of one grant and what is below it, for the days before now.

    None where nothing was asserted of it, or some of what was spent is in the archive alone.

    No sum of the ledger is asked for: this is read while others wait, and after one look at the events where there are none.
    """
    since = now - timedelta(days=days)
    row = connection.execute(query("outcome_any"), {"node": grant_id, "since": since, "until": now}).fetchone()
    if row is None or not row[0]:
        return None
    wanted = Wanted(since=since, until=now, nodes=(grant_id,), by=())
    if _archived(connection, wanted):
        return None
    spend, outcomes = read_spend(connection, wanted)
    return Facts(outcomes, spend, (), 0), wanted
