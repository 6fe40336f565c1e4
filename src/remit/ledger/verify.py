"""Whether entries are those that were sealed: compared with the tree's hashes, and these with what was signed."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final, Literal, Protocol

from remit.ledger.canonical import UnsealableError, encode_row, id_of
from remit.ledger.checkpoint import Checkpoint
from remit.ledger.merkle import Range, full_root, leaf_hash
from remit.ledger.tiles import TILE, Growth, TornTileError, leaves_in

MAX_FAULTS: Final = 1000
_CHUNK_HEIGHT = 8

Kind = Literal["edited", "missing", "added", "reordered", "rewritten", "hashes", "checkpoint", "archive", "part"]
"""`rewritten`: entries and the hashes kept beside them were changed together, so only between which sizes can be told.
`archive`: the archive is not what was written to it. `part`: an export is not of the whole ledger, and should be."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that is not as it was signed. `index` is where in the tree, `entry_id` which entry is there now."""

    kind: Kind
    index: int | None
    entry_id: str | None
    detail: str
    hash: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Away:
    """Entries that are known to have left: to the archive, which could not be read, or for good, as their time was up.

    `name` says which (a partition, or a month and class), `at` since when. `digest` is of the lines of what expired.
    """

    how: Literal["archived", "expired"]
    name: str
    entries: int
    at: datetime | None
    digest: bytes = b""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was looked at and what was found: entries from `begin` up to `end`, and the checkpoints they were compared with.

    Of these entries `unseen` were not there to be looked at, and have left as `away` says: that there was an entry is shown by
    the tree, which has its hash, and what it said is not. `why_unseen` says why that is not enough: it is kept somewhere.
    """

    begin: int
    end: int
    compared: tuple[Checkpoint, ...]
    faults: tuple[Fault, ...]
    more_faults: int
    unseen: int = 0
    away: tuple[Away, ...] = ()
    why_unseen: str | None = None

    @property
    def outcome(self) -> Literal["verified", "incomplete", "differs"]:
        """Whether nothing differs, and what was not looked at is known to be gone for good."""
        if self.faults:
            return "differs"
        return "verified" if not self.unseen or self.why_unseen is None else "incomplete"


@dataclass(frozen=True, slots=True)
class Block:
    """Entries that were sealed from `first_index` up to `end`, as there are now: each one's row as JSON.

    With `may_lack` some of them may have left, and cannot be read.
    """

    first_index: int
    end: int
    rows: Sequence[str | bytes]
    may_lack: bool = False


class SealedReads(Protocol):
    """The sealed entries as of one moment."""

    def tile(self, level: int, number: int) -> bytes: ...

    def blocks(self, begin: int, end: int) -> Iterator[Block]:
        """Entries from one index up to another, a block at a time."""

    def upper_tiles(self) -> Iterator[tuple[int, int, bytes]]:
        """(level, number, hashes) of all tiles above the leaves'."""

    def away(self) -> Sequence[Away]:
        """What has left and cannot be read: no more entries than these may be missing in blocks that may lack some."""

    def why_unread(self) -> str | None:
        """Why the archive is not read, where something is in it alone."""

    def strays(self) -> Sequence[str]:
        """How the archive, as far as blocks of it were read, is not what was written to it, besides its entries."""


class Unseen:
    """Counts the entries that are not where they were sealed and may have left."""

    def __init__(self) -> None:
        self.count = 0
        self._first = self._last = 0

    def takes(self, fault: "Fault", *, may_lack: bool) -> bool:
        """Whether this is such an entry, and no fault as long as no more are missing than have left."""
        if fault.kind != "missing" or fault.index is None or not may_lack:
            return False
        self._first = self._first if self.count else fault.index
        self._last = fault.index
        self.count += 1
        return True

    def faults(self, away: Sequence[Away]) -> Iterator["Fault"]:
        """What of it is one after all."""
        known = sum(one.entries for one in away)
        if self.count > known:
            detail = (
                f"from here up to index {self._last} {self.count:,} entries are not there, and {known:,} of them can have left:"
                f" {self.count - known:,} are missing"
            )
            yield Fault("missing", self._first, None, detail)


class Replay:
    """Folds leaves' hashes into the tree again, and compares it with each checkpoint on the way."""

    def __init__(self, begin: Range, checkpoints: Iterable[Checkpoint]) -> None:
        self._range = begin
        self._waiting = sorted((one for one in checkpoints if one.size >= begin.end), key=lambda one: -one.size)
        self._chunk: list[bytes] = []
        self.compared: list[Checkpoint] = []
        self.matched_to = begin.end
        self.faults: list[Fault] = []
        self.chunk_roots: list[bytes] = []
        self._compare()

    @property
    def end(self) -> int:
        return self._range.end + len(self._chunk)

    def extend(self, leaves: Iterable[bytes]) -> None:
        """Adds leaves' hashes."""
        for leaf in leaves:
            if not self._chunk and self._range.end % TILE:
                self._range.append(leaf)
            else:
                self._chunk.append(leaf)
                if len(self._chunk) == TILE:
                    root = full_root(self._chunk)
                    self.chunk_roots.append(root)
                    self._range.push(_CHUNK_HEIGHT, root)
                    self._chunk.clear()
            if self._waiting and self._waiting[-1].size == self.end:
                self._compare()

    def whole(self) -> Range:
        """The run so far."""
        grown = self._range.copy()
        for leaf in self._chunk:
            grown.append(leaf)
        return grown

    def _compare(self) -> None:
        while self._waiting and self._waiting[-1].size == self.end:
            self.compare(self._waiting.pop(), self.whole())

    def compare(self, checkpoint: Checkpoint, tree: Range) -> None:
        """Compares a tree of that size with it."""
        self.compared.append(checkpoint)
        if tree.begin == 0 and tree.root() == checkpoint.root:
            self.matched_to = checkpoint.size
        elif not self.faults:
            where = f"entries from index {self.matched_to} up to {checkpoint.size}"
            detail = (
                f"{where} are not, by the hashes kept beside them, those of the checkpoint of {checkpoint.size} entries"
            )
            self.faults.append(Fault("rewritten", self.matched_to, None, detail))


def verify_sealed(
    reads: SealedReads, size: int, checkpoints: Sequence[Checkpoint], progress: Callable[[int], object] = lambda _: None
) -> Verdict:
    """Compares all sealed entries with the tree's hashes, and those with every checkpoint.

    `progress` hears how far it has come.
    """
    replay = Replay(Range(0, 0, ()), checkpoints)
    found: list[Fault] = []
    unseen = Unseen()
    hidden = 0
    for block in reads.blocks(0, size):
        try:
            expected = list(leaves_in(reads.tile, block.first_index, block.end))
        except TornTileError as error:
            found.append(Fault("hashes", block.first_index, None, str(error)))
            break
        for fault in differences(block.first_index, expected, block.rows):
            if unseen.takes(fault, may_lack=block.may_lack):
                continue
            if len(found) < MAX_FAULTS:
                found.append(fault)
            else:
                hidden += 1
        replay.extend(expected)
        progress(replay.end)
    if not found or found[-1].kind != "hashes":
        found += _upper_faults(replay.chunk_roots, reads)
    if replay.end < size and not found:
        found.append(Fault("hashes", replay.end, None, f"the seals end at {replay.end}, not at {size}"))
    for one in checkpoints:
        if one.size > replay.end:
            detail = f"a checkpoint of {one.size} entries was signed, but only {replay.end} are there"
            found.append(Fault("missing", replay.end, None, detail))
            break
    away = tuple(reads.away()) if unseen.count else ()
    found += [*unseen.faults(away), *(Fault("archive", None, None, text) for text in reads.strays())]
    faults = (*moved(found), *replay.faults)
    return Verdict(0, replay.end, tuple(replay.compared), faults, hidden, unseen.count, away, reads.why_unread())


def differences(first_index: int, expected: Sequence[bytes], rows: Sequence[str | bytes]) -> Iterator[Fault]:
    """Where the rows of a block are not the leaves with these hashes, and how, as far as that can be told."""
    return aligned(first_index, expected, [_leaf_of(row) for row in rows], lambda at: id_of(rows[at]))


def aligned(
    first_index: int, expected: Sequence[bytes], found: Sequence[bytes], id_of: Callable[[int], str | None]
) -> Iterator[Fault]:
    """The same of hashes; `id_of` tells the entry at a place of `found`."""
    if found == expected:
        return
    known, there = set(expected), set(found)
    i = j = 0
    while i < len(expected) or j < len(found):
        if i < len(expected) and j < len(found) and expected[i] == found[j]:
            i, j = i + 1, j + 1
            continue
        lost = i < len(expected) and expected[i] not in there
        new = j < len(found) and found[j] not in known
        index = first_index + i
        if lost and new:
            yield Fault("edited", index, id_of(j), "it is another entry than was sealed here")
            i, j = i + 1, j + 1
        elif lost:
            yield Fault("missing", index, None, "the entry that was sealed here is not there", expected[i])
            i += 1
        elif new:
            yield Fault("added", index, id_of(j), "it was not sealed here", found[j])
            j += 1
        else:
            yield Fault("reordered", index, id_of(j) if j < len(found) else None, "entries stand in another order")
            # Where the next one is right, only one was moved: away from here, or to here.
            gone = j < len(found) and expected[i + 1 : i + 2] == [found[j]]
            came = i < len(expected) and list(found[j + 1 : j + 2]) == [expected[i]]
            i, j = min(i + (not came or gone), len(expected)), min(j + (not gone), len(found))


def moved(faults: Sequence[Fault]) -> Iterator[Fault]:
    """What is missing in one block and too much in another was moved."""
    lost = {one.hash for one in faults if one.kind == "missing" and one.hash}
    new = {one.hash: one for one in faults if one.kind == "added" and one.hash}
    for one in faults:
        if one.kind == "missing" and one.hash in new:
            moved = new[one.hash]
            yield replace(
                one, kind="reordered", entry_id=moved.entry_id, detail=f"it stands before index {moved.index} now"
            )
        elif one.kind != "added" or one.hash not in lost:
            yield one


def _upper_faults(chunk_roots: Sequence[bytes], reads: SealedReads) -> Iterator[Fault]:
    """Where the tiles above the leaves' are not those that follow from the leaves'."""
    growth = Growth(0, no_tile)
    growth.extend(chunk_roots)
    wanted = {(level + 1, number): hashes for (level, number), hashes in growth.changed.items()}
    for level, number, hashes in reads.upper_tiles():
        if wanted.pop((level, number), None) != hashes:
            index = number * TILE << 8 * level
            yield Fault("hashes", index, None, f"tile {number} of level {level} does not follow from those below it")
    for level, number in wanted:
        yield Fault("hashes", number * TILE << 8 * level, None, f"tile {number} of level {level} is not there")


def no_tile(_level: int, _number: int) -> bytes:
    """Reads the tiles of an empty tree."""
    return b""


def _leaf_of(row: str | bytes) -> bytes:
    try:
        return leaf_hash(encode_row(row))
    except UnsealableError:
        return b""
