"""The decision "no" is a value: `Refused`, with a code and the numbers behind it.

The order of `RefusalCode` is the precedence: a request that breaks several rules is answered with the first.
"""

from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Any, Literal

GrantClass = Literal["production", "experimentation"]
Dimension = Literal["usd", "tokens", "requests"]


class RefusalCode(Enum):
    """Every way to say no, in order of precedence, with its HTTP status and title."""

    malformed_request = (400, False, "the request could not be read")
    unauthenticated = (401, False, "no usable credential was presented")
    capability_invalid = (401, False, "the capability is not valid")
    capability_expired = (401, False, "the capability has expired")
    capability_revoked = (401, False, "the capability was revoked")
    proof_required = (401, False, "the capability needs proof of possession")
    grant_inactive = (403, False, "the grant is not active")
    grant_expired = (403, False, "the grant has expired")
    surface_not_allowed = (403, False, "this surface is not allowed")
    model_not_allowed = (403, False, "this model is not allowed")
    tags_missing = (400, False, "tags are missing or not allowed")
    class_mismatch = (403, False, "the tags contradict the grant's class")
    policy_forbidden = (403, False, "a policy forbids this request")
    shape_exceeded = (400, False, "the request is larger than the grant allows")
    unpriced = (403, False, "the model has no known price")
    rate_limited = (429, True, "the rate limit is used up for now")
    paced = (429, True, "spending is paced to last the period")
    grant_exhausted = (402, False, "the grant is exhausted")
    authority_unreachable = (503, True, "the authority cannot be reached")
    no_deployment = (503, True, "no deployment can serve this model")

    def __init__(self, status: int, transient: bool, title: str) -> None:
        self.default_status = status
        self.default_transient = transient
        self.title = title

    @property
    def precedence(self) -> int:
        """0 is answered first."""
        return list(RefusalCode).index(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """The decision "no". Amounts are in the dimension's unit: nano-USD, tokens or requests.

    `detail` says in one lower-case sentence which limit, how much, over what window, when again, whom to ask.
    `grant_exhausted` is 429 where the window refills by itself and 402 where only a person can help: SDKs retry 429.
    """

    code: RefusalCode
    detail: str
    status: int = 0
    transient: bool | None = None
    path: str | None = None
    binding_node: str | None = None
    dimension: Dimension | None = None
    period: str | None = None
    limit: int | None = None
    posted: int | None = None
    held: int | None = None
    required: int | None = None
    resets_at: datetime | None = None
    owner: str | None = None
    renew_url: str | None = None
    policy_ids: tuple[str, ...] = ()
    retry_after_seconds: int | None = None
    extra: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.status == 0:
            object.__setattr__(self, "status", self.code.default_status)
        if self.transient is None:
            object.__setattr__(self, "transient", self.code.default_transient)
