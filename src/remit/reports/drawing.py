"""Bars of a month's days as a picture of vectors, in text."""

from collections.abc import Sequence
from datetime import date
from html import escape

from remit.kernel.money import NANOUSD_PER_USD, format_usd

_WIDTH, _HEIGHT = 720, 190
_LEFT, _TOP, _BOTTOM = 64, 12, 22


def bars(days: Sequence[tuple[date, int]], title: str) -> str:
    """A bar for each day, with a scale; amounts below zero hang from the line. Whole numbers of pixels, tenths for bars."""
    top, low = max((amount for _, amount in days), default=0), min((amount for _, amount in days), default=0)
    step = _step(max(top, -low, 1))
    high, deep = -(-max(top, 0) // step) * step, -(-max(-low, 0) // step) * step
    span = max(high + deep, step)
    inner = _HEIGHT - _TOP - _BOTTOM

    def y(amount: int) -> int:
        return _TOP * 10 + (high - amount) * inner * 10 // span

    slot = (_WIDTH - _LEFT) * 10 // max(len(days), 1)
    parts = [
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(title)}" xmlns="http://www.w3.org/2000/svg">'
    ]
    for line in range(-deep, high + 1, step):
        at = _tenths(y(line))
        kind = "axis" if line == 0 else "grid"
        parts.append(f'<line class="{kind}" x1="{_LEFT}" x2="{_WIDTH}" y1="{at}" y2="{at}"/>')
        parts.append(f'<text x="{_LEFT - 8}" y="{at}" dy="0.32em" text-anchor="end">{escape(_short(line))}</text>')
    for number, (day, amount) in enumerate(days):
        left = _LEFT * 10 + number * slot
        begin, end = sorted((y(amount), y(0)))
        words = f"{day:%Y-%m-%d}: {format_usd(amount, decimals=2)}"
        kind = "bar weekend" if day.weekday() >= 5 else "bar"
        if amount:
            parts.append(
                f'<rect class="{kind}" x="{_tenths(left + slot // 8)}" y="{_tenths(begin)}" width="{_tenths(slot * 3 // 4)}"'
                f' height="{_tenths(max(end - begin, 5))}" rx="1"><title>{escape(words)}</title></rect>'
            )
        if day.day == 1 or day.day % 5 == 0:
            middle = _tenths(left + slot // 2)
            parts.append(f'<text x="{middle}" y="{_HEIGHT - 6}" text-anchor="middle">{day.day}</text>')
    return "\n".join([*parts, "</svg>"])


def _step(most: int) -> int:
    """1, 2 or 5 times a power of ten, so that there are two to five steps."""
    power = 1
    while power * 10 <= most:
        power *= 10
    for factor in (5, 2, 1):
        if most // (power * factor) >= 2:
            return power * factor
    return max(power // 2, 1)


def _short(amount: int) -> str:
    """An amount of the scale: no digits that are not there."""
    whole = amount % NANOUSD_PER_USD == 0
    return format_usd(amount).removesuffix(".00") if whole else format_usd(amount)


def _tenths(value: int) -> str:
    return f"{value // 10}.{value % 10}"
