"""The vendor simulator from the command line."""

import argparse
import asyncio
import gc
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import uvloop

from remit.testing.vendor_sim.prices import InvalidPriceListError, PriceList
from remit.testing.vendor_sim.server import VendorSim

# Rows live for ever and nothing here makes cycles by the request; looking for garbage often only costs time.
_GC_THRESHOLD = 100_000


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the vendor until SIGTERM or SIGINT; prints its URL on one line. Exit code 2 for a bad option or price list.

    The key callers need, if any, is read from `REMIT_SIM_API_KEY`: a command line can be seen by others.
    """
    parser = argparse.ArgumentParser(
        prog="remit vendor-sim", description="A vendor with OpenAI's wire format and its own books."
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=0, help="port to listen on; 0 takes a free one (default)")
    parser.add_argument("--port-file", type=Path, help="write the port to this file once listening")
    parser.add_argument("--prices", type=Path, help="JSON price list laid over the built-in one")
    parser.add_argument("--seed", type=int, help="makes request ids and random choices repeatable")
    parser.add_argument("--until-stdin-ends", action="store_true", help="stop when standard input is closed")
    options = parser.parse_args(arguments)
    try:
        prices = PriceList.default() if options.prices is None else PriceList.from_file(options.prices)
    except (InvalidPriceListError, OSError) as error:
        print(f"vendor-sim: {error}", file=sys.stderr)
        return 2
    vendor = VendorSim(
        prices=prices,
        seed=options.seed,
        api_key=os.environ.get("REMIT_SIM_API_KEY"),
        host=options.host,
        port=options.port,
    )
    uvloop.run(_serve(vendor, options.port_file, until_stdin_ends=options.until_stdin_ends))
    return 0


async def _serve(vendor: VendorSim, port_file: Path | None, *, until_stdin_ends: bool) -> None:
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    async with vendor:
        if port_file is not None:
            _write_port(port_file, vendor.url.rpartition(":")[2])
        print(vendor.url, flush=True)
        if until_stdin_ends:
            loop.add_reader(sys.stdin.fileno(), _stop_at_end, stopped)
        gc.collect()
        gc.freeze()
        gc.set_threshold(_GC_THRESHOLD)
        await stopped.wait()
        if until_stdin_ends:
            loop.remove_reader(sys.stdin.fileno())


def _write_port(path: Path, port: str) -> None:
    # Whoever waits for the file must never read half of it.
    draft = path.with_name(f"{path.name}.draft")
    draft.write_text(f"{port}\n")
    draft.replace(path)


def _stop_at_end(stopped: asyncio.Event) -> None:
    if not os.read(sys.stdin.fileno(), 4_096):
        stopped.set()


if __name__ == "__main__":
    sys.exit(main())
