"""Bytes of OpenAI's wire format: heads, JSON bodies, stream chunks and errors."""

import msgspec

from remit.testing.vendor_sim.generation import Generation, Refusal
from remit.testing.vendor_sim.prices import BilledTokens
from remit.testing.vendor_sim.script import words

JSON_TYPE = b"application/json"
DONE = b"data: [DONE]\n\n"
_BYTES_PER_WORD = 4
_WORD_CYCLE = 8
_TEXT = words(20_000).encode()
_FINGERPRINT = b'"system_fingerprint":"fp_remit_sim"'
_REASONS = {
    200: b"OK", 400: b"Bad Request", 401: b"Unauthorized", 403: b"Forbidden", 404: b"Not Found",
    405: b"Method Not Allowed", 408: b"Request Timeout", 409: b"Conflict", 413: b"Content Too Large",
    422: b"Unprocessable Content", 429: b"Too Many Requests", 431: b"Request Header Fields Too Large",
    500: b"Internal Server Error", 502: b"Bad Gateway", 503: b"Service Unavailable", 504: b"Gateway Timeout",
}  # fmt: skip
_ERROR_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}

_encode = msgspec.json.encode


class Usage(msgspec.Struct, frozen=True):
    """What the answer says about usage: the JSON to put there, or nothing at all."""

    json: bytes | None


def head(status: int, content_type: bytes, length: int | None, request_id: bytes, *, extra: bytes = b"") -> bytes:
    """A response head; `length` None is a chunked body. `extra` is whole header lines."""
    framing = b"transfer-encoding: chunked" if length is None else b"content-length: %d" % length
    return (
        b"HTTP/1.1 %d %s\r\ncontent-type: %s\r\n%s\r\nx-request-id: req_%s\r\nopenai-version: 2020-10-01\r\n%s\r\n"
        % (status, _REASONS.get(status, b"Unknown"), content_type, framing, request_id, extra)
    )


def framed(data: bytes) -> bytes:
    """One HTTP chunk."""
    return b"%x\r\n%s\r\n" % (len(data), data)


LAST_FRAME = b"0\r\n\r\n"


def error_body(refusal: Refusal) -> bytes:
    """OpenAI's error object."""
    kind = "server_error" if refusal.status >= 500 else _ERROR_TYPES.get(refusal.status, "invalid_request_error")
    error = {"message": refusal.message, "type": kind, "param": refusal.param, "code": refusal.code}
    return _encode({"error": error})


def usage_json(tokens: BilledTokens) -> bytes:
    """OpenAI's usage object: cached and cache-writing tokens inside the prompt's, reasoning inside the completion's."""
    written = b',"cache_write_tokens":%d' % tokens.cache_write_tokens if tokens.cache_write_tokens else b""
    return (
        b'{"prompt_tokens":%d,"completion_tokens":%d,"total_tokens":%d,"prompt_tokens_details":{"cached_tokens":%d'
        b'%s,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":%d,"audio_tokens":0,'
        b'"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}}'
        % (
            tokens.prompt_tokens,
            tokens.completion_tokens,
            tokens.prompt_tokens + tokens.completion_tokens,
            tokens.cached_tokens,
            written,
            tokens.reasoning_tokens,
        )
    )


def stated_usage(work: Generation) -> Usage:
    """What this call's answer says about usage, as scripted."""
    match work.script.usage:
        case "absent":
            return Usage(None)
        case "null":
            return Usage(b"null")
        case _:
            return Usage(usage_json(work.billed_tokens()))


def text(first_token: int, tokens: int) -> bytes:
    """That many tokens of the model's eternal answer, from this one on."""
    start = first_token % _WORD_CYCLE * _BYTES_PER_WORD
    size = tokens * _BYTES_PER_WORD
    if start + size <= len(_TEXT):
        return _TEXT[start : start + size]
    return words(_WORD_CYCLE + tokens).encode()[start : start + size]


def completion_json(work: Generation, request_id: bytes, created: int) -> bytes:
    """The body of an answer that is not streamed."""
    tail = work.json_tail
    if tail is None:
        tail = _json_tail(work, request_id)
        if work.script.content != "tool_call":  # whose answers have an id inside
            work.json_tail = tail
    return b'{"id":"chatcmpl-%s","object":"chat.completion","created":%d%s' % (request_id, created, tail)


def _json_tail(work: Generation, request_id: bytes) -> bytes:
    message = _message(work, request_id)
    choice = b'{"index":%%d,"message":%s,"logprobs":null,"finish_reason":"%s"}' % (
        message.replace(b"%", b"%%"),
        work.finish_reason.encode(),
    )
    choices = choice % 0 if work.choices == 1 else b",".join([choice % index for index in range(work.choices)])
    usage = stated_usage(work).json
    return b',"model":%s,"choices":[%s]%s,"service_tier":"%s",%s}' % (
        _encode(work.prices.name),
        choices,
        b"" if usage is None else b',"usage":' + usage,
        work.tier.encode(),
        _FINGERPRINT,
    )


def _message(work: Generation, request_id: bytes) -> bytes:
    said = text(0, work.visible_tokens)
    match work.script.content:
        case "refusal":
            return b'{"role":"assistant","content":null,"refusal":"%s","annotations":[]}' % said
        case "tool_call":
            return (
                b'{"role":"assistant","content":null,"tool_calls":[{"id":"call_%s","type":"function","function":'
                b'{"name":%s,"arguments":"{\\"text\\":\\"%s\\"}"}}],"refusal":null,"annotations":[]}'
                % (request_id, _encode(work.tool_name), said)
            )
        case _:
            return b'{"role":"assistant","content":"%s","refusal":null,"annotations":[]}' % said


def whole_stream(work: Generation, request_id: bytes, created: int) -> bytes:
    """All frames of a short stream at once, made from those of an earlier call with the same body."""
    identity = b'chatcmpl-%s","object":"chat.completion.chunk","created":%010d' % (request_id, created)
    if work.stream_pieces is None:
        writer = StreamWriter(work, request_id, created)
        per_step = work.script.tokens_per_chunk
        frames = [framed(writer.opening())]
        frames += (
            framed(writer.step(first, min(per_step, work.visible_tokens - first)))
            for first in range(0, work.visible_tokens, per_step)
        )
        frames += (framed(writer.end()), LAST_FRAME)
        # Ids and times are of one length, so frames keep their sizes.
        work.stream_pieces = b"".join(frames).split(identity)
    return identity.join(work.stream_pieces)


class StreamWriter:
    """Makes the events of one stream: the opening, steps of some tokens for every choice, and the end.

    The pieces that do not change within a call are made once.
    """

    __slots__ = ("_close", "_middle", "_open", "_request_id", "_usage", "_work")

    def __init__(self, work: Generation, request_id: bytes, created: int) -> None:
        self._work = work
        self._request_id = request_id
        self._usage = stated_usage(work).json if work.include_usage else None
        self._open = (
            b'data: {"id":"chatcmpl-%s","object":"chat.completion.chunk","created":%d,"model":%s,'
            b'"service_tier":"%s",%s,"choices":['
            % (request_id, created, _encode(work.prices.name), work.tier.encode(), _FINGERPRINT)
        )
        # With usage asked for, every chunk but the last says that it has none.
        self._close = b'],"usage":null}\n\n' if self._usage is not None else b"]}\n\n"
        self._middle = [
            (self._open + b'{"index":%d,"delta":{' % index, b'},"logprobs":null,"finish_reason":null}' + self._close)
            for index in range(work.choices)
        ]

    def opening(self) -> bytes:
        """The chunks that give the role, one for each choice."""
        match self._work.script.content:
            case "refusal":
                delta = b'"role":"assistant","content":null,"refusal":""'
            case "tool_call":
                delta = (
                    b'"role":"assistant","content":null,"tool_calls":[{"index":0,"id":"call_%s","type":"function",'
                    b'"function":{"name":%s,"arguments":""}}],"refusal":null'
                    % (self._request_id, _encode(self._work.tool_name))
                )
            case _:
                delta = b'"role":"assistant","content":"","refusal":null'
        return self._deltas(delta)

    def step(self, first_token: int, tokens: int) -> bytes:
        """The next tokens of every choice."""
        said = text(first_token, tokens)
        match self._work.script.content:
            case "refusal":
                return self._deltas(b'"refusal":"%s"' % said)
            case "tool_call":
                opening = b'{\\"text\\":\\"' if first_token == 0 else b""
                closing = b'\\"}' if first_token + tokens == self._work.visible_tokens else b""
                arguments = opening + said + closing
                return self._deltas(b'"tool_calls":[{"index":0,"function":{"arguments":"%s"}}]' % arguments)
            case _:
                return self._deltas(b'"content":"%s"' % said)

    def end(self) -> bytes:
        """The chunks with the reason to finish, the usage chunk where one is due, and `[DONE]`."""
        reason = self._work.finish_reason.encode()
        pieces = [
            self._open + b'{"index":%d,"delta":{},"logprobs":null,"finish_reason":"%s"}' % (index, reason) + self._close
            for index in range(self._work.choices)
        ]
        if self._usage is not None:
            pieces.append(self._open + b'],"usage":' + self._usage + b"}\n\n")
        pieces.append(DONE)
        return b"".join(pieces)

    def _deltas(self, delta: bytes) -> bytes:
        return b"".join([before + delta + after for before, after in self._middle])
