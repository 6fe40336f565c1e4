"""`remit ledger verify` and `export`: whether entries are those that were signed, with the database or without."""

import contextlib
import gzip
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated

from cyclopts import Parameter

from remit.cli.codes import EXIT_DIFFERENCES, EXIT_INCOMPLETE, EXIT_OK, CommandError
from remit.cli.options import Json, Where

if TYPE_CHECKING:
    from remit.ledger.checkpoint import Checkpoint, VerifierKey
    from remit.ledger.verify import Verdict

_MAX_SHOWN = 20


def verify(
    *,
    export: Annotated[Path | None, Parameter(help="Verify this export instead of the database; needs --key.")] = None,
    whole: Annotated[
        bool, Parameter(negative=(), help="The export has to be of the whole ledger: with --export.")
    ] = False,
    checkpoint: Annotated[
        Path | None, Parameter(help="File with one or more checkpoints; else the one in which they are published.")
    ] = None,
    key: Annotated[
        str | None, Parameter(help="Public key that signed them, as `remit ledger key` prints it; else the one here.")
    ] = None,
    json: Json = False,
    where: Where | None = None,
) -> int:
    """Compare every sealed entry with the ledger's tree, and that with every checkpoint; exit 1 if anything differs.

    Entries that left the database are read from the archive. Where it cannot be read they are not looked at, which is said, and the
    exit code is 4. With --export neither database nor settings are needed: an export, a checkpoint from a place that whoever could change
    the ledger cannot reach, and the public key. What was not sealed yet is not verified; how much that is, is said.
    """
    from remit.cli.output import print_json

    unsealed: int | None = None
    if export is not None:
        if key is None:
            raise CommandError("--export needs --key: a key that came with what it is to verify proves nothing")
        verdict = _of_export(export, _checkpoints(checkpoint, _key(key)), _key(key), whole=whole)
    elif whole:
        raise CommandError("--whole is asked of an export: the database is always verified as a whole")
    else:
        verdict, unsealed = _of_database(checkpoint, None if key is None else _key(key), where)
    if json:
        told = [{"kind": f.kind, "index": f.index, "entry": f.entry_id, "detail": f.detail} for f in verdict.faults]
        compared = [{"size": one.size, "root": one.root.hex()} for one in verdict.compared]
        away = [
            {"how": one.how, "name": one.name, "entries": one.entries, "at": one.at, "digest": one.digest.hex() or None}
            for one in verdict.away
        ]
        body = {"verified": verdict.outcome == "verified", "outcome": verdict.outcome, "unseen": verdict.unseen, "away": away,
                "why_unseen": verdict.why_unseen if verdict.unseen else None, "since_index": verdict.begin, "until_index": verdict.end, "checkpoints": compared}  # fmt: skip
        print_json({**body, "unsealed": unsealed, "faults": told, "more_faults": verdict.more_faults})
    else:
        for line in _lines(verdict, unsealed):
            print(line)
    return {"verified": EXIT_OK, "incomplete": EXIT_INCOMPLETE, "differs": EXIT_DIFFERENCES}[verdict.outcome]


def export(
    *,
    out: Annotated[Path, Parameter(help="File to write; compressed where its name ends in .gz. It must not exist.")],
    since_index: Annotated[int, Parameter(help="From this place in the tree on; the first is 0.")] = 0,
    until_index: Annotated[int | None, Parameter(help="Up to, without, this one; else all that is signed.")] = None,
    where: Where | None = None,
) -> int:
    """Write sealed entries as JSON lines that `remit ledger verify --export` verifies without the database.

    Those that left the database come from the archive; where it cannot be read, nothing is written. What has expired is named.
    """
    from remit.cli.out_file import require_out
    from remit.cli.output import remark
    from remit.cli.session import open_authority
    from remit.ledger.canonical import UnsealableError
    from remit.ledger.export import export_lines
    from remit.ledger.model import ArchivedError
    from remit.ledger.tiles import TornTileError

    require_out(out, replaces=False)
    with open_authority(where).seals.snapshot() as sealed:
        published = sealed.published(None)
        if published is None:
            raise CommandError("there is no checkpoint yet: `remit ledger seal` makes one", EXIT_DIFFERENCES)
        size = published.checkpoint.size
        until = size if until_index is None else until_index
        if not 0 <= since_index < until <= size:
            raise CommandError(f"--since-index and --until-index are from 0 to {size}, the smaller one first")
        lines = export_lines(sealed, published.note, published.checkpoint, since_index, until)
        try:
            _write(out, lines)
        except (UnsealableError, TornTileError) as error:
            raise CommandError(f"not exported: {error}; see `remit ledger verify`", EXIT_DIFFERENCES) from None
        except ArchivedError as error:
            raise CommandError(f"not exported: {error}", EXIT_DIFFERENCES, code="archived") from None
    remark(f"entries {since_index} to {until} of the {size:,} that are signed are in {out}")
    return EXIT_OK


def _write(out: Path, lines: Iterable[bytes]) -> None:
    from remit.cli.out_file import writes
    from remit.store.whole_files import whole_file

    with writes(out), whole_file(out, 0o666, replaces=False) as file:
        if out.suffix == ".gz":
            with gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0) as packed:
                packed.writelines(lines)
        else:
            file.writelines(lines)


def _of_export(path: Path, checkpoints: "Sequence[Checkpoint]", key: "VerifierKey", *, whole: bool) -> "Verdict":
    from remit.ledger.export import ExportError, verify_export

    try:
        with _opened(path) as file:
            return verify_export(_bounded(file), checkpoints, key, whole=whole)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise CommandError(f"`{path}` is not whole: {error}", EXIT_DIFFERENCES) from None
    except OSError as error:
        raise CommandError(f"cannot read `{path}`: {(error.strerror or str(error)).lower()}") from None
    except ExportError as error:
        raise CommandError(f"`{path}` cannot be verified: {error}", EXIT_DIFFERENCES) from None


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    with path.open("rb") as file:
        if path.suffix == ".gz":
            with gzip.GzipFile(fileobj=file) as packed:
                yield packed  # type: ignore[misc]
        else:
            yield file


def _bounded(file: IO[bytes]) -> Iterator[bytes]:
    from remit.ledger.canonical import MAX_LINE_BYTES
    from remit.ledger.export import ExportError

    while line := file.readline(MAX_LINE_BYTES + 1):
        if len(line) > MAX_LINE_BYTES:
            raise ExportError(f"a line is longer than {MAX_LINE_BYTES:,} bytes")
        yield line


def _of_database(
    checkpoint: Path | None, key: "VerifierKey | None", where: Where | None
) -> "tuple[Verdict, int | None]":
    from remit.bootstrap import checkpoint_log, load_ledger_key, opens_archive
    from remit.cli.output import progress_to
    from remit.cli.session import open_url, settings_of
    from remit.ledger.verify import verify_sealed
    from remit.store.connect import opener
    from remit.store.postgres_seals import PostgresSeals

    settings = settings_of(where)
    if key is None:
        own = load_ledger_key(settings)
        if own is None:
            raise CommandError("there is no key here yet; --key names the one that signed the checkpoints")
        key = own.verifier()
    checkpoints = _checkpoints(checkpoint or checkpoint_log(settings).path, key)
    with PostgresSeals(opener(open_url(settings), "remit_reader"), opens_archive(settings)).snapshot() as sealed:
        size = sealed.size()
        with progress_to(size, "verifying") as tell:
            verdict = verify_sealed(sealed, size, checkpoints, tell)
        return verdict, sealed.tail()[0]


def _checkpoints(path: Path | None, key: "VerifierKey") -> "list[Checkpoint]":
    """Every checkpoint of a file, by size. Raises CommandError."""
    from remit.ledger.checkpoint import CheckpointError, notes_in, open_note

    if path is None:
        return []
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
        found = sorted({open_note(note, key) for note in notes_in(text)}, key=lambda one: one.size)
    except OSError as error:
        raise CommandError(f"cannot read `{path}`: {(error.strerror or str(error)).lower()}") from None
    except CheckpointError as error:
        raise CommandError(f"`{path}`: {error}", EXIT_DIFFERENCES) from None
    if not found:
        raise CommandError(f"`{path}` has no checkpoint", EXIT_DIFFERENCES)
    return found


def _key(text: str) -> "VerifierKey":
    from remit.ledger.checkpoint import CheckpointError, read_verifier_key

    try:
        return read_verifier_key(text.strip())
    except CheckpointError as error:
        raise CommandError(f"--key: {error}") from None


def _lines(verdict: "Verdict", unsealed: int | None) -> Iterator[str]:
    for fault in verdict.faults[:_MAX_SHOWN]:
        at = "" if fault.index is None else f"index {fault.index}: "
        yield f"{fault.kind:<11} {at}{fault.detail}{'' if fault.entry_id is None else f' ({fault.entry_id})'}"
    rest = len(verdict.faults) - _MAX_SHOWN + verdict.more_faults
    if rest > 0:
        yield f"            and {rest:,} more"
    sizes = [one.size for one in verdict.compared]
    newest = f", the newest of {max(sizes):,} entries" if sizes else ""
    yield (
        f"{verdict.end - verdict.begin:,} entries, from index {verdict.begin:,} on, were compared with the tree's hashes, "
        f"and these with {len(sizes):,} checkpoint{'' if len(sizes) == 1 else 's'}{newest}"
    )
    yield from _unseen(verdict)
    if unsealed:
        yield f"{unsealed:,} newer entries are not sealed yet, and were not verified"
    faults = len(verdict.faults) + verdict.more_faults
    yield {
        "verified": "verified" if not verdict.unseen else "verified, but for what has expired",
        "incomplete": "NOT ALL was looked at; what was is what was signed",
        "differs": f"NOT what was signed: {faults:,} fault{'' if faults == 1 else 's'}",
    }[verdict.outcome]


def _unseen(verdict: "Verdict") -> Iterator[str]:
    if not verdict.unseen:
        return
    yield f"{verdict.unseen:,} of them were not there to be looked at: the tree has their hashes, and nothing else was compared"
    for one in verdict.away:
        since = "" if one.at is None else f"{one.at:%Y-%m-%d}"
        if one.how == "archived":
            yield f"  archived, not looked at: {one.entries:,} of {one.name}"
        else:
            yield f"  expired by retention on {since}: {one.entries:,} of {one.name}, lines with the digest {one.digest.hex()}"
    if verdict.why_unseen is not None:
        yield f"  why: {verdict.why_unseen}"
