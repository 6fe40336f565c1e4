"""The page for operators names every log line, notification and role that there is."""

import re
from pathlib import Path

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
    logged |= {f"{name}_failed" for name in re.findall(r"args=\(\"(\w+)\"", upkeep)}
    assert first_column("Log lines") == logged


def test_every_notification_stands_on_the_page() -> None:
    """Kinds of notifications in the database and on the page are the same."""
    table = MIGRATIONS.partition("CREATE TABLE notifications")[2]
    check = re.search(r"kind IN \(([^)]*)\)", table)
    assert check is not None
    assert first_column("Notifications") == set(re.findall(r"'(\w+)'", check[1]))


def test_every_role_stands_on_the_page() -> None:
    """Roles that the migrations make are explained, and no others."""
    made = re.search(r"ARRAY\[([^\]]*)\]", MIGRATIONS)
    assert made is not None
    assert first_column("Your own PostgreSQL") == set(re.findall(r"'(\w+)'", made[1]))
