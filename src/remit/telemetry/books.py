"""The authority's page: what the database says when somebody looks."""

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final

from remit.store.postgres_gauges import Gauge

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry
    from prometheus_client.metrics_core import Metric

WORDS: Final = {
    "deliveries": "Messages to people that have not arrived.",
    "entries_seq": "The newest number in the ledger.",
    "gateways": "Gateway processes seen in the last half minute.",
    "grant_spend_nanousd": "What each grant was charged in this billing month, in nano-USD.",
    "holds_open": "Holds of calls that run.",
    "holds_overdue": "Holds whose time is up and that nobody ended.",
    "jobs": "Jobs that are not done.",
    "rollup_lag_entries": "Numbers of entries that are not in the sums that reports read.",
    "sealed_entries": "Entries in the ledger's tree.",
    "sink_failed_attempts": "Attempts to feed a sink that failed since the last one that did not.",
    "sink_lag_entries": "Numbers of entries that a sink has not been fed.",
    "sink_letters": "Entries that a sink refused for good.",
    "spend_nanousd": "What was charged in this billing month, in nano-USD.",
    "suspense_nanousd": "What was booked at its ceiling and waits for evidence, in nano-USD.",
    "tickets_open": "Tickets that wait for somebody.",
    "tree_revision": "The tree's revision.",
    "tree_revision_lag": "How many revisions the gateway is behind that is most.",
    "unsealed_entries": "Numbers of entries that are not in the ledger's tree yet.",
}


class Books:
    """A collector over `read`, for a registry."""

    def __init__(self, read: Callable[[], Sequence[Gauge]]) -> None:
        self._read = read

    def collect(self) -> "Iterator[Metric]":
        """One family of numbers for each name."""
        from prometheus_client.core import GaugeMetricFamily  # noqa: PLC0415 - not everybody's

        for name, rows in groupby(self._read(), itemgetter(0)):
            several: list[Any] = list(rows)
            labels = sorted(several[0][1])
            family = GaugeMetricFamily(f"remit_{name}", WORDS[name], labels=labels)
            for _, said, value in several:
                family.add_metric([str(said[label]) for label in labels], value)
            yield family

    def describe(self) -> "list[Metric]":
        """Nothing: the database is asked only when somebody looks."""
        return []


def register(registry: "CollectorRegistry", read: Callable[[], Sequence[Gauge]]) -> None:
    """Shows what `read` answers on the page."""
    registry.register(Books(read))
