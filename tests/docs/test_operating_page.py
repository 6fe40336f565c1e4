"""The page for operators names every log line, notification and role that there is."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from remit.kernel.clock import SystemClock
from remit.notify.signature import Signer
from remit.store.named import query
from remit.testing.clock import ManualClock

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "operating.md").read_text(encoding="utf-8")
SOURCES = [path.read_text(encoding="utf-8") for path in (ROOT / "src" / "remit").rglob("*.py")]
MIGRATIONS = "\n".join(
    path.read_text(encoding="utf-8") for path in sorted((ROOT / "src/remit/store/migrations").glob("*.sql"))
)


def first_column(heading: str) -> set[str]:
    """The names in backticks in the first column of a section's table, without its head."""
    text = PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    cells = re.findall(r"^\| (`[^|]+) \|", text, re.MULTILINE)
    return {name for cell in cells for name in re.findall(r"`(\w+)`", cell)} - {"event", "kind"}


def test_every_log_line_stands_on_the_page() -> None:
    """Events that are logged and events that are explained are the same."""
    logged = {
        event for text in SOURCES for event in re.findall(r"_log\.(?:info|warning|error|exception)\(\s*\"(\w+)\"", text)
    }
    # Upkeep's threads log under their names.
    upkeep = (ROOT / "src/remit/jobs/upkeep.py").read_text(encoding="utf-8")
    logged |= {f"{name}_failed" for name in re.findall(r"_thread\(\"(\w+)\"", upkeep)}
    assert first_column("Log lines") == logged


def test_every_notification_stands_on_the_page() -> None:
    """Kinds of notifications in the database and on the page are the same."""
    # The last migration that says which kinds there are counts.
    newest = MIGRATIONS.rpartition("ADD CONSTRAINT notifications_kind_check")[2]
    check = re.search(r"kind IN \(([^)]*)\)", newest)
    assert check is not None
    assert first_column("Notifications") == set(re.findall(r"'(\w+)'", check[1]))


def test_the_snippet_verifies_what_is_posted() -> None:
    """The code for receivers takes what the webhook signs now, and nothing else."""
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    names: dict[str, Any] = {}
    exec(code, names)
    verify, secret, body = names["is_from_remit"], b"sixteen bytes and more", b'{"id":7}'
    header = Signer(secret, SystemClock()).header(body)
    assert verify(header, body, secret)
    assert not verify(header, body + b" ", secret) and not verify(header, body, secret + b"x")
    old = Signer(secret, ManualClock(datetime.now(UTC) - timedelta(seconds=310))).header(body)
    assert not verify(old, body, secret)
    for wrong in ("", "t=1", "v1=x", "t=x,v1=y", "t=1,v1=é", f"{header}0"):
        assert not verify(wrong, body, secret)


def test_every_role_stands_on_the_page() -> None:
    """Roles that the migrations make are explained, and no others."""
    made = re.search(r"ARRAY\[([^\]]*)\]", query("roles_create").decode())
    assert made is not None
    assert first_column("Your own PostgreSQL") == set(re.findall(r"'(\w+)'", made[1]))
