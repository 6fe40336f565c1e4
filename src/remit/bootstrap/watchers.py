"""Who watches the calls of one gateway process, and who the books, as the settings say."""

import ssl
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from remit.gateway.watching import NOBODY, Watchers, Watching
from remit.kernel.clock import Clock
from remit.notify.calls import Endpoint
from remit.settings import Settings, SettingsError, TelemetrySettings, metrics_token, telemetry_headers
from remit.store.postgres_gauges import PostgresGauges
from remit.telemetry.call import Watch

if TYPE_CHECKING:
    from remit.telemetry.pages import MetricsServer
    from remit.telemetry.sender import Sender


class _Watchers:
    """A sender of spans, a page of counts, or both."""

    def __init__(self, watching: Watching, sender: "Sender | None", page: "MetricsServer | None") -> None:
        self.watching: Watching | None = watching
        self._sender = sender
        self._page = page
        self.gauges: Callable[[Callable[[], int], Callable[[], int]], None] = lambda _, __: None

    def start(self, revision: Callable[[], int], running: Callable[[], int]) -> None:
        self.gauges(revision, running)
        for one in (self._sender, self._page):
            if one is not None:
                one.start()

    def stop(self) -> None:
        for one in (self._page, self._sender):
            if one is not None:
                one.stop()


def open_watchers(settings: Settings, clock: Clock, number: int, environment: Mapping[str, str]) -> Watchers:
    """Nobody, unless the settings name a collector or an address. `number` is which process of its parent's this is.

    Raises SettingsError for what cannot be used, OSError for an address that is taken.
    """
    telemetry, watches = settings.telemetry, list[Watch]()
    sender = _sender(settings, clock, environment)
    if sender is not None:
        watches.append(sender.offer)
    if settings.metrics.gateway_listen is None:
        if sender is None:
            return NOBODY
        return _Watchers(_watching(settings, watches), sender, None)
    from remit.telemetry.pages import CallCounters, MetricsServer, add_gauge, new_registry  # noqa: PLC0415 - rare

    registry = new_registry()
    watches.append(CallCounters(registry, grant_paths=settings.metrics.grant_paths).count)
    page = MetricsServer(
        settings.metrics.gateway_listen, registry, metrics_token(settings.metrics, environment), number=number
    )
    watchers = _Watchers(_watching(settings, watches), sender, page)

    def gauges(revision: Callable[[], int], running: Callable[[], int]) -> None:
        add_gauge(registry, "remit_gateway_tree_revision", "The tree this process goes by.", revision)
        add_gauge(registry, "remit_gateway_calls_running", "Calls that are with vendors.", running)
        if sender is not None and telemetry.otlp_endpoint is not None:
            what = "Calls the collector is not told of."
            add_gauge(registry, "remit_gateway_telemetry_dropped", what, lambda: sender.dropped)

    watchers.gauges = gauges
    return watchers


def open_books_page(settings: Settings, gauges: PostgresGauges) -> "MetricsServer | None":
    """The page of the books' numbers, bound and not started; None where none is wanted. Raises OSError where its address is taken."""
    terms = settings.metrics
    if terms.listen is None:
        return None
    from remit.telemetry.books import register  # noqa: PLC0415 - only who shows a page needs it
    from remit.telemetry.pages import MetricsServer, new_registry  # noqa: PLC0415 - as above

    registry = new_registry()
    register(registry, gauges.read)
    return MetricsServer(terms.listen, registry, metrics_token(terms))


def check_watchers(settings: Settings, clock: Clock, environment: Mapping[str, str]) -> None:
    """Raises SettingsError for what gateways, or the authority, could not watch with; opens nothing."""
    _sender(settings, clock, environment)
    terms = settings.metrics
    addresses = [one for one in (terms.listen, terms.gateway_listen) if one is not None]
    if not addresses:
        return
    from remit.telemetry.pages import new_registry, require_private  # noqa: PLC0415 - rare

    new_registry()
    token = metrics_token(terms, environment)
    for address in addresses:
        require_private(address, token)


def _watching(settings: Settings, watches: list[Watch]) -> Watching:
    terms = settings.telemetry
    to_vendors = terms.trace_context_to_vendors and terms.otlp_endpoint is not None
    return Watching(watches=tuple(watches), sample_percent=terms.sample_percent, to_vendors=to_vendors)


def _sender(settings: Settings, clock: Clock, environment: Mapping[str, str]) -> "Sender | None":
    terms = settings.telemetry
    if terms.otlp_endpoint is None:
        return None
    from remit.telemetry.sender import Sender  # noqa: PLC0415 - only who tells a collector needs it

    headers = telemetry_headers(terms, environment)
    try:
        endpoint = Endpoint(
            base_url=terms.otlp_endpoint,
            clock=clock,
            headers=headers,
            secrets=tuple(headers.values()),
            timeout_seconds=terms.timeout_seconds,
            ca_file=terms.ca_file,
            tls=_tls(terms) if terms.otlp_endpoint.startswith("https:") else None,
        )
    except OSError as error:
        raise SettingsError(f"`telemetry.ca_file` cannot be used: {error}") from None
    except ValueError as error:
        raise SettingsError(f"`telemetry.otlp_endpoint`: {error}") from None
    return Sender(terms, endpoint, clock)


def _tls(terms: TelemetrySettings) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=None if terms.ca_file is None else str(terms.ca_file))
