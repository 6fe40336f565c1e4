"""What every answer carries: request and decision ids, cost, what is left; and refusals in the surface's shape."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import msgspec

from remit.capabilities.proofs import ALGORITHMS
from remit.gateway.wire.head import Headers
from remit.kernel.decisions import RefusalCode, Refused
from remit.leases.ports import Tightest
from remit.providers.openai import openai_error

if TYPE_CHECKING:
    from remit.gateway.watching import Seen

JSON = (b"content-type", b"application/json")
# Client libraries retry 429 by themselves; beyond this wait that only makes noise.
RETRY_WORTHWHILE_SECONDS = 60
_NO_PATHS: Mapping[str, str] = MappingProxyType({})
COST = b"remit-cost-nanousd"
REMAINING = {
    "usd": b"remit-remaining-nanousd",
    "tokens": b"remit-remaining-tokens",
    "requests": b"remit-remaining-requests",
}
BINDING_NODE = b"remit-binding-node"
_BY_PROOF = b'DPoP algs="%b"' % " ".join(ALGORITHMS).encode()
MONEY_TRAILERS = b", ".join((COST, REMAINING["usd"], BINDING_NODE))


@dataclass(frozen=True, slots=True)
class Ids:
    """The names of one request: ours, the decision's, and the caller's operation, which its retries share, and trace.

    `operation` is empty until the holder is known. `attempt` is which of its attempts this is, from 1, and None where that is not
    known; `trace` is None where the caller names none. `seen` gathers what is told to who watches, None where nobody does.
    """

    request: str
    decision: str
    operation: str = ""
    attempt: int | None = None
    trace: str | None = None
    seen: "Seen | None" = None

    def headers(self) -> Headers:
        return [(b"x-request-id", self.request.encode()), (b"remit-decision-id", self.decision.encode())]


def money_headers(cost_nanousd: int, tightest: Tightest | None, paths: Mapping[str, str] = _NO_PATHS) -> Headers:
    """The cost of this call, what the limit with the least left has left, both in nano-USD, and whose limit that is.

    `paths` are the nodes' names by id.
    """
    headers: Headers = [(COST, b"%d" % cost_nanousd)]
    if tightest is not None:
        headers.append((REMAINING["usd"], b"%d" % tightest.remaining))
        headers.append((BINDING_NODE, paths.get(tightest.node_id, tightest.node_id).encode()))
    return headers


def refusal(refused: Refused, ids: Ids, renew_url: str | None, cost_nanousd: int = 0) -> tuple[int, Headers, bytes]:
    """Status, headers and body of a refusal on the OpenAI surface. `renew_url` may contain `{path}`.

    Only a call that was cut has a cost: what was booked for it.
    """
    if renew_url is not None and refused.path is not None and refused.renew_url is None:
        refused = replace(refused, renew_url=renew_url.replace("{path}", quote(refused.path, safe="")))
    headers = [*ids.headers(), JSON, (b"remit-refused", refused.code.name.encode()), (COST, b"%d" % cost_nanousd)]
    if refused.dimension is not None and refused.limit is not None:
        left = max(0, refused.limit - (refused.posted or 0) - (refused.held or 0))
        headers.append((REMAINING[refused.dimension], b"%d" % left))
    if refused.binding_node is not None:
        headers.append((BINDING_NODE, refused.binding_node.encode()))
    wait = refused.retry_after_seconds
    if wait is not None:
        headers.append((b"retry-after", b"%d" % wait))
    if not refused.transient or (wait is not None and wait > RETRY_WORTHWHILE_SECONDS):
        headers.append((b"x-should-retry", b"false"))
    if refused.status == 401:
        scheme = _BY_PROOF if refused.code is RefusalCode.proof_required else b"Bearer"
        headers.append((b"www-authenticate", scheme))
    return refused.status, headers, openai_error(refused, request_id=ids.request, decision_id=ids.decision)


def unreadable(status: int, reason: str, ids: Ids) -> tuple[Headers, bytes]:
    """What the wire answers by itself: to what is no request, to one that came too slowly, and where it is overloaded."""
    if status >= 500:
        code = "gateway_overloaded" if status == 503 else "gateway_failed"
        _, headers, body = failure(status, code, reason, ids, money_headers(0, None), retry=status == 503)
        return headers, body
    # Whoever was too slow may well try again.
    refused = Refused(code=RefusalCode.malformed_request, status=status, detail=reason, transient=status == 408)
    _, headers, body = refusal(refused, ids, renew_url=None)
    return headers, body


def failure(
    status: int, code: str, detail: str, ids: Ids, money: Sequence[tuple[bytes, bytes]], *, retry: bool = False
) -> tuple[int, Headers, bytes]:
    """A failure of a vendor (502) or of ours (500, 503). Not a refusal: the call may have cost money.

    `retry` leaves it to client libraries to try again: only where nothing was sent. Otherwise a retry is a second call
    that may be charged too, and the caller's decision, not their library's.
    """
    body = _server_error(code, detail, remit={"request_id": ids.request, "decision_id": ids.decision})
    headers = [*ids.headers(), JSON, *money]
    return status, headers if retry else [*headers, (b"x-should-retry", b"false")], body


def no_json(status: int) -> bytes:
    """The body for an answer of the vendor's that is no JSON: a page of some proxy, mostly."""
    detail = f"the vendor answered {status} with something that is not JSON"
    return _server_error("vendor_failed", detail)


def _server_error(code: str, detail: str, **more: Any) -> bytes:
    return msgspec.json.encode(
        {"error": {"message": detail, "type": "server_error", "code": code, "param": None, **more}}
    )
