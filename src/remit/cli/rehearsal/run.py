"""One rehearsal from beginning to end: plan, stage, tree and keys, drive, verdict, report."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from rich.console import Console

from remit.cli.codes import EXIT_DIFFERENCES, CommandError
from remit.cli.rehearsal.books import StillOpenError, Verdict, judge
from remit.cli.rehearsal.cast import ACTORS, PROBE_PATH, Planned, Rule
from remit.cli.rehearsal.drive import Drive
from remit.cli.rehearsal.plan import Demand, demand_of, grants_of
from remit.cli.rehearsal.report import report_of
from remit.cli.rehearsal.show import Show
from remit.cli.rehearsal.stage import Stage
from remit.kernel.money import format_usd
from remit.store.postgres_watch import PostgresWatch
from remit.testing.load import Arrival

# Arrivals a second of the conversation trace; what the vendor's own times are divided by follows from it in a demo.
REAL_ARRIVALS_PER_SECOND: Final = 5.53


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """What is to be run. `arrivals` makes the workload afresh each time it is called."""

    arrivals: Callable[[], Iterator[Arrival]]
    rule: Rule
    speed: float
    pace: float
    tree: bool = False

    def requests(self) -> Iterator[Planned]:
        return self.rule.cast(self.arrivals())


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of it."""

    drive: Drive
    verdict: Verdict
    report: dict[str, Any]

    @property
    def good(self) -> bool:
        return self.verdict.agrees and self.drive.all_ended


def sentences(rehearsal: Rehearsal, demand: Demand) -> list[str]:
    """The workload and the rule, for people."""
    seconds = demand.seconds / rehearsal.speed
    rate = demand.total_requests / max(seconds, 0.001)
    size = (
        f"{demand.total_requests:,} requests, {demand.prompt_tokens:,} prompt and {demand.output_tokens:,} output tokens, "
        f"{format_usd(demand.total_nanousd, decimals=2)} if all were answered"
    )
    pace = (
        f"over {seconds:.1f} s (real time divided by {rehearsal.speed:g}), {rate:,.0f} a second on average; "
        f"the vendor's own times are divided by {rehearsal.pace:g}"
    )
    return [size, pace, *rehearsal.rule.sentences()]


def rehearse(rehearsal: Rehearsal, stage: Stage, demand: Demand, out: Console) -> Outcome:
    """Runs it on a stage. Raises CommandError where the books could not be closed."""
    run_seconds = demand.seconds / rehearsal.speed
    stage.apply(grants_of(demand, now=stage.authority.clock.now(), run_seconds=run_seconds))
    keys = {actor.name: stage.key(actor.path) for actor in ACTORS}
    keys["revoked"] = stage.key(ACTORS[0].path, revoked=True)
    drive = Drive(
        urls=[stage.gateway_url],
        keys=keys,
        speed=rehearsal.speed,
        pace=rehearsal.pace,
        seed=rehearsal.rule.seed,
        total=demand.total_requests,
        run_seconds=run_seconds,
        vendor_url=stage.vendor.url,
        probe_key=stage.key(PROBE_PATH),
    )
    watch = PostgresWatch(stage.database_url)
    with Show(out, watch, tree=rehearsal.tree) as show:
        drive.run(rehearsal.requests(), show.tick)
    try:
        verdict = judge(stage.authority, stage.vendor, watch, show.excess)
    except StillOpenError as error:
        raise CommandError(f"the books could not be closed: {error}", EXIT_DIFFERENCES) from None
    return Outcome(drive, verdict, report_of(drive, verdict, rule=sentences(rehearsal, demand)))


def demand_and_seconds(rehearsal: Rehearsal) -> tuple[Demand, float]:
    """What the workload asks for, and how long sending it will take. Reads all of it once, keeping nothing."""
    demand = demand_of(rehearsal.requests())
    return demand, demand.seconds / rehearsal.speed
