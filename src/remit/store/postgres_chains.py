"""The blocks of capabilities that are known, with what each spent: read by the authority."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg.rows import dict_row

from remit.leases.model import NodeLimit
from remit.store.connect import Opens
from remit.store.named import query


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownBlock:
    """One block whose time is not up. Money in nano-USD; `spent_nanousd` has what the blocks below it spent in it.

    `issued_by` is None for a holder's block, `first_held_at` for one that no hold was taken on. `revoked` is about this block
    alone: one that is revoked takes all below it with it.
    """

    id: str
    parent_id: str | None
    grant_id: str
    issued_by: str | None
    purpose: str | None
    not_after: datetime
    max_children: int
    limits: tuple[NodeLimit, ...]
    first_held_at: datetime | None
    spent_nanousd: int
    requests: int
    held_nanousd: int
    revoked: bool


class PostgresChains:
    """Over connections in the authority's role."""

    def __init__(self, opens: Opens) -> None:
        self._opens = opens

    def of_grants(self, grant_ids: Sequence[str], now: datetime) -> list[KnownBlock]:
        """The known blocks of these grants' capabilities, those that outlive others first."""
        with self._opens() as connection, connection.cursor(row_factory=dict_row) as cursor:
            rows = cursor.execute(query("chains"), {"grant_ids": list(grant_ids), "now": now}).fetchall()
        return [KnownBlock(**{**row, "limits": tuple(_limit(one) for one in row["limits"])}) for row in rows]


def _limit(row: dict[str, Any]) -> NodeLimit:
    return NodeLimit(row["dimension"], row["amount"], row["period"])
