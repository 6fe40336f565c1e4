"""One governed name of the vocabulary of tags, as it is and as it is to be; apart, so that ports can name it."""

from collections.abc import Collection
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class GovernedTag:
    """A tag name that somebody answers for. `values` are those allowed, None for any; `retired` were allowed once.

    With `grant_id` it holds for that grant and below, else everywhere. A retired name is free again.
    """

    name: str
    revision: int
    owner: str
    description: str
    values: frozenset[str] | None
    retired: frozenset[str] = frozenset()
    grant_id: str | None = None
    is_retired: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TagTerms:
    """What a tag is to be: `values` None for any; a grant's id where it holds there and below alone."""

    owner: str
    description: str
    values: Collection[str] | None
    grant_id: str | None = None
