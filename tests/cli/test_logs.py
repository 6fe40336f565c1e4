"""Lines of the log are JSON, whatever is in them."""

import json
import subprocess
import sys

SAYING = """
import structlog
from remit.cli.logs import set_up_logs
set_up_logs()
structlog.get_logger().info("said", text=%s, thing=object)
"""


def test_half_a_surrogate_pair_is_logged_escaped() -> None:
    """A text that no encoding has bytes for is one line of JSON as any other, and ends nothing."""
    for text in ("ab", "a\ud800\n"):
        done = subprocess.run(
            [sys.executable, "-c", SAYING % ascii(text)], capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr
        (line,) = done.stderr.splitlines()
        said = json.loads(line)
        assert (said["event"], said["text"], said["thing"]) == ("said", text, "<class 'object'>")
