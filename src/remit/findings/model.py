"""Frozen types: findings, and the facts they are found in."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Literal, get_args

from remit.grants.model import Grant, Limit
from remit.grants.suggested import HEADROOM_PERCENT, WINDOW_DAYS, PeriodUse

FindingCode = Literal[
    "unused_budget",
    "never_used",
    "no_active_owner",
    "bearer_over_limit",
    "experiment_with_production_tags",
    "children_near_parent",
    "expires_soon_without_renewal",
    "long_lived_key",
    "many_unused_keys",
]
FINDING_CODES: Final[tuple[str, ...]] = get_args(FindingCode)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """From when on something is a finding.

    `unused_percent`: a limit of which less was used in every full period that ended within `window_days` (the last full one at
    least). `headroom_percent`: what is added to the highest use where a limit is proposed. `bearer_max_nanousd`: what an access
    key may be worth; None forbids nothing.
    """

    window_days: int = WINDOW_DAYS
    unused_percent: int = 10
    headroom_percent: int = HEADROOM_PERCENT
    children_percent: int = 90
    key_days: int = 180
    unused_keys: int = 5
    bearer_max_nanousd: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing about one grant. `evidence` are the numbers it rests on, amounts in the unit their name says.

    `edit` is a proposal in the form of an edit of the grant, None where there is none. `first_seen` is when it became so, where
    that follows from the facts.
    """

    code: FindingCode
    grant_id: str
    path: str
    owner: str
    detail: str
    evidence: Mapping[str, Any]
    edit: Mapping[str, Any] | None = None
    first_seen: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GrantUse:
    """How one grant was used. `last_spent_at` is of calls of this very grant, not of those below it.

    `mismatches` are reports of requests with production tags, or of the other class; `has_production_entries` whether a call of an
    experiment was booked with them.
    """

    periods: tuple[PeriodUse, ...] = ()
    last_spent_at: datetime | None = None
    mismatches: int = 0
    has_production_entries: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LivingKey:
    """An access key that can be used, with the limits of its capability. `is_used`: a hold was taken with it."""

    id: str
    grant_id: str
    name: str
    created_at: datetime
    limits: tuple[Limit, ...]
    is_used: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Everything findings are found in, as of one moment. `use` by grant id; `left` are names of owners who left.

    `renewals_asked` are ids of grants with an open ticket to renew them.
    """

    grants: tuple[Grant, ...]
    use: Mapping[str, GrantUse] = field(default_factory=dict)
    keys: tuple[LivingKey, ...] = ()
    left: frozenset[str] = frozenset()
    renewals_asked: frozenset[str] = frozenset()
