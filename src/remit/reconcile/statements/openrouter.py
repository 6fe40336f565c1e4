"""OpenRouter's activity: tokens, requests and dollars by UTC day, model and endpoint."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any, Final

from remit.reconcile.statements.model import StatementError, StatementLine
from remit.reconcile.statements.pages import moment, pages_of, unknown_fields
from remit.reconcile.statements.raw import json_documents
from remit.reconcile.statements.reading import Fields, Reading

VENDOR: Final = "openrouter"
_KNOWN: Final = frozenset(
    {
        "date",
        "model",
        "model_permaslug",
        "endpoint_id",
        "provider_name",
        "usage",
        "byok_usage_inference",
        "requests",
        "prompt_tokens",
        "completion_tokens",
        "reasoning_tokens",
    }
)
_GENERATION: Final = frozenset(
    {
        "id",
        "created_at",
        "model",
        "provider_name",
        "total_cost",
        "usage",
        "tokens_prompt",
        "tokens_completion",
        "native_tokens_prompt",
        "native_tokens_completion",
        "native_tokens_reasoning",
        "native_tokens_cached",
        "is_byok",
    }
)


def read_activity(reading: Reading) -> Iterator[StatementLine]:
    """`GET /api/v1/activity`: each item's tokens, and its dollars beside its requests. It states no cached tokens."""
    line = 0
    for page in pages_of(reading):
        for item in page["data"]:
            line += 1
            if not isinstance(item, dict):
                raise StatementError("an item is an object: this is none", line)
            fields = Fields(item, line)
            unknown_fields(reading, fields, _KNOWN)
            begin = moment(fields.required("date")[:10], line)
            reading.notes.covers(begin, begin + timedelta(days=1))
            amount = fields.decimal("usage")
            reading.notes.row(*([] if amount is None else [("USD", amount)]))
            who = _who(fields) | {"starts_at": begin, "ends_at": begin + timedelta(days=1)}
            yield from _tokens(fields, who, "prompt_tokens", "completion_tokens", "reasoning_tokens")
            requests = fields.count("requests")
            yield StatementLine(
                **who,
                **reading.money(amount, "USD", line),
                meter="requests",
                quantity=requests,
                unit="requests",
                requests=requests,
            )


def read_generations(reading: Reading) -> Iterator[StatementLine]:
    """`GET /api/v1/generation` of single calls, one answer a line: the one cost of a single call that a vendor states."""
    from_pages = [page.get("data") for page in _objects(reading)]
    for line, item in enumerate(from_pages, start=1):
        if not isinstance(item, dict):
            raise StatementError("an answer is an object with an object `data`: this is none", line)
        fields = Fields(item, line)
        unknown = frozenset(name for name in item if name not in _GENERATION)
        reading.unread(unknown)
        begin = moment(fields.required("created_at"), line)
        amount = fields.decimal("total_cost")
        reading.notes.row(*([] if amount is None else [("USD", amount)]))
        day = begin.replace(hour=0, minute=0, second=0, microsecond=0)
        reading.notes.covers(day, day + timedelta(days=1))
        who = _who(fields) | {"starts_at": begin, "ends_at": begin + timedelta(microseconds=1)}
        who["native_id"] = fields.required("id")
        yield from _generation_tokens(fields, who)
        yield StatementLine(
            **who, **reading.money(amount, "USD", line), meter="requests", quantity=1, unit="requests", requests=1
        )


def _objects(reading: Reading) -> list[dict[str, Any]]:
    found = [
        one
        for document in json_documents(reading.raw)
        for one in (document if isinstance(document, list) else [document])
    ]
    if any(not isinstance(one, dict) for one in found):
        raise StatementError("an answer is an object with an object `data`: this is none")
    return found


def _generation_tokens(fields: Fields, who: dict[str, Any]) -> Iterator[StatementLine]:
    prompt, cached = fields.count("native_tokens_prompt"), fields.count("native_tokens_cached")
    if prompt is not None:
        if (cached or 0) > prompt:
            raise fields.error(f"{cached} cached tokens are more than the {prompt} of the prompt")
        yield StatementLine(**who, meter="input", quantity=prompt - (cached or 0), unit="tokens")
    if cached is not None:
        yield StatementLine(**who, meter="cache_read", quantity=cached, unit="tokens")
    yield from _tokens(fields, who, None, "native_tokens_completion", "native_tokens_reasoning")


def _tokens(
    fields: Fields, who: dict[str, Any], prompt_name: str | None, completion_name: str, reasoning_name: str
) -> Iterator[StatementLine]:
    """Reasoning is part of the completion there, and apart from it here."""
    prompt = None if prompt_name is None else fields.count(prompt_name)
    completion, reasoning = fields.count(completion_name), fields.count(reasoning_name)
    if prompt is not None:
        yield StatementLine(**who, meter="input", quantity=prompt, unit="tokens")
    if reasoning is not None and completion is not None and reasoning > completion:
        raise fields.error(f"{reasoning} reasoning tokens are more than the {completion} of the completion")
    if completion is not None:
        yield StatementLine(**who, meter="output", quantity=completion - (reasoning or 0), unit="tokens")
    if reasoning is not None:
        yield StatementLine(**who, meter="reasoning", quantity=reasoning, unit="tokens")


def _who(fields: Fields) -> dict[str, Any]:
    names = ("endpoint_id", "provider_name", "model_permaslug", "byok_usage_inference")
    return {
        "line": fields.line,
        "vendor": VENDOR,
        "model": fields.text("model"),
        "tags": {name: value for name in names if (value := fields.text(name))},
    }
