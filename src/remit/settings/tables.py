"""The tables of the settings: what can be set, with its default, and what cannot stand together."""

import re
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import msgspec

from remit.kernel.durations import InvalidDurationError, parse_duration
from remit.kernel.money import InvalidAmountError, parse_usd
from remit.renewals.model import Policy

ORIGIN = re.compile(r"https?://[A-Za-z0-9._:\[\]-]+/?")

_NAME_OF_A_KEY = re.compile(r"[!-*,-~]{1,200}")
# A year is longer than anything waits; it also keeps out `inf` and `nan`, which TOML has as numbers.
_MAX_SECONDS = 366 * 24 * 3600
Seconds = Annotated[float, msgspec.Meta(gt=0, le=_MAX_SECONDS)]
SecondsOrNone = Annotated[float, msgspec.Meta(ge=0, le=_MAX_SECONDS)]
Count = Annotated[int, msgspec.Meta(ge=1)]
CountOrNone = Annotated[int, msgspec.Meta(ge=0, le=10**9)]
# As vendors' statements write ids; a secret key in its place would stand in every report.
VendorName = Annotated[str, msgspec.Meta(min_length=1, max_length=500, pattern=r"^[^\s\0]+$")]


class SettingsError(Exception):
    """The settings cannot be used; the message says where and why."""


class BearerSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The most that capabilities without proof of possession may be. Absent forbids nothing.

    `max_usd` is dollar text, `max_ttl` a duration such as `15m`, `12h` or `7d`.
    """

    max_usd: str | None = None
    max_ttl: str | None = None

    def __post_init__(self) -> None:
        try:
            if self.max_usd is not None:
                parse_usd(self.max_usd)
        except InvalidAmountError as error:
            raise SettingsError(f"`gateway.bearer.max_usd`: {error}") from None
        try:
            if self.max_ttl is not None:
                parse_duration(self.max_ttl)
        except InvalidDurationError as error:
            raise SettingsError(f"`gateway.bearer.max_ttl`: {error}") from None


class GatewaySettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where callers reach the gateway, and the bounds it keeps. Times in seconds."""

    listen: str = "127.0.0.1:8400"
    workers: Count = 1
    name: str = "gateway"
    audience: str = "remit"
    request_seconds: Seconds = 600.0
    hold_seconds: Seconds = 660.0
    drain_seconds: SecondsOrNone = 30.0
    max_body_bytes: Count = 16 * 1024 * 1024
    max_connections: Count = 4096
    head_timeout_seconds: Seconds = 10.0
    body_timeout_seconds: Seconds = 60.0
    idle_timeout_seconds: Seconds = 75.0
    tls_certificate_file: Path | None = None
    tls_key_file: Path | None = None
    tls_client_ca_file: Path | None = None
    public_url: str | None = None
    bearer: BearerSettings = BearerSettings()


class ApiSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where people and CI reach the authority."""

    listen: str = "127.0.0.1:8401"
    public_url: str | None = None
    scim_token_env: str | None = None
    scim_token_file: Path | None = None


class SignInRole(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A role for whoever is in a group of the provider: for the whole organization, or from a grant (a path) down."""

    group: str
    role: Literal["org_owner", "finance", "security", "auditor", "approver", "gateway_operator", "system_of_record"]
    grant: str | None = None


class SignInSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The OpenID provider at which people sign in; whose addresses it vouches for; what its groups mean here."""

    issuer: str
    client_id: str
    client_secret_env: str | None = None
    client_secret_file: Path | None = None
    ca_file: Path | None = None
    email_domains: tuple[str, ...]
    scopes: tuple[str, ...] = ("openid", "email")
    groups_claim: str = "groups"
    roles: tuple[SignInRole, ...] = ()
    session_seconds: Annotated[int, msgspec.Meta(ge=60, le=30 * 24 * 3600)] = 12 * 3600

    def __post_init__(self) -> None:
        if not is_safe_address(self.issuer):
            raise SettingsError("`sign_in.issuer` is not an https URL; http is for an issuer on this machine only")
        if not self.email_domains or any(not one or "@" in one for one in self.email_domains):
            raise SettingsError("`sign_in.email_domains` lists domains such as `acme.example`, at least one")
        if "openid" not in self.scopes:
            raise SettingsError("`sign_in.scopes` has to hold `openid`")


class VendorBilling(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whose names the charges of a deployment carry in exports; see `docs/reference/focus.md`."""

    invoice_issuer: str | None = None
    service_provider: str | None = None
    host_provider: str | None = None
    service: str | None = None
    account_id: str | None = None
    account_name: str | None = None
    sub_account_id: str | None = None
    sub_account_name: str | None = None

    def __post_init__(self) -> None:
        for name, value in msgspec.structs.asdict(self).items():
            if value is not None and not (value.strip() == value != "" and value.isprintable()):
                raise SettingsError(f"`billing.{name}` of a vendor is a text on one line, without blanks around it")


class VendorSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One deployment: a vendor account that models can be routed to.

    `models` are exact names or prefixes with one trailing `*`. `unbilled_statuses` are answers for which the vendor is
    known not to charge; after any other error the ceiling stays booked until evidence says otherwise. Left out, they are the
    client errors (4xx) that OpenAI documents as free; for the vendor `azure` without 400, which it charges when a
    prompt is filtered. `output_bound_field` left out is the one the vendor documents. `exact_counts` says that this server
    counts as the published tokenizers do; left out, that is believed of OpenAI's own address only. `vendor_account`,
    `vendor_project` and `vendor_key_id` are what the vendor's statements call the account, project (workspace, resource,
    subscription) and key that calls go through.
    """

    base_url: str
    vendor: str | None = None
    vendor_account: VendorName | None = None
    vendor_project: VendorName | None = None
    vendor_key_id: VendorName | None = None
    api_key_env: str | None = None
    api_key_file: Path | None = None
    models: tuple[str, ...] = ("*",)
    wire: Literal["openai"] = "openai"
    output_bound_field: Literal["max_completion_tokens", "max_tokens"] | None = None
    unbilled_statuses: tuple[int, ...] | None = None
    exact_counts: bool | None = None
    connect_timeout_seconds: Seconds = 5.0
    first_byte_timeout_seconds: Seconds = 300.0
    read_timeout_seconds: Seconds = 120.0
    max_connections: Count = 1024
    ca_file: Path | None = None
    billing: VendorBilling = VendorBilling()


class NotifySettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where pages go besides the notifications table. Without a URL they stay there.

    A grant may name a webhook of its own (`on_exhausted.webhook`). Owners write that, so it is used only where its host is
    listed in `grant_webhook_hosts`, as `host` (on the scheme's own port) or `host:port`: nobody can make this server call
    whatever it can reach. With a secret, whatever is posted is signed.
    """

    webhook_url: str | None = None
    webhook_secret_env: str | None = None
    webhook_secret_file: Path | None = None
    grant_webhook_hosts: tuple[str, ...] = ()
    timeout_seconds: Seconds = 5.0


class BreakerSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When calls count as running away; 0 is no such rule. Counted in each gateway process.

    `calls_per_minute` for a whole grant, `chain_calls_per_minute` for an operation or a block a holder appended.
    `spend_factor` times the pace of the limit and at least `spend_floor_percent` of it, in ten minutes. `repetitions` of one
    prompt among the last 64 calls. `depth` in agents. `throttle_rpm` calls a minute of production are still served.
    """

    enabled: bool = True
    calls_per_minute: CountOrNone = 200_000
    chain_calls_per_minute: CountOrNone = 1_000
    spend_factor: CountOrNone = 8
    spend_floor_percent: Annotated[int, msgspec.Meta(ge=0, le=100)] = 5
    repetitions: Annotated[int, msgspec.Meta(ge=0, le=64)] = 40
    depth: CountOrNone = 16
    throttle_rpm: CountOrNone = 60
    cool_down_seconds: Annotated[int, msgspec.Meta(ge=1, le=3600)] = 300
    cool_down_max_seconds: Annotated[int, msgspec.Meta(ge=1, le=86_400)] = 14_400


class WorkloadDelegate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the holder of an exchanged capability may hand on."""

    max_depth: int = 7
    max_children: int = 64
    max_ttl_seconds: Count = 3600


class WorkloadSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One rule: which tokens of which issuer are exchanged for capabilities of which grant.

    The issuer's keys come from `jwks_file`, from `jwks_url`, or else from where the issuer's own discovery document says.
    Every claim listed must match one of its patterns, in which `*` stands for any characters, none included.
    """

    name: str
    issuer: str | None = None
    audience: str
    jwks_file: Path | None = None
    jwks_url: str | None = None
    ca_file: Path | None = None
    claims: dict[str, str | tuple[str, ...]]
    grant: str
    ttl_seconds: Count = 900
    limits: tuple[dict[str, Any], ...] = ()
    models: tuple[str, ...] | None = None
    surfaces: tuple[str, ...] | None = None
    labels: dict[str, str] = {}
    labels_from: dict[str, str] = {}
    delegate: WorkloadDelegate = WorkloadDelegate()


class RenewalSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The queue: which requests are small or large (worst case a month, dollar text), and how long each waits for an answer.

    Times are durations such as `4h` or `3d`. `remind` are the times before an expiry at which its owner is told once more.
    """

    small_usd: str = "500"
    large_usd: str = "10000"
    small_due: str = "24h"
    standard_due: str = "72h"
    large_due: str = "120h"
    break_glass_due: str = "1h"
    break_glass_usd: str = "1000"
    break_glass_life: str = "24h"
    remind: tuple[str, ...] = ("14d", "7d", "2d")

    def __post_init__(self) -> None:
        self.policy()

    def policy(self) -> Policy:
        """The same as the queue goes by it. Raises SettingsError."""
        due = {tier: self._duration(f"{tier}_due") for tier in ("small", "standard", "large", "break_glass")}
        remind = tuple(_duration("renewals.remind", text) for text in self.remind)
        small, large = self._amount("small_usd"), self._amount("large_usd")
        if small >= large:
            raise SettingsError("`renewals.small_usd` must be below `renewals.large_usd`")
        return Policy(
            small_nanousd=small,
            large_nanousd=large,
            due={"auto": due["small"], "small": due["small"], "standard": due["standard"], "large": due["large"]},
            break_glass_due=due["break_glass"],
            break_glass_max_nanousd=self._amount("break_glass_usd"),
            break_glass_max_life=self._duration("break_glass_life"),
            remind=tuple(sorted(remind, reverse=True)),
        )

    def _duration(self, name: str) -> timedelta:
        return _duration(f"renewals.{name}", getattr(self, name))

    def _amount(self, name: str) -> int:
        try:
            return parse_usd(getattr(self, name))
        except InvalidAmountError as error:
            raise SettingsError(f"`renewals.{name}`: {error}") from None


def _duration(name: str, text: str) -> timedelta:
    try:
        return timedelta(seconds=parse_duration(text))
    except InvalidDurationError as error:
        raise SettingsError(f"`{name}`: {error}") from None


class StatementVendorSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a vendor's own reports of usage and costs are asked for, and where the admin key for them is."""

    base_url: str | None = None
    account: VendorName | None = None
    key_env: str | None = None
    key_file: Path | None = None
    ca_file: Path | None = None
    timeout_seconds: Annotated[float, msgspec.Meta(gt=0, le=300)] = 60.0

    def __post_init__(self) -> None:
        if self.base_url is not None and not is_safe_address(self.base_url):
            raise SettingsError("`reconcile.vendors`: `base_url` is not https; http is for this machine only")


class ToleranceSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is noise in a vendor's amounts: so many nano-dollars for each line, and millionths of it."""

    absolute_nanousd: Annotated[int, msgspec.Meta(ge=0, le=10**12)] = 0
    parts_per_million: Annotated[int, msgspec.Meta(ge=0, le=100_000)] = 0


class ReconcileSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How months are compared with vendors' statements, and whose statements can be asked for.

    `unassigned` is the path of the grant that bears what no grant explains: an unknown key, a fee, tax; left out it is the only
    grant at the top. Proposals are booked without a ticket as long as
    these come to at most `auto_post_usd` for a vendor's month, signs left out, where nothing is left to look into. What
    is waived when a month is closed is one person's word up to `waive_usd` in all; beyond it somebody else has to agree.
    """

    unassigned: str | None = None
    auto_post_usd: str = "0"
    waive_usd: str = "0"
    tolerance: dict[str, ToleranceSettings] = {}
    vendors: dict[Literal["openai", "anthropic", "openrouter"], StatementVendorSettings] = {}


class FindingsSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """From when on something about a grant or a key is a finding."""

    window_days: Count = 30
    unused_percent: Count = 10
    headroom_percent: Count = 50
    children_percent: Count = 90
    key_days: Count = 180
    unused_keys: Count = 5


class LedgerSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the ledger is sealed: under which name, where its checkpoints are published, and how often."""

    origin: str | None = None
    checkpoint_file: Path | None = None
    seal_seconds: Seconds = 30.0

    def __post_init__(self) -> None:
        if self.origin is not None and not _NAME_OF_A_KEY.fullmatch(self.origin):
            raise SettingsError("`ledger.origin` is 1 to 200 printable ASCII characters without spaces and `+`")


class RetentionSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """For how many months after its end the archive keeps a month, by class; absent is for ever."""

    production: Count | None = None
    experimentation: Count | None = None


class ArchiveSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the ledger's past goes, and for how many days at least entries stay in the database. Without a path nowhere."""

    path: str | None = None
    hot_days: Count = 90
    drop: bool = False
    segment_entries: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 50_000
    every_seconds: Seconds = 3600.0
    retention: RetentionSettings = RetentionSettings()

    def __post_init__(self) -> None:
        if self.path is not None and not self.path.strip():
            raise SettingsError("`archive.path` is a folder or the URL of one in an object store")

    def place(self) -> str:
        """The path. Raises SettingsError where there is none, or what an archive needs is not installed."""
        if self.path is None:
            raise SettingsError("`archive.path` is not set: there is nowhere to archive to")
        self.require_packages()
        return self.path

    def require_packages(self) -> None:
        """Raises SettingsError where what an archive needs is not installed."""
        missing = [name for name in ("deltalake", "duckdb", "pyarrow") if find_spec(name) is None]
        if missing:
            raise SettingsError(f"the archive needs `{missing[0]}`: install `remit[archive]`")


def is_web_address(text: str) -> bool:
    """Whether it is an http or https URL with a host."""
    try:
        url = urlsplit(text)
    except ValueError:
        return False
    return url.scheme in ("http", "https") and bool(url.hostname)


def is_safe_address(text: str) -> bool:
    """Whether nobody on the way can read what is sent there: https, or this machine itself."""
    return is_web_address(text) and (
        text.startswith("https://") or urlsplit(text).hostname in ("localhost", "127.0.0.1", "::1")
    )
