"""What the routes need. Joined in `remit.bootstrap`, made once per process."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import date

from remit.api.allocating import AllocatingService
from remit.api.exchange import Exchange
from remit.api.hearing import Hearing
from remit.api.people import PeopleService
from remit.api.reconciling import Reconciling
from remit.api.roster import RosterService
from remit.api.sign_in import SignIn
from remit.findings.model import Finding
from remit.grants.governing import VocabularyService
from remit.grants.keys import KeyService, KeyStore
from remit.grants.minting import CapabilityService, CapabilityStore
from remit.grants.ports import GrantRepository
from remit.grants.revocations import RevocationService
from remit.grants.service import GrantService
from remit.kernel.clock import Clock
from remit.ledger.model import CheckResult
from remit.renewals.service import TicketService
from remit.reports.focus.names import Naming
from remit.reports.focus.ports import FocusReader
from remit.store.kept import KeptConnections
from remit.store.postgres_audit import PostgresAudit
from remit.store.postgres_cost_rules import PostgresCostRules
from remit.store.postgres_deliveries import PostgresDeliveries
from remit.store.postgres_jobs import PostgresJobs
from remit.store.postgres_keys import PostgresKeys
from remit.store.postgres_ledger import PostgresLedger
from remit.store.postgres_notifications import PostgresNotifications
from remit.store.postgres_outcomes import PostgresOutcomes
from remit.store.postgres_people import PostgresPeople
from remit.store.postgres_revocations import PostgresRevocations
from remit.store.postgres_seals import PostgresSeals
from remit.store.postgres_statements import PostgresStatements
from remit.store.postgres_tickets import PostgresTickets
from remit.store.postgres_trips import PostgresTrips
from remit.store.postgres_vocabulary import PostgresVocabulary
from remit.store.postgres_writes import PostgresWrites, WriteUnit


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """`keys_over` makes the key service over stores bound to one transaction.

    `connections` are those for what is asked before it is known who asks, and for writes; `reading` are those of `ledger`.
    """

    clock: Clock
    repository: GrantRepository
    writes: PostgresWrites
    connections: KeptConnections
    reading: KeptConnections
    keys_over: Callable[[KeyStore, GrantRepository], KeyService]
    capabilities_over: Callable[[CapabilityStore, GrantRepository], CapabilityService]
    exchange: Exchange | None
    revocations_over: Callable[[WriteUnit], RevocationService]
    tickets_over: Callable[[WriteUnit], TicketService]
    reach: PostgresRevocations
    key_list: PostgresKeys
    ledger: PostgresLedger
    books_of: Callable[[date], AbstractContextManager[FocusReader]]
    naming: Naming
    findings: Callable[[], list[Finding]]
    notifications: PostgresNotifications
    trips: PostgresTrips
    outcomes: PostgresOutcomes
    vocabulary: PostgresVocabulary
    vocabulary_over: Callable[[WriteUnit], VocabularyService]
    cost_rules: PostgresCostRules
    allocating_over: Callable[[WriteUnit], AllocatingService]
    people: PeopleService
    people_store: PostgresPeople
    people_over: Callable[[PostgresPeople], PeopleService]
    roster_over: Callable[[WriteUnit], RosterService]
    sign_in: SignIn | None
    scim_token: bytes | None
    deliveries: PostgresDeliveries
    audit: PostgresAudit
    seals: PostgresSeals
    check_seals: Callable[[], CheckResult]
    jobs: PostgresJobs
    statements: PostgresStatements
    reconciling: Reconciling
    hearing: Hearing | None = None

    @contextmanager
    def tickets(self) -> Iterator[PostgresTickets]:
        """Tickets to be looked at, as of one moment."""
        with self.connections.use() as connection, connection.transaction():
            yield PostgresTickets(connection, self.clock)

    def grants_over(self, repository: GrantRepository) -> GrantService:
        """The grant service over a repository bound to one transaction."""
        return GrantService(repository, self.clock)
