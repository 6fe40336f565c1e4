"""A ledger to be sealed, one that is, and one that is only looked at."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ledger.sealed import SealedTrial, thirty
from tests.store.database import fresh_database


@pytest.fixture
def to_seal(tmp_path: Path) -> Iterator[SealedTrial]:
    made = SealedTrial(fresh_database(), tmp_path)
    yield made
    made.close()


@pytest.fixture
def sealed(to_seal: SealedTrial) -> SealedTrial:
    return thirty(to_seal)


@pytest.fixture(scope="module")
def looked_at(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SealedTrial]:
    """The same for tests that change nothing."""
    made = SealedTrial(fresh_database(), tmp_path_factory.mktemp("sealed"))
    yield thirty(made)
    made.close()
