"""The grant tree in PostgreSQL: `remit.grants.ports.GrantRepository`."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from remit.grants.model import LIMIT_PERIODS, Grant, Problem, Revision
from remit.grants.ports import PathTakenError, Remembered, Said, StaleRevisionError
from remit.grants.serialise import from_body, to_body
from remit.grants.usage import Used
from remit.grants.vocabulary_model import GovernedTag
from remit.leases.rules import bucket_lines
from remit.leases.terms import terms_of_grant
from remit.store.authored import Source, record_refusal, say
from remit.store.connect import connect
from remit.store.enqueue import defer, for_grant
from remit.store.lines import lines_json
from remit.store.named import query
from remit.store.postgres_roster import PostgresRoster
from remit.store.postgres_vocabulary import read_tags

CLOCK_SKEW = timedelta(minutes=5)
"""How far the clocks of gateways and the authority may differ."""


class TreeUnit:
    """One transaction over the tree (`GrantUnit`); reads see its own writes."""

    def __init__(self, connection: psycopg.Connection) -> None:
        self._connection = connection

    def load_tree(self) -> list[Grant]:
        rows = self._connection.execute(query("tree_grants")).fetchall()
        return [from_body(row[0]) for row in rows]

    def find(self, id_or_path: str) -> Grant | None:
        row = self._connection.execute(query("tree_grant"), {"ref": id_or_path}).fetchone()
        return None if row is None else from_body(row[0])

    def used(self, grant_ids: Collection[str], now: datetime) -> list[Used]:
        parameters = {"now": now, "node_ids": list(grant_ids)}
        rows = self._connection.execute(query("buckets_now"), parameters).fetchall()
        return [
            Used(
                grant_id=row[0],
                dimension=row[1],
                period=row[2],
                starts_at=row[3].astimezone(UTC),
                posted=row[4],
                held=row[5],
                borrowed=row[7] + row[8],
            )
            for row in rows
            if row[2] in LIMIT_PERIODS  # rates have buckets too
        ]

    def revisions(self, grant_id: str) -> list[Revision]:
        rows = self._connection.execute(query("tree_revisions"), {"grant_id": grant_id}).fetchall()
        return [
            Revision(
                grant_id=row[0],
                revision=row[1],
                body=row[2],
                changed_at=row[3],
                changed_by=row[4],
                reason=row[5],
                idempotency_key=row[6],
            )
            for row in rows
        ]

    def insert(self, grant: Grant, revision: Revision) -> None:
        try:
            with self._connection.transaction():
                self._connection.execute(query("tree_insert"), _columns(grant))
        except psycopg.errors.UniqueViolation as error:
            raise PathTakenError(grant.path) from error
        self._record(grant, revision)

    def update(self, grant: Grant, expected_revision: int, revision: Revision) -> None:
        cursor = self._connection.execute(query("tree_update"), {**_columns(grant), "expected": expected_revision})
        if cursor.rowcount != 1:
            raise StaleRevisionError(grant.id)
        self._record(grant, revision)

    def refused(self, about: str | None, problems: Sequence[Problem]) -> None:
        record_refusal(self._connection, {"grant": about}, problems)

    def left(self, names: Iterable[str]) -> frozenset[str]:
        return PostgresRoster(lambda: nullcontext(self._connection)).left(names)

    def vocabulary(self) -> list[GovernedTag]:
        return read_tags(self._connection)

    def remembered(self, key: str) -> Remembered | None:
        row = self._connection.execute(query("answer_get"), {"key": key}).fetchone()
        return None if row is None else Remembered(key=row[0], body=row[1], answer=row[2])

    def remember(self, first: Remembered) -> None:
        self._connection.execute(
            query("answer_put"), {"key": first.key, "body": Jsonb(first.body), "answer": Jsonb(first.answer)}
        )

    def _record(self, grant: Grant, revision: Revision) -> None:
        self._connection.execute(
            query("tree_record"),
            {
                "grant_id": revision.grant_id,
                "revision": revision.revision,
                "body": Jsonb(revision.body),
                "changed_at": revision.changed_at,
                "changed_by": revision.changed_by,
                "reason": revision.reason,
                "idempotency_key": revision.idempotency_key,
            },
        )
        # A changed limit holds from this moment on, whatever was spent or is under way in its period already. A gateway
        # whose clock differs from ours may have opened the buckets of the period next to this one.
        lines = {
            (line.dimension, line.kind, line.starts): line
            for shift in (-CLOCK_SKEW, timedelta(), CLOCK_SKEW)
            for line in bucket_lines(
                terms_of_grant(grant), {"usd": 0, "tokens": 0, "requests": 0}, revision.changed_at + shift
            )
        }
        self._connection.execute(
            query("tree_align"),
            {"node": grant.id, "over": revision.changed_at - CLOCK_SKEW, "lines": lines_json(list(lines.values()))},
        )
        defer(self._connection, revision.changed_at, for_grant(grant, revision.changed_at))


class PostgresGrants:
    """Implements `GrantRepository`. Every unit has a connection and a transaction of its own."""

    def __init__(self, url: str, source: Source = "command") -> None:
        self._url = url
        self._source: Source = source

    @contextmanager
    def write(self, said: Said) -> Iterator[TreeUnit]:
        """A unit that excludes all other writers of the tree, and holds from being taken, until it ends."""
        with connect(self._url, "remit_authority") as connection, connection.transaction():
            connection.execute("SELECT lock_tree(true)")
            say(connection, said, self._source)
            yield TreeUnit(connection)

    @contextmanager
    def read(self) -> Iterator[TreeUnit]:
        """A consistent view that waits for nobody."""
        with connect(self._url, "remit_authority") as connection:
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            connection.read_only = True
            with connection.transaction():
                yield TreeUnit(connection)


def _columns(grant: Grant) -> Mapping[str, Any]:
    return {
        "id": grant.id,
        "path": grant.path,
        "parent_id": grant.parent_id,
        "owner": grant.owner,
        "class": grant.grant_class,
        "status": grant.status,
        "starts_at": grant.starts_at,
        "expires_at": grant.expires_at,
        "revision": grant.revision,
        "epoch": grant.epoch,
        "body": Jsonb(to_body(grant)),
    }
