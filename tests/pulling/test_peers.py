"""The servers that stand for vendors answer what the vendors' published schemas allow, and refuse what those do not."""

import json
import urllib.error
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from remit.testing.peers.reports import ADMIN_KEY, BETA, AnthropicReportsPeer, OpenAiReportsPeer, OpenRouterReportsPeer
from remit.testing.vendor_reports.books import BookRow
from tests.tidy.sources import ROOT

SCHEMAS = ROOT.parent / "shared" / "data" / "vendor_specs"
AT = datetime(2026, 11, 3, 5, tzinfo=UTC)
BOOKS = [
    BookRow(
        at=AT,
        model="m",
        used={"input": 5, "cache_read": 2, "output": 1},
        costs_nanousd={"input": 7, "output": 123_456_789},
    ),
    BookRow(at=AT + timedelta(days=1), model="n", used={"output": 4}, costs_nanousd={"output": 10}),
]
OPENAI = {"authorization": f"Bearer {ADMIN_KEY}"}
ANTHROPIC = {"x-api-key": ADMIN_KEY, "anthropic-version": "2023-06-01", "anthropic-beta": BETA}
SECONDS = f"start_time={int(AT.timestamp()) - 5 * 3600}&end_time={int(AT.timestamp()) + 3 * 86_400 - 5 * 3600}"
INSTANTS = "starting_at=2026-11-03T00:00:00Z&ending_at=2026-11-06T00:00:00Z"


def get(url: str, headers: dict[str, str]) -> tuple[int, Any]:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=10) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())


def schemas(name: str) -> dict[str, Any]:
    file: Path = SCHEMAS / name
    if not file.exists():
        pytest.skip(f"there is no {file.name} beside the repository")
    found: dict[str, Any] = json.loads(file.read_text())["schemas"]
    return found


@pytest.mark.parametrize("report", ["costs", "completions", "embeddings", "images", "vector_stores"])
def test_openai_answers_as_its_types_say(report: str) -> None:
    """Pages of costs and usage are valid by the schemas of OpenAI's SDK."""
    schema = schemas("openai_admin_usage_costs.jsonschema.json")[report]
    route = "costs" if report == "costs" else f"usage/{report}"
    groups = "&group_by=project_id" + ("&group_by=line_item" if report == "costs" else "")
    with OpenAiReportsPeer(BOOKS, most_buckets=2) as peer:
        status, page = get(f"{peer.url}/v1/organization/{route}?{SECONDS}{groups}", OPENAI)
    assert status == 200 and page["has_more"] is True and len(page["data"]) == 2
    jsonschema_rs.validate(schema, page)


def test_anthropic_answers_as_its_types_say() -> None:
    """Items of the analytics' costs are valid by the schema of Anthropic's SDK."""
    schema = schemas("anthropic_usage_cost_spendlimits.jsonschema.json")["BetaAnalyticsCostItem"]
    with AnthropicReportsPeer(BOOKS) as peer:
        groups = "&group_by[]=model&group_by[]=token_type"
        status, page = get(f"{peer.url}/v1/organizations/analytics/cost?{INSTANTS}{groups}", ANTHROPIC)
    assert status == 200 and len(page["data"]) == 3
    for item in page["data"]:
        jsonschema_rs.validate(schema, item)


@pytest.mark.parametrize(
    "query",
    [
        f"{SECONDS}&bucket_width=1h",
        f"{SECONDS}&limit=181",
        f"{SECONDS}&limit=0",
        f"{SECONDS}&group_by=model",
        f"{SECONDS}&page=elsewhere",
        f"{SECONDS}&unheard=of",
        "start_time=yesterday",
    ],
)
def test_openai_refuses_what_it_does_not_document(query: str) -> None:
    """A width, a limit, a grouping, a cursor or a parameter that is not there is answered with 400; without a key it is 401."""
    with OpenAiReportsPeer(BOOKS) as peer:
        assert get(f"{peer.url}/v1/organization/costs?{query}", OPENAI)[0] == 400
        assert get(f"{peer.url}/v1/organization/costs?{SECONDS}", {})[0] == 401
        assert get(f"{peer.url}/v1/organization/elsewhere?{SECONDS}", OPENAI)[0] == 404


@pytest.mark.parametrize(
    "query",
    [
        f"{INSTANTS}&group_by[]=api_key_id",
        f"{INSTANTS}&limit=32",
        f"{INSTANTS}&bucket_width=1m",
        f"{INSTANTS}&bucket_width=2d",
        "starting_at=x",
    ],
)
def test_anthropic_refuses_what_it_does_not_document(query: str) -> None:
    """Costs are by workspace and description, by day, at most 31 a page; analytics need their beta header."""
    with AnthropicReportsPeer(BOOKS) as peer:
        assert get(f"{peer.url}/v1/organizations/cost_report?{query}", ANTHROPIC)[0] == 400
        plain = {name: value for name, value in ANTHROPIC.items() if name != "anthropic-beta"}
        assert get(f"{peer.url}/v1/organizations/analytics/cost?{INSTANTS}", plain)[0] == 404
        assert get(f"{peer.url}/v1/organizations/cost_report?{INSTANTS}", OPENAI)[0] == 401


@pytest.mark.parametrize(("width", "most", "inside"), [("1m", 1440, 4320), ("1h", 168, 72), ("1d", 31, 3)])
def test_usage_is_by_minute_hour_or_day(width: str, most: int, inside: int) -> None:
    """Each width has its longest page and its number of buckets, and all of them hold the same tokens."""
    with OpenAiReportsPeer(BOOKS) as openai, AnthropicReportsPeer(BOOKS) as anthropic:
        for url, headers, name, count in (
            (f"{openai.url}/v1/organization/usage/completions?{SECONDS}", OPENAI, "output_tokens", 5),
            (f"{anthropic.url}/v1/organizations/usage_report/messages?{INSTANTS}", ANTHROPIC, "output_tokens", 5),
        ):
            assert get(f"{url}&bucket_width={width}&limit={most + 1}", headers)[0] == 400
            found, cursor = [], ""
            while cursor is not None:
                status, page = get(f"{url}&bucket_width={width}&limit={most}{cursor}", headers)
                assert status == 200, page
                found += page["data"]
                cursor = f"&page={page['next_page']}" if page["has_more"] else None
            assert len(found) == inside and sum(one[name] for bucket in found for one in bucket["results"]) == count


def test_openrouter_wants_a_day() -> None:
    """A date that is none is answered with 400."""
    with OpenRouterReportsPeer(BOOKS) as peer:
        assert get(f"{peer.url}/api/v1/activity?date=2026-11-03", OPENAI)[1]["data"][0]["usage"] == 0.123456796
        assert get(f"{peer.url}/api/v1/activity?date=today", OPENAI)[0] == 400
