"""The fields of a request that are neither messages nor tools: known, typed and bounded.

What is passed on unread could be a prompt in disguise or a way to bill that nobody bounded, so each field has a check
and every object its list of known fields.
"""

from collections.abc import Callable
from typing import Any

from remit.providers.openai_reading import (
    boolean,
    is_number,
    malformed,
    object_in,
    only,
    text_or_none,
    unbounded,
)

MAX_METADATA_PAIRS = 16
MAX_STOPS = 16
MAX_BIASES = 4096

_STREAM_OPTIONS = frozenset({"include_usage", "include_obfuscation"})
_CACHE_OPTIONS = frozenset({"mode", "ttl"})


def _check_text(fields: dict[str, Any], name: str) -> None:
    text_or_none(fields, name)


def _check_boolean(fields: dict[str, Any], name: str) -> None:
    boolean(fields, name)


def _check_number(fields: dict[str, Any], name: str) -> None:
    if not is_number(fields[name]):
        raise malformed(f"`{name}` is not a number")


def _check_stop(fields: dict[str, Any], name: str) -> None:
    stop = fields[name]
    stops = stop if isinstance(stop, list) else [stop]
    if len(stops) > MAX_STOPS or not all(isinstance(one, str) and len(one) <= 512 for one in stops):
        raise malformed(f"`{name}` is not up to {MAX_STOPS} texts of at most 512 characters")


def _check_bias(fields: dict[str, Any], name: str) -> None:
    bias = fields[name]
    if not isinstance(bias, dict) or len(bias) > MAX_BIASES:
        raise malformed(f"`{name}` is not an object of at most {MAX_BIASES} tokens")
    if not all(len(token) <= 20 and is_number(weight) for token, weight in bias.items()):
        raise malformed(f"`{name}` is not an object of tokens and numbers")


def _check_modalities(fields: dict[str, Any], name: str) -> None:
    if fields[name] != ["text"]:
        raise unbounded(f'`{name}` other than `["text"]` are not metered here')


def _check_cache_field(fields: dict[str, Any], name: str) -> None:
    check_cache_options(fields[name], f"`{name}`")


def check_cache_options(options: Any, where: str) -> None:
    """Only the standard cache lifetime has a known write price."""
    if not isinstance(options, dict):
        raise malformed(f"{where} is not an object")
    lifetime = options.get("ttl")
    if options.keys() - _CACHE_OPTIONS or (lifetime is not None and lifetime != "30m"):
        raise unbounded(f"{where}: cache options other than `mode` and a `ttl` of `30m` have no known price")
    text_or_none(options, "mode", 64)


def _never(why: str) -> Callable[[dict[str, Any], str], None]:
    def refuse(_fields: dict[str, Any], name: str) -> None:
        raise unbounded(f"`{name}` asks for {why}, which is not metered here")

    return refuse


def _read_elsewhere(_fields: dict[str, Any], _name: str) -> None:
    """For fields that `openai_request` and `openai_input` read."""


_CHECKS: dict[str, Callable[[dict[str, Any], str], None]] = {
    **dict.fromkeys(
        (
            "messages", "tools", "functions", "tool_choice", "function_call", "response_format", "metadata", "model",
            "n", "max_tokens", "max_completion_tokens", "stream", "stream_options", "store", "user", "service_tier",
        ),
        _read_elsewhere,
    ),
    **dict.fromkeys(("frequency_penalty", "presence_penalty", "temperature", "top_p", "seed", "top_logprobs"), _check_number),
    **dict.fromkeys(("logprobs", "parallel_tool_calls"), _check_boolean),
    **dict.fromkeys(
        ("prompt_cache_key", "prompt_cache_retention", "reasoning_effort", "safety_identifier", "verbosity"), _check_text
    ),
    "stop": _check_stop,
    "logit_bias": _check_bias,
    "modalities": _check_modalities,
    "prompt_cache_options": _check_cache_field,
    "audio": _never("audio output"),
    "moderation": _never("moderation by a second model"),
    "prediction": _never("a predicted output: its rejected tokens bill as output beyond the stated bound"),
    "web_search_options": _never("web search, which bills a fee per search"),
}  # fmt: skip
_KNOWN = frozenset(_CHECKS)


def check_fields(fields: dict[str, Any], extra_fields: frozenset[str]) -> None:
    """Every field is known and, where nobody else reads it, of its type and bounded. Null is absent."""
    only(fields, _KNOWN | extra_fields, "the request")
    for name, value in fields.items():
        if value is not None and name in _CHECKS and name not in extra_fields:
            _CHECKS[name](fields, name)


def include_usage(fields: dict[str, Any], stream: bool) -> bool:
    """Whether the caller asked for the usage chunk of a stream."""
    options = fields.get("stream_options")
    if options is None:
        return False
    if not stream:
        raise malformed("`stream_options` needs `stream`")
    options = object_in(options, _STREAM_OPTIONS, "`stream_options`")
    boolean(options, "include_obfuscation")
    return boolean(options, "include_usage")


def metadata_of(fields: dict[str, Any]) -> dict[str, str]:
    """The caller's metadata, within OpenAI's bounds."""
    metadata = fields.get("metadata")
    if metadata is None:
        return {}
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise malformed("`metadata` is not an object of texts")
    if len(metadata) > MAX_METADATA_PAIRS or any(len(k) > 64 or len(v) > 512 for k, v in metadata.items()):
        raise malformed("`metadata` holds at most 16 pairs, keys up to 64 and values up to 512 characters")
    if any("\0" in key or "\0" in value for key, value in metadata.items()):
        raise malformed("`metadata` holds a character that cannot be kept")
    return metadata
