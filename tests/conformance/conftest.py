"""The running Remit the cases share; a case that stops, dates or starves one starts its own."""

from collections.abc import Iterator

import pytest

from tests.system.conftest import name, system
from tests.system.harness import System

__all__ = ["name", "system"]


@pytest.fixture(scope="session")
def quick() -> Iterator[System]:
    """A Remit that gives a call one second and its hold two."""
    with System(gateway={"request_seconds": 1.0, "hold_seconds": 2.0}) as running:
        yield running
