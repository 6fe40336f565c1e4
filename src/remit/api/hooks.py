"""The routes at which other systems say what people did there. No person token: each request is signed."""

from typing import Annotated, Final

import msgspec
from litestar import Response, post
from litestar.concurrency import sync_to_thread
from litestar.params import PathParameter

from remit.api.bodies import StrictRequest
from remit.api.params import Injected
from remit.api.problems import problem_responses, refuse

MAX_HOOK_BYTES: Final = 512 * 1024
KINDS: Final = ("slack", "github", "jira")
Kind = Annotated[str, PathParameter(description="`slack`, `github` or `jira`")]


@post(
    "/v1/hooks/{kind:str}",
    exclude_from_auth=True,
    status_code=200,
    request_max_body_size=MAX_HOOK_BYTES,
    responses=problem_responses(400, 401, 404, 408, 413, 503),
    tags=["channels"],
)
async def hear(kind: Kind, request: StrictRequest, services: Injected) -> Response[bytes]:
    """Hears what somebody did in Slack, GitHub or Jira; the signature is verified over the body as it comes."""
    if kind not in KINDS or services.hearing is None:
        raise refuse("unknown_route", "there is no such route", status=404)
    headers: dict[str, str] = {}
    for name, value in request.headers.multi_items():
        # Which of two signatures counts is not ours to choose: neither does.
        headers[name.lower()] = "" if name.lower() in headers else value
    answer = await sync_to_thread(services.hearing.receive, kind, headers, await request.body())
    if answer.status != 200:
        code = {400: "malformed_request", 401: "unauthenticated"}.get(answer.status, "authority_unreachable")
        raise refuse(code, answer.word, status=answer.status)
    # Slack shows what it is answered where it can; an empty body means that the press was taken.
    content = b"" if kind == "slack" else msgspec.json.encode({"status": answer.word})
    return Response(content, status_code=200, media_type="application/json")
