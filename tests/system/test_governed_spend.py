"""Two pages followed as they are printed, on a running Remit: tags are governed, and shared cost is divided."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.cli.conftest import HELLO, Cli, plain_environment
from tests.system.harness import SIM_PRICES, System, root

HOWTO = Path(__file__).resolve().parents[2] / "docs" / "howto"


@pytest.fixture(scope="module")
def dated() -> Iterator[System]:
    """A Remit in October 2026 that nobody has called."""
    with System(settings=SIM_PRICES, environment={"REMIT_CLOCK_AT": "2026-10-20T12:00:00Z"}) as running:
        yield running


@pytest.fixture(scope="module")
def shell(dated: System) -> Cli:
    (grants,) = re.findall(r"^```yaml\n(.*?)^```$", page("govern-tags"), re.MULTILINE | re.DOTALL)
    (dated.folder / "grants.yaml").write_text(grants)
    known = {"REMIT_CONFIG": str(dated.config), "REMIT_CLOCK_AT": "2026-10-20T12:00:00Z", "USER": "fin"}
    return Cli(dated.folder, plain_environment(**known))


def page(name: str) -> str:
    return (HOWTO / f"{name}.md").read_text(encoding="utf-8")


def blocks(name: str) -> list[str]:
    return re.findall(r"^```console\n(.*?)^```$", page(name), re.MULTILINE | re.DOTALL)


def follow(shell: Cli, block: str) -> list[str]:
    """Runs the commands of a block; each prints what the page says, up to where it leaves something out. What was printed."""
    told = []
    for step in block.split("$ remit ")[1:]:
        command, _, printed = step.partition("\n")
        ran = shell(*shlex.split(command))
        # A page has no spaces at the ends of its lines.
        out = "".join(f"{line.rstrip()}\n" for line in ran.out.splitlines())
        whole, left_out, _ = printed.partition("...\n")
        assert out.startswith(whole) if left_out else out == whole, (command, ran.out, ran.err)
        told.append(ran.out + ran.err)
    return told


class Callers:
    """One client for each grant of the tree, made when it is first needed."""

    def __init__(self, system: System) -> None:
        self.system = system
        self.clients: dict[str, openai.OpenAI] = {}

    def call(self, grant: str, tokens: int, **more: Any) -> None:
        """A call that costs ten cents a token."""
        if grant not in self.clients:
            self.clients[grant] = self.system.client(self.system.key(f"acme/{grant}"))
        said: dict[str, Any] = {"model": "sim-dime", "messages": HELLO, "max_completion_tokens": tokens, **more}
        self.clients[grant].chat.completions.create(**said)

    def refused(self, grant: str, **more: Any) -> dict[str, Any]:
        """What a call is refused with that has to be."""
        with pytest.raises(openai.BadRequestError) as caught:
            self.call(grant, 1, **more)
        body = caught.value.body
        assert isinstance(body, dict) and body["code"] == "tags_missing"
        return body


def header(tags: str) -> dict[str, Any]:
    return {"extra_headers": {"remit-tags": tags}}


def test_the_pages_can_be_followed(dated: System, shell: Cli) -> None:
    """From a mistyped tag to a month whose shared cost is divided: teams change, the total, limits and books do not."""
    callers = Callers(dated)
    apply, govern, create, retire, mend = blocks("govern-tags")
    follow(shell, apply)
    assert callers.refused("search")["remit"]["missing_tags"] == ["feature"]
    callers.call("search", 1, **header("feature=serch"))
    follow(shell, govern)
    # Gateways hear of it before the next call: nothing is waited for.
    refused = callers.refused("search", **header("feature=serch"))
    (sentence,) = re.findall(r"^```text\n(.*?)\n```$", page("govern-tags"), re.MULTILINE | re.DOTALL)
    assert refused["message"] == refused["remit"]["detail"] == sentence
    assert (refused["remit"]["nearest"], refused["remit"]["tag_owner"]) == ("search", "fin@acme.example")
    callers.refused("search", metadata={"feature": "serch"})
    assert "`mpas` is no allowed value of the tag `feature`" in follow(shell, create)[0]
    callers.call("search", 3, **header("feature=search, tenant=anything"))
    callers.call("ads", 2, **header("feature=ads"))
    callers.call("platform", 4)
    follow(shell, retire)
    callers.refused("ads", **header("feature=evals"))
    callers.call("platform", 2)
    dated.wait_until_no_hold_is_open()
    follow(shell, mend)
    limits = dated.sql(
        "SELECT node_id, dimension, period_kind, posted, held, limit_amount FROM buckets ORDER BY 1, 2, 3"
    )
    before = dated.authority.ledger.total_nanousd(None, None)
    entries = dated.sql("SELECT id, entry_hash FROM entries ORDER BY seq")
    write, *rest = blocks("allocate-shared-cost")
    follow(shell, write)
    alone = shell("allocate", "post", "platform", "--month", "2026-10", "--actor", "FIN@localhost")
    assert alone.code == 1 and "second_person_needed" in alone.err, "who wrote it does not post it first"
    owner = shell("allocate", "post", "platform", "--month", "2026-10", "--actor", "pia@acme.example")
    assert owner.code == 1 and "relieves_yourself" in owner.err and "`acme/platform` is charged less by it" in owner.err
    for block in rest:
        follow(shell, block)
    report = shell.ok("ledger", "report", "--by", "team", "--since", "2026-10-01", "--json").json()
    assert {row["group"]["team"]: row["amount_nanousd"] for row in report["rows"]} == {
        "search": 800_000_000,
        "ads": 400_000_000,
        "platform": 0,
    }
    assert dated.authority.ledger.total_nanousd(None, None) == before == 1_200_000_000
    assert dated.sql("SELECT id, entry_hash FROM entries ORDER BY seq")[: len(entries)] == entries
    found = dated.sql(
        "SELECT node_id, dimension, period_kind, posted, held, limit_amount FROM buckets ORDER BY 1, 2, 3"
    )
    assert found == limits
    dated.assert_books_agree()
    assert shell("doctor").code == 0


def test_the_commands_around_it(dated: System, shell: Cli) -> None:
    """A name with any value, one for a part of the tree, lists, ends; what is missing or wrong is one line and a code."""
    dated.apply({"other": root("5.00")})
    assert "terms_missing" in shell("tag", "set", "tenant", "--owner", "fin@acme.example").err
    told = ("--owner", "fin@acme.example", "--description", "who for")
    made = shell.ok("tag", "set", "tenant", *told, "--any", "--under", "other", "--json").json()
    assert (made["values"], made["revision"], made["replayed"]) == (None, 1, False)
    listed = {one["name"]: one for one in shell.ok("tag", "list", "--json").json()}
    assert listed["tenant"]["grant_id"] == made["grant_id"] is not None
    assert "other" in shell.ok("tag", "list").out
    assert shell.ok("tag", "set", "tenant", "--value", "t-1", "--json").json()["grant_id"] == made["grant_id"]
    assert shell.ok("tag", "set", "tenant", "--value", "t-2", "--json").json()["values"] == ["t-1", "t-2"]
    assert "tag_value_unknown" in shell("tag", "retire", "tenant", "t-3").err
    shell.ok("tag", "retire", "tenant", "t-2")
    assert "`t-2` is retired already" in shell("tag", "retire", "tenant", "t-2").err
    assert shell.ok("tag", "retire", "tenant").out == "tag tenant is free again\n"
    assert shell("tag", "retire", "tenant").code == 2 and "tenant (free)" in shell.ok("tag", "list", "--all").out
    rule = ("allocate", "set", "half", *told, "--source", "grant=other", "--method", "fixed")
    assert "shares_invalid" in shell(*rule, "--to", "other:500000").err
    assert "a share is parts per million" in shell(*rule, "--to", "other:-1").err
    assert shell(*rule, "--to", "never:1000000").code == 2 and shell(*rule, "--use", "team=x").code == 2
    assert shell.ok(*rule, "--to", "other,team=a:250000", "--to", ".,team=b:750000").code == 0
    assert "other,team=a:250000, .,team=b:750000" in shell.ok("allocate", "list").out
    assert shell.ok("allocate", "list", "--json").json()[0]["targets"][0]["ppm"] == 250_000
    assert "nothing left to move" in shell.ok("allocate", "preview", "half", "--month", "2026-10").out
    assert shell("allocate", "preview", "half", "--month", "2026-13").code == 2
    assert "rule half is retired" in shell.ok("allocate", "retire", "half").out
    assert shell("allocate", "post", "half", "--month", "2026-10").code == 2
