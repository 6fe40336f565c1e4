"""Seals entries into the ledger's tree and signs what it comes to, unless it is not what was signed before."""

from collections.abc import Callable
from typing import Final

import structlog

from remit.jobs.looking_back import LookBack
from remit.kernel.clock import Clock
from remit.ledger.canonical import UnsealableError
from remit.ledger.checkpoint import Checkpoint, CheckpointError, SignerKey, open_note, sign
from remit.ledger.merkle import range_of
from remit.ledger.tiles import TornTileError, leaves_in, node_reader
from remit.ledger.verify import differences
from remit.store.checkpoint_log import CheckpointLog
from remit.store.postgres_seals import PostgresSeals, SealedElsewhereError, Sealing, TreeConflictError

_log = structlog.get_logger(__name__)
SIGN_EVERY: Final = 64
"""After so many seals it is signed, also where there are more to make: work on a long ledger is not lost by a stop."""


class AlteredError(Exception):
    """The ledger is not what was signed, or cannot be compared with it; the message says how. Nothing is signed any more."""


class Sealer:
    """Holds the key; the database never does."""

    def __init__(self, seals: PostgresSeals, key: Callable[[], SignerKey], log: CheckpointLog, clock: Clock) -> None:
        self._seals = seals
        self._key = key
        self._log = log
        self._clock = clock
        self._past = LookBack(seals, log, clock)
        self._is_stopped = False

    def round(self) -> None:
        """As `seal`, for who has nobody to tell: logs why it stops, once; then looks at a part of what was sealed before.

        Raises what storage raises.
        """
        try:
            self.seal()
        except SealedElsewhereError:
            return
        except AlteredError as error:
            if not self._is_stopped:
                _log.error("ledger_sealing_stopped", error=str(error))
            self._is_stopped = True
        else:
            self._is_stopped = False
            self._past.round(self._key().verifier())

    def seal(self) -> Checkpoint | None:
        """Seals what there is, signs it and publishes it; answers the newest checkpoint, None of an empty ledger.

        Raises AlteredError where the ledger is not what was signed before: it stays stopped until somebody takes the file
        that says so away. Raises SealedElsewhereError, and what storage raises.
        """
        with self._seals.alone() as work:
            stopped = self._log.why_stopped()
            if stopped is not None:
                raise AlteredError(f"stopped before (`{self._log.stopped}`): {stopped}")
            try:
                watermark = work.watermark()
                more = True
                newest = None
                while more:
                    more = self._append(work, watermark)
                    newest = self._sign(work)
            except (AlteredError, TornTileError, UnsealableError, TreeConflictError, CheckpointError) as error:
                self._stop(work, str(error))
                raise AlteredError(str(error)) from None
            return newest

    def _append(self, work: Sealing, watermark: int) -> bool:
        """Seals a part of what there is; whether there may be more."""
        return all(work.append(watermark, self._clock.now()) is not None for _ in range(SIGN_EVERY))

    def _sign(self, work: Sealing) -> Checkpoint | None:
        key = self._key()
        last, note = self._published(work, key)
        size = work.size()
        if last is not None and note is not None and last.size >= size:
            self._check_size(last, size)
            if range_of(node_reader(work.tile), 0, size).root() != last.root:
                raise AlteredError(f"the tree is not the one that was signed at {size} entries")
            work.publish(last, note, self._clock.now())
            return last
        if size == 0:
            return None
        checkpoint = Checkpoint(key.name, size, self._new_root(work, last, size))
        note = sign(checkpoint, key)
        self._publish(note)
        work.publish(checkpoint, note, self._clock.now())
        return checkpoint

    def _publish(self, note: str) -> None:
        self._log.append(note)

    def _published(self, work: Sealing, key: SignerKey) -> tuple[Checkpoint | None, str | None]:
        """What was published last, by the file. The database's copy only shows whether a file is missing."""
        note = self._log.last()
        if note is None:
            kept = work.published(key.name)
            if kept is not None:
                raise AlteredError(
                    f"`{self._log.path}` is not there, though a checkpoint of {kept.checkpoint.size} entries was published"
                )
            return None, None
        last = open_note(note, key.verifier())
        if last.origin != key.name:
            raise AlteredError(f"`{self._log.latest}` is of `{last.origin}`, not of `{key.name}`")
        return last, note

    def _check_size(self, last: Checkpoint, size: int) -> None:
        if last.size > size:
            raise AlteredError(f"{last.size} entries were signed, and {size} are sealed: the tree has become smaller")

    def _new_root(self, work: Sealing, last: Checkpoint | None, size: int) -> bytes:
        """The root of the tree that was signed before and, after it, of the entries as they are now.

        The hashes in the database are believed only as far as they lead to the root that was signed.
        """
        begin = 0 if last is None else last.size
        tree = range_of(node_reader(work.tile), 0, begin)
        if last is not None and tree.root() != last.root:
            raise AlteredError(f"the tree is not the one that was signed at {begin} entries")
        for block in work.blocks(begin, size):
            expected = list(leaves_in(work.tile, block.first_index, block.end))
            for fault in differences(block.first_index, expected, block.rows):
                raise AlteredError(f"index {fault.index}: {fault.kind}, before it was signed")
            for leaf in expected:
                tree.append(leaf)
        if tree.end != size or tree.root() != range_of(node_reader(work.tile), 0, size).root():
            raise AlteredError(f"the tree of {size} entries does not follow from its leaves")
        return tree.root()

    def _stop(self, work: Sealing, why: str) -> None:
        self._log.stop(f"{self._clock.now():%Y-%m-%dT%H:%M:%SZ} {why}")
        work.page(f"the ledger is not signed any more: {why}", self._clock.now())
