"""The side that faces vendors, against a scripted server on raw TCP."""

import asyncio
import dataclasses
import socket

import pytest

from remit.gateway.wire import Headers, VendorCall, render_request
from tests.wire.support import run, until
from tests.wire.vendor_support import LIMITS, REQUEST, Sink, answering, keeping, limited, pooling, read_request, vendor

OK = b"HTTP/1.1 200 OK\r\n"
LENGTH = OK + b"Content-Length: 5\r\n\r\n"
COMPLETED = ("complete", True, True)
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"

COMPLETE: list[tuple[str, list[bytes], int, bytes]] = [
    ("content-length", [LENGTH + b"hello"], 200, b"hello"),
    ("in pieces", [LENGTH[:9], LENGTH[9:] + b"he", b"llo"], 200, b"hello"),
    ("chunks", [CHUNKED + b"2\r\nhe\r\n3;x\r\nllo\r\n0\r\nx-cost: 1\r\n\r\n"], 200, b"hello"),
    ("chunks in pieces", [CHUNKED, b"2\r\nh", b"e\r", b"\n3\r\nllo\r\n", b"0\r\n", b"\r\n"], 200, b"hello"),
    ("up to the end", [OK + b"\r\nhel", b"lo"], 200, b"hello"),
    ("HTTP/1.0 up to the end", [b"HTTP/1.0 200 OK\r\n\r\nhello"], 200, b"hello"),
    ("empty up to the end", [OK + b"\r\n"], 200, b""),
    ("204", [b"HTTP/1.1 204 No Content\r\n\r\n"], 204, b""),
    ("304 with a length", [b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n"], 304, b""),
    ("no reason phrase", [b"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n"], 200, b""),
    (
        "interim responses",
        [b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nlink: x\r\n\r\n" + LENGTH + b"hello"],
        200,
        b"hello",
    ),
    ("interim in pieces", [b"HTTP/1.1 100 Continue\r\n\r", b"\n", LENGTH + b"hello"], 200, b"hello"),
    ("an error with a body", [b"HTTP/1.1 429 Too Many Requests\r\nContent-Length: 2\r\n\r\n{}"], 429, b"{}"),
]


@pytest.mark.parametrize(
    ("parts", "status", "body"), [pytest.param(parts, status, body, id=name) for name, parts, status, body in COMPLETE]
)
def test_complete_responses(parts: list[bytes], status: int, body: bytes) -> None:
    """Each sound framing gives the body and one on_complete."""

    async def scenario() -> None:
        async with vendor(answering(*parts, pause_seconds=0.01)) as server, pooling(server.port) as pool:
            sink = Sink()
            pool.send(REQUEST, sink)
            assert sink.status == 0
            assert await sink.end() == ("complete", True, True)
            assert (sink.status, sink.body) == (status, body)

    run(scenario())


FAILED: list[tuple[str, list[bytes], str, bool]] = [
    ("nothing", [], "closed_early", False),
    ("half a head", [OK], "closed_early", False),
    ("garbage", [b"SSH-2.0-OpenSSH\r\n"], "malformed_response", False),
    ("garbage with an empty line", [b"hello\r\n\r\n"], "malformed_response", False),
    ("HTTP/2", [b"HTTP/2 200\r\n\r\n"], "malformed_response", False),
    ("status of two digits", [b"HTTP/1.1 20 OK\r\n\r\n"], "malformed_response", False),
    ("body too short", [LENGTH + b"hell"], "closed_early", True),
    ("no last chunk", [CHUNKED + b"5\r\nhello\r\n"], "closed_early", True),
    ("cut in a chunk", [CHUNKED + b"5\r\nhel"], "closed_early", True),
    ("cut in the trailer", [CHUNKED + b"0\r\n"], "closed_early", True),
    ("bad chunk", [CHUNKED + b"5\r\nhello\r\nzz\r\n"], "malformed_response", True),
    ("both framings", [OK + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"], "malformed_response", False),
    ("two lengths", [OK + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello"], "malformed_response", False),
    ("length list", [OK + b"Content-Length: 5, 5\r\n\r\nhello"], "malformed_response", False),
    ("signed length", [OK + b"Content-Length: +5\r\n\r\nhello"], "malformed_response", False),
    ("other coding", [OK + b"Transfer-Encoding: gzip\r\n\r\nhello"], "malformed_response", False),
    ("coding list", [OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"], "malformed_response", False),
    ("chunked on HTTP/1.0", [b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"], "malformed_response", False),
    ("bare LF", [b"HTTP/1.1 200 OK\nContent-Length: 0\n\n\r\n\r\n"], "malformed_response", False),
    ("folded line", [OK + b"a: b\r\n c\r\n\r\n"], "malformed_response", False),
    ("NUL in a value", [OK + b"a: \0\r\n\r\n"], "malformed_response", False),
    ("101", [b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"], "malformed_response", False),
    ("interim for ever", [b"HTTP/1.1 102 Processing\r\n\r\n" * 20], "malformed_response", False),
    ("head too large", [OK + b"a: " + b"x" * 3000 + b"\r\n\r\n"], "head_too_large", False),
    ("head without an end", [OK + b"a: " + b"x" * 3000], "head_too_large", False),
    ("too many headers", [OK + b"a: b\r\n" * 30 + b"\r\n"], "malformed_response", False),
    ("length beyond the limit", [OK + b"Content-Length: 5001\r\n\r\n"], "body_too_large", False),
    ("chunks beyond the limit", [CHUNKED + b"5\r\nhello\r\n1388\r\n"], "body_too_large", True),
    ("up to the end beyond the limit", [OK + b"\r\n" + b"x" * 5001], "body_too_large", True),
]


@pytest.mark.parametrize(
    ("parts", "reason", "head"), [pytest.param(parts, reason, head, id=name) for name, parts, reason, head in FAILED]
)
def test_failed_responses(parts: list[bytes], reason: str, head: bool) -> None:
    """Each broken response gives one on_failure that says sent, and is never tried again."""

    async def scenario() -> None:
        async with vendor(answering(*parts)) as server, pooling(server.port) as pool:
            sink = Sink()
            pool.send(REQUEST, sink)
            assert await sink.end() == (reason, True, head)
            assert server.connections == 1
            assert pool.idle_connections == 0

    run(scenario())


def test_body_before_a_fault_is_delivered() -> None:
    """What came before a broken chunk reaches the sink: usage in it can still be read."""

    async def scenario() -> None:
        async with vendor(answering(CHUNKED + b"5\r\nhello\r\nzz\r\n")) as server, pooling(server.port) as pool:
            sink = Sink()
            pool.send(REQUEST, sink)
            await sink.end()
            assert sink.body == b"hello"

    run(scenario())


@pytest.mark.parametrize(
    ("response", "kept"),
    [
        (LENGTH + b"hello", True),
        (CHUNKED + b"5\r\nhello\r\n0\r\n\r\n", True),
        (b"HTTP/1.1 204 No Content\r\n\r\n", True),
        (b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", False),
        (OK + b"Connection: foo, close\r\nContent-Length: 5\r\n\r\nhello", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello", False),
        (LENGTH + b"hello" + LENGTH + b"HELLO", False),
        (CHUNKED + b"5\r\nhello\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", False),
    ],
)
def test_connections_are_kept_only_when_in_order(response: bytes, kept: bool) -> None:
    """A connection is used again after a clean end only; bytes beyond the response are never the next answer."""

    async def scenario() -> None:
        async with vendor(keeping(response)) as server, pooling(server.port) as pool:
            for _ in range(3):
                sink = Sink()
                pool.send(REQUEST, sink)
                assert await sink.end() == ("complete", True, True)
                assert sink.body in (b"hello", b"")
            assert server.connections == (1 if kept else 3)

    run(scenario())


def test_head_requests_have_no_body() -> None:
    """A response to HEAD ends with its head, whatever its length says, and the connection is kept."""

    async def scenario() -> None:
        head = render_request(b"HEAD", b"/", [(b"host", b"a")], b"")
        async with vendor(keeping(LENGTH)) as server, pooling(server.port) as pool:
            for _ in range(2):
                sink = Sink()
                pool.send(head, sink)
                assert await sink.end() == ("complete", True, True)
            assert server.connections == 1

    run(scenario())


def test_refused_and_unknown_vendors() -> None:
    """Nobody listening, an unknown name: sent is False."""

    async def scenario() -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            async with pooling(taken.getsockname()[1]) as pool:
                sink = Sink()
                pool.send(REQUEST, sink)
                assert await sink.end() == ("connect_failed", False, False)
        async with pooling(80, host="no-such-host.invalid") as pool:
            sink = Sink()
            pool.send(REQUEST, sink)
            assert await sink.end() == ("dns_failed", False, False)
        async with pooling(80, host="a" * 70 + ".invalid") as pool:
            sink = Sink()
            pool.send(REQUEST, sink)
            reason, sent, _ = await sink.end()
            assert (reason in ("dns_failed", "connect_failed"), sent) == (True, False)

    run(scenario())


def test_reset_in_the_body() -> None:
    """A reset after the head is a failure with head_received."""
    sink = Sink()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(LENGTH + b"he")
        await until(lambda: sink.body == b"he")
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        writer.transport.abort()

    async def scenario() -> None:
        async with vendor(script) as server, pooling(server.port) as pool:
            pool.send(REQUEST, sink)
            assert await sink.end() == ("connection_reset", True, True)

    run(scenario())


def test_silence_times_out() -> None:
    """No head, a trickling head, and silence in the body end the call; a slow but steady body does not."""

    async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(60)

    async def scenario() -> None:
        late_head, late_body = limited(first_byte_timeout=0.4), limited(read_idle_timeout=0.4)
        trickle = answering(*[bytes([byte]) for byte in LENGTH], pause_seconds=0.1)
        for script, limits, expected in [
            (mute, late_head, ("first_byte_timeout", True, False)),
            (trickle, late_head, ("first_byte_timeout", True, False)),
            (answering(LENGTH + b"he", pause_seconds=60), late_body, ("read_timeout", True, True)),
            # Six pauses, all of them longer than the limit, each far shorter.
            (answering(LENGTH, *[b"x"] * 5, pause_seconds=0.5), limited(read_idle_timeout=2.5), COMPLETED),
        ]:
            async with vendor(script) as server, pooling(server.port, limits) as pool:
                sink = Sink()
                pool.send(REQUEST, sink)
                assert await sink.end() == expected

    run(scenario())


def test_a_vendor_that_does_not_read() -> None:
    """A large request that nobody reads ends in write_timeout."""

    async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        await asyncio.sleep(60)

    async def scenario() -> None:
        async with vendor(mute) as server, pooling(server.port, limited(write_timeout=0.4)) as pool:
            sink = Sink()
            pool.send(render_request(b"POST", b"/", [(b"host", b"a")], b"x" * 20_000_000), sink)
            assert await sink.end() == ("write_timeout", True, False)

    run(scenario())


def test_an_answer_before_the_request_was_read() -> None:
    """An early answer completes, and the half-written connection is not used again."""

    async def early(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\n{}")
        await asyncio.sleep(30)

    async def scenario() -> None:
        async with vendor(early) as server, pooling(server.port) as pool:
            sink = Sink()
            pool.send(render_request(b"POST", b"/", [(b"host", b"a")], b"x" * 20_000_000), sink)
            assert await sink.end() == ("complete", True, True)
            assert (sink.status, pool.idle_connections) == (413, 0)

    run(scenario())


def test_a_pooled_connection_found_closed_is_replaced() -> None:
    """The vendor closes an idle connection: the next request goes out on a fresh one, once."""

    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(LENGTH + b"hello")

    async def scenario() -> None:
        async with vendor(once) as server, pooling(server.port) as pool:
            for n in range(3):
                sink = Sink()
                pool.send(REQUEST, sink)
                assert await sink.end() == ("complete", True, True)
                await until(lambda: pool.open_connections == 0)
                assert server.connections == n + 1

    run(scenario())


def test_a_request_that_may_have_been_heard_is_not_repeated() -> None:
    """The vendor reads the second request on a kept connection and closes: a failure with sent, no third try."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(LENGTH + b"hello")
        await read_request(reader)

    async def scenario() -> None:
        async with vendor(script) as server, pooling(server.port) as pool:
            for expected in (("complete", True, True), ("closed_early", True, False)):
                sink = Sink()
                pool.send(REQUEST, sink)
                assert await sink.end() == expected
            assert server.connections == 1

    run(scenario())


def test_unasked_bytes_close_an_idle_connection() -> None:
    """What a vendor sends on an idle connection is not the answer to the next request."""
    sinks: list[Sink] = []

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await read_request(reader):
            writer.write(LENGTH + b"hello")
            await until(lambda: bool(sinks[-1].ends))
            writer.write(LENGTH + b"EVIL!")

    async def scenario() -> None:
        async with vendor(script) as server, pooling(server.port) as pool:
            for _ in range(2):
                sinks.append(Sink())
                pool.send(REQUEST, sinks[-1])
                await sinks[-1].end()
                assert sinks[-1].body == b"hello"
                await until(lambda: pool.open_connections == 0)
            assert server.connections == 2

    run(scenario())


def test_the_pool_is_bounded_and_queues() -> None:
    """Four connections, four waiting in order, the ninth refused unsent; waiting too long is a failure unsent."""

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await read_request(reader):
            await asyncio.sleep(0.1)
            writer.write(LENGTH + b"hello")

    async def scenario() -> None:
        async with vendor(slow) as server, pooling(server.port) as pool:
            sinks = [Sink() for _ in range(9)]
            for sink in sinks:
                pool.send(REQUEST, sink)
            assert not any(sink.ends for sink in sinks)
            ends = await asyncio.gather(*[sink.end() for sink in sinks])
            assert ends == [("complete", True, True)] * 8 + [("pool_full", False, False)]
            assert server.connections == 4
            assert pool.idle_connections == 2
        async with vendor(answering(LENGTH, pause_seconds=60)) as server:
            limits = dataclasses.replace(LIMITS, max_connections=1, wait_timeout_seconds=0.4)
            async with pooling(server.port, limits) as pool:
                first, second, third = Sink(), Sink(), Sink()
                pool.send(REQUEST, first)
                pool.send(REQUEST, second)
                pool.send(REQUEST, third).abort()
                assert await second.end() == ("wait_timeout", False, False)
                assert first.ends == third.ends == []

    run(scenario())


def test_idle_connections_are_given_up() -> None:
    """After idle_seconds the pool holds no connection, and its timer stops."""

    async def scenario() -> None:
        async with vendor(keeping(LENGTH + b"hello")) as server, pooling(server.port, limited(idle=1)) as pool:
            for n in (1, 2):
                sink = Sink()
                pool.send(REQUEST, sink)
                await sink.end()
                assert pool.idle_connections == 1
                await until(lambda: pool._timer is None)
                assert pool.open_connections == 0
                assert server.connections == n

    run(scenario())


def test_abort_is_silent() -> None:
    """After abort, while dialing, waiting for the head or inside the body, no callback comes and the connection goes."""

    async def scenario() -> None:
        async with vendor(answering(LENGTH + b"he", pause_seconds=30)) as server, pooling(server.port) as pool:
            sinks = [Sink(), Sink(), Sink()]
            pool.send(REQUEST, sinks[0]).abort()
            call = pool.send(REQUEST, sinks[1])
            await until(lambda: sinks[1].body == b"he")
            call.abort()
            call.abort()

            class Fickle(Sink):
                def on_head(self, status: int, headers: Headers) -> None:
                    """Gives up inside the callback."""
                    super().on_head(status, headers)
                    fickle.abort()

            sinks[2] = Fickle()
            fickle = pool.send(REQUEST, sinks[2])
            await until(lambda: sinks[2].status == 200)
            await asyncio.sleep(0.05)
            assert [sink.ends for sink in sinks] == [[], [], []]
            assert sinks[2].body == b""

    run(scenario())


def test_pause_bounds_memory_and_stops_the_clock() -> None:
    """A paused 50 MB stream is not read on, however long; resumed, it arrives whole and the connection is kept."""
    size = 50_000_000

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await read_request(reader):
            writer.write(OK + b"Content-Length: %d\r\n\r\n" % size)
            for _ in range(size // 100_000):
                writer.write(b"x" * 100_000)
                await writer.drain()

    calls: list[VendorCall] = []

    class Counter(Sink):
        def on_body(self, data: bytes) -> None:
            """Counts; pauses once."""
            self.pieces += len(data)
            if not self.body:
                self.body = b"paused"
                calls[-1].pause()

    async def scenario() -> None:
        async with vendor(script) as server, pooling(server.port, limited(read_idle_timeout=1.5)) as pool:
            for _ in range(2):
                sink = Counter()
                calls.append(pool.send(REQUEST, sink, stream=True))
                await until(lambda: sink.body == b"paused")  # noqa: B023 - awaited here
                await asyncio.sleep(2)
                assert 0 < sink.pieces < 2_000_000
                assert not sink.ends
                calls[-1].resume()
                assert await sink.end() == ("complete", True, True)
                assert sink.pieces == size
            assert server.connections == 1

    run(scenario())


def test_a_failing_sink_ends_its_call() -> None:
    """An exception in on_head or on_body is reported, closes the connection and gives one on_failure."""

    class Failing(Sink):
        def on_body(self, data: bytes) -> None:
            """Fails."""
            raise KeyError(data)

    async def scenario() -> None:
        reported: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context["exception"]))
        async with vendor(keeping(LENGTH + b"hello")) as server, pooling(server.port) as pool:
            sink = Failing()
            pool.send(REQUEST, sink)
            assert await sink.end() == ("sink_failed", True, True)
            assert len(reported) == 1
            assert pool.idle_connections == 0

    run(scenario())


def test_closing_the_pool_ends_every_call() -> None:
    """Running, dialing and later calls fail with pool_closed."""

    async def scenario() -> None:
        async with vendor(answering(LENGTH, pause_seconds=30)) as server, pooling(server.port) as pool:
            sinks = [Sink() for _ in range(7)]
            pool.send(REQUEST, sinks[0])
            await until(lambda: sinks[0].status == 200)
            for sink in sinks[1:6]:
                pool.send(REQUEST, sink)
            pool.close()
            pool.send(REQUEST, sinks[6])
            ends = await asyncio.gather(*[sink.end() for sink in sinks])
            assert [end[:2] for end in ends] == [("pool_closed", True)] + [("pool_closed", False)] * 6

    run(scenario())


def test_requests_cannot_be_split() -> None:
    """A line break in a header or target is a ValueError, not a second request."""
    for target, headers in [
        (b"/ HTTP/1.1\r\nx: y", [(b"host", b"a")]),
        (b"/a b", [(b"host", b"a")]),
        (b"/", [(b"host", b"a\r\nx: y")]),
        (b"/", [(b"content-length", b"0")]),
    ]:
        with pytest.raises(ValueError, match=r"line break|wire decides"):
            render_request(b"POST", target, headers, b"")
