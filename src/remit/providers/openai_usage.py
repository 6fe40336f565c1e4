"""OpenAI's usage numbers, read once into disjoint kinds.

OpenAI's convention is inclusive: `prompt_tokens` holds cached, cache-written and audio tokens, `completion_tokens`
holds reasoning and audio (API reference, `CompletionUsage`). Numbers that contradict each other are unknown usage,
never a guess.
"""

from collections.abc import Callable
from typing import Any

import msgspec

from remit.kernel.usage import Usage

MAX_TOKENS = 1 << 40
"""More than the largest request can ask for: 128 choices of 2^31 tokens."""
MAX_CHOICES_SEEN = 128
NULL = b"null"
# `Raw | None` would refuse everything but null, so absent is null as text.
ABSENT = msgspec.Raw(NULL)
# Bytes that are not UTF-8 raise an error that is no msgspec error.
UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_LONGEST_TEXT = 256


class ResponseFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What a vendor's answer states. `usage` None is unknown; `served_tier` None is not stated.

    `usage` is the final one or None, never a running total. It does not say that the call succeeded: what an answer
    with an error status costs is for settlement to decide.
    """

    usage: Usage | None
    served_model: str | None = None
    served_tier: str | None = None
    vendor_request_id: str | None = None


class _Answer(msgspec.Struct, gc=False):
    """What is read of an answer. Everything else, which can be megabytes, is passed over without being built."""

    id: msgspec.Raw = ABSENT
    model: msgspec.Raw = ABSENT
    service_tier: msgspec.Raw = ABSENT
    usage: msgspec.Raw = ABSENT
    error: msgspec.Raw = ABSENT


_decode_answer: Callable[[bytes], _Answer] = msgspec.json.Decoder(_Answer).decode


def usage_from_response(body: bytes) -> ResponseFacts:
    """Facts of a whole (not streamed) response; a body that cannot be read has none, and an error no usage."""
    try:
        answer = _decode_answer(body)
    except UNREADABLE:
        return ResponseFacts(usage=None)
    failed = loose(answer.error) is not None
    return ResponseFacts(
        usage=None if failed else read_usage(loose(answer.usage)),
        served_model=text_or_none(loose(answer.model)),
        served_tier=read_tier(loose(answer.service_tier)),
        vendor_request_id=text_or_none(loose(answer.id)),
    )


def loose(text: bytes | msgspec.Raw) -> Any:
    """The value of a JSON text; None where it is null or cannot be read."""
    try:
        return msgspec.json.decode(text)
    except UNREADABLE:
        return None


def read_usage(stated: Any) -> Usage | None:
    """Disjoint kinds of a `usage` object; None where it is absent, incomplete, impossible or contradicts itself.

    Zero output stays zero. Zero input is no count: numbers that are all zero are placeholders, of errors mostly.
    """
    if not isinstance(stated, dict):
        return None
    prompt, completion = _count(stated.get("prompt_tokens")), _count(stated.get("completion_tokens"))
    of_prompt, of_completion = stated.get("prompt_tokens_details"), stated.get("completion_tokens_details")
    cached, written = _detail(of_prompt, "cached_tokens"), _detail(of_prompt, "cache_write_tokens")
    input_audio = _detail(of_prompt, "audio_tokens")
    output_audio, reasoning = _detail(of_completion, "audio_tokens"), _detail(of_completion, "reasoning_tokens")
    if prompt is None or cached is None or written is None or input_audio is None:
        return None
    if completion is None or output_audio is None or reasoning is None:
        return None
    if prompt == 0:
        return None  # every request has a message, so a vendor that states no input has not counted
    total = stated.get("total_tokens")
    if total is not None:
        total = _count(total)
        if total == prompt + completion + reasoning:
            # xAI and Gemini's compatible interface leave reasoning out of `completion_tokens` but in the total.
            completion += reasoning
            reasoning = 0
        elif total != prompt + completion:
            return None
    if reasoning > completion:
        return None
    plain_input, plain_output = prompt - cached - written - input_audio, completion - output_audio
    if plain_input < 0 or plain_output < 0:
        return None
    return Usage(
        input_tokens=plain_input,
        cache_read_tokens=cached,
        cache_write_tokens=written,
        input_audio_tokens=input_audio,
        output_tokens=plain_output,
        output_audio_tokens=output_audio,
    )


def read_tier(stated: Any) -> str | None:
    """The served tier; `auto` is a request, not a tier, so it states nothing, and neither does an empty text."""
    return bounded_text(stated) if isinstance(stated, str) and stated not in {"", "auto"} else None


def text_or_none(value: Any) -> str | None:
    """The value where it is a text, fit to be kept."""
    return bounded_text(value) if isinstance(value, str) else None


def bounded_text(text: str) -> str:
    """A vendor's text as books can hold it: of bounded length and without NUL, which PostgreSQL cannot store."""
    return text[:_LONGEST_TEXT].replace("\0", "\ufffd")


def _count(value: Any) -> int | None:
    return value if type(value) is int and 0 <= value <= MAX_TOKENS else None


def _detail(details: Any, name: str) -> int | None:
    """0 where the vendor does not have the kind, None where what it states is no count."""
    if details is None:
        return 0
    if not isinstance(details, dict):
        return None
    value = details.get(name)
    return 0 if value is None else _count(value)
