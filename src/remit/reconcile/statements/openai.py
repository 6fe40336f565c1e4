"""OpenAI's organization usage and costs. Counts are inclusive there and become disjoint here.

The shapes are those of the published OpenAPI document and the SDK's types (`GET /v1/organization/costs` and `/usage/*`).
"""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any, Final

from remit.reconcile.statements.exact import count_of, parse_unit, plain, times
from remit.reconcile.statements.meters import meter_of
from remit.reconcile.statements.model import Meter, StatementLine
from remit.reconcile.statements.pages import Result, results_of, unknown_fields
from remit.reconcile.statements.reading import Fields, Reading

VENDOR: Final = "openai"
_WHO: Final = frozenset({"object", "project_id", "api_key_id", "user_id", "model", "api_source"})
_COSTS: Final = frozenset({"amount", "line_item", "quantity", "quantity_unit"}) | _WHO
_TOKENS: Final = frozenset(
    {
        "input_tokens",
        "output_tokens",
        "num_model_requests",
        "batch",
        "service_tier",
        "input_cached_tokens",
        "input_cache_write_tokens",
        "input_cache_write_30m_tokens",
        "input_cache_write_12h_tokens",
        "input_uncached_tokens",
        "input_text_tokens",
        "input_audio_tokens",
        "input_image_tokens",
        "input_cached_text_tokens",
        "input_cached_audio_tokens",
        "input_cached_image_tokens",
        "output_text_tokens",
        "output_audio_tokens",
        "output_image_tokens",
    }
)
# endpoint of `/usage/`: the `object` of its results, the field that counts, what it counts. None: tokens of a model.
ENDPOINTS: Final[dict[str, tuple[str, str | None, Meter, str]]] = {
    "completions": ("completions", None, "input", "tokens"),
    "decisions": ("decisions", None, "input", "tokens"),
    "embeddings": ("embeddings", "input_tokens", "input", "tokens"),
    "moderations": ("moderations", "input_tokens", "input", "tokens"),
    "images": ("images", "images", "images", "images"),
    "audio_speeches": ("audio_speeches", "characters", "characters", "characters"),
    "audio_transcriptions": ("audio_transcriptions", "seconds", "audio_seconds", "seconds"),
    "vector_stores": ("vector_stores", "usage_bytes", "storage", "bytes"),
    "code_interpreter_sessions": ("code_interpreter_sessions", "num_sessions", "code_execution", "sessions"),
    "web_search_calls": ("web_searches", "num_requests", "web_search", "requests"),
    "file_search_calls": ("file_searches", "num_requests", "other", "requests"),
}
_MORE: Final = frozenset({"num_model_requests", "size", "source", "context_level", "vector_store_id"})


def read_costs(reading: Reading) -> Iterator[StatementLine]:
    """A line for each result: an amount, and what of it can be read from the line item."""
    for result in results_of(reading, "start_time", "end_time"):
        fields = result.fields
        _require_object(fields, "organization.costs.result")
        unknown_fields(reading, fields, _COSTS)
        amount, currency = _amount(fields)
        reading.notes.row(*([] if amount is None else [(reading.currency(currency, fields.line), amount)]))
        item = fields.text("line_item")
        model, meter = parse_line_item(item)
        stated, unit = fields.decimal("quantity"), fields.text("quantity_unit")
        quantity, single = _single_units(stated, unit)
        if stated is not None and stated < 0:
            reading.notes.remark("a negative quantity takes back what was charged before", fields.line)
        yield StatementLine(
            **_who(result),
            **reading.money(amount, currency, fields.line),
            meter=meter,
            model=fields.text("model") or model,
            quantity=quantity,
            unit=single,
            stated_quantity=None if stated is None else plain(stated),
            stated_unit=unit,
            text=item,
            is_correction=(stated is not None and stated < 0) or (amount is not None and amount < 0),
        )


def usage_reader(endpoint: str) -> Any:
    """The reader of one endpoint of `/usage/`; results of any other are refused, as they would be mixed up with it."""
    kind, counts, meter, unit = ENDPOINTS[endpoint]

    def read(reading: Reading) -> Iterator[StatementLine]:
        for result in results_of(reading, "start_time", "end_time"):
            _require_object(result.fields, f"organization.usage.{kind}.result")
            reading.notes.row()
            if counts is None:
                unknown_fields(reading, result.fields, _WHO | _TOKENS)
                yield from _tokens(reading, result)
            else:
                unknown_fields(reading, result.fields, _WHO | _MORE | {counts})
                yield from _counted(result, counts, meter, unit)

    return read


def parse_line_item(item: str | None) -> tuple[str | None, Meter]:
    """Model and meter of a line item such as `gpt-6-astra, input_tokens`; what names neither is `other`."""
    if item is None:
        return None, "other"
    model, comma, kind = item.rpartition(", ")
    if comma and (meter := meter_of(kind)) != "other":
        return model.strip() or None, meter
    meter = meter_of(item)
    # Without a model in front, words such as `input` say nothing about what was counted.
    return None, meter if meter in {"web_search", "code_execution", "session", "storage"} else "other"


def _tokens(reading: Reading, result: Result) -> Iterator[StatementLine]:
    fields = result.fields
    who = _who(result) | {
        "model": fields.text("model"),
        "tier": fields.text("service_tier"),
        "is_batch": fields.values.get("batch"),
    }
    if not isinstance(who["is_batch"], bool | None):
        raise fields.error("`batch` is neither true nor false")
    for meter, count, text in disjoint(reading, fields):
        yield StatementLine(**who, meter=meter, quantity=count, unit="tokens", text=text)
    yield from _requests(fields, who)


def disjoint(reading: Reading, fields: Fields) -> Iterator[tuple[Meter, int, str | None]]:
    """OpenAI's overlapping counts as kinds that do not overlap. Raises StatementError where they contradict each other."""
    count = fields.count
    total, cached, written = _required(fields, "input_tokens"), count("input_cached_tokens"), _written(fields)
    if cached is None and total:
        reading.notes.remark("cached tokens are not stated: `input` holds them as well", fields.line)
    uncached = count("input_uncached_tokens")
    known = (cached or 0) + (written or 0)
    if uncached is not None and cached is not None and uncached not in {total - cached, total - known}:
        raise fields.error(f"{uncached} uncached and {known} cached input tokens are not the {total} of `input_tokens`")
    audio, image = _apart(reading, fields, "audio", cached), _apart(reading, fields, "image", cached)
    text = total - known - audio - image
    if text < 0:
        raise fields.error(f"parts of the input come to {total - text} tokens, more than the {total} of `input_tokens`")
    yield "input", text, None
    if cached is not None:
        yield "cache_read", cached, None
    if written is not None:
        yield "cache_write", written, None
    if audio:
        yield "input_audio", audio, None
    if image:
        yield "input_image", image, None
    output, spoken, drawn = (
        _required(fields, "output_tokens"),
        count("output_audio_tokens"),
        count("output_image_tokens"),
    )
    rest = output - (spoken or 0) - (drawn or 0)
    if rest < 0:
        raise fields.error(
            f"parts of the output come to {output - rest} tokens, more than the {output} of `output_tokens`"
        )
    yield "output", rest, None
    if spoken:
        yield "output_audio", spoken, None
    if drawn:
        yield "other", drawn, "output_image_tokens"


def _written(fields: Fields) -> int | None:
    """Tokens written to a cache: the sum that is stated, or that of its two kinds."""
    total = fields.count("input_cache_write_tokens")
    parts = [fields.count("input_cache_write_30m_tokens"), fields.count("input_cache_write_12h_tokens")]
    stated = [part for part in parts if part is not None]
    if total is None:
        return sum(stated) if stated else None
    if sum(stated) > total:
        raise fields.error(f"{sum(stated)} tokens by kind of cache write are more than the {total} written in all")
    return total


def _apart(reading: Reading, fields: Fields, kind: str, cached: int | None) -> int:
    """Input tokens of a modality that did not come from a cache."""
    total, from_cache = fields.count(f"input_{kind}_tokens") or 0, fields.count(f"input_cached_{kind}_tokens")
    if from_cache is None:
        if total and cached:
            reading.notes.remark(
                f"which cached tokens were {kind} is not stated: all of them count as text", fields.line
            )
        return total
    if from_cache > total:
        raise fields.error(f"{from_cache} cached {kind} tokens are more than the {total} there are")
    return total - from_cache


def _counted(result: Result, name: str, meter: Meter, unit: str) -> Iterator[StatementLine]:
    fields = result.fields
    who = _who(result) | {"model": fields.text("model")}
    more = {
        name: value for name in ("size", "source", "context_level", "vector_store_id") if (value := fields.text(name))
    }
    text = "file_search" if meter == "other" else None
    who["tags"] = {**who["tags"], **more}
    yield StatementLine(**who, meter=meter, quantity=_required(fields, name), unit=unit, text=text)
    yield from _requests(fields, who)


def _requests(fields: Fields, who: dict[str, Any]) -> Iterator[StatementLine]:
    count = fields.count("num_model_requests")
    if count is not None:
        yield StatementLine(**who, meter="requests", quantity=count, unit="requests", requests=count)


def _required(fields: Fields, name: str) -> int:
    found = fields.count(name)
    if found is None:
        raise fields.error(f"`{name}` is missing")
    return found


def _require_object(fields: Fields, wanted: str) -> None:
    found = fields.text("object")
    if found != wanted:
        raise fields.error(f"its `object` is `{found}`, not `{wanted}`: is it the answer of another endpoint?")


def _amount(fields: Fields) -> tuple[Decimal | None, str | None]:
    stated = fields.values.get("amount")
    if stated is None:
        return None, None
    if not isinstance(stated, dict):
        raise fields.error("`amount` is no object with `value` and `currency`")
    inner = Fields(stated, fields.line)
    return inner.decimal("value"), inner.text("currency")


def _single_units(quantity: Decimal | None, unit: str | None) -> tuple[int | Decimal | None, str | None]:
    if quantity is None or unit is None:
        return (None if quantity is None else count_of(quantity)), unit
    factor, single = parse_unit(unit)
    return count_of(times(quantity, factor)), single


def _who(result: Result) -> dict[str, Any]:
    fields = result.fields
    return {
        "line": fields.line,
        "starts_at": result.starts_at,
        "ends_at": result.ends_at,
        "vendor": VENDOR,
        "project": fields.text("project_id"),
        "key_id": fields.text("api_key_id"),
        "tags": {name: value for name in ("user_id", "api_source") if (value := fields.text(name))},
    }
