"""One control plane per module; a test uses a root grant of its own."""

from collections.abc import Iterator
from itertools import count

import pytest

from tests.api.support import Caller, Plane

_numbers = count(1)


@pytest.fixture(scope="module")
def plane() -> Iterator[Plane]:
    """A running control plane over a fresh database."""
    with Plane() as running:
        yield running


@pytest.fixture
def admin(plane: Plane) -> Caller:
    return plane.admin


@pytest.fixture
def name() -> str:
    """The name of a root grant nobody has used."""
    return f"org{next(_numbers)}"
