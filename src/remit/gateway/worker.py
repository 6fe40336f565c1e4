"""One gateway process: an event loop, a listening socket, the tree it follows, and an orderly end."""

import asyncio
import contextlib
import os
import signal
import socket
import ssl
from collections.abc import Callable

import psycopg
import structlog

from remit.gateway.bearer import BearerPolicy
from remit.gateway.breaking import Breaking
from remit.gateway.decide import Rulebook
from remit.gateway.deployments import Deployment
from remit.gateway.gateway import Gateway
from remit.gateway.noting import Noting
from remit.gateway.snapshot import TreeSnapshot
from remit.gateway.watching import NOBODY, Watchers
from remit.gateway.wire.limits import WireLimits
from remit.gateway.wire.server import CallerServer
from remit.kernel.clock import Clock
from remit.kernel.durations import parse_duration
from remit.kernel.ids import new_id
from remit.kernel.money import parse_usd
from remit.leases.ports import AuthorityUnreachableError
from remit.pricing.book import PriceBook
from remit.settings import GatewaySettings, Settings, SettingsError, parse_listen
from remit.store.postgres_breaker import TripReports
from remit.store.postgres_lessor import PostgresLessor
from remit.store.postgres_presence import PostgresPresence
from remit.store.postgres_reports import SecurityReports
from remit.store.postgres_tree import PostgresTree

_log = structlog.get_logger(__name__)
# How often a gateway gives a sign of life; see `cli/revoke.py` for how long one is waited for.
_HEARTBEAT_SECONDS = 1.0
# A state of the tree that was announced is there to be read; more readings than this do not make it so.
_MAX_READINGS = 20


class Worker:
    """Serves until SIGTERM or SIGINT; then drains: no new requests, running calls are settled, then it ends."""

    def __init__(  # noqa: PLR0917 - one parameter per part it is joined from
        self,
        settings: Settings,
        url: str,
        clock: Clock,
        prices: PriceBook,
        deployments: tuple[Deployment, ...],
        watchers: Watchers = NOBODY,
    ) -> None:
        self._settings = settings
        self._tree = PostgresTree(url, clock=clock)
        self._presence = PostgresPresence(url, new_id("gw", clock.now()))
        self._lessor = PostgresLessor(url, clock)
        self._reports = SecurityReports(url, clock)
        self._trips = TripReports(url, clock, cool_down_max_seconds=settings.breaker.cool_down_max_seconds)
        self._clock = clock
        self._rulebook = Rulebook(prices, deployments, _bearer_policy(settings.gateway))
        self._reading = asyncio.Lock()
        self._installed = asyncio.Event()
        self._gateway: Gateway | None = None
        self._watchers = watchers

    async def run(self, parent: int, ready: Callable[[], None]) -> None:
        """Runs to the end. `parent` is a file descriptor whose end of file means that the parent is gone.

        `ready` is called once, when callers are served.
        """
        settings = self._settings.gateway
        self._gateway = gateway = Gateway(
            settings=settings,
            renew_url=self._settings.renew_url,
            rulebook=self._rulebook,
            lessor=self._lessor,
            clock=self._clock,
            snapshot=await self._read_tree(),
            reread=self._reread,
            revision=self._tree.revision,
            noting=Noting(self._reports.note, self._reports.report),
            breaking=Breaking(self._settings.breaker, self._trips.record),
            watching=self._watchers.watching,
        )
        self._watchers.start(lambda: gateway.snapshot.revision, lambda: gateway.running)
        name = f"{socket.gethostname()} {settings.listen} process {os.getpid()}"
        await self._presence.acknowledge(name, gateway.snapshot.revision)
        server = CallerServer(gateway.handle, _wire_limits(settings), gateway.malformed)
        host, port = parse_listen(settings.listen)
        port = await server.start(host, port, ssl=_tls_context(settings), reuse_port=settings.workers > 1)
        beside = [
            asyncio.create_task(self._tree.follow(self._changed)),
            asyncio.create_task(self._acknowledge(gateway, name)),
        ]
        stop = _stop_signal(parent)
        _log.info("gateway_ready", listen=f"{host}:{port}", pid=os.getpid(), tree_revision=gateway.snapshot.revision)
        ready()
        await stop.wait()
        await self._drain(server, gateway)
        for task in beside:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        await self._presence.forget()
        self._watchers.stop()

    async def _drain(self, server: CallerServer, gateway: Gateway) -> None:
        _log.info("gateway_draining", connections=server.connections)
        clean = await server.drain(self._settings.gateway.drain_seconds)
        server.close()
        try:
            async with asyncio.timeout(self._settings.gateway.drain_seconds):
                await gateway.idle()
                await self._lessor.close()
                await self._reports.close()
                await self._trips.close()
                await self._tree.close()
        except TimeoutError:
            clean = False
        for deployment in self._rulebook.deployments:
            deployment.pool.close()
        _log.info("gateway_stopped", clean=clean)

    async def _read_tree(self) -> TreeSnapshot:
        previous = None if self._gateway is None else self._gateway.snapshot
        return TreeSnapshot(await self._tree.read(), previous)

    async def _reread(self) -> TreeSnapshot:
        """The tree as it is now; requests that find it stale at the same time share one reading."""
        assert self._gateway is not None
        seen = self._gateway.snapshot
        async with self._reading:
            if self._gateway.snapshot is not seen:
                return self._gateway.snapshot
            try:
                self._gateway.install(await self._read_tree())
            except (psycopg.Error, OSError) as error:
                raise AuthorityUnreachableError("the tree cannot be read") from error
            self._installed.set()
            return self._gateway.snapshot

    async def _changed(self, revision: int | None) -> None:
        """Reads the tree until it is at least at the revision that was announced; one writer announces several at once."""
        assert self._gateway is not None
        with contextlib.suppress(AuthorityUnreachableError):
            if revision is None:
                await self._reread()
                return
            for _ in range(_MAX_READINGS):
                if self._gateway.snapshot.revision >= revision:
                    return
                await self._reread()

    async def _acknowledge(self, gateway: Gateway, name: str) -> None:
        """Tells whoever waits what this gateway goes by: after each new tree, and as a sign of life, for ever."""
        while True:
            self._installed.clear()
            await self._presence.acknowledge(name, gateway.snapshot.revision)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_HEARTBEAT_SECONDS):
                    await self._installed.wait()


def _wire_limits(settings: GatewaySettings) -> WireLimits:
    return WireLimits(
        max_body_bytes=settings.max_body_bytes,
        max_connections=settings.max_connections,
        head_timeout_seconds=settings.head_timeout_seconds,
        body_timeout_seconds=settings.body_timeout_seconds,
        idle_timeout_seconds=settings.idle_timeout_seconds,
    )


def _tls_context(settings: GatewaySettings) -> ssl.SSLContext | None:
    if settings.tls_certificate_file is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        # Without a password of ours OpenSSL would ask a terminal for that of an encrypted key, and wait.
        context.load_cert_chain(settings.tls_certificate_file, settings.tls_key_file, password="")
    except (OSError, ValueError) as error:
        raise SettingsError(f"`gateway.tls_certificate_file` or `tls_key_file` cannot be used: {error}") from None
    if settings.tls_client_ca_file is not None:
        # Whoever has no certificate is served as well: capabilities say which holders need one.
        context.verify_mode = ssl.CERT_OPTIONAL
        try:
            context.load_verify_locations(cafile=settings.tls_client_ca_file)
        except (OSError, ValueError) as error:
            raise SettingsError(f"`gateway.tls_client_ca_file` cannot be used: {error}") from None
    context.set_alpn_protocols(["http/1.1"])
    return context


def _bearer_policy(settings: GatewaySettings) -> BearerPolicy:
    bearer = settings.bearer
    return BearerPolicy(
        None if bearer.max_usd is None else parse_usd(bearer.max_usd),
        None if bearer.max_ttl is None else parse_duration(bearer.max_ttl),
    )


def _stop_signal(parent: int) -> asyncio.Event:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)

    def parent_spoke() -> None:
        if not os.read(parent, 4096):
            loop.remove_reader(parent)
            stop.set()

    loop.add_reader(parent, parent_spoke)
    return stop


def run_worker(worker: Worker, parent: int, ready: Callable[[], None]) -> None:
    """Runs a worker in an event loop of its own; see `Worker.run`."""
    import uvloop  # noqa: PLC0415 - only gateway processes load it

    uvloop.run(worker.run(parent, ready))
