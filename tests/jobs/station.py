"""A worker on the queue of a real database, whose retries wait for hardly anything."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import psycopg

from remit.bootstrap import Authority
from remit.jobs.work import Work
from remit.jobs.worker import JobWorker, Tasks
from remit.store.connect import opener
from remit.store.enqueue import TASKS

Rows = list[tuple[Any, ...]]


def sql(url: str, statement: str, *parameters: Any) -> Rows:
    """The rows of a statement, as the superuser, with our schema and the queue's in the path."""
    with psycopg.connect(url, autocommit=True, options="-c search_path=remit,remit_jobs") as connection:
        cursor = connection.execute(statement.encode(), parameters)
        return cursor.fetchall() if cursor.description else []


def until(wanted: Callable[[], bool]) -> None:
    """Waits until something holds, half a minute at most."""
    deadline = time.monotonic() + 30
    while not wanted():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.02)


def jobs(authority: Authority, *states: Any, task: str | None = None) -> list[dict[str, Any]]:
    """Jobs in these states, of one task or of all."""
    return [one for one in authority.jobs.listed(states, 0, 1000) if task in (None, one["task"])]


def work_of(authority: Authority, **more: Any) -> Work:
    """The tasks over an authority's parts."""
    parts: dict[str, Any] = {"send": None, **more}
    return Work(
        authority.care, authority.ledger, authority.jobs, opener(authority.url, "remit_authority"), authority.clock, authority.remind,
        authority.escalate, **parts,
    )  # fmt: skip


def only(task: str, do: Callable[[Mapping[str, Any]], object]) -> Tasks:
    """Tasks of which all but one do nothing."""
    return {name: do if name == task else lambda _: None for name in TASKS}


def worker_of(authority: Authority, tasks: Tasks, *, stop_seconds: float = 10, again: float = 0.0) -> JobWorker:
    """A worker that looks often; retries come after so many seconds."""
    return JobWorker(
        authority.url, tasks, authority.jobs, 0.05, stop_seconds, retry_after=lambda _: again, heartbeat_seconds=0.5
    )


@contextmanager
def working(*workers: JobWorker) -> Iterator[None]:
    """They work while the block runs."""
    for one in workers:
        one.start()
    try:
        yield
    finally:
        for one in workers:
            one.stop()


class Gate:
    """A task that hangs until it is let go, and says that it was begun."""

    def __init__(self) -> None:
        self.begun, self.open = threading.Event(), threading.Event()

    def __call__(self, _: Mapping[str, Any]) -> None:
        self.begun.set()
        assert self.open.wait(300)
