"""`remit doctor`: whether everything is as it has to be."""

import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from remit.cli.codes import EXIT_DIFFERENCES, EXIT_OK
from remit.cli.options import Json, Where

if TYPE_CHECKING:
    from remit.ledger.model import CheckResult
    from remit.settings import Settings

_MAX_SHOWN = 20


def doctor(*, json: Json = False, where: Where | None = None) -> int:
    """Check database, keys and books; exit 1 if anything differs.

    Looks and changes nothing. The books: buckets equal the ledger and the open holds, every ended hold was booked once,
    no hold is open after its time, no entry was altered, every report sums to the ledger.
    """
    from remit.cli.output import console, print_json, progress
    from remit.cli.session import open_url, settings_of

    settings = settings_of(where)
    url = open_url(settings)
    results = list(progress(_results(settings, url), "checking", total=5))
    healthy = not any(one.differences for one in results)
    if json:
        print_json({"healthy": healthy, "checks": results})
    else:
        out = console()
        for result in results:
            for line in _lines(result):
                out.print(line)
        found = sum(len(one.differences) for one in results)
        print("healthy" if healthy else f"{found:,} difference{'s' if found != 1 else ''}")
    return EXIT_OK if healthy else EXIT_DIFFERENCES


def _results(settings: "Settings", url: str) -> "Iterator[CheckResult]":
    from remit.bootstrap import make_clock
    from remit.ledger.model import CheckResult
    from remit.ledger.service import check_books
    from remit.store.migrate import migrations
    from remit.store.postgres_ledger import PostgresLedger, migration_differences

    schema = migration_differences(url)
    yield CheckResult("migrations", "the database has this version's schema", len(migrations()), tuple(schema))
    yield _issuer_key(settings)
    yield _vendor_keys(settings)
    yield _prices(settings)
    # Checks of the books would only trip over a schema that is another one.
    if not schema:
        yield from check_books(PostgresLedger(url, make_clock(settings)))


def _issuer_key(settings: "Settings") -> "CheckResult":
    from remit.bootstrap import ISSUER_KEY_FILE, load_or_create_issuer_key

    path = settings.data_dir / ISSUER_KEY_FILE
    if not path.exists():
        return _found("issuer_key", "no issuer key yet; the first access key makes it", str(path), "", 0)
    title = "the issuer key can be read, and by its owner alone"
    return _checked("issuer_key", title, str(path), lambda: load_or_create_issuer_key(settings.data_dir))


def _vendor_keys(settings: "Settings") -> "CheckResult":
    from remit.ledger.model import CheckResult, Difference
    from remit.settings import SettingsError, vendor_key

    differences = []
    for name, vendor in settings.vendors.items():
        try:
            vendor_key(name, vendor, os.environ)
        except SettingsError as error:
            differences.append(Difference("vendor_keys", name, None, str(error)))
    title = "every vendor has the key its settings name"
    return CheckResult("vendor_keys", title, len(settings.vendors), tuple(differences))


def _prices(settings: "Settings") -> "CheckResult":
    from remit.bootstrap import make_price_book

    title = "the price overrides of the settings can be read"
    return _checked("prices", title, "prices", lambda: make_price_book(settings), len(settings.prices))


def _checked(
    name: str,
    title: str,
    subject: str,
    look: Callable[[], object],
    examined: int = 1,
) -> "CheckResult":
    from remit.settings import SettingsError

    try:
        look()
    except SettingsError as error:
        return _found(name, title, subject, str(error), examined)
    return _found(name, title, subject, "", examined)


def _found(name: str, title: str, subject: str, trouble: str, examined: int) -> "CheckResult":
    from remit.ledger.model import CheckResult, Difference

    differences = (Difference(name, subject, None, trouble),) if trouble else ()
    return CheckResult(name, title, examined, differences)


def _lines(result: "CheckResult") -> "Iterator[object]":
    from rich.text import Text

    word, style = ("differs", "bold red") if result.differences else ("ok", "green")
    yield Text.assemble((f"{word:<8}", style), f"{result.title} ({result.examined:,} examined)")
    for one in result.differences[:_MAX_SHOWN]:
        wanted = "" if one.expected is None else f"expected {one.expected}, found "
        yield Text(f"        {one.subject}: {wanted}{one.found}")
    rest = len(result.differences) - _MAX_SHOWN
    if rest > 0:
        yield Text(f"          and {rest:,} more; --json lists them all")
