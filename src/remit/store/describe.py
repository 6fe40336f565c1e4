"""A readable description of the schema, for comparing what the migrations produce with what was reviewed.

`python -m remit.store.describe > src/remit/store/schema.txt` regenerates the reviewed file, on a throwaway server.
"""

import sys
import tempfile
from pathlib import Path

import psycopg

from remit.store.embedded import start_embedded
from remit.store.migrate import migrate
from remit.store.named import query

SCHEMA_FILE = Path(__file__).with_name("schema.txt")


def describe(url: str) -> str:
    """Every object of the schema `remit` with what each role may do, sorted, as one readable text.

    Tables with columns, constraints, indexes and triggers; types; functions with owner, security and a hash of the
    body. Nothing in it depends on the server.
    """
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SET search_path = remit, pg_temp")
        rows = connection.execute(query("describe")).fetchall()
    lines: list[str] = []
    for _, subject, line in rows:
        if not line:
            lines.append("")
        lines.append(f"    {line}" if line else subject)
    return "\n".join(lines).strip() + "\n"


def main() -> None:
    """Writes the description of a freshly migrated database to standard output."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        url = start_embedded(Path(folder))
        migrate(url)
        sys.stdout.write(describe(url))


if __name__ == "__main__":
    main()
