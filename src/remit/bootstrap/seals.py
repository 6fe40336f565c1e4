"""The doctor's look at the seals of the ledger: cheap, while `remit ledger verify` looks at every entry."""

from collections.abc import Iterator
from datetime import timedelta

from remit.bootstrap.key_files import LEDGER_KEY_FILE, checkpoint_log, load_ledger_key
from remit.bootstrap.parts import make_clock
from remit.ledger.checkpoint import CheckpointError, VerifierKey, open_note
from remit.ledger.merkle import root_of
from remit.ledger.model import CheckResult, Difference
from remit.ledger.tiles import TornTileError, node_reader
from remit.settings import Settings, SettingsError
from remit.store.checkpoint_log import CheckpointLog
from remit.store.postgres_seals import PostgresSeals, Sealed

_LATE = timedelta(minutes=10)


def check_seals(settings: Settings, seals: PostgresSeals) -> CheckResult:
    """Whether the tree is what was last published, and goes on growing."""
    try:
        key = load_ledger_key(settings)
    except SettingsError as error:
        path = str(settings.data_dir / LEDGER_KEY_FILE)
        return CheckResult("seals", "the ledger is sealed", 1, (Difference("seals", path, None, str(error)),))
    with seals.snapshot() as sealed:
        if key is None and sealed.size() == 0:
            return CheckResult("seals", "no entry is sealed yet; `remit up` does it", 0, ())
        found = list(_published(sealed, checkpoint_log(settings), None if key is None else key.verifier()))
        count, oldest = sealed.tail()
        late = max(_LATE, timedelta(seconds=3 * settings.ledger.seal_seconds))
        if oldest is not None and oldest < make_clock(settings).now() - late:
            told = f"{count:,} entries are not, the oldest since {oldest:%Y-%m-%dT%H:%M:%SZ}"
            found.append(Difference("seals", "entries", "sealed", told))
        size = sealed.size()
    return CheckResult("seals", "the ledger's tree is the one that was signed last", size, tuple(found))


def _published(sealed: Sealed, log: CheckpointLog, key: VerifierKey | None) -> Iterator[Difference]:
    stopped = log.why_stopped()
    if stopped is not None:
        yield Difference("seals", str(log.stopped), None, f"nothing is signed any more: {stopped}")
    if key is None:
        yield Difference("seals", "ledger.key", None, "entries were sealed, and the key that signed them is not here")
        return
    try:
        note = log.peek()
        if note is None:
            # Nothing is sealed in the first seconds of a ledger; who waits too long is told by the age of the oldest entry.
            if sealed.size() or sealed.published(key.name) is not None:
                yield Difference("seals", str(log.path), "a checkpoint", "none")
            return
        last = open_note(note, key)
        kept = sealed.published(key.name)
        if kept is None or kept.checkpoint != last:
            told = "none" if kept is None else f"one of {kept.checkpoint.size} entries"
            yield Difference("seals", "the database's newest checkpoint", f"the one of {last.size} entries", told)
        if sealed.size() < last.size or root_of(node_reader(sealed.tile), last.size) != last.root:
            told = "another; `remit ledger verify` says where"
            yield Difference("seals", f"the tree of {last.size} entries", "the one that was signed", told)
    except (CheckpointError, TornTileError, OSError) as error:
        yield Difference("seals", str(log.path), None, str(error))
