"""Books as OpenAI reports them: input counts everything that was read, the parts are stated beside it."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from remit.testing.vendor_reports.books import DAY, BookRow, buckets, costs, dollars, grouped, used

# How line items call kinds.
LINE_ITEMS: Final = {
    "input": "input_tokens",
    "cache_read": "input_cached_tokens",
    "cache_write": "input_cache_write_tokens",
    "cache_write_1h": "input_cache_write_tokens",
    "input_audio": "input_audio_tokens",
    "output": "output_tokens",
    "output_audio": "output_audio_tokens",
}


def openai_usage(
    rows: Iterable[BookRow],
    since: datetime,
    until: datetime,
    group_by: Sequence[str] = (),
    width: timedelta = DAY,
) -> list[dict[str, Any]]:
    """Buckets of `GET /v1/organization/usage/completions`, the empty ones as well."""
    return [
        _bucket(begin, width, [_usage(group_by, key, found) for key, found in _groups(inside, group_by)])
        for begin, inside in buckets(rows, since, until, width)
    ]


def openai_costs(
    rows: Iterable[BookRow], since: datetime, until: datetime, group_by: Sequence[str] = ()
) -> list[dict[str, Any]]:
    """Buckets of `GET /v1/organization/costs`. With `line_item` a result for each model and kind, else their sum."""
    made = []
    for day, inside in buckets(rows, since, until):
        results: list[dict[str, Any]] = []
        names = [name for name in group_by if name != "line_item"]
        for key, found in _groups(inside, names):
            who = dict(zip(names, key, strict=True))
            if "line_item" in group_by:
                for (model,), of_model in grouped(found, lambda row: (row.model,)):
                    results += _items(who, model, of_model)
            else:
                results.append(_cost(who, None, sum(costs(found).values()), None))
        made.append(_bucket(day, DAY, results))
    return made


def _items(who: dict[str, Any], model: str, rows: list[BookRow]) -> list[dict[str, Any]]:
    found = []
    for kind, amount_nanousd in costs(rows).items():
        item = "web search tool calls" if kind == "web_search" else f"{model}, {LINE_ITEMS[kind]}"
        found.append(_cost(who, item, amount_nanousd, None if kind == "web_search" else used(rows, kind)))
    return found


def _cost(who: dict[str, Any], item: str | None, amount_nanousd: int, quantity: int | None) -> dict[str, Any]:
    return {
        "object": "organization.costs.result",
        "amount": {"value": dollars(amount_nanousd), "currency": "usd"},
        "line_item": item,
        "project_id": who.get("project_id"),
        "api_key_id": who.get("api_key_id"),
        "quantity": quantity,
        "quantity_unit": None if quantity is None else "tokens",
    }


def _usage(group_by: Sequence[str], key: tuple[Any, ...], rows: list[BookRow]) -> dict[str, Any]:
    who = dict(zip(group_by, key, strict=True))
    return {
        "object": "organization.usage.completions.result",
        "input_tokens": used(rows, "input", "cache_read", "cache_write", "cache_write_1h", "input_audio"),
        "input_cached_tokens": used(rows, "cache_read"),
        "input_cache_write_tokens": used(rows, "cache_write", "cache_write_1h"),
        "input_audio_tokens": used(rows, "input_audio"),
        "input_cached_audio_tokens": 0,
        "output_tokens": used(rows, "output", "output_audio"),
        "output_audio_tokens": used(rows, "output_audio"),
        "num_model_requests": sum(row.requests for row in rows),
        "project_id": who.get("project_id"),
        "user_id": None,
        "api_key_id": who.get("api_key_id"),
        "model": who.get("model"),
        "batch": who.get("batch"),
        "service_tier": who.get("service_tier"),
    }


def _groups(rows: Iterable[BookRow], names: Sequence[str]) -> list[tuple[tuple[Any, ...], list[BookRow]]]:
    return grouped(rows, lambda row: tuple(_value(row, name) for name in names))


def _value(row: BookRow, name: str) -> Any:
    values = {
        "project_id": row.project,
        "api_key_id": row.key_id,
        "model": row.model,
        "batch": row.is_batch,
        "service_tier": row.tier,
    }
    return values[name]


def _bucket(begin: datetime, width: timedelta, results: list[dict[str, Any]]) -> dict[str, Any]:
    start, end = (int(one.timestamp()) for one in (begin, begin + width))
    return {"object": "bucket", "start_time": start, "end_time": end, "results": results}
