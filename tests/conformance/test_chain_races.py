"""Descendants of one chain at two gateways at once: no block, parent or grant is passed, judged by the vendor's books."""

import os
import random
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from remit.capabilities.model import Delegate, Limit
from tests.conformance.chains import block_ids, capability, child
from tests.conformance.support import DIME, ask, ask_many, codes, dime, open_stream
from tests.system.harness import System, another_gateway, gateway_answers, root


@pytest.fixture(scope="module")
def pair() -> Iterator[tuple[System, tuple[int, int]]]:
    """A Remit that ends holds soon, and the ports of its two gateways."""
    gateway = {"request_seconds": 6.0, "hold_seconds": 8.0}
    with System(gateway=gateway) as system, another_gateway(system) as other:
        yield system, (system.port, other)


@pytest.fixture
def org(pair: tuple[System, tuple[int, int]]) -> str:
    """The name of a grant of $2.00 that nobody used, at a vendor with empty books."""
    system, _ = pair
    system.vendor.release()
    system.vendor.wait_idle()
    system.vendor.script(latency_ms=5, latency_max_ms=60)
    system.vendor.reset()
    name = f"org{os.urandom(4).hex()}"
    system.apply({name: root("2.00")})
    return name


def billed(system: System) -> Counter[str]:
    """What the vendor charged for calls of each block, in dimes: holds say whose call it was."""
    found: Counter[str] = Counter()
    for row in system.vendor.rows():
        ((blocks,),) = system.sql("SELECT entry -> 'block_ids' FROM holds WHERE id = %s", row.idempotency_key)
        found.update(dict.fromkeys(blocks, row.amount_nanousd // DIME))
    return found


def test_no_block_is_passed_whatever_its_descendants_do(pair: tuple[System, tuple[int, int]], org: str) -> None:
    """A family of chains, new and known, under load at both gateways: each block's limit holds, and the parent's is used up."""
    system, ports = pair
    top = child(capability(system, org), 11)
    branches = [child(top, dimes) for dimes in (3, 4, 9)]
    family = [top, *branches, *(child(branch, dimes) for branch in branches for dimes in (1, 2, 8))]
    limits = {block_ids(token)[-1]: dimes for token, dimes in zip(family, (11, 3, 4, 9, *(1, 2, 8) * 3), strict=True)}
    dice = random.Random(14)
    asked = [(dice.choice(family), dice.choice(ports), dice.choice((1, 1, 2))) for _ in range(160)]
    answers = ask_many(
        160, lambda number: ask(system, asked[number][0], dime(asked[number][2]), port=asked[number][1]), at_once=24
    )
    assert codes(answers).keys() == {"served", "grant_exhausted"}
    spent = billed(system)
    assert {block: spent[block] for block, limit in limits.items() if spent[block] > limit} == {}
    while codes([ask(system, family[-1], dime(), port=port) for port in ports]).get("served"):
        pass
    assert ask(system, child(top), dime(12)).code == "grant_exhausted", "a call larger than the block"
    system.reconcile_with_vendor(org)
    rows = system.sql("SELECT node_id, posted FROM buckets WHERE node_id = ANY (%s)", list(limits))
    spent = billed(system)
    assert {block: posted // DIME for block, posted in rows} == {block: spent[block] for block, _ in rows}


@pytest.mark.parametrize(
    ("limit", "served"),
    [
        (Limit("requests", 5, "once"), 5),
        (Limit("requests", 5, "day"), 5),
        (Limit("usd", 5 * DIME, "month"), 5),
        (Limit("usd", 5 * DIME, "quarter"), 5),
        # Held at a bound of the input besides, so how many fit at once depends on how soon others are settled.
        (Limit("tokens", 120, "week"), None),
    ],
    ids=lambda value: f"{value.dimension} per {value.period}" if isinstance(value, Limit) else "",
)
def test_every_dimension_and_period_of_a_block_binds(
    pair: tuple[System, tuple[int, int]], org: str, limit: Limit, served: int | None
) -> None:
    """Siblings that were never seen before share their parent's limit exactly, in whatever it is counted."""
    system, ports = pair
    if limit.period == "day" and datetime.now(UTC).strftime("%H%M") == "2359":
        pytest.skip("the day ends within this test")
    parent = child(capability(system, org), limits=(limit,))
    answers = ask_many(20, lambda number: ask(system, child(parent), dime(), port=ports[number % 2]))
    assert codes(answers).keys() == {"served", "grant_exhausted"}
    if served is not None:
        assert codes(answers)["served"] == served
    ((posted,),) = system.sql("SELECT posted FROM buckets WHERE node_id = %s", block_ids(parent)[1])
    rows = system.vendor.rows()
    used = {
        "usd": sum(row.amount_nanousd for row in rows),
        "tokens": sum(row.prompt_tokens + row.completion_tokens for row in rows),
        "requests": len(rows),
    }[limit.dimension]
    assert posted == used <= limit.amount
    system.reconcile_with_vendor(org)


def test_children_race_for_their_parents_places(pair: tuple[System, tuple[int, int]], org: str) -> None:
    """Of new children at both gateways at once as many get in as there are places; those keep theirs, at either gateway."""
    system, ports = pair
    parent = child(capability(system, org), delegate=Delegate(3, 3, 600))
    children = [child(parent) for _ in range(12)]
    answers = ask_many(24, lambda number: ask(system, children[number // 2], dime(), port=ports[number % 2]))
    assert {answer.code for answer in answers} == {"served", "policy_forbidden"}
    inside = [one for one, at in zip(children, zip(answers[::2], answers[1::2], strict=True), strict=True)
              if "served" in {answer.code for answer in at}]  # fmt: skip
    assert len(inside) == 3
    assert codes([ask(system, one, dime(), port=port) for one in inside for port in ports]) == {"served": 6}
    ((known,),) = system.sql("SELECT count(*) FROM capability_blocks WHERE parent_id = %s", block_ids(parent)[-1])
    assert known == 3
    system.reconcile_with_vendor(org)


def test_a_killed_gateway_frees_nothing_of_a_chain(pair: tuple[System, tuple[int, int]], org: str) -> None:
    """Calls of chains whose gateway died count at their ceiling in every block, until the vendor's statement corrects them."""
    system, ports = pair
    parent = child(capability(system, org), 6)
    first = child(parent, 4)
    assert ask(system, first, dime(), port=ports[1]).code == "served"
    system.vendor.script(latency_ms=1500)
    lost = [open_stream(system, first, dime()) for _ in range(3)]
    while system.open_holds() < len(lost):
        time.sleep(0.01)
    system.kill_gateway()
    for caller in lost:
        caller.close()
    for answers in (False, True):
        deadline = time.monotonic() + 60
        while gateway_answers(system.port) is not answers:
            assert time.monotonic() < deadline
            time.sleep(0.02)
    system.wait_until_no_hold_is_open()
    ids = block_ids(first)
    spent = {
        block: system.sql("SELECT posted FROM buckets WHERE node_id = %s", block)[0][0] // DIME for block in ids[1:]
    }
    assert spent == {ids[1]: 4, ids[2]: 4}
    system.vendor.script()
    assert [ask(system, child(first), dime(), port=port).code for port in ports] == ["grant_exhausted"] * 2
    assert ask(system, child(parent), dime(3), port=ports[1]).code == "grant_exhausted"
    assert ask(system, child(parent), dime(2), port=ports[1]).code == "served"
    system.reconcile_with_vendor(org)
