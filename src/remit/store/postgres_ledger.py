"""The ledger in PostgreSQL: `remit.ledger.ports.LedgerReader`."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import psycopg

from remit.kernel.clock import Clock
from remit.ledger.model import ArchivedError, CheckResult, Debt, Difference, ReportRow
from remit.store.connect import CONNECT_TIMEOUT_SECONDS, Opens, readable_address
from remit.store.job_schema import PACKAGE, missing_job_migrations
from remit.store.migrate import migrations
from remit.store.named import query
from remit.store.postgres_rollups import Asked, charges_by, check_rollups, posted_check, total_charged, unknown_tags
from remit.store.rows import dicts

# Holds end when the sweeper comes by; an open one counts as overdue only after it has had time to.
OVERDUE_GRACE_SECONDS = 60.0
# What ended so long ago was looked at often enough, unless evidence about it came later still; the doctor looks at all.
_LATELY = timedelta(days=2)


@dataclass(frozen=True, slots=True)
class BucketNumbers:
    """Where one bucket stands: nano-USD, tokens or requests. `posted` includes overage, but not what overdraft paid."""

    node_id: str
    dimension: str
    period_kind: str
    period_start: datetime
    posted: int
    held: int
    overdraft_limit: int
    overdraft_posted: int
    overdraft_held: int


def migration_differences(url: str) -> list[Difference]:
    """How the database's migrations differ from this version's; empty when they are the same. Changes nothing."""
    address = readable_address(url)
    with psycopg.connect(address, autocommit=True, connect_timeout=CONNECT_TIMEOUT_SECONDS) as connection:
        row = connection.execute("SELECT to_regclass('public.remit_migrations') IS NOT NULL").fetchone()
        exists = row is not None and row[0]
        applied: dict[str, str] = dict(connection.execute(query("migrations_applied")).fetchall()) if exists else {}
        jobs = _job_schema_differences(connection) if applied else []
    known = {name: hashlib.sha256(sql.encode()).hexdigest() for name, sql in migrations()}
    return [
        Difference(
            "migrations", name, "applied" if name in known else "unknown", _migration_state(name, applied, known)
        )
        for name in sorted({*known, *applied})
        if applied.get(name) != known.get(name)
    ] + jobs


def _job_schema_differences(connection: psycopg.Connection) -> list[Difference]:
    """What the job queue's schema lacks of the installed package's, or has that the package does not know."""
    try:
        missing = missing_job_migrations(connection)
    except psycopg.errors.UndefinedTable:
        return []  # it comes with a migration that is missing as well
    except LookupError as error:
        return [Difference("migrations", f"{PACKAGE} {error.args[0]}", "unknown", "applied by a newer version")]
    return [Difference("migrations", f"{PACKAGE} {name}", "applied", "missing") for name in missing]


def _migration_state(name: str, applied: dict[str, str], known: dict[str, str]) -> str:
    if name not in known:
        return "applied by a newer version"
    return "changed after it was applied" if name in applied else "missing"


class PostgresLedger:
    """Implements `LedgerReader` with connections in the reader's role: nothing here can write.

    With `nodes` (grant ids), reports, totals and entries are those that one of these grants was charged for: what its
    owner may see. Checks and counts are always of the whole.
    """

    def __init__(self, opens: Opens, clock: Clock, nodes: Sequence[str] | None = None) -> None:
        self._connect = opens
        self._clock = clock
        self._nodes = None if nodes is None else list(nodes)

    def of_nodes(self, nodes: Sequence[str]) -> "PostgresLedger":
        """The part of the ledger that these grants were charged for; of none, nothing."""
        return PostgresLedger(self._connect, self._clock, nodes)

    def report(
        self,
        by: Sequence[str],
        since: datetime | None,
        until: datetime | None,
        only: Mapping[str, Sequence[str]] | None = None,
    ) -> tuple[list[ReportRow], int]:
        with self._snapshot() as connection:
            asked = Asked(since, until, self._nodes, only)
            return charges_by(connection, by, asked), total_charged(connection, asked)

    def total_nanousd(self, since: datetime | None, until: datetime | None) -> int:
        with self._snapshot() as connection:
            return total_charged(connection, Asked(since, until, self._nodes))

    def unknown_tags(self, names: Sequence[str]) -> list[str]:
        with self._snapshot() as connection:
            return unknown_tags(connection, names, self._nodes)

    def reports_of_buckets(self) -> list[tuple[str, int, int]]:
        with self._snapshot() as connection:
            buckets = connection.execute(query("posted_at_the_root")).fetchall()
            found = []
            for subject, node, start, end, posted in buckets:
                try:
                    rows = charges_by(connection, ("grant",), Asked(start, end, [node]))
                except ArchivedError:
                    continue  # days that begin at half an hour, in a month that has left: no report shows them either
                found.append((subject, sum(row.amount_nanousd - row.booked_nanousd for row in rows), posted))
            return found

    def tail(self, count: int, after_seq: int | None) -> list[dict[str, Any]]:
        parameters = {"count": count, "after": after_seq, "nodes": self._nodes}
        name = "ledger_newest" if after_seq is None else "ledger_after"
        with self._connect() as connection:
            rows = connection.execute(query(name), parameters).fetchall()
        return [row[0] for row in rows]

    def require_here(self, after_seq: int) -> None:
        """Raises ArchivedError where entries after a number are in the archive alone."""
        with self._connect() as connection:
            row = connection.execute(query("partitions_left_up_to")).fetchone()
        if row is not None and row[0] is not None and row[0] > after_seq:
            raise ArchivedError(
                f"entries with numbers up to {row[0]} are in the archive alone, not all of them: `remit ledger scan` has them;"
                f" all after {row[0]} are here"
            )

    def counts(self) -> dict[str, int]:
        """Numbers of buckets, entries, holds and open holds."""
        with self._connect() as connection:
            row = connection.execute(query("counts")).fetchone()
        assert row is not None
        return dict(zip(("buckets", "entries", "holds", "open_holds"), row, strict=True))

    def unresolved_suspense(self) -> list[dict[str, Any]]:
        """Suspense entries that wait for evidence."""
        with self._connect() as connection:
            return dicts(connection.execute(query("suspense")))

    def debts(self, *, settled: bool = False) -> list[Debt]:
        """Accounts of debts by path, those on which something is owed or, with `settled`, all."""
        with self._connect() as connection:
            return read_debts(connection, nodes=self._nodes, settled=settled)

    def buckets(self, node_ids: Sequence[str] | None = None) -> list[BucketNumbers]:
        """Every bucket, rates included, whose period holds the present, of these grants or of all.

        A limit nobody has used in its period has no bucket yet. After a change of time zone there may be two of one kind.
        """
        parameters = {"now": self._clock.now(), "node_ids": None if node_ids is None else list(node_ids)}
        with self._connect() as connection:
            rows = connection.execute(query("buckets_now"), parameters).fetchall()
        return [BucketNumbers(*row) for row in rows]

    def notifications(self, count: int, *, undelivered: bool = False) -> list[dict[str, Any]]:
        """The newest notifications, oldest first."""
        with self._connect() as connection:
            return dicts(connection.execute(query("notifications_list"), {"count": count, "undelivered": undelivered}))

    def checks(self) -> Iterable[CheckResult]:
        counts = self.counts()
        with self._snapshot() as connection:
            buckets = connection.execute(query("check_buckets")).fetchall()
            hashes = connection.execute(query("check_hashes")).fetchall()
            settlements = connection.execute(query("check_settled_once")).fetchall()
            transfers = connection.execute(query("check_transfers")).fetchall()
            rollups = check_rollups(connection)
            months = connection.execute(query("check_months")).fetchall()
            overdue = connection.execute(
                query("check_overdue_holds"), {"now": self._clock.now(), "grace_seconds": OVERDUE_GRACE_SECONDS}
            ).fetchall()
        yield _bucket_check(buckets)
        yield CheckResult(
            "hashes",
            "every entry is as it was written",
            counts["entries"],
            tuple(Difference("hashes", *row) for row in hashes),
        )
        yield CheckResult(
            "settled_once",
            "every ended hold was booked exactly once",
            counts["holds"],
            tuple(Difference("settled_once", f"{row[0]} ({row[1]})", 0, row[2]) for row in settlements),
        )
        yield rollups
        yield _months_check(months)
        yield CheckResult(
            "transfers",
            "what is moved between those who pay sums to nothing",
            len(transfers),
            tuple(Difference("transfers", row[0], 0, row[1]) for row in transfers if row[1]),
        )
        yield CheckResult(
            "overdue_holds",
            "no hold is open after its time",
            counts["open_holds"],
            tuple(Difference("overdue_holds", row[0], "ended", f"open since {row[1]}") for row in overdue),
        )

    def checks_lately(self) -> list[CheckResult]:
        """What can be checked all the time, as it reads sums and not entries: posted and held of present periods, closed months."""
        with self._snapshot() as connection:
            posted = posted_check(connection, self._clock.now() - _LATELY)
            months = connection.execute(query("check_months")).fetchall()
        return [posted, _months_check(months)]

    @contextmanager
    def _snapshot(self) -> Iterator[psycopg.Connection]:
        """Everything as of one instant, so that holds ending meanwhile cannot look like differences."""
        with self._connect() as connection, connection.transaction():
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            yield connection


def read_debts(connection: psycopg.Connection, *, nodes: Sequence[str] | None, settled: bool) -> list[Debt]:
    """Accounts of debts by path, of all grants or of those below one of `nodes`."""
    rows = connection.execute(query("debts"), {"nodes": nodes, "settled": settled}).fetchall()
    names = ("grant_id", "path", "owner", "grant_class", "period", "made", "repaid", "forgiven", "outstanding", "since",
             "period_start")  # fmt: skip
    return [Debt(**dict(zip(names, row, strict=True))) for row in rows]


def _months_check(rows: list[Any]) -> CheckResult:
    found = tuple(Difference("months", month, signed, booked) for month, signed, booked in rows if signed != booked)
    return CheckResult("months", "what is booked in a closed month is what was signed off", len(rows), found)


def _bucket_check(rows: list[Any]) -> CheckResult:
    differences = []
    for (
        subject,
        ledger,
        posted,
        open_held,
        held,
        open_overdraft,
        overdraft_held,
        within_cap,
        ledger_repaid,
        repaid,
    ) in rows:
        if ledger != posted:
            differences.append(Difference("buckets", f"{subject}: posted", ledger, posted))
        if ledger_repaid != repaid:
            differences.append(Difference("buckets", f"{subject}: repaid", ledger_repaid, repaid))
        if open_held != held or open_overdraft != overdraft_held:
            found = (held, overdraft_held)
            differences.append(Difference("buckets", f"{subject}: held", (open_held, open_overdraft), found))
        if not within_cap:
            differences.append(Difference("buckets", f"{subject}: cap", "posted + held <= limit", "exceeded"))
    return CheckResult("buckets", "buckets equal the ledger and the open holds", len(rows), tuple(differences))
