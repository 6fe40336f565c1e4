"""The job queue as upkeep fills it and as people look at it."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Literal

import psycopg

from remit.ledger.model import CheckResult, Difference
from remit.store.connect import Opens
from remit.store.enqueue import Wanted, defer, for_channels, for_sinks
from remit.store.named import query
from remit.store.rows import dicts

State = Literal["scheduled", "due", "running", "failed", "done", "cancelled"]
KEEP_DONE = timedelta(days=1)
KEEP_FAILED = timedelta(days=30)
PATIENCE_SECONDS = 300
"""A job that has been due for longer is waited for in vain: it is done every other second, or nobody does it."""
MAX_ERROR_CHARACTERS = 500


class PostgresJobs:
    """Over connections in the authority's role."""

    def __init__(self, opens: Opens) -> None:
        self._opens = opens

    def defer(self, now: datetime, jobs: Sequence[Wanted]) -> None:
        """Defers jobs in a transaction of its own."""
        with self._opens() as connection, connection.transaction():
            defer(connection, now, jobs)

    def wanted(
        self, now: datetime, channels: Sequence[str], *, delivers: bool, sinks: Sequence[str] = ()
    ) -> list[Wanted]:
        """What there is to do, found by looking; `delivers` says whether there is a webhook to deliver to."""
        parameters = {"now": now, "channels": list(channels), "delivers": delivers, "sinks": list(sinks)}
        with self._opens() as connection:
            rows = connection.execute(query("jobs_wanted"), parameters).fetchall()
        named = {task: [row[1] for row in rows if row[0] == task] for task in ("sync", "feed")}
        rest = [Wanted(task=row[0]) for row in rows if row[0] not in named]
        return rest + for_channels(named["sync"]) + for_sinks(named["feed"])

    def rescue(self, seconds: float) -> list[dict[str, Any]]:
        """Makes jobs due again whose worker was not heard of for so long; each with `id` and `task`."""
        with self._opens() as connection:
            return dicts(connection.execute(query("jobs_rescue"), {"seconds": seconds}))

    def failed(self, job_id: int, error: str) -> None:
        """Remembers why a job failed this time."""
        with self._opens() as connection:
            # NUL is no character of a text there.
            text = error.replace("\0", "")[:MAX_ERROR_CHARACTERS]
            connection.execute(query("jobs_failed"), {"id": job_id, "error": text})

    def counts(self) -> list[dict[str, Any]]:
        """How many jobs of each `task` are in which `state`: rows with `count`."""
        with self._opens() as connection:
            return dicts(connection.execute(query("jobs_counts")))

    def listed(self, states: Sequence[State], after: int, count: int) -> list[dict[str, Any]]:
        """Jobs after an id, oldest first, of these states; of any where none is named.

        Each has `id`, `task`, `key`, `state`, `attempts`, `error` (why it failed the last time) and `since`.
        """
        parameters = {"states": list(states), "after": after, "count": count}
        with self._opens() as connection:
            return dicts(connection.execute(query("jobs_list"), parameters))

    def clean(self, done: timedelta = KEEP_DONE, failed: timedelta = KEEP_FAILED) -> int:
        """Forgets jobs that ended so long ago; answers how many."""
        with self._opens() as connection:
            row = connection.execute(query("jobs_clean"), {"done": done, "failed": failed}).fetchone()
        assert row is not None
        return int(row[0])

    def check(self) -> CheckResult:
        """Whether every job is done, and in time."""
        with self._opens() as connection:
            rows = dicts(connection.execute(query("jobs_trouble"), {"patience": PATIENCE_SECONDS}))
            examined = sum(row["count"] for row in dicts(connection.execute(query("jobs_counts"))))
        differences = [_trouble(row) for row in rows if row["error"] is not None]
        late = [row for row in rows if row["error"] is None]
        if late:
            since = min(row["since"] for row in late)
            found = f"{len(late)} due since {since:%Y-%m-%dT%H:%M:%SZ} and not begun: does `remit up` run?"
            differences.append(Difference("jobs", "the queue", None, found))
        return CheckResult("jobs", "jobs are done, and in time", examined, tuple(differences))


def retry_job(connection: psycopg.Connection, job_id: int) -> str | None:
    """The same in an open transaction."""
    row = connection.execute(query("jobs_retry"), {"id": job_id}).fetchone()
    return None if row is None else str(row[0])


def _trouble(row: dict[str, Any]) -> Difference:
    found = f"failed for good: {row['error']}; `remit jobs retry {row['id']}` tries it again"
    return Difference("jobs", f"job {row['id']}, {row['key']}", None, found)
