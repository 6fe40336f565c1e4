"""Whose names a charge carries: who sold it, who hosts it, who invoices it, on which account.

Charges, bills and billing periods are joined by issuer and account, so these are the same wherever one vendor is meant.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from remit.reports.focus.model import Invoice

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
    """The names of one deployment; `host` and the sub-account are None where nobody said.

    `invoice_id` is the one invoice that asks for all of it, None where there is none such.
    """

    provider: str
    service: str
    issuer: str
    account_id: str
    account_name: str
    account_type: str = "Vendor Account"
    host: str | None = None
    sub_account_id: str | None = None
    sub_account_name: str | None = None
    invoice_id: str | None = None


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
    """Names by vendor and deployment.

    What the deployments of a vendor say of issuer and account, without saying two things, holds for all that is the
    vendor's: deployments that say nothing, adjustments and bills, which name none, and deployments that are no longer in the
    settings. `invoices` are the bills of the month in question; who billed them is said there, if it is said nowhere else.
    """

    stated: Mapping[str, Stated] = field(default_factory=dict)
    invoices: tuple[Invoice, ...] = ()
    _made: dict[tuple[str, str | None], Names] = field(default_factory=dict, init=False, repr=False, compare=False)

    def with_bills(self, invoices: Iterable[Invoice]) -> "Naming":
        """The names of a month that has these bills."""
        return replace(self, invoices=tuple(invoices))

    def of(self, vendor: str | None, deployment: str | None) -> Names:
        if vendor is None:
            return INTERNAL
        if (vendor, deployment) not in self._made:
            names = self._named(vendor, deployment)
            self._made[vendor, deployment] = replace(names, invoice_id=self._invoice_id(vendor))
        return self._made[vendor, deployment]

    def billed(self, invoice: Invoice) -> tuple[str, str]:
        """Issuer and account of an invoice, as the charges that it asks for have them."""
        default = self._named(invoice.vendor, None)
        issuer = invoice.issuer or default.issuer
        billed = [one for one in self._deployed(invoice.vendor) if one.issuer == issuer]
        return issuer, _only(one.account_id for one in billed) or default.account_id

    def issuers(self) -> set[str]:
        """Of every deployment in the settings, and of the bills."""
        stated = {self.of(one.vendor, name).issuer for name, one in self.stated.items()}
        return stated | {self.billed(invoice)[0] for invoice in self.invoices}

    def _named(self, vendor: str, deployment: str | None) -> Names:
        provider, service = _KNOWN.get(vendor, (vendor, f"{vendor} API"))
        agreed = self._agreed(vendor)
        said = self._of_vendor(vendor).get(deployment or "", agreed)
        account_id = said.account_id or agreed.account_id or _default_account(vendor)
        billed_by = _only(one.issuer for one in self.invoices if one.vendor == vendor)
        return Names(
            provider=said.service_provider or provider,
            service=said.service or service,
            issuer=said.invoice_issuer
            or agreed.invoice_issuer
            or billed_by
            or said.service_provider
            or agreed.service_provider
            or provider,
            host=said.host_provider,
            account_id=as_text_id("acct", account_id),
            account_name=self._account_name(vendor, account_id) or vendor,
            sub_account_id=None if said.sub_account_id is None else as_text_id("sub", said.sub_account_id),
            sub_account_name=None if said.sub_account_id is None else said.sub_account_name,
        )

    def _of_vendor(self, vendor: str) -> dict[str, Stated]:
        return {name: one for name, one in sorted(self.stated.items()) if one.vendor == vendor}

    def _deployed(self, vendor: str) -> list[Names]:
        return [self._named(vendor, name) for name in self._of_vendor(vendor)]

    def _agreed(self, vendor: str) -> Stated:
        """What is said of a vendor's deployments in one voice. A project is of one deployment, so none is agreed on."""
        said = self._of_vendor(vendor).values()
        return Stated(
            vendor,
            invoice_issuer=_only(one.invoice_issuer for one in said if one.invoice_issuer),
            service_provider=_only(one.service_provider for one in said if one.service_provider),
            host_provider=_only(one.host_provider for one in said),
            service=_only(one.service for one in said if one.service),
            account_id=_only(one.account_id for one in said if one.account_id),
        )

    def _account_name(self, vendor: str, account_id: str) -> str | None:
        """One name for one account: the first that is said, by the names of the deployments."""
        default = self._agreed(vendor).account_id or _default_account(vendor)
        said = self._of_vendor(vendor).values()
        names = (one.account_name for one in said if one.account_name and (one.account_id or default) == account_id)
        return next(names, None)

    def _invoice_id(self, vendor: str) -> str | None:
        """The vendor's bill, where there is one alone, it asks for what is owed, and all charges have its issuer and account."""
        bills = [one for one in self.invoices if one.vendor == vendor]
        if len(bills) != 1 or not bills[0].is_owed:
            return None
        charged = {(one.issuer, one.account_id) for one in [self._named(vendor, None), *self._deployed(vendor)]}
        return bills[0].invoice_id if charged == {self.billed(bills[0])} else None


def _only(values: Iterable[str | None]) -> str | None:
    """The value, where all are the same."""
    found = set(values)
    return found.pop() if len(found) == 1 else None


def _default_account(vendor: str) -> str:
    return f"vendor-{vendor}"


def as_text_id(prefix: str, identifier: str) -> str:
    """An id that nobody who guesses the types of a CSV takes for a number: `1234` becomes `acct-1234`."""
    return f"{prefix}-{identifier}" if _NUMBER.fullmatch(identifier) else identifier
