"""Values as people type them: limits, moments, tables of changes."""

from datetime import datetime, timedelta

from remit.cli.codes import CommandError
from remit.grants import limit_text
from remit.grants.model import Limit
from remit.kernel import durations, moments
from remit.kernel.decisions import Dimension
from remit.kernel.periods import PeriodKind


def parse_limit(text: str) -> Limit:
    """`AMOUNT DIMENSION per PERIOD`, or `AMOUNT DIMENSION once`. Raises CommandError."""
    try:
        return limit_text.parse_limit(text)
    except limit_text.InvalidLimitError as error:
        raise CommandError(str(error)) from None


def parse_limit_key(text: str) -> tuple[Dimension, PeriodKind]:
    """`DIMENSION per PERIOD`, or `DIMENSION once`. Raises CommandError."""
    try:
        return limit_text.parse_limit_key(text)
    except limit_text.InvalidLimitError as error:
        raise CommandError(str(error)) from None


def parse_moment(text: str, option: str, zone: str = "UTC") -> datetime:
    """An instant with its offset, or a date: the first instant of that day in the zone. UTC. Raises CommandError."""
    try:
        return moments.parse_moment(text, zone)
    except moments.InvalidMomentError as error:
        if error.lacks_offset:
            raise CommandError(f"{option} `{text}` is a time without an offset: add `Z`, or write a date") from None
        raise CommandError(f"{option} `{text}` is neither a date such as 2027-01-31 nor an instant") from None


def parse_duration(text: str, option: str) -> timedelta:
    """A whole number of seconds, minutes, hours or days: `90s`, `10m`, `1h`, `7d`. Raises CommandError."""
    try:
        return timedelta(seconds=durations.parse_duration(text.strip()))
    except durations.InvalidDurationError as error:
        raise CommandError(f"{option} {error}") from None


def parse_labels(texts: tuple[str, ...], option: str) -> dict[str, str]:
    """Labels written as `name=value`, each name once. Raises CommandError."""
    labels: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or name in labels:
            raise CommandError(f"{option} `{text}` is not of the form name=value, or its name comes twice")
        labels[name] = value
    return labels


def parse_names(texts: tuple[str, ...] | list[str]) -> tuple[str, ...]:
    """Names given one by one or joined by commas, in order, without repeats."""
    names = (name.strip() for text in texts for name in text.split(","))
    return tuple(dict.fromkeys(name for name in names if name))
