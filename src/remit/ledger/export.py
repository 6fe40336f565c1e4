"""Exports of the ledger: JSON lines that can be verified with a checkpoint and a public key, and nothing else.

    {"after":[...],"before":[...],"checkpoint":"...","format":"remit-ledger","since_index":0,"until_index":2,"version":1}
    an entry in canonical form
    an entry in canonical form
    {"hashes":"..."}

A line of hashes ends a block: base64 of the leaves' hashes of the entries in it. `before` and `after` are the nodes over what
is left out on either side, of the tree of the checkpoint. Where entries have expired, `expired` says which: their hashes are there.
"""

from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Annotated, Final, Literal

import msgspec

from remit.ledger.canonical import encode_row, id_of
from remit.ledger.checkpoint import MAX_SIZE, Checkpoint, CheckpointError, VerifierKey, open_note
from remit.ledger.merkle import HASH_BYTES, MAX_PROOF, Range, leaf_hash, nodes_of, range_of
from remit.ledger.model import ArchivedError
from remit.ledger.tiles import hashes_in, leaves_in, node_reader
from remit.ledger.verify import MAX_FAULTS, Away, Fault, Replay, SealedReads, Unseen, Verdict, aligned, moved

MAX_BLOCK: Final = 8192
"""The most entries between two lines of hashes."""
MAX_EXPIRED: Final = 10_000
"""The most months and classes that can have expired."""
_HASHES = b'{"hashes":'
_UNSIGNED = (
    "that their time was up is what the export says, and nobody signed that: ask who wrote it, or use an older export"
)


class ExportError(ValueError):
    """An export cannot be read; the message says where and why, in one lower-case line."""


class _Expired(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: Annotated[str, msgspec.Meta(max_length=200)]
    entries: Annotated[int, msgspec.Meta(ge=1, le=MAX_SIZE)]
    at: datetime | None
    digest: Annotated[str, msgspec.Meta(max_length=64)]


class _Header(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    format: Literal["remit-ledger"]
    version: Literal[1]
    checkpoint: str
    since_index: Annotated[int, msgspec.Meta(ge=0, le=MAX_SIZE)]
    until_index: Annotated[int, msgspec.Meta(ge=0, le=MAX_SIZE)]
    before: Annotated[list[str], msgspec.Meta(max_length=2 * MAX_PROOF)]
    after: Annotated[list[str], msgspec.Meta(max_length=2 * MAX_PROOF)]
    expired: Annotated[list[_Expired], msgspec.Meta(max_length=MAX_EXPIRED)] | msgspec.UnsetType = msgspec.UNSET


class _Hashes(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    hashes: str


def export_lines(
    reads: SealedReads, note: str, checkpoint: Checkpoint, since: int = 0, until: int | None = None
) -> Iterator[bytes]:
    """The lines of an export of the entries from one index up to another, each with its line feed.

    Raises TornTileError and UnsealableError where the database holds what cannot be exported, and ArchivedError where entries
    are in an archive that cannot be read, or is not what was written to it.
    """
    end = checkpoint.size if until is None else until
    assert 0 <= since < end <= checkpoint.size
    read = node_reader(reads.tile)
    away = reads.away()
    expired = [_Expired(name=one.name, entries=one.entries, at=one.at, digest=one.digest.hex())
               for one in away if one.how == "expired" and one.entries]  # fmt: skip
    header = _Header(
        format="remit-ledger",
        version=1,
        checkpoint=note,
        since_index=since,
        until_index=end,
        before=[_text(node) for node in range_of(read, 0, since).nodes],
        after=[_text(node) for node in range_of(read, end, checkpoint.size).nodes],
        expired=expired or msgspec.UNSET,
    )
    yield msgspec.json.encode(header, order="sorted") + b"\n"
    for block in reads.blocks(since, end):
        lacks = block.end - block.first_index - len(block.rows)
        if lacks > 0 and block.may_lack and any(one.how == "archived" for one in away):
            raise ArchivedError(
                f"entries from index {block.first_index} on are in the archive, and it cannot be read: {reads.why_unread()}"
            )
        for text in reads.strays():
            raise ArchivedError(f"before index {block.end}: {text}")
        for row in block.rows:
            yield encode_row(row) + b"\n"
        hashes = b"".join(leaves_in(reads.tile, block.first_index, block.end))
        yield msgspec.json.encode(_Hashes(_text(hashes))) + b"\n"


def verify_export(
    lines: Iterable[bytes], checkpoints: Sequence[Checkpoint], key: VerifierKey, *, whole: bool = False
) -> Verdict:
    """Compares an export's entries with its hashes, and those with its own checkpoint and the given ones.

    The given ones were verified; at least one has to be of a size that the export tells about. With `whole` it has to begin with the
    first entry, and to end with the last one that it or any of them was signed with. Raises ExportError for what is no export.
    """
    numbered = iter(enumerate(lines, start=1))
    _, first = next(numbered, (0, b""))
    header, own = _read_header(first, key)
    replay = _Export(header, checkpoints)
    for number, line in numbered:
        replay.line(number, line.removesuffix(b"\n"))
    return replay.verdict(own, checkpoints, whole=whole)


class _Export:
    """What was read of an export so far."""

    def __init__(self, header: _Header, checkpoints: Sequence[Checkpoint]) -> None:
        self._header = header
        try:
            before = Range(0, header.since_index, [_bytes(text) for text in header.before])
        except ValueError as error:
            raise ExportError(f"line 1: {error}") from None
        self._replay = Replay(before, [one for one in checkpoints if one.size <= header.until_index])
        self._lines: list[bytes] = []
        self._faults: list[Fault] = []
        self._hidden = 0
        self._unseen = Unseen()
        told = [] if isinstance(header.expired, msgspec.UnsetType) else header.expired
        self._away = tuple(Away("expired", one.name, one.entries, one.at, _digest(one.digest)) for one in told)

    def line(self, number: int, line: bytes) -> None:
        if not line.startswith(_HASHES):
            if len(self._lines) >= MAX_BLOCK:
                raise ExportError(f"line {number}: more than {MAX_BLOCK:,} entries without a line of hashes")
            self._lines.append(line)
            return
        try:
            raw = _bytes(msgspec.json.decode(line, type=_Hashes).hashes)
        except (msgspec.MsgspecError, ValueError):
            raise ExportError(f"line {number}: not a line of hashes") from None
        if not raw or len(raw) % HASH_BYTES or len(raw) > MAX_BLOCK * HASH_BYTES:
            raise ExportError(f"line {number}: not a line of hashes")
        self._end_block(hashes_in(raw))

    def _end_block(self, expected: list[bytes]) -> None:
        lines, self._lines = self._lines, []
        found = [leaf_hash(line) for line in lines]
        for fault in aligned(self._replay.end, expected, found, lambda at: id_of(lines[at])):
            if self._unseen.takes(fault, may_lack=bool(self._away)):
                continue
            if len(self._faults) < MAX_FAULTS:
                self._faults.append(fault)
            else:
                self._hidden += 1
        self._replay.extend(expected)

    def verdict(self, own: Checkpoint, given: Sequence[Checkpoint], *, whole: bool) -> Verdict:
        header, replay = self._header, self._replay
        if whole:
            self._faults += _left_out(header, max(own.size, *(one.size for one in given), 0))
        for at, line in enumerate(self._lines[:MAX_FAULTS]):
            self._faults.append(Fault("added", replay.end, id_of(line), f"line {at + 1} after the last line of hashes"))
        if replay.end != header.until_index:
            detail = f"the export says that it goes up to index {header.until_index}, and goes up to {replay.end}"
            self._faults.append(
                Fault("missing" if replay.end < header.until_index else "added", replay.end, None, detail)
            )
        else:
            tree = self._whole(own.size)
            for one in (own, *(one for one in given if one.size == own.size > header.until_index)):
                replay.compare(one, tree)
        if given and not set(given) & set(replay.compared):
            sizes = f"{given[0].size}" if len(given) == 1 else f"{given[0].size} to {given[-1].size}"
            detail = f"no checkpoint that was given ({sizes} entries) is of a size that this export tells about"
            self._faults.append(Fault("checkpoint", None, None, f"{detail}; it is of a ledger of {own.size}"))
        away = self._away if self._unseen.count else ()
        faults = (*moved([*self._faults, *self._unseen.faults(away)]), *replay.faults)
        compared = tuple(replay.compared)
        return Verdict(
            header.since_index, replay.end, compared, faults, self._hidden, self._unseen.count, away, _UNSIGNED
        )

    def _whole(self, size: int) -> Range:
        """The tree of the checkpoint: what is before, in, and after the export."""
        tree, end = self._replay.whole(), self._header.until_index
        nodes = [_bytes(text) for text in self._header.after]
        places = list(nodes_of(end, size))
        if len(nodes) != len(places):
            raise ExportError("line 1: `after` has another number of hashes than there are nodes")
        for (height, _), node in zip(places, nodes, strict=True):
            tree.push(height, node)
        return tree


def _left_out(header: _Header, size: int) -> Iterator[Fault]:
    """What of the entries that were signed is not in an export of this range."""
    if header.since_index > 0:
        yield Fault("part", 0, None, f"the export begins at index {header.since_index}, not with the first entry")
    if header.until_index < size:
        detail = f"the export ends here, and {size:,} entries were signed"
        yield Fault("part", header.until_index, None, detail)


def _digest(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise ExportError("line 1: a digest in `expired` is not hexadecimal") from None


def _read_header(line: bytes, key: VerifierKey) -> tuple[_Header, Checkpoint]:
    try:
        header = msgspec.json.decode(line, type=_Header)
    except msgspec.MsgspecError as error:
        raise ExportError(f"line 1: not the first line of an export: {error}") from None
    try:
        own = open_note(header.checkpoint, key)
    except CheckpointError as error:
        raise ExportError(f"line 1: the export's own checkpoint: {error}") from None
    if not header.since_index < header.until_index <= own.size:
        raise ExportError("line 1: `since_index` < `until_index` <= the checkpoint's size does not hold")
    return header, own


def _text(raw: bytes) -> str:
    return b64encode(raw).decode()


def _bytes(text: str) -> bytes:
    return b64decode(text.encode("ascii"), validate=True)
