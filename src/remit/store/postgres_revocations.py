"""Revocations in PostgreSQL (`remit.grants.revocations.RevocationStore`), what they reach, and who has heard of them."""

import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from types import TracebackType
from zoneinfo import ZoneInfo

import psycopg

from remit.capabilities.chain import first_block_id
from remit.capabilities.encoding import Invalid
from remit.capabilities.model import Limit
from remit.capabilities.payload import parse_block0
from remit.grants.model import Grant
from remit.grants.revocations import KnownBlock, KnownIssuer, Revocation, SubjectKind
from remit.kernel.periods import period_of
from remit.leases.rules import bucket_lines
from remit.leases.terms import terms_of_grant
from remit.store.connect import Opens, connect
from remit.store.named import query

GATEWAY_GONE_MILLISECONDS = 15_000
"""A gateway that was not seen for so long is not waited for: without the database it can admit nothing."""


@dataclass(frozen=True, slots=True)
class OpenHolds:
    """Calls under way: how many, and what they can cost at most, in nano-USD."""

    count: int
    ceiling_nanousd: int


@dataclass(frozen=True, slots=True)
class GatewayState:
    """One gateway as it was last heard of, by the database's clock."""

    id: str
    name: str
    started_at: datetime
    seen_at: datetime
    acknowledged_revision: int
    is_gone: bool


class PostgresRevocations:
    """Keeps revocations, over connections in the authority's role."""

    def __init__(self, opens: Opens) -> None:
        self._opens = opens

    def insert(self, revocation: Revocation) -> Revocation:
        names = ("id", "kind", "subject", "grant_id", "cut_streams", "issued_before", "keep_until", "revoked_at",
                 "revoked_by", "reason")  # fmt: skip
        with self._opens() as connection:
            row = connection.execute(
                query("revocation_insert"), {name: getattr(revocation, name) for name in names}
            ).fetchone()
        assert row is not None
        return replace(revocation, tree_revision=row[0])

    def find(self, revocation_id: str) -> Revocation | None:
        """The revocation of that id."""
        with self._opens() as connection:
            row = connection.execute(query("revocation_find"), {"id": revocation_id}).fetchone()
        if row is None:
            return None
        return Revocation(
            id=row[0],
            kind=row[1],
            subject=row[2],
            grant_id=row[3],
            cut_streams=row[4],
            issued_before=row[5],
            keep_until=row[6],
            tree_revision=row[7],
            revoked_at=row[8],
            revoked_by=row[9],
            reason=row[10],
        )

    def block(self, block_id: str) -> KnownBlock | None:
        with self._opens() as connection:
            rows = connection.execute(query("block_known"), {"id": block_id}).fetchall()
            if rows:
                # What is known of a later block a gateway has said, of the first one whoever made it. None outlives the first.
                return KnownBlock(rows[0][1], max(row[2] for row in rows), tuple(row[0] for row in rows))
            # Whoever asks holds the tree: the database goes through all keys far faster than they can be read here.
            key = connection.execute(query("key_of_block"), {"id": block_id}).fetchone()
        return None if key is None else _block_of(key)

    def blocks_beginning(self, digits: str) -> tuple[str, ...]:
        """At most two of the known blocks whose ids begin with these hex digits."""
        with self._opens() as connection:
            return tuple(row[0] for row in connection.execute(query("block_named"), {"digits": digits}).fetchall())

    def block_of_key(self, key_id: str) -> KnownBlock | None:
        with self._opens() as connection:
            row = connection.execute(query("keys_of_issuer"), {"kid": None, "id": key_id}).fetchone()
        return None if row is None else _block_of(row)

    def issuer(self, kid: str) -> KnownIssuer | None:
        with self._opens() as connection:
            rows = connection.execute(query("snapshot_issuers")).fetchall()
        return next((KnownIssuer(*row) for row in rows if row[0] == kid), None)

    def blocks_of_issuer(self, kid: str, issued_before: datetime | None) -> tuple[str, ...]:
        with self._opens() as connection:
            asked = {"kid": kid, "issued_before": issued_before}
            known = {row[0] for row in connection.execute(query("blocks_of_issuer"), asked).fetchall()}
            keys = connection.execute(query("keys_of_issuer"), {"kid": kid, "id": None}).fetchall()
        for _, _, payload in keys:
            block = parse_block0(payload)
            if not isinstance(block, Invalid) and (
                issued_before is None or block.issued_at < issued_before.timestamp()
            ):
                known.add(first_block_id(payload))
        return tuple(sorted(known))

    def is_block_revoked(self, block_id: str) -> bool:
        with self._opens() as connection:
            return connection.execute(query("revocation_of_block"), {"id": block_id}).fetchone() is not None

    def is_cut(self, kind: SubjectKind, subject: str, issued_before: datetime | None) -> bool:
        asked = {"kind": kind, "subject": subject, "issued_before": issued_before}
        with self._opens() as connection:
            return connection.execute(query("revocation_cut"), asked).fetchone() is not None

    def revoke_issuer(self, kid: str, issued_before: datetime | None) -> None:
        with self._opens() as connection:
            connection.execute(query("issuer_revoke"), {"kid": kid, "issued_before": issued_before})

    def holds_under(self, grants: Sequence[str], blocks: Sequence[str]) -> OpenHolds:
        """The calls under way that draw on any of these grants or blocks."""
        with self._opens() as connection:
            row = connection.execute(query("holds_under"), {"grants": list(grants), "blocks": list(blocks)}).fetchone()
        assert row is not None
        return OpenHolds(*row)

    def holds_of(self, revocation: Revocation) -> OpenHolds:
        """The calls under way that draw on what was revoked."""
        subject = revocation.subject
        if revocation.kind == "grant":
            return self.holds_under([subject], [])
        if revocation.kind == "block":
            return self.holds_under([], [subject])
        if revocation.kind == "issuer":
            return self.holds_under([], self.blocks_of_issuer(subject, revocation.issued_before))
        block = self.block_of_key(subject)
        return self.holds_under([], () if block is None else block.chain)

    def money_left(
        self, nodes: Sequence[Grant], blocks: Sequence[str], now: datetime, said: Mapping[str, Sequence[Limit]]
    ) -> int | None:
        """The least that a money limit of these grants and blocks has left, in nano-USD; None where there is no limit.

        `said` are limits of blocks as their capability says them: no other source knows those that were never used.
        """
        with self._opens() as connection:
            ids = [*(node.id for node in nodes), *blocks]
            rows = connection.execute(query("money_left"), {"nodes": ids, "now": now}).fetchall()
            known = connection.execute(query("block_limits"), {"blocks": list(blocks)}).fetchall()
        left = {(row[0], row[1], row[2]): int(row[3]) for row in rows}
        for node in nodes:
            for line in bucket_lines(terms_of_grant(node), {"usd": 0, "tokens": 0, "requests": 0}, now):
                if line.dimension == "usd":
                    left.setdefault((node.id, line.kind, line.starts), line.limit + (line.overdraft_limit or 0))
        whole = [(block, one.dimension, one.amount, one.period) for block in said for one in said[block]]
        whole += [(block, one["dimension"], one["amount"], one["period"]) for block, limits in known for one in limits]
        zone = ZoneInfo(nodes[-1].time_zone)
        for block, dimension, amount, period in whole:
            if dimension == "usd":
                left.setdefault((block, period, period_of(period, now, zone).start), amount)
        return max(0, min(left.values())) if left else None

    def gateways(self) -> list[GatewayState]:
        """The gateways there are."""
        with self._opens() as connection:
            return _gateways(connection)


class Acknowledgements(AbstractContextManager["Acknowledgements"]):
    """Hears from gateways what they go by. Opened before the write that they are to hear of. In the authority's role."""

    def __init__(self, url: str) -> None:
        self._connection = connect(url, "remit_authority")
        self._connection.execute("LISTEN remit_acks")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def wait(self, revision: int, timeout_seconds: float) -> list[GatewayState]:
        """The gateways there are, once every one that is still there goes by that revision, or when the time is up."""
        deadline = time.monotonic() + timeout_seconds
        while True:
            states = _gateways(self._connection)
            left = deadline - time.monotonic()
            if left <= 0 or not waiting_for(states, revision):
                return states
            # One that says nothing is gone after a while, which no notice tells.
            for _ in self._connection.notifies(timeout=min(left, 1.0), stop_after=1):
                pass


def waiting_for(states: Sequence[GatewayState], revision: int) -> list[GatewayState]:
    """The gateways that are still there and have not said that they go by that revision."""
    return [one for one in states if not one.is_gone and one.acknowledged_revision < revision]


def _gateways(connection: psycopg.Connection) -> list[GatewayState]:
    rows = connection.execute(query("gateways")).fetchall()
    return [
        GatewayState(row[0], row[1], row[2], row[3], row[4], is_gone=row[5] > GATEWAY_GONE_MILLISECONDS) for row in rows
    ]


def _block_of(key: tuple[str, str, bytes]) -> KnownBlock | None:
    _, grant_id, payload = key
    block = parse_block0(payload)
    if isinstance(block, Invalid):
        return None
    not_after = datetime.fromtimestamp(block.not_after, UTC)
    return KnownBlock(grant_id, not_after, (first_block_id(payload),))
