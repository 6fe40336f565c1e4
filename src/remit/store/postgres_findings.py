"""Facts about grants and keys in PostgreSQL: `remit.findings.ports.FindingsReader`."""

from datetime import datetime

import psycopg

from remit.capabilities.encoding import Invalid
from remit.capabilities.payload import parse_block0
from remit.findings.model import Facts, GrantUse, LivingKey
from remit.grants.model import Limit
from remit.grants.suggested import LONGEST_PERIOD, PeriodUse
from remit.store.connect import Opens
from remit.store.named import query
from remit.store.postgres_grants import TreeUnit


class PostgresFindings:
    """Over connections in the authority's role."""

    def __init__(self, opens: Opens) -> None:
        self._opens = opens

    def facts(self, now: datetime, since: datetime, left: frozenset[str] = frozenset()) -> Facts:
        with self._opens() as connection, connection.transaction():
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            return Facts(
                grants=tuple(TreeUnit(connection).load_tree()),
                use=_use(connection, since),
                keys=tuple(_keys(connection, now)),
                left=left,
                renewals_asked=frozenset(row[0] for row in connection.execute(query("findings_renewals")).fetchall()),
            )


def _use(connection: psycopg.Connection, since: datetime) -> dict[str, GrantUse]:
    asked = {"since": since - LONGEST_PERIOD, "mismatched_since": since}
    return {
        row[0]: GrantUse(
            periods=tuple(
                PeriodUse(one["dimension"], one["period"], datetime.fromisoformat(one["start"]), one["used"])
                for one in row[1] or ()
            ),
            last_spent_at=row[2],
            mismatches=row[3],
            has_production_entries=row[4],
        )
        for row in connection.execute(query("findings_use"), asked).fetchall()
    }


def _keys(connection: psycopg.Connection, now: datetime) -> list[LivingKey]:
    found = []
    for key_id, grant_id, name, created_at, payload, is_used in connection.execute(
        query("findings_keys"), {"now": now}
    ).fetchall():
        block = parse_block0(payload)
        assert not isinstance(block, Invalid), "what is stored was signed here"
        found.append(
            LivingKey(
                id=key_id,
                grant_id=grant_id,
                name=name,
                created_at=created_at,
                limits=tuple(Limit(one.dimension, one.amount, one.period) for one in block.limits),
                is_used=is_used,
            )
        )
    return found
