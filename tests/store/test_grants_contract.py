"""The tree in PostgreSQL keeps the contract of its port."""

import pytest

from remit.grants.ports import GrantRepository
from remit.store.postgres_grants import PostgresGrants
from tests.grants.repository_contract import GrantRepositoryContract
from tests.store.database import fresh_database


class TestPostgresGrants(GrantRepositoryContract):
    """The contract, on a real server."""

    @pytest.fixture
    def repository(self) -> GrantRepository:
        """An empty repository."""
        return PostgresGrants(fresh_database())
