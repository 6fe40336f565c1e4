"""What holds, limits and the ledger must come to, said a second time: plain Python over the full history of holds.

There are no buckets here. What a node has used is summed up afresh for every question from all the holds ever taken.
"""

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

State = Literal["open", "settled", "voided", "suspense"]
Failure = tuple[str, str, str, bool]
"""Node, dimension, kind, paced."""


@dataclass(kw_only=True)
class Node:
    """The terms of one node, as the oracle reads them. `limits` are (dimension, kind) -> amount."""

    id: str
    zone: str = "UTC"
    limits: dict[tuple[str, str], int] = field(default_factory=dict)
    overdraft: int = 0
    pace_percent: int | None = None
    rpm: int | None = None
    tpm: int | None = None
    concurrency: int | None = None


@dataclass(kw_only=True)
class Hold:
    """One hold and what is known about it by now."""

    id: str
    nodes: tuple[str, ...]
    taken_at: datetime
    expires_at: datetime
    ceiling: dict[str, int]
    state: State = "open"
    actual: dict[str, int] = field(default_factory=dict)
    corrected: bool = False

    def counts(self, dimension: str, kind: str = "") -> int:
        """What it takes up of a limit. Corrections come too late to matter to a rate."""
        match self.state:
            case "settled" if self.corrected and kind == "minute":
                return self.ceiling[dimension]
            case "open" | "suspense":
                return self.ceiling[dimension]
            case "settled":
                return self.actual[dimension]
            case _:
                return 0


class Oracle:
    """Decides and remembers."""

    def __init__(self) -> None:
        self.nodes: dict[str, Node] = {}
        self.holds: dict[str, Hold] = {}
        self.repaid: list[tuple[str, str, datetime, int]] = []
        """Debts: node, kind of limit, when, amount."""

    def used(self, node: str, dimension: str, kind: str, now: datetime, zone: str) -> int:
        """Everything a node has used or set aside in the period that contains the instant."""
        if kind == "inflight":
            return sum(1 for hold in self.holds.values() if hold.state == "open" and node in hold.nodes)
        period = period_key(kind, now, zone)
        repaid = sum(
            amount
            for debtor, of_kind, at, amount in self.repaid
            if (debtor, of_kind, dimension) == (node, kind, "usd") and period_key(kind, at, zone) == period
        )
        return repaid + sum(
            hold.counts(dimension, kind)
            for hold in self.holds.values()
            if node in hold.nodes and period_key(kind, hold.taken_at, zone) == period
        )

    def failures(self, hold: Hold) -> set[Failure]:
        """The limits a hold would break; empty if it has to be taken."""
        found: set[Failure] = set()
        for node in (self.nodes[name] for name in hold.nodes):
            for dimension, kind, limit in _all_limits(node):
                overdraft = node.overdraft if dimension == "usd" else 0
                used = self.used(node.id, dimension, kind, hold.taken_at, node.zone) + hold.ceiling[dimension]
                nothing_goes = limit == 0 and overdraft == 0
                paced = False
                if dimension == "usd" and node.pace_percent is not None and kind not in ("once", "minute"):
                    paced = used > _pace(limit, node.pace_percent, kind, hold.taken_at, node.zone)
                if nothing_goes or used > limit + overdraft or paced:
                    found.add((node.id, dimension, kind, used <= limit and limit > 0))
        return found

    def total_spent(self) -> int:
        """What the ledger has to sum to."""
        return sum(hold.counts("usd") for hold in self.holds.values() if hold.state != "open")


def period_key(kind: str, instant: datetime, zone: str) -> object:
    """Equal for two instants iff they are in one period. Zones whose clocks never change around midnight only."""
    local = instant.astimezone(ZoneInfo(zone))
    match kind:
        case "minute":
            return instant.replace(second=0, microsecond=0)
        case "day":
            return local.date()
        case "week":
            return local.isocalendar()[:2]
        case "month":
            return (local.year, local.month)
        case "quarter":
            return (local.year, (local.month - 1) // 3)
        case _:
            return "once"


def _all_limits(node: Node) -> list[tuple[str, str, int]]:
    limits = [(dimension, kind, amount) for (dimension, kind), amount in node.limits.items()]
    if node.rpm is not None:
        limits.append(("requests", "minute", node.rpm))
    if node.tpm is not None:
        limits.append(("tokens", "minute", node.tpm))
    if node.concurrency is not None:
        limits.append(("requests", "inflight", node.concurrency))
    return limits


def _pace(limit: int, percent: int, kind: str, now: datetime, zone: str) -> int:
    start, end = first_instant(kind, now, zone), first_instant_after(kind, now, zone)
    elapsed, length = int((now - start).total_seconds()), int((end - start).total_seconds())
    free = limit * percent // 100
    return free + (limit - free) * elapsed // length


def first_instant(kind: str, now: datetime, zone: str) -> datetime:
    """Where the period that contains the instant begins."""
    first = now.astimezone(ZoneInfo(zone)).date()
    while period_key(kind, _midnight(first - timedelta(days=1), zone), zone) == period_key(kind, now, zone):
        first -= timedelta(days=1)
    return _midnight(first, zone).astimezone(UTC)


def first_instant_after(kind: str, now: datetime, zone: str) -> datetime:
    """Where the next period begins."""
    after = now.astimezone(ZoneInfo(zone)).date() + timedelta(days=1)
    while period_key(kind, _midnight(after, zone), zone) == period_key(kind, now, zone):
        after += timedelta(days=1)
    return _midnight(after, zone).astimezone(UTC)


def _midnight(day: date, zone: str) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(zone))
