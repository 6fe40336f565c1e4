"""Moments as people write them: `2027-01-31`, the first instant of that day, or an instant with its offset."""

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo


class InvalidMomentError(ValueError):
    """The text is neither a date nor an instant with its offset; `lacks_offset` where the offset is all that is missing."""

    def __init__(self, text: str, *, lacks_offset: bool = False) -> None:
        super().__init__(f"`{text}` is neither a date such as 2027-01-31 nor an instant with its offset")
        self.lacks_offset = lacks_offset


def parse_moment(text: str, zone: str) -> datetime:
    """The moment in UTC; a date begins in the zone. Raises InvalidMomentError."""
    try:
        if len(text) == len("2026-01-31"):
            day = date.fromisoformat(text)
            return datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(zone)).astimezone(UTC)
        instant = datetime.fromisoformat(text)
        if instant.tzinfo is not None:
            return instant.astimezone(UTC)
    except (ValueError, OverflowError):
        raise InvalidMomentError(text) from None
    raise InvalidMomentError(text, lacks_offset=True)
