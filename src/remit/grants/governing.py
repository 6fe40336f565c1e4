"""Writing the vocabulary of tags: who may, at which revision, and that nobody who left answers for a name."""

from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Protocol

from remit.grants.model import Actor, Problem
from remit.grants.vocabulary import may_write, revised, tag_problems, without_values
from remit.grants.vocabulary_model import GovernedTag, TagTerms
from remit.kernel.clock import Clock


class TagStore(Protocol):
    """Where the vocabulary is kept; nobody else writes it meanwhile."""

    def find(self, name: str) -> GovernedTag | None:
        """The tag of that name, also a retired one."""
        ...

    def put(self, tag: GovernedTag, now: datetime, by: str, reason: str) -> None:
        """Appends a revision."""
        ...


class Leavers(Protocol):
    """Who left."""

    def left(self, names: Iterable[str]) -> frozenset[str]:
        """Which of these people left, by their names without case."""
        ...


class VocabularyService:
    """The one way to write the vocabulary, inside one write."""

    def __init__(self, store: TagStore, people: Leavers, clock: Clock) -> None:
        self._store = store
        self._people = people
        self._clock = clock

    def set(
        self, name: str, terms: TagTerms, actor: Actor, reason: str, expected_revision: int | None = None
    ) -> GovernedTag | Problem:
        """Governs a name, or changes how. The same again changes nothing."""
        old = self._store.find(name)
        new = revised(old, name, terms)
        if problems := may_write(actor, old, new) or _at_revision(name, old, expected_revision) or tag_problems(new):
            return problems[0]
        if terms.owner.casefold() in self._people.left([terms.owner]):
            detail = f"`{name}` would be answered for by `{terms.owner}`, who left"
            return Problem(code="owner_left", path=name, field="owner", detail=detail)
        if old is not None and not old.is_retired and _same(old, new):
            return old
        self._store.put(new, self._clock.now(), actor.name, reason)
        return new

    def retire(
        self, name: str, values: Collection[str], actor: Actor, reason: str, expected_revision: int | None = None
    ) -> GovernedTag | Problem:
        """Takes values off the list, or without any retires the name: it is free again."""
        old = self._store.find(name)
        if old is None or old.is_retired:
            return unknown_tag(name)
        new = without_values(old, values)
        if isinstance(new, Problem):
            return new
        if problems := may_write(actor, old, new) or _at_revision(name, old, expected_revision):
            return problems[0]
        self._store.put(new, self._clock.now(), actor.name, reason)
        return new


def unknown_tag(name: str) -> Problem:
    """What is said of a name that nobody governs."""
    return Problem(code="unknown_tag", path=name[:80], detail=f"nobody governs a tag `{name[:80]}`")


def _same(old: GovernedTag, new: GovernedTag) -> bool:
    return (old.owner, old.description, old.values, old.grant_id) == (
        new.owner,
        new.description,
        new.values,
        new.grant_id,
    )


def _at_revision(name: str, old: GovernedTag | None, expected: int | None) -> list[Problem]:
    stored = 0 if old is None else old.revision
    if expected in (None, stored):
        return []
    detail = f"the tag `{name[:80]}` is at revision {stored}, not {expected}"
    return [Problem(code="revision_conflict", path=name[:80], detail=detail)]
