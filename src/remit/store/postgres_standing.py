"""Who is there and who has which role, in one open transaction: `remit.renewals.ports.People`."""

from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from datetime import datetime

import psycopg

from remit.grants.model import RoleBinding
from remit.grants.roles import RIGHTS_OF
from remit.kernel.clock import Clock
from remit.store.named import query
from remit.store.postgres_roster import PostgresRoster, StoredBinding, person_key


class PostgresStanding:
    """Over a connection of the authority's role."""

    def __init__(self, connection: psycopg.Connection, clock: Clock) -> None:
        self._connection = connection
        self._clock = clock
        self._roster = PostgresRoster(lambda: nullcontext(connection))

    def is_active(self, name: str) -> bool:
        return not self._roster.left([name])

    def left(self) -> frozenset[str]:
        return self._roster.left()

    def delegate_of(self, name: str, now: datetime) -> str | None:
        found = self._roster.find(person_key(name))
        return None if found is None else found.delegate_at(now)

    def rota(self, grant_ids: Sequence[str]) -> list[str]:
        deciders = [one for one in self._roster.bindings() if "decide_tickets" in RIGHTS_OF[one.role]]
        for grant_id in (*reversed(grant_ids), None):
            found = _people(one for one in deciders if one.grant_id == grant_id and _asked(one))
            if found:
                return found
        return []

    def acts_for(self, name: str, grant_ids: Sequence[str]) -> frozenset[str]:
        tops = {one.grant_id for one in self._bindings(name) if "decide_tickets" in RIGHTS_OF[one.role]}
        if None in tops:
            return frozenset(grant_ids)
        first = next((place for place, grant_id in enumerate(grant_ids) if grant_id in tops), len(grant_ids))
        return frozenset(grant_ids[first:])

    def roles(self, name: str) -> tuple[RoleBinding, ...]:
        return tuple(RoleBinding(one.role, one.grant_id) for one in self._bindings(name))

    def org_owners(self) -> list[str]:
        rows = self._connection.execute(query("people_admins"), {"now": self._clock.now()}).fetchall()
        named = (one for one in self._roster.bindings() if one.role == "org_owner" and one.grant_id is None)
        return sorted({person_key(row[0]): row[0] for row in rows} | {one: one for one in _people(named)})

    def finance(self, grant_ids: Sequence[str]) -> list[str]:
        held = [one for one in self._roster.bindings() if one.role == "finance"]
        return _people(one for one in held if one.grant_id is None or one.grant_id in grant_ids)

    def _bindings(self, name: str) -> list[StoredBinding]:
        return self._roster.bindings(person_key(name))


def _asked(binding: StoredBinding) -> bool:
    """Whoever owns the whole organisation is asked last, not with the approvers."""
    return binding.role != "org_owner" or binding.grant_id is not None


def _people(bindings: Iterable[StoredBinding]) -> list[str]:
    return sorted({one.person for one in bindings})
