"""Watching a streamed chat completion go by: what it states, and what of it the caller asked to see."""

from collections.abc import Callable
from typing import Any

import msgspec

from remit.kernel.usage import Usage
from remit.providers.openai_usage import (
    MAX_REASONS,
    ResponseFacts,
    bounded_text,
    read_error,
    read_tier,
    read_usage,
    text_or_none,
)
from remit.providers.sse import MAX_EVENT_BYTES, EventSplitter, event_data

_DONE = b"[DONE]"
_NULL = b"null"
# `Raw | None` would refuse everything but null, so absent is null as text.
_ABSENT = msgspec.Raw(_NULL)


class _Delta(msgspec.Struct, gc=False):
    content: str | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: msgspec.Raw = _ABSENT
    function_call: msgspec.Raw = _ABSENT


class _Choice(msgspec.Struct, gc=False):
    index: int = 0
    delta: _Delta | None = None
    finish_reason: str | None = None


class _Chunk(msgspec.Struct, gc=False):
    id: str | None = None
    model: str | None = None
    service_tier: str | None = None
    choices: list[_Choice] | None = None
    usage: msgspec.Raw = _ABSENT
    error: msgspec.Raw = _ABSENT


_decode_chunk: Callable[[bytes], _Chunk] = msgspec.json.Decoder(_Chunk).decode


class StreamReader:
    """Feeds on the vendor's bytes in any fragmentation and gives back those to forward.

    Events are forwarded byte for byte. Where the caller did not ask for usage, the extra chunk that only states it is
    held back; bytes of an event are then forwarded when the event is complete. After `problem` is set (an event
    longer than 1 MiB) nothing more is forwarded or read.

    A usage counts as final only if no event with choices came after the one that stated it, and either the vendor
    ended the stream by itself or all choices had finished by then: vendors that state running totals would otherwise
    be taken at a number that was true in the middle. `choices` is how many were asked for.
    """

    __slots__ = (
        "_choices", "_error_code", "_finish_reasons", "_finished", "_hide_usage", "_id", "_model", "_open", "_splitter",
        "_tier", "_usage", "_usage_after_all", "content_bytes", "done", "events", "problem", "unreadable_events",
    )  # fmt: skip

    def __init__(self, *, hide_usage: bool, choices: int) -> None:
        self._hide_usage = hide_usage
        self._splitter = EventSplitter()
        self._id: str | None = None
        self._model: str | None = None
        self._tier: str | None = None
        self._choices = choices
        self._open: set[int] = set()
        self._finished: set[int] = set()
        self._usage: Usage | None = None
        self._usage_after_all = False  # all choices had finished when it was stated
        self._finish_reasons: list[str] = []
        self._error_code: str | None = None
        self.done = False  # `[DONE]` was seen: the vendor ended the stream by itself
        self.events = 0
        self.unreadable_events = 0
        self.content_bytes = 0  # UTF-8 bytes of generated text and tool calls that arrived
        self.problem: str | None = None

    @property
    def facts(self) -> ResponseFacts:
        """What the stream has stated so far.

        The last usage counts, if it is final; where it contradicts itself the usage is unknown.
        """
        final = self._usage_after_all or self.done
        return ResponseFacts(
            usage=self._usage if final else None,
            served_model=self._model,
            served_tier=self._tier,
            vendor_request_id=self._id,
            finish_reasons=tuple(self._finish_reasons),
            error_code=self._error_code,
        )

    def feed(self, data: bytes) -> list[bytes]:
        """Pieces to forward now, in order."""
        if self.problem is not None or not data:
            return []
        events = self._splitter.feed(data)
        if len(self._splitter.pending) > MAX_EVENT_BYTES or any(len(event) > MAX_EVENT_BYTES for event in events):
            self.problem = f"an event of the stream is longer than {MAX_EVENT_BYTES} bytes"
            self._usage = None
            return []
        if not self._hide_usage:
            for event in events:
                self._observe(event)
            return [data]
        return [event for event in events if self._observe(event)]

    def finish(self) -> list[bytes]:
        """What is left to forward when the vendor's stream ends, normally nothing."""
        rest = self._splitter.finish()
        if not rest or self.problem is not None:
            return []
        shown = self._observe(rest)
        return [rest] if self._hide_usage and shown else []

    def _observe(self, event: bytes) -> bool:
        """Notes what an event states; False where it is to be held back."""
        data = event_data(event)
        if data is None:
            return True
        self.events += 1
        if data.startswith(_DONE):
            self.done = True
            return True
        try:
            chunk = _decode_chunk(data)
        except (msgspec.DecodeError, RecursionError):
            return self._observe_loosely(data)
        if chunk.model is not None:
            self._model = bounded_text(chunk.model)
        if chunk.id is not None:
            self._id = bounded_text(chunk.id)
        if chunk.service_tier is not None:
            self._tier = read_tier(chunk.service_tier) or self._tier
        if chunk.choices:
            self._usage = None  # more was generated since it was stated
            for choice in chunk.choices:
                self._observe_choice(choice)
        if bytes(chunk.error) != _NULL:
            self._error_code = read_error(_loose(chunk.error)) or self._error_code
        if bytes(chunk.usage) == _NULL:
            return True
        return not self._observe_usage(_loose(chunk.usage)) or bool(chunk.choices)

    def _observe_choice(self, choice: _Choice) -> None:
        if choice.finish_reason is not None:
            self._note_finish(choice.index, choice.finish_reason)
        elif choice.index not in self._finished and len(self._open) <= MAX_REASONS:
            self._open.add(choice.index)
        delta = choice.delta
        if delta is None:
            return
        for text in (delta.content, delta.refusal, delta.reasoning_content, delta.reasoning):
            if text:
                self.content_bytes += len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
        for calls in (delta.tool_calls, delta.function_call):
            raw = bytes(calls)
            if raw != _NULL:
                self.content_bytes += len(raw)

    def _note_finish(self, index: int, reason: str) -> None:
        if len(self._finish_reasons) < MAX_REASONS:
            self._finish_reasons.append(bounded_text(reason))
            self._finished.add(index)
            self._open.discard(index)

    def _observe_usage(self, stated: Any) -> bool:
        """Keeps a stated usage; True where there is one, even if it cannot be read."""
        if stated is None:
            return False
        before, self._usage = self._usage, read_usage(stated)
        if before is not None and self._usage is not None and self._usage.total_tokens < before.total_tokens:
            self._usage = None  # nothing was taken back in between: one of the two is wrong
        self._usage_after_all = not self._open and len(self._finished) >= self._choices
        return True

    def _observe_loosely(self, data: bytes) -> bool:
        """An event of unexpected types still counts for what can be read of it."""
        chunk = _loose(data)
        if not isinstance(chunk, dict):
            self.unreadable_events += 1
            self._usage = None
            return True
        self._model = text_or_none(chunk.get("model")) or self._model
        self._id = text_or_none(chunk.get("id")) or self._id
        self._tier = read_tier(chunk.get("service_tier")) or self._tier
        self._error_code = read_error(chunk.get("error")) or self._error_code
        choices = chunk.get("choices")
        if choices:
            self._usage = None
            self._open.add(-1)  # which choice it is of, and whether that has finished, is not known
            self.content_bytes += len(data)  # of unknown make, so all of it counts
        return not self._observe_usage(chunk.get("usage")) or bool(choices)


def _loose(text: bytes | msgspec.Raw) -> Any:
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return None
