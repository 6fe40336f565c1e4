"""Blocks of chains become known with a hold, within the children their parents may have; a proof is good for one hold."""

import asyncio
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from remit.grants.model import Grant, Limit
from remit.kernel.decisions import RefusalCode
from remit.leases.model import Chain, ChainBlock, NodeLimit, UsedProof, WantedHold
from remit.leases.ports import FullParent, ProofReplayed
from remit.leases.rules import refusal_of_hold
from remit.leases.terms import terms_of_grant
from remit.store.connect import connect
from remit.store.postgres_lessor import _hold_json
from remit.store.postgres_tree import PostgresTree
from tests.leases.trial import START, Trial, as_json, grant
from tests.store.database import fresh_database

LIFE = timedelta(minutes=10)


def usd(dollars: str) -> int:
    return int(Decimal(dollars) * 10**9)


@pytest.fixture
def trial() -> Iterator[Trial]:
    one = Trial(fresh_database())
    yield one
    one.close()


def block_id(name: str) -> str:
    return (name.encode().hex() + "0" * 64)[:64]


def chain(*names: str, children: int = 2, until: datetime = START + LIFE, amount: int | None = None) -> Chain:
    limits = () if amount is None else (NodeLimit("usd", amount, "once"),)
    return Chain("kid", START, tuple(ChainBlock(block_id(name), until, children, limits) for name in names))


def on(trial: Trial, leaf: Grant, blocks: Chain, proof: UsedProof | None = None) -> WantedHold:
    hold = trial.hold(leaf, usd("0.01"))
    ids = [block.id for block in blocks.blocks]
    return replace(hold, chain=blocks, proof=proof, entry={**hold.entry, "block_ids": ids})


def take(trial: Trial, *holds: WantedHold) -> list[dict[str, Any]]:
    answer = trial.call(
        trial.gateway,
        "SELECT take_holds(%s, %s, %s::jsonb)",
        trial.revision(),
        trial.clock.now(),
        as_json([_hold_json(hold) for hold in holds]),
    )
    return list(answer["results"])


def known(trial: Trial) -> set[str]:
    rows = trial.looking.execute("SELECT id FROM capability_blocks").fetchall()
    return {bytes.fromhex(row[0].rstrip("0").ljust(2, "0")).decode() for row in rows}


def root(trial: Trial, limit: str = "1.00") -> Grant:
    return trial.write(grant("acme", limits=(Limit("usd", usd(limit), "once"),)))


def test_a_block_becomes_known_with_the_first_hold_on_it(trial: Trial) -> None:
    """A hold that is taken makes its chain known, parents first; one that does not fit leaves no trace of it."""
    leaf = root(trial)
    assert take(trial, on(trial, leaf, chain("a", "b")))[0]["taken"]
    assert known(trial) == {"a", "b"}
    too_much = replace(on(trial, leaf, chain("a", "c")), ceiling_nanousd=usd("2"))
    too_much = replace(too_much, lines=tuple(replace(line, amount=usd("2")) for line in too_much.lines))
    assert not take(trial, too_much)[0]["taken"]
    assert known(trial) == {"a", "b"}
    parents = trial.looking.execute("SELECT count(*) FROM capability_blocks WHERE parent_id IS NOT NULL").fetchone()
    assert parents == (1,)
    trial.clock.instant += timedelta(seconds=5)
    assert take(trial, on(trial, leaf, chain("a", "d")))[0]["taken"]
    when = dict(trial.looking.execute("SELECT id, first_held_at FROM capability_blocks").fetchall())
    assert trial.looking.execute("SELECT DISTINCT issued_at FROM capability_blocks").fetchall() == [(START,)]
    assert (when[block_id("a")], when[block_id("d")]) == (START, START + timedelta(seconds=5))


def test_a_parent_has_no_more_living_children_than_it_may(trial: Trial) -> None:
    """The child after the last place is refused and says when a place will be free; known children go on."""
    leaf = root(trial)
    first, third = (on(trial, leaf, chain("a", name)) for name in ("b", "d"))
    second = on(trial, leaf, chain("a", "c", until=START + LIFE / 2))
    answers = take(trial, first, second, third)
    assert [one["taken"] for one in answers] == [True, True, False]
    assert answers[2]["full"] == {
        "block": block_id("a"),
        "max_children": 2,
        "living": 2,
        "next_at": (START + LIFE / 2).isoformat(),
    }
    assert take(trial, on(trial, leaf, chain("a", "b")))[0]["taken"]
    assert take(trial, on(trial, leaf, chain("a", "b", "e")))[0]["taken"], "a grandchild takes its own parent's place"
    trial.clock.instant += LIFE
    late = chain("a", "d", until=START + 2 * LIFE)
    assert take(trial, on(trial, leaf, late))[0]["taken"], "children that have expired take no place"


def revoke(trial: Trial, leaf: Grant, name: str) -> None:
    """Revokes a block that lives as long as those here do."""
    trial.authority.execute(
        "INSERT INTO revocations (id, kind, subject, grant_id, cut_streams, keep_until, tree_revision, revoked_at,"
        " revoked_by, reason) VALUES ('rev', 'block', %s, %s, false, %s, 1, %s, 'ana', 'test')",
        (block_id(name), leaf.id, START + LIFE, START),
    )


def test_gateways_hear_of_a_revocation_a_day_longer_than_its_block_lives(trial: Trial) -> None:
    """A gateway whose clock is set back after it read the tree does not take a revoked block for one that lives again."""
    revoke(trial, root(trial), "b")

    async def heard() -> list[str]:
        tree = PostgresTree(trial.url, clock=trial.clock)
        stored = await tree.read()
        await tree.close()
        return [one.subject for one in stored.revocations]

    trial.clock.instant += LIFE + timedelta(days=1)
    assert asyncio.run(heard()) == [block_id("b")]
    trial.clock.instant += timedelta(seconds=1)
    assert asyncio.run(heard()) == []


def test_a_revoked_child_takes_no_place(trial: Trial) -> None:
    """A child that was revoked is dead, and leaves its place to another."""
    leaf = root(trial)
    assert take(trial, on(trial, leaf, chain("a", "b", children=1)))[0]["taken"]
    assert not take(trial, on(trial, leaf, chain("a", "c", children=1)))[0]["taken"]
    revoke(trial, leaf, "b")
    assert take(trial, on(trial, leaf, chain("a", "c", children=1)))[0]["taken"]


@pytest.mark.parametrize("places", [1, 3])
def test_gateways_at_once_do_not_share_a_last_place(trial: Trial, places: int) -> None:
    """Of many gateways that bring a new child each at the same time, exactly as many get a place as there are."""
    leaf = root(trial, "100")
    taken: list[bool] = []
    revision = trial.revision()

    def gateway(number: int) -> None:
        hold = replace(on(trial, leaf, chain("a", f"child{number}", children=places)), id=f"hold_{number:026d}")
        with connect(trial.url, "remit_gateway") as connection:
            body = as_json([_hold_json(hold)])
            row = connection.execute(
                "SELECT take_holds(%s, %s, %s::jsonb)", (revision, trial.clock.now(), body)
            ).fetchone()
            assert row is not None
            taken.append(row[0]["results"][0]["taken"])

    threads = [threading.Thread(target=gateway, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(taken), taken.count(True)) == (8, places)


def test_a_place_is_the_parents_to_give(trial: Trial) -> None:
    """How many children there may be is what the parent says, not the child that wants to be one."""
    leaf = root(trial)

    def family(name: str, own: int) -> Chain:
        parent, child = chain("a", name).blocks
        return replace(chain("a"), blocks=(parent, replace(child, max_children=own)))

    holds = [on(trial, leaf, family(name, own)) for name, own in (("b", 0), ("c", 0), ("d", 64))]
    assert [one["taken"] for one in take(trial, *holds)] == [True, True, False]


def take_at_once(trial: Trial, first: WantedHold, second: WantedHold) -> list[dict[str, Any]]:
    """What two gateways are answered of which the second asks while the first one's transaction is not over."""
    answers: list[dict[str, Any]] = []

    def other() -> None:
        with connect(trial.url, "remit_gateway") as connection:
            body = as_json([_hold_json(second)])
            row = connection.execute(statement, (revision, trial.clock.now(), body)).fetchone()
            assert row is not None
            answers.extend(row[0]["results"])

    statement, revision = "SELECT take_holds(%s, %s, %s::jsonb)", trial.revision()
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    with trial.gateway.transaction():
        answers += take(trial, first)
        thread = threading.Thread(target=other)
        thread.start()
        while thread.is_alive() and not trial.one(waiting):
            thread.join(0.01)
    thread.join()
    return answers


def test_a_last_place_is_given_once_where_nothing_else_is_shared(trial: Trial) -> None:
    """Without any limit on the path two gateways have no bucket in common, and yet one of them waits for the other."""
    leaf = trial.write(grant("acme"))
    answers = take_at_once(trial, *(on(trial, leaf, chain("a", name, children=1)) for name in ("b", "c")))
    assert [(one["taken"], "full" in one) for one in answers] == [(True, False), (False, True)]


@pytest.mark.parametrize(("named", "cents"), [(False, 1), (True, 1), (True, 0)])
def test_a_bucket_that_the_same_batch_holds_on_stays(trial: Trial, named: bool, cents: int) -> None:
    """What one hold of a batch took is not removed with what another was refused, not even where it took nothing."""
    leaf = trial.write(grant("acme"))
    taken, refused = limited(trial, leaf, "x", cents=cents), limited(trial, leaf, "x", cents=51)
    answers = take(trial, taken if named else replace(taken, chain=None), refused)
    assert [one["taken"] for one in answers] == [True, False]
    assert buckets_of_blocks(trial) == {"x": cents}


@pytest.mark.parametrize("named", [True, False], ids=["named", "not named"])
def test_a_bucket_that_another_waits_for_is_not_lost(trial: Trial, named: bool) -> None:
    """Where a refused hold opened a bucket, one that waits to use it opens it anew and is counted in it, whatever it names."""
    leaf = trial.write(grant("acme"))
    refused, fits = limited(trial, leaf, "x", cents=51), limited(trial, leaf, "x")
    answers = take_at_once(trial, refused, fits if named else replace(fits, chain=None))
    assert [one["taken"] for one in answers] == [False, True]
    assert buckets_of_blocks(trial) == {"x": 1}


def test_a_proof_is_good_once_where_nothing_else_is_shared(trial: Trial) -> None:
    """Without a limit, and with a chain that is known, only the proof itself keeps two gateways from taking it both."""
    leaf = trial.write(grant("acme"))
    assert take(trial, on(trial, leaf, chain("a")))[0]["taken"]
    twice = [replace(on(trial, leaf, chain("a"), UsedProof(b"p" * 32, START + LIFE)), chain=None) for _ in range(2)]
    answers = take_at_once(trial, *twice)
    assert [(one["taken"], "replayed" in one) for one in answers] == [(True, False), (False, True)]


def test_a_proof_is_good_for_one_hold(trial: Trial) -> None:
    """The second hold on a proof is refused, in the same batch or later; one that was not taken leaves it unused."""
    leaf = root(trial)
    proof = UsedProof(b"p" * 32, START + LIFE)
    too_much = on(trial, leaf, chain("a"), proof)
    too_much = replace(too_much, lines=tuple(replace(line, amount=usd("2")) for line in too_much.lines))
    answers = take(trial, too_much, on(trial, leaf, chain("a"), proof), on(trial, leaf, chain("a"), proof))
    assert [(one["taken"], "replayed" in one) for one in answers] == [(False, False), (True, False), (False, True)]
    assert "replayed" in take(trial, on(trial, leaf, chain("a"), proof))[0]
    assert take(trial, on(trial, leaf, chain("a"), UsedProof(b"q" * 32, START + LIFE)))[0]["taken"]


def test_taking_a_hold_again_answers_as_the_first_time(trial: Trial) -> None:
    """The same hold sent twice is one hold, with its proof and its place: a lost answer costs its holder nothing."""
    leaf = root(trial)
    hold = on(trial, leaf, chain("a", "b", children=1), UsedProof(b"p" * 32, START + LIFE))
    assert [take(trial, hold)[0]["taken"], take(trial, hold)[0]["taken"]] == [True, True]


def limited(trial: Trial, leaf: Grant, *names: str, children: int = 2, cents: int = 1) -> WantedHold:
    """A hold on blocks that have $0.50 each."""
    limit = NodeLimit("usd", usd("0.50"), "once")
    for name in names:
        trial.blocks[block_id(name)] = (leaf.id, (limit,))
    hold = trial.hold(leaf, usd("0.01") * cents, blocks=[block_id(name) for name in names])
    return replace(hold, chain=chain(*names, children=children, amount=limit.amount))


def buckets_of_blocks(trial: Trial) -> dict[str, int]:
    """What is held on each bucket of a block there is, in cents."""
    rows = trial.looking.execute("SELECT node_id, held FROM buckets WHERE node_id NOT LIKE 'grant%'").fetchall()
    return {bytes.fromhex(row[0].rstrip("0").ljust(2, "0")).decode(): row[1] // usd("0.01") for row in rows}


@pytest.mark.parametrize("together", [True, False], ids=["one batch", "one by one"])
def test_a_hold_that_was_not_taken_leaves_no_bucket_of_a_block(trial: Trial, together: bool) -> None:
    """Whoever may hand on makes any number of blocks for nothing: one that no hold was taken on takes up no room here."""
    leaf = root(trial)
    proof = UsedProof(b"p" * 32, START + LIFE)
    holds = [
        replace(limited(trial, leaf, "a", "b", children=1), proof=proof),
        replace(limited(trial, leaf, "a", "b", "x"), proof=proof),
        limited(trial, leaf, "a", "c", children=1),
        limited(trial, leaf, "a", "b", "y", cents=51),
        limited(trial, leaf, "z", cents=51),
    ]
    answers = take(trial, *holds) if together else [take(trial, hold)[0] for hold in holds]
    assert [one["taken"] for one in answers] == [True, False, False, False, False]
    assert buckets_of_blocks(trial) == {"a": 1, "b": 1}
    assert not take(trial, limited(trial, leaf, "a", "b", cents=51))[0]["taken"]
    assert buckets_of_blocks(trial) == {"a": 1, "b": 1}, "what is known keeps its buckets"
    assert take(trial, limited(trial, leaf, "a", "b", "y"))[0]["taken"], "a block comes with a hold that fits"
    assert buckets_of_blocks(trial) == {"a": 2, "b": 2, "y": 1}


def test_a_bucket_in_use_stays_although_its_block_is_not_known(trial: Trial) -> None:
    """A bucket of a block from before blocks were recorded keeps what was charged to it, whatever is refused on it."""
    leaf = root(trial)
    assert take(trial, replace(limited(trial, leaf, "a", cents=30), chain=None))[0]["taken"]
    assert (known(trial), buckets_of_blocks(trial)) == (set(), {"a": 30})
    assert not take(trial, limited(trial, leaf, "a", cents=30))[0]["taken"]
    assert buckets_of_blocks(trial) == {"a": 30}


def sweep(trial: Trial) -> int:
    return int(trial.call(trial.authority, "SELECT drop_spent_blocks(%s)", trial.clock.now()))


def test_blocks_and_their_buckets_stay_while_they_live_and_a_day_longer(trial: Trial) -> None:
    """Neither is removed before the block's time was up for a day, nor while a hold on it is open; what was spent stays booked."""
    leaf = root(trial)
    name = block_id("a")
    trial.blocks[name] = (leaf.id, (NodeLimit("usd", usd("0.50"), "once"),))
    hold = trial.hold(leaf, usd("0.10"), blocks=[name])
    assert take(trial, replace(hold, chain=chain("a", amount=usd("0.50"))))[0]["taken"]
    trial.clock.instant += LIFE + timedelta(days=1)
    assert sweep(trial) == 0
    trial.clock.instant += timedelta(seconds=1)
    assert sweep(trial) == 0, "a hold on it is open"
    buckets = "SELECT count(*) FROM buckets WHERE node_id = %s"
    assert trial.one(buckets, name) == 1
    trial.call(
        trial.gateway,
        "SELECT finish_holds(%s, %s::jsonb)",
        trial.clock.now(),
        as_json(
            [
                {
                    "id": hold.id,
                    "outcome": "settled",
                    "usd": usd("0.04"),
                    "tokens": 0,
                    "entry": {"usage_source": "vendor"},
                }
            ]
        ),
    )
    assert sweep(trial) == 1
    assert (trial.one(buckets, name), known(trial)) == (0, set())
    assert trial.one("SELECT sum(amount_nanousd)::bigint FROM entries WHERE %s = ANY (block_ids)", name) == usd("0.04")


def test_a_chain_that_was_made_up_does_not_stop_upkeep(trial: Trial) -> None:
    """A block that a gateway said to outlive its parent stays until its own time is up; nothing else waits for it."""
    leaf = root(trial)
    for first, second in (("a", "b"), ("c", "d")):
        parent, child = chain(first, second).blocks
        made_up = replace(chain(first), blocks=(parent, replace(child, not_after=START + timedelta(days=30))))
        hold = on(trial, leaf, made_up if first == "a" else chain(first, second))
        assert take(trial, hold)[0]["taken"] and voided(trial, hold)
    trial.clock.instant += LIFE + timedelta(days=1, seconds=1)
    assert (sweep(trial), known(trial)) == (3, {"b"})
    trial.clock.instant += timedelta(days=30)
    assert (sweep(trial), known(trial)) == (1, set())


def voided(trial: Trial, hold: WantedHold) -> bool:
    """Ends a hold without a cost."""
    ending = as_json([{"id": hold.id, "outcome": "voided"}])
    trial.call(trial.gateway, "SELECT finish_holds(%s, %s::jsonb)", trial.clock.now(), ending)
    return True


def test_used_proofs_are_forgotten_when_they_are_too_old_to_be_accepted(trial: Trial) -> None:
    """A proof is remembered until its time is up, and no longer."""
    leaf = root(trial)
    assert take(trial, on(trial, leaf, chain("a"), UsedProof(b"p" * 32, START + timedelta(minutes=1))))[0]["taken"]
    trial.clock.instant += timedelta(minutes=1)
    sweep(trial)
    count = "SELECT count(*) FROM used_proofs"
    assert trial.one(count) == 1
    trial.clock.instant += timedelta(seconds=1)
    sweep(trial)
    assert trial.one(count) == 0


def test_why_a_chain_was_refused_is_said_with_its_numbers() -> None:
    """Too many children and a proof used before are refusals with code, node, numbers and whom to ask."""
    leaf = terms_of_grant(grant("acme"))
    full = refusal_of_hold(FullParent(block_id("a"), 2, 2, START), [leaf], leaf, now=START, renew_url=None)
    assert full.code is RefusalCode.policy_forbidden
    assert full.detail == (
        f"`acme#{block_id('a')[:12]}` may have 2 living children and has 2; "
        "the first of them expires at 2026-03-30T21:30:00Z; ask `ana@acme.example`"
    )
    assert (full.binding_node, full.extra) == (f"acme#{block_id('a')[:12]}", {"max_children": 2, "living_children": 2})
    replayed = refusal_of_hold(ProofReplayed(), [leaf], leaf, now=START, renew_url=None)
    assert (replayed.code, replayed.status) == (RefusalCode.proof_required, 401)
