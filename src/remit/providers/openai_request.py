"""OpenAI chat completions: what a request asks for and how large it is.

Field list: the parameters of `POST /v1/chat/completions` in OpenAI's API reference (openai-python 3.54). Whatever
could bill in a way that is not bounded here is refused, never passed through.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from remit.kernel.decisions import RefusalCode
from remit.pricing.input_bound import InputShape
from remit.providers.openai_fields import check_fields, include_usage, metadata_of
from remit.providers.openai_input import InputCounter
from remit.providers.openai_reading import (
    Problem,
    ProblemError,
    boolean,
    integer,
    malformed,
    required_text,
    text_or_none,
)
from remit.providers.strict_json import StrictJsonError, parse

__all__ = ["ChatRequest", "Problem", "parse_chat_request"]

MAX_BODY_BYTES = 32 << 20
MAX_CHOICES = 128
MAX_OUTPUT_TOKENS = 1 << 31


class ChatRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A chat completion request, reduced to what deciding needs."""

    model: str
    stream: bool
    include_usage: bool  # the caller asked for the usage chunk of a stream
    choices: int
    output_tokens_max: int | None  # what the caller stated, per choice
    service_tier: str | None
    metadata: Mapping[str, str]
    user: str | None
    store: bool
    tool_names: tuple[str, ...]
    shape: InputShape
    texts: tuple[str, ...]  # everything `shape.text_bytes` counts, for an exact count

    def __repr__(self) -> str:
        return f"ChatRequest(model={self.model!r}, shape={self.shape!r})"  # never the caller's texts


def parse_chat_request(body: bytes, *, extra_fields: frozenset[str] = frozenset()) -> ChatRequest | Problem:
    """The request, or the first problem with it.

    `extra_fields` are further top-level fields a deployment's operator vouches for (`top_k` of a self-hosted model):
    other unknown fields are refused, because an unknown field may be a new way to bill. Their texts count as input.
    """
    if len(body) > MAX_BODY_BYTES:
        return Problem(RefusalCode.malformed_request, f"the body is larger than {MAX_BODY_BYTES} bytes")
    fields: Any = None
    try:
        fields = parse(body)
        if not isinstance(fields, dict):
            raise malformed("the body is not a JSON object")
        return _read(fields, extra_fields)
    except StrictJsonError as error:
        return Problem(RefusalCode.malformed_request, str(error))
    except ProblemError as error:
        return _located(error.problem, fields)


def _located(problem: Problem, fields: Any) -> Problem:
    """The problem with what rules that come before it look at, or what is malformed there."""
    if problem.code is not RefusalCode.shape_exceeded:
        return problem
    try:
        model, metadata = required_text(fields, "model"), metadata_of(fields)
    except ProblemError as error:
        return error.problem
    return Problem(problem.code, problem.detail, model, metadata)


def _read(fields: dict[str, Any], extra_fields: frozenset[str]) -> ChatRequest:
    check_fields(fields, extra_fields)
    stream = boolean(fields, "stream")
    counter = InputCounter()
    counter.messages(fields.get("messages"))
    tool_names = counter.tools(fields)
    counter.response_format(fields.get("response_format"))
    for name in extra_fields & fields.keys():
        counter.unread(fields[name])
    return ChatRequest(
        model=required_text(fields, "model"),
        stream=stream,
        include_usage=include_usage(fields, stream),
        choices=integer(fields, "n", 1, MAX_CHOICES) or 1,
        output_tokens_max=_output_bound(fields),
        service_tier=text_or_none(fields, "service_tier"),
        metadata=metadata_of(fields),
        user=text_or_none(fields, "user"),
        store=boolean(fields, "store"),
        tool_names=tool_names,
        shape=counter.shape(),
        texts=tuple(counter.texts),
    )


def _output_bound(fields: dict[str, Any]) -> int | None:
    """The smaller of both spellings: a vendor that honours either is within it."""
    stated = [integer(fields, name, 1, MAX_OUTPUT_TOKENS) for name in ("max_completion_tokens", "max_tokens")]
    return min((value for value in stated if value is not None), default=None)
