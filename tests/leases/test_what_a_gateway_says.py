"""A gateway's login is all it takes to call these functions: what they are told is not believed where it would lower the books."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from remit.leases.model import WantedHold
from remit.store.connect import connect
from remit.store.postgres_lessor import _hold_json
from remit.store.postgres_revocations import PostgresRevocations
from tests.leases.trial import SETTLED, Trial, as_json, grant, usd
from tests.store.database import fresh_database

IDENTITY = {
    "grant_id": "grant_other", "grant_path": "other", "node_ids": ["grant_other"], "block_ids": ["block"],
    "class": "experimentation", "owner": "mallory@acme.example", "tags": {"team": "other"}, "tag_conflicts": {},
    "vendor": "other", "deployment": "other", "model_requested": "other", "policy_version": 7, "decision_id": "dec_7",
    "held_at": "2020-01-01T00:00:00Z", "request_id": "req_7", "operation_id": "op_7", "hold_id": "hold_7",
    "id": "entry_7", "amount_nanousd": 0, "tokens": 0, "requests": 0, "debtor_id": "grant_root", "debt_period": "day",
    "corrects": "entry_7", "recorded_at": "2020-01-01T00:00:00Z", "entry_hash": "", "seq": 1, "no_such_column": 1,
}  # fmt: skip


@pytest.fixture(scope="module")
def trial() -> Iterator[Trial]:
    """A grant that has spent 50 and may spend a lot more."""
    made = Trial(fresh_database())
    root = made.write(grant("root", limits=(usd(1_000_000),)))
    made.take(spent := made.hold(root, 50))
    made.settle(spent.id, 50)
    yield made
    made.check(everything=True)
    made.close()


@pytest.fixture
def hold(trial: Trial) -> WantedHold:
    """An open hold of 100 nano-USD and 10 tokens."""
    wanted = trial.hold(trial.grants["grant_root"], 100, 10)
    assert trial.take(wanted) == [True]
    return wanted


def finish(trial: Trial, **ending: Any) -> None:
    trial.call(trial.gateway, "SELECT finish_holds(%s, %s::jsonb)", trial.clock.now(), as_json([ending]))


def posted(trial: Trial) -> int:
    return int(trial.one("SELECT posted + overage FROM buckets"))


AMOUNTS: list[dict[str, Any]] = [
    {"usd": -1, "tokens": 0},
    {"usd": 0, "tokens": -1},
    {"usd": None, "tokens": 0},
    {"usd": 0, "tokens": None},
    {"usd": 0},
    {"tokens": 0},
]


@pytest.mark.parametrize("amounts", AMOUNTS)
def test_a_cost_below_zero_or_without_number_is_not_booked(
    trial: Trial, hold: WantedHold, amounts: dict[str, Any]
) -> None:
    """Neither settles a hold, and what is posted stays."""
    before = posted(trial)
    with pytest.raises(psycopg.errors.CheckViolation):
        finish(trial, id=hold.id, outcome="settled", entry=SETTLED, **amounts)
    assert posted(trial) == before
    assert trial.settle(hold.id, 3) == "settled"
    assert posted(trial) == before + 3


@pytest.mark.parametrize("amounts", AMOUNTS)
def test_nor_does_it_correct_what_is_in_suspense(trial: Trial, hold: WantedHold, amounts: dict[str, Any]) -> None:
    """A late answer and a statement are held to the same."""
    trial.finish((hold.id, "suspense", 0, 0))
    before = posted(trial)
    with pytest.raises(psycopg.errors.CheckViolation):
        finish(trial, id=hold.id, outcome="settled", entry=SETTLED, **amounts)
    with pytest.raises(psycopg.errors.CheckViolation):
        trial.call(
            trial.authority, "SELECT apply_evidence(%s, %s::jsonb)", trial.clock.now(),
            as_json([{"hold_id": hold.id, "entry": SETTLED, **amounts}]),
        )  # fmt: skip
    assert posted(trial) == before
    assert trial.evidence((hold.id, 1, 1)) == ["corrected"]


@pytest.mark.parametrize("column", sorted(IDENTITY))
def test_an_ending_says_nothing_about_whose_call_it_was(trial: Trial, hold: WantedHold, column: str) -> None:
    """Columns that are fixed when the hold is taken, or that the ledger writes itself, are refused in every ending."""
    said = {**SETTLED, column: IDENTITY[column]}
    for outcome in ("settled", "suspense"):
        with pytest.raises(psycopg.errors.CheckViolation):
            finish(trial, id=hold.id, outcome=outcome, usd=1, tokens=1, entry=said)
    assert trial.finish((hold.id, "suspense", 0, 0)) == ["suspense"]
    with pytest.raises(psycopg.errors.CheckViolation):
        finish(trial, id=hold.id, outcome="settled", usd=1, tokens=1, entry=said)
    assert trial.settle(hold.id, 1) == "corrected"


def test_an_ending_says_how_the_call_went(trial: Trial, hold: WantedHold) -> None:
    """What only the vendor's answer tells is taken over."""
    said = {
        "model_served": "sim-dime-2", "tier": "flex", "usage": {"input": 1}, "price_lines": [], "price_source": "list",
        "usage_source": "vendor", "vendor_request_id": "req_v", "note": "as asked",
    }  # fmt: skip
    finish(trial, id=hold.id, outcome="settled", usd=1, tokens=1, entry=said)
    trial.oracle.holds[hold.id] = replace(
        trial.oracle.holds[hold.id], state="settled", actual={"usd": 1, "tokens": 1, "requests": 1}
    )
    written = trial.one("SELECT to_jsonb(e) FROM entries AS e WHERE hold_id = %s", hold.id)
    assert {name: written[name] for name in said} == said


def test_prices_of_a_ceiling_explain_only_what_is_booked_at_it(trial: Trial) -> None:
    """Suspense shows the lines the hold was taken with; settled and corrected calls show theirs, or none."""
    ceiling, settled = [{"kind": "output", "units": 9}], [{"kind": "output", "units": 1}]
    plain = [trial.hold(trial.grants["grant_root"], 9) for _ in range(3)]
    priced, free, lost = (replace(one, entry={**one.entry, "price_lines": ceiling}) for one in plain)
    trial.take(priced, free, lost)
    finish(trial, id=priced.id, outcome="settled", usd=1, tokens=0, entry={**SETTLED, "price_lines": settled})
    trial.oracle.holds[priced.id].state = "settled"
    trial.oracle.holds[priced.id].actual = {"usd": 1, "tokens": 0, "requests": 1}
    trial.settle(free.id, 12)
    trial.finish((lost.id, "suspense", 0, 0))
    trial.evidence((lost.id, 2, 0))
    found = "SELECT jsonb_object_agg(kind, coalesce(price_lines, 'null')) FROM entries WHERE hold_id = %s"
    assert trial.one(found, priced.id) == {"usage": settled}
    assert trial.one(found, free.id) == {"usage": None, "overage": None}
    assert trial.one(found, lost.id) == {"suspense": ceiling, "correction": None}


@pytest.mark.parametrize("change", ["line", "missing", "ceiling_nanousd", "ceiling_tokens"])
def test_a_hold_below_zero_is_not_taken(trial: Trial, change: str) -> None:
    """It would free what others hold."""
    body = _hold_json(trial.hold(trial.grants["grant_root"], 5, 5))
    if change in ("line", "missing"):
        body["lines"][0]["amount"] = -5 if change == "line" else None
    else:
        body[change] = -1
    held = trial.one("SELECT held FROM buckets")
    with pytest.raises(psycopg.errors.CheckViolation):
        trial.call(
            trial.gateway, "SELECT take_holds(%s, %s, %s::jsonb)", trial.revision(), trial.clock.now(), as_json([body])
        )
    assert trial.one("SELECT held FROM buckets") == held


@pytest.mark.parametrize("column", ["debtor_id", "corrects", "kind", "amount_nanousd", "no_such_column"])
def test_a_hold_says_nothing_about_its_end(trial: Trial, column: str) -> None:
    """What could keep its entry from being written is refused while nothing was sent, not found by the sweeper."""
    wanted = trial.hold(trial.grants["grant_root"], 5, seconds=1)
    body = _hold_json(replace(wanted, entry={**wanted.entry, column: "x"}))
    with pytest.raises(psycopg.errors.CheckViolation):
        trial.call(
            trial.gateway, "SELECT take_holds(%s, %s, %s::jsonb)", trial.revision(), trial.clock.now(), as_json([body])
        )


@pytest.mark.parametrize("kind", ["usage", "suspense", "overage", "overdraft"])
def test_no_spend_is_below_zero_whoever_writes_it(trial: Trial, hold: WantedHold, kind: str) -> None:
    """The table itself refuses it, also from the owner of the functions."""
    trial.looking.execute("SET ROLE remit_owner")
    debt = {"debtor_id": "grant_root", "debt_period": "day"} if kind == "overdraft" else {}
    for column in ("amount_nanousd", "tokens"):
        said = {"kind": kind, "amount_nanousd": 0, "tokens": 0, "requests": 0, **SETTLED, **debt, column: -1}
        with pytest.raises(psycopg.errors.CheckViolation, match="no_negative_usage"):
            trial.looking.execute(
                "SELECT append_entry(h, %s::jsonb, '_x', %s) FROM holds AS h WHERE id = %s",
                (as_json(said), trial.clock.now() + timedelta(seconds=1), hold.id),
            )
    trial.looking.execute("RESET ROLE")
    trial.void(hold.id)


def said_of_blocks(*blocks: dict[str, Any]) -> dict[str, Any]:
    """A chain as a gateway names it, each block with what is usual where nothing else is said."""
    usual = {"id": "a" * 64, "not_after": "2026-05-01T00:00:00Z", "max_children": 2, "limits": []}
    return {"kid": "kid", "issued_at": "2026-03-01T00:00:00Z", "blocks": [{**usual, **block} for block in blocks]}


def take_with(trial: Trial, hold: WantedHold, **more: Any) -> dict[str, Any]:
    """The answer for one hold with more than gateways say."""
    body = as_json([{**_hold_json(hold), **more}])
    query = "SELECT take_holds(%s, %s, %s::jsonb)"
    answer = trial.call(trial.gateway, query, trial.revision(), trial.clock.now(), body)
    return dict(answer["results"][0])


@pytest.mark.parametrize(
    "more",
    [
        {"chain": said_of_blocks({"id": "grant_root"})},
        {"chain": said_of_blocks({"id": "A" * 64})},
        {"chain": said_of_blocks({"max_children": -1})},
        {"chain": said_of_blocks({"not_after": None})},
        {"chain": said_of_blocks({"max_children": None})},
        {"chain": said_of_blocks({}, {})},
        {"chain": {"kid": "kid", "blocks": {}}},
        {"proof": {"id": "aa", "expires_at": "2026-05-01T00:00:00Z"}},
        {"proof": {"id": None, "expires_at": "2026-05-01T00:00:00Z"}},
        {"proof": {"id": "ab" * 32, "expires_at": None}},
    ],
    ids=str,
)
def test_what_is_no_chain_and_no_proof_takes_no_hold(trial: Trial, more: dict[str, Any]) -> None:
    """A hold with a chain or a proof that cannot be kept is not taken, and leaves nothing behind."""
    hold = trial.hold(trial.grants["grant_root"], 1)
    before = trial.looking.execute("SELECT posted, held FROM buckets").fetchall()
    with pytest.raises(psycopg.Error):
        take_with(trial, hold, **more)
    assert trial.looking.execute("SELECT posted, held FROM buckets").fetchall() == before
    assert trial.one("SELECT (SELECT count(*) FROM capability_blocks) + (SELECT count(*) FROM used_proofs)") == 0
    assert trial.one("SELECT count(*) FROM holds WHERE id = %s", hold.id) == 0


def test_a_refused_chain_takes_no_bucket_of_a_grant_along() -> None:
    """A hold that is refused and names grants for blocks, or blocks of others, removes no bucket of theirs."""
    trial = Trial(fresh_database())
    unused = trial.write(grant("unused", limits=(usd(100),)))
    assert trial.take(hold := trial.hold(unused, 1)) == [True]
    assert trial.void(hold.id) == "voided"
    chain = said_of_blocks({"id": "grant_unused"})
    assert not take_with(trial, trial.hold(unused, 101), chain=chain)["taken"]
    assert trial.one("SELECT count(*) FROM buckets WHERE node_id = 'grant_unused'") == 1
    trial.close()


def test_what_is_known_of_a_block_is_not_said_anew() -> None:
    """A block that is known keeps its parent, its time and its number of children, whatever a later hold says of it."""
    trial = Trial(fresh_database())
    root = trial.write(grant("root", limits=(usd(100),)))
    child = {"id": "b" * 64}
    assert take_with(trial, trial.hold(root, 1), chain=said_of_blocks({}, child))["taken"]
    known = "SELECT id, parent_id, grant_id, kid, issued_at, not_after, max_children, limits FROM capability_blocks"
    before = trial.looking.execute(f"{known} ORDER BY id").fetchall()
    other = {"not_after": "1970-01-01T00:00:00Z", "max_children": 99, "limits": [{"amount": 1}]}
    again = {**said_of_blocks({**child, **other}, {**other, "id": "a" * 64}), "kid": "other"}
    assert take_with(trial, trial.hold(root, 1), chain=again)["taken"]
    assert trial.looking.execute(f"{known} ORDER BY id").fetchall() == before
    trial.close()


def test_a_revocation_outlives_what_a_gateway_said_of_the_block() -> None:
    """A gateway that says a living block is over does not make its revocation end early: the first block's time counts."""
    trial = Trial(fresh_database())
    root = trial.write(grant("root", limits=(usd(100),)))
    child = {"id": "b" * 64, "not_after": "1970-01-01T00:00:00Z"}
    assert take_with(trial, trial.hold(root, 1), chain=said_of_blocks({}, child))["taken"]
    known = PostgresRevocations(lambda: connect(trial.url, "remit_authority")).block("b" * 64)
    assert known is not None and known.not_after == datetime(2026, 5, 1, tzinfo=UTC)
    trial.close()
