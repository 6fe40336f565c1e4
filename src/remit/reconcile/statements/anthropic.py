"""Anthropic's usage report, cost report and analytics. Input is split there already; amounts are decimal texts in cents."""

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any, Final

from remit.reconcile.statements.meters import meter_of
from remit.reconcile.statements.model import Meter, StatementError, StatementLine
from remit.reconcile.statements.pages import (
    Result,
    bucket_rows,
    moment,
    pages_of,
    results_of,
    stated_names,
    unknown_fields,
)
from remit.reconcile.statements.reading import Fields, Reading

VENDOR: Final = "anthropic"
DEFAULT_WORKSPACE: Final = "default"
_GROUPS: Final = frozenset(
    {
        "account_id",
        "api_key_id",
        "context_window",
        "inference_geo",
        "model",
        "service_account_id",
        "service_tier",
        "speed",
        "workspace_id",
        "rbac_group_id",
    }
)
_USAGE: Final = frozenset(
    {"uncached_input_tokens", "cache_read_input_tokens", "cache_creation", "output_tokens", "server_tool_use"}
)
_COSTS: Final = frozenset({"amount", "currency", "cost_type", "token_type", "description"})
_TAGS: Final = (
    "account_id",
    "service_account_id",
    "inference_geo",
    "speed",
    "product",
    "actor_type",
    "agent_id",
    "session_id",
    "user_profile_id",
    "deployment_id",
    "environment_id",
    "organization_id",
    "slack_channel_id",
    "claude_tag_category",
    "claude_tag_user_id",
)
_METERS: Final[Mapping[str, Meter]] = {
    "uncached_input_tokens": "input",
    "cache_read_input_tokens": "cache_read",
    "cache_creation.ephemeral_5m_input_tokens": "cache_write",
    "cache_creation.ephemeral_1h_input_tokens": "cache_write_1h",
    "output_tokens": "output",
    "web_search": "web_search",
    "code_execution": "code_execution",
    "session_usage": "session",
}


def read_usage(reading: Reading) -> Iterator[StatementLine]:
    """`GET /v1/organizations/usage_report/messages`: a line for each kind of token of a result."""
    apart = stated_names(reading, ("api_key_id", "workspace_id"), bucket_rows)
    for result in results_of(reading, "starting_at", "ending_at"):
        unknown_fields(reading, result.fields, _GROUPS | _USAGE)
        reading.notes.row()
        yield from _kinds(result.fields, _who(result, apart))


def read_costs(reading: Reading) -> Iterator[StatementLine]:
    """`GET /v1/organizations/cost_report`: a line for each result."""
    apart = stated_names(reading, ("workspace_id",), bucket_rows)
    reading.notes.remark("the cost report leaves out the cost of Priority Tier")
    for result in results_of(reading, "starting_at", "ending_at"):
        fields = result.fields
        if "list_amount" in fields.values:
            raise fields.error(
                "this is the legacy analytics report (`analytics/cost_report`): it has the 100 largest groups only, and "
                "nothing for the rest, so its sum is no total; use `analytics/cost`"
            )
        unknown_fields(reading, fields, _GROUPS | _COSTS)
        amount = _dollars(fields, "amount")
        reading.notes.row((reading.currency(fields.text("currency"), fields.line), amount))
        yield StatementLine(
            **_who(result, apart),
            **reading.money(amount, fields.text("currency"), fields.line),
            meter=_meter(fields.values),
            text=fields.text("description"),
            is_correction=amount < 0,
        )


def read_analytics_cost(reading: Reading) -> Iterator[StatementLine]:
    """`GET /v1/organizations/analytics/cost`: amounts after discounts and before credits, with the list amount."""
    rows = _items(reading)
    apart = stated_names(reading, ("api_key_id", "workspace_id"), _groups_of)
    for result, group, item in rows:
        fields = result.fields
        cost = Fields(item["cost"], fields.line)
        unknown_fields(reading, cost, frozenset({"amount", "currency", "list_amount", "requests"}))
        amount, listed, currency = _dollars(cost, "amount"), _dollars(cost, "list_amount"), cost.text("currency")
        reading.notes.row((reading.currency(currency, fields.line), amount))
        yield StatementLine(
            **_who(result, apart),
            **reading.money(amount, currency, fields.line),
            list_amount_nanousd=reading.list_money(listed, currency, fields.line),
            meter=_meter(group),
            requests=cost.count("requests"),
            is_correction=amount < 0,
        )


def read_analytics_usage(reading: Reading) -> Iterator[StatementLine]:
    """`GET /v1/organizations/analytics/usage`: a line for each kind of token of an item."""
    rows = _items(reading, "usage")
    apart = stated_names(reading, ("api_key_id", "workspace_id"), _groups_of)
    for result, _, item in rows:
        usage = Fields(item["usage"], result.fields.line)
        unknown_fields(reading, usage, _USAGE | {"requests", "total_tokens"})
        reading.notes.row()
        lines = list(_kinds(usage, _who(result, apart)))
        stated = usage.count("total_tokens")
        total = sum(int(line.quantity or 0) for line in lines if line.unit == "tokens")
        if stated is not None and stated != total:
            raise usage.error(f"its kinds come to {total} tokens, `total_tokens` says {stated}")
        yield from lines
        requests = usage.count("requests")
        if requests is not None:
            yield StatementLine(
                **_who(result, apart), meter="requests", quantity=requests, unit="requests", requests=requests
            )


def _items(reading: Reading, what: str = "cost") -> list[tuple[Result, Mapping[str, Any], Mapping[str, Any]]]:
    """The items of analytics pages, which carry their period and their group themselves."""
    found: list[tuple[Result, Mapping[str, Any], Mapping[str, Any]]] = []
    for page in pages_of(reading):
        for item in page["data"]:
            line = len(found) + 1
            if isinstance(item, dict) and "results" in item:
                raise StatementError(
                    "this is the legacy report (`analytics/cost_report`): it has the 100 largest groups only, and nothing "
                    f"for the rest, so its sum is no total; use `analytics/{what}`",
                    line,
                )
            if (
                not isinstance(item, dict)
                or not isinstance(item.get(what), dict)
                or not isinstance(item.get("group"), dict)
            ):
                raise StatementError(f"an item has objects `group` and `{what}`: this has not", line)
            begin, end = moment(item.get("starting_at"), line), moment(item.get("ending_at"), line)
            reading.notes.covers(begin, end)
            group = dict(item["group"])
            actor = group.pop("actor", None)
            fields = Fields(group, line)
            unknown_fields(reading, fields, _GROUPS | {"cost_type", "token_type", *_TAGS})
            if isinstance(actor, dict):
                name = next(
                    (
                        str(actor[key])
                        for key in ("user_id", "service_account_id", "api_key_id", "subject")
                        if actor.get(key)
                    ),
                    "",
                )
                group["actor_type"] = group.get("actor_type") or actor.get("type")
                group["user_profile_id"] = group.get("user_profile_id") or name or None
            found.append((Result(fields, begin, end), group, item))
    return found


def _groups_of(page: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for item in page["data"]:
        yield item["group"]


def _kinds(fields: Fields, who: dict[str, Any]) -> Iterator[StatementLine]:
    for name in ("uncached_input_tokens", "cache_read_input_tokens", "output_tokens"):
        yield from _kind(fields, name, _METERS[name], "tokens", who)
    written = fields.values.get("cache_creation")
    if written is not None:
        inner = _inner(fields, "cache_creation", {"ephemeral_5m_input_tokens", "ephemeral_1h_input_tokens"})
        yield from _kind(inner, "ephemeral_5m_input_tokens", "cache_write", "tokens", who)
        yield from _kind(inner, "ephemeral_1h_input_tokens", "cache_write_1h", "tokens", who)
    if fields.values.get("server_tool_use") is not None:
        tools = fields.values["server_tool_use"]
        if not isinstance(tools, dict):
            raise fields.error("`server_tool_use` is no object")
        for name in tools:
            yield from _tool(Fields(tools, fields.line), name, who)


def _kind(fields: Fields, name: str, meter: Meter, unit: str, who: dict[str, Any]) -> Iterator[StatementLine]:
    count = fields.count(name)
    if count is not None:
        yield StatementLine(**who, meter=meter, quantity=count, unit=unit)


def _tool(fields: Fields, name: str, who: dict[str, Any]) -> Iterator[StatementLine]:
    """How often a tool of the vendor's was used; one that is not known here is `other`, by its name."""
    count = fields.count(name)
    if count is not None:
        is_search = name == "web_search_requests"
        meter: Meter = "web_search" if is_search else "other"
        yield StatementLine(**who, meter=meter, quantity=count, unit="requests", text=None if is_search else str(name))


def _inner(fields: Fields, name: str, known: set[str]) -> Fields:
    value = fields.values[name]
    if not isinstance(value, dict) or value.keys() - known:
        # A kind of token that is not known here would be missing from every sum.
        raise fields.error(f"`{name}` is no object of {', '.join(sorted(known))} only")
    return Fields(value, fields.line)


def _meter(group: Mapping[str, Any]) -> Meter:
    for name in ("token_type", "cost_type"):
        if group.get(name) is not None and group[name] != "tokens":
            return _METERS.get(str(group[name]), "other")
    description = group.get("description")
    return "other" if description is None else meter_of(str(description))


def _dollars(fields: Fields, name: str) -> Decimal:
    """Dollars from a decimal text in cents. Raises StatementError."""
    cents = fields.decimal(name)
    if cents is None:
        raise fields.error(f"`{name}` is missing")
    sign, digits, exponent = cents.as_tuple()
    assert isinstance(exponent, int)
    return Decimal((sign, digits, exponent - 2))


def _who(result: Result, apart: set[str]) -> dict[str, Any]:
    """Whose a result is. Where results are kept apart by key or workspace, null is one too: the Workbench, the default one."""
    fields = result.fields
    if fields.text("rbac_group_id") is not None:
        raise fields.error("it is grouped by `rbac_group_id`: such groups overlap, so their sum is more than the total")
    tags = {name: value for name in _TAGS if (value := fields.text(name))}
    key, workspace = fields.text("api_key_id"), fields.text("workspace_id")
    if key is None and "api_key_id" in apart:
        tags["origin"] = "workbench"
    tier = fields.text("service_tier")
    return {
        "line": fields.line,
        "starts_at": result.starts_at,
        "ends_at": result.ends_at,
        "vendor": VENDOR,
        "project": workspace or (DEFAULT_WORKSPACE if "workspace_id" in apart else None),
        "key_id": key,
        "model": fields.text("model"),
        "tier": tier,
        "is_batch": None if tier is None else tier == "batch",
        "context_window": fields.text("context_window"),
        "region": fields.text("inference_geo"),
        "tags": tags,
    }
