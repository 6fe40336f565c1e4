"""Watching streams."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from remit.kernel.usage import Usage
from remit.providers.openai import StreamReader
from remit.providers.sse import MAX_EVENT_BYTES
from tests.providers.bodies import USAGE, chunk, event, events, pieces, usage_chunk


def _forwarded(reader: StreamReader, parts: list[bytes]) -> bytes:
    return b"".join([piece for part in parts for piece in reader.feed(part)] + reader.finish())


SEEN = events(chunk(), chunk(choices=[{"index": 0, "delta": {"content": "h\u00e9"}, "finish_reason": "stop"}]))
STREAM = SEEN + event(usage_chunk()) + event("[DONE]")


def test_the_usage_chunk_is_hidden_from_who_did_not_ask() -> None:
    """The extra chunk is held back whole, its numbers are kept, and everything else passes byte for byte."""
    reader = StreamReader(hide_usage=True, choices=1)
    assert _forwarded(reader, [STREAM]) == SEEN + event("[DONE]")
    assert reader.facts.usage == Usage(input_tokens=10, output_tokens=5)
    assert (reader.facts.served_model, reader.facts.served_tier) == ("gpt-4o-2024-08-06", "default")
    assert (reader.facts.vendor_request_id, reader.done) == ("chatcmpl-1", True)


def test_who_asked_for_usage_gets_every_byte() -> None:
    """Nothing is held back and nothing waits for the end of an event."""
    reader = StreamReader(hide_usage=False, choices=1)
    assert [reader.feed(bytes([byte])) for byte in STREAM] == [[bytes([byte])] for byte in STREAM]
    assert reader.finish() == []
    assert reader.facts.usage == Usage(input_tokens=10, output_tokens=5)


PAYLOADS: list[dict[str, Any] | str] = [
    chunk(),
    chunk(choices=[{"delta": {"content": "\u4e2d\u6587\U0001f600"}}]),
    chunk(choices=[{"delta": {"content": ["odd"]}}]),
    chunk(choices=None),
    chunk(choices=[], prompt_filter_results=[]),
    usage_chunk(),
    chunk(choices=None, usage=USAGE),
    chunk(usage=USAGE),
    chunk(choices=[], usage={"prompt_tokens": -1}),
    "[DONE]",
    "not json",
    "7",
    "",
]
HIDDEN = (5, 6, 8)
ENDS = ["\n\n", "\r\n\r\n", "\r\r", "\n\r\n", "\r\n\n"]


@st.composite
def _streams(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """A stream, and what of it may be seen."""
    whole: list[bytes] = []
    seen: list[bytes] = []
    for _ in range(draw(st.integers(0, 6))):
        end = draw(st.sampled_from(ENDS))
        line = end[: 2 if end.startswith("\r\n") else 1]
        prefix = draw(st.sampled_from(["", f": keep-alive{line}", f"event: x{line}id: 7{line}"]))
        if draw(st.booleans()):
            index = draw(st.integers(0, len(PAYLOADS) - 1))
            piece = prefix.encode() + event(PAYLOADS[index], end=end)
        else:
            index, piece = -1, f": only a comment{end}".encode()
        whole.append(piece)
        if index not in HIDDEN:
            seen.append(piece)
    return b"".join(whole), b"".join(seen)


@settings(max_examples=200, deadline=None)
@given(data=st.data(), stream=_streams())
def test_fragmentation_changes_nothing(data: st.DataObject, stream: tuple[bytes, bytes]) -> None:
    """However a stream is cut, the same bytes are forwarded and the same facts are found."""
    whole, seen = stream
    cuts = data.draw(st.lists(st.integers(0, len(whole)), max_size=12))
    one = StreamReader(hide_usage=True, choices=1)
    assert _forwarded(one, [whole]) == seen
    for parts in (pieces(whole, cuts), pieces(whole, range(1, len(whole)))):
        many = StreamReader(hide_usage=True, choices=1)
        assert _forwarded(many, parts) == seen
        assert many.facts == one.facts
        assert many.done == one.done


@pytest.mark.parametrize("end", ENDS)
def test_byte_by_byte(end: str) -> None:
    """Single bytes with any line end are the hardest cut, and give the same."""
    stream = events(usage_chunk(), chunk(), usage_chunk(), chunk(), "[DONE]", end=end)
    reader = StreamReader(hide_usage=True, choices=1)
    assert _forwarded(reader, pieces(stream, range(1, len(stream)))) == events(chunk(), chunk(), "[DONE]", end=end)


def _last(*, index: int = 0, **changes: Any) -> dict[str, Any]:
    return chunk(choices=[{"index": index, "delta": {}, "finish_reason": "stop"}], **changes)


FIVE = Usage(input_tokens=10, output_tokens=5)


@pytest.mark.parametrize(
    ("payloads", "usage"),
    [
        ([chunk()], None),
        ([_last(), usage_chunk()], FIVE),
        ([_last(usage=USAGE)], FIVE),
        ([usage_chunk(), "[DONE]"], FIVE),
        ([_last(), usage_chunk(completion_tokens=0, total_tokens=10)], Usage(input_tokens=10)),
        (
            [chunk(usage=USAGE), _last(), usage_chunk(completion_tokens=6, total_tokens=16)],
            Usage(input_tokens=10, output_tokens=6),
        ),
        ([_last(), usage_chunk(), usage_chunk(prompt_tokens="x")], None),
        ([chunk(usage={}), _last(), usage_chunk()], FIVE),
    ],
)
def test_the_last_usage_counts(payloads: list[dict[str, Any] | str], usage: Usage | None) -> None:
    """Running totals end in the last statement; where that one contradicts itself the usage is unknown."""
    reader = StreamReader(hide_usage=True, choices=1)
    reader.feed(events(*payloads))
    assert reader.facts.usage == usage


@pytest.mark.parametrize("done", [True, False])
@pytest.mark.parametrize(
    "payloads",
    [
        [usage_chunk(), chunk()],
        [chunk(usage=USAGE), chunk(), chunk(), _last()],
        [_last(), usage_chunk(), chunk(choices=[{"delta": {"content": ["odd"]}}])],
        [chunk(usage=USAGE), _last()],
        [_last(), usage_chunk(), "not json"],
    ],
    ids=["then text", "then a whole answer", "then something odd", "then only its end", "then what cannot be read"],
)
def test_a_usage_that_more_followed_is_no_usage(payloads: list[dict[str, Any] | str], done: bool) -> None:
    """A total from the middle of a stream is never taken for what the call cost, however the stream ends."""
    reader = StreamReader(hide_usage=True, choices=1)
    reader.feed(events(*payloads, *(["[DONE]"] if done else [])))
    assert reader.facts.usage is None


def test_a_running_total_of_a_broken_stream_is_no_usage() -> None:
    """Without `[DONE]` a usage counts only once every choice that was asked for has finished."""
    reader = StreamReader(hide_usage=True, choices=1)
    reader.feed(events(chunk(), chunk(usage=USAGE)))
    assert reader.facts.usage is None
    reader.feed(events(_last(usage=USAGE)))
    assert reader.facts.usage == FIVE
    two = StreamReader(hide_usage=True, choices=2)
    two.feed(events(_last(usage=USAGE)))
    assert two.facts.usage is None
    two.feed(events(_last(index=1), usage_chunk()))
    assert two.facts.usage == FIVE
    seen = StreamReader(hide_usage=True, choices=1)
    seen.feed(events(chunk(choices=[{"index": 1, "delta": {"content": "x"}}]), _last(), usage_chunk()))
    assert seen.facts.usage is None


def test_a_stream_that_breaks_off() -> None:
    """What was pending is forwarded at the end, and a usage stated without its blank line still counts."""
    reader = StreamReader(hide_usage=True, choices=1)
    cut = event(chunk())[:-1]
    assert reader.feed(SEEN + cut) == [event(chunk()), SEEN[len(event(chunk())) :]]
    assert reader.finish() == [cut]
    assert (reader.done, reader.facts.usage) == (False, None)
    late = StreamReader(hide_usage=True, choices=1)
    assert _forwarded(late, [event(_last()), event(usage_chunk())[:-2]]) == event(_last())
    assert late.facts.usage == Usage(input_tokens=10, output_tokens=5)


def test_an_error_in_the_stream_passes_through() -> None:
    """A vendor that fails in mid-stream says so in an event, which reaches the caller and states no usage."""
    reader = StreamReader(hide_usage=True, choices=1)
    failure = event({"error": {"message": "overloaded", "type": "server_error"}})
    assert reader.feed(failure) == [failure]
    assert reader.facts.usage is None


@pytest.mark.parametrize("bad", [b'{"id":"caf\xe9"}', b'{"x":"\xff\xfe"}', b"\xef\xbb\xbf{}", b"[" * 100_000])
def test_bytes_that_cannot_be_read_are_passed_on(bad: bytes) -> None:
    """An event that is no UTF-8, or nests without end, is forwarded like any other; the usage after it still counts."""
    reader = StreamReader(hide_usage=True, choices=1)
    odd = b"data: " + bad + b"\n\n"
    assert reader.feed(odd) == [odd]
    reader.feed(STREAM)
    assert reader.facts.usage == Usage(input_tokens=10, output_tokens=5)


def test_a_total_that_shrinks_is_unknown() -> None:
    """Of two usages with nothing generated in between, a smaller second one contradicts the first."""
    less = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    reader = StreamReader(hide_usage=True, choices=1)
    reader.feed(events(_last(), usage_chunk(), chunk(choices=[], usage=less), "[DONE]"))
    assert reader.facts.usage is None


def test_an_endless_event_is_a_problem() -> None:
    """Memory stays bounded: after a mebibyte without an event's end nothing more is read or forwarded."""
    reader = StreamReader(hide_usage=True, choices=1)
    piece = b"x" * 65_536
    fed = 0
    while reader.problem is None:
        reader.feed(piece)
        fed += len(piece)
    assert reader.facts.usage is None
    assert fed <= MAX_EVENT_BYTES + len(piece)
    assert reader.feed(event(chunk())) == []
    assert reader.finish() == []
