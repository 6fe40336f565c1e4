"""Every object of a request: what is sent is known, bounded and measured, and no value is a surprise."""

import copy
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from remit.kernel.decisions import RefusalCode
from remit.providers.openai import ChatRequest, ClampOptions, Problem, clamp, parse_chat_request

FUNCTION = {"name": "f", "description": "d", "parameters": {"$defs": {"A": {}}, "p": {"$ref": "#/$defs/A"}}, "strict": True}  # fmt: skip
FULL: dict[str, Any] = {
    "model": "gpt-4o",
    "messages": [
        {"role": "system", "name": "n", "content": [{"type": "text", "text": "x", "prompt_cache_breakpoint": {"mode": "explicit"}}]},
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "u", "detail": "low"}}]},
        {
            "role": "assistant",
            "content": [{"type": "refusal", "refusal": "no"}],
            "annotations": [{"type": "url_citation", "url_citation": {"start_index": 1, "end_index": 2, "title": "t", "url": "u"}}],
            "tool_calls": [
                {"id": "c", "type": "function", "index": 0, "function": {"name": "f", "arguments": "{}"}},
                {"id": "d", "type": "custom", "custom": {"name": "g", "input": "i"}},
            ],
            "function_call": {"name": "f", "arguments": "{}"},
        },
        {"role": "tool", "tool_call_id": "c", "content": "result"},
    ],
    "tools": [
        {"type": "function", "function": FUNCTION},
        {"type": "custom", "custom": {"name": "g", "description": "d", "format": {"type": "grammar", "grammar": {"syntax": "lark", "definition": "x"}}}},
    ],
    "functions": [{"name": "h", "parameters": {}}],
    "tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [{"type": "function", "function": {"name": "f"}}]}},
    "function_call": {"name": "h"},
    "response_format": {"type": "json_schema", "json_schema": {"name": "s", "description": "d", "schema": {"type": "object"}, "strict": True}},
    "stream": True,
    "stream_options": {"include_usage": True, "include_obfuscation": False},
    "logit_bias": {"50256": -100, "7": 0.5},
    "metadata": {"team": "a"},
    "stop": ["a", "b"],
    "prompt_cache_options": {"mode": "implicit", "ttl": "30m"},
    "modalities": ["text"],
    "temperature": 0.7,
    "top_p": 1,
    "top_logprobs": 2,
    "logprobs": True,
    "parallel_tool_calls": True,
    "frequency_penalty": 0.1,
    "presence_penalty": 0,
    "seed": 7,
    "n": 2,
    "max_tokens": 10,
    "max_completion_tokens": 9,
    "user": "u",
    "safety_identifier": "s",
    "prompt_cache_key": "k",
    "prompt_cache_retention": "24h",
    "service_tier": "flex",
    "reasoning_effort": "low",
    "verbosity": "low",
    "store": True,
}  # fmt: skip


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where values are, the whole first."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, child in inner for place in _places(child, (*path, key)))]


def _at(value: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        value = value[key]
    return value


def _with(path: tuple[Any, ...], new: Any) -> Any:
    changed = copy.deepcopy(FULL)
    if not path:
        return new
    _at(changed, path[:-1])[path[-1]] = new
    return changed


def _parse(value: Any) -> ChatRequest | Problem:
    return parse_chat_request(json.dumps(value).encode())


PLACES = _places(FULL)
# Below these a caller may write what they like: JSON schemas, which are measured whole, and their own pairs.
FREE = {"parameters", "schema", "metadata", "logit_bias"}
OBJECTS = [path for path in PLACES if isinstance(_at(FULL, path), dict) and not FREE & set(path)]
LONG = "y" * 5000


def test_the_full_body_is_accepted() -> None:
    """The body the other tests change is a good one."""
    assert isinstance(_parse(FULL), ChatRequest)


@pytest.mark.parametrize("path", OBJECTS, ids=[".".join(map(str, path)) or "request" for path in OBJECTS])
def test_no_object_takes_an_unknown_field(path: tuple[Any, ...]) -> None:
    """A key that is not known is refused wherever an object is sent: it may be a prompt, or a way to bill."""
    found = _parse(_with((*path, "x"), LONG))
    assert isinstance(found, Problem)
    assert found.code is RefusalCode.shape_exceeded


TEXTS = [path for path in PLACES if isinstance(_at(FULL, path), str)]


@pytest.mark.parametrize("path", TEXTS, ids=[".".join(map(str, path)) for path in TEXTS])
def test_a_text_is_counted_or_bounded(path: tuple[Any, ...]) -> None:
    """A long text at any place is refused, or makes the input at least as long as it is."""
    before, found = _parse(FULL), _parse(_with(path, LONG))
    assert isinstance(before, ChatRequest)
    if isinstance(found, Problem) or "image_url" in path:
        return  # an image's address is fetched, not read
    added = (found.shape.text_bytes + found.shape.tools_bytes + found.shape.schema_bytes) - (
        before.shape.text_bytes + before.shape.tools_bytes + before.shape.schema_bytes
    )
    assert added >= len(LONG) - 20


def test_the_whole_tool_is_measured() -> None:
    """The size of a tool is that of everything that is sent of it, its frame and its grammar included."""
    found = _parse(FULL)
    assert isinstance(found, ChatRequest)
    sent = [*FULL["tools"], *FULL["functions"], FULL["tool_choice"], FULL["function_call"]]
    assert found.shape.tools_bytes >= sum(len(json.dumps(one, separators=(",", ":"))) for one in sent)


def test_numbers_in_schemas_count_as_they_are_written() -> None:
    """A number that could be written shorter counts in the length it is sent in."""
    for number in (b"1" * 60, b"100000000000000000000.0", b"0.0000000000000000000001", b"1" * 30 + b".5"):
        body = b'{"model":"m","messages":[{"role":"user","content":"x"}],"tools":[{"type":"function","function":{"name":"f","parameters":{"enum":[%b]}}}]}'
        long, short = parse_chat_request(body % number), parse_chat_request(body % b"1")
        assert isinstance(long, ChatRequest) and isinstance(short, ChatRequest)
        assert long.shape.tools_bytes - short.shape.tools_bytes == len(number) - 1


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**80), 10**80) | st.floats() | st.text(max_size=8) | st.just("#/$defs/A"),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["type", "name", "$ref", "ttl", "text", "x"]), inner, max_size=3)
    ),
    max_leaves=6,
)  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(path=st.sampled_from(PLACES), new=JSON)
def test_no_value_at_any_place_raises(path: tuple[Any, ...], new: Any) -> None:
    """Whatever JSON stands where, the answer is a request that can be sent or a problem."""
    body = json.dumps(_with(path, new)).encode()
    found = parse_chat_request(body)
    assert isinstance(found, ChatRequest | Problem)
    if isinstance(found, ChatRequest):
        json.loads(clamp(body, found, output_tokens_max=5, options=ClampOptions()))


@pytest.mark.parametrize("new", [["a"], {"a": 1}, [], {}, True, 7, 1.5, None, "\ud83d\ude00", 10**100])
def test_values_of_other_types_raise_nowhere(new: Any) -> None:
    """Values that are not hashable, not texts or not numbers are refused or passed on at every place, never a fault."""
    for path in PLACES:
        assert isinstance(_parse(_with(path, new)), ChatRequest | Problem)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("user", LONG),
        ("safety_identifier", LONG),
        ("prompt_cache_key", LONG),
        ("reasoning_effort", LONG),
        ("stop", LONG),
        ("stop", ["x"] * 17),
        ("logit_bias", {LONG: 1}),
        ("logit_bias", {"1": LONG}),
        ("logit_bias", {str(number): 1 for number in range(5000)}),
        ("tool_choice", LONG),
        ("seed", LONG),
        ("temperature", [LONG]),
        ("user", "a\0b"),
        ("metadata", {"team": "\0"}),
    ],
)
def test_fields_that_are_no_prompt_are_bounded(field: str, value: Any) -> None:
    """Fields nobody counts are too short to smuggle a prompt in."""
    found = _parse({**FULL, field: value})
    assert isinstance(found, Problem)
    assert found.code is RefusalCode.malformed_request
