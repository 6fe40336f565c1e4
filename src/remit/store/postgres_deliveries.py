"""Deliveries of notifications to channels, threads of tickets there, and what was heard from there."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any, Literal

import psycopg

from remit.kernel.clock import Clock
from remit.store.connect import Opens
from remit.store.enqueue import defer, for_channels
from remit.store.named import query
from remit.store.rows import dicts

# An attempt that has not ended by then is made again by another worker; far more than any timeout of a channel.
CLAIM_SECONDS = 300
MAX_ERROR_CHARACTERS = 500
EndState = Literal["due", "delivered", "dead"]


class PostgresDeliveries:
    """Over connections in the authority's role."""

    def __init__(self, opens: Opens, clock: Clock) -> None:
        self._opens = opens
        self._clock = clock

    def fan_out(self, channel: str, kinds: Sequence[str], audiences: Sequence[str]) -> int:
        """Makes due what the channel is to have and has not been given; answers how many. No kinds means all kinds."""
        parameters = {
            "channel": channel,
            "kinds": list(kinds),
            "audiences": list(audiences),
            "now": self._clock.now(),
        }
        with self._opens() as connection:
            connection.execute(query("channel_known"), parameters)
            return connection.execute(query("deliveries_fan_out"), parameters).rowcount

    def know(self, channel: str) -> None:
        """Gives a channel what is written from now on, if it was not known before."""
        with self._opens() as connection:
            connection.execute(query("channel_known"), {"channel": channel, "now": self._clock.now()})

    def claim(self, channel: str) -> dict[str, Any] | None:
        """One due notification for the channel, put off meanwhile; None where nothing is due.

        Has the notification's columns and `path`, `attempts`, `so_far` (what an attempt before has reached), `ticket` (a
        dict or None) and `thread` (where the channel keeps that ticket).
        """
        now = self._clock.now()
        parameters = {"channel": channel, "now": now, "until": now + timedelta(seconds=CLAIM_SECONDS)}
        with self._opens() as connection:
            rows = dicts(connection.execute(query("delivery_claim"), parameters))
        return rows[0] if rows else None

    def end(
        self,
        channel: str,
        claimed: dict[str, Any],
        state: EndState,
        *,
        remote_ref: str | None = None,
        error: str | None = None,
        next_attempt_at: datetime | None = None,
    ) -> None:
        """Records how an attempt ended. What was delivered about a ticket is where that ticket is from now on."""
        now = self._clock.now()
        parameters = {
            "id": claimed["id"],
            "channel": channel,
            "attempts": claimed["attempts"],
            "state": state,
            "remote_ref": remote_ref,
            "error": None if error is None else error[:MAX_ERROR_CHARACTERS],
            "next": next_attempt_at or now,
            "now": now,
        }
        with self._opens() as connection, connection.transaction():
            ended = connection.execute(query("delivery_ended"), parameters).rowcount
            if ended and state == "delivered" and remote_ref is not None and claimed["ticket_id"]:
                link_thread(connection, channel, remote_ref, claimed["ticket_id"])

    def dead(self, after: int, count: int) -> list[dict[str, Any]]:
        """Dead letters of notifications after an id, oldest first, with `error`."""
        with self._opens() as connection:
            return dicts(connection.execute(query("deliveries_dead"), {"after": after, "count": count}))

    def ticket_of(self, channel: str, remote_ref: str) -> str | None:
        """The ticket that the channel keeps under this reference."""
        parameters = {"channel": channel, "remote_ref": remote_ref}
        with self._opens() as connection:
            row = connection.execute(query("thread_ticket"), parameters).fetchone()
        return None if row is None else str(row[0])

    @contextmanager
    def hearing(self, channel: str, delivery_id: str) -> Iterator[Callable[[str], None] | None]:
        """Takes a message as heard while it is carried out; None where it was heard before.

        Yields what records the answer. Where the work inside raises, the message was not heard, and may come again. Whoever
        hears the same message at the same time waits here.
        """
        name = {"channel": channel, "delivery_id": delivery_id}
        with self._opens() as connection, connection.transaction():
            row = connection.execute(query("heard_first"), {**name, "now": self._clock.now()}).fetchone()
            if row is None:
                yield None
            else:
                yield lambda answer: _execute(connection, "heard_answer", {**name, "answer": answer})


def link_thread(connection: psycopg.Connection, channel: str, remote_ref: str, ticket_id: str) -> None:
    """Says, inside a transaction, where a channel keeps a ticket: for a ticket that was opened from there."""
    _execute(connection, "thread_put", {"channel": channel, "remote_ref": remote_ref, "ticket_id": ticket_id})


def retry_deliveries(connection: psycopg.Connection, notification_id: int, now: datetime) -> list[str]:
    """Makes a notification's dead letters due again, inside a transaction; the channels they are for."""
    cursor = connection.execute(query("deliveries_retry"), {"id": notification_id, "now": now})
    channels = sorted(str(row[0]) for row in cursor.fetchall())
    defer(connection, now, for_channels(channels))
    return channels


def _execute(connection: psycopg.Connection, name: str, parameters: dict[str, Any]) -> None:
    connection.execute(query(name), parameters)
