"""The authority's background work: the sweep, the look for what is to be done, sealing, and the worker on the job queue."""

import threading
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from remit.jobs.sealing import Sealer
from remit.jobs.work import Work
from remit.jobs.worker import STALLED_SECONDS, JobWorker
from remit.kernel.clock import Clock
from remit.store.enqueue import Wanted, for_channels, for_exports
from remit.store.postgres_care import PostgresCare
from remit.store.postgres_jobs import PostgresJobs
from remit.store.postgres_rollups import PostgresRollups

_log = structlog.get_logger(__name__)
STOP_SECONDS = 10.0
POLL_SECONDS = 2.0
MINUTE_SECONDS = 60.0
HOUR_SECONDS = 3600.0
DAY_SECONDS = 86_400.0


@dataclass(frozen=True, slots=True)
class Round:
    """What one round did."""

    holds_expired: int
    pages: int
    debts_repaid: int


class Upkeep:
    """Sweeps, keeps sums, looks and seals, each in a thread of its own, and has a worker do what is to be done, until stopped.

    Holds whose time is up are money: the sweep that ends them hangs on no queue.
    """

    def __init__(  # noqa: PLR0917 - one parameter per part it is joined from
        self,
        care: PostgresCare,
        jobs: PostgresJobs,
        work: Work,
        worker: JobWorker,
        clock: Clock,
        rollups: PostgresRollups,
        every_seconds: float,
        sealer: Sealer | None = None,
        seal_seconds: float = MINUTE_SECONDS,
        archive: tuple[Callable[[], object], float] | None = None,
    ) -> None:
        self._care = care
        self._jobs = jobs
        self._work = work
        self._worker = worker
        self._clock = clock
        self._rollups = rollups
        self._looked: dict[float, float] = {}
        self._stop = threading.Event()
        self._threads = [
            self._thread("upkeep", self.sweep, every_seconds),
            self._thread("fold", self.fold, every_seconds),
            self._thread("look", self.look, every_seconds),
        ]
        if sealer is not None:
            # A long ledger takes long when it is sealed for the first time: holds whose time is up do not wait for that.
            self._threads.append(self._thread("sealing", sealer.round, seal_seconds))
        if archive is not None:
            # A month takes long: nothing waits for it.
            self._threads.append(self._thread("archive", *archive))

    def start(self) -> None:
        """Starts the threads and the worker."""
        for thread in self._threads:
            thread.start()
        self._worker.start()

    def stop(self) -> None:
        """Lets what runs end; a delivery that hangs is left behind and made again by the next process."""
        self._stop.set()
        self._worker.stop()
        for thread in self._threads:
            thread.join(STOP_SECONDS)

    def sweep(self) -> tuple[int, int]:
        """Ends holds whose time is up, and pages about production that will not last, now. Raises what storage raises.

        Answers how many holds were ended, and how many pages were new.
        """
        expired = self._care.expire_holds()
        if expired:
            _log.warning("holds_expired", count=expired)
        pages = self._care.page_forecasts()
        self._care.drop_spent_rate_buckets()
        return expired, pages

    def fold(self) -> None:
        """Adds what was booked since to the sums that reports read; makes partitions of months to come. Raises what storage raises."""
        self._rollups.fold()
        if self._is_time(DAY_SECONDS):
            self._rollups.ensure_partitions(self._clock.now())

    def look(self) -> None:
        """Defers what is to be done now, and what is to be looked at every now and then. Raises what storage raises."""
        for lost in self._jobs.rescue(STALLED_SECONDS):
            _log.warning("job_abandoned", **lost)
        wanted = self._jobs.wanted(
            self._clock.now(), self._work.channels, delivers=self._work.delivers, sinks=self._work.sinks
        )
        if self._is_time(MINUTE_SECONDS):
            # Most of what they find was deferred, or is found above; the rest follows from how much was used.
            wanted += [Wanted(task="remind"), Wanted(task="escalate"), Wanted(task="close_period")]
            wanted += for_channels(self._work.channels) + for_exports(self._work.exports)
        if self._is_time(HOUR_SECONDS):
            wanted += [Wanted(task="clean"), Wanted(task="check_books")]
        if wanted:
            self._jobs.defer(self._clock.now(), wanted)

    def round(self) -> Round:
        """What the sweep and the jobs about grants and books do, now and here. Raises what storage raises."""
        expired, pages = self.sweep()
        self._work.expire()
        repaid = self._work.close_period()
        self._work.clean()
        self.fold()
        return Round(expired, pages, repaid)

    def deliver(self) -> int:
        """Delivers to the webhooks what is due, now and here; answers how many. Raises what storage raises."""
        return self._work.deliver()

    def _is_time(self, every: float) -> bool:
        now, last = self._clock.monotonic(), self._looked.get(every)
        if last is not None and now < last + every:
            return False
        self._looked[every] = now
        return True

    def _thread(self, name: str, work: Callable[[], object], every_seconds: float) -> threading.Thread:
        return threading.Thread(target=self._repeat, args=(name, work, every_seconds), name=name, daemon=True)

    def _repeat(self, name: str, work: Callable[[], object], every_seconds: float) -> None:
        while not self._stop.wait(every_seconds):
            try:
                work()
            except Exception:  # noqa: BLE001 - logged; the next round runs all the same
                _log.exception(f"{name}_failed")
