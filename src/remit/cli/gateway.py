"""`remit gateway`: the data plane alone."""

from remit.cli.options import Where
from remit.cli.up import Listen, VendorUrl, Workers, gateway_overrides


def gateway(
    *,
    listen: Listen = None,
    workers: Workers = None,
    vendor_url: VendorUrl = None,
    where: Where | None = None,
) -> int:
    """Run a gateway alone, over the database of an authority that runs elsewhere.

    The database is named by $REMIT_GATEWAY_DATABASE_URL (or `gateway_database_url`), else $REMIT_DATABASE_URL (or
    `database_url`); the login needs the role remit_gateway and nothing more. Its schema is left alone.
    """
    from remit.bootstrap import make_clock
    from remit.cli.before_start import check_start
    from remit.cli.logs import set_up_logs
    from remit.cli.running import run_gateways
    from remit.cli.session import settings_of
    from remit.settings import SettingsError
    from remit.store.connect import connect

    settings = settings_of(where, gateway_overrides(listen, workers, vendor_url))
    url = settings.gateway_database_url or settings.database_url
    if url is None:
        raise SettingsError("a gateway alone needs `gateway_database_url` or $REMIT_GATEWAY_DATABASE_URL")
    connect(url, "remit_gateway").close()
    check_start(settings, api=False)
    set_up_logs()
    return run_gateways(settings, url, make_clock(settings), upkeep=None)
