"""Notifications on their way to channels, over a real database and real servers."""

import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from remit.jobs.carrier import Carrier, wait_seconds
from remit.notify.channels import OpenChannel
from remit.notify.ports import Delivered, Message, Outcome
from remit.store.connect import connect, opener
from remit.store.postgres_deliveries import PostgresDeliveries, retry_deliveries
from remit.testing.clock import ManualClock
from remit.testing.peers.base import Fault
from remit.testing.peers.github import GitHubPeer
from tests.notify.letters import NOW, TICKET, opened
from tests.store.database import AS_A_TEST, fresh_database


class Post:
    """A database with a clock, and what writes into it."""

    def __init__(self) -> None:
        self.url = fresh_database()
        self.clock = ManualClock(NOW)
        self.deliveries = PostgresDeliveries(opener(self.url, "remit_authority"), self.clock)
        self._count = 0

    def carrier(self, channel: OpenChannel) -> Carrier:
        carrier = Carrier(channel, self.deliveries, self.clock, jitter=lambda: 0.0)
        carrier.round()  # known from now on
        self.clock.advance(timedelta(seconds=1))
        return carrier

    def run(self, statement: str, *parameters: Any) -> list[Any]:
        with psycopg.connect(self.url, autocommit=True, options="-c search_path=remit") as connection:
            connection.execute(AS_A_TEST)
            cursor = connection.execute(statement.encode(), parameters)
            return cursor.fetchall() if cursor.description else []

    def retry(self, number: int) -> list[str]:
        with connect(self.url, "remit_authority") as connection, connection.transaction():
            return retry_deliveries(connection, number, self.clock.now())

    def ticket(self) -> None:
        later = self.clock.now() + timedelta(days=2)
        self.run(
            "INSERT INTO tickets (id, kind, path, requester, assignees, tier, opened_at, due_at, expires_at, reason,"
            " effect, evidence, revision) VALUES (%s, 'increase', 'acme/research', 'ann@acme.example',"
            " '{bob@acme.example}', 'standard', %s, %s, %s, 'more', '{}', '{}', 1)",
            TICKET, self.clock.now(), later, later + timedelta(days=9),
        )  # fmt: skip

    def notify(self, kind: str, *, ticket_id: str = "", audience: str = "owner") -> int:
        self._count += 1
        ((made,),) = self.run(
            "INSERT INTO notifications (kind, audience, node_id, body, created_at, next_attempt_at, ticket_id, threshold)"
            " VALUES (%s, %s, 'grant_x', %s, %s, %s, %s, %s) RETURNING id",
            kind, audience, Jsonb({"path": "acme", "owner": "ann@acme.example"}), self.clock.now(), self.clock.now(),
            ticket_id, self._count,
        )  # fmt: skip
        return int(made)

    def states(self) -> list[tuple[str, int, str | None]]:
        return [
            tuple(row) for row in self.run("SELECT state, attempts, error FROM deliveries ORDER BY notification_id")
        ]


class Gate:
    """A channel that keeps whoever brings it something until it is opened."""

    def __init__(self) -> None:
        self.came = threading.Event()
        self.open = threading.Event()
        self.got: list[int] = []

    def deliver(self, message: Message) -> Outcome:
        self.came.set()
        assert self.open.wait(30)
        self.got.append(message.id)
        return Delivered()


def through(gate: Gate, name: str) -> OpenChannel:
    return OpenChannel(name=name, type="events", kinds=(), audiences=(), max_attempts=3, channel=gate)


@pytest.fixture
def post() -> Post:
    return Post()


@pytest.fixture
def github() -> Iterator[GitHubPeer]:
    """A repository."""
    with GitHubPeer() as running:
        yield running


def test_a_channel_gets_what_came_after_it_and_what_it_asked_for(post: Post, github: GitHubPeer) -> None:
    """Neither history nor other kinds or audiences, and each notification once."""
    post.notify("threshold")
    post.clock.advance(timedelta(seconds=1))
    carrier = post.carrier(opened("github", github.url, post.clock, kinds=["threshold"], audiences=["owner"]))
    post.notify("cap_reached")
    post.notify("threshold", audience="on_call")
    wanted = post.notify("threshold")
    assert [carrier.round(), carrier.round()] == [1, 0]
    assert len(github.issues) == 1
    assert post.run("SELECT notification_id, state, remote_ref FROM deliveries") == [(wanted, "delivered", "1")]


def test_everything_about_a_ticket_goes_to_its_issue_in_order(post: Post, github: GitHubPeer) -> None:
    """A comment waits until the issue is there, and the issue is found by it afterwards."""
    carrier = post.carrier(opened("github", github.url, post.clock))
    post.ticket()
    post.notify("ticket_opened", ticket_id=TICKET, audience="owner")
    post.notify("ticket_commented", ticket_id=TICKET, audience="owner")
    github.faults.append(Fault(status=500))
    assert carrier.round() == 0
    assert github.issues == {}
    post.clock.advance(timedelta(seconds=20))
    assert carrier.round() == 2
    assert len(github.issues) == 1 and len(github.issues[1]["comments"]) == 1
    assert post.deliveries.ticket_of("github", "1") == TICKET


def test_retry_after_is_kept_and_waits_grow(post: Post, github: GitHubPeer) -> None:
    """Nothing is asked before the time the other side named; after the last attempt the message is dead and can be retried."""
    carrier = post.carrier(opened("github", github.url, post.clock, max_attempts=3))
    number = post.notify("threshold")
    github.faults.extend([Fault(status=429, retry_after="120"), Fault(status=500), Fault(status=502)])
    carrier.round()
    post.clock.advance(timedelta(seconds=119))
    carrier.round()
    assert len(github.asked) == 1
    for seconds in (1, 60):
        post.clock.advance(timedelta(seconds=seconds))
        carrier.round()
    assert post.states() == [("dead", 3, "after 3 attempts: answered 502")]
    (letter,) = post.deliveries.dead(0, 10)
    assert (letter["id"], letter["channel"], letter["error"]) == (number, "github", "after 3 attempts: answered 502")
    assert post.retry(number) == ["github"] and post.retry(number) == []
    assert carrier.round() == 1
    assert post.deliveries.dead(0, 10) == []
    waits = [wait_seconds(attempts, 0.999) for attempts in (1, 2, 3, 9, 99)]
    assert waits == [15, 30, 60, 3599, 3599]


def test_a_slow_channel_holds_up_no_other_and_nobody_takes_what_is_taken(post: Post, github: GitHubPeer) -> None:
    """While one delivery hangs, another channel delivers and a second worker of the same channel finds nothing due."""
    gate = Gate()
    slow, quick = post.carrier(through(gate, "slow")), post.carrier(opened("github", github.url, post.clock))
    post.notify("threshold")
    thread = threading.Thread(target=slow.round)
    thread.start()
    assert gate.came.wait(30)
    assert quick.round() == 1
    assert Carrier(slow.channel, post.deliveries, post.clock).round() == 0
    gate.open.set()
    thread.join(30)
    assert len(gate.got) == 1


def test_an_attempt_that_never_ended_is_made_again(post: Post) -> None:
    """At least once: what a process took with it when it died is due again after five minutes, and its late end counts for nothing."""
    gate = Gate()
    gate.open.set()
    carrier = post.carrier(through(gate, "hook"))
    post.notify("threshold")
    post.deliveries.fan_out("hook", (), ())
    lost = post.deliveries.claim("hook")
    assert lost is not None and carrier.round() == 0
    post.clock.advance(timedelta(seconds=301))
    assert carrier.round() == 1
    post.deliveries.end("hook", lost, "dead", error="too late")
    assert post.states() == [("delivered", 2, None)]


def test_what_is_written_before_anybody_worked_is_carried(post: Post) -> None:
    """A channel that was made known gets what is written from then on, though its first round comes later."""
    post.deliveries.know("github")
    post.clock.advance(timedelta(seconds=1))
    post.ticket()
    number = post.notify("ticket_opened", ticket_id=TICKET)
    post.deliveries.fan_out("github", (), ())
    claimed = post.deliveries.claim("github")
    assert claimed is not None and claimed["id"] == number
