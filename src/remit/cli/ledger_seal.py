"""`remit ledger seal`, `checkpoint`, `key` and `prove`: what the ledger comes to, signed."""

from typing import Annotated, Any

from cyclopts import Parameter

from remit.cli.codes import EXIT_DIFFERENCES, EXIT_OK, CommandError
from remit.cli.options import Json, Where


def seal(*, json: Json = False, where: Where | None = None) -> int:
    """Seal the entries there are, sign what they come to, and publish it; `remit up` does so by itself.

    Refused, with exit code 1, where the ledger is not what was signed before.
    """
    from remit.cli.output import print_json
    from remit.cli.session import open_authority
    from remit.jobs.sealing import AlteredError
    from remit.store.postgres_seals import SealedElsewhereError

    try:
        done = open_authority(where).sealer().seal()
    except AlteredError as error:
        raise CommandError(f"not signed: {error}", EXIT_DIFFERENCES) from None
    except SealedElsewhereError:
        raise CommandError("another process seals just now; it will do what is to be done", EXIT_DIFFERENCES) from None
    size = 0 if done is None else done.size
    if json:
        print_json({"size": size, "root": None if done is None else done.root.hex()})
    else:
        print(
            f"{size:,} {'entry is' if size == 1 else 'entries are'} sealed and signed"
            if done
            else "there is no entry to seal yet"
        )
    return EXIT_OK


def checkpoint(
    *,
    every: Annotated[bool, Parameter(name="--all", help="Every one that the database knows, oldest first.")] = False,
    where: Where | None = None,
) -> int:
    """Print the newest checkpoint as it was published: a signed note of C2SP, to be kept where nobody can change it.

    With --all, what the database has a copy of, in the form of the file: where that was lost, this is what to compare with
    copies kept elsewhere before it takes its place.
    """
    from remit.bootstrap import checkpoint_log, load_ledger_key
    from remit.cli.session import open_authority, settings_of
    from remit.ledger.checkpoint import CheckpointError

    settings = settings_of(where)
    if every:
        key = load_ledger_key(settings)
        with open_authority(where).seals.snapshot() as sealed:
            notes = [] if key is None else sealed.notes(key.name)
        print("\n".join(notes), end="")
        return EXIT_OK
    try:
        note = checkpoint_log(settings).last()
    except (CheckpointError, OSError) as error:
        raise CommandError(f"the checkpoints cannot be read: {error}", EXIT_DIFFERENCES) from None
    if note is None:
        raise CommandError("there is no checkpoint yet: `remit up` or `remit ledger seal` makes one", EXIT_DIFFERENCES)
    print(note, end="")
    return EXIT_OK


def key(*, where: Where | None = None) -> int:
    """Print the public key that verifies checkpoints; whoever checks the ledger has to have it from you, not from it."""
    from remit.bootstrap import load_ledger_key
    from remit.cli.session import settings_of

    found = load_ledger_key(settings_of(where))
    if found is None:
        raise CommandError("there is no key yet: `remit up` or `remit ledger seal` makes one", EXIT_DIFFERENCES)
    print(found.verifier().text())
    return EXIT_OK


def prove(
    entry: Annotated[str, Parameter(help="The id of an entry.")],
    /,
    *,
    size: Annotated[
        int | None, Parameter(help="In the tree of so many entries; else of the newest checkpoint.")
    ] = None,
    json: Json = False,
    where: Where | None = None,
) -> int:
    """Prove that an entry is in the ledger that was signed: its bytes, its place, and the hashes that lead to the root."""
    from remit.cli.output import print_json
    from remit.cli.session import open_authority
    from remit.ledger.merkle import leaf_hash
    from remit.ledger.proving import NotProvableError, prove_entry

    with open_authority(where).seals.snapshot() as sealed:
        try:
            proof = prove_entry(sealed, entry, size)
        except NotProvableError as error:
            raise CommandError(str(error), EXIT_DIFFERENCES) from None
    told: dict[str, Any] = {
        "entry": proof.entry.decode(),
        "leaf_hash": leaf_hash(proof.entry).hex(),
        "index": proof.index,
        "size": proof.size,
        "path": [one.hex() for one in proof.path],
        "root": proof.root.hex(),
        "checkpoint": proof.note,
    }
    if json:
        print_json(told)
        return EXIT_OK
    print(told["entry"])
    print(f"is entry {proof.index} of {proof.size}, by {len(proof.path)} hash{'' if len(proof.path) == 1 else 'es'}:")
    for one in told["path"]:
        print(f"  {one}")
    print(f"which lead to {told['root']}")
    if proof.note is not None:
        print(f"\n{proof.note}", end="")
    return EXIT_OK
