"""How much of what is charged carries the tags it should."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from remit.ledger.model import ReportRow
from remit.ledger.ports import LedgerReader
from remit.ledger.service import spend_report
from remit.reports.units import MILLION, over


@dataclass(frozen=True, slots=True)
class TagCoverage:
    """How much carries one tag. `share_ppm` is by amount, in parts of a million; None where nothing is charged."""

    tag: str
    requests_with: int
    with_nanousd: int
    share_ppm: int | None


@dataclass(frozen=True, slots=True)
class Missing:
    """What a grant was charged without all of the tags."""

    grant: str | None
    owner: str | None
    tags: tuple[str, ...]
    requests: int
    amount_nanousd: int


@dataclass(frozen=True, slots=True)
class Coverage:
    """`unattributed_nanousd` lacks at least one of the tags; `missing` says where, the largest first."""

    tags: tuple[str, ...]
    requests: int
    charged_nanousd: int
    unattributed_requests: int
    unattributed_nanousd: int
    unattributed_ppm: int | None
    by_tag: tuple[TagCoverage, ...]
    missing: tuple[Missing, ...]


def coverage_of(
    ledger: LedgerReader, tags: Sequence[str], since: datetime | None = None, until: datetime | None = None
) -> Coverage:
    """Coverage by what is charged. Raises what a report raises."""
    return coverage(tags, spend_report(ledger, ("grant", "owner", *tags), since, until).rows)


def coverage(tags: Sequence[str], rows: Sequence[ReportRow]) -> Coverage:
    """From rows whose groups are grant, owner and a value for each tag."""
    charged, requests = sum(row.amount_nanousd for row in rows), sum(row.requests for row in rows)
    incomplete = [row for row in rows if None in row.group[2:]]
    lost = sum(row.amount_nanousd for row in incomplete)
    by_tag = []
    for number, tag in enumerate(tags, start=2):
        found = [row for row in rows if row.group[number] is not None]
        amount = sum(row.amount_nanousd for row in found)
        by_tag.append(TagCoverage(tag, sum(row.requests for row in found), amount, over(amount * MILLION, charged)))
    groups: dict[tuple[str | None, str | None, tuple[str, ...]], list[ReportRow]] = {}
    for row in incomplete:
        lacks = tuple(tag for tag, value in zip(tags, row.group[2:], strict=True) if value is None)
        groups.setdefault((row.group[0], row.group[1], lacks), []).append(row)
    missing = [
        Missing(*group, sum(row.requests for row in found), sum(row.amount_nanousd for row in found))
        for group, found in groups.items()
    ]
    missing.sort(key=lambda one: (-one.amount_nanousd, one.grant or "", one.tags))
    return Coverage(
        tuple(tags),
        requests,
        charged,
        sum(row.requests for row in incomplete),
        lost,
        over(lost * MILLION, charged),
        tuple(by_tag),
        tuple(missing),
    )
