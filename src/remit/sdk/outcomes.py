"""Outcomes for systems of record: an event as a CloudEvent, and sending events to the control plane.

Whoever spends does not assert: what is presented is a person token with the scope `outcomes:assert`, never a capability.
"""

import json
import os
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, Literal
from urllib.parse import urlsplit

from remit.kernel.clock import SystemClock

EVENT_TYPE: Final = "remit.outcome.v1"
API_URL: Final = "REMIT_API_URL"
API_TOKEN: Final = "REMIT_API_TOKEN"  # noqa: S105 - the name of a variable
_BATCH: Final = "application/cloudevents-batch+json"
_LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")
_MAX_ANSWER: Final = 4 * 1024 * 1024


class OutcomeError(Exception):
    """Events were not recorded, none of them. `status` and `code` are None where the control plane did not answer."""

    def __init__(self, detail: str, status: int | None = None, code: str | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code


def outcome_event(
    kind: str,
    subject: str,
    status: Literal["success", "failure", "pending", "reversed"],
    *,
    source: str,
    id: str,  # noqa: A002 - what the attribute of the event is called
    grant: str,
    time: datetime | None = None,
    operations: Sequence[str] = (),
    traces: Sequence[str] = (),
    tags: Mapping[str, str] | None = None,
    window: tuple[datetime, datetime] | None = None,
    value_nanousd: int | None = None,
    evidence_url: str | None = None,
    weight_ppm: int | None = None,
) -> dict[str, Any]:
    """A CloudEvent (1.0, JSON-able) that says what came of `subject`. The same `source` and `id` are recorded once.

    `time` is when it happened: now, if left out; give it where the event may be sent again, as another time is another event.
    Raises ValueError for an instant without an offset.
    """
    happened = SystemClock().now() if time is None else time
    instants = [happened, *(window or ())]
    if any(one.utcoffset() is None for one in instants):
        raise ValueError("an instant needs an offset: give aware datetimes")
    data: dict[str, Any] = {"kind": kind, "status": status, "grant": grant}
    stated = {
        "operations": list(operations),
        "traces": list(traces),
        "tags": dict(tags or {}),
        "window": None if window is None else {"since": window[0].isoformat(), "until": window[1].isoformat()},
        "value_nanousd": value_nanousd,
        "evidence_url": evidence_url,
        "weight_ppm": weight_ppm,
    }
    data |= {name: value for name, value in stated.items() if value not in (None, [], {})}
    return {
        "specversion": "1.0",
        "type": EVENT_TYPE,
        "source": source,
        "id": id,
        "subject": subject,
        "time": happened.isoformat(),
        "datacontenttype": "application/json",
        "data": data,
    }


def send_outcomes(
    events: Sequence[Mapping[str, Any]], *, url: str | None = None, token: str | None = None, timeout: float = 10
) -> list[dict[str, Any]]:
    """Sends up to 1,000 events, which are recorded all or none; what became of each. Sent again they are recorded once.

    `url` is the control plane's, else $REMIT_API_URL; `token` else $REMIT_API_TOKEN. Raises OutcomeError.
    """
    import urllib.error
    import urllib.request

    class NoRedirects(urllib.request.HTTPRedirectHandler):
        """The token goes where it was meant to."""

        def redirect_request(self, *_: Any, **__: Any) -> None:
            return None

    base = (url or os.environ.get(API_URL, "")).rstrip("/").removesuffix("/v1")
    shown = token or os.environ.get(API_TOKEN, "")
    parts = urlsplit(base)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _LOOPBACK):
        raise OutcomeError(f"give `url`, or set {API_URL}, to the control plane's: https, or http on loopback")
    if not shown.isascii() or not shown.isprintable() or not shown:
        raise OutcomeError(f"give `token`, or set {API_TOKEN}, to a token with the scope `outcomes:assert`")
    request = urllib.request.Request(  # noqa: S310 - the scheme was looked at
        f"{base}/v1/outcomes",
        data=json.dumps(list(events)).encode(),
        headers={"authorization": f"Bearer {shown}", "content-type": _BATCH},
        method="POST",
    )
    try:
        with urllib.request.build_opener(NoRedirects).open(request, timeout=timeout) as answer:
            recorded = json.loads(answer.read(_MAX_ANSWER))["events"]
    except urllib.error.HTTPError as error:
        raise _refused(error.code, error.read(_MAX_ANSWER)) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise OutcomeError(f"the control plane did not answer: {error}") from error
    assert isinstance(recorded, list)
    return recorded


def _refused(status: int, body: bytes) -> OutcomeError:
    try:
        problem = json.loads(body)
        return OutcomeError(str(problem["detail"]), status, str(problem["code"]))
    except (ValueError, KeyError, TypeError):
        return OutcomeError(f"the answer was {status} and no problem of the control plane's", status)
