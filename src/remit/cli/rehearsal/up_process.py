"""`remit up` for a rehearsal: settings come as a line on standard input, whose end means stop.

It ends with whoever started it, however that ended. Standard output has the database's URL on its first line and what
`remit up` says on the following ones.
"""

import os
import signal
import sys
import threading
from types import FrameType

from remit.bootstrap import Authority, gateway_database, open_database
from remit.cli.codes import EXIT_TERMINATED
from remit.cli.logs import set_up_logs
from remit.cli.running import run_gateways
from remit.settings import decode_settings


def _end_with_parent() -> None:
    os.read(sys.stdin.fileno(), 1)
    os.kill(os.getpid(), signal.SIGTERM)


def _leave(_number: int, _frame: FrameType | None) -> None:
    sys.exit(EXIT_TERMINATED)


def main() -> int:
    """Runs to the end; the exit code of `remit up`."""
    set_up_logs()
    settings = decode_settings(_first_line(sys.stdin.fileno()))
    # Whoever leaves while the database is being made does not wait for it.
    signal.signal(signal.SIGTERM, _leave)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    url = open_database(settings)
    authority = Authority(settings, url, source="upkeep")
    authority.make_issuer_known()
    print(url, flush=True)
    return run_gateways(settings, gateway_database(settings, url), authority.clock, authority.upkeep())


def _first_line(descriptor: int) -> bytes:
    """Unbuffered, so that nothing but the end is left to read."""
    line = bytearray()
    while not line.endswith(b"\n") and (piece := os.read(descriptor, 1)):
        line += piece
    return bytes(line)


if __name__ == "__main__":
    sys.exit(main())
