"""The tree in PostgreSQL keeps the contract of its port."""

from dataclasses import asdict
from zoneinfo import ZoneInfo

import psycopg
import pytest

from remit.grants.ports import GrantRepository
from remit.grants.usage import Used
from remit.kernel.periods import period_of
from remit.store.postgres_grants import PostgresGrants
from tests.grants.repository_contract import GrantRepositoryContract
from tests.store.database import fresh_database


class TestPostgresGrants(GrantRepositoryContract):
    """The contract, on a real server."""

    @pytest.fixture
    def repository(self) -> GrantRepository:
        """An empty repository."""
        self.url = fresh_database()
        return PostgresGrants(self.url)

    def use(self, repository: GrantRepository, used: Used) -> None:
        with repository.read() as reads:
            grant = reads.find(used.grant_id)
        assert grant is not None
        ends_at = period_of(used.period, used.starts_at, ZoneInfo(grant.time_zone)).end
        with psycopg.connect(self.url, options="-c search_path=remit") as connection:
            connection.execute(
                "INSERT INTO buckets (node_id, dimension, period_kind, period_start, period_end, target, limit_amount,"
                " posted, held, overage, overdraft_limit, overdraft_posted, overdraft_held)"
                " VALUES (%(grant_id)s, %(dimension)s, %(period)s, %(starts_at)s, %(ends_at)s, 100, 100,"
                " %(posted)s - 1, %(held)s, 1, 10, %(borrowed)s - %(borrowed)s / 2, %(borrowed)s / 2)",
                {**asdict(used), "ends_at": ends_at},
            )
