"""What the routes give out."""

from datetime import datetime
from typing import Any

import msgspec

from remit.api.problems import ProblemItem
from remit.capabilities.model import LimitPeriod
from remit.grants.keys import StoredKey
from remit.grants.model import Grant, GrantStatus
from remit.grants.serialise import to_body
from remit.kernel.decisions import Dimension, GrantClass


class Given(msgspec.Struct, frozen=True, kw_only=True):
    """What all answers have in common."""


class LimitGiven(Given, frozen=True, kw_only=True):
    """`amount` per calendar period in the grant's time zone: nano-USD, tokens or requests."""

    dimension: Dimension
    amount: int
    period: LimitPeriod


class ScopeGiven(Given, frozen=True, kw_only=True):
    """What the spend is for."""

    team: str | None
    feature: str | None
    tenant: str | None
    environment: str | None
    experiment: str | None


class RateGiven(Given, frozen=True, kw_only=True):
    """Requests and tokens per minute, requests in flight; null is no limit."""

    rpm: int | None
    tpm: int | None
    concurrency: int | None


class ShapeGiven(Given, frozen=True, kw_only=True):
    """What one request may look like; null says nothing here."""

    models: list[str] | None
    vendors: list[str] | None
    surfaces: list[str] | None
    max_input_tokens: int | None
    max_output_tokens: int | None
    tools: bool | None


class EnvelopeGiven(Given, frozen=True, kw_only=True):
    """What is approved without a person; amounts in nano-USD a month."""

    max_increase_percent: int
    max_nanousd: int
    max_renewals: int
    max_term_days: int


class BoundaryGiven(Given, frozen=True, kw_only=True):
    """The most that may be handed out below; null says nothing."""

    max_share_percent: int | None
    max_nanousd: int | None
    classes: list[GrantClass] | None
    models: list[str] | None
    owners: list[str] | None
    grace_hours: int
    auto_approve: EnvelopeGiven | None


class DelegationGiven(Given, frozen=True, kw_only=True):
    """What the grant's owner may hand on."""

    allowed: bool
    max_depth: int | None
    overcommit_percent: int
    max_term_days: int | None
    boundary: BoundaryGiven | None


class OnExhaustedGiven(Given, frozen=True, kw_only=True):
    """What happens near and at the cap."""

    pace_from_percent: int | None
    page_percents: list[int]
    webhook: str | None


class OverdraftGiven(Given, frozen=True, kw_only=True):
    """Extra escrowed, in nano-USD."""

    max_nanousd: int


class RenewalGiven(Given, frozen=True, kw_only=True):
    """When to ask for a renewal."""

    lead_time_days: int
    auto_tier: str | None


class GrantGiven(Given, frozen=True, kw_only=True):
    """A grant as it stands at `revision`."""

    id: str
    path: str
    parent_id: str | None
    owner: str
    grant_class: GrantClass = msgspec.field(name="class")
    starts_at: datetime
    expires_at: datetime
    time_zone: str
    scope: ScopeGiven
    limits: list[LimitGiven]
    rate: RateGiven
    shape: ShapeGiven
    data_classes: list[str] | None
    required_tags: list[str]
    delegation: DelegationGiven
    on_exhausted: OnExhaustedGiven
    overdraft: OverdraftGiven | None
    renewal: RenewalGiven
    status: GrantStatus
    revision: int
    epoch: int


class GrantPage(Given, frozen=True, kw_only=True):
    """Grants, parents before children; `next` continues the list as `after`."""

    grants: list[GrantGiven]
    next: str | None


class RevisionGiven(Given, frozen=True, kw_only=True):
    """One change: the whole grant as it became (`body`), who wrote it, when and why."""

    revision: int
    changed_at: datetime
    changed_by: str
    reason: str
    idempotency_key: str
    body: dict[str, Any]


class History(Given, frozen=True, kw_only=True):
    """Revisions, oldest first; `next` continues the list as `after`."""

    revisions: list[RevisionGiven]
    next: int | None


class PlanGiven(Given, frozen=True, kw_only=True):
    """The steps from the stored tree to a manifest, as data and as text, and what forbids them.

    `plan` names these very steps; sent along with the manifest it makes sure that no others are carried out.
    """

    plan: str
    text: str
    creates: list[dict[str, Any]]
    changes: list[dict[str, Any]]
    revokes: list[dict[str, Any]]
    orphans: list[str]
    unchanged: list[str]
    problems: list[ProblemItem]


class Applied(Given, frozen=True, kw_only=True):
    """What was written, as it is now."""

    grants: list[GrantGiven]


class RevocationGiven(Given, frozen=True, kw_only=True):
    """A revocation, who knows of it by now, and what calls under way can still cost (nano-USD).

    A gateway that is `gone` was not seen for 15 seconds; without the database it can admit nothing.
    """

    id: str
    kind: str
    subject: str
    grant_id: str | None
    cut: bool
    issued_before: datetime | None
    tree_revision: int
    revoked_at: datetime
    revoked_by: str
    reason: str
    gateways: list["GatewayGiven"]
    calls_under_way: int
    at_most_nanousd: int


class GatewayGiven(Given, frozen=True, kw_only=True):
    """One gateway process, as it was last heard of."""

    name: str
    knows: bool
    gone: bool
    seen_at: datetime


class KeyGiven(Given, frozen=True, kw_only=True):
    """An access key, without its secret."""

    id: str
    grant_id: str
    grant_path: str
    name: str
    created_at: datetime
    created_by: str
    expires_at: datetime
    rotated_from: str | None
    revoked_at: datetime | None
    revoked_by: str | None


class KeyMade(Given, frozen=True, kw_only=True):
    """A new access key. `secret` and `capability` are in the first answer only; a repetition has null."""

    key: KeyGiven
    secret: str | None
    capability: str | None


class KeyPage(Given, frozen=True, kw_only=True):
    """Access keys by grant; `next` continues the list as `after`."""

    keys: list[KeyGiven]
    next: str | None


class CapabilityGiven(Given, frozen=True, kw_only=True):
    """A capability that was minted, without its text. `id` is its block's, which revocations name."""

    id: str
    grant_id: str
    grant_path: str
    purpose: str
    issued_at: datetime
    issued_by: str
    expires_at: datetime
    bearer: bool


class CapabilityMade(Given, frozen=True, kw_only=True):
    """A new capability. `token` is in the first answer only; a repetition has null."""

    capability: CapabilityGiven
    token: str | None


class GroupGiven(Given, frozen=True, kw_only=True):
    """Sums over the entries of one group; `group` has one value per dimension asked for."""

    group: list[str | None]
    requests: int
    retries: int
    tokens: int
    input_tokens: int
    cache_read_tokens: int
    cache_write_tokens: int
    output_tokens: int
    amount_nanousd: int
    suspense_nanousd: int
    booked_nanousd: int


class ReportGiven(Given, frozen=True, kw_only=True):
    """Spend by group, largest first, and the total. `since <= held_at < until`. `remarks`: on names that may be misspelt."""

    by: list[str]
    since: datetime | None
    until: datetime | None
    rows: list[GroupGiven]
    total: GroupGiven
    remarks: list[str]


class EntryPage(Given, frozen=True, kw_only=True):
    """Entries by sequence number; `next` continues the list as `after`."""

    entries: list[dict[str, Any]]
    next: int | None


class CheckGiven(Given, frozen=True, kw_only=True):
    """One check of the books."""

    name: str
    title: str
    examined: int
    differences: list[dict[str, Any]]


class Verdict(Given, frozen=True, kw_only=True):
    """What the doctor says; `agree` when no check found a difference."""

    agree: bool
    checks: list[CheckGiven]


class NotificationPage(Given, frozen=True, kw_only=True):
    """Notifications, oldest first; `next` continues the list as `after`."""

    notifications: list[dict[str, Any]]
    next: int | None


class GatewayStateGiven(Given, frozen=True, kw_only=True):
    """One gateway process, by the revision of the tree that it was last known to go by."""

    name: str
    tree_revision: int
    gone: bool
    seen_at: datetime


class GatewayPage(Given, frozen=True, kw_only=True):
    """All the gateways there are."""

    gateways: list[GatewayStateGiven]


class DeadLetter(Given, frozen=True, kw_only=True):
    """A notification, by its id, that did not reach a channel and is not tried any more."""

    id: int
    channel: str
    kind: str
    audience: str
    path: str | None
    attempts: int
    error: str
    created_at: datetime
    ticket_id: str


class DeadLetterPage(Given, frozen=True, kw_only=True):
    """Dead letters, oldest first; `next` continues the list as `after`."""

    dead: list[DeadLetter]
    next: int | None


class RetriedGiven(Given, frozen=True, kw_only=True):
    """The channels to which a notification is due again."""

    id: int
    channels: list[str]


class JobCount(Given, frozen=True, kw_only=True):
    """How many jobs of a task are in a state."""

    task: str
    state: str
    count: int


class JobGiven(Given, frozen=True, kw_only=True):
    """A job. `key` says what it is about, `since` when it came into its state or will be due, `error` why it failed last."""

    id: int
    task: str
    key: str | None
    state: str
    attempts: int
    error: str | None
    since: datetime | None


class JobPage(Given, frozen=True, kw_only=True):
    """Jobs, oldest first; `next` continues the list as `after`. `counts` are those of all jobs."""

    counts: list[JobCount]
    jobs: list[JobGiven]
    next: int | None


class JobRetried(Given, frozen=True, kw_only=True):
    """The job that is due again."""

    id: int
    task: str


class Health(Given, frozen=True, kw_only=True):
    """That the authority and its database answer."""

    status: str


def grant_given(grant: Grant) -> GrantGiven:
    """The grant as an answer has it."""
    return msgspec.convert(to_body(grant), GrantGiven)


def key_given(key: StoredKey, grant_path: str) -> KeyGiven:
    """The key as an answer has it: without hash and capability."""
    return KeyGiven(
        id=key.id,
        grant_id=key.grant_id,
        grant_path=grant_path,
        name=key.name,
        created_at=key.created_at,
        created_by=key.created_by,
        expires_at=key.expires_at,
        rotated_from=key.rotated_from,
        revoked_at=key.revoked_at,
        revoked_by=key.revoked_by,
    )
