"""What entries come to: kept with each segment, and made again when the archive is looked at."""

from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any


@dataclass
class Sums:
    """What entries come to, one after the other: how many, how much, and digests of their lines and of their hashes."""

    entries: int = 0
    amount_nanousd: int = 0
    _lines: Any = field(default_factory=sha256)
    _hashes: Any = field(default_factory=sha256)

    def add(self, line: bytes, entry_hash: bytes, amount_nanousd: int) -> None:
        """The next entry, in the order of their numbers."""
        self.entries += 1
        self.amount_nanousd += amount_nanousd
        self._lines.update(line + b"\n")
        self._hashes.update(entry_hash)

    @property
    def told(self) -> tuple[int, int, bytes, bytes]:
        """Entries, nano-USD, digest of the lines, digest of the hashes."""
        return self.entries, self.amount_nanousd, self._lines.digest(), self._hashes.digest()
