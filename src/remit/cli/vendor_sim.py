"""`remit vendor-sim`: the vendor simulator."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from remit.cli.codes import EXIT_OK, CommandError

_MAX_PORT = 65_535


def vendor_sim(
    *,
    host: Annotated[str, Parameter(help="Address to listen on; 127.0.0.1 if left out.")] = "127.0.0.1",
    port: Annotated[
        int,
        Parameter(validator=Number(gte=0, lte=_MAX_PORT), help="Port to listen on; a free one if left out."),
    ] = 0,
    port_file: Annotated[Path | None, Parameter(help="Write the port to this file once listening.")] = None,
    prices: Annotated[Path | None, Parameter(help="JSON price list laid over the built-in one.")] = None,
    seed: Annotated[int | None, Parameter(help="Makes request ids and random choices repeatable.")] = None,
    until_stdin_ends: Annotated[bool, Parameter(help="Stop when standard input is closed.")] = False,
) -> int:
    """Run a made-up vendor with OpenAI's wire format, scripted faults, and its own price list and books.

    Prints its address and runs until SIGTERM or SIGINT. The key callers need, if any, is read from $REMIT_SIM_API_KEY.
    """
    from remit.testing.vendor_sim.__main__ import CannotServeError, run_vendor

    try:
        run_vendor(
            host=host, port=port, port_file=port_file, prices=prices, seed=seed, until_stdin_ends=until_stdin_ends
        )
    except CannotServeError as error:
        raise CommandError(str(error)) from None
    return EXIT_OK
