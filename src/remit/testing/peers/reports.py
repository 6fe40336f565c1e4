"""The admin APIs of OpenAI, Anthropic and OpenRouter that report usage and costs, over books that a test gives.

Parameters are checked as the published documents say: a bucket, a grouping or a limit that is not there is answered with 400.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

from remit.testing.peers.base import Asked, Peer, PeerReply
from remit.testing.vendor_reports.anthropic import anthropic_analytics_costs, anthropic_costs, anthropic_usage
from remit.testing.vendor_reports.books import BookRow, exact_json
from remit.testing.vendor_reports.openai import openai_costs, openai_usage
from remit.testing.vendor_reports.openrouter import openrouter_activity

ADMIN_KEY: Final = "sk-admin-of-nobody-0000000000"
BETA: Final = "analytics-usage-cost-2026-08-24"
_WIDTHS: Final = {
    "1m": (timedelta(minutes=1), 1440, 60),
    "1h": (timedelta(hours=1), 168, 24),
    "1d": (timedelta(days=1), 31, 7),
}
_USAGE: Final = frozenset(
    {
        "completions",
        "embeddings",
        "moderations",
        "images",
        "audio_speeches",
        "audio_transcriptions",
        "vector_stores",
        "code_interpreter_sessions",
    }
)
_OPENAI_GROUPS: Final = {"project_id", "user_id", "api_key_id", "model", "batch", "service_tier"}
_ANTHROPIC_GROUPS: Final = {
    "api_key_id",
    "workspace_id",
    "model",
    "service_tier",
    "context_window",
    "inference_geo",
    "speed",
    "account_id",
    "service_account_id",
}
_ANALYTICS_GROUPS: Final = _ANTHROPIC_GROUPS | {"token_type", "cost_type", "actor", "product", "rbac_group_id"}


_Make = Callable[[Iterable[BookRow], datetime, datetime, Sequence[str]], list[dict[str, Any]]]


class _WrongError(Exception):
    """A parameter is not as the document says."""


class ReportsPeer(Peer):
    """`books` may change between requests, as a vendor's do. `most_buckets` makes pages shorter than they are asked for."""

    def __init__(self, books: Iterable[BookRow] = (), *, most_buckets: int = 10_000) -> None:
        super().__init__()
        self.books = list(books)
        self.most_buckets = most_buckets

    def answer(self, asked: Asked) -> PeerReply:
        if not self.may(asked):
            return PeerReply(401, {"error": {"message": "Incorrect API key provided", "code": "invalid_api_key"}})
        parts = urlsplit(asked.path)
        params: dict[str, list[str]] = {}
        for name, value in parse_qsl(parts.query):
            params.setdefault(name, []).append(value)
        try:
            body = self.report(parts.path, params, asked)
        except _WrongError as error:
            return PeerReply(400, {"error": {"message": str(error), "type": "invalid_request_error"}})
        return (
            PeerReply(404, {"error": {"message": "no such route"}})
            if body is None
            else PeerReply(200, exact_json(body))
        )

    def may(self, asked: Asked) -> bool:
        """Whether the request shows the admin key."""
        return asked.headers.get("authorization") == f"Bearer {ADMIN_KEY}"

    def report(self, path: str, params: dict[str, list[str]], asked: Asked) -> Any:
        """The answer of a route; None where there is none."""
        raise NotImplementedError

    def page(self, found: list[dict[str, Any]], limit: int, params: dict[str, list[str]]) -> dict[str, Any]:
        """One page of buckets."""
        cursor = _one(params, "page", "page-0")
        if not cursor.removeprefix("page-").isdecimal():
            raise _WrongError("`page` is no cursor of ours")
        start, size = int(cursor.removeprefix("page-")), min(limit, self.most_buckets)
        rest = len(found) > start + size
        return {
            "data": found[start : start + size],
            "has_more": rest,
            "next_page": f"page-{start + size}" if rest else None,
        }


class OpenAiReportsPeer(ReportsPeer):
    """`/v1/organization/costs` and `/v1/organization/usage/*`; only completions have anything in them."""

    def report(self, path: str, params: dict[str, list[str]], asked: Asked) -> Any:
        if path == "/v1/organization/costs":
            _known(params, {"start_time", "end_time", "bucket_width", "group_by", "limit", "page"})
            if _one(params, "bucket_width", "1d") != "1d":
                raise _WrongError("`bucket_width` of costs is `1d`")
            groups = _groups(params, "group_by", {"project_id", "line_item", "api_key_id"})
            return self._buckets(openai_costs, params, groups, _limit(params, 180, 7))
        name = path.removeprefix("/v1/organization/usage/")
        if name not in _USAGE:
            return None
        _known(params, {"start_time", "end_time", "bucket_width", "group_by", "limit", "page"})
        width, most, usual = _width(params)
        groups = _groups(params, "group_by", _OPENAI_GROUPS)
        make = partial(openai_usage, width=width)
        return self._buckets(make, params, groups, _limit(params, most, usual), name)

    def _buckets(
        self, make: _Make, params: dict[str, list[str]], groups: list[str], limit: int, name: str = "completions"
    ) -> dict[str, Any]:
        begin, end = (_seconds(params, one) for one in ("start_time", "end_time"))
        rows = self.books if name == "completions" else []
        return {"object": "page", **self.page(make(rows, begin, end, groups), limit, params)}


class AnthropicReportsPeer(ReportsPeer):
    """`/v1/organizations/usage_report/messages`, `cost_report` and `analytics/cost`."""

    def may(self, asked: Asked) -> bool:
        return asked.headers.get("x-api-key") == ADMIN_KEY and "anthropic-version" in asked.headers

    def report(self, path: str, params: dict[str, list[str]], asked: Asked) -> Any:
        _known(params, {"starting_at", "ending_at", "bucket_width", "group_by[]", "limit", "page"})
        width, most, usual = _width(params)
        if width != timedelta(days=1) and not path.endswith("/usage_report/messages"):
            raise _WrongError("`bucket_width` of costs is `1d`")
        begin, end = (_instant(params, one) for one in ("starting_at", "ending_at"))
        limit = _limit(params, most, usual)
        if path == "/v1/organizations/usage_report/messages":
            groups = _groups(params, "group_by[]", _ANTHROPIC_GROUPS)
            return self.page(anthropic_usage(self.books, begin, end, groups, width), limit, params)
        if path == "/v1/organizations/cost_report":
            groups = _groups(params, "group_by[]", {"workspace_id", "description"})
            return self.page(anthropic_costs(self.books, begin, end, groups), limit, params)
        if path == "/v1/organizations/analytics/cost" and asked.headers.get("anthropic-beta") == BETA:
            groups = _groups(params, "group_by[]", _ANALYTICS_GROUPS)
            if len(groups) > 5 or end - begin > timedelta(days=31):
                raise _WrongError("at most 5 groups and 31 days")
            return self.page(anthropic_analytics_costs(self.books, begin, end, groups), limit, params)
        return None


class OpenRouterReportsPeer(ReportsPeer):
    """`/api/v1/activity`, of one completed day."""

    def report(self, path: str, params: dict[str, list[str]], asked: Asked) -> Any:
        if path != "/api/v1/activity":
            return None
        _known(params, {"date"})
        try:
            day = datetime.strptime(_one(params, "date", ""), "%Y-%m-%d").replace(tzinfo=UTC)
        except ValueError:
            raise _WrongError("`date` is a day such as 2026-11-03") from None
        return {"data": openrouter_activity(self.books, day)}


def _known(params: dict[str, list[str]], known: set[str]) -> None:
    for name in params:
        if name not in known:
            raise _WrongError(f"unknown parameter: `{name}`")


def _one(params: dict[str, list[str]], name: str, otherwise: str) -> str:
    return params.get(name, [otherwise])[0]


def _groups(params: dict[str, list[str]], name: str, known: set[str]) -> list[str]:
    found = params.get(name, [])
    wrong = [one for one in found if one not in known]
    if wrong:
        raise _WrongError(f"cannot group by `{wrong[0]}`")
    return found


def _limit(params: dict[str, list[str]], most: int, otherwise: int) -> int:
    text = _one(params, "limit", str(otherwise))
    if not text.isdecimal() or not 1 <= int(text) <= most:
        raise _WrongError(f"`limit` is from 1 to {most}")
    return int(text)


def _width(params: dict[str, list[str]]) -> tuple[timedelta, int, int]:
    """How long a bucket is, how many a page holds at most, and how many without a limit."""
    stated = _one(params, "bucket_width", "1d")
    if stated not in _WIDTHS:
        raise _WrongError(f"`bucket_width` is one of {', '.join(_WIDTHS)}")
    return _WIDTHS[stated]


def _seconds(params: dict[str, list[str]], name: str) -> datetime:
    text = _one(params, name, "")
    if not text.isdecimal():
        raise _WrongError(f"`{name}` is in Unix seconds")
    return datetime.fromtimestamp(int(text), UTC)


def _instant(params: dict[str, list[str]], name: str) -> datetime:
    try:
        return datetime.fromisoformat(_one(params, name, "")).astimezone(UTC)
    except ValueError:
        raise _WrongError(f"`{name}` is an RFC 3339 instant") from None
