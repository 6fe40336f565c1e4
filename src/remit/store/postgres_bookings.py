"""What belongs to no call, in PostgreSQL: `remit.reports.statement.BookingReader`."""

from datetime import date

from remit.reports.statement import Booking
from remit.store.connect import connect
from remit.store.named import query
from remit.store.rows import dicts


class PostgresBookings:
    """Reads with the reader's role."""

    def __init__(self, url: str) -> None:
        self._url = url

    def bookings(self, month: date, owner: str | None) -> list[Booking]:
        """What was booked in a month, of an owner or of all, in the order of recording."""
        with connect(self._url, "remit_reader") as connection:
            rows = dicts(connection.execute(query("bookings"), {"month": month, "owner": owner}))
        return [Booking(**row) for row in rows]
