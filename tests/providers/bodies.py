"""Requests and streams the provider tests share."""

import itertools
import json
from collections.abc import Iterable
from typing import Any


def request(**changes: Any) -> bytes:
    """A small chat completion request; a change to None removes the field."""
    fields = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hello"}], **changes}
    return json.dumps({name: value for name, value in fields.items() if value is not None}).encode()


def chunk(**changes: Any) -> dict[str, Any]:
    """One chunk of a stream."""
    base: dict[str, Any] = {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "model": "gpt-4o-2024-08-06",
        "service_tier": "default",
        "choices": [{"index": 0, "delta": {"content": "hi"}, "finish_reason": None}],
        "usage": None,
    }
    return {**base, **changes}


USAGE = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}


def usage_chunk(**usage: Any) -> dict[str, Any]:
    """The extra chunk that only states usage."""
    return chunk(choices=[], usage={**USAGE, **usage})


def events(*payloads: dict[str, Any] | str, end: str = "\n\n") -> bytes:
    """Payloads as server-sent events."""
    return b"".join(event(payload, end=end) for payload in payloads)


def event(payload: dict[str, Any] | str, *, end: str = "\n\n") -> bytes:
    text = payload if isinstance(payload, str) else json.dumps(payload, ensure_ascii=False)
    return f"data: {text}{end}".encode()


def pieces(stream: bytes, cuts: Iterable[int]) -> list[bytes]:
    """The stream cut at these offsets."""
    edges = [0, *sorted(cuts), len(stream)]
    return [stream[low:high] for low, high in itertools.pairwise(edges)]
