"""What a request came to, gathered while it is served, for those who watch. Without any there is nothing to gather."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from remit.gateway.decide import Admission
from remit.gateway.operations import parent_of
from remit.gateway.settlement import VendorResult
from remit.gateway.wire.exchange import Exchange
from remit.kernel.decisions import Refused
from remit.leases.model import Ending, WantedHold
from remit.telemetry.call import Call, Outcome, Trace, Watch, trace_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Watching:
    """Who is told of calls. `to_vendors` says whether vendors hear of the trace: only where the operator wants it."""

    watches: Sequence[Watch]
    sample_percent: float = 100.0
    to_vendors: bool = False

    def begin(self, exchange: Exchange) -> "Seen":
        """Begins to gather."""
        return Seen(self, trace_of(parent_of(exchange), self.sample_percent))


class Watchers(Protocol):
    """Those who watch one gateway process, and what they need to begin and to end."""

    @property
    def watching(self) -> Watching | None:
        """None where nobody watches."""

    def start(self, revision: Callable[[], int], running: Callable[[], int]) -> None:
        """Begins; the two say which tree the process goes by, and how many calls run."""

    def stop(self) -> None:
        """Ends, in a few seconds at most."""


class _Nobody:
    watching = None

    def start(self, revision: Callable[[], int], running: Callable[[], int]) -> None:
        """Nothing begins."""

    def stop(self) -> None:
        """Nothing ends."""


NOBODY: Watchers = _Nobody()


class Seen:
    """One request so far. What was settled is not taken back by a refusal that comes after it."""

    __slots__ = ("_admission", "_cost", "_ending", "_hold", "_outcome", "_refused", "_result", "_watching", "trace")

    def __init__(self, watching: Watching, trace: Trace) -> None:
        self.trace = trace
        self._watching = watching
        self._outcome: Outcome = "other"
        self._refused: Refused | None = None
        self._admission: Admission | None = None
        self._hold: WantedHold | None = None
        self._result: VendorResult | None = None
        self._ending: Ending | None = None
        self._cost = 0

    @property
    def for_vendor(self) -> bytes:
        """The header of the trace for a vendor, nothing unless it is to have one."""
        return b"traceparent: %b\r\n" % self.trace.traceparent.encode() if self._watching.to_vendors else b""

    def refused(self, refused: Refused) -> None:
        self._refused = refused
        if self._ending is None:
            self._outcome = "refused"

    def admitted(self, admission: Admission, hold: WantedHold) -> None:
        self._admission, self._hold, self._outcome = admission, hold, "voided"

    def ended(self, result: VendorResult, ending: Ending, cost_nanousd: int) -> None:
        self._result, self._ending, self._cost, self._outcome = result, ending, cost_nanousd, ending.outcome

    def failed(self, cost_nanousd: int) -> None:
        self._outcome, self._cost = "failed", cost_nanousd

    def tell(self, ids: tuple[str, str], begun: datetime, now: datetime) -> None:
        """Tells everybody who watches. What is no call for a model and was not refused is no news."""
        if self._outcome != "other":
            call = self._call(ids, begun, (now - begun).total_seconds())
            for watch in self._watching.watches:
                watch(call)

    def _call(self, ids: tuple[str, str], begun: datetime, seconds: float) -> Call:
        refused, admission, result = self._refused, self._admission, self._result
        facts = None if result is None else result.facts
        status = refused.status if refused is not None else None if result is None else result.status
        if result is not None and refused is None and (result.broken is not None or result.status is None):
            status = 502
        return Call(
            request_id=ids[0],
            decision_id=ids[1],
            trace=self.trace,
            begun=begun,
            seconds=max(seconds, 0.0),
            outcome=self._outcome,
            status=500 if self._outcome == "failed" else status,
            refusal=None if refused is None else refused.code.name,
            binding_node=None if refused is None else refused.binding_node,
            path=admission.path if admission is not None else None if refused is None else refused.path,
            grant_class=None if admission is None else admission.principal.leaf.grant.grant_class,
            vendor=None if admission is None else admission.deployment.vendor,
            deployment=None if admission is None else admission.deployment.name,
            model=None if admission is None else admission.request.model,
            model_served=None if facts is None else facts.served_model,
            vendor_request_id=None if facts is None else facts.vendor_request_id,
            vendor_status=None if result is None else result.status,
            usage=None if facts is None else facts.usage,
            cost_nanousd=self._cost,
            ceiling_nanousd=None if self._hold is None else self._hold.ceiling_nanousd,
        )
