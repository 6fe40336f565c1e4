"""Vendors' statements in PostgreSQL: `remit.reconcile.ports.StatementStore`, over connections in the authority's role."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import Any, Final

import msgspec
import psycopg
from psycopg.types.json import Jsonb

from remit.grants.model import Problem
from remit.grants.ports import Remembered, Said
from remit.kernel.clock import Clock
from remit.kernel.ids import new_id
from remit.reconcile.model import Imported, Known, Place
from remit.reconcile.statements.exact import plain
from remit.reconcile.statements.formats import lines_of, summarise
from remit.reconcile.statements.model import Options, StatementLine, Summary
from remit.reconcile.statements.raw import Raw
from remit.reconcile.versions import place
from remit.store.authored import Source, record_deed, record_refusal, say
from remit.store.connect import Opens
from remit.store.named import query
from remit.store.postgres_grants import TreeUnit
from remit.store.rows import dicts

_ANY: Final[Mapping[str, Any]] = {"id": None, "before": None, "vendor": None, "source": None, "current": False}
OPERATION: Final = "statement import"
WITHDRAWING: Final = "statement withdraw"


@dataclass(frozen=True, slots=True)
class _Incoming:
    """A statement on its way in: its bytes, what they come to, what a person said about it, and who brings it."""

    raw: Raw
    summary: Summary
    options: Options
    said: Said


class PostgresStatements:
    """Keeps each statement whole: its totals, its lines, its bytes, and who brought it, in one transaction."""

    def __init__(self, opens: Opens, clock: Clock, source: Source = "command") -> None:
        self._opens = opens
        self._clock = clock
        self._source: Source = source

    def take_in(self, raw: Raw, source: str, options: Options, *, by: str, reason: str, key: str) -> Imported | Problem:
        """Reads a statement twice, once for what it comes to and once for its lines, so that it is never held as a whole.

        A key that was used for other bytes, or for anything else, is refused; so is a period that overlaps another's. Raises
        StatementError for bytes that cannot be understood; nothing is kept then.
        """
        now = self._clock.now()
        summary = summarise(raw, source, options, now)
        said = Said(at=now, actor=by, operation=OPERATION, reason=reason, request_key=key)
        asked = {
            "operation": OPERATION,
            "actor": by,
            "source": source,
            "sha256": raw.sha256.hex(),
            "options": options.kept(),
            "reason": reason,
        }
        with self._opens() as connection:
            with connection.transaction():
                connection.execute(query("statement_lock"))
                say(connection, said, self._source)
                answer = _placed(connection, _Incoming(raw, summary, options, said), asked)
            if isinstance(answer, Problem):
                with connection.transaction():
                    say(connection, said, self._source)
                    record_refusal(connection, {**asked, "path": None}, [answer])
                return answer
            statement_id, is_new = answer
            (row,) = dicts(connection.execute(query("statements_page"), {**_ANY, "id": statement_id, "count": 1}))
        return Imported(statement=_shown(row), is_new=is_new, summary=summary)

    def withdraw(self, statement_id: str, *, by: str, reason: str, key: str) -> dict[str, Any] | Problem:
        """Nothing is compared with it any more, and the version before it, if there is one, is current again; it is kept as it is.

        Codes: unknown_statement, already_withdrawn, conflict_different_* (the key was used for something else). What cannot be done
        is audited as refused.
        """
        said = Said(at=self._clock.now(), actor=by, operation=WITHDRAWING, reason=reason, request_key=key)
        asked = {"operation": WITHDRAWING, "actor": by, "statement": statement_id, "reason": reason}
        with self._opens() as connection:
            with connection.transaction():
                connection.execute(query("statement_lock"))
                say(connection, said, self._source)
                problem = _withdrawn(connection, statement_id, said, asked)
            if problem is not None:
                with connection.transaction():
                    say(connection, said, self._source)
                    record_refusal(connection, asked, [problem])
                return problem
            (row,) = dicts(connection.execute(query("statements_page"), {**_ANY, "id": statement_id, "count": 1}))
        return _shown(row)

    def listed(self, **wanted: Any) -> list[dict[str, Any]]:
        """Statements without their lines, the newest first: at most `count` (100), of a `vendor` or `source`, `before` a number.

        With `current` only those that no later version has taken the place of, and nobody withdrew.
        """
        asked = {"count": 100, **wanted}
        assert asked.keys() <= {*_ANY, "count"}, asked
        with self._opens() as connection:
            return [_shown(row) for row in dicts(connection.execute(query("statements_page"), {**_ANY, **asked}))]

    def find(self, statement_id: str) -> dict[str, Any] | None:
        """The statement of that id."""
        rows = self.listed(id=statement_id, count=1)
        return rows[0] if rows else None

    def lines(self, statement_id: str, after: int, count: int) -> list[dict[str, Any]]:
        """Lines after a number, in the order of the raw file; quantities as exact text."""
        asked = {"id": statement_id, "after": after, "count": count}
        with self._opens() as connection:
            rows = dicts(connection.execute(query("statement_lines_page"), asked))
        for row in rows:
            row["quantity"] = None if row["quantity"] is None else plain(row["quantity"])
        return rows

    def kept(self, statement_id: str) -> Raw | None:
        """The bytes of a statement as they are kept, from which its lines can be read anew."""
        with self._opens() as connection:
            row = connection.execute(query("statement_raw_get"), {"id": statement_id}).fetchone()
        return None if row is None else Raw(*row)

    def raw(self, statement_id: str) -> Iterator[bytes] | None:
        """The bytes as they came."""
        kept = self.kept(statement_id)
        return None if kept is None else kept.pieces()


def _placed(connection: psycopg.Connection, incoming: _Incoming, asked: dict[str, Any]) -> tuple[str, bool] | Problem:
    """The statement's id, and whether it is new; writes it where it is."""
    tree, said, summary = TreeUnit(connection), incoming.said, incoming.summary
    first = tree.remembered(said.request_key)
    if first is not None:
        return first.conflict(asked) or (str(first.answer["statement"]), False)
    about = {"vendor": summary.vendor, "source": summary.source, "account": summary.account}
    known = [Known(**_known(row)) for row in dicts(connection.execute(query("statements_known"), about))]
    found = place(summary, known)
    if isinstance(found, Problem):
        return found
    if isinstance(found, Known):
        statement_id, is_new = found.id, False
    else:
        statement_id, is_new = new_id("stmt", said.at), True
        _write(connection, statement_id, incoming, found)
    tree.remember(Remembered(key=said.request_key, body=asked, answer={"statement": statement_id}))
    return statement_id, is_new


def _withdrawn(connection: psycopg.Connection, statement_id: str, said: Said, asked: dict[str, Any]) -> Problem | None:
    tree = TreeUnit(connection)
    first = tree.remembered(said.request_key)
    if first is not None:
        return first.conflict(asked)
    rows = dicts(connection.execute(query("statements_page"), {**_ANY, "id": statement_id, "count": 1}))
    if not rows:
        detail = f"there is no statement `{statement_id[:40]}`"
        return Problem(code="unknown_statement", path="", detail=detail)
    values = {"id": statement_id, "now": said.at, "by": said.actor, "reason": said.reason}
    if connection.execute(query("statement_withdraw"), values).fetchone() is None:
        detail = f"{statement_id} was withdrawn by `{rows[0]['withdrawn_by']}` before"
        return Problem(code="already_withdrawn", path="", detail=detail)
    what = {"withdrawn": True, "vendor": rows[0]["vendor"], "source": rows[0]["source"], "account": rows[0]["account"]}
    record_deed(connection, "statement", statement_id, None, what)
    tree.remember(Remembered(key=said.request_key, body=asked, answer={"statement": statement_id}))
    return None


def _write(connection: psycopg.Connection, statement_id: str, incoming: _Incoming, found: Place) -> None:
    raw, summary, options, said = incoming.raw, incoming.summary, incoming.options, incoming.said
    values: dict[str, Any] = {
        "id": statement_id,
        "version": found.version,
        "supersedes": found.supersedes,
        "sha256": raw.sha256,
        "size_bytes": raw.size_bytes,
        "options": Jsonb(options.kept()),
        "now": said.at,
        "by": said.actor,
        **{name: getattr(summary, name) for name in ("vendor", "source", "account", "since", "until", "is_complete")},
        **{
            name: getattr(summary, name)
            for name in ("lines_sha256", "rows", "lines", "amount_nanousd", "rows_left_out")
        },
        "amounts": Jsonb(_texts(summary.amounts)),
        "amounts_left_out": Jsonb(_texts(summary.amounts_left_out)),
        "meters": Jsonb(_meters(summary)),
        "remarks": Jsonb([asdict(remark) for remark in summary.remarks]),
    }
    connection.execute(query("statement_insert"), values)
    connection.execute(query("statement_raw_insert"), {"id": statement_id, "packed": raw.packed})
    count = 0
    with connection.cursor().copy(query("statement_lines_copy")) as copy:
        for count, line in enumerate(lines_of(raw, summary.source, options), start=1):
            copy.write_row(_row(statement_id, count, line))
    assert count == summary.lines, "the same bytes are read alike twice"
    names = ("vendor", "source", "account", "covers_since", "covers_until", "version", "supersedes", "sha256", "lines")
    shown = {**values, "covers_since": summary.since.isoformat(), "covers_until": summary.until.isoformat()}
    record_deed(
        connection,
        "statement",
        statement_id,
        None,
        {name: shown[name] for name in names} | {"sha256": raw.sha256.hex()},
    )


def _row(statement_id: str, number: int, line: StatementLine) -> tuple[Any, ...]:
    """In the order of `statement_lines_copy.sql`."""
    return (
        statement_id, number, line.line, line.starts_at, line.ends_at, line.vendor, line.meter, line.account, line.project,
        line.key_id, line.region, line.resource, line.model, line.tier, line.is_batch, line.context_window, line.quantity,
        line.unit, line.stated_quantity, line.stated_unit, line.requests, line.amount_nanousd, line.amount_text,
        line.list_amount_nanousd, line.currency, line.charge, line.is_correction, line.invoice_id, line.invoice_issuer,
        line.native_id, line.text, msgspec.json.encode(line.tags).decode(),
    )  # fmt: skip


def _known(row: dict[str, Any]) -> dict[str, Any]:
    return {name.removeprefix("covers_"): value for name, value in row.items()}


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    """A statement as it is shown: the period by its words, counts as counts."""
    names = {"covers_since": "since", "covers_until": "until", "row_count": "rows", "line_count": "lines"}
    return {names.get(name, name): value for name, value in row.items()}


def _texts(amounts: Mapping[str, Decimal]) -> dict[str, str]:
    return {name: plain(total) for name, total in sorted(amounts.items())}


def _meters(summary: Summary) -> dict[str, Any]:
    return {
        meter: {
            "lines": total.lines,
            "quantity": None if total.quantity is None else plain(total.quantity),
            "amount_nanousd": total.amount_nanousd,
        }
        for meter, total in sorted(summary.meters.items())
    }
