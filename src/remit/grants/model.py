"""The frozen types of the grant tree.

Amounts are integers: nano-USD, tokens or requests. Instants are aware and in UTC. In a field that narrows
authority `None` means "says nothing here, what stands above applies"; `0` and an empty tuple admit nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final, Literal, get_args

from remit.kernel.decisions import Dimension, GrantClass
from remit.kernel.periods import PeriodKind

GrantStatus = Literal["requested", "active", "suspended", "expired", "revoked"]
Role = Literal["org_owner", "finance", "security", "auditor", "approver", "gateway_operator", "system_of_record"]

GRANT_CLASSES: Final[tuple[str, ...]] = get_args(GrantClass)
DIMENSIONS: Final[tuple[str, ...]] = get_args(Dimension)
STATUSES: Final[tuple[str, ...]] = get_args(GrantStatus)
ROLES: Final[tuple[Role, ...]] = get_args(Role)
# Shortest first; `minute` belongs to rates, not to limits.
LIMIT_PERIODS: Final[tuple[PeriodKind, ...]] = ("day", "week", "month", "quarter", "once")
SCOPE_FIELDS: Final = ("team", "feature", "tenant", "environment", "experiment")

MAX_DEPTH: Final = 16
MAX_PATH_LENGTH: Final = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What the spend is for. A child may fill in what its ancestors leave open, never change what they say."""

    team: str | None = None
    feature: str | None = None
    tenant: str | None = None
    environment: str | None = None
    experiment: str | None = None

    def labels(self) -> dict[str, str]:
        """The fields that say something, in a fixed order."""
        pairs = ((name, getattr(self, name)) for name in SCOPE_FIELDS)
        return {name: value for name, value in pairs if value is not None}


@dataclass(frozen=True, slots=True)
class Limit:
    """`amount` per calendar period in the grant's time zone: nano-USD, tokens or requests. 0 admits nothing."""

    dimension: Dimension
    amount: int
    period: PeriodKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """Requests and tokens per minute, and requests in flight. `None` is no limit, 0 admits nothing."""

    rpm: int | None = None
    tpm: int | None = None
    concurrency: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What one request may look like. A model pattern is an exact name, or a prefix with one trailing `*`."""

    models: tuple[str, ...] | None = None
    vendors: tuple[str, ...] | None = None
    surfaces: tuple[str, ...] | None = None
    max_input_tokens: int | None = None
    max_output_tokens: int | None = None
    tools: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """What is approved without a person, because whoever wrote the boundary approved it ahead.

    A request is inside where it raises the worst case, and every limit, by at most `max_increase_percent`, to at most
    `max_nanousd` a month; a renewal where it is at most the `max_renewals`th in a row that no person decided, for at most `max_term_days`.
    """

    max_increase_percent: int = 0
    max_nanousd: int = 0
    max_renewals: int = 0
    max_term_days: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Boundary:
    """The most that may ever be handed out below a grant by those whose authority does not come from above it.

    It grants nothing. `max_share_percent` is of what the grant itself has left in the period at the moment of the write, and
    bounds every one grant below; `max_nanousd` bounds each usd limit of one. `owners` are patterns of addresses, such as
    `*@acme.example`. `grace_hours` is how long a production grant below goes on after its expiry, once.
    """

    max_share_percent: int | None = None
    max_nanousd: int | None = None
    classes: tuple[GrantClass, ...] | None = None
    models: tuple[str, ...] | None = None
    owners: tuple[str, ...] | None = None
    grace_hours: int = 0
    auto_approve: Envelope | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Delegation:
    """What the grant's owner may hand on.

    `max_depth` counts levels below this grant. `overcommit_percent` lets the live children's limits sum to
    (100 + percent) / 100 of this grant's own; the bucket of this grant stays at 100. `max_term_days` bounds how
    far ahead of the write a child's expiry may lie.
    """

    allowed: bool = True
    max_depth: int | None = None
    overcommit_percent: int = 0
    max_term_days: int | None = None
    boundary: Boundary | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Overdraft:
    """Extra escrowed ahead for a production grant: up to this much above each of its usd limits, per period."""

    max_nanousd: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OnExhausted:
    """What happens near and at the cap. Pacing is opt-in and for experimentation only; percents are of a limit."""

    pace_from_percent: int | None = None
    page_percents: tuple[int, ...] = (80, 100)
    webhook: str | None = None


AUTO_TIERS: Final = ("small", "standard", "large")


@dataclass(frozen=True, slots=True, kw_only=True)
class Renewal:
    """When to ask for a renewal, and up to which tier it is asked for by itself, for an envelope to grant (none by default)."""

    lead_time_days: int = 14
    auto_tier: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """A node of the budget tree: authority to spend, with owner, scope, class, limits and expiry.

    `path` names the grant for ever: it is never reused, not even after revocation. `revision` counts changes from
    1; `epoch` rises on revocation, and a capability minted for an earlier epoch is dead.
    """

    id: str
    path: str
    parent_id: str | None
    owner: str
    grant_class: GrantClass
    starts_at: datetime
    expires_at: datetime
    time_zone: str = "UTC"
    scope: Scope = field(default_factory=Scope)
    limits: tuple[Limit, ...] = ()
    rate: Rate = field(default_factory=Rate)
    shape: Shape = field(default_factory=Shape)
    data_classes: tuple[str, ...] | None = None
    required_tags: tuple[str, ...] = ()
    delegation: Delegation = field(default_factory=Delegation)
    on_exhausted: OnExhausted = field(default_factory=OnExhausted)
    overdraft: Overdraft | None = None
    renewal: Renewal = field(default_factory=Renewal)
    status: GrantStatus = "active"
    revision: int = 1
    epoch: int = 0

    @property
    def depth(self) -> int:
        """1 for a root."""
        return self.path.count("/") + 1

    @property
    def parent_path(self) -> str | None:
        """The path one level up; `None` for a root."""
        return parent_path_of(self.path)

    def revoked(self) -> "Grant":
        """The final revision of this grant, in a new epoch."""
        return replace(self, status="revoked", revision=self.revision + 1, epoch=self.epoch + 1)

    def is_live(self, now: datetime) -> bool:
        """Whether the grant holds a part of its parent's authority.

        A suspended grant is live, since it can be resumed at any moment; a requested one is not yet, and one past
        its expiry is not any more, whether or not its status says so already.
        """
        return self.status in ("active", "suspended") and now < self.expires_at


@dataclass(frozen=True, slots=True, kw_only=True)
class Revision:
    """One immutable state of a grant: the whole body (see serialise.py), who wrote it, when and why."""

    grant_id: str
    revision: int
    body: Mapping[str, Any]
    changed_at: datetime
    changed_by: str
    reason: str
    idempotency_key: str


@dataclass(frozen=True, slots=True)
class RoleBinding:
    """A role for the whole organization (no grant), or for the grant of that id and everything below it."""

    role: Role
    grant_id: str | None = None


@dataclass(frozen=True, slots=True)
class Asserting:
    """What a token asserts that can do nothing else: outcomes of these kinds, of these sources. None named is any."""

    kinds: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Actor:
    """Who asks. Ownership is read from the tree: `name` is compared with the owners of grants.

    `acts_for` are ids of grants whose owner this person may stand in for in this write: an approver on whose rota they are.
    An admin, who is an org_owner of the whole organization, may do all. Where the token that was shown says so, the person
    reaches nothing but the grant `within` and what is below it, may only read, or may only assert outcomes.
    """

    name: str
    is_admin: bool = False
    acts_for: frozenset[str] = frozenset()
    roles: tuple[RoleBinding, ...] = ()
    within: str | None = None
    read_only: bool = False
    asserts: Asserting | None = None

    def __post_init__(self) -> None:
        assert self.within is None or not self.is_admin, "whoever is held to one grant is no admin of all"


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One reason why a write is not made: a stable code, the grant it is about, and a sentence with the numbers."""

    code: str
    path: str
    detail: str
    field: str | None = None


class ProblemsError(Exception):
    """Ends a write for these problems: raised, so that nothing of it stays."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        assert problems
        super().__init__(", ".join(problem.code for problem in problems))
        self.problems = tuple(problems)


def parent_path_of(path: str) -> str | None:
    """The path one level up; `None` for a root."""
    head, slash, _ = path.rpartition("/")
    return head if slash else None


def is_within(path: str, top: str) -> bool:
    """Whether a path is that of a grant or of one below it."""
    return path == top or path.startswith(f"{top}/")


def same_person(left: str, right: str) -> bool:
    """Whether two owner names mean one person: addresses are compared without case."""
    return left.casefold() == right.casefold()
