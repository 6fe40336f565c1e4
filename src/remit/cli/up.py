"""`remit up`: authority and gateway on one machine."""

from typing import Annotated, Any

from cyclopts import Parameter

from remit.cli.options import Where

Listen = Annotated[str | None, Parameter(help="host:port of the gateway; else as set, else 127.0.0.1:8400.")]
Workers = Annotated[int | None, Parameter(help="How many gateway processes; else as set, else 1.")]
VendorUrl = Annotated[
    str | None,
    Parameter(help="Base URL of one OpenAI-compatible vendor that needs no key, instead of the vendors set."),
]


def up(
    *,
    listen: Listen = None,
    workers: Workers = None,
    vendor_url: VendorUrl = None,
    where: Where | None = None,
) -> int:
    """Run authority and gateway on this machine, over the embedded PostgreSQL or your own.

    Makes the database and the issuer key on the first run. Logs go to standard error, one JSON object a line. Ends on
    Ctrl-C or SIGTERM, after the calls under way.
    """
    import structlog

    from remit.bootstrap import Authority, gateway_database
    from remit.cli.before_start import check_start
    from remit.cli.codes import CommandError
    from remit.cli.logs import set_up_logs
    from remit.cli.running import run_gateways
    from remit.cli.session import settings_of, started_database
    from remit.store.connect import readable_address

    set_up_logs()
    _log = structlog.get_logger(__name__)
    settings = settings_of(where, gateway_overrides(listen, workers, vendor_url))
    for address in (settings.database_url, settings.gateway_database_url):
        if address is not None:
            readable_address(address)
    check_start(settings, api=True)
    url = started_database(settings)
    authority = Authority(settings, url, source="upkeep")
    authority.make_issuer_known()
    first = authority.first_admin_token() if settings.database_url is None else None
    if first is not None:
        _log.info("first_admin_token", file=str(first))
    try:
        api = authority.api()
    except OSError as error:
        raise CommandError(f"the API cannot listen on `{settings.api.listen}`: {error.strerror}") from None
    try:
        metrics = authority.metrics()
    except OSError as error:
        raise CommandError(f"the metrics cannot listen on `{settings.metrics.listen}`: {error.strerror}") from None
    at = gateway_database(settings, url)
    return run_gateways(settings, at, authority.clock, authority.upkeep(), api, metrics)


def gateway_overrides(listen: str | None, workers: int | None, vendor_url: str | None) -> dict[str, Any]:
    """What the command line says about the gateway, in the shape of the settings file."""
    table = {"listen": listen, "workers": workers}
    overrides: dict[str, Any] = {"gateway": {name: value for name, value in table.items() if value is not None}}
    if vendor_url is not None:
        overrides["vendors"] = {"openai": {"base_url": vendor_url}}
    return overrides
