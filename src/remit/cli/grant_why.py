"""What `grant why` prints."""

from collections.abc import Iterator
from itertools import groupby

from rich.text import Text

from remit.grants.model import Limit
from remit.grants.render import value_text
from remit.grants.why import BoundaryLine, HandOn, LimitLine, Node, Why
from remit.grants.words import amount_text, limit_text, period_text, printable
from remit.kernel.money import format_usd


def why_lines(answer: Why) -> Iterator[Text]:
    """The verdict, then limits, restrictions, boundaries and what may be handed on, each by node from the root down."""
    verdict = answer.verdict
    yield Text(answer.path, style="bold")
    yield Text(f"  {printable(verdict.detail)}", style="green" if verdict.passes else "red")
    yield Text("")
    yield Text("limits now, every one of which binds", style="bold")
    for node, lines in groupby(answer.limits, lambda line: line.node):
        yield Text(f"  {_named(node)}")
        for line in lines:
            yield Text(f"    {_limit(line)}", style="bold" if line.binds else "")
    yield Text("")
    yield Text("what each grant says of requests", style="bold")
    for node, restrictions in groupby(answer.restrictions, lambda one: one.node):
        yield Text(f"  {_named(node)}")
        for one in restrictions:
            yield Text(f"    {one.field}: {printable(one.says)}")
    if answer.boundaries:
        yield Text("")
        yield Text("boundaries, which bind whoever hands on below them", style="bold")
        for boundary in answer.boundaries:
            yield from _boundary(boundary)
    yield Text("")
    yield Text("what may be handed out below", style="bold")
    if not answer.hands_on:
        yield Text("  nothing: no grant may stand below this one")
    for limit in answer.hand_on if answer.hands_on else ():
        yield Text(f"  {_hand_on(limit)}")
    if answer.hands_on and answer.levels_below is not None:
        yield Text(f"  at most {answer.levels_below} levels deep")


def _named(node: Node) -> str:
    return "a grant above that you do not see" if node.path is None else f"{node.path}  ({printable(node.owner or '')})"


def _limit(line: LimitLine) -> str:
    def text(amount: int) -> str:
        return amount_text(line.dimension, amount)

    words = f"{text(line.posted)} posted, {text(line.held)} held, {text(line.left)} left"
    if line.overdraft:
        words += f", overdraft {text(line.borrowed)} of {text(line.overdraft)}"
    whole = limit_text(Limit(line.dimension, line.limit, line.period))
    return f"{whole}: {words}" + ("  <- the least left" if line.binds else "")


def _boundary(line: BoundaryLine) -> Iterator[Text]:
    yield Text(f"  {_named(line.node)}")
    yield Text(f"    {printable(value_text(line.boundary))}")
    for period, amount in line.most:
        yield Text(f"    now at most {format_usd(amount)} {period_text(period)} to one grant")


def _hand_on(one: HandOn) -> str:
    most = "" if one.most_to_one is None else f"; the owner at most {amount_text('usd', one.most_to_one)} to one grant"
    return f"{one.text}{most}"
