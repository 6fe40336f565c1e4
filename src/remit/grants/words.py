"""How amounts and limits are written in sentences and plans."""

from collections.abc import Iterable
from datetime import datetime

from remit.grants.model import Limit
from remit.grants.serialise import format_instant
from remit.kernel.decisions import Dimension
from remit.kernel.money import format_usd
from remit.kernel.periods import PeriodKind


def amount_text(dimension: Dimension, amount: int) -> str:
    """`$12.50`, `5,000 tokens` or `10 requests`."""
    return format_usd(amount) if dimension == "usd" else f"{amount:,} {dimension}"


def period_text(period: PeriodKind) -> str:
    """`per month`, or `in all` for a limit that never refills."""
    return "in all" if period == "once" else f"per {period}"


def limit_text(limit: Limit) -> str:
    """`$12.50 per month`."""
    return f"{amount_text(limit.dimension, limit.amount)} {period_text(limit.period)}"


def listed(items: Iterable[str], most: int = 6) -> str:
    """Items joined by commas; a long list ends with how many more there are."""
    texts = list(items)
    rest = len(texts) - most
    return ", ".join(texts[:most]) + (f" and {rest} more" if rest > 0 else "")


def printable(text: str) -> str:
    """The text with whatever a terminal would obey, or not show, written as an escape."""
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


def instant_text(instant: datetime) -> str:
    """`2027-01-31T00:00:00Z`."""
    return format_instant(instant)
