"""The request as it is sent to the vendor: bounded, asking for its usage, otherwise untouched."""

from dataclasses import dataclass
from typing import Literal

import msgspec

from remit.providers.openai_request import ChatRequest

OutputField = Literal["max_completion_tokens", "max_tokens"]

_FIELDS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_NULL = b"null"
_OUTPUT_FIELDS: tuple[OutputField, ...] = ("max_completion_tokens", "max_tokens")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClampOptions:
    """How a deployment wants its requests.

    `output_field` is the one field the output bound is sent in, whichever the caller wrote: OpenAI knows
    `max_completion_tokens` on every chat model, many compatible servers know only `max_tokens` and ignore the other, so
    that a bound in it would bind nothing. `service_tier_when_absent` pins the tier where the
    caller leaves it to the project's setting (`default` is right for OpenAI; None for servers without tiers).
    `model` is the vendor's name of the model. `keep_metadata` sends `metadata` although `store` is not true.
    """

    output_field: OutputField = "max_completion_tokens"
    service_tier_when_absent: str | None = None
    model: str | None = None
    keep_metadata: bool = False


def sent_service_tier(request: ChatRequest, options: ClampOptions) -> str | None:
    """The tier the vendor will see, for the ceiling."""
    if request.service_tier in {None, "auto"} and options.service_tier_when_absent is not None:
        return options.service_tier_when_absent
    return request.service_tier


def clamp(body: bytes, request: ChatRequest, *, output_tokens_max: int, options: ClampOptions) -> bytes:
    """The body with the output bound per choice in it; every field that is not ours keeps its bytes and its place.

    `body` is one `parse_chat_request` accepted, so no key occurs twice. Streams always ask for usage. Tags travel in
    `metadata`, which OpenAI accepts on stored completions only, so it is dropped unless `store` is true.
    """
    assert output_tokens_max >= 1
    fields = _split(body)
    for name in _OUTPUT_FIELDS:
        if name != options.output_field:
            fields.pop(name, None)
    fields[options.output_field] = b"%d" % output_tokens_max
    if request.stream:
        fields["stream_options"] = _with_usage(fields.get("stream_options"))
    tier = sent_service_tier(request, options)
    if tier != request.service_tier and tier is not None:
        fields["service_tier"] = msgspec.json.encode(tier)
    if options.model is not None and options.model != request.model:
        fields["model"] = msgspec.json.encode(options.model)
    if not request.store and not options.keep_metadata:
        fields.pop("metadata", None)
    return _join(fields)


def _with_usage(raw: bytes | None) -> bytes:
    if raw is None or raw == _NULL:
        return b'{"include_usage":true}'
    options = _split(raw)
    options["include_usage"] = b"true"
    return _join(options)


def _split(text: bytes) -> dict[str, bytes]:
    """The members of an object, each value as the bytes it was written in."""
    return {name: bytes(raw) for name, raw in _FIELDS.decode(text).items()}


def _join(fields: dict[str, bytes]) -> bytes:
    return b"{" + b",".join(msgspec.json.encode(name) + b":" + value for name, value in fields.items()) + b"}"
