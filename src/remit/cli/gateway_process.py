"""One gateway process of `remit up`: settings come as a line on standard input, whose end means stop."""

import sys
from pathlib import Path
from typing import Any

import msgspec

from remit.bootstrap import run_gateway
from remit.cli.failures import reported
from remit.cli.logs import set_up_logs
from remit.settings import Settings


def _decode(kind: type, value: Any) -> Any:
    if kind is Path:
        return Path(value)
    raise NotImplementedError(kind)


def main() -> None:
    """Entry point of the process."""
    set_up_logs()
    settings = msgspec.json.decode(sys.stdin.buffer.readline(), type=Settings, dec_hook=_decode)
    assert settings.database_url is not None
    try:
        run_gateway(settings, settings.database_url, parent=sys.stdin.fileno())
    except Exception as error:
        code = reported(error)
        if code is None:
            raise
        sys.exit(code)


if __name__ == "__main__":
    main()
