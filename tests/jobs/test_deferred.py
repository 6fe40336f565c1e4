"""Jobs are deferred by the write they follow from."""

from datetime import timedelta

import psycopg
import pytest

from remit.grants.edits import NewGrant
from remit.renewals import requests
from remit.store.connect import connect
from remit.store.enqueue import Wanted, defer
from tests.jobs.station import jobs, only, sql, until, worker_of, working
from tests.renewals.office import SAM, START, USD, Office, usd


@pytest.fixture(scope="module")
def office() -> Office:
    """One office for all: each test makes what it asks about."""
    return Office()


def keys(office: Office) -> set[str]:
    return {one["key"] for one in jobs(office.authority)}


class ChangedMindError(Exception):
    """Somebody does."""


def test_a_job_and_its_write_stand_or_fall_together(office: Office) -> None:
    """What a write defers is there when it has committed, and never when it has not."""
    expires = START + timedelta(days=40)
    key, new = f"expire@{expires:%Y-%m-%dT%H:%M:%SZ}", NewGrant(path="acme/fleeting", owner=SAM, expires_at=expires)

    def make_and_fail(unit: object) -> object:
        from remit.grants.service import GrantService

        service = GrantService(unit.grants, office.clock)  # type: ignore[attr-defined]
        service.create(new, office.by(SAM, admin=True))
        raise ChangedMindError

    with pytest.raises(ChangedMindError):
        office.authority.writes.once("fleeting", {"actor": SAM, "operation": "test"}, make_and_fail)  # type: ignore[arg-type]
    assert key not in keys(office)
    office.make("acme/fleeting", SAM, expires_at=expires)
    assert key in keys(office)


def test_a_grant_waits_for_its_end_its_grace_its_renewal_and_its_periods(office: Office) -> None:
    """Each of these is a job at that instant, so many seconds of real time ahead as are left by the office's clock."""
    expires = START + timedelta(days=61)
    office.make("acme/timed", SAM, usd(1, "day"), expires_at=expires)
    wanted = {
        "expire@2027-03-06T09:00:00Z",
        "escalate@2027-03-06T08:50:00Z",
        "close_period@2027-01-05T00:00:00Z",
    }
    assert wanted <= keys(office)
    assert [one for one in keys(office) if one.startswith("remind@2027-02")]
    ((ahead,),) = sql(
        office.authority.url,
        "SELECT j.scheduled_at - v.at FROM procrastinate_jobs AS j JOIN procrastinate_events AS v ON v.job_id = j.id"
        " WHERE j.lock = 'expire@2027-03-06T09:00:00Z' AND v.type = 'deferred'",
    )
    assert abs(ahead - timedelta(days=61)) < timedelta(minutes=1)


def test_a_ticket_waits_for_its_time(office: Office) -> None:
    """Opening a ticket defers its escalation to when it is due, and the deliveries of what it tells people."""
    changes = {("usd", "month"): 300 * USD}
    ticket = office.opened(SAM, requests.increase, "acme/research/search", changes, "api")
    assert f"escalate@{ticket.due_at:%Y-%m-%dT%H:%M:%SZ}" in keys(office)
    assert "deliver" in keys(office)


def test_writes_of_the_same_work_defer_it_once(office: Office) -> None:
    """A job is added to none of its key that waits."""
    before = len(jobs(office.authority))
    with connect(office.authority.url, "remit_authority") as connection:
        for _ in range(3):
            defer(connection, office.clock.now(), [Wanted(task="clean"), Wanted(task="clean"), Wanted(task="remind")])
    assert len(jobs(office.authority)) == before + 2


def test_a_job_that_waits_begins_after_the_write_that_counts_on_it(office: Office) -> None:
    """A write that found its job waiting keeps it from starting until it has committed, so that the job sees what was written."""
    seen: list[int] = []
    url = office.authority.url

    def look(_: object) -> None:
        seen.append(sql(url, "SELECT count(*) FROM channels WHERE name = 'unseen'")[0][0])

    with connect(url, "remit_authority") as connection:
        defer(connection, office.clock.now(), [Wanted(task="sync")])
        with connection.transaction():
            connection.execute("INSERT INTO channels (name, since) VALUES ('unseen', now())")
            defer(connection, office.clock.now(), [Wanted(task="sync")])
            with working(worker_of(office.authority, only("sync", look))):
                # Whatever else waits is done meanwhile; this one is not.
                until(lambda: not jobs(office.authority, "due", task="deliver"))
                assert [one["state"] for one in jobs(office.authority, task="sync")] == ["due"]
        with working(worker_of(office.authority, only("sync", look))):
            until(lambda: bool(jobs(office.authority, "done", task="sync")))
    assert seen == [1]


def test_a_write_that_is_refused_defers_nothing(office: Office) -> None:
    """A grant that the rules do not allow leaves no job behind."""
    before = keys(office)
    new = NewGrant(path="acme/research/huge", owner=SAM, limits=(usd(10_000),))
    office.authority.grants.create(new, office.by(SAM, admin=True))
    assert keys(office) == before


def test_holds_defer_nothing(office: Office) -> None:
    """What moves money neither writes to the queue nor may."""
    with (
        connect(office.authority.url, "remit_gateway") as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        defer(connection, office.clock.now(), [Wanted(task="deliver")])
