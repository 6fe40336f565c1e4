"""Who is likely behind a key that nobody registered: whose names and models look most like it."""

import re
from collections.abc import Mapping, Sequence
from typing import Final

from remit.reconcile.matching.cells import CellKey
from remit.reconcile.matching.context import Grantee

_WORDS: Final = re.compile(r"[a-z0-9]+")
_COMMON: Final = frozenset({"key", "prod", "dev", "test", "default", "proj", "sk", "api"})
_PROJECT, _WORD, _MODELS, _LEAST = 50, 30, 40, 30


def words_in(*names: str | None) -> frozenset[str]:
    """The words of names, without those that every name has."""
    found = {word for name in names if name for word in _WORDS.findall(name.lower())}
    return frozenset(word for word in found - _COMMON if len(word) > 1)


def likeliest(key: CellKey, models: Mapping[str, int], grantees: Sequence[Grantee]) -> dict[str, str | int]:
    """The grant that looks most like it, and how much (of 150 or so); nothing where none does.

    The same project counts 50, each word in common 30, and models in common up to 40 by their part of the amount.
    """
    words = words_in(key.project, key.key_id)
    best, most = None, _LEAST - 1
    for one in grantees:
        if not one.grant_id:
            continue
        score = _PROJECT if key.project and one.key.project == key.project else 0
        score += _WORD * len(words & one.words)
        total = sum(map(abs, models.values()))
        common = sum(abs(amount) for model, amount in models.items() if model in one.models)
        score += _MODELS * common // total if total and score else 0
        if score > most:
            best, most = one, score
    return {} if best is None else {"likely_grant": best.grant_id, "likeness": most}
