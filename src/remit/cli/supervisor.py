"""Runs gateway processes under one parent: starts them, restarts what dies, ends them in order."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import msgspec
import structlog

from remit.cli.gateway_order import GatewayOrder, encode_order
from remit.kernel.clock import Clock, ShiftedClock
from remit.settings import Settings, parse_listen

_log = structlog.get_logger(__name__)
_RESTART_SECONDS = 0.2
_RESTART_SECONDS_MAX = 5.0
_STEADY_SECONDS = 10.0
# Beyond the time a gateway has for draining: twice, for callers and for what has to be booked.
KILL_MARGIN_SECONDS = 5.0


class GatewayProcesses:
    """The data plane's processes. They read their order from a pipe and drain when it closes.

    All of them go by one clock, `clock`: one that starts again later does not begin a rehearsed date anew.
    """

    def __init__(self, settings: Settings, url: str, clock: Clock) -> None:
        host, port = parse_listen(settings.gateway.listen)
        port = port or _free_port(host)
        gateway = msgspec.structs.replace(settings.gateway, listen=f"{host}:{port}")
        self.host, self.port = host, port
        self.settings = msgspec.structs.replace(settings, gateway=gateway, database_url=url)
        self._clock_shift = clock.shift if isinstance(clock, ShiftedClock) else None
        self._threads: list[threading.Thread] = []
        self._stopping = threading.Event()
        # Guards what follows; `_changed` is told when a process serves or has died.
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._running: dict[int, subprocess.Popen[bytes]] = {}
        self._ready: set[int] = set()
        self._died = False

    @property
    def url(self) -> str:
        """Where callers reach the gateway."""
        scheme = "http" if self.settings.gateway.tls_certificate_file is None else "https"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{scheme}://{host}:{self.port}/v1"

    def start(self) -> None:
        """Starts as many as the settings say; each is watched by a thread."""
        for number in range(self.settings.gateway.workers):
            thread = threading.Thread(target=self._keep_running, args=(number,), name=f"gateway-{number}", daemon=True)
            thread.start()
            self._threads.append(thread)

    def wait_ready(self, timeout_seconds: float) -> bool:
        """Whether all of them serve in time, as they say themselves; False at once when one dies before that."""
        with self._changed:
            self._changed.wait_for(lambda: self._died or self._all_ready(), timeout_seconds)
            return self._all_ready()

    def stop(self) -> None:
        """Lets every process drain and end; one that is still there after its time is killed."""
        with self._lock:
            self._stopping.set()
            for process in self._running.values():
                process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + 2 * self.settings.gateway.drain_seconds + KILL_MARGIN_SECONDS
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        with self._lock:
            for number, process in self._running.items():
                _log.error("gateway_killed", number=number, pid=process.pid)
                process.kill()
        for thread in self._threads:
            thread.join()

    def _all_ready(self) -> bool:
        return len(self._ready) == self.settings.gateway.workers

    def _keep_running(self, number: int) -> None:
        wait_seconds = 0.0
        while not self._stopping.is_set():
            started = time.monotonic()
            self._run(number)
            wait_seconds = restart_wait(wait_seconds, time.monotonic() - started)
            self._stopping.wait(wait_seconds)

    def _run(self, number: int) -> None:
        """Starts a process, unless they are to stop, and sees it to its end."""
        try:
            spawned = self._spawn(number)
        except OSError as error:
            _log.error("gateway_not_started", number=number, error=str(error))
            self._note_death(number)
            return
        if spawned is None:
            return
        process, ready = spawned
        with os.fdopen(ready, "rb", buffering=0) as pipe:
            if pipe.read(1):
                with self._changed:
                    self._ready.add(number)
                    self._changed.notify_all()
        code = process.wait()
        self._note_death(number)
        if not self._stopping.is_set():
            _log.error("gateway_died", number=number, pid=process.pid, code=code)

    def _note_death(self, number: int) -> None:
        with self._changed:
            process = self._running.pop(number, None)
            self._ready.discard(number)
            self._died = True
            self._changed.notify_all()
        if process is not None and process.stdin is not None:
            # What it never read of its order is of no use to anybody.
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()

    def _spawn(self, number: int) -> "tuple[subprocess.Popen[bytes], int] | None":
        """A process that has its order, and the pipe it will say on that it serves; None where they are to stop.

        Looked at under the lock: after `stop` has signalled those that run, no other one may start.
        """
        with self._lock:
            if self._stopping.is_set():
                return None
            ready, told = os.pipe()
            try:
                process = subprocess.Popen(
                    [sys.executable, "-m", "remit.cli.gateway_process"], stdin=subprocess.PIPE, pass_fds=(told,)
                )
            except BaseException:
                os.close(ready)
                raise
            finally:
                os.close(told)
            self._running[number] = process
        assert process.stdin is not None
        order = GatewayOrder(
            settings=self.settings, clock_shift=self._clock_shift, ready_descriptor=told, number=number
        )
        # One that died before it read its order is met as any other that died, by whoever waits for it.
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(encode_order(order))
            process.stdin.flush()
        return process, ready


def restart_wait(previous_seconds: float, lived_seconds: float) -> float:
    """How long to wait before a process is started again: longer each time, unless it had been steady."""
    if lived_seconds > _STEADY_SECONDS:
        return _RESTART_SECONDS
    return min(max(previous_seconds * 2, _RESTART_SECONDS), _RESTART_SECONDS_MAX)


def _free_port(host: str) -> int:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family) as probe:
        return int(probe.getsockname()[1])
