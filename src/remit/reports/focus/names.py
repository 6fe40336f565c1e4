"""Whose names a charge carries: who sold it, who hosts it, who invoices it, on which account."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

# Names under which vendors sell; any other vendor is called what the price book calls it.
_KNOWN: Final[Mapping[str, tuple[str, str]]] = {
    "openai": ("OpenAI", "OpenAI API"),
    "anthropic": ("Anthropic", "Claude API"),
    "azure": ("Microsoft", "Azure OpenAI"),
    "google": ("Google", "Gemini API"),
    "groq": ("Groq", "GroqCloud"),
    "mistral": ("Mistral AI", "Mistral API"),
    "openrouter": ("OpenRouter", "OpenRouter API"),
    "x-ai": ("xAI", "xAI API"),
}
_NUMBER = re.compile(r"[0-9.,eE+-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """The names of one deployment; `host` and the sub-account are None where nobody said."""

    provider: str
    service: str
    issuer: str
    account_id: str
    account_name: str
    account_type: str = "Vendor Account"
    host: str | None = None
    sub_account_id: str | None = None
    sub_account_name: str | None = None


INTERNAL: Final = Names(
    provider="Internal",
    service="Cost Transfer",
    issuer="Internal",
    account_id="internal",
    account_name="Internal",
    account_type="Internal",
)
"""Of what moves between grants: no vendor has a part in it."""


@dataclass(frozen=True, slots=True)
class Stated:
    """What the operator says of a deployment of a vendor; None leaves the default."""

    vendor: str
    invoice_issuer: str | None = None
    service_provider: str | None = None
    host_provider: str | None = None
    service: str | None = None
    account_id: str | None = None
    account_name: str | None = None
    sub_account_id: str | None = None
    sub_account_name: str | None = None


@dataclass(frozen=True, slots=True)
class Naming:
    """Names by deployment; one that is no longer in the settings is named by its vendor and itself."""

    stated: Mapping[str, Stated] = field(default_factory=dict)

    def of(self, vendor: str | None, deployment: str | None) -> Names:
        if vendor is None:
            return INTERNAL
        provider, service = _KNOWN.get(vendor, (vendor, f"{vendor} API"))
        said = self.stated.get(deployment or "", Stated(vendor))
        provider = said.service_provider or provider
        sub_account = said.sub_account_id
        return Names(
            provider=provider,
            service=said.service or service,
            issuer=said.invoice_issuer or provider,
            host=said.host_provider,
            account_id=as_text_id("acct", said.account_id or f"deployment-{deployment or vendor}"),
            account_name=said.account_name or deployment or vendor,
            sub_account_id=None if sub_account is None else as_text_id("sub", sub_account),
            sub_account_name=None if sub_account is None else said.sub_account_name,
        )


def as_text_id(prefix: str, identifier: str) -> str:
    """An id that nobody who guesses the types of a CSV takes for a number: `1234` becomes `acct-1234`."""
    return f"{prefix}-{identifier}" if _NUMBER.fullmatch(identifier) else identifier
