"""What callers may send: raw bytes in, status out, and whether the connection survives."""

import pytest

from tests.wire.support import calling, run, serving

START = b"POST /v1/x?q=1 HTTP/1.1\r\nHost: a\r\n"
CHUNKED = START + b"Transfer-Encoding: chunked\r\n\r\n"


def head(*lines: bytes) -> bytes:
    """A request with extra header lines and no body."""
    return START + b"".join(line + b"\r\n" for line in lines) + b"\r\n"


REFUSED: list[tuple[str, bytes, int]] = [
    ("both framings", head(b"Content-Length: 3", b"Transfer-Encoding: chunked") + b"0\r\n\r\n", 400),
    ("both framings, other order", head(b"Transfer-Encoding: chunked", b"Content-Length: 3") + b"0\r\n\r\n", 400),
    ("equal duplicate lengths", head(b"Content-Length: 3", b"Content-Length: 3") + b"abc", 400),
    ("unequal duplicate lengths", head(b"Content-Length: 3", b"Content-Length: 4") + b"abcd", 400),
    ("length list", head(b"Content-Length: 3, 3") + b"abc", 400),
    ("signed length", head(b"Content-Length: +3") + b"abc", 400),
    ("negative length", head(b"Content-Length: -3") + b"abc", 400),
    ("hexadecimal length", head(b"Content-Length: 0x3") + b"abc", 400),
    ("underscored length", head(b"Content-Length: 1_0") + b"abc", 400),
    ("empty length", head(b"Content-Length:") + b"abc", 400),
    ("length of non-ASCII digits", head("Content-Length: ٣".encode()) + b"abc", 400),
    ("length beyond 64 bits", head(b"Content-Length: 99999999999999999999"), 400),
    ("length zero-padded beyond reason", head(b"Content-Length: " + b"0" * 40 + b"3") + b"abc", 400),
    ("length beyond the limit", head(b"Content-Length: 5001"), 413),
    ("coding list", head(b"Transfer-Encoding: gzip, chunked") + b"0\r\n\r\n", 400),
    ("coding not chunked", head(b"Transfer-Encoding: gzip"), 400),
    ("coding identity", head(b"Transfer-Encoding: identity"), 400),
    ("coding with a parameter", head(b"Transfer-Encoding: chunked;q=1") + b"0\r\n\r\n", 400),
    ("coding with a prefix", head(b"Transfer-Encoding: xchunked") + b"0\r\n\r\n", 400),
    ("coding with a vertical tab", head(b"Transfer-Encoding: \x0bchunked") + b"0\r\n\r\n", 400),
    ("coding twice", head(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked") + b"0\r\n\r\n", 400),
    ("coding empty", head(b"Transfer-Encoding:"), 400),
    ("coding on HTTP/1.0", b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    ("chunk size not hexadecimal", CHUNKED + b"g\r\n", 400),
    ("chunk size negative", CHUNKED + b"-1\r\n", 400),
    ("chunk size with 0x", CHUNKED + b"0x3\r\nabc\r\n0\r\n\r\n", 400),
    ("chunk size empty", CHUNKED + b"\r\nabc\r\n0\r\n\r\n", 400),
    ("chunk size with a space", CHUNKED + b"3 \r\nabc\r\n0\r\n\r\n", 400),
    ("chunk size of 16 digits", CHUNKED + b"0000000000000003\r\nabc\r\n0\r\n\r\n", 400),
    ("chunk size with bare LF", CHUNKED + b"3\nabc\r\n0\r\n\r\n", 400),
    ("chunk size with bare CR", CHUNKED + b"3\rabc\r\n0\r\n\r\n", 400),
    ("chunk without CRLF", CHUNKED + b"3\r\nabc0\r\n\r\n", 400),
    ("chunk ended by LF", CHUNKED + b"3\r\nabc\n0\r\n\r\n", 400),
    ("chunk longer than said", CHUNKED + b"3\r\nabcd\r\n0\r\n\r\n", 400),
    ("chunks beyond the limit", CHUNKED + b"1388\r\n" + b"x" * 5000 + b"\r\n1\r\nx\r\n0\r\n\r\n", 413),
    ("one chunk beyond the limit", CHUNKED + b"ffffffffff\r\n", 413),
    ("chunk extension too long", CHUNKED + b"3;" + b"x" * 2000 + b"\r\nabc\r\n0\r\n\r\n", 400),
    ("chunk extensions too long together", CHUNKED + (b"1;" + b"x" * 900 + b"\r\na\r\n") * 6 + b"0\r\n\r\n", 400),
    ("chunk extension with a control", CHUNKED + b"3;\x01\r\nabc\r\n0\r\n\r\n", 400),
    ("trailer without a colon", CHUNKED + b"0\r\nnonsense\r\n\r\n", 400),
    ("trailer with a bad name", CHUNKED + b"0\r\na b: c\r\n\r\n", 400),
    ("trailer folded", CHUNKED + b"0\r\na: b\r\n c\r\n\r\n", 400),
    ("trailer with framing", CHUNKED + b"0\r\nContent-Length: 3\r\n\r\n", 400),
    ("trailer too large", CHUNKED + b"0\r\n" + (b"a: " + b"x" * 900 + b"\r\n") * 10 + b"\r\n", 431),
    ("bare LF as line end", START.replace(b"\r\n", b"\n") + b"\n", 400),
    ("bare LF in a value", head(b"a: b\nc: d"), 400),
    ("bare LF before the end", START + b"a: b\n\r\n", 400),
    ("bare LF as the empty line", START + b"a: b\r\n\n", 400),
    ("bare CR in a value", head(b"a: b\rc"), 400),
    ("bare CR in the request line", b"GET /\r HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("CR CR LF", START + b"a: b\r\r\n\r\n", 400),
    ("folded line", head(b"a: b", b" c"), 400),
    ("folded line with a tab", head(b"a: b", b"\tc"), 400),
    ("folded first line", b"GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400),
    ("space before the colon", head(b"a : b"), 400),
    ("tab before the colon", head(b"a\t: b"), 400),
    ("no colon", head(b"abc"), 400),
    ("empty name", head(b": b"), 400),
    ("non-ASCII name", head(b"\xe4: b"), 400),
    ("name with parentheses", head(b"a(b): c"), 400),
    ("NUL in a value", head(b"a: b\0c"), 400),
    ("NUL in a name", head(b"a\0: c"), 400),
    ("control in a value", head(b"a: b\x01c"), 400),
    ("escape in a value", head(b"a: b\x1b[2J"), 400),
    ("form feed in a value", head(b"a: b\x0cc"), 400),
    ("DEL in a value", head(b"a: b\x7f"), 400),
    ("no host", b"GET / HTTP/1.1\r\n\r\n", 400),
    ("two hosts", b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400),
    ("host with a path", b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400),
    ("host with user information", b"GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", 400),
    ("host list", b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
    ("absolute target of another host", b"GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("absolute target with user information", b"GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("absolute target without a host", b"GET http:///x HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("absolute target of another scheme", b"GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("relative target", b"GET x HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("asterisk target for GET", b"GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("target with a fragment", b"GET /#x HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("target with non-ASCII bytes", b"GET /\xc3\xa4 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("target with NUL", b"GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("target with a space", b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("target too long", b"GET /" + b"a" * 600 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414),
    ("target without an end", b"GET /" + b"a" * 3000, 414),
    ("two spaces in the request line", b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("space at the end of the request line", b"GET / HTTP/1.1 \r\nHost: a\r\n\r\n", 400),
    ("tab in the request line", b"GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("empty line first", b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("no version", b"GET /\r\nHost: a\r\n\r\n", 400),
    ("version of another protocol", b"GET / ICE/1.0\r\nHost: a\r\n\r\n", 400),
    ("lower-case protocol", b"GET / http/1.1\r\nHost: a\r\n\r\n", 400),
    ("version 1.11", b"GET / HTTP/1.11\r\nHost: a\r\n\r\n", 400),
    ("version 2.0", b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 400),
    ("version 0.9", b"GET / HTTP/0.9\r\nHost: a\r\n\r\n", 400),
    ("version 1.2", b"GET / HTTP/1.2\r\nHost: a\r\n\r\n", 400),
    ("HTTP/2 preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    ("CONNECT", b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", 405),
    ("unknown method", b"BREW / HTTP/1.1\r\nHost: a\r\n\r\n", 405),
    ("lower-case method", b"get / HTTP/1.1\r\nHost: a\r\n\r\n", 405),
    ("method with a bracket", b"G[T / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("unknown expectation", head(b"Expect: tea", b"Content-Length: 3"), 417),
    ("two expectations", head(b"Expect: 100-continue", b"Expect: 100-continue", b"Content-Length: 3"), 417),
    ("expectation of a body too large", head(b"Expect: 100-continue", b"Content-Length: 5001"), 413),
    ("too many header lines", head(*[b"a: b"] * 20), 431),
    ("header too large", head(b"a: " + b"x" * 3000), 431),
    ("head without an end", START + b"a: " + b"x" * 3000, 431),
    ("TLS to the plain port", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(128)), 400),
    ("SSH", b"SSH-2.0-OpenSSH_9.9\r\n\r\n", 400),
]


@pytest.mark.parametrize(("raw", "status"), [pytest.param(raw, status, id=name) for name, raw, status in REFUSED])
def test_refused_cleanly(raw: bytes, status: int) -> None:
    """A broken request gets its status, the connection closes, and the handler sees nothing."""
    seen: list[bytes] = []

    async def scenario() -> None:
        async with serving(lambda exchange: seen.append(exchange.body)) as (_, port), calling(port) as caller:
            caller.send(raw)
            answer = await caller.answer()
            assert (answer.status, answer.headers[b"connection"]) == (status, b"close"), answer.body
            assert await caller.closed()

    run(scenario())
    assert seen == []


ACCEPTED: list[tuple[str, bytes, bytes, bytes]] = [
    ("no body", START + b"\r\n", b"/v1/x?q=1", b""),
    ("length zero", head(b"Content-Length: 0"), b"/v1/x?q=1", b""),
    ("a body", head(b"content-length: 3") + b"abc", b"/v1/x?q=1", b"abc"),
    ("white space around a length", head(b"content-length: \t 3 \t ") + b"abc", b"/v1/x?q=1", b"abc"),
    ("zero-padded length", head(b"content-length: 003") + b"abc", b"/v1/x?q=1", b"abc"),
    ("largest body", head(b"Content-Length: 5000") + b"x" * 5000, b"/v1/x?q=1", b"x" * 5000),
    ("chunks", CHUNKED + b"3\r\nabc\r\nA\r\n0123456789\r\n0\r\n\r\n", b"/v1/x?q=1", b"abc0123456789"),
    ("coding in capitals", head(b"transfer-encoding: CHUNKED ") + b"1\r\na\r\n0\r\n\r\n", b"/v1/x?q=1", b"a"),
    ("chunk extensions", CHUNKED + b'3;a="b c";d\r\nabc\r\n0;e\r\n\r\n', b"/v1/x?q=1", b"abc"),
    ("last chunk of many zeros", CHUNKED + b"1\r\na\r\n000\r\n\r\n", b"/v1/x?q=1", b"a"),
    ("a trailer", CHUNKED + b"1\r\na\r\n0\r\nx-sum: 1\r\ny:\r\n\r\n", b"/v1/x?q=1", b"a"),
    ("absolute target", b"GET http://A:80/b?c HTTP/1.1\r\nHost: a:80\r\n\r\n", b"http://A:80/b?c", b""),
    ("asterisk for OPTIONS", b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", b"*", b""),
    ("host is an IPv6 address", b"GET / HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n", b"/", b""),
    (
        "upgrade is ignored",
        head(b"Connection: Upgrade", b"Upgrade: h2c", b"Content-Length: 1") + b"a",
        b"/v1/x?q=1",
        b"a",
    ),
    ("obs-text in a value", head(b"a: \xff\x80"), b"/v1/x?q=1", b""),
    ("empty value", head(b"a:"), b"/v1/x?q=1", b""),
    ("colon in a value", head(b"a: b: c"), b"/v1/x?q=1", b""),
]


@pytest.mark.parametrize(
    ("raw", "target", "body"), [pytest.param(raw, target, body, id=name) for name, raw, target, body in ACCEPTED]
)
def test_accepted_and_the_connection_stays(raw: bytes, target: bytes, body: bytes) -> None:
    """A sound request is understood, twice on one connection."""

    async def scenario() -> None:
        async with serving() as (_, port), calling(port) as caller:
            for _ in range(2):
                caller.send(raw)
                answer = await caller.answer()
                assert (answer.status, answer.body) == (200, body)
                assert answer.headers[b"x-target"] == target.lower()
                assert b"connection" not in answer.headers
            assert not await caller.closed(0.01)

    run(scenario())


@pytest.mark.parametrize(
    "raw",
    [
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: foo, Close\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\nConnection: close\r\n\r\n",
        b"GET / HTTP/1.0\r\n\r\n",
        b"GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\nExpect: tea\r\n\r\n",
    ],
)
def test_the_last_request_of_a_connection(raw: bytes) -> None:
    """`Connection: close` and HTTP/1.0 end the connection after the answer, which says so."""

    async def scenario() -> None:
        async with serving() as (_, port), calling(port) as caller:
            caller.send(raw + b"GET /never HTTP/1.1\r\nHost: a\r\n\r\n")
            answer = await caller.answer()
            assert (answer.status, answer.headers[b"connection"]) == (200, b"close")
            assert await caller.closed()

    run(scenario())


def test_continue_is_said_only_for_a_body_that_will_be_read() -> None:
    """`Expect: 100-continue` gets 100 before the body and no 100 when the body is there already."""

    async def scenario() -> None:
        async with serving() as (_, port), calling(port) as caller:
            caller.send(head(b"Expect: 100-Continue", b"Content-Length: 3"))
            assert (await caller.answer()).status == 100
            caller.send(b"abc")
            assert (await caller.answer()).body == b"abc"
            caller.send(head(b"Expect: 100-continue", b"Content-Length: 3") + b"abc")
            assert (await caller.answer()).body == b"abc"

    run(scenario())
