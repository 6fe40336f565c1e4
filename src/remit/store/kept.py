"""Connections that are kept between pieces of work, so that what anybody may ask does not open one each time."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg.pq import TransactionStatus

from remit.store.connect import CONNECT_TIMEOUT_SECONDS, Role, connect


class KeptConnections:
    """At most `most` connections in one role are in use at once, and as many are kept. Used from any thread.

    One piece of work has one connection: who asks for a second while it holds the first may wait for itself.
    """

    def __init__(self, url: str, role: Role, most: int) -> None:
        self._url = url
        self._role: Role = role
        self._places = threading.BoundedSemaphore(most)
        self._idle: list[psycopg.Connection] = []
        self._lock = threading.Lock()

    @contextmanager
    def use(self) -> Iterator[psycopg.Connection]:
        """A living connection outside any transaction. Raises psycopg.OperationalError where there is none to be had."""
        if not self._places.acquire(timeout=CONNECT_TIMEOUT_SECONDS):
            raise psycopg.OperationalError("all connections are in use")
        try:
            connection = self._take()
            try:
                yield connection
            finally:
                self._give_back(connection)
        finally:
            self._places.release()

    def close(self) -> None:
        """Ends what is kept now. Whoever asks afterwards gets a new connection."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def _take(self) -> psycopg.Connection:
        while True:
            with self._lock:
                connection = self._idle.pop() if self._idle else None
            if connection is None:
                return connect(self._url, self._role)
            # It may have died while nobody used it; that says nothing about the database.
            try:
                connection.execute("SELECT 1")
            except psycopg.OperationalError:
                connection.close()
            else:
                return connection

    def _give_back(self, connection: psycopg.Connection) -> None:
        if connection.info.transaction_status is not TransactionStatus.IDLE:
            connection.close()
            return
        with self._lock:
            self._idle.append(connection)
