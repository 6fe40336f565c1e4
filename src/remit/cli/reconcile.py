"""`remit reconcile`: what vendors say was used and charged."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, Parameter
from cyclopts.validators import Number

from remit.cli import reconcile_match, reconcile_months
from remit.cli.codes import EXIT_DIFFERENCES, EXIT_OK, CommandError
from remit.cli.options import By, Json, Where
from remit.cli.values import parse_moment

if TYPE_CHECKING:
    from remit.bootstrap import Authority
    from remit.reconcile.model import Imported
    from remit.reconcile.statements.model import Options
    from remit.reconcile.statements.raw import Raw

_PIECE = 1024 * 1024
_AT_ONCE = 1_000
Since = Annotated[str | None, Parameter(help="Begin of the period it covers: date (UTC) or instant.")]
Until = Annotated[str | None, Parameter(help="End of that period, itself outside.")]
Account = Annotated[
    str | None, Parameter(help="The vendor's account it is kept under, where it names none or several.")
]
app_command = App(
    name="reconcile",
    help="Compare the ledger with what vendors say was used and charged, book what differs, and close months.",
)


@app_command.command(name="import")
def import_(
    file: Annotated[Path, Parameter(help="The file as the vendor gave it; gzip is opened.")],
    /,
    *,
    source: Annotated[str, Parameter(name="--from", help="Which source it is of, such as openai.costs or focus.")],
    account: Account = None,
    since: Since = None,
    until: Until = None,
    vendor: Annotated[str | None, Parameter(help="Whose statement it is, where several or none are named.")] = None,
    currency: Annotated[str | None, Parameter(help="Currency of amounts for which none is stated.")] = None,
    rate: Annotated[
        tuple[str, ...], Parameter(help="Dollars for one unit of a currency, such as EUR=1.0834; repeatable.")
    ] = (),
    only: Annotated[
        tuple[str, ...], Parameter(help="Keep only rows of this product or service; repeatable. Others are counted.")
    ] = (),
    mapping: Annotated[Path | None, Parameter(help="Which column is what, for --from csv.")] = None,
    final: Annotated[bool, Parameter(help="The vendor says that the period does not change any more.")] = False,
    json: Json = False,
    by: By | None = None,
    where: Where | None = None,
) -> int:
    """Import a vendor's statement from a file.

    The same file again changes nothing, but that `--final` makes the newest version final. A later export of the same period becomes
    its next version; the earlier one is kept. An export of a period that overlaps another of the same source is refused.
    """
    from remit.cli.session import open_authority
    from remit.reconcile.statements.model import Options, StatementError

    options = Options(
        vendor=vendor,
        account=account,
        since=None if since is None else parse_moment(since, "--since"),
        until=None if until is None else parse_moment(until, "--until"),
        currency=currency,
        rates=_rates(rate),
        only=only,
        mapping=None if mapping is None else _text(mapping),
        is_final=final,
    )
    try:
        raw = _packed(file)
        return _take_in(open_authority(where), [(source, raw)], options, by, json=json)
    except StatementError as error:
        raise CommandError(f"`{file}` is no statement of {source}: {error}") from None


@app_command.command
def pull(
    vendor: Annotated[Literal["openai", "anthropic", "openrouter"], Parameter(help="Whom to ask.")],
    /,
    *,
    since: Annotated[str, Parameter(help="First day: date (UTC).")],
    until: Annotated[str, Parameter(help="Day after the last one.")],
    final: Annotated[bool, Parameter(help="The vendor says that the period does not change any more.")] = False,
    json: Json = False,
    by: By | None = None,
    where: Where | None = None,
) -> int:
    """Ask a vendor for its reports of usage and costs, and import each as a statement.

    The admin key is where `[reconcile.vendors.NAME]` of the settings says. Asking again for the same days imports what has changed as
    the next version.
    """
    from remit.bootstrap import make_puller
    from remit.cli.output import remark
    from remit.cli.session import open_authority
    from remit.pulling.vendors import GROUPED_BY, PullError
    from remit.reconcile.statements.model import Options, StatementError

    begin, end = parse_moment(since, "--since"), parse_moment(until, "--until")
    if begin >= end:
        raise CommandError(f"--since `{since}` is not before --until `{until}`")
    authority = open_authority(where)
    puller = make_puller(authority.settings, vendor, authority.clock)
    try:
        pulled = puller.pull(begin, end)
        for one in puller.skipped:
            remark(f"not there: {one}")
        options = Options(
            account=puller.account,
            since=begin,
            until=end,
            grouped_by=GROUPED_BY.get(vendor, ()),
            is_final=final,
        )
        return _take_in(authority, pulled, options, by, json=json)
    except (PullError, StatementError) as error:
        raise CommandError(f"{vendor}: {error}") from None


@app_command.command
def statements(
    *,
    vendor: Annotated[str | None, Parameter(help="Only those of this vendor.")] = None,
    source: Annotated[str | None, Parameter(name="--from", help="Only those of this source.")] = None,
    all: Annotated[bool, Parameter(help="Also those replaced by a later version, or withdrawn.")] = False,  # noqa: A002 - the option's name
    count: Annotated[
        int, Parameter(name=["--count", "-n"], validator=Number(gte=1, lte=100_000), help="So many of the newest. [50]")
    ] = 50,
    json: Json = False,
    where: Where | None = None,
) -> int:
    """List statements, the newest first."""
    from remit.cli.output import print_json, print_table, table
    from remit.cli.session import open_authority

    found = open_authority(where).statements.listed(count=count, vendor=vendor, source=source, current=not all)
    if json:
        print_json({"statements": found})
        return EXIT_OK
    if not found:
        print("no statements")
        return EXIT_OK
    names = ("id", "source", "account", "since", "until", "version", "lines", "amount", "final")
    shown = table(*names, right=("version", "lines", "amount"))
    for one in found:
        shown.add_row(*_cells(one))
    print_table(shown)
    return EXIT_OK


@app_command.command
def statement(
    statement_id: Annotated[str, Parameter(name="ID", help="Id of the statement.")],
    /,
    *,
    lines: Annotated[bool, Parameter(help="Print its lines instead, one JSON object a line.")] = False,
    raw: Annotated[Path | None, Parameter(help="Write the bytes as they came to this file.")] = None,
    json: Json = False,
    where: Where | None = None,
) -> int:
    """Show a statement: what it covers, what it comes to by meter, and what was remarked about it."""
    from remit.cli.output import print_json, print_json_line
    from remit.cli.session import open_authority

    store = open_authority(where).statements
    found = store.find(statement_id)
    if found is None:
        raise CommandError(f"there is no statement `{statement_id}`", code="unknown_statement")
    if raw is not None:
        pieces = store.raw(statement_id)
        assert pieces is not None, "every statement has its bytes"
        try:
            with raw.open("xb") as out:
                out.writelines(pieces)
        except OSError as error:
            raise CommandError(f"cannot write `{raw}`: {(error.strerror or str(error)).lower()}") from None
    if lines:
        after = 0
        while page := store.lines(statement_id, after, _AT_ONCE):
            for row in page:
                print_json_line(row)
            after = page[-1]["number"]
    elif json:
        print_json(found)
    else:
        _print_statement(found)
    return EXIT_OK


@app_command.command
def withdraw(
    statement_id: Annotated[str, Parameter(name="ID", help="Id of the statement.")],
    /,
    *,
    json: Json = False,
    by: By | None = None,
    where: Where | None = None,
) -> int:
    """Withdraw a statement that was imported by mistake: nothing is compared with it any more.

    It is kept, with who withdrew it and why; `--reason` has to be said. The version before it, if there is one, is current again.
    """
    from remit.cli.output import print_json, refused
    from remit.cli.session import open_authority
    from remit.grants.model import Problem
    from remit.grants.service import authorship_problems

    said = (by or By()).authorship("")
    if not said.reason.strip():
        raise CommandError("--reason says why it is withdrawn")
    for problem in authorship_problems(said):
        raise CommandError(problem.detail)
    store = open_authority(where).statements
    answer = store.withdraw(statement_id, by=said.actor.name, reason=said.reason, key=said.idempotency_key)
    if isinstance(answer, Problem):
        return refused([answer], json=json)
    if json:
        print_json(answer)
    else:
        print(f"{answer['id']} is withdrawn: nothing is compared with it any more")
    return EXIT_OK


def _take_in(
    authority: "Authority", found: "list[tuple[str, Raw]]", options: "Options", by: By | None, *, json: bool
) -> int:
    from remit.cli.output import print_json, remark
    from remit.grants.model import Problem
    from remit.grants.service import authorship_problems

    answers: list[Imported] = []
    refused: list[Problem] = []
    for number, (source, raw) in enumerate(found):
        said = (by or By()).authorship("remit reconcile")
        for problem in authorship_problems(said):
            raise CommandError(problem.detail)
        key = said.idempotency_key if number == 0 else f"{said.idempotency_key[:150]}:{number}"
        answer = authority.statements.take_in(raw, source, options, by=said.actor.name, reason=said.reason, key=key)
        refused += [answer] if isinstance(answer, Problem) else []
        answers += [] if isinstance(answer, Problem) else [answer]
    if json:
        shown = [{**one.statement, "is_new": one.is_new} for one in answers]
        print_json({"statements": shown, "problems": refused})
    else:
        for one in answers:
            _print_imported(one)
        for problem in refused:
            remark(f"remit: {problem.detail}")
    return EXIT_DIFFERENCES if refused else EXIT_OK


def _print_imported(one: "Imported") -> None:
    found = one.statement
    what = "imported" if one.is_new else "known already"
    version = f"version {found['version']}"
    if found["supersedes"]:
        version += f", in place of {found['supersedes']}"
    if found["superseded_by"]:
        version += f", superseded by {found['superseded_by']}"
    print(f"{what}: {found['id']}, {found['source']}, {version}")
    _print_statement(found)


def _print_statement(found: dict[str, Any]) -> None:
    from remit.cli.output import moment_text, print_table, table
    from remit.grants.words import printable
    from remit.kernel.money import format_usd

    until = "final" if found["is_complete"] else "may still change"
    if found["withdrawn_at"]:
        at = moment_text(found["withdrawn_at"])
        print(f"withdrawn {at} by {found['withdrawn_by']}: {printable(found['withdrawn_reason'])}")
    print(f"covers   {moment_text(found['since'])} until {moment_text(found['until'])}, {until}")
    print(f"rows     {found['rows']:,} rows, {found['lines']:,} lines, {_amounts(found['amounts'])}")
    if found["rows_left_out"]:
        print(f"left out {found['rows_left_out']:,} rows, {_amounts(found['amounts_left_out'])}")
    shown = table("meter", "lines", "quantity", "amount", right=("lines", "quantity", "amount"))
    for meter, total in found["meters"].items():
        amount = "" if total["amount_nanousd"] is None else format_usd(total["amount_nanousd"])
        shown.add_row(meter, f"{total['lines']:,}", total["quantity"] or "", amount)
    if shown.row_count:
        print_table(shown)
    for one in found["remarks"]:
        place = "" if one["line"] is None else f"line {one['line']}"
        more = f" and {one['rows'] - 1:,} more" if one["rows"] > 1 else ""
        print(f"remark   {f'{place}{more}: ' if place else ''}{one['text']}")


def _cells(one: dict[str, Any]) -> tuple[str, ...]:
    from remit.cli.output import moment_text
    from remit.kernel.money import format_usd

    amount = _amounts(one["amounts"]) if one["amount_nanousd"] is None else format_usd(one["amount_nanousd"])
    return (
        one["id"],
        one["source"],
        one["account"],
        moment_text(one["since"]),
        moment_text(one["until"]),
        str(one["version"]),
        f"{one['lines']:,}",
        amount if one["amounts"] else "",
        "withdrawn" if one["withdrawn_at"] else "yes" if one["is_complete"] else "no",
    )


def _amounts(amounts: dict[str, str]) -> str:
    return ", ".join(f"{total} {name}" for name, total in amounts.items()) or "no amounts"


def _rates(texts: tuple[str, ...]) -> dict[str, Any]:
    from remit.reconcile.statements.exact import InexactError, parse_decimal

    rates = {}
    for text in texts:
        name, _, rate = text.partition("=")
        try:
            rates[name.upper()] = parse_decimal(rate)
        except InexactError as error:
            raise CommandError(f"--rate `{text}`: {error}") from None
        if len(name) != 3 or rates[name.upper()] <= 0 or name.upper() == "USD":
            raise CommandError(f"--rate `{text}` is not such as EUR=1.0834")
    return rates


def _text(path: Path) -> str:
    try:
        with path.open(encoding="utf-8-sig") as file:
            return file.read(200_000)
    except (OSError, UnicodeDecodeError) as error:
        why = (error.strerror or str(error)).lower() if isinstance(error, OSError) else "it is not text in UTF-8"
        raise CommandError(f"cannot read `{path}`: {why}") from None


def _packed(path: Path) -> "Raw":
    from remit.reconcile.statements.raw import pack

    try:
        with path.open("rb") as file:
            return pack(iter(lambda: file.read(_PIECE), b""))
    except OSError as error:
        raise CommandError(f"cannot read `{path}`: {(error.strerror or str(error)).lower()}") from None


app_command.command(reconcile_match.match, sort_key=5)
app_command.command(reconcile_match.findings, sort_key=6)
app_command.command(reconcile_match.listed, name="list", sort_key=7)
app_command.command(reconcile_match.post, sort_key=8)
app_command.command(reconcile_months.months, sort_key=9)
app_command.command(reconcile_months.close, sort_key=10)
app_command.command(reconcile_months.reopen, sort_key=11)
