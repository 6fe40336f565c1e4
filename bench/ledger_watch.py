"""The most disk and memory that a run takes, looked at every few seconds. Memory: Linux only."""

import os
import threading
from pathlib import Path

from bench.machine import children

_EVERY = 5.0


class Watch:
    """Looks at a folder, and at the PostgreSQL that has its data there, until it is closed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self.disk = self.database_memory = 0
        self._thread.start()

    def close(self) -> None:
        """Looks no more."""
        self._ended.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._ended.wait(_EVERY):
            self.disk = max(self.disk, bytes_below(self._folder))
            self.database_memory = max(self.database_memory, self._shared_out())

    def _shared_out(self) -> int:
        """Bytes of all processes of the server, what they share counted once."""
        try:
            server = int((self._folder / "postgres" / "postmaster.pid").read_text().split()[0])
        except (OSError, ValueError):
            return 0
        return sum(_proportional(pid) for pid in (server, *children(server)))


def bytes_below(folder: Path) -> int:
    """What the files below a folder take on the disk."""
    size = 0
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                size += Path(place, name).lstat().st_blocks * 512
            except OSError:
                continue  # gone since it was listed
    return size


def _proportional(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
