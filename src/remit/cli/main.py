"""The `remit` command: its commands and what they share."""

import sys
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

from remit import __version__
from remit.cli.logs import set_up_logs
from remit.settings import SettingsError, load_settings

app = App(name="remit", version=__version__, help="Budgets for LLM spend as grants, enforced at a gateway.")


@app.command
def up(
    *,
    config: Annotated[Path | None, Parameter(help="Settings file (default: remit.toml, if there is one).")] = None,
    data_dir: Annotated[Path | None, Parameter(help="Where the embedded database and the issuer key live.")] = None,
    listen: Annotated[str | None, Parameter(help="host:port of the gateway.")] = None,
    workers: Annotated[int | None, Parameter(help="Gateway processes.")] = None,
    vendor_url: Annotated[
        str | None, Parameter(help="Base URL of one OpenAI-compatible vendor, without a key.")
    ] = None,
) -> int:
    """Run authority and gateway on this machine, over the embedded PostgreSQL or one's own."""
    from remit.cli.up import run_up  # noqa: PLC0415 - keeps the other commands fast

    set_up_logs()
    overrides: dict[str, Any] = {"data_dir": data_dir, "gateway": {"listen": listen, "workers": workers}}
    overrides["gateway"] = {name: value for name, value in overrides["gateway"].items() if value is not None}
    if vendor_url is not None:
        overrides["vendors"] = {"openai": {"base_url": vendor_url}}
    return run_up(load_settings(config, overrides))


def main() -> None:
    """Entry point: turns what users can mend into a message and exit code 2."""
    try:
        code = app()
    except SettingsError as error:
        print(f"remit: {error}", file=sys.stderr)
        code = 2
    sys.exit(code if isinstance(code, int) else 0)
