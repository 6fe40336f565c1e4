"""One whole Remit per test process; tests that stop, kill or date it start their own."""

from collections.abc import Iterator
from itertools import count

import pytest

from tests.system.harness import System

_numbers = count(1)


@pytest.fixture(scope="package")
def system() -> Iterator[System]:
    """A running Remit with its vendor; shared, so a test uses grants of its own (see `name`)."""
    with System() as running:
        yield running


@pytest.fixture
def name(system: System) -> str:
    """The name of a root grant nobody has used, on a vendor whose books are empty."""
    system.vendor.release()
    system.vendor.wait_idle()
    system.vendor.script()
    system.vendor.reset()
    return f"org{next(_numbers)}"
