"""Proofs and exports of a sealed ledger, and the kinds of differences."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remit.ledger.checkpoint import open_note, signer_key
from remit.ledger.export import ExportError, verify_export
from remit.ledger.merkle import EMPTY_ROOT, extends, includes, leaf_hash
from remit.ledger.proving import NotProvableError, prove_entry, prove_growth
from remit.ledger.verify import aligned, moved
from tests.ledger.sealed import KEY, SealedTrial, entries, rewrite_tree


def test_proofs_lead_to_what_was_signed(sealed: SealedTrial) -> None:
    """Of an entry, and of growth from one checkpoint to the next; an altered entry has no proof."""
    first, second = sealed.checkpoints()
    with sealed.seals.snapshot() as reads:
        rows = sealed.looking.execute("SELECT id FROM entries ORDER BY seq").fetchall()
        for index in (0, 19, 20, 29):
            proof = prove_entry(reads, rows[index][0])
            assert proof.note is not None and open_note(proof.note, KEY.verifier()) == second
            assert proof.index == index
            assert includes(leaf_hash(proof.entry), index, 30, proof.path, second.root)
        growth = prove_growth(reads, 20, 30)
        assert extends(20, first.root, 30, second.root, growth.path)
        for asked in (("entry_x", None), (rows[25][0], 20), (rows[0][0], 31)):
            with pytest.raises(NotProvableError):
                prove_entry(reads, *asked)
        for sizes in ((0, 30), (21, 20), (20, 31)):
            with pytest.raises(NotProvableError):
                prove_growth(reads, *sizes)
    sealed.tamper("UPDATE entries SET note = 'x' WHERE seq = (SELECT min(seq) FROM entries)")
    with sealed.seals.snapshot() as reads, pytest.raises(NotProvableError, match="not what was sealed at index 0"):
        prove_entry(reads, rows[0][0])


def test_an_export_of_a_part_is_verified_alone(looked_at: SealedTrial) -> None:
    """From any index up to any other, with nothing but the checkpoint and the key."""
    for since, end in ((0, 30), (0, 1), (7, 13), (19, 21), (20, 30), (29, 30)):
        lines = looked_at.export(since, end)
        verdict = looked_at.verify_export(lines)
        assert verdict.faults == () and (verdict.begin, verdict.end) == (since, end)
        assert [line for line in lines[1:] if not line.startswith(b'{"hashes"')] == [
            one + b"\n" for one in entries(looked_at)[since:end]
        ]


def test_any_change_of_an_export_is_found(sealed: SealedTrial) -> None:
    """A line that is changed, lost, doubled or moved; and its hashes changed with it; a piece that is missing at the end."""
    lines = sealed.export()

    def verdict(*changed: bytes) -> tuple[str, int | None]:
        first = sealed.verify_export(list(changed)).faults[0]
        return first.kind, first.index

    assert verdict(*lines[:4], lines[4].replace(b"20", b"21"), *lines[5:]) == ("edited", 3)
    assert verdict(*lines[:4], *lines[5:]) == ("missing", 3)
    assert verdict(*lines[:4], b'{"id":"entry_x"}\n', *lines[4:]) == ("added", 3)
    assert verdict(*lines[:4], lines[5], lines[4], *lines[6:]) == ("reordered", 3)
    assert verdict(*lines, b'{"id":"entry_x"}\n') == ("added", 30)
    assert verdict(*lines[:4]) == ("added", 0)
    assert verdict(lines[0]) == ("missing", 0)
    forged = sealed.export()
    sealed.tamper("UPDATE entries SET amount_nanousd = 1 WHERE seq = (SELECT min(seq) FROM entries)")
    rewrite_tree(sealed)
    assert verdict(*sealed.export()) == ("rewritten", 0)
    assert forged == lines


@pytest.mark.parametrize(
    ("at", "line", "message"),
    [
        (0, b"", "line 1"),
        (0, b"{}", "line 1"),
        (0, b"\xff", "line 1"),
        (31, b'{"hashes":"AA"}', "line 32"),
        (31, b'{"hashes":1}', "line 32"),
        (31, b'{"hashes":"\xff"}', "line 32"),
    ],
)
def test_what_is_no_export_is_said_to_be_none(looked_at: SealedTrial, at: int, line: bytes, message: str) -> None:
    """With the number of the line; never a traceback, and never taken for verified."""
    lines = looked_at.export()
    lines[at] = line
    with pytest.raises(ExportError, match=message):
        looked_at.verify_export(lines)


def test_an_export_older_than_the_checkpoint_is_not_verified_by_it(sealed: SealedTrial) -> None:
    """What is given has to be compared: an old export says nothing about the entries since."""
    old = sealed.export()
    sealed.spend(1)
    sealed.seal()
    assert [one.kind for one in sealed.verify_export(old).faults] == ["checkpoint"]
    assert verify_export(old, sealed.checkpoints(), KEY.verifier()).faults == ()
    (part,) = verify_export(old, sealed.checkpoints(), KEY.verifier(), whole=True).faults
    assert (part.kind, part.index) == ("part", 30)
    with pytest.raises(ExportError, match="no signature of"):
        verify_export(old, [], signer_key(KEY.name, bytes(32)).verifier())
    assert EMPTY_ROOT not in {one.root for one in sealed.checkpoints()}


def test_an_entry_that_was_moved_far_is_said_to_be_moved() -> None:
    """What is missing in one block and too much in a later one is one entry in another place."""
    a, b, c, d = (leaf_hash(name) for name in (b"a", b"b", b"c", b"d"))
    found = [*aligned(0, [a, b], [b], lambda _: None), *aligned(2, [c, d], [c, a, d], lambda _: "entry_a")]
    (fault,) = moved(found)
    assert (fault.kind, fault.index, fault.entry_id) == ("reordered", 0, "entry_a")


def test_a_part_is_not_taken_for_the_whole(looked_at: SealedTrial) -> None:
    """Where the whole is asked for: it begins with the first entry, and ends with the last that was signed by any note that is given."""
    first, last = looked_at.checkpoints()
    for since, end, notes, expected in (
        (0, 30, [last], []),
        (0, 30, [first], []),
        (7, 30, [last], [("part", 0)]),
        (0, 29, [last], [("part", 29)]),
        (5, 20, [last, first], [("part", 0), ("part", 20)]),
    ):
        verdict = verify_export(looked_at.export(since, end), notes, KEY.verifier(), whole=True)
        assert [(one.kind, one.index) for one in verdict.faults] == expected
    early = SealedTrial.export(looked_at)
    assert verify_export(early, [], KEY.verifier(), whole=True).outcome == "verified"


@given(st.permutations(range(7)), st.sets(st.integers(0, 6)), st.sets(st.integers(10, 12)))
def test_the_first_difference_is_where_it_is(order: list[int], lost: set[int], new: set[int]) -> None:
    """Whatever was done to a block, the first fault is at the first place that differs; and none where nothing does."""
    expected = [leaf_hash(b"%d" % number) for number in range(7)]
    found = [leaf_hash(b"%d" % number) for number in [*order, *new] if number not in lost]
    faults = list(aligned(100, expected, found, lambda at: f"entry_{at}"))
    differs = [at for at in range(8) if expected[at : at + 1] != found[at : at + 1]]
    assert bool(faults) == bool(differs)
    if faults:
        assert faults[0].index == 100 + differs[0]
        assert {one.kind for one in faults if one.kind == "missing"} <= ({"missing"} if lost else set())
