"""Which chains a gateway need not name again: those whose last block a hold of its own was taken on, and no others."""

import pytest

from remit.gateway import holding
from remit.gateway.holding import KnownChains
from tests.gateway.test_reach_of_revocation import MIDDLE, MINTED, TOKEN, admitted


@pytest.mark.parametrize("held", [MINTED.token, MIDDLE, TOKEN], ids=["first", "middle", "last"])
def test_a_chain_is_known_by_its_last_block(held: str) -> None:
    """That its beginning was held on says nothing of a block behind it, nor does that of a descendant."""
    known = KnownChains()
    known.add(admitted(held))
    assert [admitted(token) in known for token in (MINTED.token, MIDDLE, TOKEN)] == [
        token == held for token in (MINTED.token, MIDDLE, TOKEN)
    ]


def test_what_is_remembered_of_chains_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond a number of chains all are named once more; the one that was just held on is known."""
    monkeypatch.setattr(holding, "_MAX_KNOWN", 2)
    known = KnownChains()
    for token in (MINTED.token, MIDDLE, TOKEN):
        known.add(admitted(token))
    assert [admitted(token) in known for token in (MINTED.token, MIDDLE, TOKEN)] == [False, False, True]
