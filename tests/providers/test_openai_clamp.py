"""The request as it is sent."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from remit.providers.openai import ChatRequest, ClampOptions, clamp, parse_chat_request, sent_service_tier
from tests.providers.bodies import request


def _clamped(body: bytes, bound: int = 100, **options: Any) -> bytes:
    found = parse_chat_request(body)
    assert isinstance(found, ChatRequest), found
    return clamp(body, found, output_tokens_max=bound, options=ClampOptions(**options))


@pytest.mark.parametrize(
    ("changes", "options", "expected"),
    [
        ({}, {}, {"max_completion_tokens": 100}),
        ({}, {"output_field": "max_tokens"}, {"max_tokens": 100}),
        ({"max_tokens": 500}, {}, {"max_tokens": None, "max_completion_tokens": 100}),
        (
            {"max_completion_tokens": 500},
            {"output_field": "max_tokens"},
            {"max_completion_tokens": None, "max_tokens": 100},
        ),
        ({"max_tokens": 500, "max_completion_tokens": 7}, {}, {"max_tokens": None, "max_completion_tokens": 100}),
        ({"metadata": {"team": "a"}}, {}, {"max_completion_tokens": 100, "metadata": None}),
        ({"metadata": {"team": "a"}}, {"keep_metadata": True}, {"max_completion_tokens": 100}),
        ({"metadata": {"team": "a"}, "store": True}, {}, {"max_completion_tokens": 100}),
        ({"stream": True}, {}, {"max_completion_tokens": 100, "stream_options": {"include_usage": True}}),
        (
            {"stream": True, "stream_options": {"include_usage": False, "include_obfuscation": False}},
            {},
            {
                "max_completion_tokens": 100,
                "stream_options": {"include_usage": True, "include_obfuscation": False},
            },
        ),
        ({}, {"service_tier_when_absent": "default"}, {"max_completion_tokens": 100, "service_tier": "default"}),
        (
            {"service_tier": "auto"},
            {"service_tier_when_absent": "default"},
            {"max_completion_tokens": 100, "service_tier": "default"},
        ),
        ({"service_tier": "flex"}, {"service_tier_when_absent": "default"}, {"max_completion_tokens": 100}),
        ({}, {"model": "vendor/gpt"}, {"max_completion_tokens": 100, "model": "vendor/gpt"}),
    ],
)
def test_what_changes(changes: dict[str, Any], options: dict[str, Any], expected: dict[str, Any]) -> None:
    """The bound goes in under the one name this vendor reads; the rest changes only where an option says so."""
    body = request(**changes)
    wanted = {**json.loads(body), **expected}
    assert json.loads(_clamped(body, **options)) == {name: value for name, value in wanted.items() if value is not None}


def test_a_null_bound_is_replaced() -> None:
    """A bound stated as null is no bound, and does not stay beside the one that is sent."""
    body = b'{"model":"m","max_tokens":null,"messages":[{"role":"user","content":"x"}],"stream":true,"stream_options":null}'
    sent = json.loads(_clamped(body))
    assert "max_tokens" not in sent
    assert (sent["max_completion_tokens"], sent["stream_options"]) == (100, {"include_usage": True})


def test_the_tier_for_the_ceiling_is_the_one_sent() -> None:
    """What the ceiling assumes about the tier is what the vendor gets to see."""
    found = parse_chat_request(request())
    assert isinstance(found, ChatRequest)
    assert sent_service_tier(found, ClampOptions()) is None
    assert sent_service_tier(found, ClampOptions(service_tier_when_absent="default")) == "default"


NUMBERS = st.none() | st.integers(-(10**30), 10**30) | st.floats(allow_nan=False, allow_infinity=False)


@settings(max_examples=150, deadline=None)
@given(
    others=st.fixed_dictionaries(
        {},
        optional={
            "temperature": NUMBERS,
            "seed": NUMBERS,
            "stop": st.text(max_size=20) | st.lists(st.text(max_size=20), max_size=3),
            "logit_bias": st.dictionaries(st.text(max_size=5), NUMBERS.filter(lambda number: number is not None)),
            "tool_choice": st.sampled_from(["auto", {"type": "function", "function": {"name": "f"}}]),
            "verbosity": st.none() | st.text(max_size=5).filter(lambda text: "\0" not in text),
        },
    ),
    content=st.text(),
    escape=st.booleans(),
    indent=st.sampled_from([None, 1]),
)
def test_everything_else_keeps_its_bytes(
    others: dict[str, Any], content: str, escape: bool, indent: int | None
) -> None:
    """Fields that are not ours go to the vendor with the very bytes they came with, and in their order."""
    fields = {"model": "m", **others, "messages": [{"role": "user", "content": content}]}
    body = json.dumps(fields, ensure_ascii=escape, indent=indent).encode()
    sent = _clamped(body)
    assert json.loads(sent) == {**fields, "max_completion_tokens": 100}
    assert list(json.loads(sent)) == [*fields, "max_completion_tokens"]
    for value in fields.values():
        assert json.dumps(value, ensure_ascii=escape, indent=None).encode() in sent or indent is not None


def test_numbers_are_not_reformatted() -> None:
    """Large integers and long decimals arrive at the vendor digit by digit."""
    body = b'{"model":"m","seed":123456789012345678901234567890,"temperature":0.10000000000000000001,"top_p":1E0,"messages":[{"role":"user","content":"\\u00e9\\/"}]}'
    sent = _clamped(body)
    for text in (b"123456789012345678901234567890", b"0.10000000000000000001", b"1E0", b'"\\u00e9\\/"'):
        assert text in sent


def test_a_clamped_body_reads_the_same() -> None:
    """Clamping twice changes nothing more, and the bound that is read back is the one that was set."""
    once = _clamped(request(stream=True, n=2), 64)
    again = parse_chat_request(once)
    assert isinstance(again, ChatRequest)
    assert (again.output_tokens_max, again.include_usage, again.choices) == (64, True, 2)
    assert _clamped(once, 64) == once
