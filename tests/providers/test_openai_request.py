"""Reading chat completion requests."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from remit.kernel.decisions import RefusalCode
from remit.pricing.input_bound import InputShape
from remit.providers.openai import ChatRequest, Problem, parse_chat_request
from remit.providers.openai_request import MAX_BODY_BYTES
from tests.providers.bodies import request


def _parsed(body: bytes) -> ChatRequest:
    found = parse_chat_request(body)
    assert isinstance(found, ChatRequest), found
    return found


def _problem(body: bytes, **options: Any) -> Problem:
    found = parse_chat_request(body, **options)
    assert isinstance(found, Problem), found
    return found


def test_the_fields_that_decide_are_read() -> None:
    """Model, bound, choices, stream options, tier, tags and tools come out as typed values."""
    found = _parsed(
        request(
            stream=True,
            stream_options={"include_usage": True},
            n=3,
            max_completion_tokens=500,
            max_tokens=400,
            service_tier="flex",
            metadata={"team": "search"},
            user="u1",
            store=True,
            tools=[{"type": "function", "function": {"name": "look_up", "parameters": {}}}],
        )
    )
    assert (found.model, found.stream, found.include_usage, found.choices) == ("gpt-4o", True, True, 3)
    assert (found.output_tokens_max, found.service_tier, found.user, found.store) == (400, "flex", "u1", True)
    assert (found.metadata, found.tool_names) == ({"team": "search"}, ("look_up",))


def test_null_is_absent() -> None:
    """Fields some libraries always send as null mean nothing, guarded ones included."""
    names = ("n", "max_tokens", "stream", "stream_options", "service_tier", "metadata", "user", "tools", "audio")
    fields = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hello"}], **dict.fromkeys(names)}
    found = _parsed(json.dumps({**fields, "prediction": None, "web_search_options": None}).encode())
    assert (found.choices, found.output_tokens_max, found.stream, found.metadata) == (1, None, False, {})


@pytest.mark.parametrize(
    ("messages", "shape"),
    [
        ([{"role": "user", "content": "hello"}], InputShape(text_bytes=9, messages=1)),
        ([{"role": "user", "content": "h\u00e9\U0001f600"}], InputShape(text_bytes=11, messages=1)),
        (
            [{"role": "system", "content": "a"}, {"role": "user", "name": "bo", "content": "b"}],
            InputShape(text_bytes=14, messages=2),
        ),
        (
            [{"role": "user", "content": [{"type": "text", "text": "abc"}, {"type": "text", "text": "d"}]}],
            InputShape(text_bytes=8, messages=1, parts=2),
        ),
        (
            [
                {
                    "role": "assistant",
                    "content": None,
                    "refusal": None,
                    "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
                }
            ],
            InputShape(text_bytes=9 + sum(map(len, ("id", "c1", "type", "function", "function", "name", "f", "arguments", "{}"))), messages=1, tool_calls=1),
        ),
        (
            [
                {
                    "role": "user",
                    "content": [
                        {"type": "image_url", "image_url": {"url": "https://x/y.png", "detail": detail}}
                        for detail in ("low", "high", "auto", "original")
                    ],
                }
            ],
            InputShape(text_bytes=4, messages=1, parts=4, images_low=1, images_high=2, images_original=1),
        ),
    ],
    ids=["text", "unicode", "names", "parts", "tool call", "images"],
)  # fmt: skip
def test_the_size_of_the_input(messages: list[dict[str, Any]], shape: InputShape) -> None:
    """Every text the vendor renders counts its UTF-8 bytes; images count apart, by detail."""
    found = _parsed(request(messages=messages))
    assert found.shape == shape
    assert sum(len(text.encode()) for text in found.texts) == shape.text_bytes


@settings(max_examples=150, deadline=None)
@given(contents=st.lists(st.text(max_size=40), min_size=1, max_size=4), escape=st.booleans())
def test_the_size_does_not_depend_on_escapes(contents: list[str], escape: bool) -> None:
    """The same text counts the same, whether its characters are escaped in the JSON or not."""
    messages = [{"role": "user", "content": content} for content in contents]
    body = json.dumps({"model": "m", "messages": messages}, ensure_ascii=escape).encode()
    assert _parsed(body).shape.text_bytes == sum(4 + len(content.encode()) for content in contents)


def test_tools_and_schemas_count_with_their_references_written_out() -> None:
    """A `$ref` used twice counts twice, because nobody says that the vendor does not inline it."""
    plain = {"type": "object", "properties": {"a": {"type": "string", "description": "x" * 500}}}
    shared = {
        "$defs": {"A": plain},
        "type": "object",
        "properties": {"p": {"$ref": "#/$defs/A"}, "q": {"$ref": "#/$defs/A"}},
    }
    tool = {"type": "function", "function": {"name": "f", "parameters": shared}}
    schema = {"type": "json_schema", "json_schema": {"name": "s", "schema": plain}}
    shape = _parsed(request(tools=[tool], response_format=schema)).shape
    assert (shape.tools, shape.schemas) == (1, 1)
    assert 500 < shape.schema_bytes < 700
    assert shape.tools_bytes > 3 * 500


MALFORMED: list[tuple[bytes, str]] = [
    (b"", "not JSON"),
    (b"[]", "not a JSON object"),
    (b"{", "not JSON"),
    (b"\xff{}", "not UTF-8"),
    ("{}".encode("utf-16"), "not UTF-8"),
    (b"\xef\xbb\xbf{}", "not JSON"),
    (b'{"model":"a","model":"b","messages":[{"role":"user","content":"x"}]}', "states a key twice"),
    (b'{"model":"a","messages":[{"role":"user","content":"x","content":"y"}]}', "states a key twice"),
    (b'{"model":"a","messages":[{"role":"user","content":"x"}],"temperature":NaN}', "not JSON"),
    (b'{"model":"a","messages":[{"role":"user","content":"x"}],"temperature":-Infinity}', "not JSON"),
    (b'{"model":"a","messages":[{"role":"user","content":"x"}],"temperature":1e999}', "not finite"),
    (b'{"model":"a","messages":[{"role":"user","content":"x"}],"seed":' + b"9" * 5000 + b"}", "too long"),
    (b'{"model":"a","messages":[{"role":"user","content":"\\ud800"}]}', "not JSON"),
    (b'{"a":' * 70 + b"1" + b"}" * 70, "nests deeper"),
    (b"[" * 100_000, "nests deeper"),
    (request(model=None), "`model` is missing"),
    (request(model=""), "`model` is missing"),
    (request(model=7), "`model`"),
    (request(messages=[]), "`messages`"),
    (request(messages="hello"), "`messages`"),
    (request(messages=["hello"]), "message 0 is not an object"),
    (request(messages=[{"content": "x"}]), "message 0 has no `role`"),
    (request(messages=[{"role": "user", "content": 7}]), "message 0"),
    (request(messages=[{"role": "user", "content": [{"type": "text"}]}]), "has no text"),
    (request(messages=[{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]), "no `url`"),
    (request(n=0), "`n` is not an integer from 1 to 128"),
    (request(n=1.0), "`n`"),
    (request(n=True), "`n`"),
    (request(n=129), "`n`"),
    (request(max_tokens=0), "`max_tokens`"),
    (request(max_tokens=-5), "`max_tokens`"),
    (request(max_completion_tokens="100"), "`max_completion_tokens`"),
    (request(stream="yes"), "`stream` is neither true nor false"),
    (request(stream_options={"include_usage": True}), "`stream_options` needs `stream`"),
    (request(metadata={"team": 1}), "`metadata` is not an object of texts"),
    (request(metadata={str(number): "x" for number in range(17)}), "at most 16 pairs"),
    (request(tools={}), "`tools` is not a list of objects"),
    (request(tools=[{"type": "function"}]), "has no name"),
    (b" " * (MAX_BODY_BYTES + 1), "larger than"),
]


@pytest.mark.parametrize(("body", "detail"), MALFORMED, ids=[detail for _, detail in MALFORMED])
def test_what_cannot_be_read_one_way_is_malformed(body: bytes, detail: str) -> None:
    """Bad JSON, two readings of one body, and wrong types are refused with what is wrong."""
    problem = _problem(body)
    assert problem.code is RefusalCode.malformed_request
    assert detail in problem.detail


UNBOUNDED: list[tuple[bytes, str]] = [
    (request(background=True), "`background`"),
    (request(web_search_options={}), "web search"),
    (request(prediction={"type": "content", "content": "x"}), "predicted output"),
    (request(audio={"voice": "alloy", "format": "wav"}), "audio output"),
    (request(moderation={"model": "x"}), "moderation"),
    (request(modalities=["text", "audio"]), "`modalities`"),
    (request(best_of=5), "`best_of`"),
    (request(tools=[{"type": "web_search"}]), "runs at the vendor"),
    (request(tools=[{"type": "mcp", "server_url": "https://x"}]), "runs at the vendor"),
    (request(prompt_cache_options={"ttl": "12h"}), "no known price"),
    (request(stream=True, stream_options={"continuous": 1}), "`stream_options`: `continuous`"),
    (request(messages=[{"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}]), "`input_audio`"),
    (request(messages=[{"role": "user", "content": [{"type": "file", "file": {"file_id": "f"}}]}]), "`file`"),
    (request(messages=[{"role": "user", "content": [{"type": "hologram"}]}]), "`hologram`"),
    (request(messages=[{"role": "user", "content": [{"text": "x"}]}]), "`?`"),
    (request(messages=[{"role": "user", "content": [{"type": "text", "text": "x", "cache": 1}]}]), "`cache`"),
    (request(messages=[{"role": "assistant", "audio": {"id": "a"}}]), "`audio`"),
    (
        request(
            messages=[{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "u", "detail": "8k"}}]}]
        ),
        "this image",
    ),
    (
        request(
            messages=[
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": "x", "prompt_cache_breakpoint": {"mode": "explicit", "ttl": "12h"}}
                    ],
                }
            ]
        ),
        "no known price",
    ),
]


@pytest.mark.parametrize(("body", "detail"), UNBOUNDED, ids=[detail for _, detail in UNBOUNDED])
def test_what_could_bill_without_a_bound_is_refused(body: bytes, detail: str) -> None:
    """Unknown fields, other modalities and hosted tools are refused rather than passed through."""
    problem = _problem(body)
    assert problem.code is RefusalCode.shape_exceeded
    assert detail in problem.detail


def test_an_operator_can_vouch_for_a_field() -> None:
    """A field of a compatible server is accepted where the deployment names it, and its texts count as input."""
    documents = request(documents=[{"text": "x" * 1000}])
    found = parse_chat_request(documents, extra_fields=frozenset({"documents"}))
    assert isinstance(found, ChatRequest)
    assert found.shape.text_bytes == 9 + 1000 + len("text")
    body = request(top_k=5)
    assert _problem(body).code is RefusalCode.shape_exceeded
    assert isinstance(parse_chat_request(body, extra_fields=frozenset({"top_k"})), ChatRequest)


def test_recursive_and_nested_references_stay_cheap() -> None:
    """Schemas whose references would expand for ever or to petabytes get a size at once."""
    recursive = {"$defs": {"N": {"properties": {"next": {"$ref": "#/$defs/N"}}}}, "$ref": "#/$defs/N"}
    bomb: dict[str, Any] = {"$defs": {"D0": {"type": "string"}}, "$ref": "#/$defs/D60"}
    for level in range(1, 61):
        below = {"$ref": f"#/$defs/D{level - 1}"}
        bomb["$defs"][f"D{level}"] = {"anyOf": [below, below, below, below]}
    wrapped = [{"type": "json_schema", "json_schema": {"name": "s", "schema": schema}} for schema in (recursive, bomb)]
    assert 100 <= _parsed(request(response_format=wrapped[0])).shape.schema_bytes <= 1000
    problem = _problem(request(response_format=wrapped[1]))
    assert (problem.code, "too large" in problem.detail) == (RefusalCode.shape_exceeded, True)


@settings(max_examples=200, deadline=None)
@given(body=st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_no_bytes_raise(body: bytes) -> None:
    """Whatever arrives, the answer is a value."""
    assert isinstance(parse_chat_request(body), Problem)


def test_a_request_does_not_print_its_texts() -> None:
    """A request in a log line or a traceback shows its size, never what the caller wrote."""
    assert "secret" not in repr(_parsed(request(messages=[{"role": "user", "content": "secret"}])))
