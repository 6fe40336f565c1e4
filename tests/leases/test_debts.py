"""Debts on a real PostgreSQL: lent once, settled once, repaid out of a later period, to the nano-dollar."""

import os
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import psycopg
import pytest

from remit.grants.model import Grant, Overdraft, Problem, Rate
from remit.leases.debts import Lent, repayable, repaying_line
from remit.leases.terms import terms_of_grant
from remit.ledger.model import Debt
from remit.ledger.service import spend_report
from remit.store.postgres_debts import Settled, dedupe_key
from remit.store.postgres_lessor import _hold_json
from remit.store.postgres_writes import PostgresWrites
from tests.leases.test_simulation import Simulation
from tests.leases.trial import SETTLED, START, Trial, as_json, grant, usd
from tests.store.database import fresh_database

SEEDS = range(int(os.environ.get("REMIT_TEST_SEEDS", "8")))
DAY = timedelta(days=1)


@pytest.fixture
def trial() -> Iterator[Trial]:
    """An empty tree beside its oracle; every test ends with a full check of the books."""
    made = Trial(fresh_database())
    yield made
    made.check(everything=True)
    made.close()


def debtor(trial: Trial, lent: int = 40, limit: int = 100, overdraft: int = 50, period: str = "day") -> Grant:
    """A grant that used its limit and owes `lent`."""
    root = trial.write(grant("root", limits=(usd(limit, period),), overdraft=Overdraft(max_nanousd=overdraft)))
    spend(trial, root, limit + lent)
    return root


def spend(trial: Trial, leaf: Grant, amount: int) -> None:
    hold = trial.hold(leaf, amount)
    assert trial.take(hold) == [True]
    trial.settle(hold.id, amount)


def code_of(answer: Settled | Problem) -> str:
    assert isinstance(answer, Problem)
    return answer.code


def the_debt(trial: Trial) -> Debt:
    (debt,) = trial.ledger.debts(settled=True)
    return debt


def test_a_repaid_debt_shrinks_what_the_next_period_can_spend_to_the_nano_dollar(trial: Trial) -> None:
    """40 of the day before leave 60 of 100; with the overdraft of 50 a call of 110 fits and one of 111 does not."""
    root = debtor(trial)
    trial.clock.instant += DAY
    assert trial.settle_debt("repay", 40) == Settled(settled=40, outstanding=0, is_repeated=False)
    assert trial.take(trial.hold(root, 111), trial.hold(root, 110)) == [False, True]


def test_only_the_debtor_pays(trial: Trial) -> None:
    """Grants above were charged when the call was made: their next period is whole."""
    root = trial.write(grant("root", limits=(usd(1000),)))
    leaf = trial.write(grant("leaf", root, limits=(usd(100), usd(2000, "month")), overdraft=Overdraft(max_nanousd=50)))
    spend(trial, leaf, 140)
    trial.clock.instant += DAY
    trial.settle_debt("repay", 40, leaf.id)
    numbers = trial.looking.execute(
        "SELECT node_id, period_kind, posted FROM buckets WHERE period_end > %s ORDER BY 1, 2, period_start DESC",
        (trial.clock.now(),),
    ).fetchall()
    assert numbers == [("grant_leaf", "day", 40), ("grant_leaf", "month", 140)]


def test_repaying_spends_nothing(trial: Trial) -> None:
    """What the vendor is owed, and every report, are the same before and after; the entry is the debtor's."""
    root = debtor(trial)
    trial.clock.instant += DAY
    before = spend_report(trial.ledger, ("kind", "day"))
    trial.settle_debt("repay", 25)
    trial.settle_debt("forgive", 15)
    assert spend_report(trial.ledger, ("kind", "day")) == before
    repaid, forgiven = trial.ledger.tail(2, None)
    assert (repaid["kind"], repaid["amount_nanousd"], repaid["node_ids"]) == ("repayment", -25, [root.id])
    assert (forgiven["kind"], forgiven["amount_nanousd"], forgiven["periods"]) == ("adjustment", -15, [])
    assert repaid["periods"] == [{"node": root.id, "kind": "day", "start": "2026-03-31T00:00:00+00:00"}]
    assert repaid["settlement"]["by"] == "ana@acme.example"
    assert (repaid["hold_id"], repaid["vendor"], repaid["usage_source"]) == (None, None, None)


def test_forgiving_uses_nothing_and_needs_no_later_period(trial: Trial) -> None:
    """A person can forgive at once, also more than once, and never more than is owed."""
    root = debtor(trial)
    assert code_of(trial.settle_debt("forgive", 41)) == "debt_more_than_owed"
    assert isinstance(trial.settle_debt("forgive", 30), Settled)
    assert code_of(trial.settle_debt("forgive", 11)) == "debt_more_than_owed"
    assert isinstance(trial.settle_debt("forgive", 10), Settled)
    assert code_of(trial.settle_debt("forgive", 1)) == "debt_no_debt"
    trial.clock.instant += DAY
    assert trial.repay_due() == 0
    assert trial.take(trial.hold(root, 150)) == [True]


def test_a_debt_is_not_repaid_in_the_period_it_was_made_in(trial: Trial) -> None:
    """Also after the limit was raised: to the last moment of the period, and from the first of the next."""
    root = debtor(trial)
    trial.write(replace(root, limits=(usd(1000),)))
    trial.clock.instant = trial.clock.instant.replace(hour=23, minute=59, second=59)
    assert code_of(trial.settle_debt("repay", 40)) == "debt_period_not_over"
    assert trial.repay_due() == 0
    trial.clock.instant += timedelta(seconds=1)
    assert trial.repay_due() == 1
    assert trial.owed() == 0


def test_only_what_was_lent_before_the_period_is_repaid_out_of_it(trial: Trial) -> None:
    """A debt made today waits for tomorrow, while yesterday's is repaid."""
    root = debtor(trial, lent=10)
    trial.clock.instant += DAY
    keep, over = trial.hold(root, 100), trial.hold(root, 30)
    assert trial.take(keep, over) == [True, True]
    trial.settle(over.id, 30)
    trial.void(keep.id)
    assert trial.owed() == 40
    assert trial.settle_debt("repay", 40) == Settled(settled=10, outstanding=30, is_repeated=False)
    assert code_of(trial.settle_debt("repay", 30)) == "debt_period_not_over"


def test_what_does_not_fit_is_still_owed(trial: Trial) -> None:
    """What is posted and held comes first; the rest of the debt is repaid when there is room again."""
    root = debtor(trial)
    trial.clock.instant += DAY
    spend(trial, root, 50)
    open_ = trial.hold(root, 20)
    assert trial.take(open_) == [True]
    assert trial.settle_debt("repay", 40) == Settled(settled=30, outstanding=10, is_repeated=False)
    assert code_of(trial.settle_debt("repay", 10)) == "debt_no_room"
    trial.check(everything=True)
    trial.void(open_.id)
    assert trial.settle_debt("repay", 10) == Settled(settled=10, outstanding=0, is_repeated=False)


def test_a_settlement_is_made_once_for_each_key(trial: Trial) -> None:
    """Repeated it is answered as the first time; asked for differently it is a conflict, and changes nothing."""
    debtor(trial)
    trial.clock.instant += DAY
    assert trial.settle_debt("repay", 30, key="k") == Settled(settled=30, outstanding=10, is_repeated=False)
    trial.settle_debt("forgive", 10)
    assert trial.settle_debt("repay", 30, key="k") == Settled(settled=30, outstanding=10, is_repeated=True)
    settle = trial.care.settle_debt
    said = {"by": "ana@acme.example", "note": None, "key": "k"}
    assert code_of(settle("grant_root", "day", 31, "repay", **said)) == "conflict_different_amount"
    assert code_of(settle("grant_root", "day", 30, "forgive", **said)) == "conflict_different_how"
    assert code_of(settle("grant_root", "month", 30, "repay", **said)) == "conflict_different_period"
    trial.write(grant("other"))
    assert code_of(settle("grant_other", "day", 30, "repay", **said)) == "conflict_different_grant"
    assert trial.one("SELECT count(*) FROM entries WHERE settlement IS NOT NULL") == 2


def test_a_limit_that_is_gone_repays_nothing(trial: Trial) -> None:
    """Neither does one that never ends; both can be forgiven."""
    root = debtor(trial)
    trial.clock.instant += DAY
    trial.write(replace(root, limits=(usd(100, "once"),)))
    assert code_of(trial.settle_debt("repay", 40)) == "debt_no_limit"
    spend(trial, root, 10)
    assert code_of(trial.settle_debt("repay", 10, period="once")) == "debt_period_not_over"
    assert trial.repay_due() == 0
    assert isinstance(trial.settle_debt("forgive", 40), Settled)


def test_a_grant_that_is_over_repays_nothing_by_itself(trial: Trial) -> None:
    """No later period of a revoked grant is anybody's: its debt waits for a person."""
    root = debtor(trial)
    trial.write(root.revoked())
    trial.clock.instant += DAY
    assert trial.repay_due() == 0
    assert [debt.outstanding for debt in trial.care._debts().without_ticket()] == [40]


def test_a_changed_limit_and_calendar_keep_what_was_repaid(trial: Trial) -> None:
    """A bucket made anew from the ledger has the same numbers; a limit taken away and given back does too."""
    root = debtor(trial)
    trial.clock.instant += DAY
    trial.settle_debt("repay", 40)
    numbers = "SELECT (posted, repaid, held)::text FROM buckets WHERE period_start = '2026-03-31T00:00Z'"
    before = trial.one(numbers)
    root = trial.write(replace(root, limits=(usd(90),)))
    assert trial.one(numbers) == before == "(40,40,0)"
    trial.write(replace(root, limits=()))
    trial.write(replace(root, limits=(usd(100),)))
    assert trial.one(numbers) == before
    trial.write(replace(root, limits=(usd(100),), time_zone="Asia/Tokyo"))
    assert trial.take(trial.hold(root, 111), trial.hold(root, 110)) == [False, True]


def test_evidence_after_a_debt_was_settled_gives_back_what_was_too_much(trial: Trial) -> None:
    """To the period that paid, before what was forgiven; exactly, and once."""
    root = trial.write(grant("root", limits=(usd(100),), overdraft=Overdraft(max_nanousd=50)))
    hold = trial.hold(root, 140, seconds=5)
    assert trial.take(hold) == [True]
    trial.clock.instant += timedelta(seconds=6)
    trial.expire()
    trial.settle_debt("forgive", 15)
    trial.clock.instant += DAY
    trial.settle_debt("repay", 20)
    trial.settle_debt("repay", 5)
    assert trial.evidence((hold.id, 110, 0)) == ["corrected"]
    assert trial.owed() == -30
    trial.check(everything=True)
    trial.repay_due()
    assert the_debt(trial) == replace(the_debt(trial), made=10, repaid=0, forgiven=10, outstanding=0, since=None)
    assert trial.one("SELECT count(*) FROM entries WHERE settlement ? 'returns'") == 3
    trial.repay_due()
    assert trial.one("SELECT count(*) FROM entries WHERE settlement ? 'returns'") == 3
    assert trial.take(trial.hold(root, 150)) == [True]


def test_what_was_given_back_once_is_not_given_back_again(trial: Trial) -> None:
    """Of two repayments on two days the later one is used up first; what comes later comes out of the earlier."""
    root = trial.write(grant("root", limits=(usd(100),), overdraft=Overdraft(max_nanousd=50)))
    holds = [trial.hold(root, amount, seconds=5) for amount in (100, 20, 20)]
    trial.take(*holds)
    trial.clock.instant += timedelta(seconds=6)
    trial.expire()
    for _ in range(2):
        trial.clock.instant += DAY
        trial.settle_debt("repay", 20)
    repaid = "SELECT array_agg(repaid ORDER BY period_start) FROM buckets"
    for hold, expected in ((holds[1], [0, 20, 0]), (holds[2], [0, 5, 0])):
        trial.evidence((hold.id, 0 if hold is holds[1] else 5, 0))
        trial.repay_due()
        trial.check(everything=True)
        assert trial.one(repaid) == expected


def test_the_list_says_what_became_of_each_debt(trial: Trial) -> None:
    """Since when the oldest part is owed, and which tickets would be about it; what was settled counts for the oldest."""
    root = debtor(trial, lent=10)
    first = trial.clock.now()
    trial.clock.instant += DAY
    spend(trial, root, 120)
    debt = the_debt(trial)
    assert (debt.made, debt.repaid, debt.forgiven, debt.outstanding, debt.since) == (30, 0, 0, 30, first)
    assert dedupe_key(debt) == "debt:grant_root:day:2026-03-30T00:00:00+00:00"
    trial.settle_debt("forgive", 10)
    debt = the_debt(trial)
    assert (debt.forgiven, debt.outstanding, debt.since) == (10, 20, trial.clock.now())
    assert dedupe_key(debt) == "debt:grant_root:day:2026-03-31T00:00:00+00:00"
    trial.settle_debt("forgive", 20)
    assert trial.ledger.debts() == []
    assert the_debt(trial).since is None
    assert trial.ledger.of_nodes(["grant_root"]).debts(settled=True) == [the_debt(trial)]
    assert trial.ledger.of_nodes(["grant_other"]).debts(settled=True) == []


def test_a_debt_with_an_open_ticket_is_not_asked_about_again(trial: Trial) -> None:
    """One ticket for each debt and period; once it is decided there can be another."""
    debtor(trial)
    debts = trial.care._debts()
    (debt,) = debts.without_ticket()
    trial.looking.execute(
        "INSERT INTO tickets (id, kind, grant_id, path, requester, assignees, tier, opened_at, due_at, expires_at, reason,"
        " effect, evidence, dedupe_key, revision) SELECT 'ticket_1', 'debt', 'grant_root', 'root', 'remit', '{ana}', 'small',"
        " now(), now(), now() + interval '1 day', '', '{}', '{}', %s, 1",
        (dedupe_key(debt),),
    )
    assert debts.without_ticket() == []


def test_a_settlement_stands_or_falls_with_the_write_it_is_a_part_of(trial: Trial) -> None:
    """What decides about a ticket settles in its own transaction."""
    debtor(trial)

    def write(*, fails: bool) -> None:
        def do(unit: object) -> tuple[None, dict[str, object]]:
            unit.debts(trial.clock).settle(  # type: ignore[attr-defined]
                "grant_root", "day", 40, "forgive", by="bo@acme.example", note="ticket_1", key="ticket_1"
            )
            if fails:
                raise RuntimeError
            return None, {}

        PostgresWrites(trial.care._connect, trial.clock).once(
            "w", {"actor": "bo@acme.example", "operation": "test"}, do
        )

    with pytest.raises(RuntimeError):
        write(fails=True)
    assert trial.owed() == 40
    write(fails=False)
    assert trial.owed() == 0


@pytest.mark.parametrize(
    ("entry", "constraint"),
    [
        ('{"kind": "repayment", "amount_nanousd": 1}', "settling_lowers_a_debt"),
        ('{"kind": "adjustment", "settlement": null, "hold_id": "h"}', "calls_are_told_in_full"),
        ('{"kind": "transfer", "debtor_id": null, "debt_period": null}', "what_belongs_to_no_call"),
        ('{"kind": "adjustment", "debtor_id": null}', "debt_names_its_debtor"),
        ('{"tokens": 5}', "what_belongs_to_no_call"),
        ('{"settlement": {"key": "k", "by": "me"}}', "the key k was settled before"),
    ],
)
def test_the_table_itself_refuses_what_is_no_settlement(trial: Trial, entry: str, constraint: str) -> None:
    """Whatever function writes, these entries cannot be."""
    debtor(trial)
    trial.settle_debt("forgive", 40, key="k")
    with pytest.raises(psycopg.errors.IntegrityError, match=constraint):
        trial.looking.execute(
            "INSERT INTO entries OVERRIDING SYSTEM VALUE"
            ' SELECT (jsonb_populate_record(e, \'{"seq": 99, "id": "x", "settlement": {"key": "x", "by": "x"}}\''
            " || %s::jsonb)).* FROM entries AS e WHERE kind = 'adjustment'",
            (entry,),
        )


def test_a_threshold_passed_by_repaying_is_told_and_the_pace_is_not_misread(trial: Trial) -> None:
    """90 of 100 are gone at midnight: that is a page, and no forecast from a pace nobody spends at."""
    root = trial.write(grant("root", limits=(usd(100),), overdraft=Overdraft(max_nanousd=90)))
    spend(trial, root, 190)
    trial.clock.instant = trial.clock.instant.replace(hour=0, minute=0) + DAY
    trial.looking.execute("DELETE FROM notifications")
    trial.repay_due()
    trial.clock.instant += timedelta(hours=12)
    told = "SELECT array_agg(kind || threshold ORDER BY threshold) FROM notifications"
    assert trial.one(told) == ["threshold80"]
    trial.care.page_forecasts()
    assert trial.one(told) == ["threshold80"]
    spend(trial, root, 6)
    trial.care.page_forecasts()
    assert trial.one("SELECT body ->> 'runs_out_at' FROM notifications WHERE kind = 'forecast_exhaustion'") == (
        "2026-03-31T20:00:00+00:00"
    )


def test_calls_and_settlements_at_once_cross_no_cap() -> None:
    """While calls are taken and ended, each debt is settled once whoever repeats it, and no bucket goes past its limit."""
    trial = Trial(fresh_database())
    root = debtor(trial, lent=40, limit=1000)
    trial.clock.instant += DAY
    revision = trial.revision()
    stop = threading.Event()

    def call(worker: int) -> int:
        connection = psycopg.connect(trial.url, autocommit=True, options="-c search_path=remit -c timezone=UTC")
        taken = 0
        with connection:
            for number in range(10_000):
                if stop.is_set():
                    return taken
                hold = trial.hold(root, 7, name=f"hold_{worker}_{number}")
                sent = (revision, trial.clock.now(), as_json([_hold_json(hold)]))
                row = connection.execute("SELECT take_holds(%s, %s, %s::jsonb)", sent).fetchone()
                assert row is not None
                if row[0]["results"][0]["taken"]:
                    taken += 1
                    said = as_json([{"id": hold.id, "outcome": "settled", "usd": 7, "tokens": 0, "entry": SETTLED}])
                    connection.execute("SELECT finish_holds(%s, %s::jsonb)", (trial.clock.now(), said))
        return taken

    with ThreadPoolExecutor(6) as pool:
        callers = [pool.submit(call, worker) for worker in range(3)]
        settlers = [
            pool.submit(
                lambda key: trial.care.settle_debt("grant_root", "day", 2, "repay", by="a", note=None, key=key),
                f"k{n % 20}",
            )
            for n in range(60)
        ]
        answers = [one.result() for one in settlers]
        stop.set()
        taken = sum(one.result() for one in callers)
    assert taken
    assert all(isinstance(answer, Settled) for answer in answers)
    assert trial.one("SELECT count(*) FROM entries WHERE settlement IS NOT NULL") == 20
    assert trial.owed() == trial.one("SELECT coalesce(sum(amount_nanousd), 0)::bigint FROM entries WHERE kind = 'overdraft'"
                                     " AND held_at >= '2026-03-31'")  # fmt: skip
    spent = trial.one(
        "SELECT sum(amount_nanousd)::bigint FROM entries WHERE kind = 'usage' AND held_at >= '2026-03-31'"
    )
    posted = trial.one("SELECT posted + overdraft_posted FROM buckets WHERE period_start = '2026-03-31T00:00Z'")
    assert posted == spent + 40
    assert posted <= 1050
    assert not [one for check in trial.ledger.checks() for one in check.differences]
    trial.close()


def test_what_is_repayable_is_the_least_of_three() -> None:
    """What is owed, what is old enough, what fits; never below zero."""
    line = repaying_line(terms_of_grant(grant("root", limits=(usd(100),))), "day", START)
    assert line is not None
    before, during = START - DAY, START
    account = [Lent(at=before, amount=30), Lent(at=during, amount=20)]
    assert repayable(account, line, used=0) == 30
    assert repayable(account, line, used=90) == 10
    assert repayable(account, line, used=140) == 0
    assert repayable([*account, Lent(at=during, amount=-25, is_settlement=True)], line, used=0) == 5
    assert repayable([*account, Lent(at=during, amount=-60, is_settlement=True)], line, used=0) == 0
    assert repayable([Lent(at=before, amount=30), Lent(at=during, amount=-20)], line, used=0) == 10


class Debtors(Simulation):
    """Tight limits, long overdrafts, and many midnights."""

    def __init__(self, trial: Trial) -> None:
        super().__init__(trial)
        prod = trial.grants["grant_prod"]
        limits = (usd(300), usd(1_500, "month"))
        trial.write(replace(prod, limits=limits, overdraft=Overdraft(max_nanousd=400), rate=Rate()))
        self.leaves = [prod]

    def edit_zone(self) -> None:
        # Debts and calendars together are in the other simulation; here the clock crosses a midnight instead.
        self.trial.clock.instant += DAY


@pytest.fixture(scope="module")
def seen() -> Counter[str]:
    """What all seeds together have met."""
    return Counter()


@pytest.mark.parametrize("seed", SEEDS)
def test_books_follow_the_oracle_through_debts(seed: int, seen: Counter[str]) -> None:
    """Calls, debts, settlements, evidence, limits and midnights in any order: every step as the oracle says."""
    trial = Trial(fresh_database(), 1000 + seed)
    try:
        simulation = Debtors(trial)
        simulation.run()
        seen.update(simulation.seen)
        seen["given back"] += trial.one("SELECT count(*) FROM entries WHERE settlement ? 'returns'")
        assert trial.one(
            "SELECT coalesce(sum(amount_nanousd), 0)::bigint FROM entries WHERE debtor_id IS NOT NULL"
        ) == sum(debt.outstanding for debt in trial.ledger.debts())
    finally:
        trial.close()


def test_the_simulation_met_debts(seen: Counter[str]) -> None:
    """A run that never settled proves nothing."""
    if len(SEEDS) < 4:
        pytest.skip("too few seeds to meet everything")
    wanted = {
        "repay", "forgive", "repaid in part", "repaid when due", "given back", "debt_no_debt", "debt_more_than_owed",
        "debt_period_not_over",
    }  # fmt: skip
    assert not {name for name in wanted if not seen[name]}
