"""The only place where objects are joined: settings in, running parts out."""

import contextlib
import os
import secrets
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from remit.api.allocating import AllocatingService
from remit.api.people import NewPerson, PeopleService
from remit.api.roster import RosterService
from remit.bootstrap.key_files import (
    ISSUER_KEY_FILE,
    LEDGER_KEY_FILE,
    checkpoint_log,
    load_ledger_key,
    load_or_create_issuer_key,
    load_or_create_ledger_key,
    replace_issuer_key,
)
from remit.bootstrap.outward import make_exporters, make_feeders
from remit.bootstrap.parts import (
    finding_bounds,
    focus_naming,
    gateway_database,
    make_archiver,
    make_clock,
    make_lake,
    make_price_book,
    make_puller,
    make_reconcile_terms,
    make_workload_rules,
    open_database,
    opens_archive,
    sql_database,
)
from remit.capabilities.issuer_keys import (
    generate_issuer_key,
    issuer_key_of,
)
from remit.findings.model import Finding
from remit.findings.rules import findings
from remit.grants.governing import VocabularyService
from remit.grants.keys import KeyService, KeyStore
from remit.grants.minting import BlockIssuer, CapabilityService, CapabilityStore
from remit.grants.ports import GrantRepository, Said
from remit.grants.revocations import RevocationService
from remit.grants.service import GrantService
from remit.jobs.carrier import Carrier
from remit.jobs.sealing import Sealer
from remit.jobs.upkeep import POLL_SECONDS, STOP_SECONDS, Upkeep
from remit.jobs.work import Work
from remit.jobs.worker import JobWorker
from remit.kernel.clock import Clock
from remit.notify.channels import OpenChannel, open_channel
from remit.notify.ports import Decides
from remit.notify.signature import Signer
from remit.notify.webhook import Webhook
from remit.renewals.model import Event, Ticket
from remit.renewals.rounds import Did, Rounds
from remit.renewals.service import TicketService
from remit.renewals.succession import Succession
from remit.renewals.writes import EffectWriter
from remit.settings import Settings, SettingsError, scim_token, sign_in_secret, webhook_secret
from remit.store.authored import Source as AuditSource
from remit.store.authored import say
from remit.store.connect import Opens, opener
from remit.store.kept import KeptConnections
from remit.store.postgres_archive import PostgresArchive
from remit.store.postgres_audit import PostgresAudit
from remit.store.postgres_capabilities import PostgresCapabilities
from remit.store.postgres_care import PostgresCare
from remit.store.postgres_chains import PostgresChains
from remit.store.postgres_cost_rules import PostgresCostRules
from remit.store.postgres_deliveries import PostgresDeliveries
from remit.store.postgres_findings import PostgresFindings
from remit.store.postgres_focus import open_month
from remit.store.postgres_gauges import PostgresGauges
from remit.store.postgres_grants import PostgresGrants
from remit.store.postgres_jobs import PostgresJobs
from remit.store.postgres_keys import PostgresKeys
from remit.store.postgres_ledger import PostgresLedger
from remit.store.postgres_notifications import PostgresNotifications
from remit.store.postgres_outcomes import PostgresOutcomes
from remit.store.postgres_people import PostgresPeople
from remit.store.postgres_revocations import PostgresRevocations
from remit.store.postgres_rollups import PostgresRollups
from remit.store.postgres_roster import PostgresRoster
from remit.store.postgres_seals import PostgresSeals
from remit.store.postgres_sinks import PostgresSinks
from remit.store.postgres_statements import PostgresStatements
from remit.store.postgres_tickets import PostgresTickets
from remit.store.postgres_trips import PostgresTrips
from remit.store.postgres_vocabulary import PostgresVocabulary
from remit.store.postgres_writes import PostgresWrites, WriteUnit, job_transaction

if TYPE_CHECKING:
    from remit.api.exchange import Exchange
    from remit.api.hearing import Hearing
    from remit.api.reconciling import Reconciling
    from remit.api.server import ApiServer
    from remit.api.services import Services
    from remit.api.sign_in import SignIn
    from remit.jobs.archiving import Archiver
    from remit.store.lake import Lake
    from remit.telemetry.pages import MetricsServer

__all__ = [
    "ADMIN_TOKEN_FILE",
    "API_CONNECTIONS",
    "ISSUER_KEY_FILE",
    "LEDGER_KEY_FILE",
    "LOCAL_ADMIN",
    "Authority",
    "checkpoint_log",
    "finding_bounds",
    "focus_naming",
    "gateway_database",
    "load_ledger_key",
    "load_or_create_issuer_key",
    "load_or_create_ledger_key",
    "make_clock",
    "make_price_book",
    "make_puller",
    "make_reconcile_terms",
    "make_workload_rules",
    "open_database",
    "opens_archive",
    "replace_issuer_key",
    "run_gateway",
    "sql_database",
]

ADMIN_TOKEN_FILE = "admin.token"  # noqa: S105 - a file's name, not a secret
LOCAL_ADMIN = "admin@localhost"
# As many as the API has threads: each piece of its work has one.
API_CONNECTIONS = 8


class Authority:
    """The control plane's parts over one database. Cheap to make; nothing runs until asked."""

    def __init__(
        self, settings: Settings, url: str, clock: Clock | None = None, source: AuditSource = "command"
    ) -> None:
        self.settings = settings
        self.url = url
        self._source: AuditSource = source
        self.clock = clock or make_clock(settings)
        self.repository = PostgresGrants(url, source)
        self.grants = GrantService(self.repository, self.clock)
        # A connection of its own, in the authority's role, for each piece of work.
        self._opens = opener(url, "remit_authority")
        self.key_store = PostgresKeys(self._opens)
        self.writes = PostgresWrites(self._opens, self.clock, source)
        self.ledger = PostgresLedger(opener(url, "remit_reader"), self.clock)
        self.chains = PostgresChains(self._opens)
        self.care = PostgresCare(url, self.clock)
        self.audit = PostgresAudit(self._opens)
        self.trips = PostgresTrips(self._opens)
        self.outcomes = PostgresOutcomes(self._opens, url, opens_archive(settings))
        self.vocabulary = PostgresVocabulary(self._opens)
        self.cost_rules = PostgresCostRules(self._opens)
        self.deliveries = PostgresDeliveries(self._opens, self.clock)
        self.jobs = PostgresJobs(self._opens)
        self.seals = PostgresSeals(self._opens, opens_archive(settings))
        self.archive = PostgresArchive(self._opens)
        self.statements = PostgresStatements(self._opens, self.clock, source)
        self.sinks = PostgresSinks(self._opens, self.clock)
        # Where what people do in other systems is carried out, if not on the tickets here.
        self.decides: Decides | None = None

    def keys(self) -> KeyService:
        """The service for access keys; makes the issuer key on first use."""
        return self.keys_over()(self.key_store, self.repository)

    def keys_over(self) -> Callable[[KeyStore, GrantRepository], KeyService]:
        """Makes the same service over stores bound to one transaction."""
        issuer = self._block_issuer()
        return lambda store, grants: KeyService(store, grants, issuer)

    def capabilities_over(self) -> Callable[[CapabilityStore, GrantRepository], CapabilityService]:
        """Makes the service that mints capabilities, over stores bound to one transaction or not."""
        issuer = self._block_issuer()
        return lambda store, grants: CapabilityService(store, grants, issuer)

    def revocations_over(self, unit: WriteUnit) -> RevocationService:
        """The service that revokes, inside one write."""
        keys = self.keys_over()(unit.keys, unit.grants)
        grants = GrantService(unit.grants, self.clock)
        return RevocationService(unit.revocations, unit.grants, grants, keys, unit.keys, self.clock)

    def tickets_over(self, unit: WriteUnit) -> TicketService:
        """The service of the queue, inside one write."""
        return self._renewals(unit)[0]

    def tickets_listed(self, **wanted: Any) -> list[Ticket]:
        """The tickets of those terms (see `PostgresTickets.listed`), the first due first."""
        with self._opens() as connection:
            return PostgresTickets(connection, self.clock).listed(**wanted)

    def ticket(self, ticket_id: str) -> tuple[Ticket, list[Event]] | None:
        """A ticket and what happened to it."""
        with self._opens() as connection:
            tickets = PostgresTickets(connection, self.clock)
            found = tickets.find(ticket_id)
            return None if found is None else (found, tickets.events(ticket_id))

    def rounds_over(self, unit: WriteUnit) -> Rounds:
        """What the passing of time does to the queue, inside one write."""
        return self._renewals(unit)[1]

    def renewals_round(self) -> Did:
        """One round of the queue, now. The tree is taken from nobody unless there is something to decide."""
        reminded = self.remind()
        return replace(self.escalate(), reminded=reminded)

    def remind(self) -> int:
        """Tells people what ends, or has ended; answers how many notifications were new."""
        with job_transaction(self._opens, "remind", self.clock.now()) as unit:
            return self.rounds_over(unit).remind()

    def escalate(self) -> Did:
        """What time does to tickets and grants; the tree is taken from nobody unless there is something to decide."""
        with job_transaction(self._opens, "escalate", self.clock.now()) as unit:
            waits = self.rounds_over(unit).waits()
        if not waits:
            return Did()
        with job_transaction(self._opens, "escalate", self.clock.now(), alone=True) as unit:
            return self.rounds_over(unit).decide()

    def _renewals(self, unit: WriteUnit) -> tuple[TicketService, Rounds]:
        tickets, people = unit.tickets(self.clock), unit.standing(self.clock)
        grants, policy = GrantService(unit.grants, self.clock), self.settings.renewals.policy()
        writer = EffectWriter(grants, unit.tree, tickets, unit.debts(self.clock), unit.books(self.clock))
        service = TicketService(tickets, people, writer, unit.tree, policy, self.clock)
        rounds = Rounds(tickets, tickets, people, service, grants, writer, unit.tree, policy, self.clock)
        return service, rounds

    def make_issuer_known(self) -> None:
        """Makes the issuer key where there is none, and its public half known to gateways before anything is signed."""
        self.key_store.make_issuer_known(
            issuer_key_of(load_or_create_issuer_key(self.settings.data_dir)), self.clock.now()
        )

    def vocabulary_over(self, unit: WriteUnit) -> VocabularyService:
        """The service that writes the vocabulary of tags, inside one write."""
        return VocabularyService(unit.vocabulary, unit.roster, self.clock)

    def allocating_over(self, unit: WriteUnit) -> AllocatingService:
        """The service that divides cost between those who pay, inside one write."""
        return AllocatingService(unit, self.clock, self._source)

    def rotate_issuer_key(self, unit: WriteUnit) -> str:
        """A new issuer key in place of the one that signs; its kid. The last thing done in its write.

        The new key is known to gateways no later than anything it signs: whoever mints has the tree to themselves, as this
        write has, and makes the key known that they find. Should the process end between the file and the commit, the next
        who mints does; only the old key is not retired then, and rotating again does that.
        """
        fresh = generate_issuer_key()
        public = issuer_key_of(fresh)
        unit.keys.make_issuer_known(public, self.clock.now())
        unit.keys.retire_issuers_but(public.kid)
        replace_issuer_key(self.settings.data_dir, fresh)
        return public.kid

    def findings(self) -> list[Finding]:
        """What about grants and keys deserves a look now."""
        return self._findings_over(PostgresFindings(self._opens), PostgresRoster(self._opens).left())

    def _findings_over(self, reader: PostgresFindings, left: frozenset[str]) -> list[Finding]:
        bounds, now = finding_bounds(self.settings), self.clock.now()
        return findings(reader.facts(now, now - timedelta(days=bounds.window_days), left), bounds, now)

    def people(self) -> PeopleService:
        """The service for person tokens."""
        return self.people_over(PostgresPeople(self._opens))

    def people_over(self, store: PostgresPeople) -> PeopleService:
        """The same service over other connections, or over those of one transaction."""
        return PeopleService(store, self.clock, secrets.token_bytes)

    def roster_over(self, unit: WriteUnit) -> RosterService:
        """The service for people and their roles, inside one write."""
        tickets, people = unit.tickets(self.clock), unit.standing(self.clock)
        succession = Succession(tickets, people, self.tickets_over(unit), unit.tree, self.clock)
        grants = GrantService(unit.grants, self.clock)
        return RosterService(unit.roster, unit.grants, grants, succession, self.clock)

    def roster(self) -> PostgresRoster:
        """People and roles, to be looked at."""
        return PostgresRoster(self._opens)

    def first_admin_token(self) -> Path | None:
        """The file with a token of a first admin, made where nobody was ever known; None where somebody was."""
        if not self.roster().is_empty():
            return None
        path = self.settings.data_dir.expanduser() / ADMIN_TOKEN_FILE
        # Made before the token is: a file that cannot be written leaves nothing behind that nobody has.
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            with self._opens() as connection, connection.transaction():
                said = Said(at=self.clock.now(), actor="remit", operation="token make", reason="first start")
                say(connection, said, "start")
                people = self.people_over(WriteUnit(connection).people)
                made = people.create(LOCAL_ADMIN, "remit", is_admin=True, purpose="first start")
                assert isinstance(made, NewPerson), made
            file.write(f"{made.text}\n")
        return path

    def api(self) -> "ApiServer":
        """The control plane's server, bound and not started yet. Raises OSError where its address is taken."""
        from remit.api.server import ApiServer  # noqa: PLC0415 - a gateway process must not load it

        return ApiServer(self.api_services(), self.settings.api.listen)

    def api_services(self) -> "Services":
        """What the control plane's routes need."""
        # Neither a gateway process nor a command must load these.
        from remit.api.services import Services  # noqa: PLC0415 - see above
        from remit.bootstrap.seals import check_seals  # noqa: PLC0415 - see above

        connections = KeptConnections(self.url, "remit_authority", API_CONNECTIONS)
        reading = KeptConnections(self.url, "remit_reader", API_CONNECTIONS)
        return Services(
            clock=self.clock,
            repository=self.repository,
            writes=PostgresWrites(connections.use, self.clock, "api"),
            connections=connections,
            reading=reading,
            keys_over=self.keys_over(),
            capabilities_over=self.capabilities_over(),
            exchange=self._exchange(connections),
            revocations_over=self.revocations_over,
            tickets_over=self.tickets_over,
            reach=PostgresRevocations(connections.use),
            key_list=self.key_store,
            ledger=PostgresLedger(reading.use, self.clock),
            books_of=lambda month: open_month(self.url, month, opens_archive(self.settings)),
            naming=focus_naming(self.settings),
            findings=lambda: self._findings_over(
                PostgresFindings(connections.use), PostgresRoster(connections.use).left()
            ),
            notifications=PostgresNotifications(self.url),
            trips=PostgresTrips(connections.use),
            outcomes=PostgresOutcomes(connections.use, self.url, opens_archive(self.settings)),
            vocabulary=PostgresVocabulary(connections.use),
            vocabulary_over=self.vocabulary_over,
            cost_rules=PostgresCostRules(connections.use),
            allocating_over=self.allocating_over,
            people=self.people_over(PostgresPeople(connections.use)),
            people_store=PostgresPeople(connections.use),
            people_over=self.people_over,
            roster_over=self.roster_over,
            sign_in=self._sign_in(),
            scim_token=scim_token(self.settings.api),
            deliveries=PostgresDeliveries(connections.use, self.clock),
            audit=PostgresAudit(connections.use),
            seals=PostgresSeals(connections.use, opens_archive(self.settings)),
            check_seals=lambda: check_seals(self.settings, PostgresSeals(connections.use)),
            jobs=PostgresJobs(connections.use),
            statements=PostgresStatements(connections.use, self.clock, "api"),
            reconciling=self._reconciling(connections.use, "api"),
            hearing=self._hearing(),
        )

    def _sign_in(self) -> "SignIn | None":
        from remit.api.sign_in import SignIn  # noqa: PLC0415 - a gateway process must not load it

        terms = self.settings.sign_in
        if terms is None:
            return None
        return SignIn(terms, sign_in_secret(terms), str(self.settings.api.public_url), self.clock, secrets.token_bytes)

    def channels(self) -> tuple[OpenChannel, ...]:
        """The channels of the settings; none is asked anything yet. Raises SettingsError for one that cannot be used."""
        return tuple(open_channel(channel, self.clock) for channel in self.settings.channels)

    def _hearing(self) -> "Hearing":
        from remit.api.decides import TicketDecisions  # noqa: PLC0415 - a gateway process must not load it
        from remit.api.hearing import Hearing  # noqa: PLC0415 - a gateway process must not load it

        writes = PostgresWrites(self._opens, self.clock, "hook")
        decides = self.decides or TicketDecisions(writes, self.tickets_over, self.clock)
        # Connections of its own: each message holds one while another is used to carry it out.
        return Hearing(self.channels(), self.deliveries, decides, self.clock)

    def _exchange(self, connections: KeptConnections) -> "Exchange | None":
        from remit.api.exchange import Exchange  # noqa: PLC0415 - a gateway process must not load it

        rules = make_workload_rules(self.settings)
        if not rules:
            return None
        store = PostgresCapabilities(connections.use)
        mint = self.capabilities_over()(store, self.repository).mint
        return Exchange(rules, self.clock, self.settings.gateway.audience, mint)

    def _block_issuer(self) -> BlockIssuer:
        data_dir = self.settings.data_dir

        def issuer_key() -> Ed25519PrivateKey:
            return load_or_create_issuer_key(data_dir)

        return BlockIssuer(self.clock, issuer_key, self.settings.gateway.audience, secrets.token_bytes)

    def upkeep(self) -> Upkeep:
        """The background work, not started yet. Raises SettingsError for a webhook that cannot be used."""
        notify = self.settings.notify
        secret = webhook_secret(notify)
        signer = None if secret is None else Signer(secret, self.clock)
        try:
            webhook = Webhook(notify.webhook_url, notify.grant_webhook_hosts, notify.timeout_seconds, signer)
        except ValueError as error:
            raise SettingsError(f"`notify`: {error}") from None
        # With nowhere to send them, notifications stay due: a webhook set up later gets them.
        send = webhook.send if notify.webhook_url or notify.grant_webhook_hosts else None
        for channel in self.channels():
            # What is written from now on is for them, also before anybody has worked.
            self.deliveries.know(channel.name)
        carriers = [Carrier(channel, self.deliveries, self.clock) for channel in self.channels()]
        every = self.settings.sweep_seconds
        feeders = make_feeders(self.settings, self.sinks, self.clock)
        for feeder in feeders:
            feeder.know()
        exporters = make_exporters(self.settings, self.url, self.ledger, self.sinks, self.clock)
        parts = (self.care, self.ledger, self.jobs, self._opens, self.clock, self.remind, self.escalate, send)
        work = Work(*parts, carriers, feeders, exporters)
        hang = len(carriers) + len(feeders) + len(exporters)
        worker = JobWorker(self.url, work.tasks(), self.jobs, min(every, POLL_SECONDS), STOP_SECONDS, channels=hang)
        terms = self.settings.ledger
        rollups = PostgresRollups(self._opens)
        sealing = (self.sealer(), terms.seal_seconds)
        terms_of_archive = self.settings.archive
        archiving = None if terms_of_archive.path is None else (self.archiver().round, terms_of_archive.every_seconds)
        return Upkeep(self.care, self.jobs, work, worker, self.clock, rollups, every, *sealing, archiving)

    def archiver(self) -> "Archiver":
        """Moves the ledger's past into the archive. Raises SettingsError where none is set, or what it needs is not installed."""
        return make_archiver(self.settings, self.archive, self.clock)

    def lake(self, memory: str = "1GB") -> "Lake":
        """The archive, if one is set, and the hot window as one table. Raises SettingsError where what it needs is not installed."""
        return make_lake(self.settings, self.url, memory)

    def reconciling(self, source: AuditSource = "command") -> "Reconciling":
        """Comparing with vendors' statements and closing months."""
        return self._reconciling(self._opens, source)

    def _reconciling(self, opens: Opens, source: AuditSource) -> "Reconciling":
        from remit.api.reconciling import Reconciling  # noqa: PLC0415 - a gateway process must not load it

        terms = make_reconcile_terms(self.settings)
        return Reconciling(self.url, opens, self.clock, terms, source, opens_archive(self.settings))

    def metrics(self) -> "MetricsServer | None":
        """The page that Prometheus reads, bound and not started; None where none is wanted. Raises OSError where its address is taken."""
        from remit.bootstrap.watchers import open_books_page  # noqa: PLC0415 - only who shows a page needs it

        gauges = PostgresGauges(self._opens, self.clock, grants=self.settings.metrics.grant_paths)
        return open_books_page(self.settings, gauges)

    def sealer(self) -> Sealer:
        """Seals the ledger; makes the key that signs checkpoints on first use."""
        return Sealer(
            self.seals, partial(load_or_create_ledger_key, self.settings), checkpoint_log(self.settings), self.clock
        )


def run_gateway(
    settings: Settings,
    clock: Clock,
    *,
    parent: int,
    ready: Callable[[], None],
    number: int = 0,
    environment: Mapping[str, str] = os.environ,
) -> None:
    """Runs one gateway process to its end, over `gateway_database_url` or else `database_url`, one of which is set.

    `parent` is a pipe whose end means that nobody wants the process any more; `ready` is called once callers are served.
    `number` tells the processes of one parent apart.
    """
    from remit.bootstrap.watchers import open_watchers  # noqa: PLC0415 - the control plane never needs it
    from remit.gateway.deployments import open_deployments  # noqa: PLC0415 - the control plane never needs it
    from remit.gateway.worker import Worker, run_worker  # noqa: PLC0415 - the control plane never needs it

    url = settings.gateway_database_url or settings.database_url
    assert url is not None
    watchers = open_watchers(settings, clock, number, environment)
    deployments = open_deployments(settings, environment)
    worker = Worker(settings, url, clock, make_price_book(settings), deployments, watchers)
    run_worker(worker, parent, ready)
