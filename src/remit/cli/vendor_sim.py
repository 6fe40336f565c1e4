"""`remit vendor-sim`: hands its arguments to the vendor simulator, whose own `--help` lists them."""

from typing import Annotated

from cyclopts import App, Parameter

app_command = App(
    name="vendor-sim", help="Run a made-up vendor that keeps its own books.", help_flags=(), version_flags=()
)


@app_command.default
def vendor_sim(*arguments: Annotated[str, Parameter(allow_leading_hyphen=True)]) -> int:
    """Run a vendor with OpenAI's wire format, scripted faults, and its own price list and books."""
    from remit.testing.vendor_sim.__main__ import main

    return main(arguments)
