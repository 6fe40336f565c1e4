"""Message heads: llhttp splits and checks the header lines, this file checks what llhttp lets pass.

A head is parsed only when all of it is there, by a parser of its own: nothing of one message can leak into the next.
What llhttp 9 (httptools 0.9) accepts and this file refuses: empty lines before the request line, several spaces in it,
a missing version, HTTP/2.0, fragments, `Transfer-Encoding` lists, chunked on HTTP/1.0, white space after a value (cut).
Bodies are framed by this package itself from the checked values (RFC 9112 section 6.3), never by llhttp.
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from http import HTTPStatus
from typing import Final

from httptools import (
    HttpParserError,
    HttpParserInvalidMethodError,
    HttpParserUpgrade,
    HttpRequestParser,
    HttpResponseParser,
)

Headers = list[tuple[bytes, bytes]]

CHUNKED: Final = -1
UNTIL_EOF: Final = -2
TOKEN: Final = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"

_REQUEST_LINE = re.compile(rb"(" + TOKEN + rb") ([\x21-\x7e]+) HTTP/([0-9])\.([0-9])")
_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9][0-9])(?: [\t\x20-\x7e\x80-\xff]*)?")
_ABSOLUTE = re.compile(rb"[Hh][Tt][Tt][Pp][Ss]?://([^/?]+)([/?].*)?")
_HOST = re.compile(rb"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9\-._~!$&'()*+,;=%]*)(?::[0-9]{0,5})?")
_VISIBLE = bytes([9, *range(0x20, 0x7F), *range(0x80, 0x100)])
_SPECIAL = frozenset((b"host", b"content-length", b"transfer-encoding", b"connection", b"expect"))
_FRAMING = frozenset((b"content-length", b"transfer-encoding", b"connection", b"keep-alive", b"upgrade"))
_STATUS_LINES = {s.value: b"HTTP/1.1 %d %s\r\n" % (s.value, s.phrase.encode()) for s in HTTPStatus}


class MalformedError(Exception):
    """A message that breaks the rules: `status` is the answer a caller gets, `reason` one lower-case clause."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


class _Head:
    """Collects what llhttp finds in one head. `body_length` is a count, `CHUNKED` or `UNTIL_EOF`."""

    __slots__ = ("body_length", "complete", "headers", "keep_alive")

    def __init__(self) -> None:
        self.headers: Headers = []
        self.complete = False
        self.body_length = 0
        self.keep_alive = True

    def on_header(self, name: bytes, value: bytes) -> None:
        """Called by llhttp; it has checked the characters and cut leading white space, not trailing."""
        self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """Called by llhttp at the empty line."""
        self.complete = True


class RequestHead(_Head):
    """One accepted request head."""

    __slots__ = ("expects_continue", "method", "minor", "path", "target")

    method: bytes
    target: bytes
    path: bytes
    minor: int
    expects_continue: bool


class ResponseHead(_Head):
    """One accepted response head."""

    __slots__ = ("status",)

    status: int


def _read_request_line(line: bytes) -> tuple[bytes, bytes, bytes, bytes | None, int]:
    """method, target, path, authority of an absolute target, minor version."""
    match = _REQUEST_LINE.fullmatch(line)
    if match is None:
        raise MalformedError(400, "the request line is malformed")
    method, target, major, minor = match.groups()
    if major != b"1" or minor not in (b"0", b"1"):
        raise MalformedError(400, "only HTTP/1.1 and HTTP/1.0 are spoken here")
    if method == b"CONNECT":
        raise MalformedError(405, "CONNECT is not supported")
    if b"#" in target:
        raise MalformedError(400, "the target has a fragment")
    authority: bytes | None = None
    origin_form = target
    if target[:1] != b"/":
        absolute = _ABSOLUTE.fullmatch(target)
        if absolute is not None:
            authority = absolute[1]
            origin_form = absolute[2] or b"/"
            if origin_form[:1] == b"?":
                origin_form = b"/" + origin_form
        elif not (target == b"*" and method == b"OPTIONS"):
            raise MalformedError(400, "the target is neither a path nor an absolute URI")
    return method, target, origin_form.partition(b"?")[0], authority, int(minor)


_recall_request_line = lru_cache(maxsize=512)(_read_request_line)


def parse_request_head(raw: bytes, max_headers: int, max_target_bytes: int, max_body_bytes: int) -> RequestHead:
    """`raw` ends with the first empty line. Raises `MalformedError` with the status to answer.

    Broken bytes are always 400, whatever else is wrong: the answer must not depend on how the bytes were cut into
    packets, and such bytes are refused as soon as they arrive.
    """
    head = RequestHead()
    try:
        line = raw[: raw.index(b"\r\n")]
        # A few lines recur for ever. Long ones would bloat the cache, queries may hold keys: neither is kept.
        read = _recall_request_line if len(line) < 256 and b"?" not in line else _read_request_line
        head.method, head.target, head.path, authority, head.minor = read(line)
        if len(head.target) > max_target_bytes:
            raise MalformedError(414, "the target is too long")
        _feed(HttpRequestParser(head), raw, head)
        if len(head.headers) > max_headers:
            raise MalformedError(431, "too many header lines")
        _frame_request(head, authority)
        if head.body_length > max_body_bytes:
            raise MalformedError(413, "the body is too large")
    except MalformedError as problem:
        if problem.status != 400 and is_hopeless(raw):
            raise MalformedError(400, "control characters in the head") from None
        raise
    return head


def _feed(parser: HttpRequestParser | HttpResponseParser, raw: bytes, head: _Head) -> None:
    try:
        parser.feed_data(raw)
    except HttpParserUpgrade:
        pass  # An upgrade may be ignored (RFC 9110 section 7.8); the body is framed by us either way.
    except HttpParserInvalidMethodError:
        raise MalformedError(405, "the method is not known") from None
    except HttpParserError as error:
        raise MalformedError(400, str(error).lower() or "the head is malformed") from None
    if not head.complete:
        raise MalformedError(400, "the head is malformed")
    if b" \r\n" in raw or b"\t\r\n" in raw:
        head.headers = [(name, value.rstrip(b" \t")) for name, value in head.headers]


def _frame_request(head: RequestHead, authority: bytes | None) -> None:
    host: bytes | None = None
    length: bytes | None = None
    coding: bytes | None = None
    expect: bytes | None = None
    head.keep_alive = head.minor == 1
    for name, value in head.headers:
        if name not in _SPECIAL:
            continue
        if name == b"host":
            if host is not None:
                raise MalformedError(400, "more than one host header")
            host = value
        elif name == b"content-length":
            if length is not None:
                raise MalformedError(400, "more than one content-length header")
            length = value
        elif name == b"transfer-encoding":
            if coding is not None:
                raise MalformedError(400, "more than one transfer-encoding header")
            coding = value
        elif name == b"expect":
            expect = value if expect is None else b"several"
        elif has_token(value, b"close"):
            head.keep_alive = False
    _check_host(host, authority, head.minor)
    head.body_length = _body_length(length, coding, head.minor, 0)
    head.expects_continue = False
    if expect is not None and head.minor == 1:
        if expect.lower() != b"100-continue":
            raise MalformedError(417, "the expectation is not supported")
        head.expects_continue = True


@lru_cache(maxsize=512)
def _check_host(host: bytes | None, authority: bytes | None, minor: int) -> None:
    if host is None:
        if minor == 1:
            raise MalformedError(400, "the host header is missing")
    elif not _is_host(host):
        raise MalformedError(400, "the host header is malformed")
    if authority is not None:
        if not _is_host(authority):
            raise MalformedError(400, "the target's authority is malformed")
        if host is not None and host.lower() != authority.lower():
            raise MalformedError(400, "the target and the host header name different hosts")


def _is_host(value: bytes) -> bool:
    return _HOST.fullmatch(value) is not None


def _body_length(length: bytes | None, coding: bytes | None, minor: int, without: int) -> int:
    """RFC 9112 section 6.3, without its leniencies; `without` is the answer when neither header is there."""
    if coding is not None:
        if length is not None:
            raise MalformedError(400, "both content-length and transfer-encoding")
        if minor == 0:
            raise MalformedError(400, "transfer-encoding on HTTP/1.0")
        if coding.lower() != b"chunked":
            raise MalformedError(400, "the only transfer-encoding is chunked")
        return CHUNKED
    if length is None:
        return without
    if not length.isdigit() or len(length) > 18:
        raise MalformedError(400, "the content-length is not a number")
    return int(length)


def has_token(value: bytes, token: bytes) -> bool:
    """Whether a comma-separated list holds the lower-case token."""
    value = value.lower()
    return value == token or (token in value and token in [part.strip(b" \t") for part in value.split(b",")])


def is_hopeless(part: bytes) -> bool:
    """Whether this part of a head, cut after any byte, holds bytes that no head may hold: controls, bare CR or LF."""
    left = part.translate(None, _VISIBLE)
    if not left:
        return False
    pairs = part.count(b"\r\n")
    returns = left.count(b"\r") - part.endswith(b"\r")
    feeds = left.count(b"\n")
    return returns != pairs or feeds != pairs or len(left) != 2 * pairs + part.endswith(b"\r")


def oversized(start: bytes, max_target_bytes: int) -> MalformedError:
    """What to answer to a head larger than allowed, given its first `max_head_bytes` bytes."""
    if is_hopeless(start):
        return MalformedError(400, "control characters in the head")
    line = start.find(b"\r\n")
    if line < 0 or line > max_target_bytes + 64:
        return MalformedError(414, "the target is too long")
    return MalformedError(431, "the head is too large")


@lru_cache(maxsize=128)
def _read_status_line(line: bytes) -> tuple[int, int]:
    match = _STATUS_LINE.fullmatch(line)
    if match is None:
        raise MalformedError(502, "the status line is malformed")
    return int(match[1]), int(match[2])


def parse_response_head(raw: bytes, answers_head: bool, max_headers: int) -> ResponseHead:
    """`raw` ends with the first empty line; `answers_head` says that the request was HEAD. Raises `MalformedError`."""
    head = ResponseHead()
    minor, head.status = _read_status_line(raw[: raw.index(b"\r\n")])
    _feed(HttpResponseParser(head), raw, head)
    if len(head.headers) > max_headers:
        raise MalformedError(502, "too many header lines")
    head.keep_alive = minor == 1
    length: bytes | None = None
    coding: bytes | None = None
    for name, value in head.headers:
        if name == b"content-length":
            if length is not None:
                raise MalformedError(502, "more than one content-length header")
            length = value
        elif name == b"transfer-encoding":
            if coding is not None:
                raise MalformedError(502, "more than one transfer-encoding header")
            coding = value
        elif name == b"connection" and has_token(value, b"close"):
            head.keep_alive = False
    body_length = _body_length(length, coding, minor, UNTIL_EOF)
    if answers_head or head.status == 304:
        body_length = 0
    elif head.status < 200 or head.status == 204:
        # These have no body; one that announces a body cannot be trusted about where the next response starts.
        if body_length not in (0, UNTIL_EOF):
            head.keep_alive = False
        body_length = 0
    head.body_length = body_length
    if body_length == UNTIL_EOF:
        head.keep_alive = False
    return head


def render_head(status: int, headers: Sequence[tuple[bytes, bytes]], framing: bytes) -> bytes:
    """A response head; `framing` holds the wire's own header lines and the empty line.

    ValueError when a header would break out of its line or is one the wire decides: a mistake of the handler.
    """
    parts = [_STATUS_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status]
    for name, value in headers:
        if name.lower() in _FRAMING:
            raise ValueError(f"the wire decides about the header {name!r}")
        parts += (name, b": ", value, b"\r\n")
    head = b"".join(parts)
    lines = len(headers) + 1
    if head.count(b"\n") != lines or head.count(b"\r") != lines or b"\0" in head:
        raise ValueError("a header holds a line break")
    return head + framing


def render_request(method: bytes, target: bytes, headers: Sequence[tuple[bytes, bytes]], body: bytes) -> bytes:
    """A whole request with its content-length. `headers` must hold the host. ValueError as in `render_head`."""
    parts = [method, b" ", target, b" HTTP/1.1\r\n"]
    for name, value in headers:
        if name.lower() in _FRAMING:
            raise ValueError(f"the wire decides about the header {name!r}")
        parts += (name, b": ", value, b"\r\n")
    head = b"".join(parts)
    lines = len(headers) + 1
    if head.count(b"\n") != lines or head.count(b"\r") != lines or b"\0" in head or b" " in target:
        raise ValueError("a header or the target holds a line break or a space")
    return b"%bcontent-length: %d\r\n\r\n%b" % (head, len(body), body)
