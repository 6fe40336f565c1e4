"""`remit demo`: the whole system on a generated workload, with nothing but this package installed."""

import time
from typing import TYPE_CHECKING, Annotated, Any, Final

from cyclopts import Parameter
from cyclopts.validators import Number

from remit.cli.codes import EXIT_DIFFERENCES, EXIT_OK
from remit.cli.options import Json

if TYPE_CHECKING:
    from rich.console import Console

    from remit.cli.rehearsal.pages import PageReceiver
    from remit.cli.rehearsal.run import Outcome

_Requests = Annotated[int, Parameter(validator=Number(gte=200, lte=1_000_000), help="How many requests. [1800]")]
_Seconds = Annotated[float, Parameter(validator=Number(gte=2, lte=86_400), help="Over how many seconds. [24]")]
_Seed = Annotated[int, Parameter(help="Of the workload and of who sends what. [1]")]

# What a demo is to meet besides the mistakes of callers: codes that only a burning tree gives.
_FROM_THE_TREE: Final = ("grant_expired", "rate_limited", "paced", "grant_exhausted")
_PAGE_SECONDS: Final = 5.0
_MAX_MESSAGE: Final = 150


def demo(*, requests: _Requests = 1800, seconds: _Seconds = 24.0, seed: _Seed = 1, json: Json = False) -> int:
    """Watch a tree of grants burn under generated traffic, meet every kind of refusal, and compare the books.

    Starts a vendor simulator, a database, an authority, a gateway and a receiver of pages in a temporary folder, all on
    this machine, and removes them again. The workload follows published statistics of real traffic; the vendor keeps its
    own books, and exit code 1 says that they differ from the ledger or that a cap was exceeded.
    """
    from remit.cli.output import print_json
    from remit.cli.rehearsal.cast import Rule
    from remit.cli.rehearsal.run import REAL_ARRIVALS_PER_SECOND, Rehearsal, demand_and_seconds, rehearse, sentences
    from remit.cli.rehearsal.show import console
    from remit.cli.rehearsal.stage import Stage
    from remit.testing.load import CONVERSATION, generate

    pace = max(1.0, round(requests / seconds / REAL_ARRIVALS_PER_SECOND, 1))
    rehearsal = Rehearsal(
        arrivals=lambda: generate(CONVERSATION, requests=requests, seconds=seconds * pace, seed=seed),
        rule=Rule(seed, vendor_faults_permille=3, every_mistake=True),
        speed=pace,
        pace=pace,
        tree=True,
    )
    out = console(json=json)
    demand, _ = demand_and_seconds(rehearsal)
    for sentence in sentences(rehearsal, demand):
        out.print(sentence)
    with Stage(seed=seed) as stage:
        out.print(f"remit is up: gateway {stage.gateway_url}, vendor {stage.vendor.base_url}, pages {stage.pages.url}")
        outcome = rehearse(rehearsal, stage, demand, out)
        _wait_for_a_page(stage.pages)
        pages, page_count = list(stage.pages.pages), stage.pages.count
    missed = _missed(outcome)
    if json:
        print_json({**outcome.report, "pages": page_count, "not_met": missed})
    else:
        _print_demo(out, outcome, pages, page_count, missed)
    return EXIT_OK if outcome.good else EXIT_DIFFERENCES


def _wait_for_a_page(pages: "PageReceiver") -> None:
    """Pages are delivered by the authority's rounds, so the last may be on their way."""
    deadline = time.monotonic() + _PAGE_SECONDS
    while not pages.count and time.monotonic() < deadline:
        time.sleep(0.1)


def _missed(outcome: "Outcome") -> list[str]:
    """Kinds of refusal that this run should have met and did not."""
    from remit.cli.rehearsal.cast import MISTAKES
    from remit.cli.rehearsal.report import codes_met

    met = codes_met(outcome.report)
    missed = [code for code in (*(kind for kind, _, _ in MISTAKES), *_FROM_THE_TREE) if not met[code]]
    exhausted = {kind.grant_class for kind in outcome.drive.tally.refused if kind.code == "grant_exhausted"}
    missed += [f"grant_exhausted ({name})" for name in ("production", "experimentation") if name not in exhausted]
    return [*missed, *([] if outcome.verdict.overdraft_nanousd else ["overdraft"])]


def _print_demo(
    out: "Console", outcome: "Outcome", pages: list[dict[str, Any]], page_count: int, missed: list[str]
) -> None:
    from remit.cli.rehearsal.report import http_text, print_report
    from remit.cli.rehearsal.show import tree_table

    _rule(out, "the tree at the end")
    out.print(tree_table(outcome.verdict.buckets))
    _rule(out, "what callers were told, one of each")
    for (code, status, _), answer in sorted(outcome.drive.tally.first_refusals.items()):
        message = _message(answer.body)
        shown = message if len(message) <= _MAX_MESSAGE else f"{message[: _MAX_MESSAGE - 3]}..."
        out.print(f"{status} {code:<20} {shown}")
    refusals = outcome.drive.tally.first_refusals
    example = refusals.get(("grant_exhausted", 402, "experimentation")) or next(iter(refusals.values()), None)
    if example is not None:
        _rule(out, "one refusal in full")
        out.print(http_text(example))
    page = next((one for one in pages if one.get("kind") in ("cap_reached", "overdraft")), pages[0] if pages else None)
    if page is not None:
        _rule(out, f"one of {page_count:,} pages delivered to the webhook")
        out.print(_indented(page))
    _rule(out, "the report")
    print_report(out, outcome.report)
    if missed:
        out.print(f"not met in this run: {', '.join(missed)}", style="yellow")
    out.print(
        "the books agree and no cap was exceeded" if outcome.good else "THE BOOKS DO NOT AGREE OR A CAP WAS EXCEEDED"
    )


def _rule(out: "Console", title: str) -> None:
    out.print()
    out.print(f"--- {title} ---", style="bold")


def _message(body: bytes) -> str:
    import msgspec

    try:
        return str(msgspec.json.decode(body)["error"]["message"])
    except (msgspec.MsgspecError, KeyError, TypeError):
        return body.decode(errors="replace")


def _indented(value: Any) -> str:
    import msgspec

    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()
