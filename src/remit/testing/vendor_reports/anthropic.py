"""Books as Anthropic reports them: input split by what the cache did, amounts as decimal texts in cents."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from remit.testing.vendor_reports.books import DAY, BookRow, buckets, costs, decimal_text, grouped, used

TOKEN_TYPES: Final = {
    "input": "uncached_input_tokens",
    "cache_read": "cache_read_input_tokens",
    "cache_write": "cache_creation.ephemeral_5m_input_tokens",
    "cache_write_1h": "cache_creation.ephemeral_1h_input_tokens",
    "output": "output_tokens",
}


def anthropic_usage(
    rows: Iterable[BookRow],
    since: datetime,
    until: datetime,
    group_by: Sequence[str] = (),
    width: timedelta = DAY,
) -> list[dict[str, Any]]:
    """Buckets of `GET /v1/organizations/usage_report/messages`, the empty ones as well."""
    return [
        _bucket(
            begin,
            width,
            [_usage(dict(zip(group_by, key, strict=True)), found) for key, found in _groups(inside, group_by)],
        )
        for begin, inside in buckets(rows, since, until, width)
    ]


def anthropic_costs(
    rows: Iterable[BookRow], since: datetime, until: datetime, group_by: Sequence[str] = ()
) -> list[dict[str, Any]]:
    """Buckets of `GET /v1/organizations/cost_report`. By `description` a result for each model and kind, else their sum."""
    made = []
    for day, inside in buckets(rows, since, until):
        results: list[dict[str, Any]] = []
        for key, found in _groups(inside, [name for name in group_by if name == "workspace_id"]):
            workspace = key[0] if key else None
            if "description" not in group_by:
                results.append(_cost(workspace, sum(costs(found).values()), None, None))
                continue
            for (model,), of_model in grouped(found, lambda row: (row.model,)):
                results += [
                    _cost(workspace, amount_nanousd, kind, model) for kind, amount_nanousd in costs(of_model).items()
                ]
        made.append(_bucket(day, DAY, results))
    return made


def anthropic_analytics_costs(
    rows: Iterable[BookRow], since: datetime, until: datetime, group_by: Sequence[str] = ()
) -> list[dict[str, Any]]:
    """Items of `GET /v1/organizations/analytics/cost`, one a day, group and kind of token."""
    items = []
    names = [name for name in group_by if name != "token_type"]
    for day, inside in buckets(rows, since, until):
        for key, found in _groups(inside, names):
            group = dict(zip(names, key, strict=True))
            for kind, amount_nanousd in costs(found).items():
                of_kind = (
                    {"token_type": TOKEN_TYPES[kind], "cost_type": "tokens"}
                    if kind in TOKEN_TYPES
                    else {"cost_type": kind}
                )
                amount = _cents(amount_nanousd)
                cost = {"amount": amount, "list_amount": amount, "currency": "USD", "requests": None}
                items.append({**_period(day), "group": {**group, **of_kind}, "cost": cost})
    return items


def _usage(who: dict[str, Any], rows: list[BookRow]) -> dict[str, Any]:
    assert not used(rows, "input_audio", "output_audio"), "this vendor has no audio"
    return {
        "uncached_input_tokens": used(rows, "input"),
        "cache_read_input_tokens": used(rows, "cache_read"),
        "cache_creation": {
            "ephemeral_5m_input_tokens": used(rows, "cache_write"),
            "ephemeral_1h_input_tokens": used(rows, "cache_write_1h"),
        },
        "output_tokens": used(rows, "output"),
        "server_tool_use": {"web_search_requests": used(rows, "web_search")},
        **{
            name: who.get(name)
            for name in ("api_key_id", "workspace_id", "model", "service_tier", "context_window", "inference_geo")
        },
    }


def _cost(workspace: str | None, amount_nanousd: int, kind: str | None, model: str | None) -> dict[str, Any]:
    is_tokens = kind in TOKEN_TYPES
    return {
        "amount": _cents(amount_nanousd),
        "currency": "USD",
        "workspace_id": workspace,
        "description": None if kind is None else f"{model} Usage - {TOKEN_TYPES.get(kind, kind)}",
        "cost_type": "tokens" if is_tokens else kind,
        "token_type": None if kind is None else TOKEN_TYPES.get(kind),
        "model": model if is_tokens else None,
        "service_tier": "standard" if is_tokens else None,
        "context_window": "0-200k" if is_tokens else None,
        "inference_geo": None,
    }


def _cents(amount_nanousd: int) -> str:
    return decimal_text(Decimal(amount_nanousd).scaleb(-7))


def _groups(rows: Iterable[BookRow], names: Sequence[str]) -> list[tuple[tuple[Any, ...], list[BookRow]]]:
    return grouped(rows, lambda row: tuple(_value(row, name) for name in names))


def _value(row: BookRow, name: str) -> Any:
    values = {
        "api_key_id": row.key_id,
        "workspace_id": row.project,
        "model": row.model,
        "service_tier": "batch" if row.is_batch else "standard",
        "context_window": "0-200k",
        "inference_geo": "global",
    }
    return values[name]


def _period(begin: datetime, width: timedelta = DAY) -> dict[str, str]:
    return {"starting_at": f"{begin:%Y-%m-%dT%H:%M:%SZ}", "ending_at": f"{begin + width:%Y-%m-%dT%H:%M:%SZ}"}


def _bucket(begin: datetime, width: timedelta, results: list[dict[str, Any]]) -> dict[str, Any]:
    return {**_period(begin, width), "results": results}
