"""A grant as plain JSON-able data and back, for revisions, remembered answers and the API.

Amounts are integers as in the model, instants are ISO 8601 in UTC with `Z`, the class is under `class`.
"""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from remit.grants.model import (
    Boundary,
    Delegation,
    Envelope,
    Grant,
    Limit,
    OnExhausted,
    Overdraft,
    Rate,
    Renewal,
    Scope,
    Shape,
)


class InvalidBodyError(ValueError):
    """The data is not the body of a grant."""


def to_body(grant: Grant) -> dict[str, Any]:
    """The whole grant; `from_body` is the exact inverse."""
    return {("class" if name == "grant_class" else name): to_plain(value) for name, value in asdict(grant).items()}


def to_plain(value: Any) -> Any:
    """JSON-able form of any value that stands in a grant."""
    if isinstance(value, datetime):
        return format_instant(value)
    if isinstance(value, tuple | list):
        return [to_plain(item) for item in value]
    if isinstance(value, dict):
        return {name: to_plain(item) for name, item in value.items()}
    return value


def format_instant(instant: datetime) -> str:
    """ISO 8601 in UTC with `Z`, microseconds only where they are not zero."""
    return instant.astimezone(UTC).isoformat().replace("+00:00", "Z")


def from_body(body: Mapping[str, Any]) -> Grant:
    """The grant of a body. Raises InvalidBodyError for a missing, unknown or unreadable field."""
    try:
        fields = dict(body)
        on_exhausted = dict(fields.pop("on_exhausted"))
        overdraft = fields.pop("overdraft")
        data_classes = fields.pop("data_classes")
        return Grant(
            grant_class=fields.pop("class"),
            starts_at=_instant(fields.pop("starts_at")),
            expires_at=_instant(fields.pop("expires_at")),
            scope=Scope(**fields.pop("scope")),
            limits=tuple(Limit(**limit) for limit in fields.pop("limits")),
            rate=Rate(**fields.pop("rate")),
            shape=Shape(**{name: _tuple(value) for name, value in fields.pop("shape").items()}),
            data_classes=None if data_classes is None else tuple(data_classes),
            required_tags=tuple(fields.pop("required_tags")),
            delegation=_delegation(fields.pop("delegation")),
            on_exhausted=OnExhausted(**{name: _tuple(value) for name, value in on_exhausted.items()}),
            overdraft=None if overdraft is None else Overdraft(**overdraft),
            renewal=Renewal(**fields.pop("renewal")),
            **fields,
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InvalidBodyError(f"not the body of a grant: {error}") from error


def _delegation(body: Mapping[str, Any]) -> Delegation:
    # Bodies from before there were boundaries say nothing of them.
    boundary = body.get("boundary")
    if boundary is None:
        return Delegation(**body)
    parts = {name: _tuple(value) for name, value in boundary.items()}
    if parts.get("auto_approve") is not None:
        parts["auto_approve"] = Envelope(**parts["auto_approve"])
    return Delegation(**{**body, "boundary": Boundary(**parts)})


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _instant(text: str) -> datetime:
    instant = datetime.fromisoformat(text)
    if instant.tzinfo is None:
        raise InvalidBodyError(f"`{text}` has no offset")
    return instant.astimezone(UTC)
