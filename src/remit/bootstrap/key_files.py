"""Key files under the data directory: made on first use, mode 0600, whole or not there."""

import secrets
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from remit.capabilities.issuer_keys import IssuerKeyError, generate_issuer_key, load_issuer_key, serialise_issuer_key
from remit.ledger.checkpoint import CheckpointError, SignerKey, read_signer_key, signer_key
from remit.settings import Settings, SettingsError
from remit.store.checkpoint_log import CheckpointLog
from remit.store.whole_files import create_whole, write_whole

ISSUER_KEY_FILE = "issuer.key"
LEDGER_KEY_FILE = "ledger.key"


def load_or_create_issuer_key(data_dir: Path) -> Ed25519PrivateKey:
    """The issuer's private key under the data directory; created with mode 0600 where there is none.

    Raises SettingsError for a file that is no key, or that others may read.
    """
    data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = data_dir / ISSUER_KEY_FILE
    if not path.exists():
        create_whole(path, serialise_issuer_key(generate_issuer_key()))
    if path.stat().st_mode & 0o077:
        raise SettingsError(f"`{path}` may be read by others; its mode has to be 0600")
    try:
        return load_issuer_key(path.read_bytes())
    except IssuerKeyError as error:
        raise SettingsError(f"`{path}`: {error}") from None


def load_or_create_ledger_key(settings: Settings) -> SignerKey:
    """The key that signs checkpoints, as `load_ledger_key`; created with mode 0600 and a name where there is none."""
    found = load_ledger_key(settings)
    if found is None:
        settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        fresh = signer_key(settings.ledger.origin or f"remit/ledger/{secrets.token_hex(8)}", secrets.token_bytes(32))
        create_whole(settings.data_dir / LEDGER_KEY_FILE, f"{fresh.text()}\n".encode())
        found = load_ledger_key(settings)
        assert found is not None
    return found


def load_ledger_key(settings: Settings) -> SignerKey | None:
    """The key that signs checkpoints, under the data directory; None where there is none yet.

    Raises SettingsError for a file that is no key, that others may read, or that is of another name than is set.
    """
    path, origin = settings.data_dir / LEDGER_KEY_FILE, settings.ledger.origin
    if not path.exists():
        return None
    if path.stat().st_mode & 0o077:
        raise SettingsError(f"`{path}` may be read by others; its mode has to be 0600")
    try:
        key = read_signer_key(path.read_text(encoding="utf-8", errors="replace").removesuffix("\n"))
    except CheckpointError as error:
        raise SettingsError(f"`{path}`: {error}") from None
    if origin is not None and origin != key.name:
        raise SettingsError(f"`{path}` is the key of `{key.name}`, and `ledger.origin` is `{origin}`")
    return key


def checkpoint_log(settings: Settings) -> CheckpointLog:
    """Where checkpoints are published."""
    return CheckpointLog(settings.ledger.checkpoint_file or settings.data_dir / "checkpoints" / "ledger.txt")


def replace_issuer_key(data_dir: Path, private_key: Ed25519PrivateKey) -> None:
    """Puts another issuer key in the place of the one under the data directory: whoever reads finds one of the two, whole."""
    write_whole(data_dir / ISSUER_KEY_FILE, serialise_issuer_key(private_key))
