"""The repository in memory keeps the contract of the port."""

import pytest

from remit.grants.ports import GrantRepository
from remit.grants.usage import Used
from remit.testing.grants import MemoryGrantRepository
from tests.grants.repository_contract import GrantRepositoryContract


class TestMemoryGrantRepository(GrantRepositoryContract):
    """The contract, in memory."""

    @pytest.fixture
    def repository(self) -> GrantRepository:
        """An empty repository."""
        return MemoryGrantRepository()

    def use(self, repository: GrantRepository, used: Used) -> None:
        assert isinstance(repository, MemoryGrantRepository)
        repository.use(used)
