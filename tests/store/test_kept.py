"""Connections that are kept between pieces of work."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from remit.store.kept import KeptConnections
from tests.store.database import fresh_database


@pytest.fixture
def kept() -> Iterator[KeptConnections]:
    """At most two connections to a fresh database."""
    connections = KeptConnections(fresh_database(), "remit_authority", 2)
    yield connections
    connections.close()


def pid(connection: psycopg.Connection) -> int:
    row = connection.execute("SELECT pg_backend_pid()").fetchone()
    assert row is not None
    return int(row[0])


def used(kept: KeptConnections) -> int:
    with kept.use() as connection:
        return pid(connection)


def test_a_connection_is_used_again(kept: KeptConnections) -> None:
    """One piece of work after the other has the same connection, also after one that failed."""
    first = used(kept)
    with pytest.raises(psycopg.errors.UndefinedTable), kept.use() as connection:
        connection.execute("SELECT FROM nothing")
    assert used(kept) == first


def test_a_connection_in_a_transaction_is_not_used_again(kept: KeptConnections) -> None:
    """What somebody left open is nobody else's."""
    with kept.use() as connection:
        connection.execute("BEGIN")
        left = pid(connection)
    assert used(kept) != left


def test_a_dead_connection_is_replaced(kept: KeptConnections) -> None:
    """A connection that ended while nobody used it is no failure of who asks next."""
    with kept.use() as one, kept.use() as other:
        ended = pid(one)
        other.execute("SELECT set_config('role', 'none', false)")
        other.execute("SELECT pg_terminate_backend(%s, 10000)", (ended,))
    assert used(kept) != ended
    assert used(kept) != ended


def test_no_more_are_in_use_than_there_may_be(kept: KeptConnections) -> None:
    """Whoever comes while all are in use waits for one of them."""
    pids, both, done = [], threading.Barrier(3), threading.Event()

    def work() -> None:
        with kept.use() as connection:
            pids.append(pid(connection))
            both.wait(10)
            done.wait(10)

    with ThreadPoolExecutor(3) as pool:
        first = [pool.submit(work) for _ in range(2)]
        both.wait(10)
        late = pool.submit(used, kept)
        assert not late.done()
        done.set()
        assert late.result(10) in pids and [one.result(10) for one in first] == [None, None]
