"""`remit doctor`: whether everything is as it has to be."""

import os
import re
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from remit.cli.codes import EXIT_DIFFERENCES, EXIT_OK
from remit.cli.options import Json, Where

if TYPE_CHECKING:
    from remit.ledger.model import CheckResult
    from remit.settings import Settings

_MAX_SHOWN = 20
# As the database writes an instant in a text.
_INSTANT = re.compile(r"(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d(?:\.\d+)?)\+00(?::00)?")


def doctor(*, json: Json = False, where: Where | None = None) -> int:
    """Check database, keys, books and jobs; exit 1 if anything differs.

    Looks and changes nothing. The books: buckets equal the ledger and the open holds, every ended hold was booked once,
    no hold is open after its time, no entry was altered, every report sums to the ledger. The audit: no
    row was altered, and everything is as the last row about it says. The seals: the ledger's tree is the one that was signed
    last, and goes on growing. A vendor's key that only the
    gateway's environment has is a note, not a difference; so is what PostgreSQL gives to readers' logins and only a superuser
    can take. The jobs: none failed for good that was not done since, none
    waits for minutes.
    """
    from remit.cli.output import console, print_json, progress
    from remit.cli.session import open_url, settings_of

    settings = settings_of(where)
    url = open_url(settings)
    results = list(progress(_results(settings, url), "checking", total=7))
    # In a schema of another version the roles that are looked at may be missing.
    notes = [*_notes(settings), *([] if results[0].differences else _open_to_readers(url))]
    healthy = not any(one.differences for one in results)
    if json:
        print_json({"healthy": healthy, "checks": results, "notes": notes})
    else:
        out = console()
        for result in results:
            for line in _lines(result):
                out.print(line)
        for note in notes:
            out.print(f"note    {note}")
        found = sum(len(one.differences) for one in results)
        print("healthy" if healthy else f"{found:,} difference{'s' if found != 1 else ''}")
    return EXIT_OK if healthy else EXIT_DIFFERENCES


def _results(settings: "Settings", url: str) -> "Iterator[CheckResult]":
    from remit.bootstrap import make_clock
    from remit.bootstrap.seals import check_seals
    from remit.ledger.model import CheckResult
    from remit.ledger.service import check_books
    from remit.store.connect import opener
    from remit.store.migrate import migrations
    from remit.store.postgres_audit import PostgresAudit
    from remit.store.postgres_jobs import PostgresJobs
    from remit.store.postgres_ledger import PostgresLedger, migration_differences
    from remit.store.postgres_seals import PostgresSeals

    schema = migration_differences(url)
    yield CheckResult("migrations", "the database has this version's schema", len(migrations()), tuple(schema))
    yield _issuer_key(settings)
    yield _vendors(settings)
    yield _prices(settings)
    # Checks of the books would only trip over a schema that is another one.
    if not schema:
        opens = opener(url, "remit_authority")
        yield PostgresJobs(opens).check()
        reads = opener(url, "remit_reader")
        yield check_seals(settings, PostgresSeals(reads))
        yield from _with_paths(
            [*check_books(PostgresLedger(reads, make_clock(settings))), PostgresAudit(opens).check()], url
        )


def _with_paths(results: "Iterable[CheckResult]", url: str) -> "Iterator[CheckResult]":
    """The same results, with the path of a grant before its id wherever a difference is about one."""
    from dataclasses import replace

    from remit.store.postgres_grants import PostgresGrants

    paths: dict[str, str] = {}
    for result in results:
        if result.differences and not paths:
            with PostgresGrants(url).read() as reads:
                paths = {grant.id: grant.path for grant in reads.load_tree()}
        named = tuple(
            replace(one, subject=_named(one.subject, paths), found=_with_iso(one.found)) for one in result.differences
        )
        yield replace(result, differences=named)


def _with_iso(found: object) -> object:
    return _INSTANT.sub(r"\1T\2Z", found) if isinstance(found, str) else found


def _named(subject: str, paths: dict[str, str]) -> str:
    subject = _INSTANT.sub(r"\1T\2Z", subject)
    named = next((grant_id for grant_id in paths if grant_id in subject), None)
    return subject if named is None else f"{paths[named]} ({subject})"


def _issuer_key(settings: "Settings") -> "CheckResult":
    from remit.bootstrap import ISSUER_KEY_FILE, load_or_create_issuer_key

    path = settings.data_dir / ISSUER_KEY_FILE
    if not path.exists():
        return _found("issuer_key", "no issuer key yet; the first access key makes it", str(path), "", 0)
    title = "the issuer key can be read, and by its owner alone"
    return _checked("issuer_key", title, str(path), lambda: load_or_create_issuer_key(settings.data_dir))


def _vendors(settings: "Settings") -> "CheckResult":
    from msgspec.structs import replace

    from remit.gateway.deployments import open_deployments
    from remit.ledger.model import CheckResult, Difference
    from remit.settings import SettingsError

    # What the gateway was started with may be missing here; everything else about the vendor is looked at all the same.
    environment = {**{variable: "unknown" for variable, _ in _absent_keys(settings)}, **os.environ}
    differences = []
    for name, vendor in settings.vendors.items():
        try:
            open_deployments(replace(settings, vendors={name: vendor}), environment)
        except SettingsError as error:
            differences.append(Difference("vendor_keys", name, None, str(error)))
    title = "the gateway can use every vendor as it is set"
    return CheckResult("vendor_keys", title, len(settings.vendors), tuple(differences))


def _notes(settings: "Settings") -> list[str]:
    return [
        f"`{variable}`, the key of vendor `{name}`, is not set here; a gateway needs it where it is started"
        for variable, name in _absent_keys(settings)
    ]


def _open_to_readers(url: str) -> list[str]:
    from remit.cli.words import still_open
    from remit.store.closing import open_to_readers

    found = open_to_readers(url)
    return [still_open(found)] if found else []


def _absent_keys(settings: "Settings") -> list[tuple[str, str]]:
    """Environment variables that hold a vendor's key and are not set in this environment, with the vendor."""
    return [
        (vendor.api_key_env, name)
        for name, vendor in settings.vendors.items()
        if vendor.api_key_env and vendor.api_key_file is None and not os.environ.get(vendor.api_key_env)
    ]


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
