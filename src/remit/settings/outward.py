"""The tables of the settings about what goes out to other systems: telemetry, metrics, sinks, exports."""

import re
from datetime import datetime
from pathlib import Path
from string import Formatter
from typing import Annotated, Literal
from urllib.parse import urlsplit

import msgspec

from remit.kernel.names import TAG_NAME
from remit.settings.tables import Seconds, SettingsError, is_web_address

EntryKind = Literal["usage", "adjustment", "transfer", "overdraft", "repayment", "overage", "suspense", "correction"]
CHARGED: tuple[EntryKind, ...] = ("usage", "adjustment", "transfer", "overage", "suspense", "correction")
LAGO_MAX_EVENTS = 100
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
_ENDINGS = (".csv", ".csv.gz", ".parquet")


class TelemetrySettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Spans and metrics of calls, over OTLP/HTTP. Without an endpoint there are none, and nothing is collected.

    `headers_env` and `headers_file` name where further headers are, as `name=value` joined by commas: they may be secret.
    """

    otlp_endpoint: str | None = None
    headers_env: str | None = None
    headers_file: Path | None = None
    sample_percent: Annotated[float, msgspec.Meta(ge=0, le=100)] = 100.0
    semconv: Literal["1.41", "latest"] = "1.41"
    trace_context_to_vendors: bool = False
    service_name: str = "remit-gateway"
    queue_calls: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 4096
    every_seconds: Seconds = 5.0
    metrics_seconds: Seconds = 60.0
    timeout_seconds: Annotated[float, msgspec.Meta(gt=0, le=60)] = 10.0
    ca_file: Path | None = None

    def __post_init__(self) -> None:
        _require_address("telemetry.otlp_endpoint", self.otlp_endpoint)
        _require_variable("telemetry.headers_env", self.headers_env)


class MetricsSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The pages that Prometheus reads: `host:port` of the authority's and of the first gateway process's.

    Each further gateway process has the next port. Beyond this machine they are shown only to whoever has the token.
    """

    listen: str | None = None
    gateway_listen: str | None = None
    token_env: str | None = None
    token_file: Path | None = None
    grant_paths: bool = False

    def __post_init__(self) -> None:
        _require_variable("metrics.token_env", self.token_env)


class SinkSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One receiver of the ledger's entries. `url` is the whole address that events are posted to.

    `subject` is `grant`, `owner` or `tag:NAME`; `subjects` says what each is called there, of grants also those below.
    """

    name: str
    kind: Literal["cloudevents", "openmeter", "lago"]
    url: str
    token_env: str | None = None
    token_file: Path | None = None
    secret_env: str | None = None
    secret_file: Path | None = None
    kinds: tuple[EntryKind, ...] = CHARGED
    tags: tuple[str, ...] | None = None
    since: str = "now"
    source: str = "remit"
    type: str = "remit.usage"
    code: str = "remit_usage"
    value: Literal["usd", "nanousd", "tokens", "requests"] = "usd"
    subject: str = "grant"
    subjects: dict[str, str] = {}
    subject_else: str = "unassigned"
    batch: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 100
    timeout_seconds: Annotated[float, msgspec.Meta(gt=0, le=60)] = 10.0
    ca_file: Path | None = None

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise SettingsError("`sinks`: `name` is not lower-case letters, digits, `_` and `-`")
        where = f"sinks.{self.name}"
        _require_address(f"{where}.url", self.url)
        _require_variable(f"{where}.token_env", self.token_env)
        _require_variable(f"{where}.secret_env", self.secret_env)
        if self.kind != "cloudevents" and (self.secret_env or self.secret_file):
            raise SettingsError(
                f"`{where}`: only `cloudevents` are signed; the others take `token_env` or `token_file`"
            )
        if self.kind == "lago" and self.batch > LAGO_MAX_EVENTS:
            raise SettingsError(f"`{where}.batch`: Lago takes {LAGO_MAX_EVENTS} events at once at most")
        kind, _, tag = self.subject.partition(":")
        if self.subject not in ("grant", "owner") and not (kind == "tag" and TAG_NAME.fullmatch(tag)):
            raise SettingsError(f"`{where}.subject` is not `grant`, `owner` or `tag:NAME`")
        for name in ("subject_else", "source", "type", "code"):
            if not getattr(self, name):
                raise SettingsError(f"`{where}.{name}` is empty")
        if not all(self.subjects.values()):
            raise SettingsError(f"`{where}.subjects` has an empty name")
        self.begins()

    def begins(self) -> datetime | Literal["start", "now"]:
        """From where a sink that is new gets entries. Raises SettingsError."""
        if self.since in ("start", "now"):
            return self.since  # type: ignore[return-value] # it is one of the two
        try:
            instant = datetime.fromisoformat(self.since)
        except ValueError:
            instant = None
        if instant is None or instant.tzinfo is None:
            raise SettingsError(f"`sinks.{self.name}.since` is not `start`, `now` or an instant with its offset")
        return instant


class ExportSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A file that is written once for each day, week or month that is over, when its hour (UTC) has come.

    `path` may have `{year}`, `{month}` (such as 2026-11) and `{day}` (such as 2026-11-28) of the period's first day in it.
    """

    name: str
    what: Literal["focus", "report"]
    when: Literal["daily", "weekly", "monthly"]
    path: str
    hour: Annotated[int, msgspec.Meta(ge=0, le=23)] = 3
    day: Annotated[int, msgspec.Meta(ge=1, le=28)] = 1
    by: tuple[str, ...] = ()
    grain: Literal["hour", "day", "entry"] = "day"

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise SettingsError("`exports`: `name` is not lower-case letters, digits, `_` and `-`")
        where = f"exports.{self.name}"
        try:
            fields = {field for _, field, spec, how in Formatter().parse(self.path) if field is not None}
            odd = any(spec or how for _, field, spec, how in Formatter().parse(self.path) if field is not None)
        except ValueError:
            raise SettingsError(f"`{where}.path` has a brace too many or too few") from None
        if odd or not fields <= {"year", "month", "day"}:
            raise SettingsError(f"`{where}.path` has something else in braces than `year`, `month` and `day`")
        needed = {"month", "day"} if self.when == "monthly" else {"day"}
        if not fields & needed:
            raise SettingsError(f"`{where}.path` needs {_or(needed)}, or each file takes the place of the last")
        if not self.path.endswith(_ENDINGS if self.what == "focus" else _ENDINGS[:1]):
            raise SettingsError(
                f"`{where}.path` does not end in {' or '.join(_ENDINGS if self.what == 'focus' else _ENDINGS[:1])}"
            )
        if (self.what == "report") != bool(self.by):
            raise SettingsError(f"`{where}.by`: a report needs it, and `focus` does not take it")
        if self.what == "focus" and self.when != "monthly":
            raise SettingsError(f"`{where}.when`: `focus` is of a month, so it is `monthly`")


def _or(names: set[str]) -> str:
    return " or ".join(f"`{{{name}}}`" for name in sorted(names))


def _require_address(name: str, url: str | None) -> None:
    if url is None:
        return
    if not is_web_address(url) or urlsplit(url).username is not None:
        raise SettingsError(f"`{name}` is not an http or https URL without a login")


def _require_variable(name: str, variable: str | None) -> None:
    if variable is not None and not _VARIABLE.fullmatch(variable):
        raise SettingsError(f"`{name}` is not the name of an environment variable")


def parse_headers(text: str) -> dict[str, str]:
    """Headers as `name=value` joined by commas, as OTEL_EXPORTER_OTLP_HEADERS has them. Raises SettingsError."""
    headers: dict[str, str] = {}
    for pair in filter(None, (part.strip() for part in text.split(","))):
        name, equals, value = pair.partition("=")
        value = value.strip()
        if not equals or not _HEADER.fullmatch(name.strip()) or not (value.isascii() and value.isprintable()):
            raise SettingsError("the headers of `telemetry` are not `name=value`, joined by commas")
        headers[name.strip().lower()] = value
    return headers
