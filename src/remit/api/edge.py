"""What happens to every request before and after the application: id, time limit, paths in paths, one log line."""

import asyncio
import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import unquote

import structlog

from remit.api.problems import PROBLEM_JSON, Refusal, problem_body, refuse
from remit.grants.model import Actor
from remit.kernel.clock import Clock
from remit.kernel.ids import new_id
from remit.kernel.secret_texts import without_secrets

_log = structlog.get_logger(__name__)
BODY_SECONDS = 30.0

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Any, Any, Any], Awaitable[None]]
_SLASH = re.compile(rb"%2[fF]")


class BodyTooSlowError(Exception):
    """The body did not arrive in time."""


class Edge:
    """Wraps the application. Lifespan events pass through."""

    def __init__(self, app: Application, clock: Clock, body_seconds: float = BODY_SECONDS) -> None:
        self._app = app
        self._clock = clock
        self._body_seconds = body_seconds

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = self._clock.monotonic()
        request_id = new_id("req", self._clock.now())
        scope["remit_request_id"] = request_id
        if _SLASH.search(scope["raw_path"]):
            # A path of a grant is one segment of ours, its slashes written as %2F; they must survive decoding.
            scope["path"] = unquote(_SLASH.sub(b"%252F", scope["raw_path"]).decode("latin-1"))
        answered = _Answered(send, request_id)
        try:
            await self._app(scope, _limited(receive, self._body_seconds), answered.send)
        except BodyTooSlowError:
            await _too_slow(answered, request_id)
        finally:
            user = scope.get("user")
            _log.info(
                "api_request",
                request_id=request_id,
                method=scope["method"],
                path=without_secrets(scope["path"]),
                status=answered.status,
                milliseconds=round((self._clock.monotonic() - started) * 1000),
                person=user.name if isinstance(user, Actor) else None,
            )


class _Answered:
    """Adds the request's id to the answer and remembers its status."""

    def __init__(self, send: Send, request_id: str) -> None:
        self._send = send
        self._request_id = request_id
        self.status: int | None = None

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            own = [(b"x-request-id", self._request_id.encode()), (b"cache-control", b"no-store")]
            message["headers"] = [*message.get("headers", ()), *own]
        await self._send(message)


def _limited(receive: Receive, seconds: float) -> Receive:
    """Messages of a body that has to be here within so many seconds of its first byte being asked for."""
    deadline: float | None = None
    whole = False

    async def limited() -> Message:
        nonlocal deadline, whole
        if whole:
            return await receive()
        now: Callable[[], float] = asyncio.get_running_loop().time
        deadline = deadline or now() + seconds
        try:
            async with asyncio.timeout_at(deadline):
                message = await receive()
        except TimeoutError:
            raise BodyTooSlowError from None
        whole = message["type"] != "http.request" or not message.get("more_body", False)
        return message

    return limited


async def _too_slow(answered: _Answered, request_id: str) -> None:
    if answered.status is not None:
        return
    refusal: Refusal = refuse("request_timeout", "the body did not arrive in time", status=408)
    headers = [(b"content-type", PROBLEM_JSON.encode()), (b"connection", b"close")]
    await answered.send({"type": "http.response.start", "status": 408, "headers": headers})
    body = problem_body(refusal, request_id)
    await answered.send({"type": "http.response.body", "body": body, "more_body": False})
