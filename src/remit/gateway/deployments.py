"""Deployments: where a model name can be routed to, with the connections to get there."""

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from remit.gateway.wire.limits import VendorLimits
from remit.gateway.wire.pool import Origin, VendorPool
from remit.gateway.wire.tls import vendor_ssl_context
from remit.kernel.names import model_matches
from remit.providers.openai import ClampOptions, OutputField
from remit.settings import Settings, SettingsError, VendorSettings, vendor_key

# OpenAI's own servers know service tiers; pinning `default` keeps the project's setting from choosing a dearer one.
_TIERED_VENDORS = frozenset({"openai"})
# Vendors whose documentation has `max_completion_tokens`; the others document `max_tokens`, some of them nothing else.
_COMPLETION_BOUND_VENDORS = frozenset({"azure", "cerebras", "groq", "openai", "x-ai"})
# Whoever else speaks OpenAI's wire format may count in its own way.
_OPENAI_HOST = "api.openai.com"
_UNBILLED_STATUSES = frozenset({400, 401, 403, 404, 405, 409, 413, 415, 422, 429})
# Azure charges for prompts that its content filter turns away with 400 (its documentation of content filtering).
_UNBILLED_AT = {"azure": _UNBILLED_STATUSES - {400}}


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """A vendor account behind one base URL. `vendor` names whose prices apply.

    `exact_counts`: what the published tokenizers count is a bound of what this vendor bills.
    """

    name: str
    vendor: str
    models: tuple[str, ...]
    target: bytes
    fixed_headers: bytes
    clamp: ClampOptions
    unbilled_statuses: frozenset[int]
    exact_counts: bool
    pool: VendorPool

    def serves(self, model: str) -> bool:
        """Whether a model name is routed here."""
        return any(model_matches(pattern, model) for pattern in self.models)


def open_deployments(settings: Settings, environment: Mapping[str, str]) -> tuple[Deployment, ...]:
    """The deployments of the settings, in their order. Raises SettingsError, also for a missing vendor key."""
    return tuple(_open(name, vendor, settings, environment) for name, vendor in settings.vendors.items())


def _open(name: str, vendor: VendorSettings, settings: Settings, environment: Mapping[str, str]) -> Deployment:
    origin, base = _origin_and_base(name, vendor.base_url)
    limits = VendorLimits(
        connect_timeout_seconds=vendor.connect_timeout_seconds,
        first_byte_timeout_seconds=min(vendor.first_byte_timeout_seconds, settings.gateway.request_seconds),
        read_idle_timeout_seconds=vendor.read_timeout_seconds,
        max_connections=vendor.max_connections,
    )
    context = vendor_ssl_context(vendor.ca_file) if origin.scheme == "https" else None
    key = vendor_key(name, vendor, environment)
    if key is not None and (not key.isascii() or not key.isprintable()):
        raise SettingsError(f"the key of vendor `{name}` has characters that cannot stand in a header")
    headers = b"host: %b\r\ncontent-type: application/json\r\naccept-encoding: identity\r\nuser-agent: remit\r\n" % (
        origin.host_header
    )
    if key is not None:
        headers += b"authorization: Bearer %b\r\n" % key.encode()
    vendor_name = vendor.vendor or name
    unbilled = _UNBILLED_AT.get(vendor_name, _UNBILLED_STATUSES)
    tier = "default" if vendor_name in _TIERED_VENDORS else None
    field: OutputField = "max_completion_tokens" if vendor_name in _COMPLETION_BOUND_VENDORS else "max_tokens"
    return Deployment(
        name=name,
        vendor=vendor_name,
        models=vendor.models,
        target=f"{base}/v1/chat/completions".encode(),
        fixed_headers=headers,
        clamp=ClampOptions(output_field=vendor.output_bound_field or field, service_tier_when_absent=tier),
        unbilled_statuses=unbilled if vendor.unbilled_statuses is None else frozenset(vendor.unbilled_statuses),
        exact_counts=origin.host == _OPENAI_HOST if vendor.exact_counts is None else vendor.exact_counts,
        pool=VendorPool(origin, context, limits),
    )


def _origin_and_base(name: str, base_url: str) -> tuple[Origin, str]:
    """Where to connect, and the path before `/v1`. Raises SettingsError, which quotes nothing: a URL may hold a secret."""
    refused = SettingsError(f"`vendors.{name}.base_url` is not an http or https URL of host, port and path")
    try:
        url = urlsplit(base_url)
        port = url.port or (443 if url.scheme == "https" else 80)
    except ValueError:
        raise refused from None
    if url.scheme not in ("http", "https") or not url.hostname or "@" in url.netloc or url.query or url.fragment:
        raise refused
    return Origin(url.scheme, url.hostname, port), url.path.rstrip("/").removesuffix("/v1")
