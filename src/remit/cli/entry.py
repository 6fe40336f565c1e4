"""Where the `remit` script begins. The SDK is installed without what the command needs, and then this says so."""

import sys

from remit.cli.codes import EXIT_USAGE


def main() -> None:
    """Runs the command line, or says what to install."""
    try:
        from remit.cli.main import main as run
    except ModuleNotFoundError as missing:
        if missing.name is None or missing.name.partition(".")[0] == "remit":
            raise
        print(f"remit: `{missing.name}` is not installed; the command needs `remit[server]`", file=sys.stderr)
        sys.exit(EXIT_USAGE)
    run()
