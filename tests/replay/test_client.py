"""The load client against a real server: open loop, streams, broken answers, bounds."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import msgspec
import pytest

from remit.testing.load import Answer, Call, LoadClient, open_loop
from remit.testing.vendor_sim import VendorProcess, script_text


@pytest.fixture(scope="module")
def vendor() -> Iterator[VendorProcess]:
    with VendorProcess(seed=1) as running:
        yield running


def chat(client: LoadClient, *, stream: bool = False, **script: Any) -> bytes:
    body = {
        "model": "gpt-4o-mini",
        "stream": stream,
        "messages": [{"role": "user", "content": script_text(**script)}],
    }
    return client.head("/chat/completions", msgspec.json.encode(body), {"authorization": "Bearer any"})


def using(
    url: str, play: Callable[[LoadClient, list[Answer]], Coroutine[Any, Any, None]], **bounds: int
) -> list[Answer]:
    """Runs a play with a client, waits for all answers and closes it; the answers in the order in which they ended."""
    answers: list[Answer] = []

    async def scene() -> None:
        client = LoadClient(url, **bounds)
        try:
            await play(client, answers)
            assert await client.wait_quiet(60)
        finally:
            await client.close()

    asyncio.run(scene())
    return answers


def test_a_stream_is_counted_to_its_end(vendor: VendorProcess) -> None:
    """Events are counted and the last one is recognised, however the bytes were cut on the way."""

    async def play(client: LoadClient, answers: list[Answer]) -> None:
        due = asyncio.get_running_loop().time()
        client.send(Call(chat(client, stream=True, completion_tokens=5, chunk_ms=2), due, answers.append))

    (answer,) = using(vendor.base_url, play)
    assert (answer.status, answer.broken, answer.ended) == (200, None, True)
    assert answer.events >= 6
    assert answer.first_byte_seconds is not None and answer.first_byte_seconds < answer.total_seconds


def test_requests_leave_at_their_instants_whatever_the_answers_do(vendor: VendorProcess) -> None:
    """Twenty calls, due within 50 ms, are all under way together before any of them is answered."""

    async def play(client: LoadClient, answers: list[Answer]) -> None:
        started = asyncio.get_running_loop().time()
        message = chat(client, completion_tokens=1, latency_ms=600_000)
        instants = ((started + number * 0.0025, message) for number in range(20))
        await open_loop(instants, lambda one, due: client.send(Call(one, due, answers.append)))
        assert client.inflight == 20 and not answers
        await asyncio.to_thread(vendor.wait_paused, 20)
        assert await asyncio.to_thread(vendor.release) == 20

    answers = using(vendor.base_url, play)
    assert [answer.status for answer in answers] == [200] * 20


def test_an_item_that_is_late_keeps_its_instant(vendor: VendorProcess) -> None:
    """What was due a second ago is sent at once, and its lag and latency say so."""

    async def play(client: LoadClient, answers: list[Answer]) -> None:
        due = asyncio.get_running_loop().time() - 1
        await open_loop(
            [(due, chat(client, completion_tokens=1))], lambda one, at: client.send(Call(one, at, answers.append))
        )

    (answer,) = using(vendor.base_url, play)
    assert answer.lag_seconds >= 1 and answer.total_seconds >= answer.lag_seconds


def test_a_call_in_the_instant_a_connection_is_taken_has_one_of_its_own(vendor: VendorProcess) -> None:
    """It does not count on the connection that the call before it was waiting for."""

    async def play(client: LoadClient, answers: list[Answer]) -> None:
        due, message = asyncio.get_running_loop().time(), chat(client, completion_tokens=1, latency_ms=600_000)
        client.send(Call(message, due, answers.append))
        while not client._open:  # noqa: ASYNC110 - the very turn of the loop in which it opens is what this is about
            await asyncio.sleep(0)
        client.send(Call(message, due, answers.append))
        await asyncio.to_thread(vendor.wait_paused, 2, 20)
        assert await asyncio.to_thread(vendor.release) == 2

    assert [answer.status for answer in using(vendor.base_url, play)] == [200, 200]


def test_waiting_for_a_connection_is_lag(vendor: VendorProcess) -> None:
    """With one connection the second call waits for the first; with no room to wait the third is broken, not lost."""

    async def play(client: LoadClient, answers: list[Answer]) -> None:
        due = asyncio.get_running_loop().time()
        await client.warm(1)
        for _ in range(3):
            client.send(Call(chat(client, completion_tokens=1, latency_ms=200), due, answers.append))

    refused, first, second = using(vendor.base_url, play, max_connections=1, max_waiting=1)
    assert refused.broken is not None and "no room" in refused.broken
    assert (first.status, second.status) == (200, 200)
    assert second.lag_seconds >= 0.2


@pytest.mark.parametrize("mode", ["reset_after_chunks:2", "close_before_head", "garbage_head"])
def test_a_broken_answer_says_so(vendor: VendorProcess, mode: str) -> None:
    """A connection lost before or within an answer, and bytes that are no HTTP, end the call as broken, once."""

    async def play(client: LoadClient, answers: list[Answer]) -> None:
        due = asyncio.get_running_loop().time()
        client.send(Call(chat(client, stream=True, completion_tokens=9, mode=mode), due, answers.append))

    (answer,) = using(vendor.base_url, play)
    assert answer.broken is not None and not answer.ended


def test_nobody_listening_is_an_answer_too(vendor: VendorProcess) -> None:
    """A call to a closed port ends as broken with the reason."""

    async def play(client: LoadClient, answers: list[Answer]) -> None:
        client.send(Call(b"", asyncio.get_running_loop().time(), answers.append))

    (answer,) = using("http://127.0.0.1:1", play)
    assert answer.status is None and answer.broken is not None and "cannot connect" in answer.broken


def test_connections_are_used_again(vendor: VendorProcess) -> None:
    """Calls one after the other share a connection; other answers than 200 keep their bodies and headers."""

    async def play(client: LoadClient, answers: list[Answer]) -> None:
        loop = asyncio.get_running_loop()
        for message in (chat(client, completion_tokens=1), chat(client, error=429), chat(client, completion_tokens=1)):
            client.send(Call(message, loop.time(), answers.append))
            assert await client.wait_quiet(60)
        assert len(client._open) == 1

    good, refused, again = using(vendor.base_url, play)
    assert (good.status, refused.status, again.status) == (200, 429, 200)
    assert b"error" in refused.body and not good.body
    assert refused.header("content-type") == "application/json"
