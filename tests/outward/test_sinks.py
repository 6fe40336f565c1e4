"""Entries on their way to other systems, over a real database and real servers."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest

from remit.notify.calls import Endpoint
from remit.store.postgres_sinks import PostgresSinks
from remit.testing.peers.base import Fault
from remit.testing.peers.usage import EventsPeer, LagoPeer, OpenMeterPeer
from tests.outward.ground import Books


@pytest.fixture
def books(tmp_path: Path) -> Iterator[Books]:
    """A ledger of one grant."""
    made = Books(tmp_path)
    yield made
    made.trial.close()


@pytest.fixture
def events() -> Iterator[EventsPeer]:
    """A receiver of CloudEvents."""
    with EventsPeer() as running:
        yield running


@pytest.fixture
def lago() -> Iterator[LagoPeer]:
    """A Lago."""
    with LagoPeer() as running:
        yield running


def test_entries_arrive_in_order_and_once(books: Books, events: EventsPeer) -> None:
    """Every settled entry is posted in the order of the ledger, in batches, and what is not settled yet is not."""
    wanted = books.call(5)
    feeder = books.feeder("cloudevents", events.url, batch=2)
    assert [feeder.round(), feeder.round()] == [5, 0]
    assert events.posted == wanted
    assert [len(asked.json) for asked in events.asked] == [2, 2, 1]
    sequences = [event["sequence"] for event in events.kept.values()]
    assert sequences == sorted(sequences)
    hold = books.trial.hold(books.leaf, 3)
    books.trial.take(hold)
    books.trial.settle(hold.id, 3)
    assert feeder.round() == 0, "nobody knows yet whether a lower number can still appear"
    books.fold()
    assert feeder.round() == 1
    assert books.state("cloudevents")["delivered"] == 6


def test_an_event_is_a_cloudevent_without_secrets(books: Books, events: EventsPeer) -> None:
    """It has the entry's id, whose it is, and only the tags that are to be told."""
    (wanted,) = books.call()
    assert books.feeder("cloudevents", events.url, tags=["feature"], source="urn:remit:acme").round() == 1
    event = events.kept["urn:remit:acme", wanted]
    assert (event["specversion"], event["type"], event["subject"]) == ("1.0", "remit.entry.usage", "acme/search")
    assert event["data"]["amount_nanousd"] == 5
    assert event["data"]["tags"] == {}
    assert not {"entry_hash", "block_ids", "node_ids"} & set(event["data"])


@pytest.mark.parametrize("fault", [Fault(status=429, retry_after="120"), Fault(status=503), Fault(drops=True)])
def test_a_receiver_that_cannot_now_is_asked_again(books: Books, events: EventsPeer, fault: Fault) -> None:
    """Nothing is sent before its time, nothing is lost, and the place is where it was."""
    wanted = books.call(2)
    feeder = books.feeder("cloudevents", events.url)
    events.faults.append(fault)
    assert feeder.round() == 0
    state = books.state("cloudevents")
    assert (state["seq"], state["attempts"], state["waiting"]) == (0, 1, 2)
    asked = len(events.asked)
    books.wait(timedelta(seconds=119 if fault.retry_after else 7))
    assert feeder.round() == 0 and len(events.asked) == asked
    books.wait(timedelta(seconds=1))
    assert feeder.round() == 2
    assert events.ids == wanted
    assert books.state("cloudevents")["attempts"] == 0


def test_a_receiver_that_hangs_stops_nobody(books: Books, events: EventsPeer) -> None:
    """The call is given up in its time, and money moves meanwhile and afterwards."""
    wanted = books.call()
    events.faults.append(Fault(delay_seconds=0.5))
    assert books.feeder("cloudevents", events.url, timeout_seconds=0.1).round() == 0
    wanted += books.call()
    books.wait(timedelta(seconds=60))
    assert books.feeder("cloudevents", events.url).round() == 2
    assert events.ids == wanted


def test_an_answer_that_was_lost_makes_a_repetition_and_no_second_event(books: Books, events: EventsPeer) -> None:
    """What arrived but was not answered is sent again under the same id and source."""
    wanted = books.call(3)
    events.faults.append(Fault(drops=True, after=True))
    feeder = books.feeder("cloudevents", events.url)
    assert feeder.round() == 0
    books.wait(timedelta(seconds=60))
    assert feeder.round() == 3
    assert events.posted == [*wanted, *wanted] and events.ids == wanted


def test_a_crash_between_sending_and_remembering_loses_nothing(
    books: Books, events: EventsPeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever goes on sends the batch once more, under the same ids, and from there on the rest."""
    wanted = books.call(4)
    feeder = books.feeder("cloudevents", events.url, batch=2)

    def die(*_: object) -> bool:
        raise psycopg.OperationalError("the process is gone")

    with monkeypatch.context() as crash:
        crash.setattr(PostgresSinks, "fed", die)
        with pytest.raises(psycopg.OperationalError):
            feeder.round()
    assert events.posted == wanted[:2]
    assert feeder.round() == 0, "the one who died is waited for"
    books.wait(timedelta(minutes=16))
    assert feeder.round() == 4
    assert events.posted == [*wanted[:2], *wanted] and events.ids == wanted


def test_two_that_feed_at_once_skip_nothing(books: Books, events: EventsPeer) -> None:
    """Of two that hold one place, one moves it; the other one's batch is a repetition."""
    books.call(3)
    first = books.feeder("cloudevents", events.url)
    first.know()
    claimed = books.sinks.claim("cloudevents")
    assert claimed is not None
    assert books.sinks.fed("cloudevents", claimed.seq, 2, 2, [])
    assert not books.sinks.fed("cloudevents", claimed.seq, 1, 1, [])
    assert books.state("cloudevents")["seq"] == 2


def test_an_entry_that_is_refused_for_good_keeps_none_back(books: Books, events: EventsPeer) -> None:
    """Of a batch that is refused the parts are sent, and what is refused alone is a letter that can be sent again."""
    wanted = books.call(5)
    events.refuses = {wanted[2]}
    feeder = books.feeder("cloudevents", events.url)
    assert feeder.round() == 4
    assert events.ids == [one for one in wanted if one != wanted[2]]
    (letter,) = books.sinks.letters(10)
    assert (letter["entry_id"], letter["state"]) == (wanted[2], "dead") and "is not taken" in letter["error"]
    assert books.state("cloudevents")["waiting"] == 0
    assert books.retry("cloudevents") == 1
    feeder.round()
    assert len(books.sinks.letters(10)) == 1, "it was refused once more"
    events.refuses = set()
    assert books.retry("cloudevents") == 1
    feeder.round()
    assert books.sinks.letters(10) == [] and events.ids[-1] == wanted[2]
    assert books.retry("nobody") is None


def test_a_wrong_token_is_no_entrys_fault(books: Books) -> None:
    """Where nothing at all is let in, everything waits, nothing becomes a letter, and the token is in no reason."""
    books.call(2)
    with OpenMeterPeer() as meter:
        books.token.write_text("an-old-token-that-ended")
        feeder = books.feeder("openmeter", f"{meter.url}/api/v1/events")
        assert feeder.round() == 0
        state = books.state("openmeter")
        assert state["waiting"] == 2 and "401" in state["error"] and "an-old-token" not in state["error"]
        assert books.sinks.letters(10) == []


def test_openmeter_gets_subject_and_value(books: Books) -> None:
    """The grant is the subject, by the name that it or one above has there, and amounts are exact texts."""
    (wanted,) = books.call(amount=1_234_567_891)
    with OpenMeterPeer() as meter:
        url = f"{meter.url}/api/v1/events"
        assert books.feeder("openmeter", url, subjects={"acme": "customer-7"}).round() == 1
        event = meter.kept["remit", wanted]
    assert (event["subject"], event["type"], event["data"]["value"]) == ("customer-7", "remit.usage", "1.234567891")
    assert event["data"]["tag_team"] == "search" and event["data"]["model"] == "sim-dime"


def test_lago_keeps_one_of_each(books: Books, lago: LagoPeer) -> None:
    """A batch that Lago refuses because it has a part already is sent without that part; it is no letter."""
    wanted = books.call(3)
    url = f"{lago.url}/api/v1/events/batch"
    lago.faults.append(Fault(drops=True, after=True))
    feeder = books.feeder("lago", url, subject="tag:team", subjects={"search": "sub_1"}, code="llm")
    assert feeder.round() == 0
    wanted += books.call(1)
    books.wait(timedelta(seconds=60))
    assert feeder.round() == 4
    assert list(lago.kept) == wanted and books.sinks.letters(10) == []
    event = lago.kept[wanted[0]]
    assert (event["external_subscription_id"], event["code"]) == ("sub_1", "llm")
    assert event["timestamp"].partition(".")[0].isdecimal() and event["properties"]["value"] == "0.000000005"


def test_a_sink_begins_where_it_is_told(books: Books, events: EventsPeer) -> None:
    """Now, at an instant, or at the start, once: settings that change later move nothing."""
    books.call(2)
    books.wait(timedelta(hours=1))
    instant = books.clock.now()
    later = books.call(1)
    now = books.feeder("cloudevents", events.url, name="now", since="now")
    now.know()
    since = books.feeder("cloudevents", events.url, name="since", since=instant.isoformat())
    assert since.round() == 1 and events.ids == later
    assert books.feeder("cloudevents", events.url, name="since", since="start").round() == 0
    newest = books.call(1)
    assert now.round() == 1 and events.ids == [*later, *newest]


def test_a_sink_is_put_back(books: Books, events: EventsPeer) -> None:
    """Everything from an instant on is sent again, and that somebody wished so is audited."""
    books.call(1)
    books.wait(timedelta(hours=1))
    instant, again = books.clock.now(), books.call(2)
    feeder = books.feeder("cloudevents", events.url)
    assert feeder.round() == 3
    assert books.rewind("cloudevents", instant) == (3, 1)
    assert feeder.round() == 2
    assert events.posted[3:] == again and len(events.ids) == 3
    done = books.trial.looking.execute("SELECT after FROM audit WHERE subject_kind = 'sink'").fetchall()
    assert done == [({"seq": 1, "seq_before": 3},)]
    assert books.rewind("nobody", instant) is None


def test_kinds_that_are_not_wanted_are_passed_over(books: Books, events: EventsPeer) -> None:
    """They move the place on, and nothing is posted for them."""
    books.call(2)
    assert books.feeder("cloudevents", events.url, kinds=["suspense"]).round() == 0
    assert events.asked == [] and books.state("cloudevents")["waiting"] == 0


def test_the_look_finds_what_is_to_be_fed(books: Books) -> None:
    """A sink has work when it is new, or when something is settled for it and its time has come."""
    from remit.store.postgres_jobs import PostgresJobs

    jobs = PostgresJobs(books.opens)

    def wanted() -> list[str]:
        found = jobs.wanted(books.clock.now(), [], delivers=False, sinks=["cloudevents"])
        return [one.of for one in found if one.task == "feed"]

    assert wanted() == ["cloudevents"]
    feeder = books.feeder("cloudevents", "http://127.0.0.1:1", timeout_seconds=1)
    feeder.know()
    assert wanted() == []
    books.call()
    assert wanted() == ["cloudevents"]
    feeder.round()
    assert wanted() == []
    books.wait(timedelta(minutes=1))
    assert wanted() == ["cloudevents"]


def test_events_are_signed(books: Books, events: EventsPeer, tmp_path: Path) -> None:
    """A receiver that has the secret knows who sent them."""
    secret = tmp_path / "secret"
    secret.write_text("sixteen bytes and more")
    secret.chmod(0o600)
    books.call()
    assert books.feeder("cloudevents", events.url, secret_file=secret).round() == 1
    assert events.asked[0].headers["remit-signature"].startswith("t=")
    assert isinstance(books.feeder("cloudevents", events.url).sink.endpoint, Endpoint)
