"""How far each limit of a grant has burned in its current period."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

from rich.text import Text

from remit.grants.model import Grant, Limit
from remit.grants.words import amount_text, limit_text
from remit.kernel.periods import period_of
from remit.store.postgres_ledger import BucketNumbers

_CELLS = 20
WIDE_COLUMNS: Final = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class Burn:
    """One limit of one grant now, in nano-USD, tokens or requests.

    `remaining` is what this limit alone would still admit, escrowed overdraft included; a limit further up may admit
    less. `starts_at` and `ends_at` bound the period.
    """

    path: str
    limit: Limit
    starts_at: datetime
    ends_at: datetime
    posted: int
    held: int
    overdraft: int
    overdraft_posted: int
    remaining: int

    def body(self) -> dict[str, Any]:
        """JSON-able form with stable keys."""
        own = {name: value for name, value in asdict(self).items() if name != "limit"}
        terms = {"dimension": self.limit.dimension, "period": self.limit.period, "limit": self.limit.amount}
        return {"path": own.pop("path"), **terms, "unit": _UNITS[self.limit.dimension], **own}


_UNITS = {"usd": "nano-usd", "tokens": "tokens", "requests": "requests"}


def burns_of(grants: Iterable[Grant], buckets: Iterable[BucketNumbers], now: datetime) -> dict[str, list[Burn]]:
    """For each grant's id, its limits in their order. A limit without a bucket has not been used in its period."""
    known = {(one.node_id, one.dimension, one.period_kind, one.period_start): one for one in buckets}
    return {grant.id: [_burn(grant, limit, known, now) for limit in grant.limits] for grant in grants}


def _burn(
    grant: Grant, limit: Limit, known: dict[tuple[str, str, str, datetime], BucketNumbers], now: datetime
) -> Burn:
    period = period_of(limit.period, now, ZoneInfo(grant.time_zone))
    bucket = known.get((grant.id, limit.dimension, limit.period, period.start))
    posted, held = (bucket.posted, bucket.held) if bucket else (0, 0)
    escrow = grant.overdraft.max_nanousd if grant.overdraft and limit.dimension == "usd" else 0
    borrowed, borrowing = (bucket.overdraft_posted, bucket.overdraft_held) if bucket else (0, 0)
    return Burn(
        path=grant.path,
        limit=limit,
        starts_at=period.start,
        ends_at=period.end,
        posted=posted,
        held=held + borrowing,
        overdraft=escrow,
        overdraft_posted=borrowed,
        remaining=max(limit.amount - posted - held, 0) + max(escrow - borrowed - borrowing, 0),
    )


def limits_width(burns: Iterable[Burn]) -> int:
    """Characters of the longest limit, so that bars stand below each other."""
    return max((len(limit_text(burn.limit)) for burn in burns), default=0)


def burn_line(burn: Burn, width: int, *, unicode: bool, narrow: bool = False) -> Text:
    """`$50.00 per month  [bar]  62%  $31.00 posted, $0.10 held, $18.90 left`, the bar beginning at `width`; the words below it if `narrow`."""
    dimension = burn.limit.dimension
    used = burn.posted + burn.overdraft_posted
    words = [f"{amount_text(dimension, used)} posted", f"{amount_text(dimension, burn.held)} held"]
    words.append(f"{amount_text(dimension, burn.remaining)} left")
    if burn.overdraft:
        words.append(
            f"overdraft {amount_text(dimension, burn.overdraft_posted)} of {amount_text(dimension, burn.overdraft)}"
        )
    line = Text(f"{limit_text(burn.limit):<{width}}  ")
    line.append_text(_bar(used, burn.held, burn.limit.amount, unicode=unicode))
    line.append(f" {_percent(used + burn.held, burn.limit.amount):>4}" + ("\n      " if narrow else "  "))
    line.append(", ".join(words), style="dim")
    return line


def _bar(posted: int, held: int, limit: int, *, unicode: bool) -> Text:
    full, half, empty = ("█", "▒", "░") if unicode else ("#", "+", ".")
    # Any use shows, and only what is used up shows as full.
    cells = _CELLS if limit == 0 else min(_CELLS, -(-posted * _CELLS // limit))
    if posted < limit:
        cells = min(cells, _CELLS - 1)
    waiting = 0 if limit == 0 else min(_CELLS - cells, -(-held * _CELLS // limit))
    style = "red" if posted + held >= limit else "yellow" if (posted + held) * 5 >= limit * 4 else "green"
    return Text.assemble((full * cells + half * waiting, style), (empty * (_CELLS - cells - waiting), "dim"))


def _percent(used: int, limit: int) -> str:
    return "none" if limit == 0 else f"{used * 100 // limit}%"
