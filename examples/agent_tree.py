"""A tree of agents on real budgets: nine agents below one orchestrator, one that runs away, one that is revoked.

Starts a whole Remit of its own (a vendor simulator, `remit up` over a database in a temporary folder), lets the agents
work with the official openai SDK, and compares everybody's books at the end. Takes well under a minute:

    make .venv/dev.stamp && .venv/bin/python examples/agent_tree.py

Exit code 0 if everything agrees to the nano-dollar, 1 if anything does not.
"""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import openai

import remit
from remit.kernel.money import format_usd
from remit.sdk import async_openai
from remit.testing.vendor_sim import VendorProcess

GRANT = "acme/agents"
GRANTS = """
version: 1
grants:
  acme:
    owner: ana@acme.example
    class: production
    expires: 2099-01-01
    limits: [{usd: "1000.00", per: month}]
    children:
      agents:
        owner: bo@acme.example
        limits: [{usd: "50.00", per: month}]
"""
MODEL = "gpt-4o"  # $10 per million output tokens: what an agent says below costs about a cent
LONG, SHORT = 800, 20  # output tokens of a call
TASK: Any = [{"role": "user", "content": "Read the next page and say what matters."}]


# --- a Remit of our own ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Stage:
    """The running system: where the gateway is, the vendor, and the settings that commands read."""

    gateway_url: str
    vendor: VendorProcess
    config: Path

    def run(self, *arguments: str, stdin: str = "") -> str:
        """A `remit` command, as a person would type it; its standard output."""
        environment = {**os.environ, "REMIT_CONFIG": str(self.config), "REMIT_ACTOR": "ana@acme.example"}
        command = [sys.executable, "-m", "remit", *arguments]
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, env=environment, check=False)
        if done.returncode != 0:
            raise SystemExit(f"`remit {' '.join(arguments)}` ended with {done.returncode}:\n{done.stderr}{done.stdout}")
        return done.stdout

    def revoke(self, block_id: str) -> dict[str, Any]:
        """Revokes a block at every gateway: `remit revoke`. What it says of when, and of how much can still be spent."""
        told: dict[str, Any] = json.loads(self.run("revoke", f"block:{block_id}", "--wait", "--json"))
        return told


@contextmanager
def stage() -> Iterator[Stage]:
    """Vendor, database, authority and gateway, gone at the end."""
    with tempfile.TemporaryDirectory(prefix="remit-", ignore_cleanup_errors=True) as name, VendorProcess() as vendor:
        folder = Path(name)
        config = folder / "remit.toml"
        config.write_text(
            f'data_dir = "{folder / "data"}"\n'
            '[api]\nlisten = "127.0.0.1:0"\n'
            '[gateway]\nlisten = "127.0.0.1:0"\n'
            f'[vendors.openai]\nbase_url = "{vendor.url}"\n'
        )
        command = [sys.executable, "-m", "remit", "up", "--config", str(config)]
        log = folder / "remit.log"
        with log.open("wb") as errors, subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors) as up:
            try:
                assert up.stdout is not None
                said = next((line.decode() for line in up.stdout if b"remit is up: gateway " in line), None)
                if said is None:
                    raise SystemExit(f"the gateway did not start:\n{log.read_text()[-2000:]}")
                yield Stage(said.partition("gateway ")[2].partition(",")[0].strip(), vendor, config)
            finally:
                up.terminate()


# --- agents ---------------------------------------------------------------------------------------------------------


@dataclass
class Agent:
    """Somebody with a capability, and what the gateway said each call cost."""

    name: str
    capability: remit.Capability
    budget: str
    above: "Agent | None" = None
    costs: list[tuple[float, float, int]] = field(default_factory=list)
    """(begun, ended, nano-USD) of each call that was served; by the monotonic clock, in seconds."""
    stopped_by: remit.Refusal | None = None
    dismissed: bool = False

    @property
    def own_nanousd(self) -> int:
        return sum(cost for _, _, cost in self.costs)

    def hire(self, name: str, usd: str) -> "Agent":
        """A helper with a budget of its own: one more block on our capability, made here and now, nobody asked."""
        with no_network():
            capability = remit.attenuate(
                self.capability, usd=usd, ttl="10m", models=[MODEL], labels={f"agent{_depth(self)}": name}
            )
        return Agent(f"{self.name}/{name}", capability, usd, self)

    async def call(self, client: openai.AsyncOpenAI, tokens: int = LONG) -> None:
        """One call with the official SDK; whose money it is says the context."""
        with remit.use(self.capability), remit.tags(feature="agent-tree"):
            begun = time.monotonic()
            answer = await client.chat.completions.with_raw_response.create(
                model=MODEL, messages=TASK, max_tokens=tokens
            )
            self.costs.append((begun, time.monotonic(), int(answer.headers["remit-cost-nanousd"])))

    async def run(self, client: openai.AsyncOpenAI, calls: int | None, *, tokens: int = LONG, pause: float = 0) -> None:
        """So many calls, or calls without end: until they are refused, or until it is dismissed."""
        try:
            while not self.dismissed and (calls is None or calls > 0):
                await self.call(client, tokens)
                calls = None if calls is None else calls - 1
                await asyncio.sleep(pause)
        except remit.Refusal as refusal:
            self.stopped_by = refusal


def _depth(agent: Agent) -> int:
    return 1 if agent.above is None else 1 + _depth(agent.above)


_offline: ContextVar[bool] = ContextVar("offline", default=False)


def _watch_network(event: str, _: tuple[Any, ...]) -> None:
    if event.startswith("socket.") and _offline.get():
        raise AssertionError(f"the network was used to narrow a capability: {event}")


@contextmanager
def no_network() -> Iterator[None]:
    """The interpreter itself raises where anything inside opens or uses a socket."""
    token = _offline.set(True)
    try:
        yield
    finally:
        _offline.reset(token)


# --- the account ----------------------------------------------------------------------------------------------------


@dataclass
class Account:
    """What was claimed, and whether it holds."""

    failures: int = 0

    def check(self, claim: str, holds: bool) -> None:
        print(f"  {'ok ' if holds else 'NOT'}  {claim}")
        self.failures += not holds


async def everybody_works(account: Account, agents: list[Agent], client: openai.AsyncOpenAI) -> None:
    """Ten at once, each on its own budget."""
    print("\nEverybody works, three calls each, all at once:")
    await asyncio.gather(*(agent.run(client, 3) for agent in agents))
    account.check("all 30 calls were served", [len(agent.costs) for agent in agents] == [3] * len(agents))
    total = sum(agent.own_nanousd for agent in agents)
    account.check(f"they cost {format_usd(total)} together", total > 0)


async def one_runs_away(account: Account, runaway: Agent, others: list[Agent], client: openai.AsyncOpenAI) -> None:
    """A loop without an end, ended by the block it runs on."""
    print(f"\n{runaway.name} is caught in a loop; nobody watches:")
    await runaway.run(client, None)
    refusal = runaway.stopped_by
    account.check(
        f"it stopped by itself after {len(runaway.costs)} calls: {refusal}", isinstance(refusal, remit.BudgetExhausted)
    )
    assert refusal is not None
    own = f"{GRANT}#{runaway.capability.id[:12]}"
    account.check(f"what stopped it is its own block, {own}", refusal.binding_node == own)
    limit = runaway.capability.inspect().blocks[-1].limits[0].amount
    account.check(
        f"it spent {format_usd(runaway.own_nanousd)} of {format_usd(limit)}", 0 < runaway.own_nanousd <= limit
    )
    before = [len(other.costs) for other in others]
    await asyncio.gather(*(other.run(client, 1) for other in others))
    account.check(
        "its siblings and its parent go on", [len(other.costs) for other in others] == [n + 1 for n in before]
    )


async def one_is_revoked(
    account: Account, scene: Stage, client: openai.AsyncOpenAI, bad: list[Agent], good: list[Agent]
) -> None:
    """An agent and its helpers, cut off at once while they work; the others do not notice."""
    print(
        f"\n{bad[0].name} and its helpers work without end, so do {good[0].name} and its own; {bad[0].name} is revoked:"
    )
    # A vendor that takes its time: some calls are under way whenever it is revoked.
    scene.vendor.script(completion_tokens=LONG, latency_ms=800)
    tasks = {
        agent.name: asyncio.create_task(agent.run(client, None, tokens=SHORT, pause=0.05)) for agent in [*bad, *good]
    }
    await asyncio.sleep(1)
    told = await asyncio.to_thread(scene.revoke, bad[0].capability.id)
    known = time.monotonic()
    await asyncio.wait_for(asyncio.gather(*(tasks[agent.name] for agent in bad)), timeout=20)
    print(
        f"  `remit revoke` says: {told['gateways_that_know']} of {told['gateways']} gateways know after {told['milliseconds']} ms; "
        f"{told['calls_under_way']} calls are under way and can cost at most {format_usd(told['at_most_nanousd'])}"
    )
    stops = [agent.stopped_by for agent in bad]
    account.check(
        "the agent and both helpers were told so: capability_revoked",
        all(isinstance(one, remit.CapabilityRevoked) for one in stops),
    )
    late = [cost for agent in bad for begun, _, cost in agent.costs if begun > known]
    account.check("no call of theirs that began after that was served", not late)
    tail = sum(cost for agent in bad for _, ended, cost in agent.costs if ended > known)
    account.check(f"what ended after that cost {format_usd(tail)}, within the bound", tail <= told["at_most_nanousd"])
    counts = [len(agent.costs) for agent in good]
    await asyncio.sleep(2)
    account.check(
        "the siblings are still at it", all(len(agent.costs) > count for agent, count in zip(good, counts, strict=True))
    )
    # Not cancelled in the middle of a call: what that costs its caller would never know.
    for agent in good:
        agent.dismissed = True
    await asyncio.gather(*(tasks[agent.name] for agent in good))


def books_agree(account: Account, scene: Stage, agents: list[Agent]) -> None:
    """The vendor's statement, the ledger, the blocks and the agents' own sums."""
    print("\nBooks, to the nano-dollar:")
    scene.vendor.wait_idle()
    scene.run("doctor")
    vendor = {row.idempotency_key: row.amount_nanousd for row in scene.vendor.rows()}
    lines = scene.run("ledger", "tail", "--count", "100000", "--json").splitlines()
    entries = [json.loads(line) for line in lines]
    ledger = {entry["hold_id"]: entry["amount_nanousd"] for entry in entries}
    account.check(f"vendor and ledger have the same {len(vendor)} calls at the same amounts", vendor == ledger)
    blocks = {}
    waiting = json.loads(scene.run("token", "tree", GRANT, "--json"))
    while waiting:
        block = waiting.pop()
        blocks[block["id"]] = block["spent_nanousd"]
        waiting += block["children"]
    print(f"\n  {'who':<28}{'budget':>8}{'calls':>7}{'of its own':>15}{'with helpers':>15}{'block':>15}{'ledger':>15}")
    for agent in agents:
        below = sum(one.own_nanousd for one in agents if one is agent or one.name.startswith(f"{agent.name}/"))
        booked = sum(entry["amount_nanousd"] for entry in entries if agent.capability.id in entry["block_ids"])
        own = blocks.get(agent.capability.id)
        cells = [agent.own_nanousd, below, own, booked]
        texts = "".join(f"{'?' if cell is None else format_usd(cell):>15}" for cell in cells)
        print(f"  {agent.name:<28}{'$' + agent.budget:>8}{len(agent.costs):>7}{texts}")
        if not below == own == booked:
            account.check(f"{agent.name}: its callers, its block and the ledger agree", False)
    print()
    total = sum(agent.own_nanousd for agent in agents)
    account.check(
        f"vendor, ledger, blocks and callers agree on {format_usd(total)}",
        total == sum(vendor.values()) == sum(ledger.values()),
    )


async def play(scene: Stage) -> int:
    """The whole story; how many claims did not hold."""
    account = Account()
    scene.vendor.script(completion_tokens=LONG)
    grants = scene.config.with_name("grants.yaml")
    grants.write_text(GRANTS)
    scene.run("apply", str(grants), "--yes")
    token = scene.run("token", "mint", GRANT, "--purpose", "agent tree", "--limit", "5 usd", "--ttl", "1h").strip()
    orchestrator = Agent("orchestrator", remit.Capability(token), "5.00")
    teams = [orchestrator.hire(name, "0.50") for name in ("research", "writing", "review")]
    helpers = {team.name: [team.hire(name, "0.10") for name in ("one", "two")] for team in teams}
    agents = [orchestrator, *(one for team in teams for one in (team, *helpers[team.name]))]
    print(f"One capability of $5.00 from the authority, and {len(agents) - 1} narrower ones made without it, offline.")
    research, writing, review = teams
    async with async_openai(base_url=scene.gateway_url, max_retries=0) as client:
        await everybody_works(account, agents, client)
        runaway, sibling = helpers[research.name]
        await one_runs_away(account, runaway, [sibling, research, writing], client)
        await one_is_revoked(account, scene, client, [writing, *helpers[writing.name]], [review, *helpers[review.name]])
    books_agree(account, scene, agents)
    print("\neverything agrees" if not account.failures else f"\n{account.failures} claims do not hold")
    return account.failures


def main() -> int:
    """Exit code 1 if anything that was claimed does not hold."""
    sys.addaudithook(_watch_network)
    with stage() as scene:
        return 1 if asyncio.run(play(scene)) else 0


if __name__ == "__main__":
    sys.exit(main())
