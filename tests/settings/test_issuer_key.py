"""The issuer's private key under the data folder, made by whoever needs it first."""

import resource
import subprocess
import sys
from pathlib import Path

import pytest

from remit.bootstrap import ISSUER_KEY_FILE, load_or_create_issuer_key
from remit.capabilities.issuer_keys import issuer_key_of
from remit.settings import SettingsError

PROCESSES = 4
ROUNDS = 40
# For each folder on standard input, the id of its key.
PROGRAM = """
import sys
from pathlib import Path
from remit.bootstrap import load_or_create_issuer_key
from remit.capabilities.issuer_keys import issuer_key_of
print("ready", flush=True)
for line in sys.stdin:
    print(issuer_key_of(load_or_create_issuer_key(Path(line.strip()))).kid, flush=True)
"""


def test_processes_that_start_at_once_share_one_key(tmp_path: Path) -> None:
    """Whoever is first makes the key, and all the others read that one, whole."""
    command = [sys.executable, "-c", PROGRAM]
    processes = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(PROCESSES)
    ]
    try:
        heard = [process.stdout for process in processes if process.stdout is not None]
        told = [process.stdin for process in processes if process.stdin is not None]
        assert [line.readline() for line in heard] == ["ready\n"] * PROCESSES
        for number in range(ROUNDS):
            folder = tmp_path / str(number)
            for line in told:
                line.write(f"{folder}\n")
                line.flush()
            assert len({line.readline() for line in heard} - {""}) == 1
            assert [path.name for path in folder.iterdir()] == [ISSUER_KEY_FILE]
            assert (folder / ISSUER_KEY_FILE).stat().st_mode & 0o777 == 0o600
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def test_a_disk_that_is_full_leaves_no_half_a_key(tmp_path: Path) -> None:
    """A process that cannot write the key fails, and the next one that can makes it."""
    failed = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        input=f"{tmp_path}\n",
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0)),
    )
    assert failed.returncode != 0 and "File too large" in failed.stderr
    key = load_or_create_issuer_key(tmp_path)
    assert issuer_key_of(key) == issuer_key_of(load_or_create_issuer_key(tmp_path))


@pytest.mark.parametrize(("mode", "content", "says"), [(0o640, None, "read by others"), (0o600, b"", "private key")])
def test_a_file_that_is_no_key_of_ours_is_refused(tmp_path: Path, mode: int, content: bytes | None, says: str) -> None:
    """A key others may read, and a file that is none, are not used and not replaced."""
    load_or_create_issuer_key(tmp_path)
    file = tmp_path / ISSUER_KEY_FILE
    if content is not None:
        file.write_bytes(content)
    file.chmod(mode)
    before = file.read_bytes()
    with pytest.raises(SettingsError, match=says):
        load_or_create_issuer_key(tmp_path)
    assert file.read_bytes() == before
