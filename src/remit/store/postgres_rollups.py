"""Sums of charges by hour and day in PostgreSQL: keeping them, and reports that read them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from remit.ledger.model import ArchivedError, CheckResult, Difference, ReportRow
from remit.ledger.slices import slices
from remit.store.connect import Opens
from remit.store.named import query

_AT_ONCE = 20_000
MONTHS_AHEAD = 3


@dataclass(frozen=True, slots=True)
class Asked:
    """Which charges: `since <= held_at < until`, of one of `nodes` (grant ids), with one of the values of every name in `only`."""

    since: datetime | None
    until: datetime | None
    nodes: Sequence[str] | None = None
    only: Mapping[str, Sequence[str]] | None = None


class PostgresRollups:
    """Keeps the sums, over connections in the authority's role."""

    def __init__(self, opens: Opens) -> None:
        self._opens = opens

    def fold(self) -> int:
        """Adds every entry that is settled by now to the sums; answers the number up to which entries are in them.

        Each entry is added once, whoever folds at the same time and wherever one of them breaks off.
        """
        with self._opens() as connection:
            settled = _number(connection, query("settled_seq"), {})
            while True:
                folded = _number(connection, query("rollup_fold"), {"until": settled, "at_most": _AT_ONCE})
                if folded >= settled:
                    return folded

    def ensure_partitions(self, now: datetime) -> None:
        """Makes the partitions of this month and those to come where there are none, so that no entry lands beside them."""
        with self._opens() as connection:
            connection.execute(query("partitions_ensure"), {"now": now, "months": MONTHS_AHEAD})


def charges_by(connection: psycopg.Connection, by: Sequence[str], asked: Asked) -> list[ReportRow]:
    """Sums by group, largest first. To be called with the other reads it is to agree with in one snapshot.

    Raises ArchivedError for a span that cuts an hour of a month that is in the archive alone: sums are kept by whole hours.
    """
    rows = connection.execute(query("ledger_report"), {"by": list(by), **_parameters(connection, asked)}).fetchall()
    return [ReportRow(tuple(row[0]), *row[1:]) for row in rows]


def total_charged(connection: psycopg.Connection, asked: Asked) -> int:
    """The sum without grouping, in nano-USD. In a snapshot, as above: a fold between two statements would count entries twice."""
    return _number(connection, query("ledger_total"), _parameters(connection, asked))


def unknown_tags(connection: psycopg.Connection, names: Sequence[str], nodes: Sequence[str] | None) -> list[str]:
    """Those of the names that no vocabulary governs and no charge has as a tag. In a snapshot, as above."""
    folded = _number(connection, query("rollup_seq"), {})
    asked = {"names": list(names), "nodes": None if nodes is None else list(nodes), "folded": folded}
    return [row[0] for row in connection.execute(query("tags_unknown"), asked)]


def posted_check(connection: psycopg.Connection, ended_after: datetime) -> CheckResult:
    """I7 and I21 of the periods that ended after an instant: posted is what the sums say, held what open holds say."""
    places = {"usd": 0, "tokens": 1, "requests": 2}
    spent: dict[tuple[datetime, datetime], dict[str, tuple[int, ...]]] = {}
    differences = []
    rows = connection.execute(query("posted_lately"), {"ended_after": ended_after}).fetchall()
    for node, dimension, kind, starts, ends, posted, held, open_held in rows:
        if (starts, ends) not in spent:
            sums = connection.execute(query("spend_by_node"), _parameters(connection, Asked(starts, ends))).fetchall()
            spent[starts, ends] = {row[0]: tuple(row[1:]) for row in sums}
        expected = spent[starts, ends].get(node, (0, 0, 0))[places[dimension]]
        subject = f"{node} {dimension} {kind} {starts}"
        if posted != expected:
            differences.append(Difference("posted", f"{subject}: posted", expected, posted))
        if held != open_held:
            differences.append(Difference("posted", f"{subject}: held", open_held, held))
    title = "present buckets equal the sums of the ledger and the open holds"
    return CheckResult("posted", title, len(rows), tuple(differences))


def check_rollups(connection: psycopg.Connection) -> CheckResult:
    """Whether the sums that are kept are those of the entries, by hour and by day."""
    rows = connection.execute(query("check_rollups")).fetchall()
    return CheckResult(
        "rollups",
        "the sums that reports read are those of the entries",
        len(rows),
        tuple(
            Difference("rollups", subject, expected, found) for subject, expected, found in rows if expected != found
        ),
    )


def _parameters(connection: psycopg.Connection, asked: Asked) -> dict[str, Any]:
    parts = slices(asked.since, asked.until)
    first_day, end_day = parts.days or (None, None)
    rest = {"rest_from": [since for since, _ in parts.rest], "rest_until": [until for _, until in parts.rest]}
    if parts.rest and connection.execute(query("partitions_dropped_in"), rest).fetchone() == (True,):
        raise ArchivedError(
            "the report cuts an hour of a month whose entries are in the archive: ask for whole hours of UTC, or `remit ledger scan`"
        )
    return {
        "since": asked.since,
        "until": asked.until,
        "nodes": None if asked.nodes is None else list(asked.nodes),
        "only": None if not asked.only else Jsonb({name: list(values) for name, values in asked.only.items()}),
        "folded": _number(connection, query("rollup_seq"), {}),
        "first_day": first_day,
        "end_day": end_day,
        "hours_from": [since for since, _ in parts.hours],
        "hours_until": [until for _, until in parts.hours],
        # A constant, so that no plan looks at entries where there is nothing to look for.
        "has_rest": bool(parts.rest),
        **rest,
    }


def _number(connection: psycopg.Connection, sql: Any, parameters: Mapping[str, Any]) -> int:
    row = connection.execute(sql, parameters).fetchone()
    assert row is not None
    return int(row[0])
