"""A month does not leave before its receivers have it; afterwards nobody is sent again what is in the archive alone."""

from collections.abc import Iterator
from datetime import datetime, timedelta

import psycopg
import pytest

from remit.ledger.model import ArchivedError
from remit.store.connect import connect
from remit.store.postgres_sinks import PostgresSinks, retry_letters, rewind
from tests.archive.conftest import filled
from tests.archive.ground import HOT_DAYS, NOW, Ground
from tests.store.database import AS_A_TEST, copy_of

MONTHS = ["entries_2026_01", "entries_2026_02", "entries_2026_03", "entries_2026_04"]


def sinks(ground: Ground) -> PostgresSinks:
    return PostgresSinks(ground.opens, ground.trial.clock)


def last_of(ground: Ground, partition: str) -> int:
    return int(ground.trial.one(f"SELECT max(seq) FROM {partition}"))


def feed(ground: Ground, to: int, *refused: int) -> None:
    """The receiver has everything up to a number, but for what it refused."""
    store = sinks(ground)
    claimed = store.claim("crm")
    assert claimed is not None
    assert store.fed("crm", claimed.seq, to, to - claimed.seq, [(seq, "no such customer") for seq in refused])
    store.free("crm")


def test_a_month_stays_until_its_receivers_have_it(ground: Ground) -> None:
    """It goes as soon as the last of them has its last entry; those before it have gone."""
    sinks(ground).know("crm", "start")
    assert ground.archive().kept == dict.fromkeys(MONTHS, "not_delivered")
    assert ground.partitions() >= set(MONTHS)
    feed(ground, last_of(ground, "entries_2026_02") - 1)
    done = ground.archive()
    assert (done.dropped, done.kept) == (MONTHS[:1], dict.fromkeys(MONTHS[1:], "not_delivered"))
    feed(ground, last_of(ground, "entries_2026_04"))
    done = ground.archive()
    assert (done.dropped, done.kept) == (MONTHS[1:], {})


def test_a_receiver_that_is_gone_keeps_nothing(ground: Ground) -> None:
    """Of whom nothing was heard for as long as months stay, nobody waits; who fails now is waited for."""
    sinks(ground).know("crm", "start")
    sinks(ground).know("old", "start")
    ground.trial.clock.instant = NOW + timedelta(days=HOT_DAYS)
    sinks(ground).failed("crm", "500", 60)
    assert set(ground.archive().kept.values()) == {"not_delivered"}
    ground.trial.clock.instant += timedelta(minutes=1)
    feed(ground, 10**6)
    assert ground.archive().dropped[:4] == MONTHS


@pytest.fixture(scope="module")
def fed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    """All was sent to a receiver, which refused an entry of January and one of May; four months have left."""
    ground = Ground(copy_of(filled().trial.url), tmp_path_factory.mktemp("fed") / "archive", filled())
    sinks(ground).know("crm", "start")
    feed(ground, 10**6, 2, last_of(ground, "entries_2026_05"))
    assert ground.archive().dropped == MONTHS
    yield ground
    ground.close()


def as_authority(ground: Ground) -> psycopg.Connection:
    connection = connect(ground.trial.url, "remit_authority")
    connection.execute("BEGIN")
    connection.execute(AS_A_TEST)
    return connection


def test_it_is_kept_until_when_what_left_was_recorded(fed: Ground) -> None:
    """And up to which number, for who goes on behind it: those of the entries that are not here."""
    archived = "SELECT max(recorded_at), max(seq) FROM archived WHERE month = '2026-04'"
    kept = "SELECT last_recorded_at, last_seq FROM ledger_partitions WHERE name = 'entries_2026_04'"
    lake = fed.lake().ask(archived).rows[0]
    assert fed.trial.looking.execute(kept).fetchone() == lake
    assert fed.trial.one("SELECT count(*) FROM ledger_partitions WHERE last_seq IS NOT NULL") == 4


def test_a_receiver_is_put_back_to_what_is_here(fed: Ground) -> None:
    """To what was recorded after all that has left; to the last of that, or earlier, it is refused, and stays where it is."""
    last: datetime = fed.trial.one("SELECT max(last_recorded_at) FROM ledger_partitions")
    with as_authority(fed) as connection:
        for since in (last, last - timedelta(days=90)):
            with pytest.raises(ArchivedError, match="are in the archive alone"):
                rewind(connection, "crm", since, NOW)
        before = fed.trial.one("SELECT seq FROM sinks WHERE name = 'crm'")
        first = fed.trial.one("SELECT min(seq) FROM entries WHERE held_at > '2026-05-01'")
        assert rewind(connection, "crm", last + timedelta(microseconds=1), NOW) == (before, first - 1)
        connection.rollback()


def test_letters_of_what_has_left_stay_letters(fed: Ground) -> None:
    """They are not made due, as nothing could be sent; and are still listed."""
    with as_authority(fed) as connection:
        assert retry_letters(connection, "crm", NOW) == 1
        rows = connection.execute("SELECT seq, state FROM sink_letters ORDER BY seq").fetchall()
        assert [state for _, state in rows] == ["dead", "due"]
        connection.rollback()
    listed = [(one["seq"], one["entry_id"] is None) for one in sinks(fed).letters(10)]
    assert listed == [(2, True), (last_of(fed, "entries_2026_05"), False)]


def test_lags_count_what_has_left(fed: Ground) -> None:
    """Where the newest entries are in the archive alone, nothing is said to be ahead of the ledger."""
    from remit.store.named import query

    with fed.trial.looking.transaction(force_rollback=True):
        fed.trial.looking.execute("SET LOCAL session_replication_role = replica")
        fed.trial.looking.execute("DELETE FROM entries")
        rows = fed.trial.looking.execute(query("gauges"), {"now": NOW, "grants": False}).fetchall()
    told = {row[0]: row[2] for row in rows}
    newest = fed.books.segments()[-1].last_seq
    assert (told["entries_seq"], told["rollup_lag_entries"] <= 0, told["unsealed_entries"] <= 0) == (newest, True, True)
