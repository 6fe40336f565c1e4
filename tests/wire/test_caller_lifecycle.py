"""Time, pressure and endings on the side that faces callers, over real sockets."""

import asyncio
import dataclasses
import socket

import pytest

from remit.gateway.wire import Exchange
from tests.wire.support import LIMITS, Caller, Held, calling, limited, run, serving, until

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


def test_pipelined_requests_are_answered_one_at_a_time_in_order() -> None:
    """The second request reaches the handler only after the first answer."""

    async def scenario() -> None:
        held = Held()
        async with serving(held) as (_, port), calling(port) as caller:
            caller.send(b"".join(b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % n for n in range(3)))
            for n in range(3):
                exchange = await held.next()
                await asyncio.sleep(0.01)
                assert len(held.exchanges) == n + 1
                exchange.respond(200, [], exchange.target)
                assert (await caller.answer()).body == b"/%d" % n

    run(scenario())


def test_pipelining_is_bounded() -> None:
    """A caller that sends on while its request runs is not read beyond the bound, and is read on later."""

    async def scenario() -> None:
        held = Held()
        async with serving(held) as (server, port), calling(port) as caller:
            caller.send(GET)
            first = await held.next()
            flood = GET * 200_000
            caller.send(flood)
            await asyncio.sleep(0.1)
            connection = next(iter(server._connections))
            assert len(connection._buffer) <= LIMITS.max_pipelined_bytes + 300_000
            assert not await asyncio.wait_for(_drained(caller), 10)
            first.respond(200, [], b"1")
            assert (await caller.answer()).body == b"1"
            (await held.next()).respond(200, [], b"2")
            assert (await caller.answer()).body == b"2"

    async def _drained(caller: Caller) -> bool:
        return caller.writer.transport.get_write_buffer_size() == 0

    run(scenario())


def test_answers_nobody_reads_stop_the_pipeline() -> None:
    """A caller that pipelines requests and reads nothing cannot make answers pile up; it is cut in the end."""

    async def scenario() -> None:
        count = 0

        def handler(exchange: Exchange) -> None:
            nonlocal count
            count += 1
            exchange.respond(200, [], b"x" * 50_000)

        async with serving(handler, limited(write_timeout=0.4)) as (server, port), calling(port) as caller:
            caller.reader._limit = 1  # type: ignore[attr-defined]
            caller.send(GET * 2000)
            await until(lambda: server.connections == 0)
            assert count < 1000

    run(scenario())


@pytest.mark.parametrize(
    ("first", "status"),
    [(b"GET / HT", 408), (GET[:-2], 408), (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc", 408)],
)
def test_slow_requests_time_out(first: bytes, status: int) -> None:
    """A head or body that trickles in is refused with 408: progress does not extend its time."""

    async def scenario() -> None:
        limits = limited(head_timeout=0.3, body_timeout=0.3)
        async with serving(limits=limits) as (_, port), calling(port) as caller:
            caller.send(first)

            async def trickle() -> None:
                while True:
                    await asyncio.sleep(0.1)
                    caller.send(b"a")

            task = asyncio.create_task(trickle())
            answer = await caller.answer()
            task.cancel()
            assert answer.status == status
            assert await caller.closed()

    run(scenario())


def test_idle_connections_are_closed_silently() -> None:
    """A kept connection on which nothing comes is closed without a word."""

    async def scenario() -> None:
        async with serving(limits=limited(idle_timeout=1)) as (_, port), calling(port) as fresh, calling(port) as used:
            used.send(GET)
            await used.answer()
            assert await fresh.closed()
            assert await used.closed()

    run(scenario())


def test_too_many_connections_get_503() -> None:
    """Beyond the limit a connection is told so and closed; a place that gets free is used again."""

    async def scenario() -> None:
        limits = dataclasses.replace(LIMITS, max_connections=2)
        async with serving(limits=limits) as (server, port), calling(port) as one, calling(port) as two:
            for caller in (one, two):
                caller.send(GET)
                assert (await caller.answer()).status == 200
            async with calling(port) as three:
                three.send(GET)
                assert (await three.answer()).status == 503
                assert await three.closed()
            one.reset()
            await until(lambda: server.connections == 1)
            async with calling(port) as four:
                four.send(GET)
                assert (await four.answer()).status == 200

    run(scenario())


def test_a_large_upload_that_is_refused_still_reads_its_answer() -> None:
    """413 reaches a caller that goes on sending: the connection is not reset under the answer."""

    async def scenario() -> None:
        async with serving() as (_, port), calling(port) as caller:
            caller.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9000000\r\n\r\n" + b"x" * 9_000_000)
            assert (await caller.answer()).status == 413
            assert await caller.closed()

    run(scenario())


def test_streams_are_chunked_and_empty_writes_are_nothing() -> None:
    """start, write, finish make one chunked answer, and the connection goes on."""

    async def scenario() -> None:
        held = Held()
        async with serving(held) as (_, port), calling(port) as caller:
            for _ in range(2):
                caller.send(GET)
                exchange = await held.next()
                exchange.start(200, [(b"content-type", b"text/event-stream")])
                exchange.write(b"")
                exchange.write(b"data: 1\n\n")
                exchange.write(b"data: 2\n\n")
                exchange.finish()
                exchange.finish()
                answer = await caller.answer()
                assert answer.body == b"data: 1\n\ndata: 2\n\n"
        assert held.events == []

    run(scenario())


def test_streams_for_http_1_0_end_with_the_connection() -> None:
    """An HTTP/1.0 caller gets no chunks; when cut, it sees a reset and not an end."""

    async def scenario() -> None:
        held = Held()
        async with serving(held) as (_, port):
            async with calling(port) as caller:
                caller.send(b"GET / HTTP/1.0\r\n\r\n")
                exchange = await held.next()
                exchange.start(200, [])
                exchange.write(b"abc")
                exchange.finish()
                assert (await caller.reader.read()).endswith(b"connection: close\r\n\r\nabc")
            async with calling(port) as caller:
                caller.send(b"GET / HTTP/1.0\r\n\r\n")
                exchange = await held.next()
                exchange.start(200, [])
                exchange.write(b"abc")
                await caller.reader.readuntil(b"abc")
                exchange.abort()
                with pytest.raises(ConnectionResetError):
                    await caller.reader.read()
        assert held.events == []

    run(scenario())


def test_an_aborted_stream_never_looks_complete() -> None:
    """After abort the last chunk is missing, what was written arrives, and on_gone is not called."""

    async def scenario() -> None:
        held = Held()
        async with serving(held) as (_, port), calling(port) as caller:
            caller.send(GET)
            exchange = await held.next()
            exchange.start(200, [])
            exchange.write(b"abc")
            exchange.abort()
            exchange.abort()
            exchange.write(b"more")
            exchange.finish()
            assert (await caller.reader.read()).endswith(b"3\r\nabc\r\n")
        assert held.events == []

    run(scenario())


def test_answers_without_a_body() -> None:
    """HEAD, 204 and 304 have no body, streamed or not, and the next request is found."""

    async def scenario() -> None:
        def handler(exchange: Exchange) -> None:
            status = int(exchange.path[1:4])
            if b"stream" in exchange.path:
                exchange.start(status, [])
                exchange.write(b"never sent")
                exchange.finish()
            else:
                exchange.respond(status, [], b"never sent")

        async with serving(handler) as (_, port), calling(port) as caller:
            for kind in (b"", b"stream"):
                for method, status in ((b"HEAD", 200), (b"GET", 204), (b"GET", 304), (b"HEAD", 404)):
                    caller.send(b"%b /%d%b HTTP/1.1\r\nHost: a\r\n\r\n" % (method, status, kind))
                    answer = await caller.answer(to_head=method == b"HEAD")
                    assert answer.status == status
                    assert status != 204 or b"content-length" not in answer.headers
            assert not await caller.closed(0.02)

    run(scenario())


def test_a_handler_cannot_break_the_message() -> None:
    """Line breaks, framing headers, interim statuses and second answers are the handler's mistakes: errors."""

    async def scenario() -> None:
        held = Held()
        async with serving(held) as (_, port), calling(port) as caller:
            caller.send(GET)
            exchange = await held.next()
            for name, value in [(b"a", b"b\r\nc: d"), (b"a", b"b\n"), (b"a\r", b"b"), (b"a", b"\0")]:
                with pytest.raises(ValueError, match="line break"):
                    exchange.respond(200, [(name, value)], b"")
            for name in (b"content-length", b"Transfer-Encoding", b"connection"):
                with pytest.raises(ValueError, match="the wire decides"):
                    exchange.start(200, [(name, b"1")])
            with pytest.raises(ValueError, match="final"):
                exchange.respond(103, [], b"")
            with pytest.raises(RuntimeError, match="before start"):
                exchange.write(b"x")
            exchange.respond(200, [], b"once")
            with pytest.raises(RuntimeError, match="already"):
                exchange.respond(200, [], b"twice")
            assert (await caller.answer()).body == b"once"

    run(scenario())


def test_a_failing_handler_is_a_500() -> None:
    """An exception before the answer gives 500; in the middle of a stream it cuts the stream."""

    async def scenario() -> None:
        reported: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context["exception"]))

        def handler(exchange: Exchange) -> None:
            if exchange.path == b"/late":
                exchange.start(200, [])
            raise KeyError(exchange.path)

        async with serving(handler) as (_, port):
            async with calling(port) as caller:
                caller.send(GET)
                assert (await caller.answer()).status == 500
                assert await caller.closed()
            async with calling(port) as caller:
                caller.send(GET.replace(b"/ ", b"/late ", 1))
                assert (await caller.reader.read()).endswith(b"chunked\r\n\r\n")
        assert len(reported) == 2

    run(scenario())


def test_hanging_up_is_told_once() -> None:
    """A reset during an exchange sets `gone`, calls on_gone once, and turns writing into nothing."""

    async def scenario() -> None:
        held = Held()
        async with serving(held) as (_, port), calling(port) as caller:
            caller.send(GET)
            exchange = await held.next()
            exchange.start(200, [])
            assert not exchange.gone
            sock = caller.writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            caller.reset()
            await until(lambda: exchange.gone)
            exchange.write(b"x")
            exchange.finish()
            exchange.abort()
        assert held.events == ["gone"]

    run(scenario())


def test_hanging_up_before_the_answer() -> None:
    """The whole answer to a caller that has left is dropped without an error."""

    async def scenario() -> None:
        held = Held()
        async with serving(held) as (server, port):
            async with calling(port) as caller:
                caller.send(GET)
                exchange = await held.next()
            exchange.respond(200, [], b"x" * 100)
            await until(lambda: server.connections == 0)
            late = exchange
            assert late.over

    run(scenario())


def test_a_half_closed_caller_is_served() -> None:
    """EOF after the request is no hang-up: the answers to everything sent arrive, then the connection closes."""

    async def scenario() -> None:
        held = Held()
        async with serving(held) as (_, port), calling(port) as caller:
            caller.send(GET * 2)
            caller.writer.write_eof()
            for body in (b"1", b"2"):
                exchange = await held.next()
                await asyncio.sleep(0.02)
                exchange.respond(200, [], body)
                assert (await caller.answer()).body == body
            assert await caller.closed()
        assert held.events == []

    run(scenario())


@pytest.mark.parametrize(
    "part", [GET[:10], GET + GET[:-3], b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nab"]
)
def test_a_request_cut_short_is_refused(part: bytes) -> None:
    """EOF in the middle of a request gives 400 and nothing reaches the handler half-read."""

    async def scenario() -> None:
        async with serving() as (_, port), calling(port) as caller:
            caller.send(part)
            caller.writer.write_eof()
            answer = await caller.answer()
            if part.startswith(GET):
                assert answer.status == 200
                answer = await caller.answer()
            assert answer.status == 400
            assert await caller.closed()

    run(scenario())
