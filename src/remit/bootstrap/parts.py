"""Parts that stand alone, as the settings say: database, clock, prices, rules, names, who asks vendors."""

from typing import TYPE_CHECKING

import msgspec

from remit.findings.model import Bounds
from remit.kernel.clock import Clock, ShiftedClock, SystemClock
from remit.kernel.money import parse_usd
from remit.notify.calls import Endpoint
from remit.pricing.book import LayeredPriceBook
from remit.pricing.genai import GenaiCatalogue
from remit.pricing.overrides import parse_overrides
from remit.reconcile.matching.cells import Tolerance
from remit.reconcile.matching.registry import Registered
from remit.reports.focus.names import Naming, Stated
from remit.settings import Settings, SettingsError, statement_key
from remit.store.archived_seals import ArchiveUnreadableError, OpensArchive, ReadsArchive
from remit.store.connect import Reader, opener
from remit.store.embedded import gateway_login, reader_login, start_embedded
from remit.store.migrate import migrate
from remit.store.postgres_archive import PostgresArchive

if TYPE_CHECKING:
    from remit.api.reconciling import ReconcileTerms
    from remit.api.workload_rules import WorkloadRule
    from remit.jobs.archiving import Archiver
    from remit.pulling.vendors import Puller
    from remit.store.lake import Lake

# A page of a vendor's report: a month of days by key and model.
MAX_REPORT_BYTES = 32 * 1024 * 1024


def open_database(settings: Settings) -> str:
    """The URL of a migrated database: one's own, or the embedded one under the data directory, started if need be."""
    url = settings.database_url or start_embedded(settings.data_dir)
    migrate(url)
    return url


def gateway_database(settings: Settings, url: str) -> str:
    """The URL that gateway processes connect with, given the one of `open_database`.

    As set, else the embedded server's login for gateways. One's own database without a login for them is used as it is.
    """
    if settings.gateway_database_url is not None:
        return settings.gateway_database_url
    return url if settings.database_url is not None else gateway_login(url)


def sql_database(settings: Settings, reader: Reader | None) -> str:
    """The URL of a login that can only read, for questions in SQL; finance's on the embedded server if `reader` is None.

    Raises SettingsError for one's own database without such a login.
    """
    if settings.sql_database_url is not None:
        return settings.sql_database_url
    if settings.database_url is not None:
        raise SettingsError(
            "a question in SQL needs a login that can do no more than read: `remit db reader NAME --for finance` makes one,"
            " `sql_database_url` or $REMIT_SQL_DATABASE_URL names its address"
        )
    return reader_login(open_database(settings), reader or "finance")


def make_clock(settings: Settings) -> Clock:
    """The machine's clock, or one that begins a rehearsal now: one call for everything that is to agree on the time."""
    return ShiftedClock.starting_at(settings.clock_at) if settings.clock_at is not None else SystemClock()


def make_price_book(settings: Settings) -> LayeredPriceBook:
    """The list prices with the settings' overrides. Raises SettingsError for an override that cannot be read."""
    try:
        overrides = parse_overrides(list(settings.prices))
    except ValueError as error:
        raise SettingsError(f"`prices`: {error}") from None
    return LayeredPriceBook(overrides, GenaiCatalogue())


def make_workload_rules(settings: Settings) -> "tuple[WorkloadRule, ...]":
    """The rules by which tokens of workloads are exchanged. Raises SettingsError for one that cannot be used."""
    from remit.api.workload_rules import read_rules  # noqa: PLC0415 - a gateway process must not load it

    return read_rules(settings.workloads)


def focus_naming(settings: Settings) -> Naming:
    """Whose names the charges of each deployment carry, as set."""
    return Naming(
        {
            name: Stated(one.vendor or name, **msgspec.structs.asdict(one.billing))
            for name, one in settings.vendors.items()
        }
    )


def make_puller(settings: Settings, vendor: str, clock: Clock) -> "Puller":
    """What asks a vendor for its reports, with the admin key that the settings name. Raises SettingsError without one."""
    from remit.pulling.vendors import BASE_URLS, Puller  # noqa: PLC0415 - only the command that asks needs it

    terms = settings.reconcile.vendors.get(vendor)  # type: ignore[call-overload]
    key = None if terms is None else statement_key(vendor, terms)
    if terms is None or key is None:
        raise SettingsError(f"`reconcile.vendors.{vendor}` names no admin key: `key_file` or `key_env`")
    endpoint = Endpoint(
        base_url=terms.base_url or BASE_URLS[vendor],
        clock=clock,
        secrets=(key,),
        timeout_seconds=terms.timeout_seconds,
        ca_file=terms.ca_file,
        max_answer_bytes=MAX_REPORT_BYTES,
    )
    return Puller(vendor, endpoint, key, terms.account)


def make_reconcile_terms(settings: Settings) -> "ReconcileTerms":
    """What months are compared with, as set. Raises SettingsError for an amount or a price that cannot be read."""
    from remit.api.reconciling import ReconcileTerms  # noqa: PLC0415 - a gateway process must not load it

    terms = settings.reconcile
    auto = _usd("reconcile.auto_post_usd", terms.auto_post_usd)
    alone = _usd("reconcile.waive_usd", terms.waive_usd)
    return ReconcileTerms(
        registered=[
            Registered(
                vendor=one.vendor or name,
                deployment=name,
                account=one.vendor_account,
                project=one.vendor_project,
                key_id=one.vendor_key_id,
            )
            for name, one in settings.vendors.items()
        ],
        prices=make_price_book(settings),
        tolerances={name: Tolerance(**msgspec.structs.asdict(one)) for name, one in terms.tolerance.items()},
        unassigned=terms.unassigned,
        auto_post_nanousd=auto,
        waive_nanousd=alone,
    )


def _usd(name: str, text: str) -> int:
    try:
        return parse_usd(text)
    except ValueError as error:
        raise SettingsError(f"`{name}`: {error}") from None


def make_archiver(settings: Settings, books: PostgresArchive, clock: Clock) -> "Archiver":
    """What moves the ledger's past into the archive. Raises SettingsError where none is set, or what it needs is not installed."""
    terms = settings.archive
    path = terms.place()
    from remit.jobs.archiving import Archiver, Terms  # noqa: PLC0415 - large, and needed by nobody else
    from remit.store.delta_archive import DeltaArchive  # noqa: PLC0415 - as above

    keep = {name: months for name, months in msgspec.structs.asdict(terms.retention).items() if months is not None}
    bounds = Terms(hot_days=terms.hot_days, segment_entries=terms.segment_entries, keep_months=keep, drops=terms.drop)
    return Archiver(books, DeltaArchive(path), bounds, clock)


def opens_archive(settings: Settings) -> OpensArchive:
    """The present version of the archive, for who reads it entry by entry."""

    def opens() -> ReadsArchive:
        try:
            path = settings.archive.place()
        except SettingsError as error:
            raise ArchiveUnreadableError(str(error)) from None
        from remit.store.archive_reader import open_archive  # noqa: PLC0415 - large, and needed by nobody else

        return open_archive(path)

    return opens


def make_lake(settings: Settings, url: str, memory: str) -> "Lake":
    """The archive, if one is set, and the hot window as one table. Raises SettingsError where what it needs is not installed."""
    path = settings.archive.path
    settings.archive.require_packages()
    from remit.store.delta_archive import DeltaArchive  # noqa: PLC0415 - large, and needed by nobody else
    from remit.store.lake import Lake  # noqa: PLC0415 - as above

    return Lake(opener(url, "remit_reader"), None if path is None else DeltaArchive(path), memory)


def finding_bounds(settings: Settings) -> Bounds:
    """From when on something is a finding, as set."""
    most = settings.gateway.bearer.max_usd
    return Bounds(
        **msgspec.structs.asdict(settings.findings), bearer_max_nanousd=None if most is None else parse_usd(most)
    )
