"""Books in no vendor's shape: what was used, by disjoint kinds, and what was charged for each."""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

KINDS: Final = (
    "input",
    "cache_read",
    "cache_write",
    "cache_write_1h",
    "input_audio",
    "output",
    "output_audio",
    "web_search",
)
"""What can be counted. All but `web_search` are tokens; none overlaps another."""
DAY: Final = timedelta(days=1)
_NUMBER: Final = re.compile(r'"@@(-?[0-9.]+)@@"')


@dataclass(frozen=True, slots=True, kw_only=True)
class BookRow:
    """One call, or several alike. `used` and `costs_nanousd` are by kind; a kind that is missing was not used."""

    at: datetime
    model: str
    used: Mapping[str, int]
    costs_nanousd: Mapping[str, int] = field(default_factory=dict)
    requests: int = 1
    account: str = "org-1"
    project: str | None = "proj-1"
    key_id: str | None = "key-1"
    tier: str = "default"
    is_batch: bool = False
    region: str = "us-east-1"
    id: str = ""

    def __post_init__(self) -> None:
        assert self.at.tzinfo is not None
        assert {*self.used, *self.costs_nanousd} <= {*KINDS}, "kinds are those of KINDS"

    @property
    def day(self) -> datetime:
        """The UTC day it is on."""
        return self.at.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)

    def count(self, *kinds: str) -> int:
        """How much of these kinds was used."""
        return sum(self.used.get(kind, 0) for kind in kinds)


def buckets(
    rows: Iterable[BookRow], since: datetime, until: datetime, width: timedelta = DAY
) -> Iterator[tuple[datetime, list[BookRow]]]:
    """Each bucket of a period by its first instant, with the rows in it; the empty ones as well."""
    found: dict[datetime, list[BookRow]] = {}
    for row in rows:
        found.setdefault(since + (row.at - since) // width * width, []).append(row)
    while since < until:
        yield since, found.get(since, [])
        since += width


def grouped(
    rows: Iterable[BookRow], key: Callable[[BookRow], tuple[Any, ...]]
) -> list[tuple[tuple[Any, ...], list[BookRow]]]:
    """Rows by what `key` says of them, groups in the order in which they first appear."""
    found: dict[tuple[Any, ...], list[BookRow]] = {}
    for row in rows:
        found.setdefault(key(row), []).append(row)
    return list(found.items())


def used(rows: Iterable[BookRow], *kinds: str) -> int:
    """How much of these kinds the rows used."""
    return sum(row.count(*kinds) for row in rows)


def costs(rows: Iterable[BookRow]) -> dict[str, int]:
    """What the rows cost, by kind, in nano-USD."""
    found: dict[str, int] = {}
    for row in rows:
        for kind, amount_nanousd in row.costs_nanousd.items():
            found[kind] = found.get(kind, 0) + amount_nanousd
    return found


def dollars(amount_nanousd: int) -> Decimal:
    """An amount in dollars, exactly."""
    return Decimal(amount_nanousd).scaleb(-9)


def decimal_text(number: Decimal) -> str:
    """A number without an exponent or zeros at its end."""
    text = format(number, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def exact_json(value: Any) -> bytes:
    """JSON in which a Decimal is a number with all of its digits."""
    text = json.dumps(_marked(value))
    return _NUMBER.sub(lambda found: found[1], text).encode()


def _marked(value: Any) -> Any:
    if isinstance(value, Decimal):
        return f"@@{decimal_text(value)}@@"
    if isinstance(value, dict):
        return {name: _marked(one) for name, one in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_marked(one) for one in value]
    return value
