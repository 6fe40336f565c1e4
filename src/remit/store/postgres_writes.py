"""One write of the control plane as one transaction: what it checks, what it changes, and the answer it remembers.

The services' own stores are bound to the transaction's connection, so that a precondition, the write and the remembered
answer stand or fall together. The transaction holds the tree lock: writes come one after the other.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

import msgspec
import psycopg

from remit.grants.model import Problem, ProblemsError
from remit.grants.ports import Remembered, Said
from remit.grants.tree import Tree
from remit.kernel.clock import Clock
from remit.store.authored import Source, record_deed, record_refusal, say, written_as
from remit.store.connect import Opens
from remit.store.enqueue import Task
from remit.store.postgres_accounting import PostgresAccounting
from remit.store.postgres_books import PostgresBooks
from remit.store.postgres_capabilities import PostgresCapabilities
from remit.store.postgres_cost_rules import PostgresCostRules
from remit.store.postgres_debts import PostgresDebts
from remit.store.postgres_deliveries import retry_deliveries
from remit.store.postgres_grants import TreeUnit
from remit.store.postgres_jobs import retry_job
from remit.store.postgres_keys import PostgresKeys
from remit.store.postgres_people import PostgresPeople
from remit.store.postgres_revocations import PostgresRevocations
from remit.store.postgres_roster import PostgresRoster
from remit.store.postgres_sinks import retry_letters, rewind
from remit.store.postgres_standing import PostgresStanding
from remit.store.postgres_tickets import PostgresTickets
from remit.store.postgres_trips import PostgresTrips
from remit.store.postgres_vocabulary import PostgresVocabulary

_T = TypeVar("_T")


class _InnerUnit(TreeUnit):
    """A unit of a service inside a write that is remembered, and refused, as a whole."""

    def refused(self, about: str | None, problems: Sequence[Problem]) -> None:
        return

    def remembered(self, key: str) -> Remembered | None:
        return None

    def remember(self, first: Remembered) -> None:
        return


class BoundGrants:
    """`GrantRepository` inside a transaction that is open already; it alone commits."""

    def __init__(self, connection: psycopg.Connection) -> None:
        self._connection = connection

    @contextmanager
    def write(self, said: Said) -> Iterator[TreeUnit]:
        """A unit that leaves no trace when it raises. Who approved something writes it, whoever's request it is."""
        with written_as(self._connection, said):
            yield _InnerUnit(self._connection)

    @contextmanager
    def read(self) -> Iterator[TreeUnit]:
        """The tree as this transaction has left it so far."""
        yield _InnerUnit(self._connection)


@dataclass(frozen=True, slots=True)
class WriteUnit:
    """One open transaction of a write. What is written through its parts is committed with it or not at all."""

    connection: psycopg.Connection

    @property
    def grants(self) -> BoundGrants:
        return BoundGrants(self.connection)

    @property
    def keys(self) -> PostgresKeys:
        return PostgresKeys(lambda: nullcontext(self.connection))

    @property
    def capabilities(self) -> PostgresCapabilities:
        return PostgresCapabilities(lambda: nullcontext(self.connection))

    @property
    def people(self) -> PostgresPeople:
        return PostgresPeople(lambda: nullcontext(self.connection))

    def books(self, clock: Clock) -> PostgresBooks:
        """The books as this write changes them."""
        return PostgresBooks(lambda: nullcontext(self.connection), clock)

    def debts(self, clock: Clock) -> PostgresDebts:
        """Debts as this write settles them; `clock` says which period is the present one."""
        return PostgresDebts(lambda: nullcontext(self.connection), clock)

    def retry_delivery(self, notification_id: int, now: datetime) -> list[str]:
        """Makes a notification's dead letters due again; the channels they are for."""
        channels = retry_deliveries(self.connection, notification_id, now)
        if channels:
            what = {"state": "due", "channels": channels}
            record_deed(self.connection, "delivery", str(notification_id), None, what)
        return channels

    def retry_job(self, job_id: int) -> str | None:
        """Makes a job that failed for good due again; its task, None where there is no such job."""
        task = retry_job(self.connection, job_id)
        if task is not None:
            record_deed(self.connection, "job", str(job_id), None, {"state": "due", "task": task})
        return task

    def retry_letters(self, sink: str, now: datetime) -> int | None:
        """Makes what a sink refused due again; how many entries, None where there is no such sink."""
        return retry_letters(self.connection, sink, now)

    def rewind_sink(self, sink: str, since: datetime, now: datetime) -> tuple[int, int] | None:
        """Lets a sink go on with what was recorded from an instant on: where it was and is, None where there is none."""
        return rewind(self.connection, sink, since, now)

    @property
    def roster(self) -> PostgresRoster:
        return PostgresRoster(lambda: nullcontext(self.connection))

    @property
    def revocations(self) -> PostgresRevocations:
        return PostgresRevocations(lambda: nullcontext(self.connection))

    def tickets(self, clock: Clock) -> PostgresTickets:
        return PostgresTickets(self.connection, clock)

    def tree(self) -> Tree:
        """The tree as this transaction has left it so far."""
        return Tree(TreeUnit(self.connection).load_tree())

    def standing(self, clock: Clock) -> PostgresStanding:
        return PostgresStanding(self.connection, clock)

    @property
    def cost_rules(self) -> PostgresCostRules:
        return PostgresCostRules(lambda: nullcontext(self.connection))

    def accounting(self, clock: Clock) -> PostgresAccounting:
        """Entries that belong to no call, as this write posts them."""
        return PostgresAccounting(lambda: nullcontext(self.connection), clock)

    @property
    def vocabulary(self) -> PostgresVocabulary:
        return PostgresVocabulary(lambda: nullcontext(self.connection))

    @property
    def trips(self) -> PostgresTrips:
        return PostgresTrips(lambda: nullcontext(self.connection))


@contextmanager
def job_transaction(opens: Opens, task: Task, now: datetime, *, alone: bool = False) -> Iterator[WriteUnit]:
    """The transaction in which a job of this task writes to the tree or the queue: all of them are opened here.

    The server shows its task among its connections. With `alone` it has the tree to itself.
    """
    with opens() as connection, connection.transaction():
        connection.execute("SELECT set_config('application_name', %s, true)", (f"remit-authority {task}",))
        if alone:
            connection.execute("SELECT lock_tree(true)")
        said = Said(at=now, actor="remit", operation=f"job {task}", reason="the passing of time")
        say(connection, said, "upkeep")
        yield WriteUnit(connection)


class PostgresWrites:
    """Carries out writes over connections in the authority's role."""

    def __init__(self, opens: Opens, clock: Clock, source: Source = "command") -> None:
        self._opens = opens
        self._clock = clock
        self._source: Source = source

    def once(
        self, key: str, asked: Mapping[str, Any], do: Callable[[WriteUnit], tuple[_T, Mapping[str, Any]] | Problem]
    ) -> _T | Remembered | Problem:
        """Carries out a write, or answers what the first one under its key was answered, or why neither can be.

        `asked` is what two requests under one key are compared by; it names the `actor` and the `operation`, and the `reason`
        where there is one. `do` gives the answer and what of it is remembered: all but secrets. Both are JSON-able. With a
        problem, or where `do` raises, nothing is written and the key stays free; why it was refused is audited.
        """
        body = _as_stored(asked)
        # Most repetitions come long after the first, and need not wait for whoever writes at the moment.
        with self._opens() as connection:
            first = TreeUnit(connection).remembered(key)
        if first is not None:
            return first.conflict(body) or first
        said = self._said(key, body)
        problem: Problem | None = None
        with self._refusals(said, body), self._opens() as connection, connection.transaction():
            connection.execute("SELECT lock_tree(true)")
            say(connection, said, self._source)
            # The first one may have been under way when it was looked for.
            first = TreeUnit(connection).remembered(key)
            if first is not None:
                return first.conflict(body) or first
            done = do(WriteUnit(connection))
            if isinstance(done, Problem):
                problem = done
                raise psycopg.Rollback
            answer, kept = done
            TreeUnit(connection).remember(Remembered(key=key, body=body, answer=_as_stored(kept)))
            return answer
        assert problem is not None
        self.refuse(said, body, [problem])
        return problem

    def refuse(self, said: Said, asked: Mapping[str, Any], problems: Sequence[Problem]) -> None:
        """Audits that what was asked was refused, before a write was begun or after it was undone."""
        with self._opens() as connection, connection.transaction():
            say(connection, said, self._source)
            record_refusal(connection, asked, problems)

    @contextmanager
    def _refusals(self, said: Said, asked: Mapping[str, Any]) -> Iterator[None]:
        try:
            yield
        except ProblemsError as error:
            self.refuse(said, asked, error.problems)
            raise

    def _said(self, key: str, asked: Mapping[str, Any]) -> Said:
        reason = str(asked.get("reason") or "")
        return Said(
            at=self._clock.now(), actor=asked["actor"], operation=asked["operation"], reason=reason, request_key=key
        )


def _as_stored(value: Mapping[str, Any]) -> dict[str, Any]:
    """As it will come back from the database: lists, not tuples."""
    plain = msgspec.json.decode(msgspec.json.encode(value))
    assert isinstance(plain, dict)
    return plain
