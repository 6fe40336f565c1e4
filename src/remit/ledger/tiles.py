"""The tree's hashes in tiles of 256: level 0 holds the leaves' hashes, each level above the roots of the full tiles below it.

The arrangement of C2SP's tlog-tiles. Level `l` of a tree of `size` leaves has `size >> 8 * l` hashes; the last tile of a level may
be partial, and only grows.
"""

from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import Final

from remit.ledger.merkle import HASH_BYTES, ReadNode, full_root

TILE: Final = 256
_TILE_HEIGHT: Final = 8
_KEPT = 256

ReadTile = Callable[[int, int], bytes]
"""The hashes of the tile of a level and a number, one after the other."""


class TornTileError(Exception):
    """A tile has fewer hashes than the tree says; the message names it."""


def hashes_in(tile: bytes) -> list[bytes]:
    """The hashes of a tile."""
    return [tile[at : at + HASH_BYTES] for at in range(0, len(tile), HASH_BYTES)]


def node_reader(read_tile: ReadTile) -> ReadNode:
    """Reads nodes out of tiles, of which it keeps some. Raises TornTileError."""
    kept = lru_cache(maxsize=_KEPT)(read_tile)

    def read(height: int, index: int) -> bytes:
        level, rest = divmod(height, _TILE_HEIGHT)
        number, at = divmod(index << rest, TILE)
        hashes = kept(level, number)[at * HASH_BYTES : (at + (1 << rest)) * HASH_BYTES]
        if len(hashes) != HASH_BYTES << rest:
            raise TornTileError(f"tile {number} of level {level} lacks hashes")
        return full_root(hashes_in(hashes))

    return read


def leaves_in(read_tile: ReadTile, begin: int, end: int) -> Iterator[bytes]:
    """The leaves' hashes from `begin` up to `end`. Raises TornTileError."""
    while begin < end:
        number, at = divmod(begin, TILE)
        until = min(end, (number + 1) * TILE)
        hashes = hashes_in(read_tile(0, number)[at * HASH_BYTES : (until - number * TILE) * HASH_BYTES])
        if len(hashes) != until - begin:
            raise TornTileError(f"tile {number} of level 0 lacks hashes")
        yield from hashes
        begin = until


class Growth:
    """A tree's last tiles while leaves are added. `changed` is what has to be written, by (level, number)."""

    def __init__(self, size: int, read_tile: ReadTile) -> None:
        """Reads the partial tiles of a tree of that size. Raises TornTileError."""
        self.size = size
        self.changed: dict[tuple[int, int], bytes] = {}
        self._last: list[bytearray] = []
        self._full: list[int] = []
        while size:
            number, count = divmod(size, TILE)
            tile = read_tile(len(self._last), number)[: count * HASH_BYTES] if count else b""
            if len(tile) != count * HASH_BYTES:
                raise TornTileError(f"tile {number} of level {len(self._last)} lacks hashes")
            self._last.append(bytearray(tile))
            self._full.append(number)
            size = number

    def extend(self, leaves: Iterable[bytes]) -> None:
        """Adds leaves' hashes."""
        for leaf in leaves:
            self.size += 1
            self._add(0, leaf)
        for level, tile in enumerate(self._last):
            if tile:
                self.changed[level, self._full[level]] = bytes(tile)

    def _add(self, level: int, node: bytes) -> None:
        if level == len(self._last):
            self._last.append(bytearray())
            self._full.append(0)
        tile = self._last[level]
        tile += node
        if len(tile) == TILE * HASH_BYTES:
            full = bytes(tile)
            self.changed[level, self._full[level]] = full
            self._full[level] += 1
            tile.clear()
            self._add(level + 1, full_root(hashes_in(full)))
