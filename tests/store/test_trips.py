"""What a gateway may do to the breaker's tables, on a real server: trip, within bounds, and count."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from remit.gateway.noting import NOT_THE_GRANTS
from remit.grants.attempts import REFUSED
from remit.kernel.decisions import RefusalCode
from remit.kernel.ids import new_id
from remit.store.connect import connect
from tests.leases.trial import Trial, grant
from tests.store.database import fresh_database

NOON = datetime(2026, 11, 17, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def url() -> str:
    """A database."""
    return fresh_database()


@pytest.fixture
def gateway(url: str) -> Iterator[psycopg.Connection]:
    """A connection in the gateway's role."""
    with connect(url, "remit_gateway") as connection:
        yield connection


@pytest.fixture
def grant_id(url: str, request: pytest.FixtureRequest) -> str:
    """The id of a new grant."""
    trial = Trial(url)
    made = trial.write(grant(request.node.name.replace("_", "-")[:40]))
    trial.close()
    return made.id


def trip(gateway: psycopg.Connection, grant_id: str, at: datetime = NOON, **more: Any) -> dict[str, Any]:
    """Trips and answers what is in effect."""
    body = {
        "id": new_id("trip", at),
        "grant_id": grant_id,
        "scope": "operation",
        "subject": "run",
        "rule": "calls",
        "measured": 11,
        "allowed": 10,
        "calls": 11,
        "tags": {},
        "cool_down_seconds": 300,
        "cool_down_max_seconds": 1000,
        **more,
    }
    row = gateway.execute("SELECT trip_breaker(%s, %s::jsonb)", (at, json.dumps(body))).fetchone()
    assert row is not None
    answer: dict[str, Any] = row[0]
    return answer


def test_of_one_scope_one_trip_is_in_effect(gateway: psycopg.Connection, grant_id: str) -> None:
    """The second gateway to trip gets the first one's trip, and people hear of it once."""
    first, second = trip(gateway, grant_id), trip(gateway, grant_id, NOON + timedelta(seconds=1))
    assert first == second


def test_each_trip_of_a_day_lasts_twice_as_long(gateway: psycopg.Connection, grant_id: str) -> None:
    """Cool-downs double up to the longest there is."""
    at, lasted = NOON, []
    for _ in range(3):
        until = datetime.fromisoformat(trip(gateway, grant_id, at)["until"])
        lasted.append(int((until - at).total_seconds()))
        at = until
    assert lasted == [300, 600, 1000]


def test_a_grant_with_a_hundred_trips_trips_whole(gateway: psycopg.Connection, grant_id: str) -> None:
    """No caller can fill the table with names: the hundred and first trip is the grant's."""
    scopes = [trip(gateway, grant_id, subject=f"run{number}")["scope"] for number in range(102)]
    assert scopes == ["operation"] * 100 + ["grant"] * 2


def test_a_gateway_cannot_trip_for_longer_than_a_day(gateway: psycopg.Connection, grant_id: str) -> None:
    """Whatever it asks for, the first trip lasts an hour at most."""
    asked = trip(gateway, grant_id, cool_down_seconds=10**9, cool_down_max_seconds=10**9)
    assert datetime.fromisoformat(asked["until"]) - NOON == timedelta(hours=1)


@pytest.mark.parametrize("wrong", [{"rule": "none"}, {"tags": "x"}, {"subject": "x" * 201}, {"measured": -1}])
def test_what_is_no_trip_is_refused(gateway: psycopg.Connection, grant_id: str, wrong: dict[str, Any]) -> None:
    """A gateway that is broken cannot write what is none."""
    with pytest.raises(psycopg.errors.CheckViolation):
        trip(gateway, grant_id, **wrong)


def test_a_gateway_cannot_end_a_trip(gateway: psycopg.Connection) -> None:
    """Ending is for people."""
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        gateway.execute("INSERT INTO trip_ends VALUES ('trip_x', now(), 'me', 'why')")


def test_one_holders_words_have_fifty_rows(url: str, gateway: psycopg.Connection, grant_id: str) -> None:
    """Of a holder who says ever new things fifty have rows of their own; all count."""
    for part in range(3):
        rows = [
            {"grant_id": grant_id, "kind": "tag_conflict", "subject": "key", "tag": "run", "value": f"{part}-{number}",
             "count": 2, "first": NOON.isoformat(), "last": NOON.isoformat()}
            for number in range(40)
        ]  # fmt: skip
        gateway.execute("SELECT note_attempts(%s::jsonb)", (json.dumps(rows),))
    with connect(url, "remit_reader") as reader:
        counted = reader.execute(
            "SELECT count(*), sum(count) FROM security_attempts WHERE grant_id = %s", (grant_id,)
        ).fetchone()
    assert counted == (51, 240)


def test_every_refusal_that_is_a_grants_own_is_counted(url: str, gateway: psycopg.Connection, grant_id: str) -> None:
    """The database takes each code that gateways count, and no word of a caller's with it."""
    at, kinds = NOON.isoformat(), {f"{REFUSED}{code.name}" for code in set(RefusalCode) - NOT_THE_GRANTS}
    plain = {"grant_id": grant_id, "subject": "", "tag": "", "value": "", "count": 3, "first": at, "last": at}
    gateway.execute("SELECT note_attempts(%s::jsonb)", (json.dumps([{**plain, "kind": kind} for kind in kinds]),))
    with connect(url, "remit_reader") as reader:
        rows = reader.execute("SELECT kind, count FROM security_attempts WHERE grant_id = %s", (grant_id,)).fetchall()
    assert dict(rows) == dict.fromkeys(kinds, 3)
    wrong = {**plain, "kind": f"{REFUSED}paced", "value": "what a caller said"}
    with pytest.raises(psycopg.errors.CheckViolation):
        gateway.execute("SELECT note_attempts(%s::jsonb)", (json.dumps([wrong]),))
