"""Every cause is told to people, and the page about them is true."""

import re
from pathlib import Path

from remit.reconcile.matching.cause import ABOUT, Cause
from remit.reconcile.matching.rules import RULES

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "drift-causes.md"
_BOOKING = {"adjustment": "booked", "explained": "explained", "look": "looked into"}


def table() -> str:
    """What the page has to say, row by row."""
    rows = ["| group | cause | what it is | its rule looks at | then |", "|---|---|---|---|---|"]
    for cause in Cause:
        about = ABOUT[cause]
        rows.append(f"| {about.group} | `{cause}` | {about.sentence} | {about.looks_at} | {_BOOKING[about.booking]} |")
    return "\n".join(rows)


def test_every_cause_is_told() -> None:
    """Each cause has a group, one sentence and what its rule looks at."""
    assert set(ABOUT) == set(Cause)
    for cause, about in ABOUT.items():
        assert re.fullmatch(r"[A-Z][^.]*\.", about.sentence), cause
        assert not about.looks_at.endswith("."), cause
        assert about.looks_at[0].islower(), cause


def test_page_is_the_enum() -> None:
    """The page of causes has the table of the code, word for word."""
    assert table() in PAGE.read_text(), f"the page has to hold:\n{table()}"


def test_rules_are_asked_once() -> None:
    """No rule stands twice in the order."""
    assert len(set(RULES)) == len(RULES)
