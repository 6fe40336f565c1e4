"""A database that takes its time over a hold: the call still ends before its hold does, or is not made."""

import threading
from collections.abc import Callable, Iterator
from typing import Any

import openai
import psycopg
import pytest

from tests.system.harness import System, root

REQUEST_SECONDS, HOLD_SECONDS = 3, 4
ASK: Any = {"model": "sim-dime", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 1}


@pytest.fixture(scope="module")
def tight() -> Iterator[System]:
    """A Remit whose holds last as briefly as the settings allow, over a vendor that does not answer in time."""
    gateway = {"request_seconds": REQUEST_SECONDS, "hold_seconds": HOLD_SECONDS}
    with System(gateway=gateway) as running:
        running.vendor.script(latency_ms=20_000)
        yield running


def while_holds_wait(system: System, seconds: float, call: Callable[[], Any]) -> None:
    """Makes a call while, for some seconds, the database lets nobody take a hold."""
    with psycopg.connect(system.url) as connection:
        connection.execute("LOCK TABLE remit.tree_state IN ACCESS EXCLUSIVE MODE")
        timer = threading.Timer(seconds, connection.rollback)
        timer.start()
        call()
        timer.join()


def test_a_call_ends_before_its_hold_however_long_that_took(tight: System) -> None:
    """What taking the hold lasted comes off the call's time, so the sweeper never meets a call that still runs."""
    tight.apply({"slow": root("1.00")})
    client = tight.client(tight.key("slow"))

    def call() -> None:
        with pytest.raises(openai.InternalServerError, match="the time for a request is up"):
            client.chat.completions.create(**ASK)

    while_holds_wait(tight, 1.2, call)
    ((ended_in_time, lasted),) = tight.sql(
        "SELECT ended_at < expires_at, extract(epoch FROM ended_at - taken_at)::float FROM holds"
        " WHERE entry ->> 'grant_path' = 'slow'"
    )
    assert ended_in_time and lasted > 1.1
    assert [entry["kind"] for entry in tight.entries("slow")] == ["suspense"]


def test_a_call_that_would_be_cut_off_is_not_made(tight: System) -> None:
    """Where taking the hold used up most of the call's time, it is voided, and the caller may try again for nothing."""
    tight.apply({"slower": root("1.00")})
    client = tight.client(tight.key("slower"))
    before = tight.vendor.books()

    def call() -> None:
        with pytest.raises(openai.InternalServerError) as caught:
            client.chat.completions.create(**ASK)
        assert caught.value.status_code == 503 and caught.value.code == "authority_unreachable"

    while_holds_wait(tight, 2.2, call)
    after = tight.vendor.books()
    assert (after.requests, after.inflight) == (before.requests, before.inflight)
    assert tight.sql("SELECT state FROM holds WHERE entry ->> 'grant_path' = 'slower'") == [("voided",)]
    assert tight.spent("slower") == 0
