"""A question in SQL, asked as one of the ledger's readers: one statement, that only reads, within limits.

What holds it are the rights of its login, which are those of the views and nothing to go back to: a login that may do more is not
asked with. The transaction is read-only, and only functions of a list are called. That list is a second line and not the first: it
is read out of a text, while rights are the server's.
"""

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import psycopg

from remit.kernel.clock import Clock
from remit.settings import SettingsError
from remit.store.connect import CONNECT_TIMEOUT_SECONDS, Reader, readable_address
from remit.store.named import query

MAX_LENGTH = 20_000
MAX_BYTES = 64 * 1024 * 1024
_AT_ONCE = 200

# Words that stand before a bracket and call nothing, then functions that read nothing but their arguments.
_WORDS = frozenset(
    """
    all and any array as asc between by case cube desc distinct else end except exists filter from group grouping
    having in intersect is join lateral like limit materialized not offset on or order over partition recursive rollup
    row select sets some then union using values when where with within bigint bit char character date decimal double
    float int integer interval numeric precision smallint text time timestamp timestamptz varchar zone ilike
    """.split()  # noqa: SIM905 - a list of a hundred literals would be a hundred lines
)
_FUNCTIONS = frozenset(
    """
    abs age array_agg array_length array_position array_to_string avg bool_and bool_or btrim cardinality cast ceil
    ceiling char_length coalesce concat concat_ws corr count cume_dist date_bin date_part date_trunc dense_rank div
    every exp extract first_value floor generate_series greatest initcap json_agg json_build_object jsonb_agg
    jsonb_array_elements jsonb_array_elements_text jsonb_array_length jsonb_build_array jsonb_build_object jsonb_each
    jsonb_each_text jsonb_extract_path_text jsonb_object_agg jsonb_object_keys jsonb_typeof justify_days justify_hours
    lag last_value lead least left length ln log lower ltrim make_date make_interval max min mod mode now nth_value
    ntile nullif overlay percent_rank percentile_cont percentile_disc position power rank regr_intercept regr_r2
    regr_slope replace reverse right round row_number row_to_json rtrim sign split_part sqrt starts_with stddev
    stddev_pop stddev_samp string_agg string_to_array strpos substr substring sum to_char to_date to_json to_jsonb
    to_timestamp translate trim trunc unnest upper var_pop var_samp variance width_bucket
    """.split()  # noqa: SIM905 - a list of a hundred literals would be a hundred lines
)
# As PostgreSQL's own scanner, to the byte: what is text for one of them and a statement for the other would hide there. What this one
# does not know at all is refused, such as a letter outside of quotes that is not ASCII.
_TOKEN = re.compile(
    r"""(?P<space>[ \t\n\r\f]+|--[^\n\r]*)|(?P<comment>/\*)|(?P<escaped>[eE]'(?:[^'\\]|\\.|'')*')|(?P<odd>[uU]&['"]|[bBxXnN]')
    |(?P<text>'(?:[^']|'')*')|(?P<quoted>"(?:[^"]|"")*")|(?P<dollar>\$(?:[A-Za-z_][A-Za-z0-9_]*)?\$)
    |(?P<number>[0-9][A-Za-z0-9_.]*)|(?P<name>[A-Za-z_][A-Za-z0-9_$]*)|(?P<other>[!#%-&(-/:-@\[\]^`{-~])""",
    re.VERBOSE | re.DOTALL,
)


class StatementError(ValueError):
    """A statement that is not asked, or failed; the message says why."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a question may take."""

    rows: int = 1000
    seconds: int = 30
    bytes: int = MAX_BYTES


@dataclass(frozen=True, slots=True)
class Found:
    """What a question found; `is_cut` where there was more than the limit of rows."""

    names: tuple[str, ...]
    rows: list[tuple[Any, ...]]
    is_cut: bool


def readable_statement(text: str) -> str:
    """The statement without what ends it. Raises StatementError for what is more than one, or calls what is on no list."""
    tokens = _statement(text)
    if tokens[0][1].lower() not in ("select", "with", "values", "table"):
        raise StatementError("only a question can be asked: a statement that begins with SELECT, WITH, VALUES or TABLE")
    for number, (kind, value, _) in enumerate(tokens[:-1]):
        before = tokens[number - 1][1].lower() if number else ""
        if tokens[number + 1][1] != "(" or kind not in ("name", "quoted"):
            continue
        # Behind AS and WITH a name is one that is given here, and calls nothing.
        if before in ("as", "with", "recursive"):
            continue
        name = _name(kind, value)
        if name not in _FUNCTIONS and (kind == "quoted" or name not in _WORDS):
            raise StatementError(
                f"`{name}` cannot be called here: only functions that read nothing but their arguments"
            )
        if before == "." and (number < 2 or tokens[number - 2][1].lower() != "pg_catalog"):
            raise StatementError(f"`{name}` cannot be called here by a schema's name")
    return text[: tokens[-1][2]]


def names_behind_dots(text: str) -> list[str]:
    """Names in a readable statement that may call a function without a bracket: `a.b` calls b where a has no column b."""
    tokens = _statement(text)
    found = {
        _name(kind, value)
        for (_, before, _), (kind, value, _) in itertools.pairwise(tokens)
        if before == "." and kind in ("name", "quoted")
    }
    return sorted(found - _FUNCTIONS)


def _name(kind: str, value: str) -> str:
    """The name as PostgreSQL reads it."""
    return value.lower() if kind == "name" else value[1:-1].replace('""', '"')


def _statement(text: str) -> list[tuple[str, str, int]]:
    """The parts of the one statement, without what ends it. Raises StatementError."""
    if len(text) > MAX_LENGTH:
        raise StatementError(f"the statement is longer than {MAX_LENGTH:,} characters")
    if "\0" in text or any("\ud800" <= sign <= "\udfff" for sign in text):
        raise StatementError("the statement has signs in it that are no text")
    tokens = list(_tokens(text))
    while tokens and tokens[-1][1] == ";":
        tokens.pop()
    if not tokens:
        raise StatementError("there is no statement")
    if any(value == ";" for _, value, _ in tokens):
        raise StatementError("only one statement can be asked at a time")
    return tokens


def _tokens(text: str) -> Iterator[tuple[str, str, int]]:
    """Kind, text and end of each part of a statement, without blanks and comments."""
    at, before = 0, ""
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None or found.lastgroup is None or found.lastgroup == "odd":
            seen = text[at] if found is None else found.group()
            raise StatementError(f"`{seen}` cannot be used here, or a text does not end")
        kind, at = found.lastgroup, found.end()
        if kind == "space":
            continue
        if kind == "comment":
            at = _end_of_comment(text, at)
            continue
        if kind == "dollar":
            end = text.find(found.group(), at)
            if end < 0:
                raise StatementError("a text in dollars does not end")
            at = end + len(found.group())
        elif kind == "text" and before in ("text", "escaped"):
            # PostgreSQL joins what stands on two lines, and reads on as it read the first: backslashes too.
            raise StatementError("two texts cannot follow each other: join them with ||")
        before = kind
        yield kind, "" if kind == "dollar" else found.group(), at


def _end_of_comment(text: str, at: int) -> int:
    depth = 1
    while depth:
        ends, begins = text.find("*/", at), text.find("/*", at)
        if ends < 0:
            raise StatementError("a comment does not end")
        if 0 <= begins < ends:
            depth, at = depth + 1, begins + 2
        else:
            depth, at = depth - 1, ends + 2
    return at


def ask(url: str, reader: Reader | None, text: str, limits: Limits, clock: Clock) -> Found:
    """Asks one question with the login of a reader, which has to be that reader if one is named.

    Raises StatementError for what may not be asked, fails, or takes too much, and SettingsError for a login that may do more
    than read.
    """
    statement = readable_statement(text)
    with psycopg.connect(
        readable_address(url),
        autocommit=True,
        connect_timeout=CONNECT_TIMEOUT_SECONDS,
        application_name="remit-sql",
        client_encoding="utf8",
    ) as connection:
        connection.execute(
            "SET jit = off; SET search_path = chargeback; SET timezone = 'UTC'; SET work_mem = '16MB'; SET lock_timeout = '5s';"
            " SET max_parallel_workers_per_gather = 0; SET standard_conforming_strings = on; SET statement_timeout = '10s'"
        )
        _require_reader(connection, reader)
        connection.read_only = True
        try:
            with connection.transaction():
                _require_no_calls(connection, statement)
                return _fetch(connection, statement, limits, clock)
        except psycopg.errors.QueryCanceled:
            raise StatementError(f"the question took longer than {limits.seconds} seconds") from None
        except psycopg.Error as error:
            if error.sqlstate is None or connection.broken:
                raise  # it is the database that is away
            raise StatementError(str(error.diag.message_primary or error).partition("\n")[0]) from None


def _require_reader(connection: psycopg.Connection, reader: Reader | None) -> None:
    """Raises SettingsError unless the session's login has the rights of one reader and no others.

    Its login, for a role can be left again, by a function too.
    """
    ((login, readers, excess),) = connection.execute(query("sql_session")).fetchall()
    wanted = "; `remit db reader NAME --for finance` makes a login for questions"
    if excess:
        raise SettingsError(f"the login `{login}` may do more than read: it {excess[0]}{wanted}")
    if len(readers) != 1:
        raise SettingsError(f"the login `{login}` is {' and '.join(readers) or 'none of the readers'}{wanted}")
    if reader is not None and readers != [reader]:
        raise SettingsError(f"the login `{login}` reads as {readers[0]} and not as {reader}")


def _require_no_calls(connection: psycopg.Connection, statement: str) -> None:
    called = connection.execute(query("sql_functions"), {"names": names_behind_dots(statement)}).fetchone()
    if called is not None:
        raise StatementError(
            f"`{called[0]}` cannot stand behind a dot: it would be called as a function; give a column another name"
        )


def _fetch(connection: psycopg.Connection, statement: str, limits: Limits, clock: Clock) -> Found:
    """Rows by a cursor: PostgreSQL lets it be of a question only, and hands out no more than is fetched."""
    deadline = clock.monotonic() + limits.seconds
    _leave(connection, deadline - clock.monotonic())
    # Prepared, so that it is one statement to the server as well. Not formatted: what looks like a parameter is text.
    connection.execute(f"DECLARE question NO SCROLL CURSOR FOR {statement}".encode(), prepare=True)
    names: tuple[str, ...] = ()
    rows: list[tuple[Any, ...]] = []
    size = 0
    wanted = 1  # a row may be large, and there is no asking how large
    while len(rows) <= limits.rows:
        _leave(connection, deadline - clock.monotonic())
        cursor = connection.execute(f"FETCH {wanted} FROM question".encode())
        names = tuple(column.name for column in cursor.description or ())
        found = cursor.fetchall()
        rows += found
        sizes = [sum(_size(value) for value in row) for row in found]
        size += sum(sizes)
        if size > limits.bytes:
            raise StatementError(f"the answer is larger than {limits.bytes // 2**20} MiB")
        if len(found) < wanted:
            break
        fit = (limits.bytes - size) // max(*sizes, 1)
        wanted = max(min(_AT_ONCE, 2 * wanted, fit, limits.rows + 1 - len(rows)), 1)
    return Found(names, rows[: limits.rows], len(rows) > limits.rows)


def _size(value: Any) -> int:
    """About how much room a value takes."""
    if isinstance(value, str | bytes):
        return len(value) + 16
    if isinstance(value, list | tuple):
        return sum(map(_size, value)) + 16
    if isinstance(value, dict):
        return sum(_size(key) + _size(one) for key, one in value.items()) + 16
    return 16


def _leave(connection: psycopg.Connection, seconds: float) -> None:
    left = max(int(seconds * 1000), 1)
    connection.execute(f"SET LOCAL statement_timeout = {left}".encode())
