"""A database with a ledger in it, and sinks that are fed from it."""

from datetime import timedelta
from pathlib import Path
from typing import Any

from remit.bootstrap.outward import open_sink
from remit.grants.model import Grant
from remit.jobs.feeder import Feeder
from remit.settings import SinkSettings
from remit.store.connect import connect, opener
from remit.store.postgres_rollups import PostgresRollups
from remit.store.postgres_sinks import PostgresSinks, retry_letters, rewind
from remit.testing.peers.usage import USAGE_TOKEN
from tests.leases.trial import Trial, grant, usd
from tests.store.database import AS_A_TEST, fresh_database


class Books:
    """Calls that are booked and settled; what a sink is given follows from nothing else."""

    def __init__(self, folder: Path) -> None:
        self.trial = Trial(fresh_database())
        self.url, self.clock = self.trial.url, self.trial.clock
        self.root = self.trial.write(grant("acme", limits=(usd(10**13),)))
        self.leaf = self.trial.write(grant("search", self.root))
        self.opens = opener(self.url, "remit_authority")
        self.sinks = PostgresSinks(self.opens, self.clock)
        self.token = folder / "token"
        self.token.write_text(USAGE_TOKEN)
        self.token.chmod(0o600)

    def call(self, count: int = 1, amount: int = 5, of: Grant | None = None) -> list[str]:
        """Books calls of so many nano-USD, and folds; the ids of their entries."""
        for _ in range(count):
            hold = self.trial.hold(of or self.leaf, amount)
            assert self.trial.take(hold) == [True]
            assert self.trial.settle(hold.id, amount) == "settled"
        self.fold()
        return self.entries()[-count:]

    def entries(self) -> list[str]:
        return [row[0] for row in self.trial.looking.execute("SELECT id FROM entries ORDER BY seq")]

    def wait(self, time: timedelta) -> None:
        self.clock.instant += time

    def fold(self) -> None:
        PostgresRollups(self.opens).fold()

    def settings(self, kind: Any, url: str, **more: Any) -> SinkSettings:
        token = {} if kind == "cloudevents" else {"token_file": self.token}
        return SinkSettings(**{"name": kind, "kind": kind, "url": url, "since": "start", **token, **more})

    def feeder(self, kind: Any, url: str, **more: Any) -> Feeder:
        return Feeder(open_sink(self.settings(kind, url, **more), self.clock), self.sinks, jitter=lambda: 0.0)

    def state(self, sink: str) -> dict[str, Any]:
        (found,) = [one for one in self.sinks.listed() if one["name"] == sink]
        return found

    def retry(self, sink: str) -> int | None:
        with connect(self.url, "remit_authority") as connection, connection.transaction():
            connection.execute(AS_A_TEST)
            return retry_letters(connection, sink, self.clock.now())

    def rewind(self, sink: str, since: Any) -> tuple[int, int] | None:
        with connect(self.url, "remit_authority") as connection, connection.transaction():
            connection.execute(AS_A_TEST)
            return rewind(connection, sink, since, self.clock.now())
