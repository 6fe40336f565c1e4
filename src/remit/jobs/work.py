"""What each task of the job queue does. Every step finds nothing left to do when it is taken again."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import structlog

from remit.grants.service import GrantService, NotWritten
from remit.jobs.carrier import Carrier
from remit.jobs.exporter import Exporter
from remit.jobs.feeder import Feeder
from remit.kernel.clock import Clock
from remit.renewals.rounds import Did
from remit.renewals.writes import system_author
from remit.store.connect import Opens
from remit.store.enqueue import Task, defer, for_period_ends
from remit.store.postgres_care import PostgresCare
from remit.store.postgres_jobs import PostgresJobs
from remit.store.postgres_ledger import PostgresLedger
from remit.store.postgres_writes import job_transaction

_log = structlog.get_logger(__name__)
# As many as one batch of a carrier, or of the webhook, has: there may be more.
_BATCH = 50
_MAX_LOGGED = 20


class NotDoneError(Exception):
    """A job could not do what it is for; the message says why."""


class Work:
    """The tasks over the authority's parts. Each raises what storage raises: then it is tried again."""

    def __init__(  # noqa: PLR0917 - one parameter per part it is joined from
        self,
        care: PostgresCare,
        ledger: PostgresLedger,
        jobs: PostgresJobs,
        opens: Opens,
        clock: Clock,
        remind: Callable[[], int],
        escalate: Callable[[], Did],
        send: Callable[[dict[str, Any]], bool] | None,
        carriers: Sequence[Carrier] = (),
        feeders: Sequence[Feeder] = (),
        exporters: Sequence[Exporter] = (),
    ) -> None:
        self._care = care
        self._ledger = ledger
        self._jobs = jobs
        self._opens = opens
        self._clock = clock
        self._remind = remind
        self._escalate = escalate
        self._send = send
        self._carriers = {carrier.channel.name: carrier for carrier in carriers}
        self._feeders = {feeder.name: feeder for feeder in feeders}
        self._exporters = {exporter.name: exporter for exporter in exporters}

    @property
    def channels(self) -> list[str]:
        return sorted(self._carriers)

    @property
    def sinks(self) -> list[str]:
        return sorted(self._feeders)

    @property
    def exports(self) -> list[str]:
        return sorted(self._exporters)

    @property
    def delivers(self) -> bool:
        return self._send is not None

    def tasks(self) -> Mapping[Task, Callable[[Mapping[str, Any]], object]]:
        """What to call for each task, with the job's arguments."""
        return {
            "expire": lambda _: self.expire(),
            "remind": lambda _: self.remind(),
            "escalate": lambda _: self.escalate(),
            "close_period": lambda _: self.close_period(),
            "deliver": lambda _: self.deliver(),
            "sync": lambda arguments: self.sync(str(arguments.get("channel", ""))),
            "clean": lambda _: self.clean(),
            "check_books": lambda _: self.check_books(),
            "feed": lambda arguments: self.feed(str(arguments.get("sink", ""))),
            "export": lambda arguments: self.export(str(arguments.get("export", ""))),
        }

    def expire(self) -> None:
        """Gives expired grants their status, and tells those around them."""
        if not self._care.grants_are_due():
            return
        # A key per instant: the same write twice in one microsecond is the same write.
        now = self._clock.now()
        by = system_author("the grant's time is up", "expire-due", now)
        with job_transaction(self._opens, "expire", now, alone=True) as unit:
            answer = GrantService(unit.grants, self._clock).expire_due(by)
        if isinstance(answer, NotWritten):
            problems = [problem.detail for problem in answer.problems]
            _log.error("grants_not_expired", problems=problems)
            raise NotDoneError("; ".join(problems))
        self.remind()

    def remind(self) -> int:
        """Tells people what ends, or has ended; answers how many notifications were new."""
        return self.log(Did(reminded=self._remind())).reminded

    def escalate(self) -> Did:
        """What time does to tickets and grants: escalation, grace, the end of a break-glass, tickets that nobody asked for."""
        return self.log(self._escalate())

    @staticmethod
    def log(did: Did) -> Did:
        """Says what was done, if anything was."""
        if did != Did():
            _log.info("queue_round", **asdict(did))
        return did

    def close_period(self) -> int:
        """Repays debts of periods that are over, and waits for the next periods' ends; answers how many debts were repaid."""
        repaid = self.repay()
        now = self._clock.now()
        with job_transaction(self._opens, "close_period", now) as unit:
            defer(unit.connection, now, for_period_ends(unit.tree(), now))
        return repaid

    def repay(self) -> int:
        """Repays debts of periods that are over, as far as it fits; answers how many."""
        repaid = self._care.repay_due()
        for one in repaid:
            _log.info(
                "debt_repaid",
                grant_id=one.debt.grant_id,
                path=one.debt.path,
                period=one.debt.period,
                repaid_nanousd=one.settled,
                outstanding_nanousd=one.outstanding,
            )
        return len(repaid)

    def deliver(self) -> int:
        """Delivers what is due to the webhooks; answers how many."""
        delivered = 0
        while self._send is not None:
            batch = self._care.deliver_notifications(self._send)
            delivered += batch
            if batch < _BATCH:
                break
        return delivered

    def sync(self, channel: str) -> int:
        """Carries what is due to one channel; answers how many. A channel that is not in the settings any more has nothing due."""
        carrier = self._carriers.get(channel)
        carried = 0
        while carrier is not None:
            batch = carrier.round()
            carried += batch
            if batch < _BATCH:
                break
        return carried

    def feed(self, sink: str) -> int:
        """Feeds one sink with what is settled; answers how many entries arrived. One that is not set any more has nothing due."""
        feeder = self._feeders.get(sink)
        return 0 if feeder is None else feeder.round()

    def export(self, name: str) -> int:
        """Writes the files of an export whose time has come; answers how many."""
        exporter = self._exporters.get(name)
        return 0 if exporter is None else exporter.round()

    def check_books(self) -> int:
        """Compares what limits count with what the ledger says, and closed months with what was signed; answers the differences.

        On-call is told once a day, and the log says each.
        """
        found = [difference for result in self._ledger.checks_lately() for difference in result.differences]
        for one in found[:_MAX_LOGGED]:
            _log.error("books_differ", check=one.check, subject=one.subject, expected=one.expected, found=one.found)
        if found:
            self._care.page_about_books(f"{len(found):,} differences in the books, first of {found[0].subject}")
        return len(found)

    def clean(self) -> int:
        """Forgets jobs that ended long ago, and blocks of capabilities whose time was up a day ago; answers how many jobs."""
        self._care.drop_spent_blocks()
        return self._jobs.clean()
