"""What applications import: capabilities narrowed offline, budgets and tags by context, refusals as exceptions."""

from remit.capabilities.model import Limit
from remit.sdk.attenuation import attenuate
from remit.sdk.authorization import httpx_auth
from remit.sdk.capability import Block, Capability, View
from remit.sdk.clients import anthropic, async_anthropic, async_openai, configure, openai
from remit.sdk.context import current, current_tags, sub_budget, tags, use
from remit.sdk.errors import CapabilityError
from remit.sdk.outcomes import OutcomeError, outcome_event, send_outcomes
from remit.sdk.refusal import (
    BudgetExhausted,
    CapabilityExpired,
    CapabilityRejected,
    CapabilityRevoked,
    NotAllowed,
    Paced,
    ProofRequired,
    RateLimited,
    Refusal,
    Unacceptable,
    Unavailable,
    refusal_of,
    refusals,
)

__all__ = [
    "Block",
    "BudgetExhausted",
    "Capability",
    "CapabilityError",
    "CapabilityExpired",
    "CapabilityRejected",
    "CapabilityRevoked",
    "Limit",
    "NotAllowed",
    "OutcomeError",
    "Paced",
    "ProofRequired",
    "RateLimited",
    "Refusal",
    "Unacceptable",
    "Unavailable",
    "View",
    "anthropic",
    "async_anthropic",
    "async_openai",
    "attenuate",
    "configure",
    "current",
    "current_tags",
    "httpx_auth",
    "openai",
    "outcome_event",
    "refusal_of",
    "refusals",
    "send_outcomes",
    "sub_budget",
    "tags",
    "use",
]
