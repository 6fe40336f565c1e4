"""Signed checkpoints: the form of C2SP, and everything that is not one."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remit.ledger.checkpoint import (
    Checkpoint,
    CheckpointError,
    notes_in,
    open_note,
    read_signer_key,
    read_verifier_key,
    sign,
    signer_key,
    verify_text,
)

KEY = signer_key("remit/ledger/1", bytes(range(32)))
SIGNED = Checkpoint(KEY.name, 1234567, bytes(32))
NOTE = sign(SIGNED, KEY)
# The example in the documentation of the package for Go, another implementation.
OTHERS_KEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
OTHERS_NOTE = (
    "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n\n"
    "\N{EM DASH} PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)


def test_a_note_of_another_implementation_verifies() -> None:
    """Key and signature have the form that others write."""
    assert verify_text(OTHERS_NOTE, read_verifier_key(OTHERS_KEY)) == OTHERS_NOTE.partition("\n\n")[0] + "\n"


def test_a_checkpoint_is_read_as_it_was_signed() -> None:
    """By the public key's text; further signatures, of keys nobody asked about, change nothing."""
    key = read_verifier_key(KEY.verifier().text())
    witness = signer_key("witness", bytes(32))
    stamp = sign(SIGNED, witness).rpartition("\n\n")[2]
    assert open_note(NOTE, key) == open_note(NOTE + stamp, key) == SIGNED
    assert read_signer_key(KEY.text()) == KEY
    assert NOTE.startswith(
        "remit/ledger/1\n1234567\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n\n\N{EM DASH} remit/ledger/1 "
    )


@given(st.integers(0, len(NOTE) - 1), st.characters())
def test_any_changed_character_is_noticed(at: int, other: str) -> None:
    """Of the text and of the signature."""
    changed = NOTE[:at] + other + NOTE[at + 1 :]
    if changed == NOTE:
        return
    with pytest.raises(CheckpointError):
        open_note(changed, KEY.verifier())


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "x\n1\n",
        "x\n01\nAAAA\n",
        f"x\n-1\n{'A' * 43}=\n",
        f"x\n{2**63}\n{'A' * 43}=\n",
        f"\n1\n{'A' * 43}=\n",
        "x\n1\nAAAA\n",
    ],
)
def test_a_signed_text_that_is_no_checkpoint_is_refused(text: str) -> None:
    """A good signature does not make a checkpoint."""

    class Text(Checkpoint):
        def text(self) -> str:
            return text

    with pytest.raises(CheckpointError):
        open_note(sign(Text("x", 0, b""), KEY), KEY.verifier())


def test_no_other_key_is_believed() -> None:
    """Neither another key of the same name nor the same key under another name; long notes are not looked at."""
    for other in (signer_key(KEY.name, bytes(32)), signer_key("another", KEY.seed)):
        with pytest.raises(CheckpointError, match="no signature of"):
            open_note(NOTE, other.verifier())
    with pytest.raises(CheckpointError, match="longer than"):
        open_note(NOTE + "x" * 70_000, KEY.verifier())


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a+b+c",
        KEY.text(),
        KEY.verifier().text()[:-4],
        KEY.verifier().text().replace("ledger", "legder"),
        "x+00000000+AA==",
    ],
)
def test_a_key_that_is_none_is_refused(text: str) -> None:
    """A secret key above all is not taken for a public one, and not quoted."""
    with pytest.raises(CheckpointError) as caught:
        read_verifier_key(text)
    assert KEY.text()[-20:] not in str(caught.value) + repr(KEY)


@pytest.mark.parametrize("name", ["", "a b", "a+b", "ä", "a\n"])
def test_a_name_that_would_break_a_note_is_refused(name: str) -> None:
    """Names are ASCII without spaces and `+`."""
    with pytest.raises(CheckpointError):
        signer_key(name, bytes(32))


def test_a_log_is_its_notes() -> None:
    """With an empty line between; one that breaks off is said to."""
    second = sign(replace(SIGNED, size=1234568), KEY)
    assert list(notes_in(f"{NOTE}\n{second}")) == [NOTE, second]
    assert list(notes_in("")) == []
    with pytest.raises(CheckpointError):
        list(notes_in(f"{NOTE}\n{second[:40]}"))
