"""Blocks of chains against real processes: every block is charged, none resets, and each has its number of children."""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from remit.capabilities.model import Delegate
from remit.grants.keys import NewKey
from tests.conformance.chains import block_ids, capability, child
from tests.conformance.support import DIME, ask, codes, dime
from tests.system.harness import ADMIN, System, root


@pytest.fixture
def one_dollar(system: System, name: str) -> str:
    """A grant of $1.00."""
    system.apply({name: root("1.00")})
    return name


def test_every_block_of_a_chain_is_charged(system: System, one_dollar: str) -> None:
    """A call with a chain counts in each of its blocks and in the grant; the tightest of them refuses, by name."""
    token = capability(system, one_dollar)
    agent = child(token, 5)
    helpers = [child(agent, 3), child(agent, 3)]
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda number: ask(system, helpers[number % 2], dime()), range(16)))
    assert codes(answers) == {"served": 5, "grant_exhausted": 11}
    assert system.vendor.books().total_nanousd == 5 * DIME
    spent = {
        block: system.sql("SELECT posted FROM buckets WHERE node_id = %s", block)[0][0] // DIME
        for token in helpers
        for block in block_ids(token)[1:]
    }
    assert spent[block_ids(agent)[1]] == 5
    assert max(spent.values()) == 5 and sum(spent.values()) == 10
    refused = ask(system, agent, dime())
    assert refused.remit["binding_node"] == f"{one_dollar}#{block_ids(agent)[1][:12]}"
    system.reconcile_with_vendor(one_dollar)


def test_a_parent_has_a_number_of_living_children(system: System, one_dollar: str) -> None:
    """The first call of a child too many is refused, nothing is sent; its siblings go on; the tree shows who lives."""
    token = capability(system, one_dollar)
    agent = child(token, 9, delegate=Delegate(2, 2, 600))
    children = [child(agent, 1) for _ in range(3)]
    assert [ask(system, one, dime()).code for one in children] == ["served", "served", "policy_forbidden"]
    refused = ask(system, children[2], dime())
    assert (refused.status, refused.remit["max_children"], refused.remit["living_children"]) == (403, 2, 2)
    assert ask(system, child(children[0]), dime()).code == "grant_exhausted", "the children's own blocks are spent"
    assert system.vendor.books().total_nanousd == 2 * DIME
    shown = remit(system, "token", "tree", one_dollar, "--json")
    root = next(one for one in shown if one["id"] == block_ids(token)[0])
    assert root["spent_nanousd"] == 2 * DIME
    (branch,) = root["children"]
    assert (branch["spent_nanousd"], branch["left_nanousd"], len(branch["children"])) == (2 * DIME, 7 * DIME, 2)
    assert {(leaf["id"], leaf["left_nanousd"]) for leaf in branch["children"]} == {
        (block_ids(one)[2], 0) for one in children[:2]
    }
    system.reconcile_with_vendor(one_dollar)


def test_a_tree_says_what_has_been_revoked(system: System, one_dollar: str) -> None:
    """Below a capability whose access key was revoked nothing may be spent, and the tree says so."""
    key = system.authority.keys().create(one_dollar, "agent", ADMIN)
    assert isinstance(key, NewKey) and key.token is not None
    agent = child(key.token, 5)
    assert ask(system, agent, dime()).code == "served"
    system.authority.keys().revoke(key.key.id, ADMIN)
    (root,) = remit(system, "token", "tree", one_dollar, "--json")
    assert (root["revoked"], root["children"][0]["revoked"], root["children"][0]["left_nanousd"]) == (True, True, 0)
    assert ask(system, agent, dime()).code == "capability_revoked"


def remit(system: System, *arguments: str) -> list[dict[str, object]]:
    """What a command prints as JSON."""
    done = subprocess.run(
        [sys.executable, "-m", "remit", *arguments, "--config", str(system.config)], capture_output=True, check=True
    )
    answer: list[dict[str, object]] = json.loads(done.stdout)
    return answer
