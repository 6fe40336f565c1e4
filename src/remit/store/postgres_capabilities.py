"""Minted blocks in PostgreSQL: `remit.grants.minting.CapabilityStore`."""

from datetime import datetime

import psycopg
from psycopg.types.json import Jsonb

from remit.capabilities.model import IssuerKey
from remit.grants.minting import BlockRecord
from remit.grants.ports import Said
from remit.store.authored import say_unless_said
from remit.store.connect import Opens
from remit.store.named import query


class PostgresCapabilities:
    """Implements `CapabilityStore`, over connections in the authority's role."""

    def __init__(self, opens: Opens) -> None:
        self._opens = opens

    def insert(self, block: BlockRecord) -> None:
        # The tree stays as it is, so nobody who holds it has to be waited for: exchanges do not slow calls down.
        with self._opens() as connection, connection.transaction():
            said = Said(at=block.recorded_at, actor=block.issued_by, operation="token exchange", reason=block.purpose)
            say_unless_said(connection, said, "api")
            insert_block(connection, block)

    def make_issuer_known(self, key: IssuerKey, now: datetime) -> str:
        return make_issuer_known(self._opens, key, now)


def make_issuer_known(opens: Opens, key: IssuerKey, now: datetime) -> str:
    """Stores an issuer's public key where it is not known yet; its status."""
    with opens() as connection:
        for _ in range(3):
            stored = connection.execute(query("snapshot_issuers")).fetchall()
            status = next((str(row[2]) for row in stored if row[0] == key.kid), None)
            if status is not None:
                return status
            with connection.transaction():
                say_unless_said(connection, Said(at=now, actor="remit", operation="issuer make known"), "start")
                connection.execute(query("issuer_put"), {"kid": key.kid, "public_key": key.public_key, "now": now})
    raise AssertionError("an issuer key that was stored is not there")


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
