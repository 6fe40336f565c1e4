"""`remit audit`: what is shown, narrowed and exported."""

import json
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
    with a_folder_with(GRANTS, tmp_path_factory.mktemp("audit")) as made:
        made.ok("key", "create", "acme/team", "--name", "ci", "--actor", "lia@acme.example", "--reason", "builds")
        yield made


def test_what_was_done_is_listed_and_exported(remit: Cli) -> None:
    """A line for each row, or all of it as JSON, one object a line; narrowed by grant, actor and thing."""
    out = remit.ok("audit").out
    assert "grant apply" in out and "as planned" in out and "key create" in out and "builds" in out
    rows = [json.loads(line) for line in remit.ok("audit", "--after", "0", "--json").out.splitlines()]
    assert {row["subject_kind"] for row in rows} == {"grant", "issuer_key", "access_key", "capability"}
    by_lia = remit.ok("audit", "--actor", "lia@acme.example", "--json").out.splitlines()
    assert [json.loads(line)["operation"] for line in by_lia][-1] == "key create"
    team = [json.loads(line) for line in remit.ok("audit", "--grant", "acme/team", "--json").out.splitlines()]
    assert {row["path"] for row in team} == {"acme/team"} and len(team) == 3
    assert remit.ok("audit", "--until", "2001-01-01").out == "nothing in the audit\n"
    assert remit("audit", "--grant", "never").code == 2


def test_a_refusal_is_listed_and_shown(remit: Cli) -> None:
    """What the rules refused stands there with the rule's words; a row is shown with every value before and after."""
    assert remit("grant", "edit", "acme/team", "--limit", "500 usd per month", "--actor", "eve@acme.example").code == 1
    (row,) = [json.loads(line) for line in remit.ok("audit", "--refused", "--json").out.splitlines()]
    assert (row["actor"], row["operation"], row["path"]) == ("eve@acme.example", "grant edit", "acme/team")
    shown = remit.ok("audit", "show", str(row["seq"])).out
    assert "refused limit_not_contained: " in shown and "eve@acme.example" in shown
    remit.ok("grant", "edit", "acme", "--limit", "90 usd per month", "--reason", "less")
    changed = json.loads(remit.ok("audit", "-n", "1", "--json").out)
    told = remit.ok("audit", "show", str(changed["seq"])).out
    assert "limits" in told and "100000000000" in told and "90000000000" in told
    assert remit("audit", "show", "999999").code == 2
