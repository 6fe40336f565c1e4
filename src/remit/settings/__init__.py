"""Settings: a TOML file, a few environment variables, defaults that work on one machine.

Order: defaults < file (`remit.toml`, or `REMIT_CONFIG`) < environment < command line. Unknown keys are refused.
No secret has to be in the file: a vendor's key is named by the environment variable or the file that holds it, and URLs
that contain a password or a token can come by environment.
"""

import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from datetime import datetime
from difflib import get_close_matches
from pathlib import Path, PurePath
from typing import Any, Literal, get_type_hints

import msgspec

from remit.channel_settings import ChannelSettings
from remit.settings.outward import ExportSettings, MetricsSettings, SinkSettings, TelemetrySettings, parse_headers
from remit.settings.tables import (
    ORIGIN,
    ApiSettings,
    ArchiveSettings,
    BearerSettings,
    BreakerSettings,
    FindingsSettings,
    GatewaySettings,
    LedgerSettings,
    NotifySettings,
    ReconcileSettings,
    RenewalSettings,
    RetentionSettings,
    Seconds,
    SettingsError,
    SignInRole,
    SignInSettings,
    StatementVendorSettings,
    ToleranceSettings,
    VendorBilling,
    VendorSettings,
    WorkloadDelegate,
    WorkloadSettings,
    is_web_address,
)

CONFIG_FILE = Path("remit.toml")
# A call is over this long before its hold's time is up: its end has to be booked, and the clock that ends overdue holds
# may be another machine's. Taking the hold comes off the call's time as well, so it needs no place here.
HOLD_MARGIN_SECONDS = 1
# A shorter one can be guessed from one signature.
MIN_WEBHOOK_SECRET_BYTES = 16
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

__all__ = [
    "CONFIG_FILE",
    "HOLD_MARGIN_SECONDS",
    "MIN_WEBHOOK_SECRET_BYTES",
    "ApiSettings",
    "ArchiveSettings",
    "BearerSettings",
    "BreakerSettings",
    "ExportSettings",
    "FindingsSettings",
    "GatewaySettings",
    "LedgerSettings",
    "MetricsSettings",
    "NotifySettings",
    "ReconcileSettings",
    "RenewalSettings",
    "RetentionSettings",
    "Settings",
    "SettingsError",
    "SignInRole",
    "SignInSettings",
    "SinkSettings",
    "StatementVendorSettings",
    "TelemetrySettings",
    "ToleranceSettings",
    "VendorBilling",
    "VendorSettings",
    "WorkloadDelegate",
    "WorkloadSettings",
    "decode_path",
    "decode_settings",
    "encode_path",
    "encode_settings",
    "load_settings",
    "metrics_token",
    "parse_listen",
    "scim_token",
    "sign_in_secret",
    "sink_secret",
    "statement_key",
    "telemetry_headers",
    "vendor_key",
    "webhook_secret",
]


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that can be set."""

    data_dir: Path = Path(".remit")
    database_url: str | None = None
    gateway_database_url: str | None = None
    sql_database_url: str | None = None
    gateway: GatewaySettings = GatewaySettings()
    api: ApiSettings = ApiSettings()
    notify: NotifySettings = NotifySettings()
    sign_in: SignInSettings | None = None
    breaker: BreakerSettings = BreakerSettings()
    findings: FindingsSettings = FindingsSettings()
    ledger: LedgerSettings = LedgerSettings()
    archive: ArchiveSettings = ArchiveSettings()
    vendors: dict[str, VendorSettings] = {}
    workloads: tuple[WorkloadSettings, ...] = ()
    renewals: RenewalSettings = RenewalSettings()
    reconcile: ReconcileSettings = ReconcileSettings()
    channels: tuple[ChannelSettings, ...] = ()
    telemetry: TelemetrySettings = TelemetrySettings()
    metrics: MetricsSettings = MetricsSettings()
    sinks: tuple[SinkSettings, ...] = ()
    exports: tuple[ExportSettings, ...] = ()
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
        if self.gateway.public_url is not None and not ORIGIN.fullmatch(self.gateway.public_url):
            raise SettingsError(
                "`gateway.public_url` is not `http` or `https`, a host and at most a port, without a path"
            )
        if self.api.public_url is not None and not ORIGIN.fullmatch(self.api.public_url):
            raise SettingsError("`api.public_url` is not `http` or `https`, a host and at most a port, without a path")
        if self.sign_in is not None and self.api.public_url is None:
            raise SettingsError("`sign_in` needs `api.public_url`: the provider sends people back to it")
        # None of these messages quotes a value: whoever put a secret in the wrong place must not find it in a log.
        if not is_web_address(self.notify.webhook_url or "https://none"):
            raise SettingsError("`notify.webhook_url` is not an http or https URL")
        for title, several in (("channels", self.channels), ("sinks", self.sinks), ("exports", self.exports)):
            names = [one.name for one in several]
            if len(set(names)) != len(names):
                raise SettingsError(f"`{title}`: two {title} have one name")
        for name, vendor in self.vendors.items():
            if vendor.api_key_env is not None and not _VARIABLE.fullmatch(vendor.api_key_env):
                raise SettingsError(f"`vendors.{name}.api_key_env` is not the name of an environment variable")


_ENVIRONMENT = {
    "REMIT_DATA_DIR": ("data_dir",),
    "REMIT_DATABASE_URL": ("database_url",),
    "REMIT_GATEWAY_DATABASE_URL": ("gateway_database_url",),
    "REMIT_SQL_DATABASE_URL": ("sql_database_url",),
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
    "findings": FindingsSettings,
    "ledger": LedgerSettings,
    "reconcile": ReconcileSettings,
    "archive": ArchiveSettings,
    "telemetry": TelemetrySettings,
    "metrics": MetricsSettings,
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


def _reconcile_tables(reconcile: Any) -> Iterator[tuple[str, type[msgspec.Struct], Any]]:
    kinds: tuple[tuple[str, type[msgspec.Struct]], ...] = (
        ("vendors", StatementVendorSettings),
        ("tolerance", ToleranceSettings),
    )
    for part, kind in kinds:
        named = reconcile.get(part) if isinstance(reconcile, Mapping) else None
        for name, table in (named if isinstance(named, Mapping) else {}).items():
            yield f"reconcile.{part}.{name}.", kind, table


def _unknown_keys(document: Mapping[str, Any]) -> Iterator[str]:
    tables: list[tuple[str, type[msgspec.Struct], Any]] = [("", Settings, document)]
    tables += [(f"{name}.", kind, document.get(name)) for name, kind in _TABLES.items()]
    vendors = document.get("vendors")
    if isinstance(vendors, Mapping):
        tables += [(f"vendors.{name}.", VendorSettings, table) for name, table in vendors.items()]
        tables += [
            (f"vendors.{name}.billing.", VendorBilling, table.get("billing"))
            for name, table in vendors.items()
            if isinstance(table, Mapping)
        ]
    tables += _reconcile_tables(document.get("reconcile"))
    workloads = document.get("workloads")
    for number, table in enumerate(workloads if isinstance(workloads, list | tuple) else ()):
        tables.append((f"workloads[{number}].", WorkloadSettings, table))
        if isinstance(table, Mapping):
            tables.append((f"workloads[{number}].delegate.", WorkloadDelegate, table.get("delegate")))
    sign_in = document.get("sign_in")
    roles = sign_in.get("roles") if isinstance(sign_in, Mapping) else ()
    for number, table in enumerate(roles if isinstance(roles, list | tuple) else ()):
        tables.append((f"sign_in.roles[{number}].", SignInRole, table))
    lists: tuple[tuple[str, type[msgspec.Struct]], ...] = (
        ("channels", ChannelSettings),
        ("sinks", SinkSettings),
        ("exports", ExportSettings),
    )
    for name, kind in lists:
        several = document.get(name)
        for number, table in enumerate(several if isinstance(several, list | tuple) else ()):
            tables.append((f"{name}[{number}].", kind, table))
    gateway = document.get("gateway")
    if isinstance(gateway, Mapping):
        tables.append(("gateway.bearer.", BearerSettings, gateway.get("bearer")))
    archive = document.get("archive")
    if isinstance(archive, Mapping):
        tables.append(("archive.retention.", RetentionSettings, archive.get("retention")))
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


def statement_key(name: str, terms: StatementVendorSettings, environment: Mapping[str, str] = os.environ) -> str | None:
    """The admin key that a vendor's reports are asked for with; None where none is named. Raises SettingsError."""
    where = (f"reconcile.vendors.{name}.key_file", terms.key_file, terms.key_env)
    what = f"the admin key of `{name}`"
    return _text(what, _secret(what, *where, environment))


def _text(what: str, secret: bytes | None) -> str | None:
    text = None if secret is None else secret.decode("utf-8", "replace")
    if text is not None and not (text.isascii() and text.isprintable()):
        raise SettingsError(f"{what} has characters that cannot stand in a header")
    return text


def sink_secret(
    sink: SinkSettings, what: Literal["token", "secret"], environment: Mapping[str, str] = os.environ
) -> str | None:
    """The token that is shown to a sink's receiver, or the secret that events are signed with. Raises SettingsError."""
    path, variable = getattr(sink, f"{what}_file"), getattr(sink, f"{what}_env")
    least = 1 if what == "token" else MIN_WEBHOOK_SECRET_BYTES
    name = f"the {what} of the sink `{sink.name}`"
    return _text(name, _secret(name, f"sinks.{sink.name}.{what}_file", path, variable, environment, least))


def metrics_token(metrics: MetricsSettings, environment: Mapping[str, str] = os.environ) -> bytes | None:
    """The token that whoever reads metrics shows; None where none is asked for. Raises SettingsError."""
    where = ("metrics.token_file", metrics.token_file, metrics.token_env)
    return _secret("the token of `metrics`", *where, environment)


def telemetry_headers(telemetry: TelemetrySettings, environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The headers that are sent to the receiver of spans. Raises SettingsError."""
    where = ("telemetry.headers_file", telemetry.headers_file, telemetry.headers_env)
    secret = _secret("the headers of `telemetry`", *where, environment, least_bytes=1)
    return {} if secret is None else parse_headers(secret.decode("utf-8", "replace"))


def channel_secret(
    channel: ChannelSettings, what: Literal["token", "signing_secret"], environment: Mapping[str, str] = os.environ
) -> str | None:
    """A secret of a channel, read once at start; None where none is named. Raises SettingsError.

    Of a file, white space at both ends is no part of it, and nobody but its owner may read it.
    """
    path: Path | None = getattr(channel, f"{what}_file")
    variable: str | None = getattr(channel, f"{what}_env")
    if path is not None:
        try:
            if path.stat().st_mode & 0o077:
                raise SettingsError(f"`{path}` may be read by others; its mode has to be 0600")
            secret = path.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(f"cannot read `{what}_file` of the channel `{channel.name}`: {error}") from None
    elif variable is not None:
        secret = environment.get(variable, "")
    else:
        return None
    # Every one of these services gives longer ones; a shorter signing secret can be guessed.
    if len(secret) < (MIN_WEBHOOK_SECRET_BYTES if what == "signing_secret" else 1):
        raise SettingsError(
            f"the channel `{channel.name}` needs its {what.replace('_', ' ')}: it is missing or too short"
        )
    if not (secret.isascii() and secret.isprintable()):
        raise SettingsError(f"the {what.replace('_', ' ')} of the channel `{channel.name}` has characters none has")
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
