"""Outcomes on a real PostgreSQL: kept once and for ever, joined to entries, summed to the ledger."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from remit.grants.model import Grant, Problem
from remit.ledger.service import check_books
from remit.outcomes.model import Event, Join, Row, Status, Wanted, ordered
from remit.outcomes.ports import Assertion, Known
from remit.outcomes.rules import outcome_id
from remit.outcomes.service import outcome_comparison, outcome_report
from remit.store.connect import opener
from remit.store.postgres_outcomes import PostgresOutcomes
from remit.store.postgres_tickets import OUTCOME_DAYS, PostgresTickets
from tests.leases.trial import Trial, grant, usd
from tests.store.database import fresh_database

KIND = "ticket_resolved"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


@dataclass
class Desk:
    """A support desk `root/desk` and a lab beside it, with calls that cost what a test says."""

    trial: Trial
    store: PostgresOutcomes
    desk: Grant
    lab: Grant

    def call(self, cost: int, leaf: Grant | None = None, *, trace: str | None = None, **tags: str) -> str:
        """One settled call; its operation id."""
        hold = self.trial.hold(leaf or self.desk, 1000)
        entry = {**hold.entry, "tags": tags, **({} if trace is None else {"trace_id": trace})}
        hold = replace(hold, entry=entry)
        assert self.trial.take(hold) == [True]
        assert self.trial.settle(hold.id, cost) == "settled"
        return hold.operation_id

    def event(self, name: str, subject: str, status: Status = "success", *joins: Join, **more: Any) -> Event:
        plain: dict[str, Any] = {"kind": KIND, "grant_id": self.desk.id, "occurred_at": self.trial.clock.now(), **more}
        return Event(
            source="zendesk", event_id=name, subject=subject, status=status, joins=ordered(set(joins)), **plain
        )

    def say(self, *events: Event) -> list[Known] | Problem:
        return self.store.record(events, Assertion(by="desk@acme.example", token_id=None, at=self.trial.clock.now()))

    def said(self, *events: Event) -> None:
        assert isinstance(self.say(*events), list)

    def rows(self, *by: str, **wanted: Any) -> tuple[dict[Any, Row], Row]:
        (one,) = outcome_report(self.store, Wanted(by=by or ("grant",), **wanted)).kinds
        assert (
            one.total.total_nanousd
            == self.trial.ledger.of_nodes(wanted["nodes"]).total_nanousd(wanted.get("since"), wanted.get("until"))
            if wanted.get("nodes")
            else True
        )
        return {row.group[0] if len(row.group) == 1 else row.group: row for row in one.rows}, one.total


@pytest.fixture
def desk() -> Iterator[Desk]:
    trial = Trial(fresh_database())
    root = trial.write(grant("root", limits=(usd(1_000_000),)))
    leaves = [trial.write(grant(name, root)) for name in ("desk", "lab")]
    yield Desk(trial, PostgresOutcomes(opener(trial.url, "remit_authority"), trial.url), *leaves)
    trial.close()


def operation(name: str) -> Join:
    return Join("operation", name)


def tag(name: str, value: str) -> Join:
    return Join("tag", value, name)


def test_spend_is_joined_by_operation_trace_tag_and_window(desk: Desk) -> None:
    """Each way finds its calls, a call that two ways find counts once, and what nothing finds is unattributed."""
    attempt = desk.call(10)
    desk.call(20, trace=TRACE)
    desk.call(40, ticket="1234")
    desk.call(80, ticket="1234", trace=TRACE)
    desk.call(160)
    desk.said(desk.event("e1", "1234", "success", operation(attempt), Join("trace", TRACE), tag("ticket", "1234")))
    _, total = desk.rows()
    assert (total.attributed_nanousd, total.unattributed_nanousd, total.total_nanousd) == (150, 160, 310)
    now = desk.trial.clock.now()
    desk.said(desk.event("e2", "1234", "success", Join("window", since=now, until=now + timedelta(seconds=1))))
    _, total = desk.rows()
    assert (total.attributed_nanousd, total.unattributed_nanousd) == (310, 0)


def test_all_attempts_of_a_subject_are_its_cost(desk: Desk) -> None:
    """What a failed attempt cost is part of what the success after it cost, overage, doubt and correction included."""
    desk.said(desk.event("e1", "7", "failure", operation(desk.call(100))))
    beyond = desk.call(1_300)  # 300 more than its ceiling
    desk.said(desk.event("e2", "7", "failure", operation(beyond)))
    hold = desk.trial.hold(desk.desk, 500, seconds=1)
    assert desk.trial.take(hold) == [True]
    desk.trial.clock.instant += timedelta(seconds=2)
    assert desk.trial.expire() == 1
    desk.said(desk.event("e3", "7", "success", operation(hold.operation_id)))
    _, total = desk.rows()
    assert (total.cost_per_success_nanousd, total.suspense_nanousd) == (1_900, 500)
    assert desk.trial.evidence((hold.id, 30, 1)) == ["corrected"]
    _, total = desk.rows()
    assert (total.cost_per_success_nanousd, total.suspense_nanousd, total.outcomes) == (1_430, 0, 1)


def test_shared_spend_is_split_by_weight_and_nothing_is_lost(desk: Desk) -> None:
    """A call for three tickets is split 2:1:1, the odd nano-dollar goes to one of them, and the sum is the ledger's."""
    shared = desk.call(101)
    for number, weight in (("1", 500_000), ("2", 250_000), ("3", 250_000)):
        desk.said(desk.event(f"e{number}", number, "success", operation(shared), weight_ppm=weight))
    facts = desk.store.facts(Wanted())
    (part,) = facts.spend
    assert len(part.outcomes) == 3 and part.amount_nanousd == 101
    _, total = desk.rows()
    assert (total.attributed_nanousd, total.unattributed_nanousd, total.outcomes) == (101, 0, 3)


def test_groups_are_those_of_the_ledger(desk: Desk) -> None:
    """By a tag, a model and a grant, each row has its part, what is unattributed too, and an outcome without spend counts once."""
    desk.call(10, feature="chat", ticket="1")
    desk.call(20, feature="mail", ticket="1")
    desk.call(40, feature="mail")
    desk.call(80, desk.lab, feature="mail")
    desk.said(desk.event("e1", "1", "success", tag("ticket", "1")), desk.event("e2", "2", "success"))
    rows, total = desk.rows("feature")
    assert {name: (row.outcomes, row.attributed_nanousd, row.unattributed_nanousd) for name, row in rows.items()} == {
        "chat": (1, 10, 0), "mail": (1, 20, 120), None: (1, 0, 0)
    }  # fmt: skip
    assert (total.outcomes, total.cost_per_success_nanousd, total.total_nanousd) == (2, 15, 150)
    rows, _ = desk.rows("grant", "model")
    assert set(rows) == {("root/desk", "sim-dime"), ("root/lab", "sim-dime"), (None, None)}
    rows, total = desk.rows("grant", nodes=(desk.desk.id,))
    assert set(rows) == {"root/desk", None} and total.total_nanousd == 70
    with_nothing = outcome_report(desk.store, Wanted(nodes=(desk.lab.id,)))
    assert with_nothing.kinds == () and with_nothing.ledger_nanousd == 80


def test_an_outcome_reaches_no_spend_of_another_grant(desk: Desk) -> None:
    """Asserted at the desk, it takes nothing of the lab's, by whichever way it names it; asserted above, it does."""
    foreign = desk.call(10, desk.lab, ticket="1", trace=TRACE)
    joins = (operation(foreign), Join("trace", TRACE), tag("ticket", "1"))
    desk.said(desk.event("e1", "1", "success", *joins))
    _, total = desk.rows()
    assert (total.attributed_nanousd, total.unattributed_nanousd) == (0, 10)
    desk.said(desk.event("e2", "2", "success", *joins, grant_id="grant_root"))
    _, total = desk.rows()
    assert (total.attributed_nanousd, total.unattributed_nanousd) == (10, 0)


def test_the_window_is_that_of_the_spend_and_of_the_decision(desk: Desk) -> None:
    """Attempts before the window belong to the outcome that was decided in it, as long ago as is looked, and are stated."""
    old = desk.call(1)
    desk.trial.clock.instant += timedelta(days=20)
    first = desk.call(10)
    since = desk.trial.clock.instant + timedelta(days=15)
    desk.trial.clock.instant += timedelta(days=16)
    desk.said(desk.event("e1", "1", "success", *map(operation, (old, first, desk.call(100)))))
    _, total = desk.rows(since=since)
    assert (total.attributed_nanousd, total.earlier_nanousd, total.total_nanousd) == (110, 10, 100)
    _, total = desk.rows(until=since)
    assert (total.outcomes, total.elsewhere_nanousd, total.unattributed_nanousd) == (0, 11, 0)


def test_an_event_is_kept_once(desk: Desk) -> None:
    """Said again it is the same event; with anything else it is refused by name, and so is the batch it is in."""
    first = desk.event("e1", "1", "success", tag("ticket", "1"), value_nanousd=5, evidence_url="https://x.example/1")
    one, again = desk.say(first), desk.say(first)
    assert isinstance(one, list) and isinstance(again, list)
    assert (one[0].is_new, again[0].is_new, one[0].recorded) == (True, False, again[0].recorded)
    changes: dict[str, dict[str, Any]] = {
        "subject": {"subject": "2"}, "kind": {"kind": "other"}, "status": {"status": "failure"},
        "grant": {"grant_id": desk.lab.id}, "time": {"occurred_at": first.occurred_at - timedelta(microseconds=1)},
        "joins": {"joins": ()}, "value_nanousd": {"value_nanousd": None}, "evidence_url": {"evidence_url": None},
        "weight_ppm": {"weight_ppm": 1},
    }  # fmt: skip
    for field, change in changes.items():
        answer = desk.say(desk.event("fresh", "9"), replace(first, **change))
        assert isinstance(answer, Problem), field
        assert (answer.code, answer.field) == (f"conflict_different_{field}", f"[1].{field}")
    other_grant = desk.say(desk.event("e2", "1", grant_id=desk.lab.id))
    assert isinstance(other_grant, Problem) and other_grant.code == "conflict_different_grant"
    assert [one.event.event_id for one, _ in desk.store.page(0, 10)] == ["e1"]
    assert isinstance(desk.say(desk.event("e1", "1"), desk.event("e1", "1")), Problem)


def test_the_same_event_in_one_batch_is_one(desk: Desk) -> None:
    """A batch that says an event twice records it once."""
    event = desk.event("e1", "1")
    answer = desk.say(event, event)
    assert isinstance(answer, list) and [one.is_new for one in answer] == [True, False]


def test_batches_that_overlap_are_recorded_once(desk: Desk) -> None:
    """Four writers that say the same events in orders of their own: each event is new to one of them, and nobody waits for ever."""
    events = [desk.event(f"e{number}", str(number % 3)) for number in range(40)]

    def say(writer: int) -> int:
        order = sorted(events, key=lambda one: hash((one.event_id, writer)))
        answer = desk.say(*order)
        assert isinstance(answer, list)
        return sum(one.is_new for one in answer)

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(say, range(4))) == 40
    assert len(desk.store.page(0, 100)) == 40


@pytest.mark.parametrize("table", ["outcomes", "outcome_events", "outcome_joins"])
def test_nothing_of_it_is_ever_changed(desk: Desk, table: str) -> None:
    """Not by the role that writes it, and not by the owner: a trigger refuses."""
    desk.said(desk.event("e1", "1", "success", tag("ticket", "1")))
    column = "value" if table == "outcome_joins" else "source"
    for statement in (f"UPDATE {table} SET {column} = 'x'", f"DELETE FROM {table}", f"TRUNCATE {table} CASCADE"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            desk.trial.authority.execute(statement.encode())
        with pytest.raises(psycopg.Error, match="never"):
            desk.trial.looking.execute(statement.encode())


def test_two_experiments_are_compared(desk: Desk) -> None:
    """Outcomes belong to the arm that their spend is tagged with; those with spend of both belong to neither."""
    events = []
    for number in range(40):
        for arm, cost in (("A", 10), ("B", 20)):
            desk.call(cost + number % 5, experiment=arm, ticket=f"{arm}{number}")
            status: Status = "success" if number % 4 else "failure"
            events.append(desk.event(f"e{arm}{number}", f"{arm}{number}", status, tag("ticket", f"{arm}{number}")))
    desk.call(7, experiment="A", ticket="both")
    desk.call(7, experiment="B", ticket="both")
    desk.said(*events, desk.event("both", "both", "success", tag("ticket", "both")))
    made = outcome_comparison(desk.store, Wanted(kind=KIND, by=("experiment",)), ("A", "B"))
    assert (made.verdict, made.in_both) == ("first_costs_less", 1)
    assert (made.first.outcomes, made.first.successes, made.first.cost_per_success_nanousd) == (40, 30, 16)
    assert made.difference_nanousd == 13 and made.interval is not None and 0 < made.interval.low <= 13


def test_renewals_see_what_an_outcome_cost(desk: Desk) -> None:
    """The evidence has cost per success and how many, of the days before; without an assertion it is unknown, and no zero."""
    with desk.trial.authority.transaction():
        tickets = PostgresTickets(desk.trial.authority, desk.trial.clock)
        desk.call(30, ticket="1")
        evidence = tickets.evidence(desk.desk.id, desk.trial.clock.now())
        assert (evidence["cost_per_outcome_nanousd"], evidence["outcomes"]) == (None, None)
    desk.said(desk.event("e1", "1", "success", tag("ticket", "1")), desk.event("e2", "2", "failure"))
    desk.trial.clock.instant += timedelta(days=1)
    with desk.trial.authority.transaction():
        evidence = tickets.evidence(desk.desk.id, desk.trial.clock.now())
    assert evidence["cost_per_outcome_nanousd"] == 30
    row = {"kind": KIND, "outcomes": 2, "successes": 1, "cost_nanousd": 30, "cost_per_success_nanousd": 30}
    assert evidence["outcomes"] == {"days": OUTCOME_DAYS, "kinds": [row]}
    desk.trial.clock.instant += timedelta(days=OUTCOME_DAYS)
    assert tickets.evidence(desk.desk.id, desk.trial.clock.now())["outcomes"] is None


def test_the_trace_is_in_the_entry_and_its_hash(desk: Desk) -> None:
    """An entry has its call's trace, the books are sound with it, and another trace would be another hash."""
    desk.call(1, trace=TRACE)
    desk.call(1)
    traces = desk.trial.looking.execute("SELECT trace_id FROM entries ORDER BY seq").fetchall()
    assert traces == [(TRACE,), (None,)]
    assert not [one for check in check_books(desk.trial.ledger) for one in check.differences]
    desk.trial.looking.execute("SET session_replication_role = replica")
    desk.trial.looking.execute("UPDATE entries SET trace_id = repeat('a', 32) WHERE trace_id IS NOT NULL")
    assert {one.check for check in check_books(desk.trial.ledger) for one in check.differences} == {"hashes"}


def test_an_outcome_has_the_id_of_its_subject(desk: Desk) -> None:
    """All events of one source, kind and subject are of one outcome, whenever they come."""
    desk.said(desk.event("e1", "1"), desk.event("e2", "1", "reversed"), desk.event("e3", "2"))
    ids = [one.outcome_id for one, _ in desk.store.page(0, 10)]
    assert ids[0] == ids[1] == outcome_id("zendesk", KIND, "1") != ids[2]
