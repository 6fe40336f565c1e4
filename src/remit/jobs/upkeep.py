"""The rounds of upkeep."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import structlog

from remit.grants.model import Actor
from remit.grants.service import Authorship, GrantService, NotWritten
from remit.jobs.carrier import Carrier
from remit.kernel.clock import Clock
from remit.renewals.rounds import Did
from remit.store.postgres_care import PostgresCare

_log = structlog.get_logger(__name__)
STOP_SECONDS = 10.0
QUEUE_SECONDS = 2.0
_SYSTEM = Actor(name="remit", is_admin=True)


@dataclass(frozen=True, slots=True)
class Round:
    """What one round did."""

    holds_expired: int
    pages: int
    debts_repaid: int


class Upkeep:
    """Runs rounds, the queue, deliveries and each channel in a thread of its own until stopped.

    A slow receiver holds nothing else up.
    """

    def __init__(  # noqa: PLR0917 - one parameter per part it is joined from
        self,
        care: PostgresCare,
        grants: GrantService,
        clock: Clock,
        every_seconds: float,
        send: Callable[[dict[str, Any]], bool] | None,
        queue_round: Callable[[], Did],
        carriers: Sequence[Carrier] = (),
    ) -> None:
        self._care = care
        self._grants = grants
        self._clock = clock
        self._every_seconds = every_seconds
        self._send = send
        self._queue_round = queue_round
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._repeat, args=("upkeep", self.round), name="upkeep", daemon=True),
            threading.Thread(target=self._repeat, args=("delivery", self.deliver), name="delivery", daemon=True),
            threading.Thread(target=self._repeat, args=("queue", self.queue), name="queue", daemon=True),
        ]
        for carrier in carriers:
            self._threads.append(
                threading.Thread(target=self._repeat, args=("channel", carrier.round), name="channel", daemon=True)
            )

    def start(self) -> None:
        """Starts the threads."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Lets a running round end; a delivery that hangs is left behind and made again by the next process."""
        self._stop.set()
        for thread in self._threads:
            thread.join(STOP_SECONDS)

    def round(self) -> Round:
        """One round, now. Raises what storage raises."""
        expired = self._care.expire_holds()
        if expired:
            _log.warning("holds_expired", count=expired)
        if self._care.grants_are_due():
            self._expire_grants()
        pages = self._care.page_forecasts()
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
        self._care.drop_spent_rate_buckets()
        self._care.drop_spent_blocks()
        return Round(expired, pages, len(repaid))

    def deliver(self) -> int:
        """Delivers what is due, now; answers how many. Raises what storage raises."""
        return self._care.deliver_notifications(self._send) if self._send is not None else 0

    def queue(self) -> Did:
        """One round of the tickets, now: reminders, escalation, grace, what a break-glass raised. Raises what storage raises."""
        did = self._queue_round()
        if did != Did():
            _log.info("queue_round", **asdict(did))
        return did

    def _expire_grants(self) -> None:
        # A key per instant: the same write twice in one microsecond is the same write.
        key = f"expire-due-{self._clock.now().isoformat()}"
        by = Authorship(actor=_SYSTEM, reason="the grant's time is up", idempotency_key=key)
        answer = self._grants.expire_due(by)
        if isinstance(answer, NotWritten):
            _log.error("grants_not_expired", problems=[problem.detail for problem in answer.problems])

    def _repeat(self, name: str, work: Callable[[], object]) -> None:
        # What waits for people is not in a hurry, and looking costs more than a sweep.
        every = max(self._every_seconds, QUEUE_SECONDS) if name == "queue" else self._every_seconds
        while not self._stop.wait(every):
            try:
                work()
            except Exception:  # noqa: BLE001 - logged; the next round runs all the same
                _log.exception(f"{name}_failed")
