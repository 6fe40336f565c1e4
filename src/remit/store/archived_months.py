"""Months that are in the archive alone, back for one connection: what it calls `entries` has them, for as long as it is open."""

from collections.abc import Sequence
from datetime import date

import psycopg

from remit.ledger.model import ArchivedError
from remit.store.archived_seals import ArchiveUnreadableError, OpensArchive, Past, ReadsArchive
from remit.store.named import query


def bring_back(connection: psycopg.Connection, months: Sequence[date], opens: OpensArchive) -> None:
    """Reads months of `held_at` from the archive, in a transaction that may still write and of which nothing was read yet.

    Raises ArchivedError where they cannot be had as they were: the archive cannot be read, some of them have expired, or what is in it
    is not what left. Entries are as they are in the archive; whether they are what was signed is for `remit ledger verify`.
    """
    if not months:
        return
    connection.execute(query("patient_now"))
    past = Past(connection, opens)
    named = ", ".join(f"{month:%Y-%m}" for month in months)
    if (gone := past.expired_of(months)) is not None:
        raise ArchivedError(f"entries of {gone}: what they were is not known any more")
    if past.archive is None:
        raise ArchivedError(f"{named} left the database, and the archive cannot be read: {past.unread}")
    try:
        connection.execute(query("returned_make"))
    except psycopg.errors.InsufficientPrivilege as error:
        raise ArchivedError(
            f"{named} left the database, and to look at it takes the right to make temporary tables: {error.diag.message_primary}"
        ) from None
    try:
        _copy(connection, past, past.archive, months)
    except ArchiveUnreadableError as error:
        raise ArchivedError(f"{named} left the database, and the archive cannot be read: {error}") from None
    connection.execute(query("returned_join"))
    for month, left, returned in connection.execute(query("returned_check"), {"months": list(months)}).fetchall():
        raise ArchivedError(f"of {month:%Y-%m} {left} left the database, and the archive has {returned}")


def _copy(connection: psycopg.Connection, past: Past, archive: ReadsArchive, months: Sequence[date]) -> None:
    with connection.cursor() as cursor, cursor.copy(query("returned_copy")) as copy:
        for row in archive.of_months(months):
            if past.is_gone(row):
                if row.line is None:
                    raise ArchiveUnreadableError(
                        f"entry number {row.seq} is not what was written: see `remit ledger verify`"
                    )
                copy.write_row((row.row.decode(),))
