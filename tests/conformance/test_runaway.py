"""The runaway breaker on real gateway processes: who is stopped, who goes on, how the fleet hears of it, how it ends."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest

from remit.grants.keys import NewKey
from remit.sdk import attenuate
from remit.store.connect import opener
from remit.store.postgres_tickets import PostgresTickets
from tests.conformance.support import Answer, ask, codes, dime, user
from tests.system.harness import ADMIN, SIM_PRICES, System, root

BREAKER = """
[breaker]
chain_calls_per_minute = 30
repetitions = 12
throttle_rpm = 2
cool_down_seconds = {seconds}
"""


@pytest.fixture(scope="module")
def fleet() -> Iterator[System]:
    """A Remit with two gateway processes behind one port."""
    with System(gateway={"workers": 2}, settings=SIM_PRICES + BREAKER.format(seconds=600)) as running:
        yield running


@pytest.fixture(scope="module")
def brief() -> Iterator[System]:
    """A Remit whose trips are over after three seconds."""
    with System(settings=SIM_PRICES + BREAKER.format(seconds=3)) as running:
        yield running


def token(system: System, path: str) -> str:
    """A capability that may be handed on."""
    made = system.authority.keys().create(path, "agents", ADMIN)
    assert isinstance(made, NewKey) and made.token is not None
    return made.token


def remit(system: System, *arguments: str) -> Any:
    """What one command says as JSON."""
    done = subprocess.run(
        [sys.executable, "-m", "remit", *arguments, "--json", "--config", str(system.config)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, (done.stdout, done.stderr)
    return json.loads(done.stdout)


def loop(system: System, key: str, count: int = 60, **tags: str) -> list[Answer]:
    """The same prompt over and over, until something else than the answer comes, or the count is up."""
    said = {"remit-tags": ",".join(f"{name}={value}" for name, value in tags.items())} if tags else {}
    answers = []
    for _ in range(count):
        answers.append(ask(system, key, dime(messages=user("again")), headers=said))
        if answers[-1].status != 200:
            break
    return answers


def until(condition: Any, seconds: float = 15) -> Any:
    """What a condition answers once it answers something."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found


def test_a_looping_agent_is_stopped_and_its_siblings_go_on(fleet: System, name: str) -> None:
    """The block of the agent that loops is refused by every process; its sibling and the grant are served; its owner hears."""
    fleet.apply({name: root("50.00", **{"class": "experimentation"})})
    parent = token(fleet, name)
    looping, sibling = (attenuate(parent, usd=usd).token for usd in ("20", "21"))
    refused = loop(fleet, looping, feature="eval")[-1]
    assert (refused.status, refused.code) == (403, "policy_forbidden")
    assert refused.remit["policy_ids"] == ["breaker.repetition"]
    assert "stopped by the runaway breaker" in refused.remit["detail"]
    (trip,) = until(lambda: [one for one in remit(fleet, "breaker", "list") if one["path"] == name])
    assert (trip["scope"], trip["mode"], trip["measured"], trip["allowed"]) == ("block", "stop", 12, 12)
    assert trip["tags"]["feature"] == "eval"
    # Each process has heard of it, whichever gets the connection.
    until(lambda: codes([ask(fleet, looping, dime()) for _ in range(12)]) == {"policy_forbidden": 12})
    assert codes([ask(fleet, sibling, dime()) for _ in range(8)]) == {"served": 8}
    told = fleet.sql(
        "SELECT audience, body ->> 'trip' FROM notifications WHERE kind = 'runaway' AND body ->> 'path' = %s", name
    )
    assert told == [("owner", trip["id"])]
    ticket = "SELECT kind, state FROM tickets WHERE dedupe_key = %s"
    until(lambda: fleet.sql(ticket, f"trip:{trip['id']}") == [("finding", "open")])
    assert trip["id"] not in {one["id"] for one in fleet.authority.trips.without_ticket(1000)}
    ended = remit(fleet, "breaker", "end", trip["id"], "--reason", "the loop is mended")
    assert ended["id"] == trip["id"]
    until(lambda: codes([ask(fleet, looping, dime(messages=user("well"))) for _ in range(4)]) == {"served": 4})
    fleet.reconcile_with_vendor(name)


def test_an_operation_whose_agents_multiply_is_stopped(fleet: System, name: str) -> None:
    """Agents that name one operation are stopped together, by calls per minute; another operation is served."""
    fleet.apply({name: root("50.00", **{"class": "experimentation"})})
    key = fleet.key(name)

    def agent(number: int, run: str = "run-1") -> Answer:
        headers = {"remit-operation": f"{run}/agent-{number}"}
        return ask(fleet, key, dime(messages=user(f"step {number}")), headers=headers)

    answers = [agent(number) for number in range(70)]
    assert answers[-1].code == "policy_forbidden"
    assert "operation `run-1`" in answers[-1].remit["detail"]
    assert codes(answers)["served"] <= 2 * 30
    assert agent(1000, "run-2").status == 200


def test_production_is_throttled_and_not_stopped(fleet: System, name: str) -> None:
    """A production grant that loops still has so many calls a minute served; the others are 429 and told when."""
    fleet.apply({name: root("50.00", **{"class": "production"})})
    key = fleet.key(name)
    refused = loop(fleet, key)[-1]
    assert (refused.status, refused.code) == (429, "rate_limited")
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    assert "throttled by the runaway breaker to 2 calls per minute" in refused.remit["detail"]
    ((audience,),) = until(
        lambda: fleet.sql("SELECT audience FROM notifications WHERE kind = 'runaway' AND body ->> 'path' = %s", name)
    )
    assert audience == "on_call"


def test_after_its_time_a_trip_is_over_and_the_next_one_lasts_longer(brief: System, name: str) -> None:
    """An experiment that was stopped is served again when the trip's time is up; tripping again doubles that time."""
    brief.apply({name: root("50.00", **{"class": "experimentation"})})
    key = brief.key(name)
    for _ in range(2):
        assert loop(brief, key)[-1].status == 403
        until(lambda: ask(brief, key, dime(messages=user("other"))).status == 200)
    lasted = brief.sql(
        "SELECT extract(epoch FROM until - tripped_at)::integer FROM trips AS t JOIN grants AS g ON g.id = t.grant_id"
        " WHERE g.path = %s ORDER BY t.seq", name
    )  # fmt: skip
    assert lasted == [(3,), (6,)]


def test_neither_prompt_nor_digest_leaves_the_process(brief: System, name: str) -> None:
    """What repeats is in no log line, no table and no notification, as text or as a number of its digest's size."""
    brief.apply({name: root("50.00", **{"class": "experimentation"})})
    assert loop(brief, brief.key(name))[-1].status == 403
    rows = until(lambda: brief.sql("SELECT to_jsonb(t)::text FROM trips AS t"))
    rows += brief.sql("SELECT body::text FROM notifications")
    text = brief.log.read_text() + "".join(row[0] for row in rows)
    assert "again" not in text and "digest" not in text and "prompt" not in text.replace("one prompt", "")


def test_a_malformed_operation_is_refused(brief: System, name: str) -> None:
    """A name of an operation that cannot be one is a malformed request, not a call without a name."""
    brief.apply({name: root("5.00")})
    answer = ask(brief, brief.key(name), dime(), headers={"remit-operation": "a b"})
    assert (answer.status, answer.code) == (400, "malformed_request")


def test_what_holders_try_is_counted_for_security(brief: System, name: str) -> None:
    """Each attempt of a production key with an eval's tag counts, under the key's id, whatever else the caller says."""
    brief.apply({name: root("5.00", **{"class": "production"})})
    key = brief.key(name, "eval job")
    for number in range(7):
        answer = ask(brief, key, dime(), headers={"remit-tags": f"environment=eval,run={number}"})
        assert answer.code == "class_mismatch"
    assert ask(brief, key, {}, path="/v1/embeddings").code == "surface_not_allowed"

    def mine() -> list[tuple[str, str, str, int]]:
        rows = remit(brief, "security", "feed")
        return sorted((one["kind"], one["key_name"], one["value"], one["count"]) for one in rows if one["path"] == name)

    until(lambda: mine() == [("class_mismatch", "eval job", "eval", 7), ("surface_not_allowed", "eval job", "", 1)])


def test_each_refusal_counts_in_the_evidence_of_its_grant(brief: System, name: str) -> None:
    """As often as callers were refused, by code; malformed requests and strangers are no refusals of the grant."""
    brief.apply({name: root("0.20", shape={"models": ["sim-dime"]}, required_tags=["team"])})
    key, tagged = brief.key(name), {"remit-tags": "team=a"}
    expected = {"grant_exhausted": 3, "model_not_allowed": 11, "tags_missing": 2, "class_mismatch": 4}
    answers = [ask(brief, key, dime(9), headers=tagged) for _ in range(3)]
    answers += [ask(brief, key, dime(model="sim-small"), headers=tagged) for _ in range(11)]
    answers += [ask(brief, key, dime()) for _ in range(2)]
    answers += [ask(brief, key, dime(), headers={"remit-tags": "team=a,environment=eval"}) for _ in range(4)]
    assert codes(answers) == expected
    assert ask(brief, key, {"model": 1}, headers=tagged).code == "malformed_request"
    assert ask(brief, key[:-4] + "AAAA", dime(), headers=tagged).code == "unauthenticated"
    with brief.authority.repository.read() as reads:
        grant = reads.find(name)
    assert grant is not None

    def counted() -> dict[str, int]:
        with opener(brief.authority.url, "remit_authority")() as connection:
            tickets = PostgresTickets(connection, brief.authority.clock)
            found = tickets.evidence(grant.id, brief.authority.clock.now())["refusals"]
        return {one["kind"]: one["count"] for one in found}

    until(lambda: counted() == expected)
    assert {one["kind"] for one in remit(brief, "security", "feed") if one["path"] == name} == {"class_mismatch"}
