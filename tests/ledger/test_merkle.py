"""The tree, its proofs and its tiles, against the definitions and against vectors of Certificate Transparency."""

from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remit.ledger.merkle import (
    EMPTY_ROOT,
    Range,
    consistency_proof,
    extends,
    full_root,
    includes,
    inclusion_proof,
    leaf_hash,
    node_hash,
    nodes_of,
    range_of,
    root_of,
)
from remit.ledger.tiles import Growth, TornTileError, leaves_in, node_reader
from tests.ledger import naive

# The eight leaves, and the roots over the first 1 to 8, of Certificate Transparency's reference implementation.
LEAVES = [
    bytes.fromhex(text)
    for text in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
sizes = st.integers(1, 700)


def data(size: int) -> list[bytes]:
    return [b"entry %d" % number for number in range(size)]


class Tree:
    """A tree in tiles, grown in steps."""

    def __init__(self, *steps: int) -> None:
        self.tiles: dict[tuple[int, int], bytes] = {}
        self.leaves = data(sum(steps))
        for end, step in zip(accumulate(steps), steps, strict=True):
            growth = Growth(end - step, self.tile)
            growth.extend(leaf_hash(one) for one in self.leaves[end - step : end])
            for place, hashes in growth.changed.items():
                assert hashes.startswith(self.tiles.get(place, b""))
                self.tiles[place] = hashes
        self.read = node_reader(self.tile)

    def tile(self, level: int, number: int) -> bytes:
        return self.tiles.get((level, number), b"")


def test_the_roots_are_those_of_certificate_transparency() -> None:
    """Over nothing, and over the first 1 to 8 leaves."""
    tree = Range(0, 0, ())
    assert tree.root() == EMPTY_ROOT == naive.mth([])
    for leaf, root in zip(LEAVES, ROOTS, strict=True):
        tree.append(leaf_hash(leaf))
        assert tree.root().hex() == root


@given(st.lists(st.integers(1, 300), min_size=1, max_size=6))
def test_tiles_grow_to_the_same_tree_by_any_steps(steps: list[int]) -> None:
    """However entries were sealed, tiles are as those of all at once, and their root is that of the definition."""
    tree, whole = Tree(*steps), Tree(sum(steps))
    assert tree.tiles == whole.tiles
    assert root_of(tree.read, sum(steps)) == naive.mth(whole.leaves)
    assert list(leaves_in(tree.tile, 0, sum(steps))) == [leaf_hash(one) for one in whole.leaves]


def test_a_large_tree_has_three_levels() -> None:
    """Above 65,536 leaves the root still is the definition's, from tiles of three levels; old sizes keep their roots."""
    tree = Tree(256 * 256 + 300)
    assert {level for level, _ in tree.tiles} == {0, 1, 2}
    for size in (256, 257, 65535, 65536, 65537, 65836):
        assert root_of(tree.read, size) == naive.mth(tree.leaves[:size])


@given(st.data(), sizes)
def test_proofs_are_those_of_the_definition_and_verify(draw: st.DataObject, size: int) -> None:
    """For any entry and any earlier size."""
    tree = Tree(size)
    index, old = draw.draw(st.integers(0, size - 1)), draw.draw(st.integers(1, size))
    root = naive.mth(tree.leaves)
    path = inclusion_proof(tree.read, index, size)
    assert path == naive.path(index, tree.leaves)
    assert includes(leaf_hash(tree.leaves[index]), index, size, path, root)
    steps = consistency_proof(tree.read, old, size)
    assert steps == naive.proof(old, tree.leaves)
    assert extends(old, naive.mth(tree.leaves[:old]), size, root, steps)


def test_any_small_tree_proves_everything_and_nothing_else() -> None:
    """Of trees up to 17: each proof holds for its own leaf, place, size and root, and for no other."""
    for size in range(1, 18):
        tree = Tree(size)
        roots = [naive.mth(tree.leaves[:n]) for n in range(size + 1)]
        for index in range(size):
            path = inclusion_proof(tree.read, index, size)
            for other in range(size):
                good = includes(leaf_hash(tree.leaves[other]), index, size, path, roots[size])
                assert good == (other == index)
                assert includes(leaf_hash(tree.leaves[index]), other, size, path, roots[size]) == (other == index)
        for old in range(1, size + 1):
            path = consistency_proof(tree.read, old, size)
            for other in range(1, size + 1):
                assert extends(old, roots[other], size, roots[size], path) == (other == old)
                assert extends(old, roots[old], size, roots[other], path) == (other == size)


@given(st.data(), st.integers(2, 400))
def test_a_changed_proof_proves_nothing(draw: st.DataObject, size: int) -> None:
    """Whichever hash of it is changed, left out, doubled or put elsewhere."""
    tree, root = Tree(size), naive.mth(data(size))
    index, old = draw.draw(st.integers(0, size - 1)), draw.draw(st.integers(1, size - 1))
    leaf = leaf_hash(tree.leaves[index])
    old_root = naive.mth(tree.leaves[:old])

    def is_in(path: list[bytes]) -> bool:
        return includes(leaf, index, size, path, root)

    def is_old(path: list[bytes]) -> bool:
        return extends(old, old_root, size, root, path)

    proofs = ((inclusion_proof(tree.read, index, size), is_in), (consistency_proof(tree.read, old, size), is_old))
    for path, holds in proofs:
        assert holds(path)
        at = draw.draw(st.integers(0, len(path) - 1))
        flipped = bytes([path[at][0] ^ 1, *path[at][1:]])
        for changed in ([*path[:at], flipped, *path[at + 1 :]], path[:at] + path[at + 1 :], [*path, path[-1]],
                        [*path[:at], path[at][:31], *path[at + 1 :]], path * 40):  # fmt: skip
            assert not holds(changed)
        assert path[::-1] == path or not holds(path[::-1])


def test_sizes_and_places_that_cannot_be_prove_nothing() -> None:
    """A place outside the tree, a tree that shrinks, an empty tree with another root."""
    leaf, root = leaf_hash(b"x"), leaf_hash(b"x")
    assert includes(leaf, 0, 1, [], root)
    assert not any(includes(leaf, index, size, [], root) for index, size in ((1, 1), (-1, 1), (0, 0)))
    left, right = leaf_hash(b"a"), leaf_hash(b"b")
    assert includes(right, 1, 2, [left], node_hash(left, right))
    assert not includes(right, 0, 1, [left], node_hash(left, right))
    assert extends(0, EMPTY_ROOT, 1, root, []) and extends(1, root, 1, root, [])
    assert not extends(0, root, 1, root, []) and not extends(2, root, 1, root, []) and not extends(1, root, 2, root, [])


@given(st.data(), sizes)
def test_a_run_continues_a_run(draw: st.DataObject, size: int) -> None:
    """The nodes over what is before, in and after any run fold to the root: what an export of a part is verified by."""
    tree = Tree(size)
    begin = draw.draw(st.integers(0, size))
    end = draw.draw(st.integers(begin, size))
    run = range_of(tree.read, 0, begin)
    middle = Range(begin, begin, ())
    for leaf in tree.leaves[begin:end]:
        run.append(leaf_hash(leaf))
        middle.append(leaf_hash(leaf))
    assert middle.nodes == range_of(tree.read, begin, end).nodes
    for height, index in nodes_of(end, size):
        run.push(height, tree.read(height, index))
    assert run.root() == naive.mth(tree.leaves)


def test_a_torn_tile_is_said_to_be_one() -> None:
    """A tile that lacks hashes is no smaller tree."""
    tree = Tree(300)
    tree.tiles[0, 1] = tree.tiles[0, 1][:-32]
    for use in (
        lambda: root_of(tree.read, 300),
        lambda: Growth(300, tree.tile),
        lambda: list(leaves_in(tree.tile, 0, 300)),
    ):
        with pytest.raises(TornTileError, match="tile 1 of level 0"):
            use()


def test_a_run_of_the_wrong_number_of_nodes_is_refused() -> None:
    """So no list of hashes from outside is taken for a tree it is not."""
    with pytest.raises(ValueError, match="3 nodes do not cover"):
        Range(0, 4, [full_root([leaf_hash(b"")])] * 3)
