"""Which statement takes the place of which: the same period again is its next version, an overlapping one is refused."""

from collections.abc import Iterable

from remit.grants.model import Problem
from remit.reconcile.model import Known, Place
from remit.reconcile.statements.model import Summary


def place(summary: Summary, known: Iterable[Known]) -> Place | Known | Problem:
    """Where a statement stands among those of its vendor, source and account.

    One whose lines are all the same, over the same period, is the one that is kept, and stays final where it is: importing again
    changes nothing. Only where they are those of the newest version, which is not final yet, and are by now, they are the next one.
    What is superseded overlaps nothing that is not the same period. What was withdrawn overlaps nothing, and is a version all the
    same: imported again it is the next one.
    """
    same: list[Known] = []
    for one in known:
        if (one.since, one.until) == (summary.since, summary.until):
            same.append(one)
        elif one.since < summary.until and summary.since < one.until and not one.is_withdrawn:
            return _overlap(summary, one)
    same.sort(key=lambda one: one.version, reverse=True)
    standing = [one for one in same if not one.is_withdrawn]
    alike = next((one for one in standing if one.lines_sha256 == summary.lines_sha256), None)
    if alike is not None and not (alike is standing[0] and summary.is_complete and not alike.is_complete):
        return alike
    return Place(same[0].version + 1, same[0].id) if same else Place(1, None)


def _overlap(summary: Summary, other: Known) -> Problem:
    detail = (
        f"it covers {summary.since:%Y-%m-%dT%H:%MZ} until {summary.until:%Y-%m-%dT%H:%MZ}, which overlaps {other.id} "
        f"({other.since:%Y-%m-%dT%H:%MZ} until {other.until:%Y-%m-%dT%H:%MZ}) of the same source: usage would count twice. "
        "Export exactly that period again, which becomes its next version, or one that lies beside it; --since and --until "
        "state the period of a file"
    )
    return Problem(code="statement_overlaps", path="", detail=detail)
