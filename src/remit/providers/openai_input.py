"""What of a request becomes input, and how large it is: messages, tools, schemas.

Every object that is sent has a list of its known fields, and what the model may get to see of it is measured whole.
"""

from typing import Any

from remit.pricing.input_bound import InputShape
from remit.providers.openai_fields import check_cache_options
from remit.providers.openai_reading import (
    malformed,
    object_in,
    objects,
    only,
    strings,
    text_or_none,
    unbounded,
    unknown_kind,
)
from remit.providers.schema_size import SchemaSizes, SchemaTooLargeError, compact

_MESSAGE_TEXTS = ("content", "refusal", "reasoning_content", "reasoning", "name", "role", "tool_call_id")
_MESSAGE = frozenset({*_MESSAGE_TEXTS, "tool_calls", "function_call", "annotations"})
_ANNOTATION = frozenset({"type", "url_citation"})
_CITATION = frozenset({"start_index", "end_index", "title", "url"})
_CALL = frozenset({"id", "type", "index", "function", "custom"})
_CALLED = {"function": frozenset({"name", "arguments"}), "custom": frozenset({"name", "input"})}
_IMAGE = frozenset({"url", "detail"})
_DETAILS = frozenset({"auto", "low", "high", "original"})
_DEFINITION = {
    "function": frozenset({"name", "description", "parameters", "strict"}),
    "custom": frozenset({"name", "description", "format"}),
}
_FORMAT = frozenset({"type", "grammar"})
_GRAMMAR = frozenset({"syntax", "definition"})
_CHOICE = frozenset({"type", "function", "custom", "allowed_tools"})
_ALLOWED_TOOLS = frozenset({"mode", "tools"})
_NAMED = frozenset({"name"})
_RESPONSE_FORMAT = frozenset({"type", "json_schema"})
_RESPONSE_FORMATS = frozenset({"text", "json_object", "json_schema"})
_JSON_SCHEMA = frozenset({"name", "description", "schema", "strict"})


class InputCounter:
    """Adds up what becomes input."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self._messages = self._parts = self._tool_calls = 0
        self._tools = self._tools_bytes = self._schemas = self._schema_bytes = 0
        self._images = {"low": 0, "high": 0, "original": 0}
        self._sizes = SchemaSizes()

    def shape(self) -> InputShape:
        """The sums so far."""
        return InputShape(
            text_bytes=sum(len(text) if text.isascii() else len(text.encode()) for text in self.texts),
            messages=self._messages,
            parts=self._parts,
            tool_calls=self._tool_calls,
            tools=self._tools,
            tools_bytes=self._tools_bytes,
            schemas=self._schemas,
            schema_bytes=self._schema_bytes,
            images_low=self._images["low"],
            images_high=self._images["high"],
            images_original=self._images["original"],
        )

    def unread(self, value: Any) -> None:
        """A field an operator vouches for counts with its texts, since what it does is not known here."""
        self.texts.extend(strings(value))

    def messages(self, messages: Any) -> None:
        """Counts the messages."""
        if not isinstance(messages, list) or not messages:
            raise malformed("`messages` is not a list with at least one message")
        for index, message in enumerate(messages):
            if not isinstance(message, dict):
                raise malformed(f"message {index} is not an object")
            if not isinstance(message.get("role"), str):
                raise malformed(f"message {index} has no `role`")
            if not message.keys() <= _MESSAGE:
                only(message, _MESSAGE, f"message {index}")
            for name, value in message.items():
                if isinstance(value, str):
                    self.texts.append(value)
                elif value is not None:
                    self._structure(name, value, f"message {index}")
        self._messages = len(messages)

    def _structure(self, name: str, value: Any, where: str) -> None:
        if name == "content":
            self._content(value, where)
        elif name == "tool_calls":
            for call in objects({name: value}, name):
                self._call(call, f"{where}: a tool call")
        elif name == "function_call":
            self._tool_calls += 1
            self.texts.extend(strings(object_in(value, _CALLED["function"], f"{where}: `function_call`")))
        elif name == "annotations":
            for annotation in objects({name: value}, name):
                only(annotation, _ANNOTATION, f"{where}: an annotation")
                if annotation.get("url_citation") is not None:
                    object_in(annotation["url_citation"], _CITATION, f"{where}: `url_citation`")
                self.texts.extend(strings(annotation))
        else:
            raise malformed(f"{where}: `{name}` is not a text")

    def _content(self, parts: Any, where: str) -> None:
        if not isinstance(parts, list) or not all(isinstance(part, dict) for part in parts):
            raise malformed(f"{where}: `content` is neither a text nor a list of parts")
        self._parts += len(parts)
        for part in parts:
            kind = part.get("type")
            if kind == "text" or kind == "refusal":  # noqa: PLR1714 - a list of another vendor's making is not hashable
                text = part.get(kind)
                if not isinstance(text, str):
                    raise malformed(f"{where}: a part of type `{kind}` has no text")
                self.texts.append(text)
            elif kind == "image_url":
                self._image(part.get("image_url"), where)
            else:
                unknown_kind(kind, f"{where}: content", "becomes a number of tokens that is not bounded here")
            if len(part) > 2:
                only(part, frozenset({"type", kind, "prompt_cache_breakpoint"}), f"{where}: a part")
                if part.get("prompt_cache_breakpoint") is not None:
                    check_cache_options(part["prompt_cache_breakpoint"], f"{where}: `prompt_cache_breakpoint`")

    def _image(self, image: Any, where: str) -> None:
        if not isinstance(image, dict) or not isinstance(image.get("url"), str):
            raise malformed(f"{where}: an image has no `url`")
        only(image, _IMAGE, f"{where}: an image")
        detail = image.get("detail")
        if detail is None:
            detail = "auto"
        if not isinstance(detail, str) or detail not in _DETAILS:
            raise unbounded(f"{where}: how many tokens this image becomes is not bounded here")
        self._images["high" if detail == "auto" else detail] += 1

    def _call(self, call: dict[str, Any], where: str) -> None:
        only(call, _CALL, where)
        for kind, known in _CALLED.items():
            if call.get(kind) is not None:
                object_in(call[kind], known, f"{where}: `{kind}`")
        self._tool_calls += 1
        self.texts.extend(strings(call))

    def tools(self, fields: dict[str, Any]) -> tuple[str, ...]:
        """Counts the tools offered to the model and what is said of their use, and returns their names."""
        names: list[str] = []
        for tool in objects(fields, "tools"):
            kind = tool.get("type")
            if not isinstance(kind, str) or kind not in _DEFINITION:
                unknown_kind(kind, "a tool", "runs at the vendor and bills apart from tokens")
            only(tool, frozenset({"type", kind}), "a tool")
            names.append(self._tool(tool, tool.get(kind), kind))
        names += [self._tool(definition, definition, "function") for definition in objects(fields, "functions")]
        self._tools = len(names)
        for name in ("tool_choice", "function_call"):
            if fields.get(name) is not None:
                self._choice(name, fields[name])
        return tuple(names)

    def _tool(self, whole: dict[str, Any], definition: Any, kind: str) -> str:
        """Measures a tool as it is sent and returns its name."""
        if not isinstance(definition, dict) or not isinstance(definition.get("name"), str):
            raise malformed(f"a tool of type `{kind}` has no name")
        name: str = definition["name"]
        only(definition, _DEFINITION[kind], f"tool `{name[:64]}`")
        grammar_format = definition.get("format")
        if grammar_format is not None:
            where = f"`format` of tool `{name[:64]}`"
            grammar = object_in(grammar_format, _FORMAT, where).get("grammar")
            if grammar is not None:
                object_in(grammar, _GRAMMAR, where)
        self._tools_bytes += self._expanded(whole, definition.get("parameters"))
        return name

    def _choice(self, field: str, choice: Any) -> None:
        if isinstance(choice, str):
            text_or_none({field: choice}, field, 64)
            return
        if field == "function_call":
            object_in(choice, _NAMED, "`function_call`")
        else:
            chosen = object_in(choice, _CHOICE, "`tool_choice`")
            _check_named(chosen, "`tool_choice`")
            if chosen.get("allowed_tools") is not None:
                allowed = object_in(chosen["allowed_tools"], _ALLOWED_TOOLS, "`allowed_tools`")
                for tool in objects(allowed, "tools"):
                    only(tool, _CHOICE - {"allowed_tools"}, "an allowed tool")
                    _check_named(tool, "an allowed tool")
        # Which tools are allowed may be told to the model, so it counts like the tools themselves.
        self._tools = max(1, self._tools)
        self._tools_bytes += len(compact(choice))

    def response_format(self, response_format: Any) -> None:
        """Counts the schema of the answer."""
        if response_format is None:
            return
        stated = object_in(response_format, _RESPONSE_FORMAT, "`response_format`")
        kind = stated.get("type")
        if not isinstance(kind, str) or kind not in _RESPONSE_FORMATS:
            unknown_kind(kind, "a response format", "is not bounded here")
        definition = stated.get("json_schema")
        if definition is not None:
            definition = object_in(definition, _JSON_SCHEMA, "`json_schema`")
        self._schemas = 1
        self._schema_bytes = self._expanded(stated, definition and definition.get("schema"))

    def _expanded(self, value: Any, schema: Any) -> int:
        try:
            return self._sizes.expanded_bytes(value, schema)
        except SchemaTooLargeError as error:
            raise unbounded(str(error)) from None


def _check_named(choice: dict[str, Any], where: str) -> None:
    for kind in ("function", "custom"):
        if choice.get(kind) is not None:
            object_in(choice[kind], _NAMED, f"{where}: `{kind}`")
