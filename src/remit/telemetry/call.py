"""What is told of one request. There is no field for what was asked or answered."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from remit.kernel.usage import Usage

Outcome = Literal["settled", "voided", "suspense", "refused", "failed", "other"]


@dataclass(frozen=True, slots=True)
class Trace:
    """Where a span belongs: W3C ids in hex. `parent_id` is the caller's span, None where the trace begins here."""

    trace_id: str
    span_id: str
    parent_id: str | None
    sampled: bool

    @property
    def traceparent(self) -> str:
        """The header for whoever is called next."""
        return f"00-{self.trace_id}-{self.span_id}-{'01' if self.sampled else '00'}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request and how it ended. `status` is what the caller was answered, `refusal` a refusal's code. Amounts in nano-USD."""

    request_id: str
    decision_id: str
    trace: Trace
    begun: datetime
    seconds: float
    outcome: Outcome
    status: int | None
    refusal: str | None = None
    binding_node: str | None = None
    path: str | None = None
    grant_class: str | None = None
    vendor: str | None = None
    deployment: str | None = None
    model: str | None = None
    model_served: str | None = None
    vendor_request_id: str | None = None
    vendor_status: int | None = None
    usage: Usage | None = None
    cost_nanousd: int = 0
    ceiling_nanousd: int | None = None


Watch = Callable[[Call], None]
"""Takes a call in no time, and raises nothing."""


def trace_of(parent: tuple[str, str, bool] | None, sample_percent: float) -> Trace:
    """A new span in the caller's trace, or in one of its own. Whether it is sent follows from the trace's id, and from the caller's no.

    Everybody who goes by the same percentage decides the same about one trace.
    """
    trace_id = secrets.token_hex(16) if parent is None else parent[0]
    drawn = int(trace_id[16:], 16) / 2**64 * 100 < sample_percent
    return Trace(
        trace_id, secrets.token_hex(8), None if parent is None else parent[1], drawn and (parent is None or parent[2])
    )
