"""Callers that do not read, and draining, over real sockets."""

import asyncio
import socket
from dataclasses import replace

import pytest

from remit.gateway.wire import Exchange, WireLimits
from tests.wire.support import LIMITS, Held, calling, echo, limited, run, serving, until

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


def test_a_caller_that_does_not_read_keeps_memory_bounded() -> None:
    """A 50 MB stream stops at on_pause with little buffered and arrives whole once the caller reads."""

    async def scenario() -> None:
        held = Held()
        async with serving(held) as (server, port), calling(port) as caller:
            caller.writer.transport.pause_reading()  # type: ignore[attr-defined]
            caller.send(GET)
            exchange = await held.next()
            exchange.start(200, [])
            piece, count, largest = b"x" * 10_000, 0, 0
            transport = next(iter(server._connections))._transport

            async def produce() -> None:
                nonlocal count, largest
                while count < 5000:
                    if exchange.paused:
                        await asyncio.sleep(0.001)
                        continue
                    exchange.write(piece)
                    largest = max(largest, transport.get_write_buffer_size())
                    count += 1
                    if count % 50 == 0:
                        await asyncio.sleep(0)
                exchange.finish()

            producer = asyncio.create_task(produce())
            await until(lambda: "pause" in held.events)
            await asyncio.sleep(0.1)
            assert count < 4000
            caller.writer.transport.resume_reading()  # type: ignore[attr-defined]
            size = 0
            while (data := await caller.reader.read(1 << 20)) and not data.endswith(b"0\r\n\r\n"):
                size += len(data)
            await producer
            assert size + len(data) > 50_000_000
            assert largest < 200_000
            assert held.events.count("pause") - held.events.count("resume") in (0, 1)

    run(scenario())


def test_a_caller_that_never_reads_is_cut() -> None:
    """After the write timeout the connection is closed and the handler is told that the caller is gone."""

    async def scenario() -> None:
        held = Held()
        async with serving(held, limited(write_timeout=0.4)) as (server, port), calling(port) as caller:
            caller.writer.transport.pause_reading()  # type: ignore[attr-defined]
            caller.send(GET)
            exchange = await held.next()
            exchange.start(200, [])
            while not exchange.paused:
                exchange.write(b"x" * 60_000)
                await asyncio.sleep(0)
            await until(lambda: exchange.gone)
            await until(lambda: server.connections == 0)
        assert held.events[-1] == "gone"
        assert held.events.count("gone") == 1

    run(scenario())


def test_a_finished_answer_nobody_reads_is_given_up() -> None:
    """A large answer on a closing connection does not hold the connection for ever."""

    async def scenario() -> None:
        def handler(exchange: Exchange) -> None:
            exchange.respond(200, [], b"x" * 20_000_000)

        async with serving(handler, limited(write_timeout=1)) as (server, port), calling(port) as caller:
            caller.writer.transport.pause_reading()  # type: ignore[attr-defined]
            caller.send(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            await until(lambda: server.connections == 1)
            await until(lambda: server.connections == 0)

    run(scenario())


def test_drain_finishes_what_runs() -> None:
    """Idle connections close at once, the running answer says `connection: close`, new callers find nobody."""

    async def scenario() -> None:
        held = Held()
        async with serving(held) as (server, port), calling(port) as busy, calling(port) as idle:
            busy.send(GET + GET)
            exchange = await held.next()
            await until(lambda: server.connections == 2)
            draining = asyncio.create_task(server.drain(50))
            assert await idle.closed()
            with pytest.raises(OSError, match=r"refused|Connect call failed"):
                await asyncio.open_connection("127.0.0.1", port)
            assert not draining.done()
            exchange.respond(200, [], b"done")
            answer = await busy.answer()
            assert (answer.body, answer.headers[b"connection"]) == (b"done", b"close")
            assert await busy.closed()
            assert await draining is True
            assert len(held.exchanges) == 1

    run(scenario())


def test_drain_gives_up_in_time() -> None:
    """A stream that does not end makes drain return False; close then cuts it and its handler is told."""

    async def scenario() -> None:
        held = Held()
        async with serving(held) as (server, port), calling(port) as caller:
            caller.send(GET)
            exchange = await held.next()
            exchange.start(200, [])
            assert await server.drain(0.05) is False
            server.close()
            await until(lambda: exchange.gone)
        assert held.events == ["gone"]

    run(scenario())


def test_exchange_facts() -> None:
    """Path, header, peer and TCP_NODELAY are as documented."""

    async def scenario() -> None:
        held = Held()
        async with serving(held, WireLimits()) as (server, port), calling(port) as caller:
            caller.send(b"GET http://a?x=%20 HTTP/1.1\r\nHost: a\r\nX-One: 1\r\nx-one: 2\r\n\r\n")
            exchange = await held.next()
            assert (exchange.path, exchange.target) == (b"/", b"http://a?x=%20")
            assert exchange.header(b"x-one") == b"1"
            assert exchange.header(b"x-two") is None
            assert exchange.peer == "127.0.0.1"
            sock = next(iter(server._connections))._transport.get_extra_info("socket")
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0
            echo(exchange)
            assert (await caller.answer()).status == 200

    run(scenario())


def test_bodies_that_are_not_whole_have_a_budget_together() -> None:
    """Beyond what all connections may have sent of unfinished bodies the next one gets 503; what ends frees its part."""

    async def scenario() -> None:
        limits = replace(LIMITS, max_body_bytes=100_000, max_unread_bytes=150_000)
        async with serving(echo, limits) as (server, port), calling(port) as one, calling(port) as two:
            part = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n" + b"x" * 90_000
            one.send(part)
            await until(lambda: server.unread_bytes == 90_000)
            two.send(part)
            assert (await two.answer()).status == 503
            one.send(b"x" * 10_000)
            assert len((await one.answer()).body) == 100_000
            await until(lambda: server.unread_bytes == 0)

    run(scenario())


def test_tiny_chunks_are_refused() -> None:
    """A body in chunks of a byte costs more to read than it is worth: after some thousands of them it is 400."""

    async def scenario() -> None:
        async with serving(echo, replace(LIMITS, max_body_bytes=100_000)) as (_, port), calling(port) as caller:
            caller.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 9_000)
            assert (await caller.answer()).status == 400

    run(scenario())
