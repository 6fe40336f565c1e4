"""Open-loop load: traces and generated workloads, a light HTTP client, exact percentiles; see the README beside this."""

from remit.testing.load.client import Answer, Call, LoadClient
from remit.testing.load.percentiles import Sample
from remit.testing.load.schedule import open_loop
from remit.testing.load.trace import Arrival, TraceError, TraceSummary, read_trace, summarise
from remit.testing.load.workload import CONVERSATION, WorkloadModel, generate

__all__ = [
    "CONVERSATION",
    "Answer",
    "Arrival",
    "Call",
    "LoadClient",
    "Sample",
    "TraceError",
    "TraceSummary",
    "WorkloadModel",
    "generate",
    "open_loop",
    "read_trace",
    "summarise",
]
