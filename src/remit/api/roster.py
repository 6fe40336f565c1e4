"""People and their roles: who joins, who stands in for whom, who leaves and what becomes of what they own.

Everything here happens inside one write, together with the answer that is remembered.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from remit.grants.leaving import owned_by, ownerless, who_answers
from remit.grants.model import Actor, Grant, Problem, RoleBinding, same_person
from remit.grants.ports import GrantRepository
from remit.grants.roles import may, who_may
from remit.grants.service import Authorship, GrantService, NotWritten
from remit.grants.tree import Tree
from remit.kernel.clock import Clock
from remit.kernel.ids import new_id
from remit.kernel.names import PERSON_NAME
from remit.renewals.succession import Handed, Succession
from remit.store.postgres_roster import PersonRecord, PostgresRoster, Source, StoredBinding, person_key


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """What leaving did: paths of grants that moved to the successor, and of those that have no owner now; tickets.

    `was_known`: whether there was anybody of that name before. One with a slip in it leaves, and whoever was meant stays.
    """

    person: PersonRecord
    moved: tuple[str, ...]
    ownerless: tuple[str, ...]
    tokens_revoked: int
    roles_ended: int
    tickets: Handed
    was_known: bool


class RosterService:
    """The one way to write people and roles, for the command line, the API, sign-in and directories alike."""

    def __init__(
        self,
        roster: PostgresRoster,
        repository: GrantRepository,
        grants: GrantService,
        succession: Succession,
        clock: Clock,
    ) -> None:
        self._roster = roster
        self._repository = repository
        self._grants = grants
        self._succession = succession
        self._clock = clock

    def join(self, name: str, by: str, source: Source) -> PersonRecord | Problem:
        """The person of that name, made known if need be. A problem for who left."""
        if not PERSON_NAME.fullmatch(name):
            detail = f"`{name[:80]}` is not an e-mail address of a person"
            return Problem(code="name_invalid", path="", field="name", detail=detail)
        now, key = self._clock.now(), person_key(name)
        self._roster.put(key, new_id("person", now), source, by, now)
        person = self._roster.find(key)
        assert person is not None
        return person if person.status == "active" else _left(key)

    def give(self, name: str, binding: RoleBinding, by: Actor, source: Source) -> StoredBinding | Problem:
        """A role for a person, for the whole organization or from a grant down; once more, it is the one that stands."""
        refused = self._not_permitted(by, binding.grant_id, f"give the role {binding.role}")
        if refused is not None:
            return refused
        person = self.join(name, by.name, source)
        if isinstance(person, Problem):
            return person
        now = self._clock.now()
        for standing in self._roster.bindings(person.name):
            if (standing.role, standing.grant_id, standing.source) == (binding.role, binding.grant_id, source):
                return standing
        binding_id = new_id("role", now)
        self._roster.bind(
            StoredBinding(
                id=binding_id,
                person=person.name,
                role=binding.role,
                grant_id=binding.grant_id,
                source=source,
                created_at=now,
                created_by=by.name,
            )
        )
        (stored,) = self._roster.bindings(binding_id=binding_id)
        return stored

    def end(self, binding_id: str, by: Actor) -> StoredBinding | Problem:
        """Ends a role; again, it changes nothing."""
        found = self._roster.bindings(binding_id=binding_id, ended=True)
        refused = self._not_permitted(by, found[0].grant_id, "end this role") if found else None
        if not found or refused is not None:
            detail = f"there is no role binding `{binding_id[:80]}`"
            return refused or Problem(code="unknown_role_binding", path="", field="id", detail=detail)
        self._roster.end(binding_id, by.name, self._clock.now())
        (ended,) = self._roster.bindings(binding_id=binding_id, ended=True)
        return ended

    def set_from_groups(self, name: str, wanted: Iterable[RoleBinding], by: Actor) -> None:
        """Makes the roles that a person has from signing in exactly these."""
        key, now = person_key(name), self._clock.now()
        standing = {
            RoleBinding(one.role, one.grant_id): one for one in self._roster.bindings(key) if one.source == "oidc"
        }
        wanted = set(wanted)
        for binding, stored in standing.items():
            if binding not in wanted:
                self._roster.end(stored.id, by.name, now)
        for binding in sorted(wanted - standing.keys(), key=lambda one: (one.role, one.grant_id or "")):
            given = self.give(key, binding, by, "oidc")
            assert not isinstance(given, Problem), given

    def delegate(self, name: str, delegate: str | None, until: datetime | None, by: Actor) -> PersonRecord | Problem:
        """Has somebody stand in for a person until an instant, or nobody any more. Takes that person, or an admin."""
        assert (delegate is None) == (until is None)
        if not by.is_admin and (not same_person(by.name, name) or by.within is not None):
            detail = f"`{by.name}` may not name who stands in for `{name}`: that takes that person or an admin"
            return Problem(code="not_permitted", path="", detail=detail)
        people = [self.join(one, by.name, "command") for one in (name, delegate) if one is not None]
        for person in people:
            if isinstance(person, Problem):
                return person
        if delegate is not None and same_person(name, delegate):
            detail = "nobody stands in for themselves"
            return Problem(code="delegate_invalid", path="", field="delegate", detail=detail)
        if until is not None and until <= self._clock.now():
            detail = "a delegate stands in until an instant that lies in the future"
            return Problem(code="delegate_invalid", path="", field="until", detail=detail)
        key = person_key(name)
        self._roster.set_delegate(key, None if delegate is None else person_key(delegate), until)
        return self._stored(key)

    def leave(self, name: str, successor: str | None, by: Authorship) -> Left | Problem:
        """A person leaves: no token of theirs works, no role stands, and nothing they own is without anybody unseen.

        Grants go to the successor where the rules let them, each as a revision; the others are told of to whoever answers
        above. Their open tickets are handed on or withdrawn. Once more, with another successor, it hands over what still is
        theirs.
        """
        refused = self._not_permitted(by.actor, None, f"say that `{name}` left")
        if refused is not None:
            return refused
        key, now = person_key(name), self._clock.now()
        was_known = self._roster.find(key) is not None
        known = self.join(name, by.actor.name, "command")
        if isinstance(known, Problem) and known.code != "person_left":
            return known
        if successor is not None:
            problem = self._successor_problem(key, successor)
            if problem is not None:
                return problem
        if successor is not None:
            answer = self._grants.hand_over(name, successor, by)
            if isinstance(answer, NotWritten):
                return answer.problems[0]
            moved = tuple(grant.path for grant in answer.grants)
        else:
            moved = ()
        person = self._roster.find(key)
        stand_in = None if person is None else person.delegate_at(now)
        self._roster.set_left(key, None if successor is None else person_key(successor), now)
        tokens = self._roster.revoke_tokens(key, now)
        roles = self._roster.end_all(key, by.actor.name, now)
        tickets = self._succession.left(key, stand_in, by)
        orphans = self._tell_ownerless(key, now)
        return Left(
            person=self._stored(key),
            moved=moved,
            ownerless=orphans,
            tokens_revoked=tokens,
            roles_ended=roles,
            tickets=tickets,
            was_known=was_known or bool(moved or orphans),
        )

    def come_back(self, name: str, by: Actor) -> PersonRecord | Problem:
        """A person who left may be given tokens, roles and grants again; they have none of those they had."""
        refused = self._not_permitted(by, None, f"let `{name}` come back")
        if refused is not None:
            return refused
        key = person_key(name)
        if self._roster.find(key) is None:
            return Problem(code="unknown_person", path="", field="name", detail=f"there is no person `{key[:80]}`")
        self._roster.set_returned(key)
        return self._stored(key)

    def _successor_problem(self, key: str, successor: str) -> Problem | None:
        if person_key(successor) == key:
            detail = "nobody is their own successor"
            return Problem(code="successor_invalid", path="", field="successor", detail=detail)
        joined = self.join(successor, "remit", "command")
        return joined if isinstance(joined, Problem) else None

    def _tell_ownerless(self, key: str, now: datetime) -> tuple[str, ...]:
        """Tells whoever answers above each grant that this person still owns; the paths."""
        with self._repository.read() as reads:
            tree = Tree(reads.load_tree())
        left = self._roster.left()
        still = owned_by(tree, key, now)
        for grant in still:
            owner = who_answers(tree, grant, left)
            recipients = [owner] if owner is not None else self._admins()
            body = {"path": grant.path, "owner": grant.owner, "left_at": now.isoformat()}
            self._roster.notify_ownerless(grant.id, recipients, body, now)
        return tuple(grant.path for grant in still)

    def _admins(self) -> list[str]:
        standing = self._roster.bindings()
        return who_may("give_roles", (), [(one.person, RoleBinding(one.role, one.grant_id)) for one in standing])

    def ownerless(self) -> list[Grant]:
        """The live grants whose owner left."""
        with self._repository.read() as reads:
            tree = Tree(reads.load_tree())
        return ownerless(tree, self._roster.left(), self._clock.now())

    def _not_permitted(self, actor: Actor, grant_id: str | None, deed: str) -> Problem | None:
        nodes: tuple[Grant, ...] = ()
        if grant_id is not None:
            with self._repository.read() as reads:
                tree = Tree(reads.load_tree())
            nodes = tree.path_to(tree[grant_id])
        if may(actor, "give_roles", nodes):
            return None
        where = f" for `{nodes[-1].path}`: that takes an org_owner of it, or" if nodes else ": that takes"
        return Problem(code="not_permitted", path="", detail=f"`{actor.name}` may not {deed}{where} an admin")

    def _stored(self, key: str) -> PersonRecord:
        person = self._roster.find(key)
        assert person is not None
        return person


def _left(key: str) -> Problem:
    detail = f"`{key}` left; `remit person return {key}` lets them come back"
    return Problem(code="person_left", path="", field="name", detail=detail)
