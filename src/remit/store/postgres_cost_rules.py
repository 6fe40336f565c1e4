"""Rules that divide cost, in PostgreSQL: as they are, their next revisions, and what a month was charged that they divide."""

from collections import defaultdict
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import date, datetime
from typing import Any

import msgspec
import psycopg
from psycopg.types.json import Jsonb

from remit.grants.effective import effective
from remit.grants.serialise import from_body
from remit.grants.tree import Tree
from remit.ledger.accounting import Bearer
from remit.ledger.allocate import CostRule, MonthFacts, Source, Target, Use, Used
from remit.ledger.months import month_text
from remit.store.authored import record_deed
from remit.store.connect import Opens
from remit.store.named import query

_Key = tuple[str, tuple[tuple[str, str], ...]]


class PostgresCostRules:
    """Over connections in the authority's role, or over that of one open write."""

    def __init__(self, opens: Opens) -> None:
        self._opens = opens

    def all(self, *, retired: bool = False) -> list[CostRule]:
        """Every rule by name; with `retired`, those that are no longer applied as well."""
        with self._opens() as connection:
            return _rules(connection, None, retired=retired)

    def find(self, name: str) -> CostRule | None:
        """The rule of that name, also a retired one."""
        with self._opens() as connection:
            return next(iter(_rules(connection, name, retired=True)), None)

    def put(self, rule: CostRule, now: datetime, by: str, reason: str) -> None:
        """Appends a revision. Who writes was said before, and the tree is locked."""
        body = {
            "source": {name: list(values) for name, values in rule.source.items()},
            "method": rule.method,
            "use": None if rule.use is None else asdict(rule.use),
            "targets": [{"grant_id": one.grant_id, "tags": dict(one.tags), "ppm": one.ppm} for one in rule.targets],
        }
        with self._opens() as connection:
            connection.execute(
                query("cost_rule_put"),
                {
                    "name": rule.name,
                    "revision": rule.revision,
                    "owner": rule.owner,
                    "description": rule.description,
                    "body": Jsonb(msgspec.json.decode(msgspec.json.encode(body))),
                    "is_retired": rule.is_retired,
                    "changed_at": now,
                    "changed_by": by,
                    "reason": reason,
                },
            )

    def agree(self, rule: CostRule, now: datetime, by: str, reason: str) -> None:
        """Keeps that somebody else than who wrote a revision stands behind it. Who writes was said before, and the tree is locked."""
        values = {"name": rule.name, "revision": rule.revision, "at": now, "by": by, "reason": reason}
        with self._opens() as connection:
            connection.execute(query("cost_rule_agreed"), values)
            record_deed(connection, "cost_rule_agreement", rule.name, None, {"revision": rule.revision, "by": by})

    def facts(self, rule: CostRule, month: date) -> MonthFacts:
        """What the rule is applied to, as of one moment: that of the open write, or one of its own."""
        with self._snapshot() as connection:
            tree = Tree(from_body(row[0]) for row in connection.execute(query("tree_grants")).fetchall())
            source = Jsonb({name: list(values) for name, values in rule.source.items()})
            charged = connection.execute(query("cost_source"), {"month": month, "source": source}).fetchall()
            mine, others = _moved(connection, rule.name, month)
            (runs,) = _row(connection, "cost_runs", {"month": month_text(month), "rule": rule.name})
            used: dict[_Key, int] = defaultdict(int)
            for grant_id, value, amount in _uses(connection, rule, month, source):
                tags = labels_of(tree, grant_id)
                if rule.use is not None and rule.use.by != "grant" and value is not None:
                    tags |= {rule.use.by: value}
                used[_key(grant_id, tags)] += amount
        named = {one.grant_id for one in rule.targets if one.grant_id is not None}
        return MonthFacts(
            month=month,
            runs=runs,
            sources=[
                Source(
                    bearer=Bearer(grant_id=grant_id, tags=tags),
                    matched=matched,
                    in_all=in_all,
                    moved=mine[_key(grant_id, tags)],
                    elsewhere=others[_key(grant_id, tags)],
                )
                for grant_id, tags, matched, in_all in charged
            ],
            used=[
                Used(bearer=Bearer(grant_id=key[0], tags=dict(key[1])), amount=amount) for key, amount in used.items()
            ],
            labels={one: labels_of(tree, one) for one in named},
        )

    def booked_in(self, held_at: datetime) -> date:
        """The month in which what was used at that instant would be booked now."""
        with self._opens() as connection:
            (month,) = _row(connection, "booked_month", {"held_at": held_at})
        assert isinstance(month, date)
        return month

    @contextmanager
    def _snapshot(self) -> Iterator[psycopg.Connection]:
        with self._opens() as connection:
            if connection.info.transaction_status != psycopg.pq.TransactionStatus.IDLE:
                # A write is open, and whoever writes entries waits for it.
                yield connection
                return
            with connection.transaction():
                connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
                yield connection


def labels_of(tree: Tree, grant_id: str) -> dict[str, str]:
    """What the scope of a grant and of those above it says: the tags its calls are charged under."""
    return effective(tree.path_to(tree[grant_id])).scope.labels()


def _rules(connection: psycopg.Connection, name: str | None, *, retired: bool) -> list[CostRule]:
    rows: Collection[tuple[Any, ...]] = connection.execute(
        query("cost_rules"), {"name": name, "retired": retired}
    ).fetchall()
    return [
        CostRule(
            name=row[0],
            revision=row[1],
            owner=row[2],
            description=row[3],
            source=row[4]["source"],
            method=row[4]["method"],
            use=None if row[4].get("use") is None else Use(**row[4]["use"]),
            targets=tuple(Target(**one) for one in row[4].get("targets", ())),
            is_retired=row[5],
            written_by=row[6],
            agreed_by=row[7],
        )
        for row in rows
    ]


def _moved(
    connection: psycopg.Connection, rule: str, month: date
) -> tuple[defaultdict[_Key, int], defaultdict[_Key, int]]:
    """What this rule, and what others, moved away of the month before, by who bore it."""
    mine: defaultdict[_Key, int] = defaultdict(int)
    others: defaultdict[_Key, int] = defaultdict(int)
    for name, grant_id, tags, moved in connection.execute(query("cost_moved"), {"month": month_text(month)}).fetchall():
        (mine if name == rule else others)[_key(grant_id, tags)] += moved
    return mine, others


def _uses(
    connection: psycopg.Connection, rule: CostRule, month: date, source: Jsonb
) -> list[tuple[str, str | None, int]]:
    if rule.use is None:
        return []
    by = None if rule.use.by == "grant" else rule.use.by
    only = Jsonb({name: list(values) for name, values in rule.use.only.items()})
    values = {"month": month, "source": source, "only": only, "by": by, "measure": rule.use.measure}
    return connection.execute(query("cost_use"), values).fetchall()


def _key(grant_id: str, tags: dict[str, str]) -> _Key:
    return grant_id, tuple(sorted(tags.items()))


def _row(connection: psycopg.Connection, name: str, values: dict[str, Any]) -> tuple[Any, ...]:
    row = connection.execute(query(name), values).fetchone()
    assert row is not None
    return tuple(row)
