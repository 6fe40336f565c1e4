"""Remit: the authorization system for an organization's LLM spend."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from remit.sdk import (
        BudgetExhausted,
        Capability,
        CapabilityError,
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
        attenuate,
        configure,
        current,
        refusal_of,
        refusals,
        sub_budget,
        tags,
        use,
    )

__version__ = "0.1.0"

__all__ = [
    "BudgetExhausted",
    "Capability",
    "CapabilityError",
    "CapabilityExpired",
    "CapabilityRejected",
    "CapabilityRevoked",
    "NotAllowed",
    "Paced",
    "ProofRequired",
    "RateLimited",
    "Refusal",
    "Unacceptable",
    "Unavailable",
    "attenuate",
    "configure",
    "current",
    "refusal_of",
    "refusals",
    "sub_budget",
    "tags",
    "use",
]


def __getattr__(name: str) -> Any:
    """Names of the SDK, loaded when one is first asked for: every process of Remit imports this package."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from remit import sdk

    value = getattr(sdk, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
