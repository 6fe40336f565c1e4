"""Writes the files of one export: one for each period that is over, whole or not at all, until it is there."""

import random
from collections.abc import Callable
from datetime import date
from pathlib import Path

import psycopg
import structlog

from remit.jobs.carrier import wait_seconds
from remit.kernel.clock import Clock
from remit.reports.schedule import Schedule, file_name
from remit.store.postgres_sinks import PostgresSinks

_log = structlog.get_logger(__name__)


class Exporter:
    """One export. `write(begin, end, path)` writes the file of the days from `begin` to before `end`; how many rows."""

    def __init__(  # noqa: PLR0917 - one parameter per part it is joined from
        self,
        name: str,
        schedule: Schedule,
        path: str,
        write: Callable[[date, date, Path], int],
        sinks: PostgresSinks,
        clock: Clock,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.name = name
        self._schedule = schedule
        self._path = path
        self._write = write
        self._sinks = sinks
        self._clock = clock
        self._jitter = jitter

    def round(self) -> int:
        """Writes the files that are due and not there; answers how many. Raises what storage raises.

        A file is written before that is remembered: whoever is stopped in between writes the same file once more.
        """
        known = self._sinks.export_periods(self.name)
        due = self._schedule.due_since(max(known, default=None), self._clock.now())
        unwritten = [period for period, written in known.items() if not written]
        return sum(self._one(period) for period in sorted({*unwritten, *due}))

    def _one(self, period: date) -> int:
        attempt = self._sinks.export_due(self.name, period)
        if attempt is None:
            return 0
        path = Path(file_name(self._path, period))
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            rows = self._write(period, self._schedule.after(period), path)
        except psycopg.Error:
            raise
        except Exception as error:  # noqa: BLE001 - logged, shown, and tried again
            why, wait = f"{type(error).__name__}: {error}", wait_seconds(attempt, self._jitter())
            _log.error("export_failed", export=self.name, period=str(period), error=why, again_in=wait)
            self._sinks.export_failed(self.name, period, why, wait)
            return 0
        self._sinks.export_written(self.name, period, str(path), rows)
        _log.info("export_written", export=self.name, period=str(period), path=str(path), rows=rows)
        return 1
