"""h11 as the reference: what the wire accepts h11 reads the same way, and nothing that h11 refuses is accepted."""

import itertools

import h11
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from remit.gateway.wire import CallerServer, Exchange, Headers, Origin, VendorLimits, VendorPool, WireLimits
from remit.gateway.wire.caller import CallerConnection
from remit.gateway.wire.vendor import VendorCall, VendorConnection
from tests.wire.support import LIMITS, Tape
from tests.wire.test_caller_strictness import ACCEPTED, REFUSED

Message = tuple[bytes, bytes, Headers, bytes, bytes]

TARGETS = [b"/", b"/v1/x?a=b", b"*", b"http://a/", b"http://b/", b"x", b"/#", b"/\x80", b"a:1"]
LINES = [
    b"Host: a",
    b"host: a",
    b"Host : a",
    b"Content-Length: 3",
    b"content-length: 5",
    b"Content-Length: 3, 3",
    b"Content-Length: +3",
    b"Content-Length:\t3 ",
    b"Transfer-Encoding: chunked",
    b"Transfer-Encoding:  Chunked\t",
    b"Transfer-Encoding: gzip, chunked",
    b"Transfer-Encoding: \x0bchunked",
    b"Connection: close",
    b"Connection: upgrade",
    b"Upgrade: websocket",
    b"Expect: 100-continue",
    b"X-A: b",
    b"X-A: \xff \t b ",
    b"X-A:",
    b" folded",
    b"X A: b",
    b"X-A: b\0",
    b"X-A: b\rX-B: c",
]
BODIES = [
    b"",
    b"abc",
    b"abcde",
    b"3\r\nabc\r\n0\r\n\r\n",
    b"3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nX-T: 1\r\n\r\n",
    b"03\r\nabc\r\n00\r\n\r\n",
    b"3 \r\nabc\r\n0\r\n\r\n",
    b"3\nabc\n0\n\n",
    b"0x3\r\nabc\r\n0\r\n\r\n",
    b"3\r\nabcd\r\n0\r\n\r\n",
    b"0\r\nContent-Length: 3\r\n\r\n",
    b"0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
]
SPICE = [
    b"\r",
    b"\n",
    b"\r\n",
    b"\r\n\r\n",
    b" ",
    b"\t",
    b"\0",
    b":",
    b";",
    b",",
    b"\x0b",
    b"\x7f",
    b"\x80",
    b"0",
    b"a",
]


FRAMED = [
    ([], b""),
    ([], b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n"),
    ([b"Content-Length: 3"], b"abc"),
    ([b"content-length: 5 "], b"abcdeGET /next HTTP/1.1\r\nHost: a\r\n\r\n"),
    *[([b"Transfer-Encoding: chunked"], body) for body in BODIES[3:6]],
    ([b"transfer-encoding: CHUNKED"], b"5;a\r\nabcde\r\n0\r\nA: b\r\nB:\r\n\r\nPOST /"),
]


@st.composite
def messages(draw: st.DrawFn, starts: list[bytes], sound_starts: list[bytes]) -> bytes:
    """A message put together from sound parts, or from any; then perhaps damaged in a few places."""
    if draw(st.booleans()):
        framing, body = draw(st.sampled_from(FRAMED))
        extra = draw(
            st.lists(st.sampled_from([b"X-A: b", b"X-A:", b"X-A: \xff \t b ", b"Connection: upgrade"]), max_size=2)
        )
        start, lines, end = draw(st.sampled_from(sound_starts)), [b"Host: a", *framing, *extra], b"\r\n"
    else:
        lines = draw(st.lists(st.sampled_from(LINES), max_size=3))
        if draw(st.booleans()):
            lines.insert(0, b"Host: a")
        end = draw(st.sampled_from([b"\r\n"] * 8 + [b"\n", b"\r\n "]))
        start, body = draw(st.sampled_from(starts)), draw(st.sampled_from(BODIES))
    raw = start + end + end.join([*lines, b""]) + b"\r\n" + body
    for _ in range(draw(st.sampled_from([0, 0, 1, 1, 2]))):
        place = draw(st.integers(0, len(raw)))
        raw = raw[:place] + draw(st.sampled_from(SPICE)) + raw[place + draw(st.integers(0, 1)) :]
    return raw


REQUEST_STARTS = [
    method + b" " + target + b" " + version
    for method in (b"POST", b"GET", b"HEAD", b"OPTIONS", b"get", b"CONNECT", b"BREW")
    for target in TARGETS
    for version in (b"HTTP/1.1", b"HTTP/1.1", b"HTTP/1.0", b"HTTP/1.2", b"HTTP/2.0")
]
SOUND_STARTS = [b"POST / HTTP/1.1", b"GET /v1/x?a=b HTTP/1.1", b"POST http://a/long HTTP/1.1", b"POST / HTTP/1.0"]
RESPONSE_STARTS = [b"HTTP/1.1 200 OK"] * 4 + [
    b"HTTP/1.1 204 No Content",
    b"HTTP/1.1 304 Not Modified",
    b"HTTP/1.1 429 \xff",
    b"HTTP/1.1 500",
    b"HTTP/1.0 200 OK",
    b"HTTP/1.1 099 X",
    b"HTTP/1.1 2000 X",
    b"HTTP/2 200",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK",
]


def feed(
    fragments: list[bytes], limits: WireLimits = LIMITS, answer: bool = True
) -> tuple[list[Exchange], Tape, bytes]:
    """What a connection makes of the fragments: the exchanges, what it wrote, what it has not read yet."""
    seen: list[Exchange] = []

    def handler(exchange: Exchange) -> None:
        seen.append(exchange)
        if answer:
            exchange.respond(200, [], exchange.method)

    server = CallerServer(handler, limits, lambda status, reason: ([], b""))  # reasons may differ, statuses not
    connection = CallerConnection(server)
    tape = Tape()
    connection.connection_made(tape)
    for fragment in fragments:
        if not tape.closed:
            connection.data_received(fragment)
    rest = connection._buffer
    tape.closed = True
    connection.connection_lost(None)
    assert server.connections == 0
    return seen, tape, rest


def reference(raw: bytes) -> Message | str:
    """h11's reading of the first request: method, target, headers, body, what follows; or why not."""
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=100_000)
    connection.receive_data(raw)
    request: h11.Request | None = None
    body = b""
    try:
        while True:
            event = connection.next_event()
            if isinstance(event, h11.Request):
                request = event
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                assert request is not None
                return request.method, request.target, list(request.headers), body, connection.trailing_data[0]
            elif event is h11.NEED_DATA:
                return "incomplete"
    except h11.RemoteProtocolError as error:
        return str(error)


@given(messages(REQUEST_STARTS, SOUND_STARTS))
@settings(max_examples=1500)
def test_requests_are_read_as_h11_reads_them(raw: bytes) -> None:
    """Method, target, headers, body and the place where the next request starts are the same."""
    seen, _, rest = feed([raw], answer=False)
    if not seen:
        return
    expected = reference(raw)
    assert not isinstance(expected, str), expected
    method, target, headers, body, following = expected
    exchange = seen[0]
    assert (exchange.method, exchange.target, exchange.body, rest) == (method, target, body, following)
    # h11 writes the coding in lower case, and a length it has read.
    plain = [(name, value.lower() if name == b"transfer-encoding" else value) for name, value in exchange.headers]
    assert plain == headers


@given(st.data(), st.lists(st.sampled_from([raw for _, raw, *_ in [*ACCEPTED, *REFUSED]]), min_size=1, max_size=3))
@settings(max_examples=400)
def test_cuts_do_not_matter(data: st.DataObject, raws: list[bytes]) -> None:
    """The same bytes in any fragments give the same exchanges and the same answers."""
    raw = b"".join(raws)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(raw)), max_size=12)))
    bounds = [0, *cuts, len(raw)]
    fragments = [raw[a:b] for a, b in itertools.pairwise(bounds) if a < b]
    whole, pieces = feed([raw]), feed(fragments)
    assert [describe(exchange) for exchange in whole[0]] == [describe(exchange) for exchange in pieces[0]]
    interim = b"HTTP/1.1 100 Continue\r\n\r\n"
    assert whole[1].written.replace(interim, b"") == pieces[1].written.replace(interim, b"")


@given(messages(REQUEST_STARTS, SOUND_STARTS))
@settings(max_examples=150)
def test_byte_by_byte(raw: bytes) -> None:
    """The finest cut gives what one piece gives."""
    whole, pieces = feed([raw]), feed([bytes([byte]) for byte in raw])
    assert [describe(exchange) for exchange in whole[0]] == [describe(exchange) for exchange in pieces[0]]
    interim = b"HTTP/1.1 100 Continue\r\n\r\n"
    assert whole[1].written.replace(interim, b"") == pieces[1].written.replace(interim, b"")


def describe(exchange: Exchange) -> Message:
    """Everything a handler can tell."""
    return exchange.method, exchange.target, exchange.headers, exchange.body, exchange.path


@given(st.lists(st.binary(max_size=3000), max_size=8))
@settings(max_examples=200)
def test_noise_ends_in_order(fragments: list[bytes]) -> None:
    """Random bytes cause one refusal at most, no exception, and never more memory than a head."""
    seen, tape, rest = feed(fragments)
    assert tape.written.count(b"connection: close") <= 1
    assert len(rest) <= LIMITS.max_head_bytes
    assert seen == []


class Recorder:
    """A sink that remembers."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: Headers = []
        self.body = b""
        self.ends: list[str] = []

    def on_head(self, status: int, headers: Headers) -> None:
        """Remembers."""
        assert self.status == 0 and not self.ends
        self.status = status
        self.headers = headers

    def on_body(self, data: bytes) -> None:
        """Remembers."""
        assert data and self.status and not self.ends
        self.body += data

    def on_complete(self) -> None:
        """Remembers."""
        assert self.status
        self.ends.append("complete")

    def on_failure(self, reason: str, sent: bool, head_received: bool) -> None:
        """Remembers."""
        assert sent and head_received == bool(self.status)
        self.ends.append(reason)


def receive(fragments: list[bytes], method: bytes = b"GET") -> tuple[Recorder, bool]:
    """What a call makes of a response in these fragments, and whether the connection may be used again."""
    pool = VendorPool(Origin("http", "a", 80), None, VendorLimits(max_head_bytes=2048, max_body_bytes=5000))
    sink = Recorder()
    connection = VendorConnection(pool)
    tape = Tape()
    connection.connection_made(tape)
    connection.begin(VendorCall(pool, method + b" / HTTP/1.1\r\nhost: a\r\n\r\n", sink, False))
    for fragment in fragments:
        if not tape.closed:
            connection.data_received(fragment)
    reusable = connection.usable
    if not tape.closed:
        connection.eof_received()
    connection.connection_lost(None)
    assert len(sink.ends) == 1
    assert pool.idle_connections == 0
    return sink, reusable


@given(messages(RESPONSE_STARTS, RESPONSE_STARTS[:6]), st.sampled_from([b"GET", b"POST", b"HEAD"]))
@settings(max_examples=800)
def test_responses_are_read_as_h11_reads_them(raw: bytes, method: bytes) -> None:
    """A response that completes has the status, headers and body that h11 finds; it is the same byte by byte."""
    sink, reusable = receive([raw], method)
    fine, _ = receive([bytes([byte]) for byte in raw], method)
    assert (fine.status, fine.headers, fine.body, fine.ends) == (sink.status, sink.headers, sink.body, sink.ends)
    if sink.ends != ["complete"]:
        assert not reusable
        return
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=100_000)
    connection.send(h11.Request(method=method, target="/", headers=[("host", "a")]))
    connection.send(h11.EndOfMessage())
    connection.receive_data(raw)
    connection.receive_data(b"")
    response: h11.Response | None = None
    body = b""
    while True:
        event = connection.next_event()
        assert event is not h11.NEED_DATA
        if isinstance(event, h11.Response):
            response = event
        elif isinstance(event, h11.Data):
            body += event.data
        elif isinstance(event, h11.EndOfMessage):
            break
    assert response is not None
    assert (sink.status, sink.body) == (response.status_code, body)
    if reusable:
        assert connection.trailing_data[0] == b""


def is_whole_to_h11(raw: bytes) -> bool:
    """Whether a response begins these bytes: what is drawn may be one, such as an empty last chunk after a sound head."""
    connection = h11.Connection(h11.CLIENT)
    connection.send(h11.Request(method=b"GET", target="/", headers=[("host", "a")]))
    connection.send(h11.EndOfMessage())
    connection.receive_data(raw)
    try:
        while (event := connection.next_event()) is not h11.NEED_DATA:
            if isinstance(event, h11.EndOfMessage):
                return True
    except h11.RemoteProtocolError:
        pass
    return False


@given(st.lists(st.binary(max_size=3000), max_size=6), st.booleans())
@example([b"0\r\n\r\n"], True)
@example([b"0\r\n\r"], True)
@settings(max_examples=150)
def test_noise_from_a_vendor_ends_a_call_once(fragments: list[bytes], sound_head: bool) -> None:
    """Random bytes instead of a response, or after a sound head, give exactly one terminal callback."""
    start = [b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"] if sound_head else []
    assume(not is_whole_to_h11(b"".join(start + fragments)))
    sink, reusable = receive(start + fragments)
    assert not reusable
    assert sink.ends != ["complete"]
