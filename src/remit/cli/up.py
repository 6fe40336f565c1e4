"""`remit up`: authority and gateway on one machine."""

import signal
import sys
import threading
from types import FrameType

from remit.bootstrap import Authority, open_database
from remit.cli.supervisor import GatewayProcesses
from remit.settings import Settings

READY_SECONDS = 60.0


def run_up(settings: Settings) -> int:
    """Runs until SIGTERM or SIGINT; the exit code."""
    stop = threading.Event()

    def on_signal(number: int, frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)
    url = open_database(settings)
    authority = Authority(settings, url)
    authority.keys()
    upkeep = authority.upkeep()
    gateways = GatewayProcesses(settings, url)
    gateways.start()
    upkeep.start()
    try:
        if not gateways.wait_ready(READY_SECONDS):
            print("the gateway did not become ready; its log says why", file=sys.stderr)
            return 1
        print(f"remit is up: gateway http://{gateways.host}:{gateways.port}/v1", flush=True)
        stop.wait()
        return 0
    finally:
        gateways.stop()
        upkeep.stop()
