"""What a person sees while it runs: a tree that burns, or a line now and then where there is no terminal."""

import sys
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Final, Self

import psycopg
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from remit.cli.rehearsal.books import Excess
from remit.cli.rehearsal.drive import Drive
from remit.kernel.money import format_usd
from remit.store.postgres_watch import BucketState, PostgresWatch

_LINE_SECONDS: Final = 5.0
_BAR_CELLS: Final = 32
_PIPE_COLUMNS: Final = 160


def console(*, json: bool) -> Console:
    """Where people read: standard output, or standard error where that is for JSON. Tables are whole in a pipe."""
    stream = sys.stderr if json else sys.stdout
    width = None if stream.isatty() else _PIPE_COLUMNS
    return Console(file=stream, width=width, highlight=False, markup=False, emoji=False, soft_wrap=True)


class Show:
    """Follows a run; `excess` collects what the looks at the buckets found. Use as a context around `Drive.run`."""

    def __init__(self, out: Console, watch: PostgresWatch | None, *, tree: bool) -> None:
        self.excess = Excess()
        self._out = out
        self._watch = watch
        self._tree = tree
        self._buckets: list[BucketState] = []
        self._next_line_at = time.monotonic() + _LINE_SECONDS
        columns = ("[progress.description]{task.description}",)
        self._progress = Progress(
            TextColumn(*columns),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=out,
            auto_refresh=False,
        )
        self._task = self._progress.add_task("requests", total=None)
        self._live = Live(console=out, auto_refresh=False, transient=True) if out.is_terminal else None

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    async def tick(self, drive: Drive) -> None:
        """Looks at the buckets and shows how far things are."""
        if self._watch is not None:
            try:
                self._buckets = await self._watch.buckets_live()
            except psycopg.Error:
                return
            self.excess.look(self._buckets)
            if drive.all_ended:
                await self._watch.close()
        self._progress.update(self._task, completed=drive.tally.ended, total=drive.total)
        if self._live is not None:
            self._live.update(self._picture(drive), refresh=True)
        elif time.monotonic() >= self._next_line_at:
            self._next_line_at = time.monotonic() + _LINE_SECONDS
            self._out.print(_line(drive, self._buckets))

    def _picture(self, drive: Drive) -> RenderableType:
        parts: list[RenderableType] = [self._progress, Text(_line(drive, []))]
        if self._tree:
            parts.append(tree_table(self._buckets))
        return Group(*parts)


def tree_table(buckets: Sequence[BucketState]) -> Table:
    """The money and the rates of every grant that has a limit, root first."""
    shown = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name, justify in (("grant", "left"), ("class", "left"), ("used", "left"), ("", "right"), ("limit", "left")):
        shown.add_column(name, justify="right" if justify == "right" else "left", no_wrap=True)
    newest = {(bucket.path, bucket.dimension, bucket.period_kind): bucket for bucket in buckets}
    for bucket in newest.values():
        indent = "  " * bucket.path.count("/")
        name = f"{indent}{bucket.path.rpartition('/')[2]}"
        shown.add_row(name, bucket.grant_class or "", _bar(bucket), f"{_percent(bucket)}%", _limit(bucket))
    return shown


def _bar(bucket: BucketState) -> Text:
    room = bucket.limit + bucket.overdraft_limit
    own = bucket.used - bucket.overdraft_used
    cells = [_cells(amount, room) for amount in (own, bucket.used, bucket.used + bucket.held)]
    style = "red" if _percent(bucket) >= 95 else "yellow" if _percent(bucket) >= 75 else "green"
    bar = Text("█" * cells[0], style=style)
    bar.append("█" * (cells[1] - cells[0]), style="magenta")
    bar.append("▒" * (cells[2] - cells[1]), style="cyan")
    bar.append("·" * (_BAR_CELLS - cells[2]), style="dim")
    return bar


def _cells(amount: int, room: int) -> int:
    return min(_BAR_CELLS, amount * _BAR_CELLS // room) if room > 0 else _BAR_CELLS


def _percent(bucket: BucketState) -> int:
    room = bucket.limit + bucket.overdraft_limit
    return 100 * (bucket.used + bucket.held) // room if room > 0 else 100


def _limit(bucket: BucketState) -> str:
    def text(amount: int) -> str:
        return format_usd(amount, decimals=2) if bucket.dimension == "usd" else f"{amount:,} {bucket.dimension}"

    window = {"once": "in all", "inflight": "at a time"}.get(bucket.period_kind, f"per {bucket.period_kind}")
    overdraft = f" + {text(bucket.overdraft_limit)} overdraft" if bucket.overdraft_limit else ""
    return f"{text(bucket.limit)} {window}{overdraft}"


def _line(drive: Drive, buckets: Sequence[BucketState]) -> str:
    tally = drive.tally
    text = (
        f"{drive.elapsed_seconds:5.1f} s  sent {tally.sent:,}  answered {tally.answered:,}  refused {tally.refusals:,}  "
        f"under way {drive.inflight:,}  told {format_usd(tally.told_nanousd, decimals=4)}"
    )
    full = [
        f"{bucket.path} {_percent(bucket)}%"
        for bucket in buckets
        if bucket.dimension == "usd" and bucket.path.count("/")
    ]
    return f"{text}  {', '.join(full)}" if full else text
