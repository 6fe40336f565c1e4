"""Calls in suspense that statements settle, one version after the other, with the vendor's own price list and books as judge."""

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from typing import Any, Literal

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from remit.api.reconciling import ReconcileTerms, Reconciling
from remit.grants.model import Actor, Problem
from remit.grants.service import Authorship
from remit.ledger.months import Bill, Closed
from remit.ledger.service import check_books
from remit.reconcile.matching.from_facts import NOT_STATED
from remit.reconcile.matching.registry import Registered
from remit.reconcile.model import Imported
from remit.reconcile.statements.model import Options
from remit.reconcile.statements.raw import pack
from remit.store.postgres_statements import PostgresStatements
from remit.testing.vendor_reports.books import BookRow, exact_json
from remit.testing.vendor_reports.openai import openai_costs, openai_usage
from remit.testing.vendor_sim.prices import BilledTokens, PriceList, invoice_lines
from tests.leases.trial import Trial, grant, usd
from tests.store.database import fresh_database

MARCH = date(2026, 3, 1)
SINCE, UNTIL = datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 4, 1, tzinfo=UTC)
KINDS = ("input", "cache_read", "cache_write", "output")

End = Literal["plain", "broken", "crashed"]
Later = Literal["nothing", "answer", "usage", "amount"]
"""What becomes known of a call in suspense before its statement: the gateway's own late answer, or what a person brings."""


@dataclasses.dataclass(frozen=True)
class Call:
    """A call as it went: how it ended here, whether the vendor counts it, and what it used there."""

    end: End
    is_billed: bool
    model: Literal["sim-fractional", "sim-small"] = "sim-small"
    prompt: int = 100
    cached: int = 0
    output: int = 10
    day: int = 0
    later: Later = "nothing"


calls = st.builds(
    Call,
    end=st.sampled_from(["plain", "plain", "broken", "crashed"]),
    is_billed=st.booleans(),
    model=st.sampled_from(["sim-fractional", "sim-small"]),
    prompt=st.integers(40, 3_000),
    cached=st.integers(0, 40),
    output=st.integers(0, 300),
    day=st.integers(0, 1),
    later=st.sampled_from(["nothing", "nothing", "nothing", "answer", "usage", "amount"]),
)


class Desk:
    """A gateway's calls, the vendor's books of them, and one person of finance."""

    def __init__(self) -> None:
        self.trial = Trial(fresh_database())
        root = self.trial.write(grant("root", limits=(usd(10**15),)))
        self.leaves = [self.trial.write(grant(name, root)) for name in ("search", "mail")]
        self.opens = self.trial.care._connect
        ours = Registered(vendor="openai", deployment="openai", project="proj-1", key_id="key-1")
        terms = ReconcileTerms(registered=[ours])
        self.reconciling = Reconciling(self.trial.url, self.opens, self.trial.clock, terms, "command")
        self.books: list[BookRow] = []
        self.made = 0
        self.first_day = 1

    def at(self, day: int, hour: int, month: int = 3) -> None:
        self.trial.clock.instant = datetime(2026, month, day, hour, tzinfo=UTC)  # type: ignore[misc]

    def by(self) -> Authorship:
        self.made += 1
        return Authorship(actor=Actor("fin@acme.example", is_admin=True), reason="r", idempotency_key=f"k{self.made}")

    def run(self, round_of: list[Call], hour: int = 9) -> None:
        """Calls at one hour of their days; of those whose gateway died the sweeper hears when their time is up."""
        for day in (0, 1):
            self.at(self.first_day + day, hour)
            taken = [(one, self.call(one)) for one in round_of if one.day == day]
            self.trial.clock.instant += timedelta(seconds=601)  # type: ignore[misc]
            self.trial.care.expire_holds()
            for one, hold_id in taken:
                if one.end != "plain" and one.later != "nothing":
                    self.later(one, hold_id)

    def call(self, one: Call) -> str:
        self.made += 1
        leaf = self.leaves[self.made % 2]
        most = {"input": 4_000, "output": 320}
        lines = [
            line
            for line in priced(one.model, BilledTokens(prompt_tokens=4_000, completion_tokens=320))
            if line["units"]
        ]
        hold = self.trial.hold(leaf, sum(line["amount_nanousd"] for line in lines), sum(most.values()))
        entry = {**hold.entry, "model_requested": one.model, "price_lines": lines}
        self.trial.take(hold := dataclasses.replace(hold, entry=entry))
        if one.is_billed or one.end == "plain":
            self.bill(one)
        if one.end == "plain":
            self.finish(hold.id, one)
        elif one.end == "broken":
            note = (
                "cost unknown: status 500"
                if not one.is_billed
                else "cost unknown: the vendor's stream ended without `[DONE]`"
            )
            said = {"usage_source": "estimated", "note": note, "price_lines": lines}
            ending = {"id": hold.id, "outcome": "suspense", "usd": 0, "tokens": 0, "entry": said}
            self.end(ending, "suspense")
        return hold.id

    def bill(self, one: Call) -> None:
        lines = {line["kind"]: line for line in priced(one.model, tokens_of(one))}
        self.books.append(
            BookRow(
                at=self.trial.clock.now(),
                model=one.model,
                used={kind: line["units"] for kind, line in lines.items()},
                costs_nanousd={kind: line["amount_nanousd"] for kind, line in lines.items()},
                id=f"chatcmpl-{self.made}",
            )
        )

    def finish(self, hold_id: str, one: Call, outcome: str = "settled") -> None:
        """The vendor's usage, as the gateway read it."""
        lines = priced(one.model, tokens_of(one))
        usage = {f"{line['kind']}_tokens": line["units"] for line in lines}
        entry = {
            "usage": usage,
            "price_lines": lines,
            "usage_source": "vendor",
            "model_served": one.model,
            "tier": "default",
        }
        amount, tokens = sum(line["amount_nanousd"] for line in lines), sum(usage.values())
        self.end({"id": hold_id, "outcome": "settled", "usd": amount, "tokens": tokens, "entry": entry}, outcome)

    def later(self, one: Call, hold_id: str) -> None:
        if one.later == "answer":
            if one.is_billed:
                self.finish(hold_id, one, "corrected")
            else:
                self.end({"id": hold_id, "outcome": "voided", "usd": 0, "tokens": 0, "entry": {}}, "corrected")
            return
        amount, tokens, entry = 0, 0, {"usage_source": "vendor", "note": f"by hand (from s.csv by fin), {NOT_STATED}"}
        if one.is_billed:
            lines = priced(one.model, tokens_of(one))
            amount, tokens = sum(line["amount_nanousd"] for line in lines), sum(line["units"] for line in lines)
            entry["note"] = "by hand (from s.csv by fin), line 2"
            if one.later == "usage":
                entry["usage"] = {f"{line['kind']}_tokens": line["units"] for line in lines}
        assert self.trial.care.apply_evidence(
            [{"hold_id": hold_id, "usd": amount, "tokens": tokens, "entry": entry}]
        ) == ["corrected"]

    def end(self, ending: dict[str, Any], outcome: str) -> None:
        said = msgspec.json.encode([ending]).decode()
        (answer,) = self.trial.call(
            self.trial.gateway, "SELECT finish_holds(%s, %s::jsonb)", self.trial.clock.now(), said
        )
        assert answer["outcome"] == outcome, answer

    def bring(self, *, is_over: bool = True) -> None:
        """The next version of the vendor's usage and costs, as its API gives them: once the month is over, and all is stated, or before."""
        now = self.trial.clock.now()
        if is_over:
            self.at(2, 0, month=4)
        groups = ["project_id", "api_key_id"]
        reports = {
            "openai.usage_completions": openai_usage(self.books, SINCE, UNTIL, [*groups, "model", "service_tier"]),
            "openai.costs": openai_costs(self.books, SINCE, UNTIL, [*groups, "line_item"]),
        }
        statements = PostgresStatements(self.opens, self.trial.clock, "command")
        for source, data in reports.items():
            body = exact_json({"object": "page", "data": data, "has_more": False, "next_page": None})
            options = Options(since=SINCE, until=UNTIL, is_final=True)
            self.made += 1
            answer = statements.take_in(pack([body]), source, options, by="fin", reason="r", key=f"s{self.made}")
            assert isinstance(answer, Imported), answer
        self.trial.clock.instant = now

    def resolve(self) -> int:
        """`remit reconcile match --resolve`."""
        found = self.reconciling.compared(MARCH, "openai", (), ())
        assert not isinstance(found, Problem), found
        return self.reconciling.resolve(found.resolutions, self.by())

    def assert_all_is_said(self) -> None:
        """Nothing is in suspense, the ledger is the vendor's books, and nothing is left to explain, not even a count."""
        ledger = self.trial.ledger
        assert ledger.unresolved_suspense() == []
        owed = sum(sum(row.costs_nanousd.values()) for row in self.books)
        assert ledger.total_nanousd(None, None) == owed
        kept = self.reconciling.match(MARCH, "openai", (), (), self.by())
        assert not isinstance(kept, Problem), kept
        assert self.reconciling.books.drift(kept.id) == []
        assert (kept.unexplained_nanousd, kept.entries, kept.ledger_nanousd) == (0, 0, owed)

    def assert_month_closes(self) -> None:
        """At the bill, with nothing to decide."""
        self.at(3, 9, month=4)
        owed = sum(sum(row.costs_nanousd.values()) for row in self.books)
        bill = Bill(vendor="openai", invoice_id="INV-1", total_nanousd=owed)
        kept = self.reconciling.match(MARCH, "openai", [bill], (), self.by())
        assert not isinstance(kept, Problem) and kept.findings == 0, kept
        closed = self.reconciling.close(MARCH, (), self.by())
        assert isinstance(closed, Closed), closed
        results = check_books(self.trial.ledger)
        assert not [difference for one in results for difference in one.differences]


class Desks:
    """A desk of a month, for one test after the other, each with days of its own. After a failure it is another one."""

    def __init__(self) -> None:
        self.desk: Desk | None = None

    @contextmanager
    def take(self) -> Iterator[Desk]:
        desk, self.desk = self.desk or Desk(), None
        try:
            yield desk
            desk.first_day += 2
            if desk.first_day < 30:
                self.desk = desk
        finally:
            if self.desk is None:
                desk.trial.close()


@pytest.fixture(scope="module")
def desks() -> Iterator[Desks]:
    found = Desks()
    yield found
    if found.desk is not None:
        found.desk.trial.close()


def tokens_of(one: Call) -> BilledTokens:
    return BilledTokens(prompt_tokens=one.prompt, cached_tokens=one.cached, completion_tokens=one.output)


def priced(model: str, tokens: BilledTokens) -> list[dict[str, Any]]:
    """The vendor's own lines, as a ledger that agrees with it has them."""
    rate = PriceList.default().models[model].rate("default", tokens.prompt_tokens)
    plain = tokens.prompt_tokens - tokens.cached_tokens - tokens.cache_write_tokens
    units = (plain, tokens.cached_tokens, tokens.cache_write_tokens, tokens.completion_tokens)
    prices = (rate.input, rate.cached_input, rate.cache_write, rate.output)
    return [
        {"kind": kind, "units": count, "price_nanousd_per_million": price, "amount_nanousd": amount}
        for kind, count, price, amount in zip(KINDS, units, prices, invoice_lines(rate, tokens), strict=True)
    ]


PLAIN, BROKEN = Call("plain", is_billed=True), Call("broken", is_billed=True, prompt=300)
UNBILLED = Call("broken", is_billed=False)


@settings(
    max_examples=4, phases=(Phase.explicit, Phase.generate), suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@example(rounds=[[PLAIN, BROKEN, BROKEN], [PLAIN, UNBILLED, UNBILLED], [BROKEN, UNBILLED, PLAIN]])
@example(rounds=[[UNBILLED, PLAIN], [dataclasses.replace(BROKEN, later="amount")], [BROKEN, UNBILLED, BROKEN]])
@given(rounds=st.lists(st.lists(calls, min_size=1, max_size=7), min_size=2, max_size=4))
def test_each_version_of_a_statement_settles_what_is_new(desks: Desks, rounds: list[list[Call]]) -> None:
    """Calls, a statement, more calls of the same days and models, its next version: after each nothing is open and nothing differs."""
    with desks.take() as desk:
        for hour, round_of in enumerate(rounds, 9):
            desk.run([PLAIN, *round_of], hour)
            waiting = len(desk.trial.ledger.unresolved_suspense())
            desk.bring()
            assert desk.resolve() == waiting
            desk.assert_all_is_said()


def test_what_may_still_be_stated_waits(desks: Desks) -> None:
    """Before the month is over a call that the vendor does not have is settled at nothing once it states a later day, and not before."""
    with desks.take() as desk:
        desk.run([PLAIN, BROKEN, UNBILLED])
        desk.bring(is_over=False)
        assert desk.resolve() == 0
        desk.run([dataclasses.replace(PLAIN, day=1)], 11)
        desk.bring(is_over=False)
        assert desk.resolve() == 2
        desk.assert_all_is_said()


def test_the_month_closes_at_its_bill(desks: Desks) -> None:
    """What was settled once is not settled again, and the books agree to the nano-dollar, with a bill and without."""
    with desks.take() as desk:
        desk.run([PLAIN, BROKEN, UNBILLED, BROKEN])
        desk.bring()
        assert (desk.resolve(), desk.resolve()) == (3, 0)
        desk.assert_all_is_said()
        desk.assert_month_closes()
        desk.first_day = 30


def test_a_call_that_turns_out_to_be_billed_is_found(desks: Desks) -> None:
    """What a statement did not have was settled at nothing; where a later version has it, it is a billed attempt, to be booked."""
    with desks.take() as desk:
        desk.run([PLAIN, BROKEN, PLAIN])
        late = desk.books.pop(-2)
        desk.bring()
        assert desk.resolve() == 1
        desk.assert_all_is_said()
        desk.books.append(late)
        desk.bring()
        kept = desk.reconciling.match(MARCH, "openai", (), (), desk.by())
        assert not isinstance(kept, Problem), kept
        (found,) = desk.reconciling.books.drift(kept.id)
        assert (found.cause, found.outcome) == ("retry_billed", "adjustment")
        assert found.amount_nanousd == sum(late.costs_nanousd.values()) == kept.proposed_nanousd
        desk.first_day = 30


@pytest.mark.parametrize("later", ["nothing", "amount"])
def test_tokens_are_those_of_the_statement_or_stay_at_the_ceiling(desks: Desks, later: Later) -> None:
    """Shares of tokens are exact in sum, so limits on tokens are; where a statement says no tokens, none are given back."""
    with desks.take() as desk:
        before = sum(sum(row.used.values()) for row in desk.books)
        desk.run([PLAIN, dataclasses.replace(BROKEN, later=later), BROKEN, UNBILLED])
        desk.bring()
        desk.resolve()
        desk.assert_all_is_said()
        used = sum(sum(row.used.values()) for row in desk.books) - before
        booked = desk.trial.one(
            "SELECT sum(tokens) FROM entries WHERE held_at >= %s", datetime(2026, 3, desk.first_day, tzinfo=UTC)
        )
        assert booked == (used if later == "nothing" else 110 + 310 + 2 * 4_320)
