"""What is looked at before anything is started: a command that cannot serve ends at once and leaves nothing behind."""

import os
import socket
from collections.abc import Mapping
from contextlib import ExitStack

from remit.cli.codes import CommandError
from remit.settings import Settings, parse_listen


def check_start(settings: Settings, *, api: bool, environment: Mapping[str, str] = os.environ) -> None:
    """Vendors, prices, rules and addresses, as the processes started later will use them. Raises SettingsError, CommandError."""
    from remit.bootstrap import make_clock, make_price_book, make_workload_rules
    from remit.bootstrap.watchers import check_watchers
    from remit.gateway.deployments import open_deployments

    open_deployments(settings, environment)
    make_price_book(settings)
    make_workload_rules(settings)
    check_watchers(settings, make_clock(settings), environment)
    with ExitStack() as bound:
        # The first address stays bound while the second is tried: they must not be the same.
        bound.enter_context(_bound("gateway", settings.gateway.listen, "--listen"))
        if api:
            bound.enter_context(_bound("API", settings.api.listen, "`api.listen` or $REMIT_API_LISTEN"))
        if settings.metrics.gateway_listen is not None:
            bound.enter_context(
                _bound("gateway's metrics", settings.metrics.gateway_listen, "`metrics.gateway_listen`")
            )
        if settings.metrics.listen is not None and api:
            bound.enter_context(_bound("metrics", settings.metrics.listen, "`metrics.listen`"))


def _bound(who: str, listen: str, says: str) -> socket.socket:
    host, port = parse_listen(listen)
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except (OSError, UnicodeError) as error:
        # The library adds the address in brackets, in its own form.
        why = (getattr(error, "strerror", None) or str(error)).partition(" (while")[0]
        raise CommandError(
            f"the {who} cannot listen on `{listen}`: {why[:1].lower()}{why[1:]}; {says} names another address"
        ) from None
