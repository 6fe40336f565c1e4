"""What jobs do when their time has come, without anybody's request."""

from collections.abc import Iterator
from datetime import timedelta

import psycopg
import pytest

from remit.grants.model import Overdraft
from remit.renewals import requests
from remit.store.enqueue import Wanted
from tests.jobs.station import jobs, sql, until, work_of, worker_of, working
from tests.renewals.office import ADMIN, SAM, USD, Office, usd


@pytest.fixture
def office() -> Office:
    return Office()


@pytest.fixture
def work(office: Office) -> Iterator[None]:
    """A worker that does what the authority's does."""
    with working(worker_of(office.authority, work_of(office.authority).tasks())):
        yield


def test_a_grant_expires_by_its_job(office: Office, work: None) -> None:
    """At its expiry a grant gets its status, once, and those around it are told; nobody asked, and nobody looked."""
    # A clock that is nearly there: what is left of the time passes on the machine's.
    expires = office.clock.now() + timedelta(days=30)
    office.clock.advance_to(expires - timedelta(seconds=1))
    office.make("acme/brief", SAM, usd(1), expires_at=expires)
    office.clock.advance(timedelta(seconds=1))
    until(lambda: office.grant("acme/brief").status == "expired")
    until(lambda: any(row["path"] == "acme/brief" for row in office.notices("lapsed")))
    assert office.grant("acme/brief").revision == 2


def test_a_ticket_is_escalated_at_its_time(office: Office, work: None) -> None:
    """What nobody decides goes on to the next when it is due, and not a moment before."""
    ticket = office.opened(SAM, requests.increase, "acme/research/search", {("usd", "month"): 300 * USD}, "api")
    office.clock.advance_to(ticket.due_at - timedelta(seconds=1))
    # Too early by our clock: there is nothing to do.
    office.authority.jobs.defer(office.clock.now(), [Wanted(task="escalate")])
    until(lambda: bool(jobs(office.authority, "done", task="escalate")))
    assert office.ticket(ticket.id).level == 0
    assert office.authority.jobs.wanted(office.clock.now(), [], delivers=False) == []
    office.clock.advance_to(ticket.due_at)
    wanted = office.authority.jobs.wanted(office.clock.now(), [], delivers=False)
    assert wanted == [Wanted(task="escalate")]
    office.authority.jobs.defer(office.clock.now(), wanted)
    until(lambda: office.ticket(ticket.id).level == 1)
    assert office.ticket(ticket.id).assignees == (ADMIN,)


def test_time_that_was_moved_is_noticed(office: Office, work: None) -> None:
    """After a jump of the clock the look finds what is due, although the job for it waits for the real instant."""
    office.make("acme/moved", SAM, expires_at=office.clock.now() + timedelta(days=2))
    office.clock.advance(timedelta(days=2))
    assert [one["state"] for one in jobs(office.authority, task="expire") if "01-06" in one["key"]] == ["scheduled"]
    office.authority.upkeep().look()
    until(lambda: office.grant("acme/moved").status == "expired")


def test_the_end_of_a_period_repays(office: Office, work: None) -> None:
    """When a period ends its debt is repaid out of the next one, once, and the end of that one is waited for."""
    prod = office.make("acme/research/prod", SAM, usd(1, "day"), overdraft=Overdraft(max_nanousd=5 * USD))
    office.owe(prod.path, 2 * USD)
    (owed,) = office.authority.ledger.debts()
    assert owed.outstanding == USD
    office.clock.advance(timedelta(days=1))
    office.authority.jobs.defer(office.clock.now(), [Wanted(task="close_period")])
    until(lambda: bool(jobs(office.authority, "done", task="close_period")))
    assert office.authority.ledger.debts() == []
    assert "close_period@2027-01-06T00:00:00Z" in {one["key"] for one in jobs(office.authority, "scheduled")}
    settled = "SELECT count(*) FROM entries WHERE settlement IS NOT NULL"
    assert sql(office.authority.url, settled) == [(1,)]
    office.authority.jobs.defer(office.clock.now(), [Wanted(task="close_period")])
    until(lambda: len(jobs(office.authority, "done", task="close_period")) == 2)
    assert sql(office.authority.url, settled) == [(1,)]


def test_books_that_differ_are_told(office: Office) -> None:
    """On-call hears of it once a day, however often it is found; healthy books are no news."""
    work = work_of(office.authority)
    office.owe("acme/research/search", 2 * USD)
    assert work.check_books() == 0
    sql(office.authority.url, "UPDATE buckets SET posted = posted - 1 WHERE dimension = 'usd' AND posted > 0")
    assert work.check_books() == work.check_books() > 0
    told = sql(office.authority.url, "SELECT audience, body ->> 'detail' FROM notifications WHERE dimension = 'books'")
    assert [audience for audience, _ in told] == ["on_call"] and "differences in the books" in told[0][1]


def test_two_workers_do_everything_once(office: Office) -> None:
    """Two authorities over one database: each grant expires once, each job is done once."""
    for number in range(5):
        expires = office.clock.now() + timedelta(days=1, seconds=number)
        office.make(f"acme/twin{number}", SAM, usd(1), expires_at=expires)
    ticket = office.opened(SAM, requests.increase, "acme/research/search", {("usd", "month"): 300 * USD}, "api")
    office.clock.advance_to(ticket.due_at + timedelta(days=2))
    authority = office.authority
    sql(authority.url, "UPDATE procrastinate_jobs SET scheduled_at = now() WHERE status = 'todo'")
    with working(*(worker_of(authority, work_of(authority).tasks()) for _ in range(2))):
        until(lambda: not jobs(authority, "due", "running"))
    assert {office.grant(f"acme/twin{number}").revision for number in range(5)} == {2}
    assert office.ticket(ticket.id).level == 1
    assert jobs(authority, "failed", "cancelled") == []
    begun = "SELECT count(*) FROM procrastinate_events WHERE type = 'started' GROUP BY job_id"
    assert set(sql(authority.url, begun)) == {(1,)}


def test_what_money_wrote_is_delivered(office: Office) -> None:
    """Pages are written by what moves money, which defers nothing: the look finds them."""
    sent: list[int] = []

    def send(notification: dict[str, object]) -> bool:
        sent.append(int(str(notification["id"])))
        return True

    work = work_of(office.authority, send=send)
    sql(
        office.authority.url,
        "INSERT INTO notifications (kind, audience, node_id, body, created_at, next_attempt_at)"
        " VALUES ('suspense', 'owner', 'grant_z', '{}', %s, %s)",
        office.clock.now(), office.clock.now(),
    )  # fmt: skip
    wanted = office.authority.jobs.wanted(office.clock.now(), [], delivers=True)
    assert [one.task for one in wanted] == ["deliver"]
    assert office.authority.jobs.wanted(office.clock.now(), [], delivers=False) == []
    with working(worker_of(office.authority, work.tasks())):
        office.authority.jobs.defer(office.clock.now(), wanted)
        until(lambda: len(sent) == 1)
    assert office.authority.jobs.wanted(office.clock.now(), [], delivers=True) == []


def test_holds_end_while_the_queue_stands_still() -> None:
    """The sweep hangs on no queue: with the queue's tables out of reach a hold whose time is up is booked."""
    office = Office(sweep_seconds=0.1)
    office.make("acme/research/prod", SAM, usd(5))
    hold = office.held("acme/research/prod", USD)
    upkeep = office.authority.upkeep()
    office.clock.advance(timedelta(hours=1))
    with psycopg.connect(office.authority.url) as connection:
        connection.execute("LOCK TABLE remit_jobs.procrastinate_jobs IN ACCESS EXCLUSIVE MODE")
        upkeep.start()
        until(lambda: sql(office.authority.url, "SELECT state FROM remit.holds WHERE id = %s", hold) == [("expired",)])
        assert not jobs_are_in_reach(office.authority.url)
    upkeep.stop()


def jobs_are_in_reach(url: str) -> bool:
    with psycopg.connect(url, autocommit=True, options="-c lock_timeout=50") as connection:
        try:
            connection.execute("SELECT count(*) FROM remit_jobs.procrastinate_jobs")
        except psycopg.errors.LockNotAvailable:
            return False
    return True
