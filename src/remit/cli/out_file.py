"""Files that commands write where `--out` says: one rule for all of them, and one line where it cannot be followed."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from remit.cli.codes import EXIT_OUTPUT, CommandError


def require_out(out: Path, *, replaces: bool = True) -> None:
    """Before anything is asked or computed. Raises CommandError where there is no folder, or something that is not replaced."""
    from remit.store.whole_files import require_place

    with writes(out):
        if not out.parent.is_dir():
            raise CommandError(f"--out `{out}`: there is no folder `{out.parent}`")
        require_place(out, replaces=replaces)


@contextmanager
def writes(out: Path) -> Iterator[None]:
    """Where something in the block is written to `out` and cannot be, CommandError says why."""
    try:
        yield
    except OSError as error:
        raise CommandError(f"cannot write `{out}`: {(error.strerror or str(error)).lower()}", EXIT_OUTPUT) from None


def write_out(out: Path, content: bytes, mode: int = 0o600) -> None:
    """All of it, or nothing. Raises CommandError."""
    from remit.store.whole_files import whole_file

    with writes(out), whole_file(out, mode) as file:
        file.write(content)
