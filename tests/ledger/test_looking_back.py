"""What was sealed before is compared again and again, with nobody asking."""

import pytest
from structlog.testing import capture_logs

from remit.jobs.looking_back import LookBack
from remit.ledger.canonical import encode_row
from remit.ledger.merkle import leaf_hash
from tests.ledger.sealed import KEY, SealedTrial

VERIFIER = KEY.verifier()


def looking(trial: SealedTrial, *, begin: int = 0, part: int = 7) -> LookBack:
    return LookBack(trial.seals, trial.log, trial.clock, lambda _: begin, part)


def pages(trial: SealedTrial) -> list[str]:
    rows = trial.looking.execute(
        "SELECT body ->> 'detail' FROM notifications WHERE audience = 'security' AND dimension = 'ledger'"
    )
    return [row[0] for row in rows.fetchall()]


@pytest.mark.parametrize("begin", [0, 12, 29])
def test_wherever_it_begins_it_comes_round(sealed: SealedTrial, begin: int) -> None:
    """An edited entry is found within one time round of parts, and only where it is."""
    sealed.tamper(f"UPDATE entries SET amount_nanousd = 1 WHERE seq = {sealed.seqs()[5]}")
    looks = looking(sealed, begin=begin)
    found = [looks.round(VERIFIER) for _ in range(6)]
    assert {tuple(one) for one in found} == {(), ("index 5: edited",)}
    assert len(found[0]) == (begin == 0)


def test_nothing_is_found_where_nothing_is(looked_at: SealedTrial) -> None:
    """All parts of a ledger that is as it was signed, twice over, say nothing."""
    looks = looking(looked_at, part=11)
    assert [looks.round(VERIFIER) for _ in range(6)] == [[]] * 6
    assert pages(looked_at) == []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("DELETE FROM entries WHERE seq = {3}", "index 3: missing"),
        ("DELETE FROM ledger_tiles WHERE level = 0", "between index 0 and 7: "),
    ],
)
def test_what_is_not_there_is_found(sealed: SealedTrial, change: str, told: str) -> None:
    """An entry or the tree's hashes."""
    sealed.tamper(change.format(*sealed.seqs()))
    assert looking(sealed).round(VERIFIER)[0].startswith(told)


def test_who_rewrites_the_hashes_as_well_is_found(to_seal: SealedTrial) -> None:
    """An entry and its leaf, in a tile whose root is kept in the tile above: by whoever comes to that tile."""
    to_seal.spend(1)
    to_seal.multiply(300)
    to_seal.seal()
    to_seal.tamper(f"UPDATE entries SET amount_nanousd = 1 WHERE seq = {to_seal.seqs()[9]}")
    row = to_seal.one(f"SELECT row_to_json(e)::text FROM entries AS e WHERE seq = {to_seal.seqs()[9]}")
    leaf = leaf_hash(encode_row(row))
    to_seal.tamper(
        f"UPDATE ledger_tiles SET hashes = overlay(hashes PLACING '\\x{leaf.hex()}'::bytea FROM {9 * 32 + 1})"
        " WHERE level = 0 AND number = 0"
    )
    assert looking(to_seal, begin=270).round(VERIFIER) == []
    for begin in (7, 20):
        assert looking(to_seal, begin=begin).round(VERIFIER) == [f"index {begin}: rewritten"]


def test_security_hears_once_a_day_and_the_log_each_time(sealed: SealedTrial) -> None:
    """By the sealer's own rounds, which go on signing what comes after."""
    sealed.tamper(f"UPDATE entries SET amount_nanousd = 1 WHERE seq = {sealed.seqs()[5]}")
    with capture_logs() as lines:
        for _ in range(3):
            sealed.multiply(1)
            sealed.sealer.round()
    told = [(line["log_level"], line["first"]) for line in lines if line["event"] == "ledger_altered"]
    assert told and {*told} == {("error", "index 5: edited")}
    (page,) = pages(sealed)
    assert "index 5: edited" in page and "remit ledger verify" in page
    assert sealed.checkpoints()[-1].size == 33


def test_a_ledger_that_was_never_signed_has_nothing_to_compare(to_seal: SealedTrial) -> None:
    """And that is no fault."""
    to_seal.spend(1)
    assert looking(to_seal).round(VERIFIER) == []
