"""One gateway process of `remit up`: an order comes on standard input, whose end means stop."""

import os
import sys

from remit.bootstrap import run_gateway
from remit.cli.failures import reported
from remit.cli.gateway_order import decode_order
from remit.cli.logs import set_up_logs
from remit.kernel.clock import ShiftedClock, SystemClock


def main() -> None:
    """Entry point of the process."""
    set_up_logs()
    order = decode_order(sys.stdin.buffer.readline())
    clock = SystemClock() if order.clock_shift is None else ShiftedClock(order.clock_shift)

    def ready() -> None:
        os.write(order.ready_descriptor, b"\n")
        os.close(order.ready_descriptor)

    try:
        run_gateway(order.settings, clock, parent=sys.stdin.fileno(), ready=ready, number=order.number)
    except Exception as error:
        code = reported(error)
        if code is None:
            raise
        sys.exit(code)


if __name__ == "__main__":
    main()
