"""What `remit token tree` shows a person, and that the name of a block it shows is enough to revoke it."""

import pytest

import remit
from remit.kernel.money import format_usd
from tests.cli.conftest import HELLO, Cli
from tests.system.harness import System, root


def spent(system: System, token: str) -> None:
    system.client(token).chat.completions.create(model="sim-dime", messages=HELLO, max_completion_tokens=1)


def test_a_tree_is_text_for_people(cli: Cli, system: System) -> None:
    """Grants and blocks stand there by name, with what each spent, and without any markup."""
    system.apply({"shown": root("5.00")})
    minted = cli.ok("token", "mint", "shown", "--limit", "1 usd", "--purpose", "a [run]").out.strip()
    child = remit.attenuate(minted, usd="0.30")
    spent(system, child.token)
    top, first, second = cli.ok("token", "tree", "shown").out.splitlines()
    assert top == "shown"
    assert f"── #{remit.Capability(minted).id[:12]}  a [run] (" in first
    assert f"$1.00, {format_usd(10**8)} spent in 1 call, $0.90 left" in first
    assert f"── #{child.id[:12]}  $0.30, {format_usd(10**8)} spent in 1 call, $0.20 left" in second


@pytest.mark.parametrize(("verb", "status"), [("suspend", "suspended"), ("revoke", "revoked")])
def test_below_a_grant_that_stands_still_nothing_is_left(cli: Cli, system: System, verb: str, status: str) -> None:
    """Where a grant above was suspended or revoked its blocks may spend nothing, and the tree says why."""
    above = f"still-{verb}"
    system.apply({above: root("5.00", children={"below": {"owner": "bo@acme.example"}})})
    cli.ok("token", "mint", f"{above}/below", "--limit", "1 usd")
    cli.ok("grant", verb, above, "--yes") if verb == "revoke" else cli.ok("grant", verb, above)
    shown = cli.ok("token", "tree", above)
    assert f"{above}/below  {status} with {above}\n" in shown.out
    assert "$0.00 left" in shown.out and "$1.00 left" not in shown.out
    (block,) = cli.ok("token", "tree", above, "--json").json()
    assert (block["left_nanousd"], block["revoked"]) == (0, False)


def test_a_block_is_revoked_by_the_name_it_is_shown_by(cli: Cli, system: System) -> None:
    """Twelve digits behind `block:`, or the grant's path and `#` as refusals say it, name a known block."""
    system.apply({"named": root("5.00")})
    minted = remit.Capability(cli.ok("token", "mint", "named", "--limit", "1 usd").out.strip())
    children = [remit.attenuate(minted, usd="0.10") for _ in range(3)]
    for child in children:
        spent(system, child.token)
    for number, word in enumerate([f"named#{children[0].id[:12]}", f"block:{children[1].id[:12]}"]):
        told = cli.ok("revoke", word, "--json").json()
        assert (told["kind"], told["subject"]) == ("block", children[number].id)
    assert cli("revoke", f"other#{children[2].id[:12]}").code == 2
    assert cli("revoke", f"named#{children[2].id[:11]}").code == 2
    unknown = cli("revoke", "named#000000000000")
    assert unknown.code == 2 and "`remit revoke -`" in unknown.err
    rows = {one["id"]: one["revoked"] for one in cli.ok("token", "tree", "named", "--json").json()[0]["children"]}
    assert rows == {children[0].id: True, children[1].id: True, children[2].id: False}


def test_what_a_block_could_have_spent_is_told_before_its_first_call(cli: Cli, system: System) -> None:
    """A block's own limit counts in what a revocation says, also where no call was made with it yet."""
    system.apply({"unused": root("5.00")})
    token = cli.ok("token", "mint", "unused", "--limit", "1 usd per day").out.strip()
    (block,) = cli.ok("token", "tree", "unused", "--json").json()
    assert cli.ok("revoke", f"block:{block['id']}", "--dry-run", "--json").json()["left_before_nanousd"] == 10**9
    child = remit.attenuate(remit.attenuate(token, usd="0.30"), usd="0.40")
    told = cli.ok("revoke", "-", "--json", stdin=child.token).json()
    assert told["left_before_nanousd"] == 3 * 10**8
