"""Files that are whole as soon as they have their name."""

import contextlib
import errno
import os
import secrets
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Final

# Of a name, in that of the file beside it: a name has at most 255 bytes, a character at most four of them.
_MAX_KEPT: Final = 50


def require_place(path: Path, *, replaces: bool = True) -> None:
    """Raises OSError unless a file that somebody asks for can have that name: nothing has it, or a file that it replaces.

    A device, pipe, socket or folder is never replaced, nor a link: whoever made it wants it where it is.
    """
    try:
        there = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISREG(there.st_mode):
        raise FileExistsError(errno.EEXIST, "what is there is no regular file", str(path))
    if not replaces:
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))


@contextlib.contextmanager
def whole_file(path: Path, mode: int, *, replaces: bool = True) -> Iterator[IO[bytes]]:
    """A file to write that has its name, and is on the disk, once the block has ended; where it raised, nothing is left of it.

    Only in a place of which `require_place` says so. Where it does not replace, a file that came meanwhile stays as it is.
    """
    require_place(path, replaces=replaces)
    beside = path.with_name(f".{path.name[:_MAX_KEPT]}.{secrets.token_hex(6)}")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if replaces:
            require_place(path)  # as it is now: writing may have taken long
        else:
            # Not by a hard link, which not every file system has.
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode))
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


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
