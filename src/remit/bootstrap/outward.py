"""What carries the ledger to other systems, as the settings say: sinks and exports."""

import csv
import io
from collections.abc import Callable
from datetime import UTC, date, datetime, time
from functools import partial
from pathlib import Path

from remit.bootstrap.parts import focus_naming, opens_archive
from remit.jobs.exporter import Exporter
from remit.jobs.feeder import Feeder, OpenSink
from remit.kernel.clock import Clock
from remit.kernel.money import format_usd
from remit.ledger.cells import text_cell
from remit.ledger.model import REPORT_SUMS
from remit.ledger.service import spend_report
from remit.notify.calls import Endpoint
from remit.notify.signature import Signer
from remit.reports.events import Shaping
from remit.reports.focus.columns import DATASETS
from remit.reports.focus.service import dataset_rows
from remit.reports.schedule import Schedule
from remit.settings import ExportSettings, Settings, SettingsError, SinkSettings, sink_secret
from remit.store.postgres_focus import open_month
from remit.store.postgres_ledger import PostgresLedger
from remit.store.postgres_sinks import PostgresSinks
from remit.store.table_files import NoParquetError, require_parquet, write_table
from remit.store.whole_files import whole_file

_READABLE = 0o640


def make_feeders(settings: Settings, sinks: PostgresSinks, clock: Clock) -> list[Feeder]:
    """One for each sink; none is asked anything yet. Raises SettingsError for one that cannot be used."""
    return [Feeder(open_sink(one, clock), sinks) for one in settings.sinks]


def open_sink(terms: SinkSettings, clock: Clock) -> OpenSink:
    """A sink with its secrets read. Raises SettingsError."""
    token, secret = sink_secret(terms, "token"), sink_secret(terms, "secret")
    try:
        endpoint = Endpoint(
            base_url=terms.url,
            clock=clock,
            headers={} if token is None else {"authorization": f"Bearer {token}"},
            secrets=() if token is None else (token,),
            timeout_seconds=terms.timeout_seconds,
            ca_file=terms.ca_file,
        )
    except ValueError as error:
        raise SettingsError(f"`sinks.{terms.name}.url`: {error}") from None
    shaping = Shaping(
        shape=terms.kind,
        source=terms.source,
        type=terms.type,
        code=terms.code,
        value=terms.value,
        subject=terms.subject,
        subjects=terms.subjects,
        subject_else=terms.subject_else,
        tags=None if terms.tags is None else frozenset(terms.tags),
    )
    return OpenSink(
        name=terms.name,
        endpoint=endpoint,
        shaping=shaping,
        kinds=frozenset(terms.kinds),
        batch=terms.batch,
        begins=terms.begins(),
        signer=None if secret is None else Signer(secret.encode(), clock),
    )


def make_exporters(
    settings: Settings, url: str, ledger: PostgresLedger, sinks: PostgresSinks, clock: Clock
) -> list[Exporter]:
    """One for each export. Raises SettingsError for one that cannot be written here."""
    made = []
    for one in settings.exports:
        if one.path.endswith(".parquet"):
            try:
                require_parquet()
            except NoParquetError as error:
                raise SettingsError(f"`exports.{one.name}`: {error}") from None
        write: Callable[[date, date, Path], int] = (
            partial(_write_focus, settings, url, one) if one.what == "focus" else partial(_write_report, ledger, one)
        )
        made.append(Exporter(one.name, Schedule(one.when, one.hour, one.day), one.path, write, sinks, clock))
    return made


def _write_focus(settings: Settings, url: str, terms: ExportSettings, month: date, _: date, path: Path) -> int:
    with open_month(url, month, opens_archive(settings)) as books:
        rows = dataset_rows("cost-and-usage", books, focus_naming(settings), terms.grain)
        return write_table(path, DATASETS["cost-and-usage"], rows)


def _write_report(ledger: PostgresLedger, terms: ExportSettings, begin: date, end: date, path: Path) -> int:
    report = spend_report(ledger, terms.by, _midnight(begin), _midnight(end))
    text = io.StringIO(newline="")
    lines = csv.writer(text, lineterminator="\r\n")
    lines.writerow([*terms.by, *REPORT_SUMS, "amount_usd"])
    for row in report.rows:
        numbers = [getattr(row, name) for name in REPORT_SUMS]
        lines.writerow(
            [*map(text_cell, row.group), *numbers, format_usd(row.amount_nanousd).replace("$", "").replace(",", "")]
        )
    with whole_file(path, _READABLE) as file:
        file.write(text.getvalue().encode())
    return len(report.rows)


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)
