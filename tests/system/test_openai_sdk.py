"""The official OpenAI SDK, unmodified but for base URL and key."""

import asyncio

import openai
import pytest

from tests.system.harness import System, root

HELLO = [{"role": "user", "content": "hello"}]


def test_a_sync_call_is_answered_and_booked(system: System, name: str) -> None:
    """A plain call gets its answer, and the ledger has what the vendor charged."""
    system.apply({name: root("1.00")})
    client = system.client(system.key(name))
    answer = client.chat.completions.create(model="gpt-4o-mini", messages=HELLO, max_tokens=20)
    assert answer.choices[0].message.content
    assert system.spent(name) == system.vendor.books().total_nanousd > 0
    system.assert_books_agree()


def test_a_stream_hides_the_usage_chunk_nobody_asked_for(system: System, name: str) -> None:
    """The gateway asks the vendor for usage and keeps that chunk from a caller who did not."""
    system.apply({name: root("1.00")})
    client = system.client(system.key(name))
    chunks = list(client.chat.completions.create(model="gpt-4o-mini", messages=HELLO, max_tokens=20, stream=True))
    assert all(chunk.choices and chunk.usage is None for chunk in chunks)
    assert system.spent(name) == system.vendor.books().total_nanousd > 0


def test_a_stream_shows_the_usage_chunk_that_was_asked_for(system: System, name: str) -> None:
    """A caller who asks for usage gets the vendor's last chunk."""
    system.apply({name: root("1.00")})
    client = system.client(system.key(name))
    chunks = list(
        client.chat.completions.create(
            model="gpt-4o-mini", messages=HELLO, max_tokens=20, stream=True, stream_options={"include_usage": True}
        )
    )
    assert chunks[-1].usage is not None and chunks[-1].usage.completion_tokens == 20


def test_async_calls_and_streams_work(system: System, name: str) -> None:
    """The asyncio client is served as well, many calls at once."""
    system.apply({name: root("1.00")})
    key = system.key(name)

    async def calls() -> None:
        async with system.async_client(key) as client:
            answers = await asyncio.gather(
                *(client.chat.completions.create(model="gpt-4o-mini", messages=HELLO, max_tokens=5) for _ in range(20))
            )
            assert len(answers) == 20
            stream = await client.chat.completions.create(
                model="gpt-4o-mini", messages=HELLO, max_tokens=5, stream=True
            )
            assert [chunk async for chunk in stream]

    asyncio.run(calls())
    assert system.spent(name) == system.vendor.books().total_nanousd
    assert system.vendor.books().requests == 21


def test_a_refusal_is_a_typed_error_without_a_retry_storm(system: System, name: str) -> None:
    """A 402 reaches the caller once, with its numbers; nothing is sent and nothing is tried again."""
    system.apply({name: root("0.05")})
    client = system.client(system.key(name), max_retries=5)
    with pytest.raises(openai.APIStatusError) as caught:
        client.chat.completions.create(model="sim-dime", messages=HELLO, max_tokens=1)
    assert caught.value.status_code == 402
    assert isinstance(caught.value.body, dict)
    remit = caught.value.body["remit"]
    assert (remit["code"], remit["limit"], remit["required"]) == ("grant_exhausted", 50_000_000, 100_000_000)
    assert remit["owner"] == "ada@acme.example"
    assert system.vendor.books().requests == 0
