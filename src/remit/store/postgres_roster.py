"""People and their roles in PostgreSQL, in the authority's role. Nothing is ever removed."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from psycopg.types.json import Jsonb

from remit.grants.model import Role
from remit.grants.ports import Said
from remit.store.authored import say_unless_said
from remit.store.connect import Opens
from remit.store.enqueue import Wanted, defer, for_notification
from remit.store.named import query
from remit.store.rows import dicts

Source = Literal["command", "oidc", "scim"]


def person_key(name: str) -> str:
    """The key of a person: addresses are compared without case."""
    return name.casefold()


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonRecord:
    """A person. `name` is their key; a delegate stands in for them until an instant; `manager` is what a directory says."""

    name: str
    id: str
    status: Literal["active", "left"]
    delegate: str | None
    delegate_until: datetime | None
    manager: str | None
    successor: str | None
    left_at: datetime | None
    external_id: str | None
    source: Source
    created_at: datetime
    created_by: str

    def delegate_at(self, now: datetime) -> str | None:
        """Who stands in for them at that instant."""
        return self.delegate if self.delegate_until is not None and now < self.delegate_until else None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredBinding:
    """A role of a person, as it is kept; `grant_path` is None for the whole organization."""

    id: str
    person: str
    role: Role
    grant_id: str | None
    grant_path: str | None = None
    source: Source
    created_at: datetime
    created_by: str
    ended_at: datetime | None = None
    ended_by: str | None = None


class PostgresRoster:
    """Keeps people and role bindings, over connections in the authority's role. Names are keys (`person_key`)."""

    def __init__(self, opens: Opens) -> None:
        self._opens = opens

    def put(self, name: str, person_id: str, source: Source, by: str, now: datetime) -> None:
        """Makes a person known who is not."""
        values = {"name": name, "id": person_id, "source": source, "by": by, "now": now}
        with self._opens() as connection, connection.transaction():
            say_unless_said(connection, Said(at=now, actor=by, operation="person join"), "command")
            connection.execute(query("people_put"), values)

    def find(self, ref: str) -> PersonRecord | None:
        """The person of that name or id."""
        rows = self._rows("people_find", {"ref": ref})
        return PersonRecord(**rows[0]) if rows else None

    def all(self) -> list[PersonRecord]:
        """Everybody, by name, those who left as well."""
        return [PersonRecord(**row) for row in self._rows("people_list", {})]

    def is_empty(self) -> bool:
        """Whether nobody was ever known here."""
        with self._opens() as connection:
            row = connection.execute(query("people_any")).fetchone()
        assert row is not None
        return not row[0]

    def left(self, names: Iterable[str] | None = None) -> frozenset[str]:
        """Which of these people left; of everybody without names."""
        wanted = None if names is None else [person_key(name) for name in names]
        return frozenset(row["name"] for row in self._rows("people_left", {"names": wanted}))

    def set_delegate(self, name: str, delegate: str | None, until: datetime | None) -> None:
        self._execute("people_delegate", {"name": name, "delegate": delegate, "until": until})

    def set_left(self, name: str, successor: str | None, now: datetime) -> None:
        self._execute("people_leave", {"name": name, "successor": successor, "now": now})
        self._execute("people_undelegate", {"name": name})
        # Tickets about what has no owner now are opened in the background.
        with self._opens() as connection:
            defer(connection, now, [Wanted(task="escalate")])

    def set_returned(self, name: str) -> None:
        self._execute("people_return", {"name": name})

    def set_directory(self, name: str, manager: str | None, external_id: str | None) -> None:
        self._execute("people_directory", {"name": name, "manager": manager, "external_id": external_id})

    def bindings(
        self, person: str | None = None, *, ended: bool = False, binding_id: str | None = None
    ) -> list[StoredBinding]:
        """Roles that stand, or all there ever were: of a person, of everybody, or the one of an id."""
        rows = self._rows("role_list", {"person": person, "ended": ended, "id": binding_id})
        return [StoredBinding(**_without(row, "path"), grant_path=row["path"]) for row in rows]

    def bind(self, binding: StoredBinding) -> None:
        """Gives a role. Raises psycopg.errors.UniqueViolation where it stands already from that source."""
        self._execute("role_bind", {name: getattr(binding, name) for name in _BOUND})

    def end(self, binding_id: str, by: str, now: datetime) -> bool:
        """Whether a standing role was ended."""
        return self._execute("role_end", {"id": binding_id, "by": by, "now": now}) == 1

    def end_all(self, person: str, by: str, now: datetime, source: Source | None = None) -> int:
        """How many roles of a person were ended, of all sources or of one."""
        return self._execute("role_end_all", {"person": person, "by": by, "now": now, "source": source})

    def revoke_tokens(self, person: str, now: datetime) -> int:
        """How many tokens of a person were revoked."""
        return self._execute("person_revoke_all", {"person": person, "now": now})

    def notify_ownerless(self, node: str, recipients: list[str], body: Mapping[str, Any], now: datetime) -> None:
        """Tells the named people, or security where there are none, that a grant has no owner any more."""
        values = {"node": node, "recipients": recipients, "body": Jsonb(dict(body)), "now": now}
        self._execute("ownerless_notify", values)
        with self._opens() as connection:
            defer(connection, now, for_notification(connection))

    def _execute(self, name: str, values: Mapping[str, Any]) -> int:
        with self._opens() as connection:
            return connection.execute(query(name), values).rowcount

    def _rows(self, name: str, values: Mapping[str, Any]) -> list[dict[str, Any]]:
        with self._opens() as connection:
            return dicts(connection.execute(query(name), values))


_BOUND = ("id", "person", "role", "grant_id", "source", "created_at", "created_by")


def _without(row: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key != name}
