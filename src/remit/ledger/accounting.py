"""What is booked and belongs to no call: a vendor's adjustments, and transfers between those who pay."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from remit.kernel.usage import Usage

_COUNTS = (
    "input_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "input_audio_tokens",
    "output_tokens",
    "output_audio_tokens",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Adjustment:
    """What a vendor charges more (or less, below zero) than was metered, in nano-USD, and who bears it.

    `held_at` is the instant of the charge: it is booked in that month while the month is open, else in the first open one.
    `cause` says why, in a word; `evidence` names where that is known from (statement, finding, ticket). `usage`, `tokens` and
    `requests` are what the vendor states and nobody metered; a usage that is not known is None.
    """

    grant_id: str
    vendor: str
    amount_nanousd: int
    held_at: datetime
    cause: str
    evidence: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    deployment: str | None = None
    model: str | None = None
    tier: str | None = None
    usage: Usage | None = None
    requests: int = 0
    note: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Bearer:
    """Who bears a part of a charge: a grant, under these tags."""

    grant_id: str
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """Which part of an amount somebody bears: `weight` of `of`, both in `unit` (what was used, or parts per million)."""

    weight: int
    of: int
    unit: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What arrives at a bearer, in nano-USD, and why so much."""

    bearer: Bearer
    amount_nanousd: int
    share: Share | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """Moves amounts, in nano-USD, from bearers to others: what leaves the sources is what arrives in parts.

    `rule` names the rule at its `revision`, `method` how it divides (`by_use`, `even`, `fixed`), `month` the month whose cost is
    moved, written as `2026-11`; all of it is kept with every entry, and with what arrives its share.
    """

    id: str
    held_at: datetime
    sources: Sequence[tuple[Bearer, int]]
    parts: Sequence[Part]
    rule: str
    method: str
    revision: int | None = None
    month: str | None = None
    vendor: str | None = None
    note: str | None = None


def moved_by_grant(one: Transfer) -> dict[str, int]:
    """What a transfer comes to for each grant, in nano-USD: below zero where it is charged less."""
    moved: Counter[str] = Counter()
    for bearer, amount in one.sources:
        moved[bearer.grant_id] -= amount
    for part in one.parts:
        moved[part.bearer.grant_id] += part.amount_nanousd
    return dict(moved)


def adjustment_entry(one: Adjustment) -> dict[str, Any]:
    """The entry as storage takes it."""
    usage = None if one.usage is None else {name: getattr(one.usage, name) for name in _COUNTS}
    return {
        "kind": "adjustment",
        "grant_id": one.grant_id,
        "amount_nanousd": one.amount_nanousd,
        "held_at": one.held_at,
        "tags": dict(one.tags),
        "vendor": one.vendor,
        "deployment": one.deployment,
        "model": one.model,
        "tier": one.tier,
        "usage": usage,
        "tokens": 0 if one.usage is None else one.usage.total_tokens,
        "requests": one.requests,
        "note": one.note,
        "settlement": {**one.evidence, "how": "reconciled", "cause": one.cause},
    }


def transfer_entries(one: Transfer) -> list[dict[str, Any]]:
    """The entries of a transfer: what leaves its source, then what arrives; they sum to nothing."""
    assert sum(part.amount_nanousd for part in one.parts) == sum(amount for _, amount in one.sources), one.id
    settlement: dict[str, Any] = {"how": "allocated", "transfer_id": one.id, "rule": one.rule, "method": one.method}
    settlement |= {} if one.revision is None else {"revision": one.revision}
    settlement |= {} if one.month is None else {"month": one.month}
    left: list[tuple[Bearer, int, dict[str, Any]]] = [
        (bearer, -amount, {"part": "from"}) for bearer, amount in one.sources
    ]
    arrived: list[tuple[Bearer, int, dict[str, Any]]] = [
        (
            part.bearer,
            part.amount_nanousd,
            {"part": "to"} | ({} if part.share is None else {"share": asdict(part.share)}),
        )
        for part in one.parts
    ]
    return [
        {
            "kind": "transfer",
            "grant_id": bearer.grant_id,
            "amount_nanousd": amount,
            "held_at": one.held_at,
            "tags": dict(bearer.tags),
            "vendor": one.vendor,
            "note": one.note,
            "settlement": {**settlement, **part},
        }
        for bearer, amount, part in [*left, *arrived]
    ]
