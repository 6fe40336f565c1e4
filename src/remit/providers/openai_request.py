"""OpenAI chat completions: what a request asks for and how large it is.

Field list: the parameters of `POST /v1/chat/completions` in OpenAI's API reference (openai-python 3.54). Whatever
could bill in a way that is not bounded here is refused, never passed through.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from remit.kernel.decisions import RefusalCode
from remit.pricing.input_bound import InputShape
from remit.providers.schema_size import expanded_bytes
from remit.providers.strict_json import StrictJsonError, parse

MAX_BODY_BYTES = 32 << 20
MAX_CHOICES = 128
MAX_OUTPUT_TOKENS = 1 << 31
MAX_METADATA_PAIRS = 16

# Known fields that neither bill by themselves nor widen what the bounded ones bill.
_PLAIN_FIELDS = frozenset(
    {
        "frequency_penalty", "function_call", "functions", "logit_bias", "logprobs", "max_completion_tokens",
        "max_tokens", "messages", "metadata", "model", "n", "parallel_tool_calls", "presence_penalty",
        "prompt_cache_key", "prompt_cache_retention", "reasoning_effort", "response_format", "safety_identifier",
        "seed", "service_tier", "stop", "store", "stream", "stream_options", "temperature", "tool_choice", "tools",
        "top_logprobs", "top_p", "user", "verbosity",
    }
)  # fmt: skip
# Known fields that are harmless only with the values `_check_guarded` lets through.
_GUARDED_FIELDS = frozenset(
    {"audio", "modalities", "moderation", "prediction", "prompt_cache_options", "web_search_options"}
)
_MESSAGE_TEXTS = ("content", "refusal", "reasoning_content", "reasoning", "name", "role", "tool_call_id")
_MESSAGE_FIELDS = frozenset({*_MESSAGE_TEXTS, "tool_calls", "function_call", "annotations"})


class Problem(msgspec.Struct, frozen=True):
    """Why a request is refused before any grant is looked at; `detail` is a lower-case sentence."""

    code: RefusalCode
    detail: str


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


class _ProblemError(Exception):
    def __init__(self, code: RefusalCode, detail: str) -> None:
        super().__init__(detail)
        self.problem = Problem(code, detail)


def _malformed(detail: str) -> _ProblemError:
    return _ProblemError(RefusalCode.malformed_request, detail)


def _unbounded(detail: str) -> _ProblemError:
    return _ProblemError(RefusalCode.shape_exceeded, detail)


def parse_chat_request(body: bytes, *, extra_fields: frozenset[str] = frozenset()) -> ChatRequest | Problem:
    """The request, or the first problem with it.

    `extra_fields` are further top-level fields a deployment's operator vouches for (`top_k` of a self-hosted model):
    other unknown fields are refused, because an unknown field may be a new way to bill.
    """
    if len(body) > MAX_BODY_BYTES:
        return Problem(RefusalCode.malformed_request, f"the body is larger than {MAX_BODY_BYTES} bytes")
    try:
        fields = parse(body)
        if not isinstance(fields, dict):
            raise _malformed("the body is not a JSON object")
        return _read(fields, extra_fields)
    except StrictJsonError as error:
        return Problem(RefusalCode.malformed_request, str(error))
    except _ProblemError as error:
        return error.problem


def _read(fields: dict[str, Any], extra_fields: frozenset[str]) -> ChatRequest:
    unknown = sorted(fields.keys() - _PLAIN_FIELDS - _GUARDED_FIELDS - extra_fields)
    if unknown:
        raise _unbounded(f"`{unknown[0][:64]}` is not a field whose cost is bounded here, so it is not passed on")
    _check_guarded(fields)
    stream = _boolean(fields, "stream")
    counter = _Counter()
    counter.messages(fields.get("messages"))
    tool_names = counter.tools(fields)
    counter.response_format(fields.get("response_format"))
    return ChatRequest(
        model=_required_text(fields, "model"),
        stream=stream,
        include_usage=_include_usage(fields, stream),
        choices=_integer(fields, "n", 1, MAX_CHOICES) or 1,
        output_tokens_max=_output_bound(fields),
        service_tier=_text(fields, "service_tier"),
        metadata=_metadata(fields),
        user=_text(fields, "user"),
        store=_boolean(fields, "store"),
        tool_names=tool_names,
        shape=counter.shape(),
        texts=tuple(counter.texts),
    )


def _check_guarded(fields: dict[str, Any]) -> None:
    for name, why in (
        ("audio", "audio output"),
        ("moderation", "moderation by a second model"),
        ("prediction", "a predicted output: its rejected tokens bill as output beyond the stated bound"),
        ("web_search_options", "web search, which bills a fee per search"),
    ):
        if fields.get(name) is not None:
            raise _unbounded(f"`{name}` asks for {why}, which is not metered here")
    modalities = fields.get("modalities")
    if modalities is not None and modalities != ["text"]:
        raise _unbounded('`modalities` other than `["text"]` are not metered here')
    options = fields.get("prompt_cache_options")
    if options is not None:
        if not isinstance(options, dict):
            raise _malformed("`prompt_cache_options` is not an object")
        _check_cache_options(options)


def _check_cache_options(options: dict[str, Any]) -> None:
    """Only the standard cache lifetime has a known write price."""
    unknown = sorted(options.keys() - {"mode", "ttl"})
    if unknown or options.get("ttl") not in {None, "30m"}:
        raise _unbounded("prompt cache options other than `mode` and a `ttl` of `30m` have no known price")


def _include_usage(fields: dict[str, Any], stream: bool) -> bool:
    options = fields.get("stream_options")
    if options is None:
        return False
    if not stream:
        raise _malformed("`stream_options` needs `stream`")
    if not isinstance(options, dict):
        raise _malformed("`stream_options` is not an object")
    unknown = sorted(options.keys() - {"include_usage", "include_obfuscation"})
    if unknown:
        raise _unbounded(f"`stream_options.{unknown[0][:64]}` is not a field whose cost is bounded here")
    return _boolean(options, "include_usage")


def _output_bound(fields: dict[str, Any]) -> int | None:
    """The smaller of both spellings: a vendor that honours either is within it."""
    stated = [_integer(fields, name, 1, MAX_OUTPUT_TOKENS) for name in ("max_completion_tokens", "max_tokens")]
    return min((value for value in stated if value is not None), default=None)


def _metadata(fields: dict[str, Any]) -> dict[str, str]:
    metadata = fields.get("metadata")
    if metadata is None:
        return {}
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise _malformed("`metadata` is not an object of texts")
    if len(metadata) > MAX_METADATA_PAIRS or any(len(k) > 64 or len(v) > 512 for k, v in metadata.items()):
        raise _malformed("`metadata` holds at most 16 pairs, keys up to 64 and values up to 512 characters")
    return metadata


def _required_text(fields: dict[str, Any], name: str) -> str:
    value = _text(fields, name)
    if not value:
        raise _malformed(f"`{name}` is missing")
    return value


def _text(fields: dict[str, Any], name: str) -> str | None:
    value = fields.get(name)
    if value is not None and (not isinstance(value, str) or len(value) > 512):
        raise _malformed(f"`{name}` is not a text of at most 512 characters")
    return value


def _boolean(fields: dict[str, Any], name: str) -> bool:
    value = fields.get(name)
    if value is None:
        return False
    if not isinstance(value, bool):
        raise _malformed(f"`{name}` is neither true nor false")
    return value


def _integer(fields: dict[str, Any], name: str, low: int, high: int) -> int | None:
    value = fields.get(name)
    if value is not None and (type(value) is not int or not low <= value <= high):
        raise _malformed(f"`{name}` is not an integer from {low} to {high}")
    return value


class _Counter:
    """Adds up what becomes input."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self._messages = self._tool_calls = 0
        self._tools = self._tools_bytes = self._schemas = self._schema_bytes = 0
        self._images = {"low": 0, "high": 0, "original": 0}

    def shape(self) -> InputShape:
        return InputShape(
            text_bytes=sum(len(text) if text.isascii() else len(text.encode()) for text in self.texts),
            messages=self._messages,
            tool_calls=self._tool_calls,
            tools=self._tools,
            tools_bytes=self._tools_bytes,
            schemas=self._schemas,
            schema_bytes=self._schema_bytes,
            images_low=self._images["low"],
            images_high=self._images["high"],
            images_original=self._images["original"],
        )

    def messages(self, messages: Any) -> None:
        if not isinstance(messages, list) or not messages:
            raise _malformed("`messages` is not a list with at least one message")
        for index, message in enumerate(messages):
            if not isinstance(message, dict):
                raise _malformed(f"message {index} is not an object")
            self._message(message, f"message {index}")
        self._messages = len(messages)

    def _message(self, message: dict[str, Any], where: str) -> None:
        if not isinstance(message.get("role"), str):
            raise _malformed(f"{where} has no `role`")
        for name, value in message.items():
            if value is None:
                continue
            if name not in _MESSAGE_FIELDS:
                raise _unbounded(f"{where}: `{name[:64]}` is not a field whose cost is bounded here")
            if isinstance(value, str):
                self.texts.append(value)
            elif name == "content":
                self._parts(value, where)
            elif name == "tool_calls":
                self._calls(value, where)
            elif name == "function_call":
                self._call_texts(value, where)
            elif name == "annotations":
                self.texts.extend(_strings(value))
            else:
                raise _malformed(f"{where}: `{name}` is not a text")

    def _parts(self, parts: Any, where: str) -> None:
        if not isinstance(parts, list) or not all(isinstance(part, dict) for part in parts):
            raise _malformed(f"{where}: `content` is neither a text nor a list of parts")
        for part in parts:
            breakpoint_options = part.get("prompt_cache_breakpoint")
            if isinstance(breakpoint_options, dict):
                _check_cache_options(breakpoint_options)
            kind = part.get("type")
            if kind in {"text", "refusal"}:
                text = part.get(kind)
                if not isinstance(text, str):
                    raise _malformed(f"{where}: a part of type `{kind}` has no text")
                self.texts.append(text)
            elif kind == "image_url":
                self._image(part.get("image_url"), where)
            else:
                shown = kind[:64] if isinstance(kind, str) else "?"
                raise _unbounded(f"{where}: how many tokens content of type `{shown}` becomes is not bounded here")
            unknown = sorted(part.keys() - {"type", kind, "prompt_cache_breakpoint"})
            if unknown:
                raise _unbounded(f"{where}: `{unknown[0][:64]}` of a part is not a field whose cost is bounded here")

    def _image(self, image: Any, where: str) -> None:
        if not isinstance(image, dict) or not isinstance(image.get("url"), str):
            raise _malformed(f"{where}: an image has no `url`")
        detail = image.get("detail") or "auto"
        if detail not in {"auto", "low", "high", "original"} or image.keys() - {"url", "detail"}:
            raise _unbounded(f"{where}: how many tokens this image becomes is not bounded here")
        self._images["high" if detail == "auto" else detail] += 1

    def _calls(self, calls: Any, where: str) -> None:
        if not isinstance(calls, list):
            raise _malformed(f"{where}: `tool_calls` is not a list")
        for call in calls:
            self._call_texts(call, where)

    def _call_texts(self, call: Any, where: str) -> None:
        if not isinstance(call, dict):
            raise _malformed(f"{where}: a tool call is not an object")
        self._tool_calls += 1
        self.texts.extend(_strings(call))

    def tools(self, fields: dict[str, Any]) -> tuple[str, ...]:
        """Counts the tools offered to the model and returns their names."""
        names: list[str] = []
        for tool in _objects(fields, "tools"):
            kind = tool.get("type")
            definition = tool.get(kind) if isinstance(kind, str) else None
            if kind not in {"function", "custom"}:
                shown = kind[:64] if isinstance(kind, str) else "?"
                raise _unbounded(f"a tool of type `{shown}` runs at the vendor and bills apart from tokens")
            if not isinstance(definition, dict) or not isinstance(definition.get("name"), str):
                raise _malformed(f"a tool of type `{kind}` has no name")
            names.append(definition["name"])
            self._tools_bytes += expanded_bytes(definition, definition.get("parameters"))
        for definition in _objects(fields, "functions"):
            if not isinstance(definition.get("name"), str):
                raise _malformed("a function has no name")
            names.append(definition["name"])
            self._tools_bytes += expanded_bytes(definition, definition.get("parameters"))
        self._tools = len(names)
        return tuple(names)

    def response_format(self, response_format: Any) -> None:
        if response_format is None:
            return
        if not isinstance(response_format, dict):
            raise _malformed("`response_format` is not an object")
        self._schemas = 1
        definition = response_format.get("json_schema")
        schema = definition.get("schema") if isinstance(definition, dict) else None
        self._schema_bytes = expanded_bytes(response_format, schema)


def _objects(fields: dict[str, Any], name: str) -> list[dict[str, Any]]:
    value = fields.get(name)
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise _malformed(f"`{name}` is not a list of objects")
    return value


def _strings(value: Any) -> Iterator[str]:
    """Every text inside a value, keys included, and numbers as they are written."""
    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, str):
            yield item
        elif isinstance(item, dict):
            yield from item
            stack += item.values()
        elif isinstance(item, list):
            stack += item
        elif item is not None:
            yield str(item)
