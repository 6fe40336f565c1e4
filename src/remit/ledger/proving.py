"""Proofs about sealed entries."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from remit.ledger.checkpoint import Checkpoint
from remit.ledger.merkle import consistency_proof, inclusion_proof, leaf_hash, root_of
from remit.ledger.tiles import node_reader


class NotProvableError(LookupError):
    """There is nothing to prove; the message says why. `is_unknown` says that there is no such entry."""

    def __init__(self, message: str, *, is_unknown: bool = False) -> None:
        super().__init__(message)
        self.is_unknown = is_unknown


class PublishedCheckpoint(Protocol):
    """A checkpoint and its note."""

    @property
    def checkpoint(self) -> Checkpoint: ...

    @property
    def note(self) -> str: ...


class ProvableReads(Protocol):
    """What is sealed, as of one moment."""

    def size(self) -> int: ...

    def tile(self, level: int, number: int) -> bytes: ...

    def find(self, entry_id: str, nodes: Sequence[str] | None = None) -> tuple[bytes, int | None] | None: ...

    def published(self, origin: str | None) -> PublishedCheckpoint | None: ...


@dataclass(frozen=True, slots=True)
class EntryProof:
    """`path` leads from the leaf of these bytes at `index` to the root over `size` entries; `note` is signed, if it is that one."""

    entry: bytes
    index: int
    size: int
    path: tuple[bytes, ...]
    root: bytes
    note: str | None


@dataclass(frozen=True, slots=True)
class GrowthProof:
    """`path` proves that the tree of `new` entries begins with all of that of `old`."""

    old: int
    old_root: bytes
    new: int
    new_root: bytes
    path: tuple[bytes, ...]


def prove_entry(
    reads: ProvableReads, entry_id: str, size: int | None = None, nodes: Sequence[str] | None = None
) -> EntryProof:
    """That an entry is in the tree of that size, or of the newest checkpoint. Raises NotProvableError.

    What is proved is the entry as it is now: one that was altered since has no path that leads to the root, and is refused.
    """
    published = reads.published(None)
    if size is None:
        if published is None:
            raise NotProvableError("there is no checkpoint yet")
        size = published.checkpoint.size
    found = reads.find(entry_id, nodes)
    if found is None:
        raise NotProvableError(f"there is no entry `{entry_id}`", is_unknown=True)
    entry, index = found
    if not 0 < size <= reads.size():
        raise NotProvableError(f"{reads.size()} entries are sealed; there is no tree of {size}")
    if index is None or index >= size:
        raise NotProvableError(f"`{entry_id}` is not among the first {size} sealed entries")
    read = node_reader(reads.tile)
    if read(0, index) != leaf_hash(entry):
        raise NotProvableError(f"`{entry_id}` is not what was sealed at index {index}: `remit ledger verify` says more")
    is_published = published is not None and published.checkpoint.size == size
    note = published.note if published is not None and is_published else None
    return EntryProof(entry, index, size, tuple(inclusion_proof(read, index, size)), root_of(read, size), note)


def prove_growth(reads: ProvableReads, old: int, new: int) -> GrowthProof:
    """That one tree begins with the other. Raises NotProvableError."""
    if not 0 < old <= new <= reads.size():
        raise NotProvableError(f"{reads.size()} entries are sealed; sizes are from 1 to that, the smaller one first")
    read = node_reader(reads.tile)
    return GrowthProof(old, root_of(read, old), new, root_of(read, new), tuple(consistency_proof(read, old, new)))
