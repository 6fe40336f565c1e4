"""A ledger with a past."""

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.archive.ground import Ground
from tests.store.database import copy_of, fresh_database


@cache
def filled() -> Ground:
    """The one that others are copies of."""
    made = Ground(fresh_database(), Path())
    made.fill()
    made.close()
    return made


@pytest.fixture
def ground(tmp_path: Path) -> Iterator[Ground]:
    """Nothing is archived yet."""
    made = Ground(copy_of(filled().trial.url), tmp_path / "archive", filled())
    yield made
    made.close()
