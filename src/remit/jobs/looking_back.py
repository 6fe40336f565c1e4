"""Compares what was sealed with the entries as they are now, a part each time and round again, whoever asks or not."""

import secrets
from collections.abc import Callable
from typing import Final

import structlog

from remit.kernel.clock import Clock
from remit.ledger.canonical import UnsealableError
from remit.ledger.checkpoint import VerifierKey, open_note
from remit.ledger.export import export_lines, verify_export
from remit.ledger.model import ArchivedError
from remit.ledger.tiles import TornTileError
from remit.store.checkpoint_log import CheckpointLog
from remit.store.postgres_seals import PostgresSeals, SealedElsewhereError

_log = structlog.get_logger(__name__)
PART: Final = 4096
"""Entries that are compared each time: a tenth of a second. Every 30 seconds that is eleven million a day."""


class LookBack:
    """Begins anywhere, so that a process that is often started anew gets to all of it as well."""

    def __init__(
        self,
        seals: PostgresSeals,
        log: CheckpointLog,
        clock: Clock,
        begin: Callable[[int], int] = secrets.randbelow,
        part: int = PART,
    ) -> None:
        # What has left the database is not read: an archive may be far away. `remit ledger verify` reads it.
        self._seals = seals.here()
        self._log = log
        self._clock = clock
        self._begin = begin
        self._part = part
        self._next: int | None = None

    def round(self, key: VerifierKey) -> list[str]:
        """Compares the next part as an auditor would who was given an export of it; says what differs, logs it and tells security.

        Raises CheckpointError for a newest note that cannot be read, and what storage raises.
        """
        note = self._log.peek()
        if note is None:
            return []
        checkpoint = open_note(note, key)
        since = self._begin(checkpoint.size) if self._next is None else self._next
        until = min(since + self._part, checkpoint.size)
        self._next = until if until < checkpoint.size else 0
        try:
            with self._seals.snapshot() as sealed:
                lines = export_lines(sealed, note, checkpoint, since, until)
                faults = verify_export(lines, [checkpoint], key).faults
        except ArchivedError:
            return []
        except (TornTileError, UnsealableError) as error:
            return self._tell([f"between index {since} and {until}: {error}"])
        return self._tell([f"{one.kind}: {one.detail}" if one.index is None else f"index {one.index}: {one.kind}" for one in faults])  # fmt: skip

    def _tell(self, found: list[str]) -> list[str]:
        if found:
            _log.error("ledger_altered", first=found[0], differences=len(found))
            try:
                with self._seals.alone() as work:
                    told = f"sealed entries are not what was signed: {found[0]}; `remit ledger verify` says more"
                    work.page(told, self._clock.now())
            except SealedElsewhereError:
                self._next = None  # whoever seals now looks as well; this is not over
        return found
