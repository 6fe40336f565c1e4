"""`remit replay`: a trace of a served model through a gateway, with the books compared at the end."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from remit.cli.codes import EXIT_DIFFERENCES, EXIT_OK, EXIT_USAGE, CommandError
from remit.cli.options import Json

if TYPE_CHECKING:
    from rich.console import Console

    from remit.cli.rehearsal.run import Rehearsal

_Trace = Annotated[Path, Parameter(help="CSV with the columns TIMESTAMP,ContextTokens,GeneratedTokens.")]
_Speed = Annotated[
    float, Parameter(validator=Number(gt=0), help="Divides the gaps between arrivals, and the vendor's times. [20]")
]
_Limit = Annotated[int | None, Parameter(validator=Number(gte=1), help="Only the first so many requests.")]
_Seed = Annotated[int, Parameter(help="Of the rule that assigns grants, tags, models and mistakes. [1]")]
_Faults = Annotated[
    int,
    Parameter(validator=Number(gte=0, lte=1000), help="Of a thousand answers, how many the vendor breaks off. [2]"),
]
_Url = Annotated[
    list[str] | None,
    Parameter(help="Base URL of a running gateway, ending in /v1; may be repeated. Without it one is started."),
]
_Key = Annotated[
    list[str] | None,
    Parameter(
        env_var="REMIT_REPLAY_KEYS",
        show_env_var=False,
        help="With --url: an access key, may be repeated; else $REMIT_REPLAY_KEYS, separated by blanks.",
    ),
]


def replay(
    trace: _Trace,
    /,
    *,
    speed: _Speed = 20.0,
    limit: _Limit = None,
    seed: _Seed = 1,
    vendor_faults: _Faults = 2,
    url: _Url = None,
    key: _Key = None,
    json: Json = False,
) -> int:
    """Send a trace of real arrivals through a gateway and compare the vendor's books with the ledger.

    Starts a vendor simulator, a database and a gateway of its own in a temporary folder, makes a tree of grants of which
    some caps bind, sends every request at its instant whatever the answers do, and ends with the books. Exit code 1 where
    they differ or a cap was exceeded. With --url the traffic goes to a gateway that runs already; whose books cannot be
    compared then, and whose vendor should be a simulator too.
    """
    from remit.cli.rehearsal.cast import Rule
    from remit.cli.rehearsal.run import Rehearsal
    from remit.cli.rehearsal.show import console
    from remit.testing.load import TraceError, read_trace

    rehearsal = Rehearsal(
        arrivals=lambda: read_trace(trace, limit),
        rule=Rule(seed, 0 if url else vendor_faults),
        speed=speed,
        pace=speed,
    )
    out = console(json=json)
    try:
        return _outside(rehearsal, url, key or [], out, json=json) if url else _inside(rehearsal, out, json=json)
    except TraceError as error:
        raise CommandError(str(error), EXIT_USAGE) from None


def _inside(rehearsal: "Rehearsal", out: "Console", *, json: bool) -> int:
    from remit.cli.output import print_json
    from remit.cli.rehearsal.report import print_report
    from remit.cli.rehearsal.run import demand_and_seconds, rehearse, sentences
    from remit.cli.rehearsal.stage import Stage

    demand, _ = demand_and_seconds(rehearsal)
    for sentence in sentences(rehearsal, demand):
        out.print(sentence)
    with Stage(seed=rehearsal.rule.seed) as stage:
        out.print(f"gateway {stage.gateway_url}, vendor {stage.vendor.base_url}")
        outcome = rehearse(rehearsal, stage, demand, out)
    if json:
        print_json(outcome.report)
    else:
        print_report(out, outcome.report)
    return EXIT_OK if outcome.good else EXIT_DIFFERENCES


def _outside(rehearsal: "Rehearsal", urls: list[str], keys: list[str], out: "Console", *, json: bool) -> int:
    from remit.cli.output import print_json
    from remit.cli.rehearsal.cast import ACTORS
    from remit.cli.rehearsal.drive import Drive
    from remit.cli.rehearsal.report import print_report, report_of
    from remit.cli.rehearsal.run import demand_and_seconds, sentences
    from remit.cli.rehearsal.show import Show

    if not keys:
        raise CommandError("with --url, --key or $REMIT_REPLAY_KEYS has to name at least one access key", EXIT_USAGE)
    demand, run_seconds = demand_and_seconds(rehearsal)
    rule = [*sentences(rehearsal, demand), f"under the {len(keys)} keys given, in turn, in place of those grants"]
    for sentence in rule:
        out.print(sentence)
    names = [*(actor.name for actor in ACTORS), "revoked"]
    drive = Drive(
        urls=urls,
        keys={name: keys[number % len(keys)] for number, name in enumerate(names)},
        speed=rehearsal.speed,
        pace=rehearsal.pace,
        seed=rehearsal.rule.seed,
        total=demand.total_requests,
        run_seconds=run_seconds,
    )
    try:
        with Show(out, None, tree=False) as show:
            drive.run(rehearsal.requests(), show.tick)
    except (OSError, ValueError) as error:
        raise CommandError(f"cannot reach the gateway: {error}", EXIT_DIFFERENCES) from None
    report = report_of(drive, None, rule=rule)
    if json:
        print_json(report)
    else:
        print_report(out, report)
        out.print("the books of a gateway that runs elsewhere are its own to compare: `remit doctor`")
    return EXIT_OK if drive.all_ended else EXIT_DIFFERENCES
