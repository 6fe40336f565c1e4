"""The vendor simulator from the command line."""

import argparse
import asyncio
import gc
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import uvloop

from remit.testing.vendor_sim.prices import InvalidPriceListError, PriceList
from remit.testing.vendor_sim.server import VendorSim

# Rows live for ever and nothing here makes cycles by the request; looking for garbage often only costs time.
_GC_THRESHOLD = 100_000
_MAX_PORT = 65_535


class CannotServeError(Exception):
    """The vendor cannot run as it was asked to; the message is a lower-case clause."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the vendor until SIGTERM or SIGINT; prints its URL on one line. Exit code 2 for a bad option or price list.

    The key callers need, if any, is read from `REMIT_SIM_API_KEY`: a command line can be seen by others.
    """
    parser = argparse.ArgumentParser(
        prog="python -m remit.testing.vendor_sim", description="A vendor with OpenAI's wire format and its own books."
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=0, help="port to listen on; 0 takes a free one (default)")
    parser.add_argument("--port-file", type=Path, help="write the port to this file once listening")
    parser.add_argument("--prices", type=Path, help="JSON price list laid over the built-in one")
    parser.add_argument("--seed", type=int, help="makes request ids and random choices repeatable")
    parser.add_argument("--until-stdin-ends", action="store_true", help="stop when standard input is closed")
    options = parser.parse_args(arguments)
    try:
        run_vendor(**vars(options))
    except CannotServeError as error:
        print(f"vendor-sim: {error}", file=sys.stderr)
        return 2
    return 0


def run_vendor(
    *, host: str, port: int, port_file: Path | None, prices: Path | None, seed: int | None, until_stdin_ends: bool
) -> None:
    """Runs the vendor until SIGTERM or SIGINT. Raises CannotServeError."""
    if not 0 <= port <= _MAX_PORT:
        raise CannotServeError(f"{port} is not a port: those are 0 to {_MAX_PORT}")
    try:
        price_list = PriceList.default() if prices is None else PriceList.from_file(prices)
    except InvalidPriceListError as error:
        raise CannotServeError(str(error)) from None
    except OSError as error:
        raise CannotServeError(f"cannot read `{prices}`: {(error.strerror or str(error)).lower()}") from None
    vendor = VendorSim(prices=price_list, seed=seed, api_key=os.environ.get("REMIT_SIM_API_KEY"), host=host, port=port)
    uvloop.run(_serve(vendor, f"{host}:{port}", port_file, until_stdin_ends=until_stdin_ends))


async def _serve(vendor: VendorSim, listen: str, port_file: Path | None, *, until_stdin_ends: bool) -> None:
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    async with AsyncExitStack() as running:
        try:
            await running.enter_async_context(vendor)
        except OSError as error:
            # The library's own text repeats the address; name lookup has no number of the system's.
            known = error.errno is not None and error.errno > 0
            why = os.strerror(error.errno or 0) if known else error.strerror or str(error)
            raise CannotServeError(f"cannot listen on `{listen}`: {why.lower()}") from None
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
