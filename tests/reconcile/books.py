"""Random books, and what a statement has to say about them."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta

from hypothesis import strategies as st

from remit.reconcile.statements.formats import lines_of, summarise
from remit.reconcile.statements.model import Meter, Options, StatementLine, Summary
from remit.reconcile.statements.raw import Raw, pack
from remit.testing.vendor_reports.books import BookRow

SINCE = datetime(2026, 11, 1, tzinfo=UTC)
UNTIL = datetime(2026, 12, 1, tzinfo=UTC)
LATER = datetime(2027, 6, 1, tzinfo=UTC)

counts = st.integers(0, 10**9)
amounts = st.integers(0, 10**13)


def rows(kinds: Iterable[str]) -> st.SearchStrategy[list[BookRow]]:
    """A few rows of November with these kinds."""
    names = sorted(kinds)
    row = st.builds(
        BookRow,
        at=st.datetimes(
            SINCE.replace(tzinfo=None), UNTIL.replace(tzinfo=None) - timedelta(seconds=1), timezones=st.just(UTC)
        ),
        model=st.sampled_from(["gpt-6-astra", "claude-sonnet-4-5"]),
        used=st.fixed_dictionaries({}, optional=dict.fromkeys(names, counts)),
        costs_nanousd=st.fixed_dictionaries({}, optional=dict.fromkeys(names, amounts)),
        requests=st.integers(1, 1000),
        project=st.sampled_from(["proj-1", "123456789012"]),
        key_id=st.sampled_from(["key-1", "key-2"]),
        is_batch=st.booleans(),
    )
    return st.lists(row, min_size=1, max_size=8)


def one_raw(content: bytes) -> Raw:
    return pack([content])


def read(content: bytes, source: str, options: Options | None = None) -> tuple[Summary, list[StatementLine]]:
    """What a statement comes to, and its lines."""
    raw, options = one_raw(content), options or Options()
    return summarise(raw, source, options, LATER), list(lines_of(raw, source, options))


def by_meter(lines: Iterable[StatementLine]) -> dict[Meter, int]:
    """Quantities by meter; what comes to nothing is left out."""
    found: dict[Meter, int] = {}
    for line in lines:
        if line.quantity:
            assert isinstance(line.quantity, int)
            found[line.meter] = found.get(line.meter, 0) + line.quantity
    return found


def booked(rows: Iterable[BookRow], names: Mapping[str, str] | None = None) -> dict[str, int]:
    """The same of the books; `names` is how the vendor's kinds are called where they are merged."""
    found: dict[str, int] = {}
    for row in rows:
        for kind, count in row.used.items():
            name = (names or {}).get(kind, kind)
            if count:
                found[name] = found.get(name, 0) + count
    return found


def cost(rows: Iterable[BookRow]) -> int:
    return sum(sum(row.costs_nanousd.values()) for row in rows)


def money(lines: Iterable[StatementLine]) -> int:
    return sum(line.amount_nanousd or 0 for line in lines)
