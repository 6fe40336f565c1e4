"""Minted blocks in PostgreSQL: `remit.grants.minting.CapabilityStore`."""

import psycopg
from psycopg.types.json import Jsonb

from remit.grants.minting import BlockRecord
from remit.store.connect import Opens
from remit.store.named import query


class PostgresCapabilities:
    """Implements `CapabilityStore`, over connections in the authority's role."""

    def __init__(self, opens: Opens) -> None:
        self._opens = opens

    def insert(self, block: BlockRecord) -> None:
        # The tree stays as it is, so nobody who holds it has to be waited for: exchanges do not slow calls down.
        with self._opens() as connection, connection.transaction():
            insert_block(connection, block)


def insert_block(connection: psycopg.Connection, block: BlockRecord) -> None:
    """Records a minted block over a connection whose transaction is open."""
    limits = [
        {"dimension": one.dimension, "amount": one.amount, "unit": one.unit, "period": one.period}
        for one in block.limits
    ]
    connection.execute(
        query("block_insert"),
        {
            "id": block.id,
            "grant_id": block.grant_id,
            "kid": block.kid,
            "issued_at": block.issued_at,
            "not_after": block.not_after,
            "max_children": block.max_children,
            "limits": Jsonb(limits),
            "issued_by": block.issued_by,
            "purpose": block.purpose,
            "recorded_at": block.recorded_at,
        },
    )
