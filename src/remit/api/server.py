"""Serves the control plane from a thread of the authority's process."""

import asyncio
import socket
import threading
from concurrent.futures import ThreadPoolExecutor

import uvicorn

from remit.api.app import make_app
from remit.api.heads import protocol_with_deadline
from remit.api.services import Services
from remit.settings import parse_listen

# Each has at most one connection to the database; writes come one after the other anyway.
_THREADS = 8
_MAX_CONNECTIONS = 256
_MAX_HEAD_BYTES = 32 * 1024
_STOP_SECONDS = 10
HEAD_SECONDS = 10.0
_BACKLOG = 128


class ApiServer:
    """Binds at once, so that a taken port is known before anything runs; answers from `start` to `stop`."""

    def __init__(self, services: Services, listen: str, head_seconds: float = HEAD_SECONDS) -> None:
        """Raises OSError where the address cannot be had, SettingsError where it is none."""
        host, port = parse_listen(listen)
        self._services = services
        app = make_app(services)
        self._socket = socket.create_server(
            (host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=_BACKLOG
        )
        # Taken over by what it accepts. A body that follows its head would wait for the caller's delayed acknowledgement: 40 ms.
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.host, self.port = host, int(self._socket.getsockname()[1])
        config = uvicorn.Config(
            app,
            http=protocol_with_deadline(head_seconds),
            ws="none",
            lifespan="on",
            log_config=None,
            log_level="warning",
            access_log=False,
            server_header=False,
            limit_concurrency=_MAX_CONNECTIONS,
            h11_max_incomplete_event_size=_MAX_HEAD_BYTES,
            timeout_graceful_shutdown=_STOP_SECONDS,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._run, name="api", daemon=True)

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}/v1"

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Lets requests under way end, for ten seconds at most."""
        self._server.should_exit = True
        if self._thread.is_alive():
            self._thread.join()
        self._socket.close()
        self._services.connections.close()
        self._services.reading.close()

    def _run(self) -> None:
        with ThreadPoolExecutor(_THREADS, "api") as pool:
            asyncio.run(self._serve(pool))

    async def _serve(self, pool: ThreadPoolExecutor) -> None:
        asyncio.get_running_loop().set_default_executor(pool)
        await self._server.serve(sockets=[self._socket])
