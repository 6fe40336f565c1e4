"""Settings: a TOML file, a few environment variables, defaults that work on one machine.

Order: defaults < file (`remit.toml`, or `REMIT_CONFIG`) < environment < command line. Unknown keys are refused.
No secret has to be in the file: a vendor's key is named by the environment variable or the file that holds it, and URLs
that contain a password or a token can come by environment.
"""

import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from difflib import get_close_matches
from pathlib import Path, PurePath
from typing import Annotated, Any, Literal, get_type_hints
from urllib.parse import urlsplit

import msgspec

from remit.kernel.durations import InvalidDurationError, parse_duration
from remit.kernel.money import InvalidAmountError, parse_usd
from remit.renewals.model import Policy

CONFIG_FILE = Path("remit.toml")
# A call is over this long before its hold's time is up: its end has to be booked, and the clock that ends overdue holds
# may be another machine's. Taking the hold comes off the call's time as well, so it needs no place here.
HOLD_MARGIN_SECONDS = 1
# A shorter one can be guessed from one signature.
MIN_WEBHOOK_SECRET_BYTES = 16
_ORIGIN = re.compile(r"https?://[A-Za-z0-9._:\[\]-]+/?")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

# A year is longer than anything waits; it also keeps out `inf` and `nan`, which TOML has as numbers.
_MAX_SECONDS = 366 * 24 * 3600
Seconds = Annotated[float, msgspec.Meta(gt=0, le=_MAX_SECONDS)]
SecondsOrNone = Annotated[float, msgspec.Meta(ge=0, le=_MAX_SECONDS)]
Count = Annotated[int, msgspec.Meta(ge=1)]
CountOrNone = Annotated[int, msgspec.Meta(ge=0, le=10**9)]


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
    role: Literal["org_owner", "finance", "security", "auditor", "approver", "gateway_operator"]
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
        if not _is_safe_address(self.issuer):
            raise SettingsError("`sign_in.issuer` is not an https URL; http is for an issuer on this machine only")
        if not self.email_domains or any(not one or "@" in one for one in self.email_domains):
            raise SettingsError("`sign_in.email_domains` lists domains such as `acme.example`, at least one")
        if "openid" not in self.scopes:
            raise SettingsError("`sign_in.scopes` has to hold `openid`")


class VendorSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One deployment: a vendor account that models can be routed to.

    `models` are exact names or prefixes with one trailing `*`. `unbilled_statuses` are answers for which the vendor is
    known not to charge; after any other error the ceiling stays booked until evidence says otherwise. Left out, they are the
    client errors (4xx) that OpenAI documents as free; for the vendor `azure` without 400, which it charges when a
    prompt is filtered. `output_bound_field` left out is the one the vendor documents. `exact_counts` says that this server
    counts as the published tokenizers do; left out, that is believed of OpenAI's own address only.
    """

    base_url: str
    vendor: str | None = None
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


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that can be set."""

    data_dir: Path = Path(".remit")
    database_url: str | None = None
    gateway_database_url: str | None = None
    gateway: GatewaySettings = GatewaySettings()
    api: ApiSettings = ApiSettings()
    notify: NotifySettings = NotifySettings()
    sign_in: SignInSettings | None = None
    breaker: BreakerSettings = BreakerSettings()
    vendors: dict[str, VendorSettings] = {}
    workloads: tuple[WorkloadSettings, ...] = ()
    renewals: RenewalSettings = RenewalSettings()
    prices: tuple[dict[str, Any], ...] = ()
    renew_url: str | None = None
    sweep_seconds: Seconds = 5.0
    clock_at: datetime | None = None

    def __post_init__(self) -> None:
        if self.gateway.hold_seconds < self.gateway.request_seconds + HOLD_MARGIN_SECONDS:
            raise SettingsError(
                f"`gateway.hold_seconds` must exceed `gateway.request_seconds` by at least {HOLD_MARGIN_SECONDS} second"
            )
        if self.clock_at is not None and self.clock_at.tzinfo is None:
            raise SettingsError("`clock_at` needs a time zone")
        if self.gateway.tls_key_file is not None and self.gateway.tls_certificate_file is None:
            raise SettingsError(
                "`gateway.tls_key_file` needs `gateway.tls_certificate_file`: without it nothing is encrypted"
            )
        if self.gateway.tls_client_ca_file is not None and self.gateway.tls_certificate_file is None:
            raise SettingsError(
                "`gateway.tls_client_ca_file` needs `gateway.tls_certificate_file`: only by TLS can callers show certificates"
            )
        if self.gateway.public_url is not None and not _ORIGIN.fullmatch(self.gateway.public_url):
            raise SettingsError(
                "`gateway.public_url` is not `http` or `https`, a host and at most a port, without a path"
            )
        if self.api.public_url is not None and not _ORIGIN.fullmatch(self.api.public_url):
            raise SettingsError("`api.public_url` is not `http` or `https`, a host and at most a port, without a path")
        if self.sign_in is not None and self.api.public_url is None:
            raise SettingsError("`sign_in` needs `api.public_url`: the provider sends people back to it")
        # None of these messages quotes a value: whoever put a secret in the wrong place must not find it in a log.
        if not _is_web_address(self.notify.webhook_url or "https://none"):
            raise SettingsError("`notify.webhook_url` is not an http or https URL")
        for name, vendor in self.vendors.items():
            if vendor.api_key_env is not None and not _VARIABLE.fullmatch(vendor.api_key_env):
                raise SettingsError(f"`vendors.{name}.api_key_env` is not the name of an environment variable")


_ENVIRONMENT = {
    "REMIT_DATA_DIR": ("data_dir",),
    "REMIT_DATABASE_URL": ("database_url",),
    "REMIT_GATEWAY_DATABASE_URL": ("gateway_database_url",),
    "REMIT_LISTEN": ("gateway", "listen"),
    "REMIT_API_LISTEN": ("api", "listen"),
    "REMIT_WEBHOOK_URL": ("notify", "webhook_url"),
    "REMIT_CLOCK_AT": ("clock_at",),
}

_DEFAULT_VENDORS = {"openai": {"base_url": "https://api.openai.com", "api_key_env": "OPENAI_API_KEY"}}
_TABLES: dict[str, type[msgspec.Struct]] = {
    "gateway": GatewaySettings,
    "api": ApiSettings,
    "notify": NotifySettings,
    "renewals": RenewalSettings,
    "sign_in": SignInSettings,
    "breaker": BreakerSettings,
}


def load_settings(
    file: Path | None = None, overrides: Mapping[str, Any] | None = None, environment: Mapping[str, str] = os.environ
) -> Settings:
    """Reads the settings; `overrides` has the file's shape and wins. Raises SettingsError with where and why."""
    chosen = file or (Path(environment["REMIT_CONFIG"]) if environment.get("REMIT_CONFIG") else None)
    document: dict[str, Any] = {}
    if chosen is not None or CONFIG_FILE.exists():
        path = chosen or CONFIG_FILE
        document = _read(path)
        # Looked at alone first, so that a mistake is blamed on the file only where it stands there.
        _settings(document, f"`{path}`")
    for variable, keys in _ENVIRONMENT.items():
        if value := environment.get(variable):
            _put(document, keys, value)
    overrides = overrides or {}
    if "vendors" in overrides:
        document.pop("vendors", None)  # vendors that were named on the command line are all there are
    _merge(document, overrides)
    return _settings(document, "settings")


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"cannot read `{path}`: {(error.strerror or str(error)).lower()}") from None
    except UnicodeDecodeError:
        raise SettingsError(f"cannot read `{path}`: it is not text in UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"cannot read `{path}`: it is not TOML: {str(error)[:1].lower()}{str(error)[1:]}") from None


def _settings(document: dict[str, Any], where: str) -> Settings:
    """The settings of a document; `where` begins every message about it. Raises SettingsError."""
    unknown = list(_unknown_keys(document))
    if unknown:
        raise SettingsError(f"{where}: {'; '.join(unknown)}")
    if not document.get("vendors"):
        document = {**document, "vendors": _DEFAULT_VENDORS}
    try:
        return msgspec.convert(document, Settings, strict=False, dec_hook=decode_path)
    except msgspec.ValidationError as error:
        what, at, place = str(error).rpartition(" - at `$.")
        key = f"`{place}: " if at else ""
        text = what or str(error)
        raise SettingsError(f"{where}: {key}{text[:1].lower()}{text[1:]}") from None
    except SettingsError as error:
        raise SettingsError(f"{where}: {error}") from None


def _unknown_keys(document: Mapping[str, Any]) -> Iterator[str]:
    tables: list[tuple[str, type[msgspec.Struct], Any]] = [("", Settings, document)]
    tables += [(f"{name}.", kind, document.get(name)) for name, kind in _TABLES.items()]
    vendors = document.get("vendors")
    if isinstance(vendors, Mapping):
        tables += [(f"vendors.{name}.", VendorSettings, table) for name, table in vendors.items()]
    workloads = document.get("workloads")
    for number, table in enumerate(workloads if isinstance(workloads, list | tuple) else ()):
        tables.append((f"workloads[{number}].", WorkloadSettings, table))
        if isinstance(table, Mapping):
            tables.append((f"workloads[{number}].delegate.", WorkloadDelegate, table.get("delegate")))
    sign_in = document.get("sign_in")
    roles = sign_in.get("roles") if isinstance(sign_in, Mapping) else ()
    for number, table in enumerate(roles if isinstance(roles, list | tuple) else ()):
        tables.append((f"sign_in.roles[{number}].", SignInRole, table))
    gateway = document.get("gateway")
    if isinstance(gateway, Mapping):
        tables.append(("gateway.bearer.", BearerSettings, gateway.get("bearer")))
    for prefix, kind, table in tables:
        known = get_type_hints(kind)
        for key in table if isinstance(table, Mapping) else ():
            if key not in known:
                near = get_close_matches(key, known, n=1)
                hint = f"did you mean `{near[0]}`?" if near else f"known are {', '.join(sorted(known))}"
                yield f"`{prefix}{key}` is not known; {hint}"


def vendor_key(name: str, vendor: VendorSettings, environment: Mapping[str, str] = os.environ) -> str | None:
    """The vendor's API key, read once at start; None where the deployment needs none. Raises SettingsError."""
    if vendor.api_key_file is not None:
        try:
            return vendor.api_key_file.read_text(encoding="utf-8").strip()
        except OSError as error:
            raise SettingsError(f"cannot read the key of vendor `{name}`: {error}") from None
    if vendor.api_key_env is None:
        return None
    key = environment.get(vendor.api_key_env)
    if not key:
        raise SettingsError(f"vendor `{name}` needs its key in the environment variable `{vendor.api_key_env}`")
    return key


def webhook_secret(notify: NotifySettings, environment: Mapping[str, str] = os.environ) -> bytes | None:
    """The secret with which webhooks are signed; None where nothing is to be signed. Raises SettingsError."""
    where = ("notify.webhook_secret_file", notify.webhook_secret_file, notify.webhook_secret_env)
    return _secret("the webhook's secret", *where, environment)


def sign_in_secret(terms: SignInSettings, environment: Mapping[str, str] = os.environ) -> bytes | None:
    """The secret of the client that people sign in with; None for a client without one. Raises SettingsError."""
    where = ("sign_in.client_secret_file", terms.client_secret_file, terms.client_secret_env)
    return _secret("the client's secret", *where, environment, least_bytes=1)


def scim_token(api: ApiSettings, environment: Mapping[str, str] = os.environ) -> bytes | None:
    """The token that a directory shows; None where none may speak here. Raises SettingsError."""
    return _secret("the directory's token", "api.scim_token_file", api.scim_token_file, api.scim_token_env, environment)


def _secret(  # noqa: PLR0917 - what it is, and the two places where it may be
    what: str,
    key: str,
    path: Path | None,
    variable: str | None,
    environment: Mapping[str, str],
    least_bytes: int = MIN_WEBHOOK_SECRET_BYTES,
) -> bytes | None:
    """A secret from a file, which wins, or from the environment; None where neither is named. Raises SettingsError.

    Of a file, white space at both ends is no part of it, and nobody but its owner may read it.
    """
    if path is not None:
        try:
            if path.stat().st_mode & 0o077:
                raise SettingsError(f"`{path}` may be read by others; its mode has to be 0600")
            secret = path.read_bytes().strip()
        except OSError as error:
            raise SettingsError(f"cannot read `{key}`: {error}") from None
        where = f"`{path}`"
    elif variable is not None:
        secret = environment.get(variable, "").encode()
        where = f"the environment variable `{variable}`"
    else:
        return None
    if len(secret) < least_bytes:
        raise SettingsError(f"{what} in {where} needs at least {least_bytes} bytes")
    return secret


def parse_listen(text: str) -> tuple[str, int]:
    """`host:port` or `[v6]:port`; raises SettingsError."""
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 65535:
        raise SettingsError(f"`{text}` is not `host:port`")
    return host.strip("[]") or "127.0.0.1", int(port)


def encode_settings(settings: Settings) -> bytes:
    """The settings as one line of JSON, for a process that is started with them."""
    return msgspec.json.encode(settings, enc_hook=encode_path)


def decode_settings(line: bytes) -> Settings:
    """The settings of such a line, exactly as they were."""
    return msgspec.json.decode(line, type=Settings, dec_hook=decode_path)


def encode_path(value: Any) -> Any:
    """For `msgspec`: how a path is written."""
    if isinstance(value, PurePath):
        return str(value)
    raise NotImplementedError(type(value))


def _is_web_address(text: str) -> bool:
    try:
        url = urlsplit(text)
    except ValueError:
        return False
    return url.scheme in ("http", "https") and bool(url.hostname)


def _is_safe_address(text: str) -> bool:
    return _is_web_address(text) and (
        text.startswith("https://") or urlsplit(text).hostname in ("localhost", "127.0.0.1", "::1")
    )


def decode_path(kind: type, value: Any) -> Any:
    """For `msgspec`: how a path is read."""
    if kind is Path:
        return Path(value)
    raise NotImplementedError(kind)


def _put(document: dict[str, Any], keys: tuple[str, ...], value: Any) -> None:
    for key in keys[:-1]:
        document = document.setdefault(key, {})
    document[keys[-1]] = value


def _merge(document: dict[str, Any], overrides: Mapping[str, Any]) -> None:
    for key, value in overrides.items():
        if isinstance(value, Mapping) and isinstance(document.get(key), dict):
            _merge(document[key], value)
        elif value is not None:
            document[key] = value
