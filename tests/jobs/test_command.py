"""`remit jobs` and the doctor."""

from pathlib import Path

import pytest

from remit.store.enqueue import Wanted
from tests.cli.conftest import Cli, plain_environment
from tests.jobs.station import jobs, only, sql, until, worker_of, working
from tests.renewals.office import Office


@pytest.fixture(scope="module")
def office() -> Office:
    """An office whose `clean` has failed for good."""
    made = Office()
    made.authority.jobs.defer(made.clock.now(), [Wanted(task="clean")])

    def fail(_: object) -> None:
        raise OSError("the disk is full")

    with working(worker_of(made.authority, only("clean", fail))):
        until(lambda: bool(jobs(made.authority, "failed")))
    return made


@pytest.fixture
def cli(office: Office, tmp_path: Path) -> Cli:
    """The command line over its database."""
    environment = plain_environment(REMIT_DATABASE_URL=office.authority.url, USER="ada")
    return Cli(tmp_path, environment)


def test_jobs_are_counted_and_the_failed_shown(office: Office, cli: Cli) -> None:
    """Counts by task and state, and of those that wait, run or failed the last error; as text and as JSON."""
    text = cli.ok("jobs").out
    assert "OSError: the disk is full" in text and "scheduled" in text
    found = cli.ok("jobs", "--json").json()
    assert {"task": "clean", "state": "failed", "count": 1} in found["counts"]
    (job,) = [one for one in found["jobs"] if one["state"] == "failed"]
    assert set(job) == {"id", "task", "key", "state", "attempts", "error", "since"}
    assert {one["state"] for one in cli.ok("jobs", "--state", "scheduled", "--json").json()["jobs"]} == {"scheduled"}
    assert cli("jobs", "-n", "0").code == 2


def test_the_doctor_tells_what_failed_and_retry_mends_it(office: Office, cli: Cli) -> None:
    """Exit code 1 with the job and its error, until it was tried again and done."""
    (job,) = jobs(office.authority, "failed")
    ran = cli("doctor")
    assert ran.code == 1 and f"job {job['id']}, clean" in ran.out and "the disk is full" in ran.out
    assert f"job {job['id']} is due again: clean" in cli.ok("jobs", "retry", str(job["id"])).out
    assert cli("jobs", "retry", str(job["id"])).code == 2
    with working(worker_of(office.authority, only("clean", lambda _: None))):
        until(lambda: bool(jobs(office.authority, "done", task="clean")))
    assert cli.ok("doctor").out.endswith("healthy\n")


def test_no_jobs_are_said_so(office: Office, cli: Cli) -> None:
    """An empty queue is one line."""
    sql(office.authority.url, "DELETE FROM procrastinate_jobs")
    assert cli.ok("jobs").out == "no jobs\n"
