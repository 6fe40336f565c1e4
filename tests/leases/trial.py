"""Drives the functions that move money on a real PostgreSQL, beside the oracle, and compares after every step."""

import random
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import psycopg
from psycopg.conninfo import make_conninfo

from remit.grants.model import Grant, Limit, OnExhausted, Overdraft, Problem, Rate, Revision
from remit.grants.ports import Said
from remit.grants.serialise import to_body
from remit.leases.debts import Lent, repayable, repaying_line
from remit.leases.model import NodeLimit, NodeTerms, WantedHold
from remit.leases.rules import hold_lines
from remit.leases.terms import terms_of_grant
from remit.ledger.service import check_books
from remit.store.connect import connect
from remit.store.kept import KeptConnections
from remit.store.named import query
from remit.store.postgres_care import PostgresCare
from remit.store.postgres_debts import How, Settled
from remit.store.postgres_grants import PostgresGrants
from remit.store.postgres_ledger import PostgresLedger
from remit.store.postgres_lessor import _hold_json
from tests.grants.builders import Clock
from tests.leases.oracle import Hold, Node, Oracle, first_instant
from tests.store.database import AS_A_TEST

START = datetime(2026, 3, 30, 21, 30, tzinfo=UTC)
ZONES = ("UTC", "America/New_York", "Asia/Tokyo", "Asia/Kolkata", "Pacific/Auckland")
FAR = datetime(2090, 1, 1, tzinfo=UTC)


def grant(name: str, parent: Grant | None = None, **fields: Any) -> Grant:
    """A grant that never went through the rules of the tree: any limits at any time."""
    plain = Grant(
        id=f"grant_{name}",
        path=f"{parent.path}/{name}" if parent else name,
        parent_id=parent.id if parent else None,
        owner="ana@acme.example",
        grant_class="production",
        starts_at=START - timedelta(days=1),
        expires_at=FAR,
        on_exhausted=OnExhausted(pace_from_percent=None),
    )
    return replace(plain, **fields)


def revision_of(one: Grant, now: datetime) -> Revision:
    return Revision(
        grant_id=one.id,
        revision=one.revision,
        body=to_body(one),
        changed_at=now,
        changed_by="ana@acme.example",
        reason="because",
        idempotency_key="",
    )


def entry_of(path: str, nodes: Sequence[str], blocks: Sequence[str] = ()) -> dict[str, Any]:
    """What a gateway knows about a request when it takes the hold."""
    return {
        "grant_path": path,
        "node_ids": list(nodes),
        "block_ids": list(blocks),
        "class": "production",
        "owner": "ana@acme.example",
        "tags": {"team": "search"},
        "vendor": "openai",
        "deployment": "openai",
        "model_requested": "sim-dime",
        "price_source": "test",
        "policy_version": 1,
        "decision_id": "dec_1",
    }


SETTLED = {"usage_source": "vendor", "model_served": "sim-dime"}


class Trial:
    """A database, its clock, a tree, and the oracle that was told the same."""

    def __init__(self, url: str, seed: int = 0) -> None:
        # What survives a power cut is not the question here.
        url = make_conninfo(url, options="-c synchronous_commit=off")
        self.url = url
        self.random = random.Random(seed)
        self.seed = seed
        self.clock = Clock(START)
        self.repository = PostgresGrants(url)
        self._reading = KeptConnections(url, "remit_reader", 8)
        self.ledger = PostgresLedger(self._reading.use, self.clock)
        self.care = PostgresCare(url, self.clock)
        self.oracle = Oracle()
        self.grants: dict[str, Grant] = {}
        self.blocks: dict[str, tuple[str, tuple[NodeLimit, ...]]] = {}
        self.gateway = connect(url, "remit_gateway")
        self.authority = connect(url, "remit_authority")
        self.authority.execute(AS_A_TEST)
        self.looking = psycopg.connect(url, autocommit=True, options="-c search_path=remit,public -c timezone=UTC")
        self.looking.execute(AS_A_TEST)
        self.done: list[str] = []
        self._serial = 0

    def take_over(self, other: "Trial") -> None:
        """Goes on where the other one is, over a copy of its database."""
        self.clock.instant, self._serial = other.clock.instant, other._serial
        self.grants, self.blocks, self.oracle = map(deepcopy, (other.grants, other.blocks, other.oracle))

    def close(self) -> None:
        for connection in (self.gateway, self.authority, self.looking, self._reading):
            connection.close()

    # The tree ------------------------------------------------------------------------------------------------

    def write(self, one: Grant) -> Grant:
        """Inserts a grant, or makes it the next revision; the oracle hears of it."""
        known = self.grants.get(one.id)
        said = Said(at=self.clock.now(), actor="ana@acme.example", operation="trial")
        with self.repository.write(said) as unit:
            if known is None:
                unit.insert(one, revision_of(one, self.clock.now()))
            else:
                one = replace(one, revision=known.revision + 1)
                unit.update(one, known.revision, revision_of(one, self.clock.now()))
        self.grants[one.id] = one
        self.oracle.nodes[one.id] = node_of(one)
        for block, (leaf, _) in self.blocks.items():
            if leaf == one.id:
                self.oracle.nodes[block].zone = one.time_zone
        return one

    def block(self, leaf: Grant, *limits: NodeLimit) -> str:
        """A block of a capability that was issued from this grant."""
        self._serial += 1
        name = f"block{self._serial}"
        self.blocks[name] = (leaf.id, limits)
        numbers: dict[tuple[str, str], int] = {(limit.dimension, limit.period): limit.amount for limit in limits}
        self.oracle.nodes[name] = Node(id=name, zone=leaf.time_zone, limits=numbers)
        return name

    def revision(self) -> int:
        return int(self.one("SELECT revision FROM tree_state"))

    # Holds ---------------------------------------------------------------------------------------------------

    def hold(
        self,
        leaf: Grant,
        usd: int,
        tokens: int = 0,
        *,
        blocks: Sequence[str] = (),
        skew: timedelta = timedelta(),
        seconds: int = 600,
        name: str | None = None,
    ) -> WantedHold:
        """The hold a gateway would want for a request now; its clock may be off by `skew`."""
        self._serial += 1
        now = self.clock.now() + skew
        chain = self.chain(leaf)
        leaf = chain[-1]
        terms = [terms_of_grant(one) for one in chain]
        terms.extend(
            NodeTerms(
                node_id=block,
                path=f"{leaf.path}#{block}",
                owner=leaf.owner,
                grant_class=leaf.grant_class,
                zone=ZoneInfo(leaf.time_zone),
                limits=self.blocks[block][1],
            )
            for block in blocks
        )
        return WantedHold(
            id=name or f"hold_{self._serial:026d}",
            operation_id=f"op_{self._serial}",
            request_id=f"req_{self._serial}",
            grant_id=leaf.id,
            taken_at=now,
            expires_at=now + timedelta(seconds=seconds),
            ceiling_nanousd=usd,
            ceiling_tokens=tokens,
            lines=hold_lines(terms, usd=usd, tokens=tokens, now=now),
            entry=entry_of(leaf.path, [one.id for one in chain], blocks),
        )

    def chain(self, leaf: Grant) -> list[Grant]:
        """Root first."""
        found = [self.grants[leaf.id]]
        while (parent := found[0].parent_id) is not None:
            found.insert(0, self.grants[parent])
        return found

    def take(self, *holds: WantedHold, revision: int | None = None) -> list[bool]:
        """Takes a batch; the answers must be the oracle's."""
        answer = self.call(
            self.gateway,
            "SELECT take_holds(%s, %s, %s::jsonb)",
            self.revision() if revision is None else revision,
            self.clock.now(),
            as_json([_hold_json(hold) for hold in holds]),
        )
        assert "stale" not in answer, answer
        taken = []
        for wanted, result in zip(holds, answer["results"], strict=True):
            if wanted.id in self.oracle.holds:
                assert result["taken"], f"seed {self.seed}: {wanted.id} was taken before"
                continue
            ours = oracle_hold(wanted)
            expected = self.oracle.failures(ours)
            found = {(f["node"], f["dimension"], f["kind"], f["paced"]) for f in result.get("failures", [])}
            assert found == expected, f"seed {self.seed}, step {len(self.done)}: {found} instead of {expected}"
            assert result["taken"] == (not expected)
            if result["taken"]:
                self.oracle.holds[ours.id] = ours
            taken.append(bool(result["taken"]))
        return taken

    def finish(self, *endings: tuple[str, str, int, int]) -> list[str]:
        """Ends holds by (id, outcome, usd, tokens); answers the outcomes, which must be the oracle's."""
        rows = [
            {"id": name, "outcome": outcome, "usd": usd, "tokens": tokens, "entry": SETTLED}
            for name, outcome, usd, tokens in endings
        ]
        answers = self.call(self.gateway, "SELECT finish_holds(%s, %s::jsonb)", self.clock.now(), as_json(rows))
        found = [answer["outcome"] for answer in answers]
        expected = [self._ended(*ending) for ending in endings]
        assert found == expected, f"seed {self.seed}, step {len(self.done)}"
        return found

    def settle(self, name: str, usd: int, tokens: int = 0) -> str:
        return self.finish((name, "settled", usd, tokens))[0]

    def void(self, name: str) -> str:
        return self.finish((name, "voided", 0, 0))[0]

    def expire(self) -> int:
        """The sweeper."""
        count = self.call(self.authority, "SELECT expire_holds(%s, 1000)", self.clock.now())
        due = [one for one in self.oracle.holds.values() if one.state == "open" and one.expires_at <= self.clock.now()]
        for one in due:
            one.state = "suspense"
        assert count == len(due)
        return int(count)

    def evidence(self, *rows: tuple[str, int, int]) -> list[str]:
        """What a vendor's statement says: (hold, usd, tokens)."""
        said = [{"hold_id": name, "usd": usd, "tokens": tokens, "entry": SETTLED} for name, usd, tokens in rows]
        found = self.call(self.authority, "SELECT apply_evidence(%s, %s::jsonb)", self.clock.now(), as_json(said))
        expected = []
        for name, usd, tokens in rows:
            known = self.oracle.holds.get(name)
            if known is not None and known.state == "open":
                expected.append("still_open")
            else:
                expected.append(self._ended(name, "settled", usd, tokens))
        assert found == expected
        return list(found)

    def abandon(self, wanted: WantedHold) -> str:
        """Gives up a hold that may or may not have been taken."""
        answer = self.call(
            self.gateway, "SELECT abandon_hold(%s, %s::jsonb)", self.clock.now(), as_json(_hold_json(wanted))
        )
        known = self.oracle.holds.get(wanted.id)
        if known is None:
            self.oracle.holds[wanted.id] = replace(oracle_hold(wanted), state="voided")
            assert answer == "voided"
        else:
            assert answer == self._ended(wanted.id, "voided", 0, 0)
        return str(answer)

    # Debts ---------------------------------------------------------------------------------------------------

    def account(self, node: str, period: str) -> list[Lent]:
        """The entries of a debt's account."""
        rows = self.looking.execute(
            "SELECT held_at, amount_nanousd, settlement IS NOT NULL FROM entries WHERE debtor_id = %s AND debt_period = %s",
            (node, period),
        ).fetchall()
        return [Lent(at=row[0], amount=row[1], is_settlement=row[2]) for row in rows]

    def owed(self, node: str = "grant_root", period: str = "day") -> int:
        return sum(one.amount for one in self.account(node, period))

    def settle_debt(
        self, how: How, amount: int, node: str = "grant_root", period: str = "day", key: str | None = None
    ) -> Settled | Problem:
        """Settles a debt; the answer must be that of the pure rules."""
        self._serial += 1
        account = self.account(node, period)
        line = repaying_line(terms_of_grant(self.grants[node]), period, self.clock.now())
        known = {} if line is None else self.used_of(node, period, line.starts)
        answer = self.care.settle_debt(
            node, period, amount, how, by="ana@acme.example", note="because", key=key or f"settle_{self._serial}"
        )
        if isinstance(answer, Settled) and answer.is_repeated:
            return answer
        owed = sum(one.amount for one in account)
        expected = amount
        if how == "repay":
            expected = 0 if line is None else min(amount, repayable(account, line, used=known.get("used", 0)))
        if 0 < owed < amount:
            expected = 0
        if owed <= 0:
            expected = 0
        where = f"seed {self.seed}, step {len(self.done)}"
        if expected == 0:
            assert isinstance(answer, Problem), f"{where}: {answer}"
            return answer
        assert answer == Settled(settled=expected, outstanding=owed - expected, is_repeated=False), where
        if how == "repay":
            self.oracle.repaid.append((node, period, self.clock.now(), expected))
        return answer

    def used_of(self, node: str, period: str, starts: datetime) -> dict[str, int]:
        row = self.looking.execute(
            "SELECT posted + overage + held FROM buckets WHERE (node_id, period_kind, period_start) = (%s, %s, %s)"
            " AND dimension = 'usd'",
            (node, period, starts),
        ).fetchone()
        return {} if row is None else {"used": row[0]}

    def repay_due(self) -> int:
        """Upkeep: the oracle hears of what it repaid and gave back."""
        before = self.one("SELECT coalesce(max(seq), 0) FROM entries")
        count = len(self.care.repay_due())
        for row in self.looking.execute(
            "SELECT debtor_id, debt_period, held_at, -amount_nanousd FROM entries"
            " WHERE seq > %s AND settlement IS NOT NULL AND kind = 'repayment'",
            (before,),
        ).fetchall():
            self.oracle.repaid.append(row)
        return count

    def _ended(self, name: str, outcome: str, usd: int, tokens: int) -> str:
        known = self.oracle.holds.get(name)
        if known is None:
            return "unknown_hold"
        if known.state == "open":
            known.state = {"settled": "settled", "voided": "voided", "suspense": "suspense"}[outcome]  # type: ignore[assignment]
            known.actual = {"usd": usd, "tokens": tokens, "requests": 1}
            return outcome
        if known.state == "suspense" and outcome != "suspense":
            known.state = "settled"
            known.corrected = True
            amounts = (usd, tokens) if outcome == "settled" else (0, 0)
            known.actual = {"usd": amounts[0], "tokens": amounts[1], "requests": 1}
            return "corrected"
        return "already_settled"

    # The books -----------------------------------------------------------------------------------------------

    def check(self, *, everything: bool = False) -> None:
        """Every bucket is what the oracle says, what the ledger says, within its cap, and alone in its period."""
        where = f"seed {self.seed}, step {len(self.done)}: {self.done[-1:]}"
        for subject, ledger, posted, open_held, held, open_over, over, within, paid, repaid in self.looking.execute(
            query("check_buckets")
        ).fetchall():
            assert (ledger, open_held, open_over, paid) == (posted, held, over, repaid), f"{where}: {subject}"
            assert within, f"{where}: {subject}"
        for node, dimension, kind, starts, total in self.looking.execute(
            "SELECT node_id, dimension, period_kind, period_start,"
            " posted::numeric + overage + held + overdraft_posted + overdraft_held FROM buckets"
            " WHERE period_kind <> 'minute' AND period_start <= %(now)s AND period_end > %(now)s",
            {"now": self.clock.now()},
        ).fetchall():
            zone = self.oracle.nodes[node].zone
            if node in self.blocks and kind != "once" and starts != first_instant(kind, starts, zone):
                continue  # Of the calendar before; the next hold on the block replaces it.
            expected = self.oracle.used(node, dimension, kind, starts, zone)
            assert total == expected, f"{where}: {node} {dimension} {kind} {starts}"
        assert not self.looking.execute(
            "SELECT b.node_id, b.period_kind, b.overdraft_posted, sum(e.amount_nanousd) FROM buckets AS b"
            " LEFT JOIN entries AS e ON (e.debtor_id, e.debt_period) = (b.node_id, b.period_kind)"
            "  AND e.held_at >= b.period_start AND e.held_at < b.period_end AND e.settlement IS NULL WHERE b.dimension = 'usd'"
            " GROUP BY b.node_id, b.dimension, b.period_kind, b.period_start"
            " HAVING b.overdraft_posted <> coalesce(sum(e.amount_nanousd), 0)"
        ).fetchall(), f"{where}: debts"
        if everything:
            results = [one for one in check_books(self.ledger) if one.name != "overdue_holds"]
            assert not [difference for one in results for difference in one.differences], where
            assert not self.looking.execute(
                "SELECT FROM buckets AS a JOIN buckets AS b USING (node_id, dimension, period_kind)"
                " WHERE a.period_start < b.period_start AND a.period_end > b.period_start AND a.period_end > %s",
                (self.clock.now(),),
            ).fetchall(), f"{where}: overlapping buckets"
            assert self.ledger.total_nanousd(None, None) == self.oracle.total_spent(), where

    def one(self, statement: str, *parameters: Any) -> Any:
        """The first value of a look at the database."""
        row = self.looking.execute(statement.encode(), parameters).fetchone()
        assert row is not None
        return row[0]

    def call(self, connection: psycopg.Connection, statement: str, *parameters: Any) -> Any:
        row = connection.execute(statement.encode(), parameters).fetchone()
        assert row is not None
        return row[0]


def node_of(one: Grant) -> Node:
    """A grant as the oracle reads it."""
    return Node(
        id=one.id,
        zone=one.time_zone,
        limits={(limit.dimension, limit.period): limit.amount for limit in one.limits},
        overdraft=one.overdraft.max_nanousd if one.overdraft else 0,
        pace_percent=one.on_exhausted.pace_from_percent if one.grant_class == "experimentation" else None,
        rpm=one.rate.rpm,
        tpm=one.rate.tpm,
        concurrency=one.rate.concurrency,
    )


def oracle_hold(wanted: WantedHold) -> Hold:
    return Hold(
        id=wanted.id,
        nodes=(*wanted.entry["node_ids"], *wanted.entry["block_ids"]),
        taken_at=wanted.taken_at,
        expires_at=wanted.expires_at,
        ceiling={"usd": wanted.ceiling_nanousd, "tokens": wanted.ceiling_tokens, "requests": 1},
    )


def as_json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def usd(amount: int, period: Any = "day") -> Limit:
    return Limit("usd", amount, period)


__all__ = ["Limit", "Overdraft", "Rate", "Trial", "grant", "usd"]
