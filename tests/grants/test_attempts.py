"""Counting for security: bounded, and nothing lost but detail."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from remit.grants.attempts import MAX_KEYS, OTHERS, Attempt, Attempts

NOON = datetime(2026, 11, 17, 12, tzinfo=UTC)


@given(st.lists(st.integers(0, 3 * MAX_KEYS), max_size=4 * MAX_KEYS))
def test_whatever_is_said_each_attempt_counts_once(values: list[int]) -> None:
    """However many different words callers use, the counts add up to the attempts, and their number has a bound."""
    attempts = Attempts()
    for number, value in enumerate(values):
        attempts.add(Attempt("grant_a", "tag_conflict", "key", "run", str(value)), NOON + timedelta(seconds=number))
    assert len(attempts) <= MAX_KEYS + 1
    assert sum(count.count for _, count in attempts.take()) == len(values)
    assert len(attempts) == 0


def test_what_is_beyond_the_bound_counts_under_one_key() -> None:
    """The thousand and first different attempt, and those after it, share one row of their kind."""
    attempts = Attempts()
    for value in range(MAX_KEYS + 5):
        attempts.add(Attempt("grant_a", "class_mismatch", "key", "environment", str(value)), NOON)
    counts = dict(attempts.take())
    assert counts[Attempt("", "class_mismatch", OTHERS, OTHERS, OTHERS)].count == 5


def test_what_could_not_be_written_is_added_to_what_came_meanwhile() -> None:
    """Given back, an attempt has both counts, the first instant of the one and the last of the other."""
    attempts, one = Attempts(), Attempt("grant_a", "capability_revoked", "key")
    attempts.add(one, NOON)
    taken = attempts.take()
    attempts.add(one, NOON + timedelta(seconds=9))
    attempts.give_back(taken)
    ((_, count),) = attempts.take()
    assert (count.count, count.first, count.last) == (2, NOON, NOON + timedelta(seconds=9))
