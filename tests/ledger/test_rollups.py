"""Reports read sums that are kept, and always say what a count of every entry says."""

import threading
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from remit.grants.model import Limit
from remit.ledger.accounting import Adjustment, Bearer, Part, Transfer
from remit.ledger.model import REPORT_SUMS
from remit.ledger.service import check_books, spend_report
from remit.ledger.slices import slices
from remit.store.named import query
from remit.store.postgres_accounting import PostgresAccounting
from remit.store.postgres_lessor import _hold_json
from remit.store.postgres_rollups import Asked, PostgresRollups, _parameters
from tests.leases.trial import START, Trial, as_json, grant, usd
from tests.store.database import fresh_database

MODELS = ("sim-dime", "sim-penny")
_USAGE = {
    "input_tokens": 3,
    "cache_read_tokens": 2,
    "cache_write_tokens": 1,
    "output_tokens": 4,
    "output_audio_tokens": 1,
}
instants = st.integers(0, 4 * 24 * 60 * 60).map(
    lambda seconds: datetime(2026, 3, 1, tzinfo=UTC) + timedelta(seconds=seconds)
)


@pytest.fixture
def trial() -> Iterator[Trial]:
    made = Trial(fresh_database(), seed=5)
    root = made.write(grant("root", limits=(usd(10**9),)))
    for name in ("a", "b"):
        made.write(grant(name, root, limits=(usd(10**8),)))
    yield made
    made.close()


def folds(trial: Trial) -> PostgresRollups:
    return PostgresRollups(trial.care._connect)


def everything(trial: Trial) -> list[dict[str, Any]]:
    return trial.ledger.tail(10_000, None)


def value(entry: Mapping[str, Any], name: str) -> str | None:
    """A dimension of an entry, read from it as a person would."""
    held = datetime.fromisoformat(entry["held_at"]).astimezone(UTC)
    known = {
        "model": entry["model_served"] or entry["model_requested"],
        "grant": entry["grant_path"],
        "day": held.strftime("%Y-%m-%d"),
        "month": held.strftime("%Y-%m"),
        "billing_month": entry["billing_month"][:7],
    }
    plain = ("class", "vendor", "owner", "kind", "deployment", "tier")
    found = known[name] if name in known else entry[name] if name in plain else entry["tags"].get(name)
    return found if found is None else str(found)


def counted(
    trial: Trial,
    by: Sequence[str],
    since: datetime | None,
    until: datetime | None,
    only: Mapping[str, Sequence[str]] | None,
) -> dict[tuple[str | None, ...], dict[str, int]]:
    """The report, counted entry by entry: a second implementation that knows nothing of sums."""
    entries = [
        one for one in everything(trial) if one["kind"] not in ("overdraft", "repayment") and not one["debtor_id"]
    ]
    corrected = {one["corrects"] for one in entries}
    groups: dict[tuple[str | None, ...], dict[str, int]] = defaultdict(lambda: dict.fromkeys(REPORT_SUMS, 0))
    for entry in entries:
        held = datetime.fromisoformat(entry["held_at"])
        if (since is not None and held < since) or (until is not None and held >= until):
            continue
        if only and any((value(entry, name) or "") not in values for name, values in only.items()):
            continue
        sums, usage = groups[tuple(value(entry, name) for name in by)], entry["usage"] or {}
        sums["requests"] += entry["requests"]
        sums["retries"] += entry["requests"] if (entry["attempt"] or 1) > 1 else 0
        sums["tokens"] += entry["tokens"]
        for name in ("cache_read_tokens", "cache_write_tokens"):
            sums[name] += usage.get(name, 0)
        for name in ("input", "output"):
            sums[f"{name}_tokens"] += usage.get(f"{name}_tokens", 0) + usage.get(f"{name}_audio_tokens", 0)
        sums["amount_nanousd"] += entry["amount_nanousd"]
        if entry["kind"] == "suspense" and entry["id"] not in corrected:
            sums["suspense_nanousd"] += entry["amount_nanousd"]
        if entry["kind"] in ("transfer", "adjustment"):
            sums["booked_nanousd"] += entry["amount_nanousd"]
    return dict(groups)


def reported(
    trial: Trial,
    by: Sequence[str],
    since: datetime | None,
    until: datetime | None,
    only: Mapping[str, Sequence[str]] | None,
) -> dict[tuple[str | None, ...], dict[str, int]]:
    report = spend_report(trial.ledger, by, since, until, only)
    return {row.group: {name: getattr(row, name) for name in REPORT_SUMS} for row in report.rows}


class Life:
    """Calls, doubts, bills and transfers at random instants of some days."""

    def __init__(self, trial: Trial) -> None:
        self.trial, self.random, self.waiting, self.number = trial, trial.random, list[str](), 0

    def step(self) -> None:
        self.trial.clock.instant += timedelta(
            minutes=self.random.randrange(1, 400), microseconds=self.random.randrange(10**6)
        )
        self.random.choice((self.call, self.call, self.doubt, self.evidence, self.bill, self.move, self.fold))()

    def call(self) -> None:
        hold = self.hold(attempt=self.random.choice([None, 1, 2, 3]))
        entry = {"usage_source": "vendor", "model_served": self.random.choice(MODELS), "usage": _USAGE}
        end = {"id": hold.id, "outcome": "settled", "usd": self.random.randrange(200), "tokens": 11, "entry": entry}
        ends = as_json([end])
        self.trial.call(self.trial.gateway, "SELECT finish_holds(%s, %s::jsonb)", self.trial.clock.now(), ends)

    def hold(self, **more: Any) -> Any:
        leaf = self.trial.grants[self.random.choice(("grant_a", "grant_b"))]
        hold = self.trial.hold(leaf, 150, 20)
        tags = {name: self.random.choice("xyz") for name in ("team", "ticket") if self.random.random() < 0.7}
        hold = replace(hold, entry={**hold.entry, "tags": tags, **more})
        assert self.trial.take(hold) == [True]
        return hold

    def doubt(self) -> None:
        hold = self.hold()
        self.trial.finish((hold.id, "suspense", 0, 0))
        self.waiting.append(hold.id)

    def evidence(self) -> None:
        if self.waiting:
            hold = self.waiting.pop(self.random.randrange(len(self.waiting)))
            assert self.trial.evidence((hold, self.random.randrange(300), 7)) == ["corrected"]

    def bill(self) -> None:
        self.post(Adjustment(grant_id="grant_root", vendor="v2", amount_nanousd=-5, held_at=self.some(), cause="late"))

    def move(self) -> None:
        parts = [
            Part(bearer=Bearer(grant_id="grant_a", tags={"team": "x"}), amount_nanousd=4),
            Part(bearer=Bearer(grant_id="grant_b"), amount_nanousd=3),
        ]
        sources = [(Bearer(grant_id="grant_root"), 7)]
        move = Transfer(
            id=f"t{self.number}",
            held_at=self.some(),
            sources=sources,
            parts=parts,
            rule="r",
            method="m",
        )
        self.post(move)

    def post(self, one: Adjustment | Transfer) -> None:
        self.number += 1
        PostgresAccounting(self.trial.care._connect, self.trial.clock).post(
            [one], by="f", reason="r", key=f"k{self.number}", source="command"
        )

    def some(self) -> datetime:
        return START + (self.trial.clock.now() - START) * self.random.random()

    def fold(self) -> None:
        folds(self.trial).fold()


BYS = (
    ("team",),
    ("grant", "model"),
    ("kind", "day"),
    ("month", "billing_month"),
    ("ticket", "tier", "vendor"),
    ("owner", "class"),
)


def test_a_report_is_what_counting_every_entry_says(trial: Trial) -> None:
    """Whatever happened and however much of it is in the sums: by any dimension, in any span, under any condition."""
    life = Life(trial)
    for turn in range(90):
        life.step()
        if turn % 6 == 0:
            spans = [None, None, life.some(), life.some().replace(minute=0, second=0, microsecond=0)]
            since, until = life.random.choice(spans), life.random.choice(spans)
            only = life.random.choice([None, {"team": ["x", ""]}, {"kind": ["usage"], "ticket": ["y"]}])
            by = life.random.choice(BYS)
            assert reported(trial, by, since, until, only) == counted(trial, by, since, until, only), (
                by,
                since,
                until,
                only,
            )
        assert [one for result in trial.ledger.checks_lately() for one in result.differences] == []
    life.fold()
    assert [one for result in check_books(trial.ledger) for one in result.differences] == []
    assert {result.name for result in check_books(trial.ledger)} >= {"rollups"}
    assert trial.ledger.unknown_tags(["ticket", "tciket"]) == ["tciket"]
    assert trial.ledger.of_nodes(["grant_none"]).unknown_tags(["ticket"]) == ["ticket"]


def test_a_report_of_whole_days_reads_no_entry(trial: Trial) -> None:
    """Once entries are in the sums, nothing of the ledger itself is read."""
    life = Life(trial)
    for _ in range(30):
        life.step()
    life.fold()
    asked = Asked(START.replace(hour=0, minute=0), trial.clock.now().replace(hour=0, minute=0, second=0, microsecond=0))
    trial.looking.execute("ANALYZE")
    values = {"by": ["team"], **_parameters(trial.looking, asked)}
    (plan,) = (
        trial.looking.execute(b"EXPLAIN (ANALYZE, FORMAT JSON) " + query("ledger_report"), values).fetchone() or ()
    )
    assert rows_read(plan[0]["Plan"], "rollup_days") > 0
    # A join may take one row to see that there is nothing on its other side.
    assert rows_read(plan[0]["Plan"], "entries") <= 2 < len(everything(trial)) / 5


def rows_read(node: Mapping[str, Any], relation: str) -> int:
    own = node["Actual Rows"] * node["Actual Loops"] + node.get("Rows Removed by Filter", 0)
    below = sum(rows_read(one, relation) for one in node.get("Plans", ()))
    return int(below + (own if node.get("Relation Name") == relation else 0))


def test_folding_at_once_and_while_calls_are_booked_adds_each_entry_once(trial: Trial) -> None:
    """Two who fold and two who book: at every look the report is what was booked, and at the end all is in the sums."""
    stop, revision = threading.Event(), trial.revision()
    made = [[replace(trial.hold(trial.grants["grant_a"], 1), id=f"hold_{w}_{n}") for n in range(60)] for w in range(2)]

    def book(writer: int) -> None:
        for hold in made[writer]:
            with trial.care._connect() as connection:
                now, end = trial.clock.now(), as_json([{"id": hold.id, "outcome": "suspense"}])
                connection.execute("SELECT take_holds(%s, %s, %s::jsonb)", (revision, now, as_json([_hold_json(hold)])))
                connection.execute("SELECT finish_holds(%s, %s::jsonb)", (now, end))

    def fold() -> None:
        while not stop.is_set():
            folds(trial).fold()

    with ThreadPoolExecutor(4) as pool:
        folding = [pool.submit(fold) for _ in range(2)]
        booking = [pool.submit(book, writer) for writer in range(2)]
        while not all(one.done() for one in booking):
            total = spend_report(trial.ledger, ("grant",)).total
            assert total.requests == total.amount_nanousd == total.suspense_nanousd
        stop.set()
        for one in (*folding, *booking):
            one.result()
    assert folds(trial).fold() == trial.one("SELECT max(seq) FROM entries")
    assert trial.one("SELECT sum(entries)::bigint FROM rollup_hours") == 120
    assert [one for result in trial.ledger.checks() for one in result.differences] == []


def test_a_fold_that_breaks_off_is_as_if_it_had_not_begun(trial: Trial) -> None:
    """The sums and how far they go are written together or not at all."""
    Life(trial).call()
    with trial.care._connect() as connection, pytest.raises(psycopg.errors.DivisionByZero):
        connection.execute("SELECT fold_entries(settled_seq(), 100), 1 / (random() * 0)::integer")
    assert trial.one("SELECT count(*) FROM rollup_hours") == trial.one("SELECT seq FROM rollup_state") == 0
    folds(trial).fold()
    assert trial.one("SELECT sum(entries)::bigint FROM rollup_days") == 1


@pytest.mark.parametrize("table", ["rollup_hours", "rollup_days"])
def test_the_doctor_finds_a_sum_that_was_changed(trial: Trial, table: str) -> None:
    """A number that is off by one, in the hours or the days."""
    Life(trial).call()
    folds(trial).fold()
    trial.looking.execute(f"UPDATE {table} SET tokens = tokens + 1".encode())
    assert [one.check for result in trial.ledger.checks() for one in result.differences] == ["rollups"] * (
        2 if table == "rollup_hours" else 1
    )


@pytest.mark.parametrize("column", ["posted", "held"])
def test_what_a_limit_counts_is_compared_all_the_time(trial: Trial, column: str) -> None:
    """A bucket that is off by one is found from the sums, of any grant of the path, in money, tokens and requests."""
    life = Life(trial)
    trial.write(
        replace(trial.grants["grant_root"], limits=(usd(10**9), usd(10**9, "month"), Limit("tokens", 10**9, "week")))
    )
    life.call()
    (check, _) = trial.ledger.checks_lately()
    assert check.examined >= 4 and check.differences == ()
    trial.looking.execute(f"UPDATE buckets SET {column} = {column} + 1".encode())
    (check, _) = trial.ledger.checks_lately()
    assert {one.subject.split(" ")[1] for one in check.differences} == {"usd", "tokens"}
    assert len(check.differences) == check.examined


@given(since=st.none() | instants, until=st.none() | instants, at=instants)
@example(
    since=datetime(2026, 3, 1, 23, 30, tzinfo=UTC),
    until=datetime(2026, 3, 3, tzinfo=UTC),
    at=datetime(2026, 3, 2, tzinfo=UTC),
)
def test_slices_are_the_span(since: datetime | None, until: datetime | None, at: datetime) -> None:
    """An instant is in exactly one part if it is in the span, else in none; days and hours are whole, what is left is short."""
    parts = slices(since, until)
    of_days = parts.days is not None and parts.days[0] <= at.date() < parts.days[1]
    found = of_days + sum(begin <= at < end for begin, end in (*parts.hours, *parts.rest))
    assert found == ((since is None or since <= at) and (until is None or at < until))
    assert all(one.minute == one.second == one.microsecond == 0 for span in parts.hours for one in span)
    assert all(end - begin < timedelta(hours=1) for begin, end in parts.rest) or len(parts.rest) == 1
    assert sum((end - begin for begin, end in parts.hours), timedelta()) < timedelta(days=2)
