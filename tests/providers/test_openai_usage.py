"""Usage conventions."""

import json
from typing import Any

import pytest

from remit.kernel.usage import Usage
from remit.providers.openai import usage_from_response

INCLUSIVE = {"prompt_tokens": 100, "completion_tokens": 50, "total_tokens": 150}


def _usage(usage: Any) -> Usage | None:
    return usage_from_response(json.dumps({"id": "c", "choices": [], "usage": usage}).encode()).usage


@pytest.mark.parametrize(
    ("stated", "usage"),
    [
        (INCLUSIVE, Usage(input_tokens=100, output_tokens=50)),
        (
            {**INCLUSIVE, "prompt_tokens_details": {"cached_tokens": 80}},
            Usage(input_tokens=20, cache_read_tokens=80, output_tokens=50),
        ),
        (
            {**INCLUSIVE, "prompt_tokens_details": {"cached_tokens": 60, "cache_write_tokens": 40}},
            Usage(cache_read_tokens=60, cache_write_tokens=40, output_tokens=50),
        ),
        (
            {
                **INCLUSIVE,
                "prompt_tokens_details": {"audio_tokens": 30, "cached_tokens": 0, "text_tokens": 70},
                "completion_tokens_details": {"audio_tokens": 20, "reasoning_tokens": 10},
            },
            Usage(input_tokens=70, input_audio_tokens=30, output_tokens=30, output_audio_tokens=20),
        ),
        (
            {**INCLUSIVE, "completion_tokens_details": {"reasoning_tokens": 50, "rejected_prediction_tokens": 0}},
            Usage(input_tokens=100, output_tokens=50),
        ),
        (
            {**INCLUSIVE, "total_tokens": 180, "completion_tokens_details": {"reasoning_tokens": 30}},
            Usage(input_tokens=100, output_tokens=80),
        ),
        ({**INCLUSIVE, "prompt_tokens_details": None, "completion_tokens_details": None}, Usage(input_tokens=100, output_tokens=50)),
        ({**INCLUSIVE, "prompt_tokens_details": {"cached_tokens": None}}, Usage(input_tokens=100, output_tokens=50)),
        ({"prompt_tokens": 100, "completion_tokens": 0, "total_tokens": 100}, Usage(input_tokens=100)),
    ],
)  # fmt: skip
def test_inclusive_numbers_become_disjoint_kinds(stated: dict[str, Any], usage: Usage) -> None:
    """Each token lands in one kind; zero stays zero."""
    found = _usage(stated)
    assert found == usage


@pytest.mark.parametrize(
    "stated",
    [
        None,
        {},
        [],
        "150",
        {"prompt_tokens": 100},
        {"completion_tokens": 50},
        {**INCLUSIVE, "prompt_tokens": -1},
        {**INCLUSIVE, "prompt_tokens": 100.0},
        {**INCLUSIVE, "prompt_tokens": "100"},
        {**INCLUSIVE, "completion_tokens": True},
        {"prompt_tokens": 0, "completion_tokens": 0},
        {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0},
        {"prompt_tokens": 0, "completion_tokens": 7, "total_tokens": 7},
        {"prompt_tokens": 1, "completion_tokens": (1 << 40) + 1},
        {**INCLUSIVE, "total_tokens": 149},
        {**INCLUSIVE, "total_tokens": "150"},
        {**INCLUSIVE, "prompt_tokens_details": {"cached_tokens": 101}},
        {**INCLUSIVE, "prompt_tokens_details": {"cached_tokens": -1}},
        {**INCLUSIVE, "prompt_tokens_details": {"cached_tokens": 60, "cache_write_tokens": 41}},
        {**INCLUSIVE, "prompt_tokens_details": {"cached_tokens": 1.5}},
        {**INCLUSIVE, "prompt_tokens_details": 7},
        {**INCLUSIVE, "completion_tokens_details": {"audio_tokens": 51}},
    ],
)
def test_what_contradicts_itself_is_unknown(stated: Any) -> None:
    """Absent, incomplete, mistyped and inconsistent numbers are no usage, never a guess."""
    assert _usage(stated) is None


def test_an_error_states_no_usage() -> None:
    """What stands beside an error, zeros most of all, is not what a call cost."""
    for usage in ({"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}, INCLUSIVE):
        facts = usage_from_response(json.dumps({"error": {"code": "server_error"}, "usage": usage}).encode())
        assert facts.usage is None


def test_texts_of_a_vendor_can_be_kept() -> None:
    """Ids, models and tiers come without NUL and of bounded length: the books have to be able to store them."""
    body = {"id": "a\0b", "model": "m" * 1000, "service_tier": "\0"}
    facts = usage_from_response(json.dumps(body).encode())
    assert (facts.vendor_request_id, facts.served_tier) == ("a\ufffdb", "\ufffd")
    assert facts.served_model == "m" * 256


def test_the_other_facts() -> None:
    """Served model and tier and the vendor's id are read beside the usage."""
    body = {
        "id": "chatcmpl-9",
        "model": "gpt-4o-2024-08-06",
        "service_tier": "default",
        "choices": [{"finish_reason": "stop"}, {"finish_reason": "length"}],
        "usage": INCLUSIVE,
    }
    facts = usage_from_response(json.dumps(body).encode())
    assert (facts.served_model, facts.served_tier, facts.vendor_request_id) == (
        "gpt-4o-2024-08-06",
        "default",
        "chatcmpl-9",
    )


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b"[" * 100_000,
        b'{"error":{"message":"no","type":"server_error","code":null}}',
        b'{"error":{"message":"caf\xe9"}}',
        b'{"id":"\xff","usage":null}',
        b'{"error":"no"}',
        b'{"usage":null,"choices":null,"service_tier":"auto"}',
        b'{"usage":{"prompt_tokens":1,"completion_tokens":1,"prompt_tokens_details":"\xff"}}',
        b'{"service_tier":""}',
    ],
)
def test_what_is_no_answer_states_nothing(body: bytes) -> None:
    """Bodies that are no completion, or no UTF-8, give no usage and no tier, and never raise."""
    facts = usage_from_response(body)
    assert (facts.usage, facts.served_tier) == (None, None)


@pytest.mark.parametrize(
    ("reasoning", "total", "output"),
    [(9, None, None), (9, 11, None), (9, 20, 10), (1, None, 1), (1, 11, 1), (1, 12, 2)],
)
def test_reasoning_is_within_the_output_or_beside_it_as_the_total_says(
    reasoning: int, total: int | None, output: int | None
) -> None:
    """More reasoning than output is a contradiction, unless the total has both."""
    stated = {"prompt_tokens": 10, "completion_tokens": 1, "completion_tokens_details": {"reasoning_tokens": reasoning}}
    usage = _usage({**stated, "total_tokens": total})
    assert (None if usage is None else usage.output_tokens) == output
