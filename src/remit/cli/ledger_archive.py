"""`remit ledger archive` and `scan`: the ledger's past, in a Delta table."""

import re
from typing import Annotated, Literal

from cyclopts import Parameter

from remit.cli.codes import EXIT_DIFFERENCES, EXIT_OK, CommandError
from remit.cli.options import Json, Where

_MAX_ROWS = 1_000_000
_SIZE = re.compile(r"[0-9]{1,9}(\.[0-9]{1,3})?[kmgt]i?b", re.ASCII | re.IGNORECASE)


def archive(*, json: Json = False, where: Where | None = None) -> int:
    """Write the ledger's past into the archive, and take months that are wholly there out of the database.

    `remit up` does so by itself where `archive.path` is set. Entries go once their month is closed or they are older than
    `archive.hot_days`; a month leaves the database when it ended as long ago, was read back from the archive, and nothing keeps it:
    no open hold, no suspense, no legal hold, no sink that has not got it. Broken off anywhere, it goes on where it was.
    """
    from remit.cli.output import print_json, remark
    from remit.cli.session import open_authority

    authority = open_authority(where)
    archiver = authority.archiver()
    from remit.jobs.archiving import totals_text
    from remit.store.delta_archive import ArchiveError
    from remit.store.postgres_archive import ArchivedElsewhereError

    try:
        done = archiver.archive()
    except ArchivedElsewhereError:
        raise CommandError(
            "another process archives just now; it will do what is to be done", EXIT_DIFFERENCES
        ) from None
    except ArchiveError as error:
        raise CommandError(f"not archived: {error}", EXIT_DIFFERENCES) from None
    if json:
        print_json(totals_text(done))
        return EXIT_OK
    print(f"{done.entries:,} entries in {done.segments:,} segments went into the archive")
    for name in done.dropped:
        print(f"{name}: no longer in the database")
    for name in done.expired:
        print(f"{name}: no longer in the archive, its time was up")
    for name, why in done.kept.items():
        remark(f"{name} stays: {why.replace('_', ' ')}")
    return EXIT_OK


def scan(
    *,
    sql: Annotated[str, Parameter(help="One SELECT, as DuckDB reads it, over the table `entries`.")],
    format_: Annotated[Literal["table", "csv", "json"], Parameter(name="--format", help="How to print it.")] = "table",
    memory: Annotated[
        str, Parameter(help="The most memory it takes, such as 512MB; what needs more goes to disk.")
    ] = "1GB",
    where: Where | None = None,
) -> int:
    """Ask all entries, archived or not, one question in SQL.

    `entries` has the columns of the ledger, `month` (that of `held_at`, as 2026-03), and JSON as text. Amounts are nano-USD. Reads
    only: nothing else can be asked, and no other file or address be reached.
    """
    from remit.cli.output import parts_as_json, print_csv, print_json, print_table, table
    from remit.cli.session import open_authority

    if not _SIZE.fullmatch(memory):
        raise CommandError(f"--memory `{memory}` is no size such as 512MB")
    lake = open_authority(where).lake(memory)
    from remit.store.lake import QueryError

    try:
        answer = lake.ask(sql, _MAX_ROWS + 1)
    except QueryError as error:
        raise CommandError(str(error)) from None
    if len(answer.rows) > _MAX_ROWS:
        raise CommandError(f"more than {_MAX_ROWS:,} rows: ask for sums, or for fewer")
    if format_ == "json":
        print_json([dict(zip(answer.columns, row, strict=True)) for row in answer.rows])
    elif format_ == "csv":
        print_csv(
            answer.columns, [["" if cell is None else str(parts_as_json(cell)) for cell in row] for row in answer.rows]
        )
    else:
        shown = table(*answer.columns)
        for row in answer.rows:
            shown.add_row(*("" if cell is None else str(parts_as_json(cell)) for cell in row))
        print_table(shown)
    return EXIT_OK
