"""Books as OpenRouter reports them: by day, model and endpoint, one amount for all kinds."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from remit.testing.vendor_reports.books import BookRow, costs, dollars, grouped, used


def openrouter_activity(rows: Iterable[BookRow], day: datetime) -> list[dict[str, Any]]:
    """Items of `GET /api/v1/activity` of one UTC day."""
    of_day = (row for row in rows if row.day == day)
    return [
        {
            "date": f"{day:%Y-%m-%d}",
            "model": model,
            "model_permaslug": model,
            "endpoint_id": "endpoint-1",
            "provider_name": "Provider",
            "usage": dollars(sum(costs(found).values())),
            "byok_usage_inference": 0,
            "requests": sum(row.requests for row in found),
            "prompt_tokens": used(found, "input", "cache_read", "cache_write", "cache_write_1h", "input_audio"),
            "completion_tokens": used(found, "output", "output_audio"),
            "reasoning_tokens": 0,
        }
        for (model,), found in grouped(of_day, lambda row: (row.model,))
    ]
