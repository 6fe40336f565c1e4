"""Watching a streamed chat completion go by: what it states, and what of it the caller asked to see."""

from collections.abc import Callable
from typing import Any

import msgspec

from remit.kernel.usage import Usage
from remit.providers.openai_usage import (
    ABSENT,
    MAX_CHOICES_SEEN,
    NULL,
    UNREADABLE,
    ResponseFacts,
    bounded_text,
    loose,
    read_tier,
    read_usage,
    text_or_none,
)
from remit.providers.sse import MAX_EVENT_BYTES, EventSplitter, event_data

_DONE = b"[DONE]"


class _Choice(msgspec.Struct, gc=False):
    index: int = 0
    finish_reason: str | None = None


class _Chunk(msgspec.Struct, gc=False):
    id: str | None = None
    model: str | None = None
    service_tier: str | None = None
    choices: list[_Choice] | None = None
    usage: msgspec.Raw = ABSENT


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
        "_choices", "_finished", "_hide_usage", "_id", "_model", "_open", "_splitter", "_tier", "_usage",
        "_usage_after_all", "done", "problem",
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
        self.done = False  # `[DONE]` was seen: the vendor ended the stream by itself
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
        if data.startswith(_DONE):
            self.done = True
            return True
        try:
            chunk = _decode_chunk(data)
        except UNREADABLE:
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
        if bytes(chunk.usage) == NULL:
            return True
        return not self._observe_usage(loose(chunk.usage)) or bool(chunk.choices)

    def _observe_choice(self, choice: _Choice) -> None:
        if choice.finish_reason is not None:
            if len(self._finished) < MAX_CHOICES_SEEN:
                self._finished.add(choice.index)
                self._open.discard(choice.index)
        elif choice.index not in self._finished and len(self._open) <= MAX_CHOICES_SEEN:
            self._open.add(choice.index)

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
        chunk = loose(data)
        if not isinstance(chunk, dict):
            self._usage = None
            return True
        self._model = text_or_none(chunk.get("model")) or self._model
        self._id = text_or_none(chunk.get("id")) or self._id
        self._tier = read_tier(chunk.get("service_tier")) or self._tier
        choices = chunk.get("choices")
        if choices:
            self._usage = None
            self._open.add(-1)  # which choice it is of, and whether that has finished, is not known
        return not self._observe_usage(chunk.get("usage")) or bool(choices)
