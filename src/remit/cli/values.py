"""Values as people type them: limits, moments, tables of changes."""

from datetime import UTC, date, datetime
from typing import cast
from zoneinfo import ZoneInfo

from remit.cli.codes import CommandError
from remit.grants.model import DIMENSIONS, LIMIT_PERIODS, Limit
from remit.kernel.decisions import Dimension
from remit.kernel.money import InvalidAmountError, parse_usd
from remit.kernel.periods import PeriodKind

LIMIT_FORM = "such as `0.50 usd per day`, `200000 tokens per month` or `25 usd once`"


def parse_limit(text: str) -> Limit:
    """`AMOUNT DIMENSION per PERIOD`, or `AMOUNT DIMENSION once`. Raises CommandError."""
    words = text.split()
    if len(words) not in (3, 4):
        raise CommandError(f"`{text}` is not a limit, {LIMIT_FORM}")
    dimension, period = parse_limit_key(" ".join(words[1:]))
    try:
        amount = parse_usd(words[0]) if dimension == "usd" else int(words[0].replace("_", ""))
    except (InvalidAmountError, ValueError) as error:
        why = str(error) if isinstance(error, InvalidAmountError) else f"`{words[0]}` is not a whole number"
        raise CommandError(f"the limit `{text}`: {why}") from None
    if amount < 0:
        raise CommandError(f"the limit `{text}` is less than zero")
    return Limit(dimension, amount, period)


def parse_limit_key(text: str) -> tuple[Dimension, PeriodKind]:
    """`DIMENSION per PERIOD`, or `DIMENSION once`. Raises CommandError."""
    words = text.split()
    if len(words) == 3 and words[1] == "per":
        del words[1]
    if len(words) != 2 or words[0] not in DIMENSIONS or words[1] not in LIMIT_PERIODS:
        raise CommandError(
            f"`{text}` does not say one of {', '.join(DIMENSIONS)} per {', '.join(LIMIT_PERIODS)}, {LIMIT_FORM}"
        )
    return cast(Dimension, words[0]), words[1]


def parse_moment(text: str, option: str, zone: str = "UTC") -> datetime:
    """An instant with its offset, or a date: the first instant of that day in the zone. UTC. Raises CommandError."""
    try:
        if len(text) == len("2026-01-31"):
            day = date.fromisoformat(text)
            return datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(zone)).astimezone(UTC)
        instant = datetime.fromisoformat(text)
        if instant.tzinfo is None:
            raise CommandError(f"{option} `{text}` is a time without an offset: add `Z`, or write a date")
        return instant.astimezone(UTC)
    except (ValueError, OverflowError):
        raise CommandError(f"{option} `{text}` is neither a date such as 2027-01-31 nor an instant") from None


def parse_names(texts: tuple[str, ...] | list[str]) -> tuple[str, ...]:
    """Names given one by one or joined by commas, in order, without repeats."""
    names = (name.strip() for text in texts for name in text.split(","))
    return tuple(dict.fromkeys(name for name in names if name))
