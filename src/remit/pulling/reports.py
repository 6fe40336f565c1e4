"""The reports there are: where they are asked for, by what they are grouped, and how long a page is."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

Paging = Literal["openai", "anthropic", "days"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One report. `groupings` are tried in turn where one is answered with 400. An `optional` one may be missing.

    `days_at_once` is the longest range that one question may have.
    """

    source: str
    path: str
    paging: Paging
    groupings: tuple[tuple[str, ...], ...] = ((),)
    buckets: int = 31
    days_at_once: int = 100_000
    optional: bool = False
    headers: Mapping[str, str] | None = None


_KEYS: Final = ("project_id", "api_key_id")
_MODELS: Final = (*_KEYS, "model")
_USAGE: Final[Mapping[str, tuple[tuple[str, ...], ...]]] = {
    "completions": ((*_MODELS, "batch", "service_tier"), (*_MODELS, "batch")),
    "embeddings": (_MODELS,),
    "moderations": (_MODELS,),
    "images": (_MODELS,),
    "audio_speeches": (_MODELS,),
    "audio_transcriptions": (_MODELS,),
    "vector_stores": (("project_id",),),
    "code_interpreter_sessions": (("project_id",),),
    "web_search_calls": (_MODELS, _KEYS),
    "file_search_calls": (_KEYS,),
    "decisions": (_MODELS,),
}
# Named in OpenAI's SDK but not in its published document.
_RECENT: Final = frozenset({"web_search_calls", "file_search_calls", "decisions"})
_OPENAI: Final = (
    Report(
        source="openai.costs",
        path="/v1/organization/costs",
        paging="openai",
        groupings=(("project_id", "line_item", "api_key_id"), ("project_id", "line_item")),
        buckets=180,
    ),
    *(
        Report(
            source=f"openai.usage_{name}",
            path=f"/v1/organization/usage/{name}",
            paging="openai",
            groupings=groupings,
            optional=name in _RECENT,
        )
        for name, groupings in _USAGE.items()
    ),
)
_ANTHROPIC: Final = (
    Report(
        source="anthropic.usage_messages",
        path="/v1/organizations/usage_report/messages",
        paging="anthropic",
        groupings=(("api_key_id", "workspace_id", "model", "service_tier", "context_window", "inference_geo"),),
    ),
    Report(
        source="anthropic.cost_report",
        path="/v1/organizations/cost_report",
        paging="anthropic",
        groupings=(("workspace_id", "description"),),
    ),
    Report(
        source="anthropic.analytics_cost",
        path="/v1/organizations/analytics/cost",
        paging="anthropic",
        groupings=(
            ("api_key_id", "workspace_id", "model", "token_type", "service_tier"),
            ("api_key_id", "workspace_id", "model"),
        ),
        days_at_once=31,
        optional=True,
        headers={"anthropic-beta": "analytics-usage-cost-2026-08-24"},
    ),
)
_OPENROUTER: Final = (Report(source="openrouter.activity", path="/api/v1/activity", paging="days"),)
REPORTS: Final[Mapping[str, tuple[Report, ...]]] = {
    "openai": _OPENAI,
    "anthropic": _ANTHROPIC,
    "openrouter": _OPENROUTER,
}
