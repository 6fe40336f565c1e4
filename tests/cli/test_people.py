"""Roles and people on the command line: written once, and shown."""

from collections.abc import Iterator

import pytest

from tests.cli.conftest import Cli, a_folder_with

GRANTS = """version: 1
grants:
  acme:
    owner: ada@acme.example
    class: production
    expires: 2099-01-01
    limits: [{usd: "100", per: month}]
  acme/team:
    owner: lia@acme.example
"""


@pytest.fixture(scope="module")
def remit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cli]:
    with a_folder_with(GRANTS, tmp_path_factory.mktemp("people")) as made:
        yield made


def test_a_role_is_given_listed_and_ended(remit: Cli) -> None:
    """What was given is listed with what it is for, and ends by its id; unknown grants and ids are refused."""
    given = remit("role", "grant", "bo@acme.example", "approver", "--under", "acme/team", "--json").json()
    assert (given["role"], given["grant_path"], given["source"]) == ("approver", "acme/team", "command")
    assert (
        remit("role", "grant", "Bo@acme.example", "approver", "--under", "acme/team", "--json").json()["id"]
        == given["id"]
    )
    listed = remit("role", "list", "--person", "BO@acme.example", "--json").json()
    assert [one["id"] for one in listed] == [given["id"]] and "acme/team" in remit("role", "list").out
    assert (
        "ended role approver of bo@acme.example for `acme/team` and below" in remit("role", "revoke", given["id"]).out
    )
    assert remit("role", "list", "--json").json() == []
    assert len(remit("role", "list", "--all", "--json").json()) == 1
    assert remit("role", "grant", "bo@acme.example", "auditor", "--under", "never").code == 2
    assert remit("role", "revoke", "never").code == 2
    assert remit("role", "grant", "bo@acme.example", "god").code == 2


def test_a_name_with_a_slip_in_it_is_remarked_on(remit: Cli) -> None:
    """Nobody of that name was known and nothing was theirs: whoever was meant is still here."""
    slip = remit("person", "leave", "lia@acme.exampl")
    assert slip.code == 0 and "nobody was known here as `lia@acme.exampl`" in slip.err


def test_a_person_leaves_hands_over_and_comes_back(remit: Cli) -> None:
    """Leaving says what became of tokens, roles and grants; saying it again with a successor hands over the rest."""
    assert remit("person", "create", "lia@acme.example").code == 0
    assert remit("person", "delegate", "ada@acme.example", "lia@acme.example", "--until", "2098-01-01").code == 0
    left = remit("person", "leave", "lia@acme.example")
    assert left.code == 0 and "1 token revoked, 0 roles ended" in left.out and "acme/team: ownerless" in left.out
    assert remit("person", "create", "lia@acme.example").code == 1
    key = ("--idempotency-key", "hand-over")
    told = remit("person", "leave", "lia@acme.example", "--successor", "sue@acme.example", "--json", *key).json()
    assert told["moved"] == ["acme/team"] and told["ownerless"] == []
    again = remit("person", "leave", "lia@acme.example", "--successor", "sue@acme.example", "--json", *key).json()
    assert again == {**told, "replayed": True}
    assert remit("person", "return", "lia@acme.example").code == 0
    assert remit("person", "create", "lia@acme.example").code == 0
    assert remit("person", "return", "no@acme.example").code == 2
    assert remit("person", "delegate", "ada@acme.example", "lia@acme.example").code == 2
    assert "nobody stands in" in remit("person", "delegate", "ada@acme.example").out
