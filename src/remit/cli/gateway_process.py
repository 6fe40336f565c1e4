"""One gateway process of `remit up`: settings come as a line on standard input, whose end means stop."""

import sys

from remit.bootstrap import run_gateway
from remit.cli.logs import set_up_logs
from remit.settings import decode_settings


def main() -> None:
    """Entry point of the process."""
    set_up_logs()
    settings = decode_settings(sys.stdin.buffer.readline())
    assert settings.database_url is not None
    run_gateway(settings, settings.database_url, parent=sys.stdin.fileno())


if __name__ == "__main__":
    main()
