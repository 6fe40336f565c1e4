"""The page that leads from nothing to a closed month can be followed as it is printed."""

import csv
import os
import re
import shlex
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

from tests.cli.conftest import Cli, plain_environment
from tests.system.harness import System

PAGE = Path(__file__).resolve().parents[2] / "docs" / "howto" / "try-a-month.md"
# In the shell of the page, `remit` is what this process does with its arguments, which spares each its imports. What the page starts
# and ends runs already: the simulator and `remit up`.
SHELL = """
set -eu
kill() { :; }
remit() {
  if [ "$1" = up ]; then echo "remit is up"; return; fi
  if [ "$1" = vendor-sim ]; then return; fi
  local said=$(printf '%q ' "${REMIT_CLOCK_AT-}" "$@" | curl -s --data-binary @- "$COMMANDS")
  printf '%s\\n' "${said#*$'\\n'}"
  return "${said%%$'\\n'*}"
}
"""


@contextmanager
def serving(cli: Cli, remarks: list[str]) -> Iterator[str]:
    """An address at which commands are carried out, one after the other: exit code, then what they print."""

    class Commands(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            said = self.rfile.read(int(self.headers["content-length"])).decode()
            clock, *arguments = shlex.split(said)
            ran = cli(*arguments, **({"REMIT_CLOCK_AT": clock} if clock else {}))
            remarks.extend(ran.err.splitlines())
            body = f"{ran.code}\n{ran.out}".encode()
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Nothing: what was printed is in the answer."""

    with HTTPServer(("127.0.0.1", 0), Commands) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


def blocks(language: str) -> str:
    found = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return "\n".join(text for known, text in found if known == language)


def test_the_page_can_be_followed(tmp_path: Path) -> None:
    """Every block runs, each line that is shown was printed, and the month ends closed, with files that join."""
    with System(settings="", environment={"REMIT_CLOCK_AT": "2026-10-20T12:00:00Z"}) as system:
        script = SHELL + blocks("").replace("127.0.0.1:8500", system.vendor.url.removeprefix("http://"))
        script = script.replace("127.0.0.1:8400", f"127.0.0.1:{system.port}")
        known = {"REMIT_DATABASE_URL": system.url, "REMIT_DATA_DIR": str(system.settings.data_dir), "USER": "ada"}
        bin_folder = Path(sys.executable).parent
        environment = plain_environment(**known, PATH=f"{bin_folder}:{os.environ['PATH']}")
        remarks: list[str] = []
        with serving(Cli(tmp_path, environment), remarks) as commands:
            ran = subprocess.run(
                ["bash", "-c", script], cwd=tmp_path, env={**environment, "COMMANDS": commands}, timeout=100,
                capture_output=True, text=True, check=False,
            )  # fmt: skip
    assert ran.returncode == 0, (ran.stdout, ran.stderr, remarks)
    printed = [re.sub(r"(rec|ticket)_[0-9a-z]{26}", r"\1_...", line) for line in [*ran.stdout.splitlines(), *remarks]]
    for line in blocks("text").splitlines():
        assert not line or line in printed, (line, ran.stdout)
    usage, invoice = (
        list(csv.DictReader((tmp_path / f"{name}.csv").read_text().splitlines()))
        for name in ("cost-and-usage", "invoice-detail")
    )
    key = ("InvoiceIssuerName", "BillingAccountId", "InvoiceId")
    assert {tuple(row[name] for name in key) for row in [*usage, *invoice]} == {("OpenAI", "org-acme", "INV-7")}
    assert "<html" in (tmp_path / "bob.html").read_text().lower()
