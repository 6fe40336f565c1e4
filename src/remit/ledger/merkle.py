"""The Merkle tree of RFC 6962 and RFC 9162 over leaf hashes: growing, roots, proofs and their verification.

A node is named by its height and index: it covers the leaves from `index << height` on, `1 << height` of them. A tree of any
size is a row of such nodes, the widest first; a `Range` is the same for any run of leaves.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from hashlib import sha256
from typing import Final

HASH_BYTES: Final = 32
EMPTY_ROOT: Final = sha256(b"").digest()
MAX_PROOF: Final = 64
"""A tree of 2^63 leaves needs no longer one; a longer one is refused before it is looked at."""

ReadNode = Callable[[int, int], bytes]
"""The hash of the node of a height and an index."""


def leaf_hash(leaf: bytes) -> bytes:
    """MTH({d}) of RFC 6962, section 2.1."""
    return sha256(b"\x00" + leaf).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of an inner node."""
    return sha256(b"\x01" + left + right).digest()


def full_root(hashes: Sequence[bytes]) -> bytes:
    """The root over a power of two of neighbours."""
    row = list(hashes)
    assert row and len(row) & (len(row) - 1) == 0
    while len(row) > 1:
        pairs = iter(row)
        row = [sha256(b"\x01" + left + right).digest() for left, right in zip(pairs, pairs, strict=True)]
    return row[0]


def nodes_of(begin: int, end: int) -> Iterator[tuple[int, int]]:
    """(height, index) of the fewest nodes that cover the leaves from `begin` up to `end`, from left to right."""
    while begin < end:
        height = (end - begin).bit_length() - 1
        if begin:
            height = min(height, (begin & -begin).bit_length() - 1)
        yield height, begin >> height
        begin += 1 << height


class Range:
    """The fewest nodes over a run of leaves; it grows to the right. `root` is that of a tree where the run begins at 0."""

    __slots__ = ("_nodes", "begin", "end")

    def __init__(self, begin: int, end: int, nodes: Sequence[bytes]) -> None:
        """Raises ValueError for another number of nodes than such a run has."""
        if not 0 <= begin <= end or len(nodes) != sum(1 for _ in nodes_of(begin, end)):
            raise ValueError(f"{len(nodes)} nodes do not cover leaves {begin} to {end}")
        self.begin = begin
        self.end = end
        self._nodes = list(nodes)

    @property
    def nodes(self) -> tuple[bytes, ...]:
        return tuple(self._nodes)

    def copy(self) -> "Range":
        return Range(self.begin, self.end, self._nodes)

    def append(self, leaf: bytes) -> None:
        """Adds the hash of the next leaf."""
        self.push(0, leaf)

    def push(self, height: int, node: bytes) -> None:
        """Adds a node right behind the last one; the run's end has to be a multiple of what it covers."""
        index = self.end >> height
        assert index << height == self.end
        self.end += 1 << height
        while index & 1 and (index - 1) << height >= self.begin:
            node = node_hash(self._nodes.pop(), node)
            index >>= 1
            height += 1
        self._nodes.append(node)

    def root(self) -> bytes:
        """MTH of the tree."""
        assert self.begin == 0
        return _fold(self._nodes)


def _fold(nodes: Sequence[bytes]) -> bytes:
    if not nodes:
        return EMPTY_ROOT
    root = nodes[-1]
    for left in reversed(nodes[:-1]):
        root = node_hash(left, root)
    return root


def range_of(read: ReadNode, begin: int, end: int) -> Range:
    """The run of leaves from `begin` up to `end` of a tree whose nodes can be read."""
    return Range(begin, end, [read(height, index) for height, index in nodes_of(begin, end)])


def root_of(read: ReadNode, size: int) -> bytes:
    """The root over the first `size` leaves."""
    return range_of(read, 0, size).root()


def inclusion_proof(read: ReadNode, index: int, size: int) -> list[bytes]:
    """PATH(index, D[size]) of RFC 6962, section 2.1.1."""
    assert 0 <= index < size
    path: list[bytes] = []
    begin, end = 0, size
    while end - begin > 1:
        middle = begin + _half(end - begin)
        if index < middle:
            path.append(_fold(range_of(read, middle, end).nodes))
            end = middle
        else:
            path.append(_fold(range_of(read, begin, middle).nodes))
            begin = middle
    return path[::-1]


def consistency_proof(read: ReadNode, old: int, new: int) -> list[bytes]:
    """PROOF(old, D[new]) of RFC 6962, section 2.1.2; empty where there is nothing to prove: an empty tree, or the same one."""
    assert 0 <= old <= new
    path: list[bytes] = []
    begin, end = 0, new
    if old == 0:
        return path
    while end != old:
        middle = begin + _half(end - begin)
        if old <= middle:
            path.append(_fold(range_of(read, middle, end).nodes))
            end = middle
        else:
            path.append(_fold(range_of(read, begin, middle).nodes))
            begin = middle
    if begin:
        path.append(_fold(range_of(read, begin, end).nodes))
    return path[::-1]


def _half(count: int) -> int:
    """The largest power of two below a count of at least two."""
    return 1 << (count - 1).bit_length() - 1


def includes(leaf: bytes, index: int, size: int, path: Sequence[bytes], root: bytes) -> bool:
    """Whether a path proves that the leaf with this hash is the one at `index`; RFC 9162, section 2.1.3.2."""
    if not 0 <= index < size or not _well_formed(path):
        return False
    at, last, found = index, size - 1, leaf
    for node in path:
        if last == 0:
            return False
        if at & 1 or at == last:
            found = node_hash(node, found)
            while at & 1 == 0 and at:
                at, last = at >> 1, last >> 1
        else:
            found = node_hash(found, node)
        at, last = at >> 1, last >> 1
    return last == 0 and found == root


def extends(old: int, old_root: bytes, new: int, new_root: bytes, path: Sequence[bytes]) -> bool:
    """Whether a path proves that one tree begins with all of another; RFC 9162, section 2.1.4.2."""
    if not 0 <= old <= new or not _well_formed(path):
        return False
    if old == 0:
        return not path and old_root == EMPTY_ROOT
    if old == new:
        return not path and old_root == new_root
    nodes: Iterable[bytes] = path
    if old & (old - 1) == 0:
        nodes = (old_root, *path)
    rest = iter(nodes)
    first = next(rest, None)
    if first is None:
        return False
    at, last = old - 1, new - 1
    while at & 1:
        at, last = at >> 1, last >> 1
    found_old = found_new = first
    for node in rest:
        if last == 0:
            return False
        if at & 1 or at == last:
            found_old, found_new = node_hash(node, found_old), node_hash(node, found_new)
            while at & 1 == 0 and at:
                at, last = at >> 1, last >> 1
        else:
            found_new = node_hash(found_new, node)
        at, last = at >> 1, last >> 1
    return last == 0 and found_old == old_root and found_new == new_root


def _well_formed(path: Sequence[bytes]) -> bool:
    return len(path) <= MAX_PROOF and all(len(node) == HASH_BYTES for node in path)
