"""Refusals in OpenAI's error shape.

OpenAI's client libraries show callers the inner `error` object as the error's body, so everything Remit has to say
stands in `error.remit`.
"""

from datetime import UTC, datetime
from typing import Any

import msgspec

from remit.kernel.decisions import RefusalCode, Refused

_UNITS = {"usd": "nanousd", "tokens": "tokens", "requests": "requests"}


def openai_error(refused: Refused, *, request_id: str, decision_id: str | None = None) -> bytes:
    """The JSON body of a refusal. Amounts are integers in `unit`, instants RFC 3339 in UTC; unknown fields are null."""
    remit: dict[str, Any] = {
        "code": refused.code.name,
        "status": refused.status,
        "transient": refused.transient,
        "title": refused.code.title,
        "detail": refused.detail,
        "path": refused.path,
        "binding_node": refused.binding_node,
        "dimension": refused.dimension,
        "unit": _UNITS.get(refused.dimension or ""),
        "period": refused.period,
        "limit": refused.limit,
        "posted": refused.posted,
        "held": refused.held,
        "required": refused.required,
        "resets_at": None if refused.resets_at is None else _rfc3339(refused.resets_at),
        "retry_after_seconds": refused.retry_after_seconds,
        "owner": refused.owner,
        "renew_url": refused.renew_url,
        "policy_ids": list(refused.policy_ids),
        "decision_id": decision_id,
        "request_id": request_id,
    }
    remit |= {name: value for name, value in refused.extra.items() if name not in remit}
    error = {
        "message": refused.detail,
        "type": _error_type(refused),
        "code": refused.code.name,
        "param": None,
        "remit": remit,
    }
    return msgspec.json.encode({"error": error})


def _error_type(refused: Refused) -> str:
    """The nearest of OpenAI's own error types."""
    if refused.code is RefusalCode.grant_exhausted:
        return "insufficient_quota"
    types = {
        400: "invalid_request_error",
        401: "authentication_error",
        403: "permission_error",
        429: "rate_limit_error",
        503: "service_unavailable_error",
    }
    return types.get(refused.status, "invalid_request_error" if refused.status < 500 else "server_error")


def _rfc3339(instant: datetime) -> str:
    return instant.astimezone(UTC).isoformat().replace("+00:00", "Z")
