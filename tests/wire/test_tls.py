"""TLS on both sides, with certificates made for the test."""

import asyncio
import ssl
from pathlib import Path

import pytest
import trustme

from remit.gateway.wire import Exchange, Origin, VendorPool, vendor_ssl_context
from tests.wire.support import calling, echo, run, serving, until
from tests.wire.vendor_support import LIMITS, REQUEST, Sink, keeping, pooling, read_request, vendor


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """A certificate authority nobody trusts by default."""
    return trustme.CA()


@pytest.fixture
def ca_file(authority: trustme.CA, tmp_path: Path) -> Path:
    """Its certificate as a file."""
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return path


def serving_context(authority: trustme.CA, name: str) -> ssl.SSLContext:
    """A server's context for one host name."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(name).configure_cert(context)
    return context


def test_a_vendor_is_verified(authority: trustme.CA, ca_file: Path) -> None:
    """The right name under a trusted authority works and is kept; a wrong name or an unknown authority gets nothing."""

    async def scenario() -> None:
        response = keeping(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
        for name, context, expected in [
            ("localhost", vendor_ssl_context(ca_file), ("complete", True, True)),
            ("other.example", vendor_ssl_context(ca_file), ("tls_failed", False, False)),
            ("localhost", vendor_ssl_context(), ("tls_failed", False, False)),
        ]:
            async with (
                vendor(response, serving_context(authority, name)) as server,
                pooling(server.port, LIMITS, context, "localhost") as pool,
            ):
                for _ in range(2):
                    sink = Sink()
                    pool.send(REQUEST, sink)
                    assert await sink.end() == expected
                assert server.connections == (1 if expected[1] else 0)

    run(scenario())


def test_a_plain_vendor_behind_https(ca_file: Path) -> None:
    """A vendor that speaks no TLS is a failed handshake, and nothing was sent."""

    async def scenario() -> None:
        async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(10)
            writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        async with (
            vendor(plain) as server,
            pooling(server.port, LIMITS, vendor_ssl_context(ca_file), "localhost") as pool,
        ):
            sink = Sink()
            pool.send(REQUEST, sink)
            reason, sent, head = await sink.end()
            assert (reason in ("tls_failed", "connect_failed"), sent, head) == (True, False, False)

    run(scenario())


@pytest.mark.parametrize(("clean", "expected"), [(True, "complete"), (False, "closed_early")])
def test_the_end_of_a_body_without_framing_must_be_signed(
    authority: trustme.CA, ca_file: Path, clean: bool, expected: str
) -> None:
    """Over TLS an EOF-delimited body is complete only with close_notify: a cut cannot pass for the end."""
    sink = Sink()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\nhello")
        await until(lambda: sink.body == b"hello")
        if not clean:
            writer.transport.abort()

    async def scenario() -> None:
        async with (
            vendor(script, serving_context(authority, "localhost")) as server,
            pooling(server.port, LIMITS, vendor_ssl_context(ca_file), "localhost") as pool,
        ):
            pool.send(REQUEST, sink)
            assert (await sink.end())[0] == expected
            assert sink.body == b"hello"

    run(scenario())


def test_https_needs_a_context() -> None:
    """Neither https without a context nor http with one is accepted."""
    for scheme, context in [("https", None), ("http", ssl.create_default_context()), ("ftp", None)]:
        with pytest.raises(ValueError, match=r"SSL context|unknown scheme"):
            VendorPool(Origin(scheme, "a", 1), context, LIMITS)
    assert Origin("https", "a", 443).host_header == b"a"
    assert Origin("https", "::1", 8443).host_header == b"[::1]:8443"


def test_callers_over_tls(authority: trustme.CA, ca_file: Path) -> None:
    """Answers, refusals, cut streams and hang-ups work over TLS as they do in the clear."""
    client = ssl.create_default_context(cafile=str(ca_file))
    events: list[str] = []

    def handler(exchange: Exchange) -> None:
        if exchange.path == b"/cut":
            exchange.start(200, [])
            exchange.write(b"abc")
            exchange.abort()
        elif exchange.path == b"/wait":
            events.append("here")
            exchange.on_gone = lambda: events.append("gone")
        else:
            echo(exchange)

    async def scenario() -> None:
        options = {"ssl": client, "server_hostname": "localhost"}
        async with serving(handler, ssl=serving_context(authority, "localhost")) as (server, port):
            async with calling(port, **options) as caller:
                for _ in range(2):
                    caller.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc")
                    assert (await caller.answer()).body == b"abc"
                caller.send(b"GET / HTTP/3.0\r\n\r\n")
                assert (await caller.answer()).status == 400
                assert await caller.closed()
            async with calling(port, **options) as caller:
                caller.send(b"GET /cut HTTP/1.1\r\nHost: a\r\n\r\n")
                assert (await caller.reader.read()).endswith(b"3\r\nabc\r\n")
            async with calling(port, **options) as caller:
                caller.send(b"GET /wait HTTP/1.1\r\nHost: a\r\n\r\n")
                await until(lambda: events == ["here"])
            await until(lambda: server.connections == 0)
        assert events == ["here", "gone"]

    run(scenario())
