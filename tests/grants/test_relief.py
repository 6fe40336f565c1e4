"""Who is charged less: by what is booked on a grant itself, and by the sum of what is below it."""

from collections.abc import Mapping

import pytest

from remit.grants.relief import relieved
from remit.grants.tree import Tree
from tests.grants.builders import grant

ROOT = grant("acme")
PART = grant("acme/part", ROOT)
ONE, TWO = grant("acme/part/one", PART), grant("acme/part/two", PART)
OTHER = grant("acme/other", ROOT)
TREE = Tree([ROOT, PART, ONE, TWO, OTHER])


@pytest.mark.parametrize(
    ("amounts", "paths"),
    [
        ({}, []),
        ({"one": -5, "two": 5}, ["acme/part/one"]),
        ({"one": -5, "other": 5}, ["acme/part", "acme/part/one"]),
        ({"one": -5}, ["acme", "acme/part", "acme/part/one"]),
        ({"acme": -5, "one": 5}, ["acme"]),
        ({"one": 5, "two": -4}, ["acme/part/two"]),
        ({"one": 0, "two": 5}, []),
        ({"gone": -5, "one": 5}, []),
    ],
)
def test_who_is_charged_less(amounts: Mapping[str, int], paths: list[str]) -> None:
    """A grant is by its own sum or by that of all below it; a parent's charge is none of its children's."""
    ids = {one.path.rpartition("/")[2]: one.id for one in TREE}
    found = relieved(TREE, {ids.get(name, name): amount for name, amount in amounts.items()})
    assert [one.path for one in found] == paths
