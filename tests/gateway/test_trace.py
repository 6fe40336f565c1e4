"""Which trace a request belongs to: W3C Trace Context, read strictly, and ignored where it cannot be."""

import pytest

from remit.gateway.operations import trace_id_of
from remit.gateway.watching import Watching
from remit.gateway.wire.exchange import Exchange

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


class Traced(Exchange):
    """A request as far as its trace is concerned."""

    def __init__(self, *values: str) -> None:
        self.headers = [(b"traceparent", value.encode("latin-1")) for value in values]


@pytest.mark.parametrize(
    "value",
    [f"00-{TRACE}-{SPAN}-01", f"00-{TRACE}-{SPAN}-00", f"01-{TRACE}-{SPAN}-01", f"cc-{TRACE}-{SPAN}-09-more-of-it"],
)
def test_the_trace_id_is_read(value: str) -> None:
    """Sampled or not, and of later versions whatever stands behind what is known."""
    assert trace_id_of(Traced(value)) == TRACE


@pytest.mark.parametrize(
    "value",
    [
        "", TRACE, f"00-{TRACE}-{SPAN}", f"00-{TRACE}-{SPAN}-01-more", f"ff-{TRACE}-{SPAN}-01", f"0-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01", f"00-{TRACE}-{'0' * 16}-01", f"00-{TRACE.upper()}-{SPAN}-01", f"00-{TRACE[1:]}-{SPAN}-01",
        f"00-{TRACE}a-{SPAN}-01", f"00-{TRACE}-{SPAN}-1", f"00-{TRACE}-{SPAN}-01 ", f"01-{TRACE}-{SPAN}-01x", f"00_{TRACE}_{SPAN}_01",
        f"00-{TRACE[:-1]}é-{SPAN}-01",
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_no_trace(value: str) -> None:
    """The request goes on without one."""
    assert trace_id_of(Traced(value)) is None


def test_two_are_none() -> None:
    """Which of them would count is not ours to choose."""
    assert trace_id_of(Traced()) is None
    assert trace_id_of(Traced(f"00-{TRACE}-{SPAN}-01", f"00-{TRACE}-{SPAN}-01")) is None


def test_vendors_hear_of_the_gateways_span_only_if_told_to() -> None:
    """Then it is a span of the caller's trace and not the caller's own."""
    caller = Traced(f"00-{TRACE}-{SPAN}-01")
    assert Watching(watches=()).begin(caller).for_vendor == b""
    header = Watching(watches=(), to_vendors=True).begin(caller).for_vendor.decode()
    assert header.startswith(f"traceparent: 00-{TRACE}-") and header.endswith("-01\r\n") and SPAN not in header
