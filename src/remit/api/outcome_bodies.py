"""Outcome events as they come in: as plain JSON, and as CloudEvents 1.0 over HTTP in all three of its modes."""

from collections.abc import Mapping
from datetime import UTC
from typing import Annotated, Any, Final
from urllib.parse import unquote

import msgspec
from msgspec import Meta

from remit.api.bodies import Body, Instant, StrictRequest, Text, read_strictly, require_instants_in_range
from remit.api.problems import refuse
from remit.grants.tags import MAX_TAGS, MAX_VALUE_LENGTH
from remit.kernel.money import MAX_NANOUSD
from remit.kernel.names import TAG_NAME
from remit.outcomes.model import FULL_WEIGHT, MAX_JOINS, Event, Join, Status, ordered
from remit.outcomes.service import MAX_EVENTS

EVENT_TYPE: Final = "remit.outcome.v1"
STRUCTURED: Final = "application/cloudevents+json"
BATCH: Final = "application/cloudevents-batch+json"
# CloudEvents HTTP protocol binding, section 3.1.3: attributes are headers with this prefix.
_BINARY: Final = "ce-"
_CONTEXT: Final = ("specversion", "type", "id", "source", "subject", "time")
_TRACE_FORM: Final = "^[0-9a-f]{32}$"

Name = Annotated[str, Meta(min_length=1, max_length=200, pattern="^[^\\x00-\\x1f\\x7f]+$")]
Kind = Annotated[str, Meta(pattern=f"^{TAG_NAME.pattern}$")]
TagValue = Annotated[str, Meta(min_length=1, max_length=MAX_VALUE_LENGTH, pattern="^[^\\x00-\\x1f\\x7f]+$")]


class WindowBody(Body, frozen=True, kw_only=True):
    """A span of time, half-open, in which all that the grant spent is joined."""

    since: Instant
    until: Instant


class OutcomeBody(Body, frozen=True, kw_only=True):
    """What a system of record says of one of its subjects. `source` and `id` name the event: said again, it is the same one.

    Joined to spend of `grant` (id or path) and below by operations, traces, tags or a window. `weight_ppm` is its share, in parts
    per million, of spend that belongs to several.
    """

    source: Name
    id: Name
    kind: Kind
    subject: Name
    status: Status
    time: Instant
    grant: Text
    value_nanousd: Annotated[int, Meta(ge=-MAX_NANOUSD, le=MAX_NANOUSD)] | None = None
    evidence_url: Annotated[str, Meta(max_length=2_000, pattern="^https?://[!-~]+$")] | None = None
    weight_ppm: Annotated[int, Meta(ge=1, le=FULL_WEIGHT)] = FULL_WEIGHT
    operations: Annotated[tuple[Name, ...], Meta(max_length=MAX_JOINS)] = ()
    traces: Annotated[tuple[Annotated[str, Meta(pattern=_TRACE_FORM)], ...], Meta(max_length=MAX_JOINS)] = ()
    tags: Annotated[dict[Kind, TagValue], Meta(max_length=MAX_TAGS)] = msgspec.field(default_factory=dict)
    window: WindowBody | None = None

    def event(self, grant_id: str) -> Event:
        """As the service takes it, once its grant is known. Raises Refusal."""
        joins = {Join("operation", value) for value in self.operations} | {
            Join("trace", value) for value in self.traces
        }
        joins |= {Join("tag", value, name) for name, value in self.tags.items()}
        if self.window is not None:
            if self.window.since >= self.window.until:
                raise refuse("window_invalid", "the window ends before it begins", field="window")
            joins.add(Join("window", since=self.window.since.astimezone(UTC), until=self.window.until.astimezone(UTC)))
        return Event(
            source=self.source,
            event_id=self.id,
            kind=self.kind,
            subject=self.subject,
            status=self.status,
            grant_id=grant_id,
            occurred_at=self.time.astimezone(UTC),
            joins=ordered(joins),
            value_nanousd=self.value_nanousd,
            evidence_url=self.evidence_url,
            weight_ppm=self.weight_ppm,
        )


class OutcomeRequest(StrictRequest):
    """Reads one event or a batch, by its content type."""

    async def json(self) -> Any:
        raw = await self.body()
        kind = self.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind == STRUCTURED:
            return _converted(read_strictly(raw, dict[str, Any]))
        if kind == BATCH:
            return [_converted(one) for one in read_strictly(raw, Annotated[list[dict[str, Any]], _BATCH_SIZE])]
        if f"{_BINARY}specversion" in self.headers:
            named = {name.lower(): value for name, value in self.headers.multi_items()}
            context = {
                name.removeprefix(_BINARY): unquote(value) for name, value in named.items() if name.startswith(_BINARY)
            }
            return _converted({**context, "data": read_strictly(raw, dict[str, Any])})
        return read_strictly(raw, OutcomeBody | Annotated[list[OutcomeBody], _BATCH_SIZE])


_BATCH_SIZE: Final = Meta(max_length=MAX_EVENTS)  # CloudEvents lets a batch be empty
Batch = Annotated[list[OutcomeBody], _BATCH_SIZE]


def _converted(event: Mapping[str, Any]) -> OutcomeBody:
    """A CloudEvent as a body. Attributes that are not known are extensions, and left alone. Raises Refusal."""
    try:
        return from_cloudevent(event)
    except msgspec.ValidationError as error:
        raise refuse("malformed_request", f"the body cannot be used: {error}", status=400) from None


def from_cloudevent(event: Mapping[str, Any]) -> OutcomeBody:
    """The same. Raises msgspec.ValidationError, and Refusal for an instant out of range."""
    if event.get("specversion") != "1.0":
        raise msgspec.ValidationError("`specversion` is `1.0` - at `$.specversion`")
    if event.get("type") != EVENT_TYPE:
        raise msgspec.ValidationError(f"only events of type `{EVENT_TYPE}` are taken - at `$.type`")
    data = event.get("data")
    if not isinstance(data, dict) or "data_base64" in event:
        raise msgspec.ValidationError("`data` is a JSON object - at `$.data`")
    if twice := sorted(data.keys() & {"id", "source", "subject", "time"}):
        raise msgspec.ValidationError(f"`{twice[0]}` is an attribute of the event - at `$.data`")
    stated = {name: event[name] for name in ("id", "source", "subject", "time") if name in event}
    body = msgspec.convert({**data, **stated}, OutcomeBody)
    # The distributed tracing extension: the trace in which it was found out is the one it is about, unless others are named.
    parts = str(event.get("traceparent", "")).split("-")
    if not body.traces and len(parts) >= 4 and len(parts[1]) == 32:
        body = msgspec.convert({**msgspec.to_builtins(body), "traces": [parts[1]]}, OutcomeBody)
    require_instants_in_range(body)
    return body
