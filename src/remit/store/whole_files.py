"""Files that are whole as soon as they have their name."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path


def create_whole(path: Path, content: bytes) -> None:
    """Makes a file with mode 0600 that is on the disk, and has all of its content, as soon as it has its name.

    A file of that name stays as it is: of several processes at once, the first one decides.
    """
    with contextlib.suppress(FileExistsError), _unnamed(path, content) as unnamed:
        os.link(unnamed, path)


def write_whole(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Puts a file in the place of another: whoever reads finds one of the two, whole, and after a power cut as well."""
    with _unnamed(path, content) as unnamed:
        unnamed.chmod(mode)
        unnamed.replace(path)


def sync_folder(folder: Path) -> None:
    """The names in it are on the disk afterwards."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _unnamed(path: Path, content: bytes) -> Iterator[Path]:
    """A file beside `path` that is on the disk and is to be given its name."""
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    unnamed = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        yield unnamed
    finally:
        unnamed.unlink(missing_ok=True)
    sync_folder(path.parent)
