"""Runs gateway processes under one parent: starts them, restarts what dies, ends them in order."""

import http.client
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import PurePath
from typing import Any

import msgspec
import structlog

from remit.settings import Settings, parse_listen

_log = structlog.get_logger(__name__)
_RESTART_SECONDS = 0.2
_RESTART_SECONDS_MAX = 5.0
_STEADY_SECONDS = 10.0


class GatewayProcesses:
    """The data plane's processes. They read their settings from a pipe and drain when it closes."""

    def __init__(self, settings: Settings, url: str) -> None:
        host, port = parse_listen(settings.gateway.listen)
        port = port or _free_port(host)
        gateway = msgspec.structs.replace(settings.gateway, listen=f"{host}:{port}")
        self.host, self.port = host, port
        self.settings = msgspec.structs.replace(settings, gateway=gateway, database_url=url)
        self._stopping = threading.Event()
        self._died = threading.Event()
        self._threads: list[threading.Thread] = []
        self._running: dict[int, subprocess.Popen[bytes]] = {}
        self._lock = threading.Lock()

    def start(self) -> None:
        """Starts as many as the settings say; each is watched by a thread."""
        for number in range(self.settings.gateway.workers):
            thread = threading.Thread(target=self._keep_running, args=(number,), name=f"gateway-{number}", daemon=True)
            thread.start()
            self._threads.append(thread)

    def wait_ready(self, timeout_seconds: float) -> bool:
        """Whether requests are answered in time; False at once when a process dies before that."""
        deadline = time.monotonic() + timeout_seconds
        while time.monotonic() < deadline and not self._stopping.is_set() and not self._died.is_set():
            connection = http.client.HTTPConnection(self.host, self.port, timeout=1)
            try:
                connection.request("GET", "/healthz")
                if connection.getresponse().status == 200:
                    return True
            except (OSError, http.client.HTTPException):
                time.sleep(0.05)
            finally:
                connection.close()
        return False

    def stop(self) -> None:
        """Lets every process drain and end."""
        self._stopping.set()
        with self._lock:
            for process in self._running.values():
                process.send_signal(signal.SIGTERM)
        for thread in self._threads:
            thread.join()

    def _keep_running(self, number: int) -> None:
        wait_seconds = _RESTART_SECONDS
        while not self._stopping.is_set():
            started = time.monotonic()
            process = self._spawn(number)
            code = process.wait()
            if self._stopping.is_set():
                return
            self._died.set()
            _log.error("gateway_died", number=number, pid=process.pid, code=code)
            steady = time.monotonic() - started > _STEADY_SECONDS
            wait_seconds = _RESTART_SECONDS if steady else min(wait_seconds * 2, _RESTART_SECONDS_MAX)
            self._stopping.wait(wait_seconds)

    def _spawn(self, number: int) -> "subprocess.Popen[bytes]":
        with self._lock:
            process = subprocess.Popen([sys.executable, "-m", "remit.cli.gateway_process"], stdin=subprocess.PIPE)
            assert process.stdin is not None
            process.stdin.write(msgspec.json.encode(self.settings, enc_hook=_encode) + b"\n")
            process.stdin.flush()
            self._running[number] = process
            return process


def _free_port(host: str) -> int:
    with socket.create_server((host, 0)) as probe:
        return int(probe.getsockname()[1])


def _encode(value: Any) -> Any:
    if isinstance(value, PurePath):
        return str(value)
    raise NotImplementedError(type(value))
