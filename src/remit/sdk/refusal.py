"""Refusals as exceptions: what the gateway answered, with its numbers, from whichever client library brought it."""

from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from types import TracebackType
from typing import Any, Final, Self


class Refusal(Exception):  # noqa: N818 - an answer of the rules, not a fault
    """The gateway said no. Amounts are integers in the dimension's unit: nano-USD, tokens or requests; unknown is None.

    `binding_node` is whose limit it was: a grant's path, with `#` and the first digits of a block's id for a block of the
    capability. `fields` is all the gateway said, what this version does not know included.
    """

    code: str
    status: int
    transient: bool
    detail: str
    path: str | None
    binding_node: str | None
    dimension: str | None
    period: str | None
    limit: int | None
    posted: int | None
    held: int | None
    required: int | None
    resets_at: datetime | None
    retry_after_seconds: int | None
    owner: str | None
    renew_url: str | None
    decision_id: str | None
    request_id: str | None
    fields: Mapping[str, Any]

    def __init__(self, fields: Mapping[str, Any], status: int = 0) -> None:
        super().__init__()
        _describe(self, fields, status)

    def __reduce__(self) -> tuple[Any, ...]:
        # A client library's own part has a connection in it; what the gateway said is what can travel.
        return _refusal, (dict(self.fields), self.status)


def _describe(refusal: Refusal, fields: Mapping[str, Any], status: int) -> None:
    """Takes what can be used and lets the rest be: a newer gateway may say more, or it otherwise."""
    refusal.fields = dict(fields)
    refusal.code = str(fields.get("code"))
    refusal.status = _integer(fields.get("status")) or status
    refusal.transient = fields.get("transient") is True
    refusal.detail = _text(fields.get("detail")) or _text(fields.get("title")) or refusal.code
    for name in ("path", "binding_node", "dimension", "period", "owner", "renew_url", "decision_id", "request_id"):
        setattr(refusal, name, _text(fields.get(name)))
    for name in ("limit", "posted", "held", "required", "retry_after_seconds"):
        setattr(refusal, name, _integer(fields.get(name)))
    refusal.resets_at = None
    if (instant := _text(fields.get("resets_at"))) is not None:
        with suppress(ValueError):
            refusal.resets_at = datetime.fromisoformat(instant)
    refusal.args = (f"{refusal.code}: {refusal.detail}",)


class BudgetExhausted(Refusal):
    """A limit is used up: `binding_node` says whose, `resets_at` when it refills, if it does by itself."""


class RateLimited(Refusal):
    """Too much in too short a time; `retry_after_seconds` says when again."""


class Paced(Refusal):
    """Spending is spread over what is left of the period; `retry_after_seconds` says when again."""


class CapabilityRejected(Refusal):
    """What was presented authorises nothing (401): no new attempt with it will."""


class CapabilityExpired(CapabilityRejected):
    """The capability's time is up."""


class CapabilityRevoked(CapabilityRejected):
    """The capability, a block above it or its grant was revoked."""


class ProofRequired(CapabilityRejected):
    """The capability needs a proof of possession with each request."""


class NotAllowed(Refusal):
    """The grant or the capability does not allow this (403): a model, a surface, a class, a policy."""


class Unacceptable(Refusal):
    """The request itself is at fault (400): malformed, too large, or without required tags."""


class Unavailable(Refusal):
    """The authority or a deployment is not there for now (503)."""


_BY_CODE: Final[Mapping[str, type[Refusal]]] = {
    "grant_exhausted": BudgetExhausted,
    "rate_limited": RateLimited,
    "paced": Paced,
    "capability_expired": CapabilityExpired,
    "capability_revoked": CapabilityRevoked,
    "proof_required": ProofRequired,
}
# Every other code, and every code to come.
_BY_STATUS: Final[Mapping[int, type[Refusal]]] = {
    400: Unacceptable,
    401: CapabilityRejected,
    403: NotAllowed,
    503: Unavailable,
}


_PAIRS: Final[dict[tuple[type, type], type[Refusal]]] = {}


def refusal_of(said: object) -> Refusal | None:
    """The refusal in an exception or a response of openai, anthropic, httpx or the like, or in a body; None for any other.

    A response that is streamed and not read yet is read, where that can be done without waiting for an event loop.
    """
    if isinstance(said, Refusal):
        return said
    fields = _fields(said)
    if fields is None:
        return None
    response = said if hasattr(said, "status_code") else getattr(said, "response", None)
    return _refusal(fields, _integer(getattr(response, "status_code", None)) or 0)


def combined(error: Exception) -> Exception:
    """A client library's error as one that is a Refusal as well, so that either `except` catches it; or the error itself."""
    found = refusal_of(error)
    if found is None or found is error:
        return error
    both = _both(type(found), type(error))
    made: Refusal = both.__new__(both)
    # Its own constructors want what they made this of; the result is what counts.
    vars(made).update(vars(error))
    _describe(made, found.fields, found.status)
    return made


def _both(refusal: type[Refusal], error: type[Exception]) -> type[Refusal]:
    """One class for each pair, so that two errors of one kind are of one type."""
    made = _PAIRS.get((refusal, error))
    if made is None:
        parts = {"__module__": refusal.__module__, "__doc__": refusal.__doc__}
        made = _PAIRS.setdefault((refusal, error), type(refusal.__name__, (refusal, error), parts))
    return made


class refusals:  # noqa: N801 - reads as the function it is
    """`with remit.refusals():` (or `async with`) raises refusals as `Refusal`, from the client library's own error."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        found = refusal_of(error) if isinstance(error, Exception) else None
        if found is not None and found is not error:
            raise found from error

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        response = getattr(error, "response", None)
        if response is not None and _unread(response) and hasattr(response, "aread"):
            await response.aread()
        self.__exit__(kind, error, trace)


def _refusal(fields: Mapping[str, Any], status: int) -> Refusal:
    status = _integer(fields.get("status")) or status
    kind = _BY_CODE.get(str(fields.get("code"))) or _BY_STATUS.get(status, Refusal)
    return kind(fields, status)


def _fields(said: object) -> Mapping[str, Any] | None:
    """The `remit` object with a code, wherever it stands: in a body, an error of a body, a response or an exception."""
    if isinstance(said, Mapping):
        inner = said.get("remit")
        if isinstance(inner, Mapping):
            return inner if isinstance(inner.get("code"), str) else None
        return _fields(said["error"]) if isinstance(said.get("error"), Mapping) else None
    body = getattr(said, "body", None)
    if isinstance(body, Mapping):
        return _fields(body)
    response = said if hasattr(said, "status_code") else getattr(said, "response", None)
    if response is None or not hasattr(response, "json"):
        return None
    try:
        # One for asyncio says RuntimeError here: its reader is `async with refusals()`. So does one that was closed unread.
        if _unread(response) and hasattr(response, "read"):
            response.read()
        document = response.json()
    except (ValueError, RuntimeError):
        return None
    return _fields(document) if isinstance(document, Mapping) else None


def _unread(response: Any) -> bool:
    return hasattr(response, "is_stream_consumed") and not hasattr(response, "_content") and not response.is_closed


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _integer(value: object) -> int | None:
    return value if type(value) is int else None
