"""Named queries: one `.sql` file each under `queries/`."""

from functools import cache
from importlib.resources import files


@cache
def query(name: str) -> bytes:
    """The SQL of `queries/<name>.sql`."""
    return (files("remit.store") / "queries" / f"{name}.sql").read_bytes()
