"""Secrets are cut out of texts that are kept, and their public ids stay."""

import pytest

from remit.kernel.secret_texts import public_id, without_secrets

KEY = "rk_0123456789ab_" + "A-_z" * 10 + "xyz"
TOKEN = "rp_0123456789ab_" + "B" * 43


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        (f"/v1/keys/{KEY}/revoke", "/v1/keys/rk_0123456789ab_.../revoke"),
        (f"I lost {TOKEN}, sorry", "I lost rp_0123456789ab_..., sorry"),
        ("rmt1.AbC-_.dEf~0 and more", "rmt1.... and more"),
        (f"{KEY}{TOKEN}", "rk_0123456789ab_..."),
        ("rk_0123456789ab is its id", "rk_0123456789ab is its id"),
        ("nothing of that kind", "nothing of that kind"),
    ],
)
def test_secrets_are_left_out(text: str, kept: str) -> None:
    """Of a key and a token the id is left, of a capability nothing."""
    assert without_secrets(text) == kept


def test_a_whole_key_is_named_by_its_id() -> None:
    """Whoever pastes the whole of it means the same thing; any other text means itself."""
    assert public_id(KEY) == public_id(TOKEN) == public_id("0123456789ab") == "0123456789ab"
    assert public_id(f"{KEY} ") == f"{KEY} "
