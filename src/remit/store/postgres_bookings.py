"""What belongs to no call, in PostgreSQL: `remit.reports.statement.BookingReader`."""

from collections.abc import Sequence
from datetime import date

from remit.reports.statement import Booking
from remit.store.connect import connect
from remit.store.named import query
from remit.store.rows import dicts


class PostgresBookings:
    """Reads with the reader's role."""

    def __init__(self, url: str) -> None:
        self._url = url

    def bookings(self, month: date, owners: Sequence[str] | None) -> list[Booking]:
        """What was booked in a month, of these owners or of all, in the order of recording."""
        with connect(self._url, "remit_reader") as connection:
            rows = dicts(
                connection.execute(
                    query("bookings"), {"month": month, "owners": None if owners is None else list(owners)}
                )
            )
        return [Booking(**row) for row in rows]
