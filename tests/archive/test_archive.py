"""The ledger's past goes into the archive as it is, exactly once, and only what nothing keeps leaves the database."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
import pytest
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from remit.grants.ports import Said
from remit.ledger.accounting import Adjustment
from remit.ledger.canonical import encode_row
from remit.ledger.model import ArchivedError
from remit.ledger.service import check_books, spend_report
from remit.store.archive_rows import COLUMNS, SCHEMA, read_row, to_batch, to_lines
from remit.store.delta_archive import ArchiveError, DeltaArchive
from remit.store.lake import QueryError
from remit.store.postgres_accounting import Posted, PostgresAccounting
from remit.store.postgres_archive import ArchivedElsewhereError
from tests.archive.ground import NOW, Ground, superuser
from tests.leases.trial import Overdraft, grant, usd

SAID = Said(at=NOW, actor="lea@acme.example", operation="ledger hold place", reason="the matter of X")
MONTHS = ["entries_2026_01", "entries_2026_02", "entries_2026_03", "entries_2026_04"]


def rows_here(ground: Ground) -> list[str]:
    return [
        row[0]
        for row in ground.trial.looking.execute("SELECT row_to_json(e)::text FROM entries AS e ORDER BY seq").fetchall()
    ]


def troubles(ground: Ground) -> set[str]:
    return {one.name for one in check_books(ground.trial.ledger) if one.differences}


# Writing -------------------------------------------------------------------------------------------------------


def test_the_archive_has_every_column_of_an_entry(ground: Ground) -> None:
    """A column that comes to the ledger and not to the archive would be lost: this fails then, and so does archiving."""
    columns = ground.trial.looking.execute(
        "SELECT attname FROM pg_attribute WHERE attrelid = 'entries'::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum"
    ).fetchall()
    assert [row[0] for row in columns] == list(COLUMNS)


def test_the_canonical_line_of_every_entry_can_be_made_from_the_archive(ground: Ground) -> None:
    """Byte for byte, and the digests of segments are of these lines."""
    lines = [encode_row(row) for row in rows_here(ground)]
    ground.archive()
    table = DeltaTable(str(ground.folder)).to_pyarrow_table().sort_by("seq").cast(SCHEMA, safe=True)
    archived = [line for line, _, _ in to_lines(table)]
    assert archived == lines[: len(archived)]
    assert len(archived) > 30
    at = 0
    for segment in ground.books.segments():
        part = archived[at : at + segment.entries]
        assert sha256(b"".join(line + b"\n" for line in part)).digest() == segment.digest
        at += segment.entries
    assert at == len(archived)


def test_segments_follow_each_other_without_a_gap(ground: Ground) -> None:
    """Each begins at the number after the last one, whatever numbers were never used."""
    ground.trial.looking.execute("SELECT nextval('entries_seq_seq') FROM generate_series(1, 3)")
    ground.trial.clock.instant -= timedelta(days=100)
    ground.call(ground.a)
    ground.trial.clock.instant = NOW
    ground.fold()
    ground.archive()
    segments = ground.books.segments()
    assert segments[0].first_seq == 1
    assert all(one.last_seq + 1 == two.first_seq for one, two in pairwise(segments))
    assert segments[-1].last_seq == ground.everywhere()[-1][0]


def test_what_is_young_and_of_an_open_month_stays(ground: Ground) -> None:
    """Nor does anything with a higher number go; once its month is closed, all of it goes."""
    ground.trial.clock.instant = NOW - timedelta(days=1)
    ground.call(ground.a)
    ground.trial.clock.instant = NOW
    ground.fold()
    young = ground.hot()[-1][0]
    assert ground.archive().entries == young - 1
    ground.trial.looking.execute("UPDATE books SET closed_through = '2026-06-01'")
    assert ground.archive().entries == 1


def test_what_reports_do_not_know_yet_is_not_archived(ground: Ground) -> None:
    """Entries go once they are in the sums that reports read: those are what remains of them here."""
    ground.trial.clock.instant -= timedelta(days=100)
    ground.call(ground.a)
    ground.trial.clock.instant = NOW
    count = len(ground.hot())
    assert ground.archive().entries == count - 1
    ground.fold()
    assert ground.archive().entries == 1


def test_an_altered_entry_stops_everything(ground: Ground) -> None:
    """What a superuser changed behind the triggers' back is neither archived nor are months dropped, until it is mended."""
    with superuser(ground.trial.url) as owner:
        owner.execute("UPDATE entries SET amount_nanousd = amount_nanousd - 1 WHERE seq = 6")
    partitions = ground.partitions()
    with pytest.raises(ArchiveError, match=r"number 6\) is not as it was written"):
        ground.archive()
    assert (ground.delta().last_seq(), ground.partitions()) == (4, partitions)
    with superuser(ground.trial.url) as owner:
        owner.execute("UPDATE entries SET amount_nanousd = amount_nanousd + 1 WHERE seq = 6")
    assert ground.archive().dropped == MONTHS


@pytest.mark.parametrize("damage", ["seq = 2", "seq > 0"])
def test_what_is_not_read_back_is_not_recorded(ground: Ground, damage: str) -> None:
    """A commit whose rows are not there is found before the segment counts, and nothing is dropped."""

    def damages(name: str) -> None:
        if name == "committed":
            DeltaTable(str(ground.folder)).delete(damage)

    with pytest.raises(ArchiveError, match="are not in the archive as they are in the ledger"):
        ground.archiver(damages).archive()
    with pytest.raises(ArchiveError, match="are not in the archive"):
        ground.archive()
    assert ground.books.segments() == []


def test_an_archive_that_is_not_the_one_is_refused(ground: Ground) -> None:
    """Neither a lost folder nor rows that went missing later lead to anything being dropped."""
    ground.archiver(keep_months={}, hot_days=140).archive()
    DeltaTable(str(ground.folder)).delete("seq = 3")
    with pytest.raises(ArchiveError, match="were recorded"):
        ground.archive()
    shutil.rmtree(ground.folder)
    with pytest.raises(ArchiveError, match="it is not the one"):
        ground.archive()
    assert "entries_2026_02" in ground.partitions()


def test_one_process_archives_at_a_time(ground: Ground) -> None:
    """Another one hears so at once."""
    with ground.books.alone(), pytest.raises(ArchivedElsewhereError):
        ground.archive()
    assert ground.archiver().round() is not None


def test_of_two_writers_from_one_state_one_commits(ground: Ground) -> None:
    """Should both believe that they are alone, the table itself refuses the second."""
    rows = [read_row(row) for row in rows_here(ground)]
    ground.delta().append([to_batch(rows[:2])], 2)
    first, second = DeltaTable(str(ground.folder)), DeltaTable(str(ground.folder))

    class Behind(DeltaArchive):
        def __init__(self, table: DeltaTable) -> None:
            super().__init__(str(ground.folder))
            self._opened = table

        def _open(self) -> DeltaTable:
            return self._opened

    Behind(first).append([to_batch(rows[2:4])], 4)
    with pytest.raises(DeltaError):
        Behind(second).append([to_batch(rows[2:4])], 4)
    assert ground.delta().totals()[0] == 4


def test_calls_settle_while_their_past_is_archived(ground: Ground) -> None:
    """Nobody waits for long, nothing of what comes in is lost, and buckets stay those of the ledger."""

    def settles() -> int:
        for _ in range(40):
            ground.call(ground.a)
        return 40

    before = ground.hot()
    with ThreadPoolExecutor(1) as pool:
        work = pool.submit(settles)
        done = ground.archive()
        assert work.result() == 40
    assert done.dropped == MONTHS
    ground.fold()
    after = ground.everywhere()
    assert (after[: len(before)], len(after)) == (before, len(before) + 40)
    assert troubles(ground) == set()


# Compacting ----------------------------------------------------------------------------------------------------


def test_many_small_files_become_few(ground: Ground) -> None:
    """With what they say unchanged, and whoever reads the version before still can."""
    ground.archive(segment_entries=5)
    before = ground.everywhere()
    files, _ = ground.delta().size()
    for day in range(9):
        ground.trial.clock.instant = NOW - timedelta(days=60) + timedelta(days=day)
        ground.call(ground.a)
    ground.trial.clock.instant = NOW
    ground.fold()
    old = ground.delta()
    done = ground.archive(segment_entries=2)
    assert (done.segments, done.compacted) == (5, 1)
    assert old.size()[0] < files + 5
    assert ground.everywhere()[: len(before)] == before
    assert old.vacuum(0) > 0
    assert len(ground.everywhere()) == len(before) + 9


def test_compaction_that_changes_something_is_undone(ground: Ground) -> None:
    """The version before is the table's again, and somebody is told."""
    ground.archiver(segment_entries=100).archive()
    totals = ground.delta().totals()

    part = DeltaTable(str(ground.folder)).to_pyarrow_table().slice(0, 1).to_pylist()[0]
    ground.delta().append([pa.RecordBatch.from_pylist([part], schema=SCHEMA)], 10**6)

    class Fails(DeltaArchive):
        def _fingerprint(self, month: date, entry_class: str) -> tuple[Any, ...]:
            return (*super()._fingerprint(month, entry_class), self.version())

        def _scattered(self) -> list[tuple[date, str]]:
            return [(date.fromisoformat(f"{part['month']}-01"), part["class"])]

    with_more = ground.delta().totals()
    assert with_more[0] == totals[0] + 1
    with pytest.raises(ArchiveError, match="not the same after it was compacted"):
        Fails(str(ground.folder)).compact()
    assert ground.delta().totals() == with_more


# Leaving the database ------------------------------------------------------------------------------------------


def test_limits_count_what_has_left(ground: Ground) -> None:
    """Buckets that are made anew from the ledger are as they were: days of other zones, months, and limits for ever."""
    before = ground.buckets()
    sums = "SELECT node_id, dimension, period_start, ledger_sum(node_id, dimension, period_start, period_end) FROM buckets ORDER BY 1, 2, 3, period_kind"
    summed = ground.trial.looking.execute(sums).fetchall()
    assert ground.archive().dropped == MONTHS
    assert ground.trial.looking.execute(sums).fetchall() == summed
    rebuilt = ground.trial.looking.execute("""
        SELECT align_buckets(jsonb_agg(jsonb_build_object('node', node_id, 'dimension', dimension, 'kind', period_kind,
            'starts', period_start, 'ends', period_end, 'limit', target, 'page_percents', page_percents, 'overdraft_limit', overdraft_target)))
        FROM (SELECT * FROM buckets WHERE period_kind NOT IN ('minute', 'inflight') FOR UPDATE) AS b""")
    assert rebuilt.rowcount == 1
    assert ground.buckets() == before
    assert any(row[6] for row in before), "no overage"


def test_a_limit_in_another_zone_counts_what_has_left(ground: Ground) -> None:
    """Sums are kept by quarter hours: every calendar's days begin with one. A period that cuts one is refused, never guessed."""
    asked = (datetime(2026, 1, 10, 18, 30, tzinfo=UTC), datetime(2026, 2, 10, 18, 15, tzinfo=UTC))
    statement = "SELECT ledger_sum('grant_a', 'usd', %s, %s)"
    before = ground.trial.looking.execute(statement, asked).fetchone()
    ground.archive()
    assert ground.trial.looking.execute(statement, asked).fetchone() == before
    with pytest.raises(psycopg.errors.CheckViolation, match="cuts a quarter"):
        ground.trial.looking.execute(
            statement.replace("grant_a", "grant_root"),
            (datetime(2026, 1, 10, 12, 8, tzinfo=UTC), datetime(2026, 2, 10, tzinfo=UTC)),
        )
    assert ground.trial.looking.execute(
        statement, (datetime(2026, 1, 1, 0, 1, tzinfo=UTC), datetime(2026, 1, 9, 0, 1, tzinfo=UTC))
    ).fetchone() == (0,)


def test_reports_are_the_same(ground: Ground) -> None:
    """By whatever they group; one that cuts an hour of a month that has left says so instead of showing less."""
    names = (("team",), ("grant", "month"), ("day", "class", "kind"), ("billing_month", "model"))
    before = [spend_report(ground.trial.ledger, by) for by in names]
    ground.archive()
    assert [spend_report(ground.trial.ledger, by) for by in names] == before
    cut = datetime(2026, 2, 7, 12, 30, tzinfo=UTC)
    with pytest.raises(ArchivedError, match="cuts an hour"):
        spend_report(ground.trial.ledger, ("team",), cut, None)
    assert spend_report(ground.trial.ledger, ("team",), cut.replace(minute=0), None).rows


def test_a_last_call_is_known_when_it_has_left(ground: Ground) -> None:
    """A grant that was used is not one that never was."""
    asked = "SELECT max(last_held_at) FROM dropped_sums WHERE grant_id = 'grant_b'"
    last = ground.trial.looking.execute(
        "SELECT max(held_at) FROM entries WHERE grant_id = 'grant_b' AND held_at < '2026-05-01'"
    ).fetchone()
    ground.archive()
    assert ground.trial.looking.execute(asked).fetchone() == last


def test_suspense_and_open_holds_keep_their_month(ground: Ground) -> None:
    """Evidence may come as long as a ceiling is booked; then the month goes, corrected."""
    ground.trial.clock.instant = datetime(2026, 2, 3, tzinfo=UTC)
    wanted = ground.trial.hold(ground.a, 10, 10)
    assert ground.trial.take(wanted) == [True]
    ground.trial.clock.instant = NOW
    ground.fold()
    assert ground.archive().kept == {"entries_2026_02": "open_hold"}
    assert ground.trial.expire() == 1
    ground.trial.clock.instant = NOW + timedelta(days=50)
    ground.fold()
    assert ground.archive().kept == {"entries_2026_02": "open_suspense"}
    assert ground.trial.evidence((wanted.id, 4, 4)) == ["corrected"]
    ground.fold()
    assert ground.archive().kept == {"entries_2026_02": "not_archived"}
    ground.trial.clock.instant += timedelta(days=50)
    assert ground.archive().dropped[0] == "entries_2026_02"
    assert troubles(ground) == set()
    assert ground.trial.settle(wanted.id, 4, 4) == "already_settled"


def adjust(ground: Ground, key: str, held_at: datetime) -> Posted:
    accounting = PostgresAccounting(ground.opens, ground.trial.clock)
    told = Adjustment(grant_id="grant_a", vendor="openai", amount_nanousd=3, held_at=held_at, cause="rounding")
    done = accounting.post([told], by="fin@acme.example", reason="because", key=key, source="command")
    assert isinstance(done, Posted)
    return done


def test_debts_and_settlements_stay(ground: Ground) -> None:
    """An account is asked for as long as there is a ledger, and a key is settled once; both are in the archive too."""
    trial = ground.trial
    trial.clock.instant = datetime(2026, 2, 3, tzinfo=UTC)
    lent = trial.write(grant("c", trial.grants["grant_root"], limits=(usd(5),), overdraft=Overdraft(max_nanousd=50)))
    ground.call(lent, 10)
    posted = adjust(ground, "k", trial.clock.now())
    trial.clock.instant = NOW + timedelta(days=60)
    ground.fold()
    before, owed = ground.hot(), trial.owed("grant_c")
    assert ground.archive().dropped[:4] == MONTHS
    assert owed == 5 == trial.owed("grant_c")
    assert ground.everywhere() == before
    assert adjust(ground, "k", datetime(2026, 2, 3, tzinfo=UTC)) == Posted(entry_ids=posted.entry_ids, is_repeated=True)
    assert trial.settle_debt("forgive", 5, "grant_c")
    assert trial.owed("grant_c") == 0
    assert troubles(ground) == set()


def test_what_is_found_out_about_a_month_that_left_is_booked(ground: Ground) -> None:
    """It has a place of its own, is in reports, and goes into the archive as everything does."""
    total = spend_report(ground.trial.ledger, ("team",)).total.amount_nanousd
    ground.archive()
    late = datetime(2026, 2, 7, 12, tzinfo=UTC)
    adjust(ground, "late", late)
    assert spend_report(ground.trial.ledger, ("team",)).total.amount_nanousd == total + 3
    ground.trial.clock.instant += timedelta(days=50)
    ground.fold()
    assert ground.archive().entries > 0
    assert ground.delta().totals() == ground.books.totals()
    months = "SELECT count(*) FROM entries WHERE kind = 'adjustment' AND month = '2026-02'"
    assert ground.lake().ask(months).rows == [(1,)]
    assert troubles(ground) == set()


def test_a_month_is_taken_out_by_nobody_else(ground: Ground) -> None:
    """The database itself asks what is in the way: a month that is young, not archived, not summed or unknown stays."""
    with ground.opens() as authority:
        assert authority.execute(DROP, ("entries_2026_06", NOW, 1)).fetchone() == ("not_summed",)
        assert authority.execute(SUM, ("entries_2026_06", NOW, 1)).fetchone() == ("hot",)
        assert authority.execute(SUM, ("entries_2026_01", NOW, 40)).fetchone() == ("not_archived",)
        assert authority.execute(SUM, ("entries_2026_01", NOW, 0)).fetchone() == ("hot",)
        assert authority.execute(SUM, ("entries_default", NOW, 40)).fetchone() == ("unknown",)
        for statement in ("DROP TABLE entries_2026_01", "ALTER TABLE entries DETACH PARTITION entries_2026_01",
                          "DELETE FROM segments", "UPDATE ledger_partitions SET dropped_at = now()",
                          "INSERT INTO segments SELECT 1, 9, 9, 9, sha256(''), sha256(''), 1, now()"):  # fmt: skip
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                authority.execute(statement.encode())
        with pytest.raises(psycopg.errors.IntegrityError, match="is not what the ledger has"):
            authority.execute("SELECT record_segment(now(), 1, 9, 9, 63, sha256(''), sha256(''), 1)")


DROP = "SELECT drop_partition(%s, %s, %s)"
SUM = "SELECT sum_partition(%s, %s, %s)"

# Holds and retention -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("grant_id", "keeps"), [(None, True), ("grant_root", True), ("grant_b", True), ("grant_d", False)]
)
def test_a_legal_hold_keeps_what_it_is_on(ground: Ground, grant_id: str | None, keeps: bool) -> None:
    """Months with entries of a grant below it stay in the database, and in the archive; lifted, they go."""
    ground.trial.write(grant("d", ground.trial.grants["grant_root"]))
    ground.books.place_hold("lhold_1", grant_id, SAID, "command")
    done = ground.archive(keep_months={"experimentation": 1})
    assert (done.dropped == []) == keeps
    assert set(done.kept.values()) == ({"held", "not_dropped"} if keeps else set())
    assert ground.books.lift_hold("lhold_1", SAID, "command")
    assert not ground.books.lift_hold("lhold_1", SAID, "command")
    done = ground.archive(keep_months={"experimentation": 1})
    assert (done.dropped == MONTHS, done.kept) == (keeps, {})
    assert [one.lifted_by for one in ground.books.legal_holds(lifted=True)] == ["lea@acme.example"]


def test_a_hold_placed_after_a_month_left_keeps_it_in_the_archive(ground: Ground) -> None:
    """What is in the archive alone is held as well."""
    ground.archive()
    ground.books.place_hold("lhold_1", "grant_b", SAID, "command")
    done = ground.archive(keep_months={"experimentation": 1})
    assert done.expired == []
    assert set(done.kept.values()) == {"held"}
    assert len(ground.everywhere()) == len(ground.hot()) + ground.delta().totals()[0] - 7


def test_what_was_kept_long_enough_leaves_its_sums_behind(ground: Ground) -> None:
    """Of one class only, by whole months, with the digest of what it was; limits and reports still count it."""
    report = spend_report(ground.trial.ledger, ("class", "month"))
    buckets = ground.buckets()
    lines = [
        encode_row(row)
        for row in rows_here(ground)
        if '"class":"experimentation"' in row and '"held_at":"2026-02' in row
    ]
    done = ground.archive(keep_months={"experimentation": 2})
    assert done.expired == [f"2026-0{month} experimentation" for month in (1, 2, 3)]
    assert ground.lake().ask("SELECT DISTINCT month, class FROM entries WHERE month < '2026-04' ORDER BY 1").rows == [
        (f"2026-0{month}", "production") for month in (1, 2, 3)
    ]
    kept = ground.trial.looking.execute(
        "SELECT entries, digest, done_at IS NOT NULL FROM expired_months WHERE month = '2026-02-01'"
    ).fetchone()
    assert kept == (len(lines), sha256(b"".join(line + b"\n" for line in lines)).digest(), True)
    assert lines
    assert spend_report(ground.trial.ledger, ("class", "month")) == report
    assert ground.buckets() == buckets
    assert troubles(ground) == set()


# One table -----------------------------------------------------------------------------------------------------


def test_questions_are_read_only_and_see_nothing_else(ground: Ground, tmp_path: Path) -> None:
    """One SELECT over entries; files beside the archive, settings and writing are refused."""
    ground.archive()
    secret = tmp_path / "secret.csv"
    secret.write_text("a\n1\n", encoding="utf-8")
    lake = ground.lake()
    for statement in ("DELETE FROM hot", "COPY (SELECT 1) TO 'x.csv'", "SELECT 1; SELECT 2", "SET memory_limit = '9GB'",
                      "ATTACH 'x.db'", "INSTALL httpfs", "CREATE TABLE x (a int)", f"SELECT * FROM read_csv('{secret}')",
                      f"SELECT * FROM '{secret}'", "SELECT * FROM glob('/etc/*')", "SELEC", "SELECT * FROM nothing"):  # fmt: skip
        with pytest.raises(QueryError):
            lake.ask(statement)
    assert lake.ask("SELECT count(*) AS n FROM entries").columns == ("n",)


def test_before_anything_is_archived_there_is_one_table_too(ground: Ground) -> None:
    """All of it is hot then."""
    assert ground.everywhere() == ground.hot()
    ground.archive()
    assert len(ground.lake().ask("SELECT * FROM entries", 3).rows) == 3
