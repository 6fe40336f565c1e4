"""Workers that fail, hang, are killed or are told to stop."""

import secrets
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from remit.jobs.worker import MAX_ATTEMPTS, retry_seconds
from remit.store.enqueue import Task, Wanted
from remit.store.postgres_writes import WriteUnit
from tests.jobs.station import Gate, jobs, only, sql, until, work_of, worker_of, working
from tests.renewals.office import SAM, Office


@pytest.fixture(scope="module")
def shared() -> Office:
    return Office()


@pytest.fixture
def office(shared: Office) -> Iterator[Office]:
    """The office, its queue empty."""
    sql(shared.authority.url, "DELETE FROM procrastinate_jobs")
    yield shared
    sql(shared.authority.url, "DELETE FROM procrastinate_jobs")


def now(office: Office, task: Task) -> None:
    office.authority.jobs.defer(office.clock.now(), [Wanted(task=task)])


def again(office: Office, job_id: int) -> str | None:
    """The task of a job that failed for good and is made due again."""
    asked = {"actor": SAM, "operation": "job retry", "job": job_id}

    def do(unit: WriteUnit) -> tuple[str | None, dict[str, str]]:
        return unit.retry_job(job_id), {}

    done = office.authority.writes.once(secrets.token_hex(8), asked, do)
    assert done is None or isinstance(done, str)
    return done


CANCEL = """
SELECT pg_cancel_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND state = 'active' AND query LIKE '%update_heartbeat%' AND pid <> pg_backend_pid()
"""


class Unlucky:
    """A task that fails so many times."""

    def __init__(self, times: int) -> None:
        self.left, self.calls = times, 0

    def __call__(self, _: Mapping[str, Any]) -> None:
        self.calls += 1
        if self.calls <= self.left:
            raise OSError(f"no luck: {self.calls}")


def test_a_job_that_fails_is_tried_again_until_it_is_done(office: Office) -> None:
    """A failure is remembered with its reason, and a later success ends it."""
    task = Unlucky(2)
    now(office, "clean")
    with working(worker_of(office.authority, only("clean", task))):
        until(lambda: bool(jobs(office.authority, "done")))
    (job,) = jobs(office.authority, "done")
    assert (task.calls, job["attempts"], job["error"]) == (3, 3, "OSError: no luck: 2")


def test_waits_double() -> None:
    """Between attempts are 2, 4, 8 seconds and so on, four minutes in all."""
    waits = [retry_seconds(tried) for tried in range(1, MAX_ATTEMPTS)]
    assert waits == [2, 4, 8, 16, 32, 64, 128]


def test_a_job_that_fails_waits(office: Office) -> None:
    """It is not tried again before its wait is over, and adding to its work does not hurry it."""
    task = Unlucky(1)
    now(office, "clean")
    with working(worker_of(office.authority, only("clean", task), again=3600)):
        until(lambda: bool(jobs(office.authority, "scheduled")))
        now(office, "clean")
        now(office, "remind")
        until(lambda: bool(jobs(office.authority, "done", task="remind")))
    assert [one["state"] for one in jobs(office.authority, task="clean")] == ["scheduled"]
    assert task.calls == 1


def test_a_job_that_never_succeeds_ends_as_failed_and_can_be_tried_again(office: Office) -> None:
    """After its last attempt it is failed for good, the doctor says so, and a person may have it tried again."""
    task = Unlucky(MAX_ATTEMPTS)
    now(office, "clean")
    with working(worker_of(office.authority, only("clean", task))):
        until(lambda: bool(jobs(office.authority, "failed")))
        (job,) = jobs(office.authority, "failed")
        assert (task.calls, job["attempts"], job["error"]) == (MAX_ATTEMPTS, MAX_ATTEMPTS, "OSError: no luck: 8")
        (found,) = office.authority.jobs.check().differences
        assert f"remit jobs retry {job['id']}" in found.found and "no luck: 8" in found.found
        assert again(office, job["id"]) == "clean"
        until(lambda: bool(jobs(office.authority, "done")))
    assert office.authority.jobs.check().differences == ()
    assert again(office, job["id"]) is None


def test_a_failure_is_history_once_the_same_work_was_done(office: Office) -> None:
    """The doctor is content when what failed was done by a later job, and only then."""
    task = Unlucky(MAX_ATTEMPTS)
    now(office, "clean")
    with working(worker_of(office.authority, only("clean", task))):
        until(lambda: bool(jobs(office.authority, "failed")))
        now(office, "remind")
        until(lambda: bool(jobs(office.authority, "done", task="remind")))
        assert len(office.authority.jobs.check().differences) == 1
        now(office, "clean")
        until(lambda: bool(jobs(office.authority, "done", task="clean")))
    assert office.authority.jobs.check().differences == ()


def test_a_queue_nobody_works_on_is_found(office: Office) -> None:
    """A job that has been due for minutes is a difference, one that is due just now is not."""
    now(office, "clean")
    assert office.authority.jobs.check().differences == ()
    sql(office.authority.url, "UPDATE procrastinate_jobs SET scheduled_at = now() - interval '10 minutes'")
    (found,) = office.authority.jobs.check().differences
    assert found.subject == "the queue" and "1 due since" in found.found


KILLED = """
import sys, signal
from datetime import datetime
from remit.bootstrap import Authority
from remit.cli.logs import set_up_logs
from remit.settings import load_settings
from remit.testing.clock import ManualClock
from tests.jobs.station import only, work_of, worker_of

set_up_logs()
url, moment = sys.argv[1:]
authority = Authority(load_settings(None, {}, {}), url, ManualClock(datetime.fromisoformat(moment)))

def expire(_):
    work_of(authority).expire()
    print("expired", flush=True)
    signal.pause()

worker_of(authority, only("expire", expire)).start()
signal.pause()
"""


def test_what_a_killed_worker_was_at_is_done_by_the_next_one(office: Office) -> None:
    """Its job is run again when it is not heard of any more, and what it had done already is not done twice."""
    office.make("acme/killed", SAM, expires_at=office.clock.now() + timedelta(days=1))
    office.clock.advance(timedelta(days=1))
    sql(office.authority.url, "DELETE FROM procrastinate_jobs")
    now(office, "expire")
    arguments = [sys.executable, "-c", KILLED, office.authority.url, office.clock.now().isoformat()]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None and process.stdout.readline() == "expired\n"
        finally:
            process.kill()
    assert [one["state"] for one in jobs(office.authority, task="expire")] == ["running"]
    assert office.authority.jobs.rescue(3600) == []
    calls: list[str] = []

    def expire(_: Mapping[str, Any]) -> None:
        calls.append("again")
        work_of(office.authority).expire()

    with working(worker_of(office.authority, only("expire", expire))):
        until(lambda: bool(office.authority.jobs.rescue(2)))
        until(lambda: bool(jobs(office.authority, "done", task="expire")))
    assert calls == ["again"]
    assert (office.grant("acme/killed").status, office.grant("acme/killed").revision) == ("expired", 2)


def test_a_job_that_hangs_keeps_neither_others_nor_the_end_waiting(office: Office) -> None:
    """Other tasks go on, a stop takes no longer than it may, and the next worker does what was left behind."""
    gate = Gate()
    now(office, "deliver")
    worker = worker_of(office.authority, only("deliver", gate), stop_seconds=1)
    with working(worker):
        assert gate.begun.wait(30)
        now(office, "remind")
        until(lambda: bool(jobs(office.authority, "done", task="remind")))
    until(lambda: [one["state"] for one in jobs(office.authority, task="deliver")] == ["due"])
    gate.open.set()
    with working(worker_of(office.authority, only("deliver", lambda _: None))):
        until(lambda: bool(jobs(office.authority, "done", task="deliver")))


def test_a_stop_lets_a_running_job_end(office: Office) -> None:
    """What can end within the time there is does, and is done."""
    gate = Gate()
    now(office, "deliver")
    worker = worker_of(office.authority, only("deliver", gate))
    worker.start()
    assert gate.begun.wait(30)
    ending = threading.Thread(target=worker.stop)
    ending.start()
    until(lambda: worker.is_stopping)
    gate.open.set()
    ending.join()
    assert [one["state"] for one in jobs(office.authority, task="deliver")] == ["done"]


def test_a_worker_whose_connections_are_cut_goes_on(office: Office) -> None:
    """Where the database goes away and comes back, so does the worker."""
    with working(worker_of(office.authority, only("clean", lambda _: None))):
        now(office, "clean")
        until(lambda: bool(jobs(office.authority, "done")))
        sql(
            office.authority.url,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'remit-authority'"
            " AND datname = current_database()",
        )
        now(office, "remind")
        until(lambda: bool(jobs(office.authority, "done", task="remind")))


def test_what_ended_long_ago_is_forgotten(office: Office) -> None:
    """Done jobs go after one time, failed ones with their errors after another, and those that wait never."""
    for task in ("clean", "remind"):
        now(office, task)  # type: ignore[arg-type]
    with working(worker_of(office.authority, only("clean", Unlucky(99)))):
        until(lambda: bool(jobs(office.authority, "failed")) and bool(jobs(office.authority, "done")))
    now(office, "expire")
    queue, day = office.authority.jobs, timedelta(days=1)
    assert queue.clean() == 0
    assert queue.clean(done=timedelta(), failed=day) == 1
    assert {one["state"] for one in jobs(office.authority)} == {"failed", "due"}
    assert queue.clean(done=day, failed=timedelta()) == 1
    assert [one["task"] for one in jobs(office.authority)] == ["expire"]
    assert sql(office.authority.url, "SELECT count(*) FROM job_errors") == [(0,)]


def test_a_worker_whose_heart_stops_begins_anew(office: Office) -> None:
    """The library does not look after the task that says that it lives: one failed statement, and its jobs were everybody's."""
    beats = "SELECT count(*) FROM procrastinate_workers WHERE last_heartbeat > clock_timestamp() - interval '1 second'"
    ours = "SELECT id FROM procrastinate_workers ORDER BY id DESC LIMIT 1"
    url = office.authority.url
    with working(worker_of(office.authority, only("clean", lambda _: None))):
        until(lambda: sql(url, beats) == [(1,)])
        before = sql(url, ours)
        with psycopg.connect(url, autocommit=True, options="-c search_path=remit_jobs") as other, other.transaction():
            other.execute("LOCK TABLE procrastinate_workers IN SHARE MODE")
            # As a statement that takes too long, or a server that is changed for another, would end.
            until(lambda: [row[0] for row in sql(url, CANCEL)] == [True])
        until(lambda: sql(url, ours) not in (before, []))
        until(lambda: sql(url, beats) == [(1,)])
        now(office, "clean")
        until(lambda: bool(jobs(office.authority, "done")))
