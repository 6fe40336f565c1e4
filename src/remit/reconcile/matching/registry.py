"""Which of a vendor's accounts, projects and keys the gateway uses. Whatever else has usage is spent past it."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from remit.reconcile.matching.cells import CellKey

_FIELDS: Final = ("account", "project", "key_id")


@dataclass(frozen=True, slots=True, kw_only=True)
class Registered:
    """One of them. None is any: a project with all its keys, an account with all its projects."""

    vendor: str
    deployment: str
    account: str | None = None
    project: str | None = None
    key_id: str | None = None

    def covers(self, key: CellKey) -> bool:
        """Whether what is stated of a key contradicts nothing of this."""
        return self.vendor == key.vendor and all(
            None in {mine := getattr(self, name), stated := getattr(key, name)} or mine == stated for name in _FIELDS
        )


class Registry:
    """All that is registered. A vendor of which nothing is registered is not looked at for unknown keys."""

    def __init__(self, entries: Iterable[Registered]) -> None:
        self._entries: dict[str, list[Registered]] = {}
        for entry in entries:
            self._entries.setdefault(entry.vendor, []).append(entry)
        self._known: dict[tuple[str, str | None, str | None, str | None], str | None] = {}

    def deployment(self, key: CellKey) -> str | None:
        """The deployment a key belongs to; None where it belongs to none."""
        short = (key.vendor, key.account, key.project, key.key_id)
        if short not in self._known:
            found = (entry.deployment for entry in self._entries.get(key.vendor, ()) if entry.covers(key))
            self._known[short] = next(found, None)
        return self._known[short]

    def is_foreign(self, key: CellKey) -> bool:
        """Whether a key is stated, something of its vendor is registered, and this is not."""
        stated = any(getattr(key, name) for name in _FIELDS)
        return stated and key.vendor in self._entries and self.deployment(key) is None
