"""Frozen types of holds and their lines."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal
from zoneinfo import ZoneInfo

from remit.kernel.decisions import Dimension, GrantClass
from remit.kernel.periods import PeriodKind

BucketKind = Literal["minute", "inflight", "day", "week", "month", "quarter", "once"]
"""Period kinds of limits, `minute` for rates, `inflight` for concurrency."""


@dataclass(frozen=True, slots=True)
class NodeLimit:
    """Amount per period in one dimension (nano-USD, tokens or requests)."""

    dimension: Dimension
    amount: int
    period: PeriodKind


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeTerms:
    """What one node of a path (a grant, or a block of a capability) allows.

    `overdraft_nanousd` is escrowed on top of each usd limit. `pace_from_percent` turns pacing on for usd limits.
    """

    node_id: str
    path: str
    owner: str
    grant_class: GrantClass
    zone: ZoneInfo
    limits: tuple[NodeLimit, ...] = ()
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    concurrency: int | None = None
    overdraft_nanousd: int = 0
    pace_from_percent: int | None = None
    page_percents: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldLine:
    """The part of a hold on one bucket. `amount` is in the dimension's unit.

    `pace_limit` is what may be used at most by now: by the pace of an experiment, and by its having no part in an overdraft.
    """

    node_id: str
    dimension: Dimension
    kind: BucketKind
    starts: datetime
    ends: datetime
    limit: int
    amount: int
    overdraft_limit: int = 0
    pace_limit: int | None = None
    page_percents: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class UsedProof:
    """A proof of possession that a request was sent with: 32 bytes that name it, good for one hold until it expires.

    From `expires_at` on it need not be remembered: no gateway accepts it any more.
    """

    id: bytes
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class ChainBlock:
    """One block of a chain as the authority keeps count of it: at most `max_children` living blocks follow it directly."""

    id: str
    not_after: datetime
    max_children: int
    limits: tuple[NodeLimit, ...]


@dataclass(frozen=True, slots=True)
class Chain:
    """The blocks of a capability from the issuer's to the last one, with the issuer's key and when it signed."""

    kid: str
    issued_at: datetime
    blocks: tuple[ChainBlock, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedHold:
    """A hold to be taken: all lines or none. `entry` is what the ledger will need, known by now.

    `chain` is left out where the authority is known to know all of its blocks already.
    """

    id: str
    operation_id: str
    request_id: str
    grant_id: str
    taken_at: datetime
    expires_at: datetime
    ceiling_nanousd: int
    ceiling_tokens: int
    lines: tuple[HoldLine, ...]
    entry: dict[str, Any] = field(repr=False)
    chain: Chain | None = None
    proof: UsedProof | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LineFailure:
    """A line that did not fit, with the bucket's numbers at that moment.

    `limit` and `posted` leave the overdraft out of the limit and include what was drawn from it in `posted`.
    `paced` is true where the amount fits the limit and only the pace forbids it now.
    """

    node_id: str
    dimension: Dimension
    kind: BucketKind
    starts: datetime
    ends: datetime
    limit: int
    overdraft_limit: int
    posted: int
    held: int
    required: int
    paced: bool


Outcome = Literal["settled", "voided", "suspense"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a hold ends.

    settled: usage is known, `usd` and `tokens` are posted and the rest is released. voided: nothing can have been
    billed. suspense: what it cost cannot be known, the ceiling is posted until evidence corrects it.
    """

    hold_id: str
    outcome: Outcome
    usd: int = 0
    tokens: int = 0
    entry: dict[str, Any] = field(default_factory=dict, repr=False)
