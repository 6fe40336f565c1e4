"""The file in which checkpoints are published: a log that is only appended to, and the newest note in a file beside it.

It is what a ledger is compared with, so it has to be out of reach of whoever can change the database. A file `-stopped` beside it
says why nothing is signed any more.
"""

import contextlib
import os
from pathlib import Path

from remit.ledger.checkpoint import MAX_NOTE_BYTES, CheckpointError, notes_in
from remit.store.whole_files import sync_folder, write_whole

_TAIL_BYTES = 2 * MAX_NOTE_BYTES


class CheckpointLog:
    """Used by one process at a time: whoever seals."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.latest = path.with_name(f"{path.stem}-latest{path.suffix}")
        self.stopped = path.with_name(f"{path.stem}-stopped{path.suffix}")

    def last(self) -> str | None:
        """As `peek`, and completes the log where the process that published it could not."""
        text = self.peek()
        tail = self._tail()
        if text is not None and not tail.endswith(text.encode()):
            if text.encode() in tail:
                raise CheckpointError(f"`{self.latest}` is older than the last one of `{self.path}`")
            # It ended between the two files, or in the middle of the second: the newest note is there in whole.
            self._append(text.encode())
        return text

    def peek(self) -> str | None:
        """The newest note, None where none was published. Raises CheckpointError for a file that is not whole."""
        latest = self._read(self.latest)
        tail = self._tail()
        if latest is None and not tail:
            return None
        if latest is None:
            raise CheckpointError(f"`{self.latest}` is not there, though `{self.path}` is")
        text = latest.decode("utf-8", "replace")
        if len(list(notes_in(text))) != 1:
            raise CheckpointError(f"`{self.latest}` is not one note")
        return text

    def append(self, note: str) -> None:
        """Publishes a note; it is on the disk afterwards. Whenever the process ends, `last` finds this one or the one before."""
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        raw = note.encode()
        write_whole(self.latest, raw, 0o644)
        self._append(raw)

    def stop(self, why: str) -> None:
        """Nothing is signed from now on, until somebody takes the file away."""
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with self.stopped.open("a", encoding="utf-8") as file:
            file.write(f"{why}\n")

    def why_stopped(self) -> str | None:
        raw = self._read(self.stopped)
        return None if raw is None else raw.decode("utf-8", "replace").strip().partition("\n")[0]

    def _append(self, note: bytes) -> None:
        with self.path.open("r+b" if self.path.exists() else "x+b") as file:
            end = file.seek(0, os.SEEK_END)
            begin = max(0, end - _TAIL_BYTES)
            file.seek(begin)
            keep = begin + _whole(file.read())
            file.seek(keep)
            file.truncate()
            file.write((b"\n" if keep else b"") + note)
            file.flush()
            os.fsync(file.fileno())
        sync_folder(self.path.parent)

    def _tail(self) -> bytes:
        try:
            with self.path.open("rb") as file:
                end = file.seek(0, os.SEEK_END)
                file.seek(max(0, end - _TAIL_BYTES))
                return file.read()
        except FileNotFoundError:
            return b""

    def _read(self, path: Path) -> bytes | None:
        with contextlib.suppress(FileNotFoundError):
            return path.read_bytes()
        return None


def _whole(tail: bytes) -> int:
    """How much of the end of a log is whole notes: what a process left behind that ended while it wrote is not.

    A note ends with the line of a signature.
    """
    while tail:
        head, _, line = tail.removesuffix(b"\n").rpartition(b"\n")
        if tail.endswith(b"\n") and line.startswith("\N{EM DASH} ".encode()):
            return len(tail)
        tail = head + b"\n" if head else b""
    return 0
