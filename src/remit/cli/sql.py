"""`remit sql`: a question to the ledger's views."""

from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any, Literal

from cyclopts import App, Parameter
from cyclopts.validators import Number

from remit.cli.codes import EXIT_OK, CommandError
from remit.cli.options import Where

app_command = App(name="sql")


@app_command.default
def sql(
    statement: Annotated[str, Parameter(help="One statement that begins with SELECT, WITH, VALUES or TABLE.")],
    /,
    *,
    as_: Annotated[
        Literal["engineering", "finance", "security"] | None,
        Parameter(name="--as", help="Whose views are read; if left out finance's, or those of the login that is set."),
    ] = None,
    rows: Annotated[
        int, Parameter(validator=Number(gte=1, lte=1_000_000), help="At most so many rows; 1,000 if left out.")
    ] = 1000,
    seconds: Annotated[
        int, Parameter(validator=Number(gte=1, lte=600), help="At most so long; 30 seconds if left out.")
    ] = 30,
    format_: Annotated[
        Literal["table", "csv", "json"], Parameter(name="--format", help="How to print it; a table if left out.")
    ] = "table",
    where: Where | None = None,
) -> int:
    """Ask the ledger's views one question in SQL, as one of its readers.

    Nothing can be written: it is asked with a login that has the reader's rights and no others, in a read-only transaction, and
    only functions that read nothing but their arguments can be called. `remit ledger dictionary` says which views there are.

    On the embedded database it works at once. On a database of one's own, $REMIT_SQL_DATABASE_URL (or `sql_database_url`)
    names the address of a login that `remit db reader` made.
    """
    from remit.cli.output import parts_as_json, print_csv, print_json, print_table, remark, table
    from remit.cli.session import open_for_questions
    from remit.ledger.cells import text_cell
    from remit.store.read_only_sql import Limits, StatementError, ask

    url, clock = open_for_questions(where, as_)
    try:
        found = ask(url, as_, statement, Limits(rows, seconds), clock)
    except StatementError as error:
        raise CommandError(str(error)) from None
    if format_ == "json":
        print_json([dict(zip(found.names, map(_plain, row), strict=True)) for row in found.rows])
    elif format_ == "csv":
        print_csv(found.names, ([_cell(value, text_cell) for value in row] for row in found.rows))
    else:
        numbers = [
            name
            for number, name in enumerate(found.names)
            if any(isinstance(row[number], int | Decimal) for row in found.rows)
        ]
        shown = table(*found.names, right=numbers)
        for row in found.rows:
            shown.add_row(*("" if value is None else str(parts_as_json(_plain(value))) for value in row))
        print_table(shown)
    if found.is_cut:
        remark(f"there are more rows than {rows:,}: --rows allows more")
    return EXIT_OK


def _plain(value: Any) -> Any:
    """A value as JSON has it; decimals as text, for they are exact."""
    if isinstance(value, Decimal | date | timedelta) and not isinstance(value, datetime):
        return str(value)
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return value


def _cell(value: Any, text_cell: Any) -> Any:
    from remit.cli.output import parts_as_json

    return text_cell(value) if isinstance(value, str) else parts_as_json(_plain(value))
