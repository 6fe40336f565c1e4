"""Single stories about holds on a real PostgreSQL: boundaries, repetition, lateness, debts, calendars."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import psycopg
import pytest

from remit.grants.model import Grant, Limit, OnExhausted, Overdraft, Rate
from remit.leases.model import NodeLimit
from remit.store.postgres_lessor import _hold_json
from tests.leases.trial import SETTLED, Trial, as_json, grant, usd
from tests.store.database import fresh_database


@pytest.fixture
def trial() -> Iterator[Trial]:
    """An empty tree beside its oracle; every test ends with a full check of the books."""
    made = Trial(fresh_database())
    yield made
    made.check(everything=True)
    made.close()


def chain(trial: Trial, root_limit: int = 1000, leaf_limit: int = 100, **fields: object) -> Grant:
    """A root and a leaf below it, each with one limit per day."""
    root = trial.write(grant("root", limits=(usd(root_limit),)))
    return trial.write(grant("leaf", root, limits=(usd(leaf_limit),), **fields))


def test_what_fits_exactly_is_taken_and_a_nano_dollar_more_is_not(trial: Trial) -> None:
    """The boundary: posted + held + ceiling <= limit, on each node."""
    leaf = chain(trial)
    assert trial.take(trial.hold(leaf, 40), trial.hold(leaf, 60), trial.hold(leaf, 1), trial.hold(leaf, 0)) == [
        True, True, False, True,
    ]  # fmt: skip


def test_a_refusal_by_one_node_holds_nothing_on_any(trial: Trial) -> None:
    """All or nothing: what the leaf refuses is not held at the root."""
    leaf = chain(trial)
    assert trial.take(trial.hold(leaf, 101)) == [False]
    assert trial.one("SELECT sum(held) FROM buckets") == 0


def test_a_limit_of_zero_admits_nothing(trial: Trial) -> None:
    """Not even a call that costs nothing."""
    leaf = chain(trial, leaf_limit=0)
    assert trial.take(trial.hold(leaf, 0)) == [False]


def test_taking_and_ending_again_change_nothing(trial: Trial) -> None:
    """A hold is taken once and ends once, whoever repeats the call and however it is ended the second time."""
    leaf = chain(trial)
    hold = trial.hold(leaf, 50)
    assert trial.take(hold) == [True]
    assert trial.take(hold, hold) == []
    assert trial.one("SELECT held FROM buckets WHERE node_id = 'grant_leaf'") == 50
    assert trial.finish((hold.id, "settled", 30, 0), (hold.id, "settled", 30, 0)) == ["settled", "already_settled"]
    assert [trial.settle(hold.id, 20), trial.void(hold.id)] == ["already_settled"] * 2
    assert trial.finish((hold.id, "suspense", 0, 0)) == ["already_settled"]
    assert trial.take(hold) == []
    assert trial.one("SELECT count(*) FROM entries") == 1


def test_an_unknown_hold_is_answered_as_such(trial: Trial) -> None:
    """Ending what was never taken books nothing."""
    assert trial.settle("hold_never", 5) == "unknown_hold"
    assert trial.evidence(("hold_never", 1, 1)) == ["unknown_hold"]


def test_an_outdated_revision_takes_nothing(trial: Trial) -> None:
    """A decision on another tree than the current one is not executed."""
    leaf = chain(trial)
    hold = trial.hold(leaf, 10)
    for revision in (trial.revision() - 1, trial.revision() + 1):
        answer = trial.call(
            trial.gateway, "SELECT take_holds(%s, %s, %s::jsonb)", revision, trial.clock.now(),
            as_json([_hold_json(hold)]),
        )  # fmt: skip
        assert answer == {"stale": trial.revision()}
    assert trial.one("SELECT count(*) FROM holds") == 0


def test_an_expired_hold_is_suspense_at_its_ceiling_until_it_settles_late(trial: Trial) -> None:
    """Nothing is freed by time alone; the late answer corrects, once, and frees the rest."""
    leaf = chain(trial)
    hold = trial.hold(leaf, 80, seconds=5)
    trial.take(hold)
    trial.clock.instant += timedelta(seconds=4)
    assert trial.expire() == 0
    trial.clock.instant += timedelta(seconds=1)
    assert trial.expire() == 1
    trial.check(everything=True)
    assert trial.take(trial.hold(leaf, 21)) == [False]
    assert [trial.settle(hold.id, 30), trial.settle(hold.id, 30)] == ["corrected", "already_settled"]
    assert trial.evidence((hold.id, 10, 0)) == ["already_settled"]
    assert trial.take(trial.hold(leaf, 70)) == [True]


def test_a_hold_found_unbilled_after_its_time_gives_its_ceiling_back(trial: Trial) -> None:
    """Voiding says that nothing can have been billed, also when it comes late."""
    leaf = chain(trial)
    hold = trial.hold(leaf, 80, seconds=5)
    trial.take(hold)
    trial.clock.instant += timedelta(seconds=6)
    trial.expire()
    assert trial.void(hold.id) == "corrected"
    assert trial.ledger.total_nanousd(None, None) == 0


def test_cost_beyond_the_ceiling_is_booked_and_counts(trial: Trial) -> None:
    """Overage is never forgotten: an entry of its own, a page, and less room for what follows."""
    leaf = chain(trial)
    hold = trial.hold(leaf, 50)
    trial.take(hold)
    trial.settle(hold.id, 75)
    assert trial.one("SELECT amount_nanousd FROM entries WHERE kind = 'overage'") == 25
    assert trial.one("SELECT count(*) FROM notifications WHERE kind = 'overage'") == 1
    assert trial.take(trial.hold(leaf, 26), trial.hold(leaf, 25)) == [False, True]


def test_overage_past_the_limit_leaves_no_more_overdraft_than_is_left(trial: Trial) -> None:
    """Everything that was spent counts against limit and overdraft together."""
    leaf = chain(trial, overdraft=Overdraft(max_nanousd=40))
    hold = trial.hold(leaf, 100)
    trial.take(hold)
    trial.settle(hold.id, 120)
    assert trial.take(trial.hold(leaf, 21), trial.hold(leaf, 20)) == [False, True]


def test_two_limits_in_money_lend_and_are_repaid_each_for_itself(trial: Trial) -> None:
    """With a day's and a month's limit exhausted one call draws on both overdrafts; each debt names its bucket."""
    root = trial.write(grant("root", limits=(usd(50), usd(60, "month")), overdraft=Overdraft(max_nanousd=100)))
    hold = trial.hold(root, 90, seconds=5)
    assert trial.take(hold) == [True]
    trial.clock.instant += timedelta(seconds=6)
    trial.expire()
    trial.check(everything=True)
    debts = "SELECT jsonb_object_agg(debt_period || kind, amount_nanousd) FROM entries WHERE debtor_id = 'grant_root'"
    assert trial.one(debts) == {"dayoverdraft": 40, "monthoverdraft": 30}
    assert trial.evidence((hold.id, 55, 0)) == ["corrected"]
    assert trial.one(debts) == {
        "dayoverdraft": 40, "monthoverdraft": 30, "dayrepayment": -35, "monthrepayment": -30,
    }  # fmt: skip


def test_an_overdraft_taken_away_is_gone_also_when_it_was_in_use(trial: Trial) -> None:
    """What was lent drains: a hold that ends does not leave its part to the next one."""
    root = trial.write(grant("root", limits=(usd(10),), overdraft=Overdraft(max_nanousd=50)))
    hold = trial.hold(root, 60)
    assert trial.take(hold) == [True]
    trial.write(replace(root, overdraft=None))
    trial.void(hold.id)
    assert trial.take(trial.hold(root, 11), trial.hold(root, 10)) == [False, True]


def test_a_lowered_limit_drains(trial: Trial) -> None:
    """Below what is used nothing more is taken, and what is used may end."""
    leaf = chain(trial)
    first, second = trial.hold(leaf, 60), trial.hold(leaf, 40)
    trial.take(first, second)
    trial.write(replace(trial.grants[leaf.id], limits=(usd(30),)))
    assert trial.take(trial.hold(leaf, 1)) == [False]
    assert [trial.settle(first.id, 20), trial.settle(second.id, 0)] == ["settled"] * 2
    assert trial.take(trial.hold(leaf, 11), trial.hold(leaf, 10)) == [False, True]


def test_a_new_limit_counts_what_was_spent_is_open_and_is_in_suspense(trial: Trial) -> None:
    """A limit that comes in the middle of its period knows what went before, and follows corrections of it."""
    leaf = chain(trial)
    spent, waiting, lost = trial.hold(leaf, 10), trial.hold(leaf, 20), trial.hold(leaf, 30, seconds=1)
    trial.take(spent, waiting, lost)
    trial.settle(spent.id, 10)
    trial.clock.instant += timedelta(seconds=2)
    trial.expire()
    trial.write(replace(trial.grants[leaf.id], limits=(usd(100), usd(70, "week"))))
    assert trial.take(trial.hold(leaf, 11)) == [False]
    trial.evidence((lost.id, 5, 0))
    trial.settle(waiting.id, 1)
    assert trial.take(trial.hold(leaf, 55), trial.hold(leaf, 54)) == [False, True]


def test_a_changed_time_zone_gives_no_fresh_limit(trial: Trial) -> None:
    """Neither to a grant nor to a block of a capability: what was spent in the new calendar's period counts."""
    leaf = chain(trial, leaf_limit=500)
    block = trial.block(leaf, NodeLimit("usd", 100, "month"), NodeLimit("usd", 100, "once"))
    trial.take(first := trial.hold(leaf, 60, blocks=[block]), second := trial.hold(leaf, 30, blocks=[block]))
    trial.settle(first.id, 60)
    trial.write(replace(trial.grants[leaf.id], time_zone="Asia/Tokyo"))
    assert trial.take(trial.hold(leaf, 11, blocks=[block]), trial.hold(leaf, 10, blocks=[block])) == [False, True]
    trial.settle(second.id, 30)
    trial.write(replace(trial.grants[leaf.id], time_zone="America/New_York"))
    assert trial.take(trial.hold(leaf, 1, blocks=[block])) == [False]


def test_a_limit_lowered_at_midnight_binds_a_gateway_whose_clock_is_ahead(trial: Trial) -> None:
    """A bucket of tomorrow that exists already learns of the new limit today."""
    trial.clock.instant = trial.clock.instant.replace(hour=23, minute=58)
    leaf = chain(trial)
    ahead = timedelta(minutes=3)
    assert trial.take(trial.hold(leaf, 10, skew=ahead)) == [True]
    trial.write(replace(trial.grants[leaf.id], limits=(usd(50),)))
    trial.clock.instant += ahead
    assert trial.take(trial.hold(leaf, 41), trial.hold(leaf, 40)) == [False, True]


def test_requests_in_flight_are_counted_while_open(trial: Trial) -> None:
    """Concurrency frees with each ending, however it ends."""
    leaf = chain(trial, rate=Rate(concurrency=2))
    first, second = trial.hold(leaf, 1), trial.hold(leaf, 1)
    assert trial.take(first, second, trial.hold(leaf, 1)) == [True, True, False]
    trial.void(first.id)
    assert trial.take(trial.hold(leaf, 1), trial.hold(leaf, 1)) == [True, False]


def test_a_minute_passes_and_so_does_its_rate(trial: Trial) -> None:
    """Requests and tokens per minute bind in their minute only; spent rate buckets go."""
    leaf = chain(trial, rate=Rate(rpm=2, tpm=100))
    assert trial.take(trial.hold(leaf, 1, 60), trial.hold(leaf, 1, 41), trial.hold(leaf, 1, 40)) == [True, False, True]
    assert trial.take(trial.hold(leaf, 1, 0)) == [False]
    trial.clock.instant += timedelta(minutes=1)
    late = trial.hold(leaf, 1, 100)
    assert trial.take(late) == [True]
    trial.clock.instant += timedelta(hours=2)
    trial.call(trial.authority, "SELECT drop_spent_rate_buckets(%s)", trial.clock.now())
    assert trial.settle(late.id, 1, 100) == "settled"


def test_tokens_and_requests_are_limits_like_money(trial: Trial) -> None:
    """Limits in tokens follow the actual count, limits in requests the calls that were not voided."""
    root = trial.write(grant("root", limits=(Limit("tokens", 100, "day"), Limit("requests", 3, "day"))))
    first, second = trial.hold(root, 5, 80), trial.hold(root, 5, 20)
    assert trial.take(first, second, trial.hold(root, 5, 1)) == [True, True, False]
    trial.settle(first.id, 5, 30)
    trial.void(second.id)
    assert trial.take(*(trial.hold(root, 0, 35) for _ in range(3))) == [True, True, False]


def test_the_largest_amounts_do_not_overflow(trial: Trial) -> None:
    """Limits and ceilings at the edge of 64 bits are decided, not answered with an error."""
    most = 2**63 - 1
    root = trial.write(grant("root", limits=(usd(most),), overdraft=Overdraft(max_nanousd=most)))
    assert trial.take(trial.hold(root, most), trial.hold(root, most), trial.hold(root, 1)) == [True, True, False]


def test_an_abandoned_hold_is_never_taken_late(trial: Trial) -> None:
    """Whether the take was executed before or is executed after it was given up, nothing stays held."""
    leaf = chain(trial)
    executed, on_its_way = trial.hold(leaf, 10), trial.hold(leaf, 20)
    trial.take(executed)
    assert trial.abandon(executed) == "voided"
    assert trial.abandon(on_its_way) == "voided"
    trial.take(on_its_way)
    assert trial.one("SELECT count(*) FROM holds WHERE state = 'open'") == 0
    assert trial.one("SELECT sum(held) FROM buckets") == 0


def test_a_hold_that_could_never_be_booked_is_not_taken(trial: Trial) -> None:
    """What the ledger will need is complete when the hold is taken, or the sweeper would stumble over it for ever."""
    leaf = chain(trial)
    hold = trial.hold(leaf, 10)
    entry = {key: value for key, value in hold.entry.items() if key != "owner"}
    body = as_json([_hold_json(replace(hold, entry=entry))])
    with pytest.raises(psycopg.errors.CheckViolation):
        trial.call(trial.gateway, "SELECT take_holds(%s, %s, %s::jsonb)", trial.revision(), trial.clock.now(), body)


@pytest.mark.parametrize("limits", [(), (usd(100),)])
def test_two_who_end_one_hold_at_the_same_time_end_it_once(trial: Trial, limits: tuple[Limit, ...]) -> None:
    """The second waits for the first and finds it ended, also where no bucket makes it wait."""
    root = trial.write(grant("root", limits=limits))
    hold = trial.hold(root, 50)
    trial.take(hold)
    rows = as_json([{"id": hold.id, "outcome": "settled", "usd": 30, "tokens": 0, "entry": SETTLED}])
    with ThreadPoolExecutor(1) as pool:
        trial.gateway.execute("BEGIN")
        assert trial.settle(hold.id, 30) == "settled"
        second = pool.submit(trial.call, trial.authority, "SELECT finish_holds(%s, %s::jsonb)", trial.clock.now(), rows)
        waiting = (
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        while not trial.one(waiting):
            assert not second.done()
            time.sleep(0.01)
        trial.gateway.execute("COMMIT")
        assert second.result(60)[0]["outcome"] == "already_settled"


def test_thresholds_passed_together_have_a_page_each(trial: Trial) -> None:
    """Two calls that end in one batch and pass 80 and 100 write both pages, once; repeating and going on write none."""
    root = trial.write(grant("root", limits=(usd(100),), on_exhausted=OnExhausted(page_percents=(80, 100))))
    first, second, beyond = trial.hold(root, 79), trial.hold(root, 21), trial.hold(root, 0)
    assert trial.take(first, second, beyond) == [True] * 3
    endings = [(first.id, "settled", 79, 0), (second.id, "settled", 21, 0)]
    assert trial.finish(*endings) == ["settled"] * 2
    pages = "SELECT array_agg(threshold ORDER BY id) FROM notifications WHERE kind = 'threshold'"
    assert trial.one(pages) == [80, 100]
    assert trial.finish(*endings) == ["already_settled"] * 2
    trial.settle(beyond.id, 0)
    assert trial.one(pages) == [80, 100]
