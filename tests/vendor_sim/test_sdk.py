"""The official OpenAI SDK against the vendor, unmodified but for its base URL."""

import asyncio
from collections.abc import Iterator

import openai
import pytest
from openai.types.chat import ChatCompletionChunk, ChatCompletionMessageParam, ChatCompletionToolParam

from remit.testing.vendor_sim import VendorProcess, script_text

TOOLS: list[ChatCompletionToolParam] = [{"type": "function", "function": {"name": "look_up"}}]


def says(text: str) -> list[ChatCompletionMessageParam]:
    return [{"role": "user", "content": text}]


@pytest.fixture
def sdk(vendor: VendorProcess) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=vendor.base_url, api_key="sk-sim", max_retries=0) as client:
        yield client


def test_a_completion_and_its_row(vendor: VendorProcess, sdk: openai.OpenAI) -> None:
    """The answer, its usage and the row in the books say the same, and the amount is the list price."""
    before = sdk.chat.completions.create(
        model="gpt-4o-mini",
        messages=says(script_text(prompt_tokens=374, cached_tokens=100, completion_tokens=44, reasoning_tokens=4)),
        extra_headers={"x-client-request-id": "ours-1", "idempotency-key": "once-1"},
    )
    assert before.choices[0].finish_reason == "stop"
    assert before.choices[0].message.content == (" the and for was one two six ten" * 5)
    assert before.service_tier == "default"
    assert before.usage is not None
    assert before.usage.prompt_tokens_details is not None
    assert before.usage.completion_tokens_details is not None
    stated = (before.usage.prompt_tokens, before.usage.completion_tokens, before.usage.total_tokens)
    assert stated == (374, 44, 418)
    assert before.usage.prompt_tokens_details.cached_tokens == 100
    assert before.usage.completion_tokens_details.reasoning_tokens == 4
    (row,) = vendor.rows()
    assert row.vendor_request_id == before.id
    assert (row.client_request_id, row.idempotency_key) == ("ours-1", "once-1")
    assert (row.prompt_tokens, row.cached_tokens, row.completion_tokens) == (374, 100, 44)
    assert row.amount_nanousd == 274 * 150 + 100 * 75 + 44 * 600
    assert (row.outcome, row.status, row.sequence) == ("completed", 200, 1)
    assert row.received_at <= row.finished_at
    books = vendor.books()
    assert (books.rows, books.requests, books.inflight, books.total_nanousd) == (1, 1, 0, row.amount_nanousd)
    assert books.by_model["gpt-4o-mini"].amount_nanousd == row.amount_nanousd


def test_the_output_bound_is_kept_for_every_choice(vendor: VendorProcess, sdk: openai.OpenAI) -> None:
    """Each of n choices generates up to the bound, under either of its names, and is billed."""
    for name in ("max_tokens", "max_completion_tokens"):
        answer = sdk.chat.completions.create(model="gpt-4o", messages=says("hi"), n=3, extra_body={name: 7})
        assert [choice.index for choice in answer.choices] == [0, 1, 2]
        assert {choice.finish_reason for choice in answer.choices} == {"length"}
        assert {len(choice.message.content or "") for choice in answer.choices} == {28}
        assert answer.usage is not None
        assert answer.usage.completion_tokens == 21
    assert [row.completion_tokens for row in vendor.rows()] == [21, 21]


def test_without_a_bound_the_model_talks_to_its_own_end(vendor: VendorProcess, sdk: openai.OpenAI) -> None:
    """No bound and no script: the model's maximum, 16384 tokens, is generated and billed."""
    answer = sdk.chat.completions.create(model="gpt-4o", messages=says("hi"))
    assert answer.choices[0].finish_reason == "length"
    assert vendor.rows()[0].completion_tokens == 16_384


def shape(chunks: list[ChatCompletionChunk]) -> list[str]:
    """What each chunk is, in a word."""
    shapes = []
    for chunk in chunks:
        if not chunk.choices:
            shapes.append("usage" if chunk.usage else "usage-null")
        else:
            (choice,) = chunk.choices
            assert chunk.usage is None
            kind = choice.finish_reason or choice.delta.role or choice.delta.content or ""
            shapes.append(f"{choice.index}:{kind.strip()}")
    return shapes


def test_a_stream_has_the_shapes_of_the_real_one(vendor: VendorProcess, sdk: openai.OpenAI) -> None:
    """Role, content, finish reason for each choice, then the usage chunk only because it was asked for."""
    messages = says("sim: completion_tokens=2 prompt_tokens=9")
    with sdk.chat.completions.create(
        model="gpt-4o", messages=messages, n=2, stream=True, stream_options={"include_usage": True}
    ) as stream:
        chunks = list(stream)
    expected = ["0:assistant", "1:assistant", "0:the", "1:the", "0:and", "1:and", "0:stop", "1:stop", "usage"]
    assert shape(chunks) == expected
    assert len({chunk.id for chunk in chunks}) == 1
    assert chunks[-1].usage is not None
    assert (chunks[-1].usage.prompt_tokens, chunks[-1].usage.completion_tokens) == (9, 4)
    with sdk.chat.completions.create(model="gpt-4o", messages=messages, n=2, stream=True) as stream:
        assert shape(list(stream)) == expected[:-1]
    assert [row.amount_nanousd for row in vendor.rows()] == [9 * 2500 + 4 * 10_000] * 2


def test_a_stream_is_the_same_however_it_is_sent(vendor: VendorProcess, sdk: openai.OpenAI) -> None:
    """At once, kept from an earlier call, step by step and in large pieces: the same text and the same bill."""
    texts = []
    for line in ("completion_tokens=250",) * 2 + (
        "completion_tokens=250 tokens_per_chunk=3",
        "completion_tokens=250 tokens_per_chunk=3",
        "completion_tokens=250 tokens_per_chunk=60 chunk_ms=1",
    ):
        with sdk.chat.completions.create(model="gpt-4o", messages=says(f"sim: {line}"), stream=True) as stream:
            texts.append("".join(chunk.choices[0].delta.content or "" for chunk in stream))
    assert len(texts[0]) == 1000
    assert len(set(texts)) == 1
    assert {row.completion_tokens for row in vendor.rows()} == {250}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("chunk_ms", [0, 1])
def test_refusals_and_tool_calls(vendor: VendorProcess, sdk: openai.OpenAI, *, stream: bool, chunk_ms: int) -> None:
    """A model that refuses and one that calls a tool look as the SDK expects, streamed or not."""
    for content in ("refusal", "tool_call", "tool_call"):
        messages = says(f"sim: completion_tokens=3 content={content} chunk_ms={chunk_ms}")
        if stream:
            with sdk.chat.completions.stream(model="gpt-4o", messages=messages, tools=TOOLS) as events:
                answer = events.get_final_completion()
            message = answer.choices[0].message
        else:
            message = sdk.chat.completions.create(model="gpt-4o", messages=messages, tools=TOOLS).choices[0].message  # type: ignore[assignment]
        if content == "refusal":
            assert message.refusal == " the and for"
        else:
            assert message.tool_calls
            call = message.tool_calls[0]
            assert call.type == "function"
            assert (call.function.name, call.function.arguments) == ("look_up", '{"text":" the and for"}')
    assert len(vendor.rows()) == 3


def test_models_are_listed(sdk: openai.OpenAI) -> None:
    """`GET /v1/models` lists the price list, aliases included, and each can be retrieved."""
    names = {model.id for model in sdk.models.list()}
    assert {"gpt-4o-mini", "gpt-4o-mini-2024-07-18", "sim-dime"} <= names
    assert sdk.models.retrieve("sim-dime").id == "sim-dime"
    with pytest.raises(openai.NotFoundError):
        sdk.models.retrieve("nobody")


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, openai.BadRequestError),
        (401, openai.AuthenticationError),
        (404, openai.NotFoundError),
        (429, openai.RateLimitError),
        (500, openai.InternalServerError),
        (503, openai.InternalServerError),
    ],
)
def test_errors_are_typed_and_billed_only_if_said(
    vendor: VendorProcess, sdk: openai.OpenAI, status: int, error: type[openai.APIStatusError]
) -> None:
    """A scripted error is the SDK's own exception; it is billed in full with `billed=true` and else not at all."""
    for billed in ("false", "true"):
        with pytest.raises(error) as raised:
            sdk.chat.completions.create(
                model="gpt-4o",
                messages=says(f"sim: error={status} billed={billed} completion_tokens=5 prompt_tokens=10"),
            )
        assert raised.value.status_code == status
    (row,) = vendor.rows()
    assert (row.outcome, row.status, row.amount_nanousd) == ("error_billed", status, 10 * 2500 + 5 * 10_000)
    assert vendor.books().requests == 2


def test_a_retry_after_a_billed_error_is_a_second_row(vendor: VendorProcess) -> None:
    """`first=2` fails two attempts of the SDK's own retries and serves the third; all three are billed."""
    with openai.OpenAI(base_url=vendor.base_url, api_key="sk-sim", max_retries=2) as sdk:
        sdk.chat.completions.create(
            model="gpt-4o", messages=says("sim: error=500 billed=true first=2 retry_after_ms=1 completion_tokens=5")
        )
    assert [row.outcome for row in vendor.rows()] == ["error_billed", "error_billed", "completed"]


@pytest.mark.parametrize(
    "arguments",
    [
        {"model": "nobody"},
        {"messages": []},
        {"n": 0},
        {"n": 129},
        {"max_tokens": 0},
        {"max_completion_tokens": -1},
        {"max_tokens": 5, "max_completion_tokens": 5},
        {"service_tier": "gold"},
        {"messages": [{"role": "user", "content": "sim: no_such_key=1"}]},
        {"messages": [{"role": "user", "content": "sim: mode=dance"}]},
        {"messages": [{"role": "user", "content": "sim: served_model=nobody"}]},
        {"messages": [{"role": "user", "content": "sim: served_tier=flex"}]},
        {"messages": [{"role": "user", "content": "sim: completion_tokens=-1"}]},
        {"messages": [{"role": "user", "content": 5}]},
    ],
)
def test_what_the_vendor_does_not_take(vendor: VendorProcess, sdk: openai.OpenAI, arguments: dict[str, object]) -> None:
    """A request with an impossible value gets a 400 or 404 in OpenAI's shape and no row."""
    body = {"model": "gpt-4o", "messages": says("hi"), **arguments}
    with pytest.raises((openai.BadRequestError, openai.NotFoundError)) as raised:
        sdk.post("/chat/completions", body=body, cast_to=object)
    assert raised.value.type == "invalid_request_error"
    assert vendor.rows() == []


def test_two_hundred_calls_at_once(vendor: VendorProcess) -> None:
    """200 concurrent calls, half of them streams, each have one row with its own id."""

    async def everything() -> None:
        limits = openai.DefaultAsyncHttpxClient(limits=openai.DEFAULT_CONNECTION_LIMITS)
        async with openai.AsyncOpenAI(
            base_url=vendor.base_url, api_key="sk-sim", max_retries=0, http_client=limits
        ) as sdk:

            async def call(number: int) -> None:
                messages = says("sim: completion_tokens=1 latency_ms=5 latency_max_ms=50")
                headers = {"x-client-request-id": f"call-{number}"}
                if number % 2:
                    await sdk.chat.completions.create(model="sim-dime", messages=messages, extra_headers=headers)
                    return
                stream = await sdk.chat.completions.create(
                    model="sim-dime", messages=messages, extra_headers=headers, stream=True
                )
                async with stream:
                    assert [chunk async for chunk in stream][-1].choices[0].finish_reason == "stop"

            await asyncio.gather(*(call(number) for number in range(200)))

    asyncio.run(everything())
    rows = vendor.rows()
    assert {row.client_request_id for row in rows} == {f"call-{number}" for number in range(200)}
    assert len({row.vendor_request_id for row in rows}) == 200
    assert [row.sequence for row in rows] == list(range(1, 201))
    assert vendor.books().total_nanousd == 200 * 100_000_000
