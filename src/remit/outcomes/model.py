"""Frozen types: events about outcomes, what they fold to, spend as it is attributed, and what a report says."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Literal, get_args

from remit.kernel.ids import is_id

Status = Literal["success", "failure", "pending", "reversed"]
STATUSES: Final[tuple[str, ...]] = get_args(Status)
JoinKind = Literal["operation", "trace", "tag", "window"]

FULL_WEIGHT: Final = 1_000_000
"""The weight of an outcome, in parts per million, where its event states none."""

MAX_AHEAD: Final = timedelta(minutes=5)
MAX_AGE: Final = timedelta(days=400)
MAX_JOINS: Final = 100
LOOK_BACK: Final = timedelta(days=31)
"""How long before a report's window begins the spend of its outcomes is looked for."""


@dataclass(frozen=True, slots=True, order=True)
class Join:
    """What of the ledger an outcome is about: an operation, a trace, a tag's value, or all of its grant in a span.

    `name` is of tags only; `since` and `until` of windows only, half-open.
    """

    kind: JoinKind
    value: str = ""
    name: str = ""
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """What a system of record says of one of its subjects. `(source, event_id)` names it, once and for all.

    `grant` is the id of the grant whose spend, there and below, it may be joined to. `value_nanousd` is what the outcome is
    worth by the source, None where it does not say. `weight_ppm` is its share where spend belongs to several outcomes.
    """

    source: str
    event_id: str
    kind: str
    subject: str
    status: Status
    grant_id: str
    occurred_at: datetime
    joins: tuple[Join, ...] = ()
    value_nanousd: int | None = None
    evidence_url: str | None = None
    weight_ppm: int = FULL_WEIGHT

    def __post_init__(self) -> None:
        assert self.weight_ppm > 0, "an outcome without weight would have no cost"
        assert self.joins == tuple(sorted(set(self.joins), key=_order)), "joins are stated once, in order"


def _order(join: Join) -> tuple[str, ...]:
    return (join.kind, join.name, join.value, str(join.since), str(join.until))


def ordered(joins: set[Join]) -> tuple[Join, ...]:
    """Joins as an event has them."""
    return tuple(sorted(joins, key=_order))


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedEvent:
    """An event as it is kept: its number, its outcome, who asserted it (with which token), and when."""

    seq: int
    outcome_id: str
    event: Event
    asserted_by: str
    asserted_with: str | None
    recorded_at: datetime


@dataclass(frozen=True, slots=True)
class Said:
    """The part of an event that its outcome's state follows from."""

    seq: int
    status: Status
    occurred_at: datetime
    value_nanousd: int | None
    weight_ppm: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What the events about one subject of one source and kind come to.

    `decided_at` is when the event happened that `status` follows from. `reversals` are events that took a success back.
    """

    id: str
    kind: str
    status: Status
    decided_at: datetime
    weight_ppm: int
    value_nanousd: int | None
    reversals: int

    def __post_init__(self) -> None:
        assert is_id(self.id, "out")


Group = tuple[str | None, ...]


@dataclass(frozen=True, slots=True)
class Spend:
    """A part of the ledger that belongs to the same outcomes of one kind, in nano-USD, net.

    `group` are its values in the report's dimensions, `outcomes` are ids in order, never empty. `is_inside`: begun in the
    report's window, and not in the time before it in which the spend of its outcomes is looked for.
    """

    kind: str
    group: Group
    outcomes: tuple[str, ...]
    is_inside: bool
    amount_nanousd: int
    suspense_nanousd: int


@dataclass(frozen=True, slots=True)
class Total:
    """Everything spent in the window by one group, as the ledger's own report has it."""

    group: Group
    amount_nanousd: int
    suspense_nanousd: int


@dataclass(frozen=True, slots=True)
class Facts:
    """What a report is made from, as of one moment. `ledger_nanousd` is the ledger's sum of the window, without grouping."""

    outcomes: Mapping[str, Outcome]
    spend: tuple[Spend, ...]
    totals: tuple[Total, ...]
    ledger_nanousd: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One group of one kind of outcomes. Amounts in nano-USD.

    `total = attributed - earlier + elsewhere + unattributed`, to the nano-dollar: `attributed` is the whole cost of the
    outcomes counted here, `earlier` the part of it from before the window; `elsewhere` is spend of outcomes that another
    window counts. `suspense` is the part of `total` that is a bound and not a fact. Costs per success and per outcome are None
    where there is none. `value` is the sum of what sources state of successes, of which `valued` have one.
    """

    group: Group
    outcomes: int
    successes: int
    failures: int
    pending: int
    reversed: int
    attributed_nanousd: int
    failed_nanousd: int
    earlier_nanousd: int
    elsewhere_nanousd: int
    unattributed_nanousd: int
    total_nanousd: int
    suspense_nanousd: int
    cost_per_success_nanousd: int | None
    cost_per_outcome_nanousd: int | None
    value_nanousd: int | None
    valued: int


@dataclass(frozen=True, slots=True)
class KindReport:
    """All about one kind: its groups, the dearest first, and the whole. In `total` every outcome counts once."""

    kind: str
    rows: tuple[Row, ...]
    total: Row


@dataclass(frozen=True, slots=True)
class Report:
    """Outcomes decided between two instants, and the spend begun between them. Without outcomes, `kinds` is empty."""

    by: tuple[str, ...]
    since: datetime | None
    until: datetime | None
    kinds: tuple[KindReport, ...]
    ledger_nanousd: int


@dataclass(frozen=True, slots=True)
class Subject:
    """One outcome as a comparison counts it."""

    cost_nanousd: int
    is_success: bool


@dataclass(frozen=True, slots=True)
class Interval:
    """Where a number lies, at a stated confidence; both ends rounded outwards, in nano-USD."""

    low: int
    high: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """One side of a comparison. `interval` is None where `cost_per_success_nanousd` is, or where nothing bounds it."""

    name: str
    outcomes: int
    successes: int
    cost_nanousd: int
    cost_per_success_nanousd: int | None
    interval: Interval | None


Verdict = Literal["first_costs_less", "second_costs_less", "no_difference_shown", "too_few"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Two arms, and the difference in cost per success: the second's less the first's.

    `in_both` are outcomes with spend of both: they belong to neither. `why` says what is missing where the verdict is
    `too_few`; then there is no difference either.
    """

    kind: str
    first: Arm
    second: Arm
    in_both: int
    difference_nanousd: int | None
    interval: Interval | None
    verdict: Verdict
    confidence_percent: int
    method: str
    why: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a report or a list is about. `nodes` are ids of grants (with what is below them), None for everything."""

    kind: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    nodes: tuple[str, ...] | None = None
    by: tuple[str, ...] = field(default=("grant",))
