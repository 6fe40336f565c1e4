"""Looks at what requests did to the database, and judges it by rules of its own: it shares none with the code."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg

from tests.api.support import ADMIN

TABLES = {
    "grants": "SELECT id, path, parent_id, owner, status, expires_at, revision, body FROM grants",
    "revisions": "SELECT grant_id || '@' || revision AS id, grant_id, changed_by, idempotency_key FROM grant_revisions",
    "tickets": "SELECT id, kind, requester, assignees, approved_by, state, decided_by, path, opened_at, effect, revision FROM tickets",
    "events": "SELECT seq AS id, ticket_id, who, what FROM ticket_events",
    "keys": "SELECT id, grant_id, revoked_at, secret_hash FROM access_keys",
    "roles": "SELECT id, person, role, grant_id, ended_at FROM role_bindings",
    "people": "SELECT name AS id, status, delegate, successor FROM people",
    "tokens": "SELECT id, person, revoked_at FROM people_tokens",
    "audit": "SELECT seq AS id, actor, outcome, subject_kind, subject_id, request_key FROM audit",
    "revocations": "SELECT id, kind, revoked_by FROM revocations",
}
Row = Mapping[str, Any]
Rows = Mapping[Any, Row]


@dataclass(slots=True)
class Snapshot:
    """Everything that a request could change, by table and id."""

    tables: dict[str, Rows]

    def __getitem__(self, table: str) -> Rows:
        return self.tables[table]

    def changed(self, before: "Snapshot", table: str) -> list[Mapping[str, Any]]:
        """Rows that are new or other than before."""
        return [row for key, row in self[table].items() if before[table].get(key) != row]

    def but(self, *tables: str) -> dict[str, Rows]:
        """All tables but those."""
        return {name: rows for name, rows in self.tables.items() if name not in tables}

    def owners_above(self, path: str) -> list[str]:
        """Owners of the grant of a path and of everything above it."""
        return [row["owner"] for row in self["grants"].values() if f"{path}/".startswith(f"{row['path']}/")]

    def may_write_all(self, person: str, path: str) -> bool:
        """Whether a living role makes the person owner of the organization at this path."""
        paths = {row["id"]: row["path"] for row in self["grants"].values()}
        return person == ADMIN or any(
            row["person"] == person and row["role"] == "org_owner" and row["ended_at"] is None
            and (row["grant_id"] is None or f"{path}/".startswith(f"{paths[row['grant_id']]}/"))
            for row in self["roles"].values()
        )  # fmt: skip

    def may_decide(self, person: str, path: str) -> bool:
        """Whether the person owns something above this path, is an approver above it, or an owner of the organization."""
        above = path.rpartition("/")[0]
        paths = {row["id"]: row["path"] for row in self["grants"].values()}
        approves = any(
            (row["person"], row["role"], row["ended_at"]) == (person, "approver", None)
            and (row["grant_id"] is None or f"{above}/".startswith(f"{paths[row['grant_id']]}/"))
            for row in self["roles"].values()
        )
        return approves or (bool(above) and person in self.owners_above(above)) or self.may_write_all(person, path)

    def owns_anything(self, person: str) -> bool:
        """Whether the person owns anything."""
        return any(row["owner"] == person for row in self["grants"].values())

    def has_role(self, person: str, role: str) -> bool:
        return any(
            (row["person"], row["role"], row["ended_at"]) == (person, role, None) for row in self["roles"].values()
        )


def look(connection: psycopg.Connection[dict[str, Any]]) -> Snapshot:
    """The database at this moment."""
    with connection.transaction():
        return Snapshot(
            {
                name: {row["id"]: row for row in connection.execute(statement.encode()).fetchall()}
                for name, statement in TABLES.items()
            }
        )


def usd_of(row: Mapping[str, Any]) -> dict[tuple[str, str], int]:
    """Limits by dimension and period."""
    return {(one["dimension"], one["period"]): int(one["amount"]) for one in row["body"]["limits"]}


def sums_that_exceed(snapshot: Snapshot, now: datetime) -> list[str]:
    """Where living children hold more than their living parent lets them, or live longer."""
    found = []
    grants = snapshot["grants"]

    def lives(row: Mapping[str, Any] | None) -> bool:
        if row is None:
            return True
        alive = row["status"] in ("active", "suspended") and now < row["expires_at"]
        return alive and lives(grants.get(row["parent_id"]))

    for parent in grants.values():
        children = [row for row in grants.values() if row["parent_id"] == parent["id"] and lives(row)]
        if not lives(parent):
            continue
        overcommit = parent["body"]["delegation"]["overcommit_percent"]
        for dimension, amount in usd_of(parent).items():
            held = [usd_of(child)[dimension] for child in children if dimension in usd_of(child)]
            if 100 * sum(held) > amount * (100 + overcommit) or any(one > amount for one in held):
                found.append(f"{parent['path']}: {held} of {amount} {dimension}, overcommit {overcommit}")
        found += [f"{child['path']} ends late" for child in children if child["expires_at"] > parent["expires_at"]]
    return found
