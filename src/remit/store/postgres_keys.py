"""Access keys and issuer keys in PostgreSQL: `remit.grants.keys.KeyStore`."""

from datetime import datetime
from typing import Any

from remit.capabilities.model import IssuerKey, StoredCapability
from remit.grants.keys import StoredKey
from remit.grants.minting import BlockRecord
from remit.grants.ports import Said
from remit.store.authored import say_unless_said
from remit.store.connect import Opens
from remit.store.named import query
from remit.store.postgres_capabilities import insert_block, make_issuer_known
from remit.store.rows import dicts


class PostgresKeys:
    """Implements `KeyStore`, over connections in the authority's role; secrets are stored as hashes only."""

    def __init__(self, opens: Opens) -> None:
        self._opens = opens

    def insert(self, key: StoredKey, replaces: str | None, now: datetime, block: BlockRecord | None = None) -> bool:
        with self._opens() as connection, connection.transaction():
            # Before any row is locked, so that two writes of one key cannot deadlock.
            connection.execute("SELECT lock_tree(true)")
            operation = "key create" if replaces is None else "key rotate"
            say_unless_said(connection, Said(at=now, actor=key.created_by, operation=operation), "command")
            if replaces is not None:
                revoking = {"id": replaces, "by": key.created_by, "now": now}
                if connection.execute(query("key_revoke"), revoking).rowcount != 1:
                    return False
            connection.execute(
                query("key_insert"),
                {
                    "id": key.id,
                    "grant_id": key.grant_id,
                    "name": key.name,
                    "secret_hash": key.secret_hash,
                    "kid": key.capability.kid,
                    "payload": key.capability.payload,
                    "signature": key.capability.signature,
                    "created_at": key.created_at,
                    "created_by": key.created_by,
                    "expires_at": key.expires_at,
                    "rotated_from": key.rotated_from,
                },
            )
            if block is not None:
                insert_block(connection, block)
        return True

    def find(self, key_id: str) -> StoredKey | None:
        with self._opens() as connection:
            row = connection.execute(query("key_stored"), {"id": key_id}).fetchone()
        if row is None:
            return None
        return StoredKey(
            id=row[0],
            grant_id=row[1],
            name=row[2],
            secret_hash=row[3],
            capability=StoredCapability(row[4], row[5], row[6]),
            created_at=row[7],
            created_by=row[8],
            expires_at=row[9],
            rotated_from=row[10],
            revoked_at=row[11],
            revoked_by=row[12],
        )

    def revoke(self, key_id: str, by: str, now: datetime) -> bool:
        with self._opens() as connection, connection.transaction():
            connection.execute("SELECT lock_tree(true)")
            say_unless_said(connection, Said(at=now, actor=by, operation="key revoke"), "command")
            return connection.execute(query("key_revoke"), {"id": key_id, "by": by, "now": now}).rowcount == 1

    def list(self, grant_id: str | None) -> list[dict[str, Any]]:
        """What may be shown of the keys of a grant, or of all."""
        with self._opens() as connection:
            return dicts(connection.execute(query("key_list"), {"grant_id": grant_id}))

    def make_issuer_known(self, key: IssuerKey, now: datetime) -> str:
        return make_issuer_known(self._opens, key, now)

    def issuers(self) -> tuple[dict[str, Any], ...]:
        """What there is to show of issuer keys, oldest first."""
        with self._opens() as connection:
            return tuple(dicts(connection.execute(query("issuer_list"))))

    def retire_issuers_but(self, kid: str) -> None:
        """Every other key that signs is good for verifying only, from now on."""
        with self._opens() as connection:
            connection.execute(query("issuer_retire"), {"kid": kid})
