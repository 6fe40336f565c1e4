"""Every entry names the periods it was charged to; entries from before it did are as valid as they were."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from remit.grants.model import Limit, Overdraft, Rate
from remit.leases.model import NodeLimit
from remit.store.migrate import migrate, migrations
from tests.leases.trial import Trial, grant, usd
from tests.store.database import empty_database, fresh_database


@pytest.fixture
def trial() -> Iterator[Trial]:
    made = Trial(fresh_database())
    yield made
    made.close()


def period(node: str, kind: str, start: str) -> dict[str, str]:
    return {"node": node, "kind": kind, "start": f"{start}:00+00:00"}


def periods_by_kind(trial: Trial) -> dict[str, Any]:
    return {entry["kind"]: entry["periods"] for entry in trial.ledger.tail(100, None)}


def test_an_entry_names_the_periods_of_every_limit_in_the_order_of_the_path(trial: Trial) -> None:
    """Each calendar once, in its own time zone, blocks last, rates never."""
    root = trial.write(
        grant("root", limits=(usd(100, "month"), Limit("tokens", 100, "month"), usd(100, "once")), rate=Rate(rpm=9))
    )
    leaf = trial.write(grant("leaf", root, limits=(usd(100),), time_zone="Asia/Tokyo", rate=Rate(concurrency=9)))
    block = trial.block(leaf, NodeLimit("usd", 100, "week"))
    trial.take(hold := trial.hold(leaf, 10, blocks=[block]))
    trial.settle(hold.id, 5)
    assert periods_by_kind(trial)["usage"] == [
        period("grant_root", "month", "2026-03-01T00:00"),
        period("grant_root", "once", "1970-01-01T00:00"),
        period("grant_leaf", "day", "2026-03-30T15:00"),
        period(block, "week", "2026-03-29T15:00"),
    ]


def test_entries_of_every_kind_name_them(trial: Trial) -> None:
    """Also what is booked, corrected and repaid after the period was over: it belongs to the period of its hold."""
    root = trial.write(grant("root", limits=(usd(10),), overdraft=Overdraft(max_nanousd=50)))
    trial.take(over := trial.hold(root, 20), lost := trial.hold(root, 30, seconds=5))
    trial.settle(over.id, 25)
    trial.clock.instant += timedelta(days=2)
    trial.expire()
    trial.evidence((lost.id, 1, 0))
    found = periods_by_kind(trial)
    assert set(found) == {"usage", "overage", "overdraft", "suspense", "repayment", "correction"}
    today = [period("grant_root", "day", "2026-03-30T00:00")]
    assert all(periods == today for periods in found.values())


def test_what_becomes_of_a_limit_changes_nothing(trial: Trial) -> None:
    """Without limits there is no period; one that is taken away while a call is under way was charged all the same."""
    root = trial.write(grant("root"))
    trial.take(free := trial.hold(root, 1))
    trial.settle(free.id, 1)
    assert periods_by_kind(trial)["usage"] == []
    root = trial.write(replace(root, limits=(usd(100),)))
    trial.take(open_ := trial.hold(root, 1))
    trial.write(replace(trial.grants["grant_root"], limits=()))
    trial.finish((open_.id, "suspense", 0, 0))
    assert periods_by_kind(trial)["suspense"] == [period("grant_root", "day", "2026-03-30T00:00")]


def test_an_entry_from_before_still_verifies_and_a_changed_one_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hashes of older entries leave the column out; giving one a period, or taking a newer one's away, is found."""
    url = empty_database()
    known = migrations()
    with monkeypatch.context() as patch:
        patch.setattr("remit.store.migrate.migrations", lambda: known[:7])
        migrate(url)
        # There was no job queue yet that a write could defer anything to.
        patch.setattr("remit.store.postgres_grants.defer", lambda *_: None)
        before = Trial(url)
        root = before.write(grant("root", limits=(usd(100),)))
    before.take(first := before.hold(root, 10), second := before.hold(root, 10))
    before.settle(first.id, 3)
    assert migrate(url) == [name for name, _ in known[7:]]
    before.settle(second.id, 4)
    before.check(everything=True)
    assert [entry["periods"] is None for entry in before.ledger.tail(9, None)] == [True, False]
    before.looking.execute("SET session_replication_role = replica")
    before.looking.execute("ALTER TABLE entries DROP CONSTRAINT periods_are_known, DROP CONSTRAINT month_is_known")
    for value, hold in (("'[]'", first), ("NULL", second)):
        before.looking.execute(f"UPDATE entries SET periods = {value} WHERE hold_id = %s".encode(), (hold.id,))
    differences = {check.name: check.differences for check in before.ledger.checks()}
    assert len(differences["hashes"]) == 2
    before.close()


def test_a_new_entry_has_periods(trial: Trial) -> None:
    """The table itself refuses one without."""
    root = trial.write(grant("root", limits=(usd(100),)))
    trial.take(hold := trial.hold(root, 10))
    trial.settle(hold.id, 3)
    with pytest.raises(psycopg.errors.CheckViolation, match="periods_are_known"):
        trial.looking.execute(
            "INSERT INTO entries OVERRIDING SYSTEM VALUE SELECT (jsonb_populate_record(e, %s::jsonb)).* FROM entries AS e",
            ('{"seq": 99, "id": "x", "hold_id": "x", "periods": null}',),
        )
