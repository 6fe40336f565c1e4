"""Runs gateway processes until somebody asks for the end."""

import signal
import sys
from queue import SimpleQueue
from types import FrameType
from typing import TYPE_CHECKING

from remit.cli.codes import EXIT_DIFFERENCES, EXIT_OK
from remit.cli.supervisor import GatewayProcesses
from remit.jobs.upkeep import Upkeep
from remit.kernel.clock import Clock
from remit.settings import Settings

if TYPE_CHECKING:
    from remit.api.server import ApiServer
    from remit.telemetry.pages import MetricsServer

READY_SECONDS = 60.0


def run_gateways(  # noqa: PLR0917 - the parts that run beside each other
    settings: Settings,
    url: str,
    clock: Clock,
    upkeep: Upkeep | None,
    api: "ApiServer | None" = None,
    metrics: "MetricsServer | None" = None,
) -> int:
    """Runs until SIGTERM or SIGINT, with upkeep and API beside them where this is the authority; the exit code.

    Upkeep and API have the same `clock`, so that everything that runs together agrees on the time.
    """
    # A second signal may come while the first is dealt with: an event would wait for its own lock then, this queue does not.
    stop: SimpleQueue[int] = SimpleQueue()

    def on_signal(number: int, _frame: FrameType | None) -> None:
        stop.put(number)

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)
    gateways = GatewayProcesses(settings, url, clock)
    gateways.start()
    if upkeep is not None:
        upkeep.start()
    beside = [one for one in (api, metrics) if one is not None]
    for one in beside:
        one.start()
    try:
        if not gateways.wait_ready(READY_SECONDS):
            print("remit: the gateway did not become ready; its log says why", file=sys.stderr)
            return EXIT_DIFFERENCES
        also = f", api {api.url}" if api is not None else ""
        print(f"remit is up: gateway {gateways.url}{also}", flush=True)
        stop.get()
        return EXIT_OK
    finally:
        for one in beside:
            one.stop()
        gateways.stop()
        if upkeep is not None:
            upkeep.stop()
