"""Who writes, said to the database before they do: what is audited refuses to be written by nobody (migration 0021)."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import msgspec
import psycopg
from psycopg.pq import TransactionStatus
from psycopg.types.json import Jsonb

from remit.grants.model import Problem
from remit.grants.ports import Said
from remit.kernel.secret_texts import without_secrets
from remit.store.named import query

Source = Literal["command", "api", "upkeep", "hook", "start"]
"""By which door a write came in."""

_MAX_TEXT = 2_000
_MAX_PROBLEMS = 20
_SUBJECTS = ("ticket", "key", "role", "person", "token", "trip", "tag", "cost_rule", "subject")


def say(connection: psycopg.Connection, said: Said, source: Source) -> None:
    """What follows in the open transaction is written by them."""
    assert connection.info.transaction_status is TransactionStatus.INTRANS, (
        "outside a transaction it is forgotten at once"
    )
    connection.execute(query("audit_say"), {"said": _text({**msgspec.to_builtins(said), "source": source})})


def say_unless_said(connection: psycopg.Connection, said: Said, source: Source) -> None:
    """The same, where the open transaction is nobody's yet."""
    row = connection.execute(query("audit_said")).fetchone()
    if row is None or not row[0]:
        say(connection, said, source)


@contextmanager
def written_as(connection: psycopg.Connection, said: Said) -> Iterator[None]:
    """A part of an open transaction, undone when it raises, that has another author and reason; the rest is as it was said."""
    with connection.transaction():
        row = connection.execute(query("audit_said")).fetchone()
        assert row is not None
        before = row[0]
        part = {**msgspec.json.decode(before), "actor": said.actor, "reason": said.reason}
        connection.execute(query("audit_say"), {"said": _text(part)})
        yield
        connection.execute(query("audit_say"), {"said": before})


def record_refusal(connection: psycopg.Connection, asked: Mapping[str, Any], problems: Sequence[Problem]) -> None:
    """Keeps that what was asked was refused, in the open transaction, by whoever said they write in it."""
    kind = next((name for name in _SUBJECTS if isinstance(asked.get(name), str)), None)
    paths = [one.path for one in problems]
    about = next((one for one in (asked.get("grant"), asked.get("path"), *paths) if isinstance(one, str) and one), None)
    told = [
        {"code": one.code, "path": _kept(one.path), "detail": _kept(one.detail)} for one in problems[:_MAX_PROBLEMS]
    ]
    connection.execute(
        query("audit_refusal"),
        {
            "kind": kind,
            "id": None if kind is None else _kept(asked[kind]),
            "about": None if about is None else _kept(about),
            "problems": Jsonb(told),
        },
    )


def record_deed(
    connection: psycopg.Connection, kind: str, subject_id: str, grant_id: str | None, what: Mapping[str, Any]
) -> None:
    """Keeps what was done that stands in no audited table, in the open transaction."""
    values = {"kind": kind, "id": subject_id, "grant_id": grant_id, "what": Jsonb(dict(what))}
    connection.execute(query("audit_deed"), values)


def _kept(text: str) -> str:
    """As much of what somebody wrote as is kept, without the secrets in it; the database knows no NUL."""
    return without_secrets(text)[:_MAX_TEXT].encode("utf-8", "replace").decode().replace("\0", "?")


def _text(said: Mapping[str, Any]) -> str:
    return msgspec.json.encode({name: _kept(value) for name, value in said.items()}).decode()
