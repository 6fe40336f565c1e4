"""`remit ledger dictionary`: what the views of the ledger's readers mean."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from remit.cli.codes import EXIT_OK
from remit.cli.options import Json, Where

if TYPE_CHECKING:
    from remit.store.postgres_readers import ViewMeaning

_HEAD = """# Data dictionary

The ledger in SQL: views of the schema `chargeback`, for engineering, finance and security. Printed from the database by
[`remit ledger dictionary`](cli.md#remit-ledger-dictionary); [how to connect](../howto/connect-a-bi-tool.md) is told elsewhere.

Columns are added at the end of a view, and never taken away, renamed or given another type. Amounts are exact: `_nanousd` in billionths
of a US dollar, `_usd` in dollars with nine decimals. Nothing that is not known is zero: it is null.
"""


def dictionary(*, json: Json = False, where: Where | None = None) -> int:
    """Print what each view and column of the ledger's readers means, as Markdown."""
    from remit.cli.output import print_json
    from remit.cli.session import open_authority
    from remit.store.postgres_readers import dictionary as read

    views = read(open_authority(where).url)
    if json:
        print_json(views)
        return EXIT_OK
    print(page(views), end="")
    return EXIT_OK


def page(views: Iterable["ViewMeaning"]) -> str:
    """The reference page."""
    parts = [_HEAD]
    for view in views:
        readers = "all three" if len(view.readers) == 3 else " and ".join(view.readers)
        lines = [f"## chargeback.{view.name}", "", f"{view.about}. Read by {readers}.", ""]
        lines += ["| column | type | is |", "|---|---|---|"]
        lines += [f"| `{name}` | {type_} | {meaning} |" for name, type_, meaning in view.columns]
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)
