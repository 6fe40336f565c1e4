"""Archiving that is broken off anywhere goes on: nothing is lost, and nothing is there twice."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from remit.ledger.service import check_books
from tests.archive.ground import Ground

STEPS = ("read", "committed", "verified", "recorded", "compacted", "dropped", "expiring", "removed")
KEEP = {"experimentation": 1}


class StoppedError(Exception):
    """Broken off on purpose."""


def stops_at(step: str, count: int) -> Callable[[str], None]:
    """Breaks off when a step is reached for the nth time."""
    seen = [0]

    def reached(name: str) -> None:
        seen[0] += name == step
        if name == step and seen[0] == count:
            raise StoppedError(step)

    return reached


def assert_whole(
    ground: Ground, before: list[tuple[object, ...]], buckets: list[tuple[object, ...]], lost: int
) -> None:
    """Every entry is there once, but for those whose time was up; the archive is what segments say; the books agree."""
    after = ground.everywhere()
    assert len(after) == len(before) - lost
    assert [row for row in before if row in set(after)] == after
    assert ground.delta().totals() == ground.books.totals()
    assert sum(one.entries for one in ground.books.segments()) == ground.delta().totals()[0] + lost
    assert ground.buckets() == buckets
    assert [one for one in check_books(ground.trial.ledger) if one.differences] == []


def test_broken_off_at_any_step_it_goes_on(ground: Ground) -> None:
    """What an exception leaves behind is whole for who reads, and taken up by the next round, until there is nothing more to do."""
    before, buckets = ground.hot(), ground.buckets()
    expired = len(ground.trial.looking.execute(EXPIRING).fetchall())
    for step in STEPS:
        with pytest.raises(StoppedError):
            ground.archiver(stops_at(step, 1 if ground.books.segments() else 2), keep_months=KEEP).archive()
        whole = ground.everywhere()
        assert len({row[0] for row in whole}) == len(whole)
        assert set(whole) <= set(before)
        if step not in {"expiring", "removed"} and not ground.trial.one("SELECT count(*) FROM expired_months"):
            assert whole == before, step
    ground.archive(keep_months=KEEP)
    assert_whole(ground, before, buckets, expired)
    done = ground.archive(keep_months=KEEP)
    assert (done.segments, done.dropped, done.expired) == (0, [], [])
    assert expired > 0


EXPIRING = "SELECT FROM entries WHERE class = 'experimentation' AND held_at < '2026-05-01'"

KILLED = """
import os, signal, sys
from datetime import datetime
from remit.jobs.archiving import Archiver, Terms
from remit.store.connect import opener
from remit.store.delta_archive import DeltaArchive
from remit.store.postgres_archive import PostgresArchive
from tests.grants.builders import Clock
url, folder, now, step = sys.argv[1:]
def reached(name):
    if name == step:
        os.kill(os.getpid(), signal.SIGKILL)
terms = Terms(hot_days=40, segment_entries=4, keep_months={"experimentation": 1})
Archiver(PostgresArchive(opener(url, "remit_authority")), DeltaArchive(folder), terms, Clock(datetime.fromisoformat(now)), reached).archive()
"""


def test_a_process_that_is_killed_leaves_nothing_half_done(ground: Ground) -> None:
    """One process after the other is killed, each a step later: between reading, committing, recording, dropping and expiring."""
    before, buckets = ground.hot(), ground.buckets()
    expired = len(ground.trial.looking.execute(EXPIRING).fetchall())
    root = Path(__file__).parents[2]
    for step in ("read", "committed", "verified", "recorded", "dropped", "removed"):
        asked = [ground.trial.url, str(ground.folder), ground.trial.clock.now().isoformat(), step]
        ended = subprocess.run(
            [sys.executable, "-c", KILLED, *asked], cwd=root, env=dict(os.environ), check=False, timeout=60
        )
        assert ended.returncode == -signal.SIGKILL, step
        whole = ground.everywhere()
        assert len(whole) == len({row[0] for row in whole})
    ground.archive(keep_months=KEEP)
    assert_whole(ground, before, buckets, expired)
