"""Texts made to be slow are read in a bounded number of steps. How long a step takes, `python -m bench.capabilities` says."""

import sys
from types import FrameType
from typing import Any

import pytest

from remit.capabilities import rules
from remit.capabilities.model import CapabilityProblem, Verified
from remit.capabilities.reading import inspect
from remit.capabilities.rules import verify
from tests.capabilities.agreement import EPOCH, RING
from tests.capabilities.hostile import honest_texts, hostile_texts
from tests.capabilities.vectors import AUDIENCE

HOSTILE, HONEST = hostile_texts(), honest_texts()
# Lines of Python that may run for one text. A flat array of numbers takes 6,099, the largest honest chain 2,275.
MAX_LINES = 7_000


def lines_run(text: str) -> tuple[int, Verified | CapabilityProblem]:
    """How many lines of Python run while a text is decoded and parsed, the standard library's included."""
    count = 0

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        answer = inspect(text)
    finally:
        sys.settrace(before)
    return count, answer


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_texts_end_after_so_many_steps(name: str) -> None:
    """Nesting, keys, digits, escapes, blocks and base64 made to be slow are refused within the bound."""
    count, answer = lines_run(HOSTILE[name])
    assert isinstance(answer, CapabilityProblem)
    assert count <= MAX_LINES


@pytest.mark.parametrize("name", HONEST)
def test_honest_texts_are_within_the_bound(name: str) -> None:
    """The bound leaves room for the longest chains that are well formed."""
    count, answer = lines_run(HONEST[name])
    assert isinstance(answer, Verified)
    assert count <= MAX_LINES


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_texts_meet_no_signature(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not well formed is refused before a public key is made, let alone a signature checked."""

    class Untouched:
        @staticmethod
        def from_public_bytes(key: bytes) -> None:
            raise AssertionError("a signature was looked at")

    monkeypatch.setattr(rules, "Ed25519PublicKey", Untouched)
    assert isinstance(verify(HOSTILE[name], RING, AUDIENCE, EPOCH), CapabilityProblem)


def test_the_counter_counts() -> None:
    """More blocks take more lines, so that the bound is one of something."""
    assert lines_run(HONEST["eight blocks"])[0] > 3 * lines_run(HONEST["one block"])[0]


def test_hostile_texts_are_as_long_as_texts_may_be() -> None:
    """All but the few that say otherwise use the room there is."""
    short = [name for name, text in HOSTILE.items() if not 3900 <= len(text) <= 4096]
    assert short == ["a million characters", "eight blocks of one byte"]
