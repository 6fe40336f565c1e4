"""What goes wrong on purpose, one function for each mode of a script."""

from typing import TYPE_CHECKING, Final

from remit.testing.vendor_sim import wire
from remit.testing.vendor_sim.generation import Refusal

if TYPE_CHECKING:
    from remit.testing.vendor_sim.call import Call

_DRIP_MS: Final = 10
_GARBAGE_BYTES: Final = 300
_CODES: Final = {
    400: ("Invalid request.", None),
    401: ("Incorrect API key provided: sk-sim.", "invalid_api_key"),
    404: ("The requested resource was not found.", "not_found"),
    429: ("Rate limit reached.", "rate_limit_exceeded"),
}


def play(call: "Call") -> None:
    """Answer a call in the way its script's fault says."""
    script = call.work.script
    if script.error is not None:
        _error(call, script.error)
        return
    mode = script.mode.partition(":")[0]
    match mode:
        case "hang":
            if script.billed:
                call.bill(outcome="aborted", status=None)
            call.hang()
        case "close_before_head" | "reset_before_head":
            if script.billed:
                call.bill(outcome="aborted", status=None)
            _cut(call, reset=mode == "reset_before_head")
        case "reset_after_chunks" | "truncated":
            _cut_midway(call, reset=mode == "reset_after_chunks")
        case "error_after_chunks":
            _error_midway(call)
        case "garbage" | "garbage_head":
            _garbage(call, with_head=mode == "garbage")
        case "slow_drip":
            _drip(call)
        case _:
            raise AssertionError(mode)


def _error(call: "Call", status: int) -> None:
    script = call.work.script
    if script.billed:
        call.bill(outcome="error_billed", status=status)
    message, code = _CODES.get(status, ("The server had an error while processing your request.", None))
    extra = b"" if script.retry_after_ms is None else b"retry-after-ms: %d\r\n" % script.retry_after_ms
    call.send(status, wire.JSON_TYPE, wire.error_body(Refusal(status, message, code=code)), extra=extra)


def _cut(call: "Call", *, reset: bool) -> None:
    call.cancel()
    if reset:
        call.connection.reset()
    else:
        call.connection.drop()


def _bill_aborted(call: "Call") -> None:
    if call.work.script.billed is not False:
        call.bill(outcome="aborted")


def _cut_midway(call: "Call", *, reset: bool) -> None:
    """Stop in the middle of the body: after some steps of a stream, after half of a JSON answer."""

    def end() -> None:
        _bill_aborted(call)
        if not reset:
            call.write_event(b'data: {"id":"chatcmpl-')  # an event that never ends
        _cut(call, reset=reset)

    if call.work.stream:
        call.start_stream(steps=call.work.script.mode_argument(1), ending=end)
        return
    body = wire.completion_json(call.work, call.request_id, call.created)
    call.write(wire.head(200, wire.JSON_TYPE, len(body), call.request_id) + body[: len(body) // 2])
    _bill_aborted(call)
    _cut(call, reset=reset)


def _error_midway(call: "Call") -> None:
    """End a stream with an error event, as OpenAI does when it fails after the head."""
    if not call.work.stream:
        _error(call, 500)
        return

    def end() -> None:
        if call.work.script.billed is not False:
            call.bill(outcome="error_billed")
        error = wire.error_body(Refusal(500, "The server had an error while processing your request."))
        call.write_event(b"data: " + error + b"\n\n")
        call.write(call.last_frame())
        call.finish()

    call.start_stream(steps=call.work.script.mode_argument(1), ending=end)


def _garbage(call: "Call", *, with_head: bool) -> None:
    """Bytes that mean nothing: as the body of a valid answer, or in the place of the whole answer."""
    noise = call.sim.random.randbytes(_GARBAGE_BYTES)
    _bill_aborted(call)
    if with_head:
        call.send(200, b"text/event-stream" if call.work.stream else wire.JSON_TYPE, noise)
    else:
        call.write(b"\x00" + noise)
        _cut(call, reset=False)


def _drip(call: "Call") -> None:
    """Send a right answer in pieces with pauses between them; billed when the last piece is due."""
    script = call.work.script
    if call.work.stream:
        writer = wire.StreamWriter(call.work, call.request_id, call.created)
        text = writer.opening() + (writer.step(0, call.work.visible_tokens) if call.work.visible_tokens else b"")
        body = text + writer.end()
        content_type = b"text/event-stream"
    else:
        body = wire.completion_json(call.work, call.request_id, call.created)
        content_type = wire.JSON_TYPE
    answer = wire.head(200, content_type, len(body), call.request_id) + body
    pieces = max(1, script.mode_argument(10))
    size = -(-len(answer) // pieces)
    pause_seconds = max(script.chunk_ms, _DRIP_MS) / 1000

    def send_from(start: int) -> None:
        if start + size < len(answer):
            call.write(answer[start : start + size])
            call.later(pause_seconds, send_from, start + size)
            return
        if script.billed is not False:
            call.bill()
        call.write(answer[start:])
        call.finish()

    send_from(0)
