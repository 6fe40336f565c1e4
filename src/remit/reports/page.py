"""A statement as one page: nothing of it is loaded from elsewhere, nothing runs, and what people wrote is text."""

from collections.abc import Iterable, Sequence
from html import escape

from remit.kernel.money import divide_half_even, format_usd
from remit.ledger.model import ReportRow
from remit.reports.budget import BudgetLine
from remit.reports.drawing import bars
from remit.reports.statement import Booking, Statement, cents_text

_MOST_ROWS = 25
_STYLE = """
:root { color-scheme: light; }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 40px 32px 56px; max-width: 840px; background: #fff; color: #1d2330;
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", "Liberation Sans", Arial, sans-serif; }
header { display: flex; justify-content: space-between; align-items: flex-end; gap: 24px; border-bottom: 2px solid #1d2330; padding-bottom: 16px; }
h1 { font-size: 24px; line-height: 1.2; margin: 0 0 4px; font-weight: 650; }
h2 { font-size: 13px; letter-spacing: .06em; text-transform: uppercase; color: #5a6475; margin: 32px 0 8px; font-weight: 650; }
p { margin: 4px 0; }
.quiet { color: #5a6475; font-size: 13px; }
.sum { text-align: right; white-space: nowrap; }
.sum strong { display: block; font-size: 32px; line-height: 1.1; font-weight: 650; font-variant-numeric: tabular-nums; }
.tiles { display: grid; grid-template-columns: repeat(5, 1fr); gap: 12px; margin: 20px 0 0; padding: 0; list-style: none; }
.tiles li { background: #f4f6f9; border-radius: 8px; padding: 10px 12px; }
.tiles b { display: block; font-size: 17px; font-weight: 600; font-variant-numeric: tabular-nums; }
.tiles span { color: #5a6475; font-size: 12px; }
.todo { border-left: 4px solid #c2570c; background: #fff7ed; padding: 10px 16px; margin: 0; list-style: none; }
.todo li { margin: 4px 0; overflow-wrap: anywhere; }
.todo.none { border-color: #2f855a; background: #f0f9f4; }
table { border-collapse: collapse; width: 100%; font-size: 14px; }
th { text-align: left; font-weight: 600; color: #5a6475; font-size: 12px; border-bottom: 1px solid #cfd6e0; padding: 4px 12px 4px 0; }
td { border-bottom: 1px solid #e8ecf1; padding: 6px 12px 6px 0; vertical-align: top; overflow-wrap: anywhere; }
th.n, td.n { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
td.k { white-space: nowrap; } td.g { min-width: 9em; }
th:last-child, td:last-child { padding-right: 0; }
tfoot td { font-weight: 650; border-bottom: 0; }
.meter { display: block; height: 6px; width: 120px; background: #e8ecf1; border-radius: 3px; overflow: hidden; margin-top: 7px; }
.meter i { display: block; height: 100%; background: #2b6cb0; }
.meter i.warn { background: #c2570c; }
svg { width: 100%; height: auto; display: block; margin-top: 4px; }
svg text { font-size: 11px; fill: #5a6475; }
.bar { fill: #2b6cb0; } .bar.weekend { fill: #8fb3d9; }
.grid { stroke: #e8ecf1; } .axis { stroke: #8b95a5; }
footer { margin-top: 32px; border-top: 1px solid #cfd6e0; padding-top: 12px; }
@media print { body { padding: 0; font-size: 12px; } section, tr, svg { break-inside: avoid; }
  .tiles li, .todo, .meter, .meter i, .bar { print-color-adjust: exact; -webkit-print-color-adjust: exact; } @page { margin: 16mm; } }
@media (max-width: 640px) { header { display: block; } .sum { text-align: left; margin-top: 12px; } .tiles { grid-template-columns: 1fr 1fr; } }
"""
_KINDS = {
    **dict.fromkeys(("calls", "upper bound", "charged", "share", "amount"), ' class="n"'),
    **dict.fromkeys(("used", "what"), ' class="k"'),
    **dict.fromkeys(("grant", "model"), ' class="g"'),
}
_VERDICTS = {
    "spent": "spent",
    "will_exceed": "expected to reach it",
    "may_exceed": "may reach it",
    "fits": "fits",
    "unknown": "no forecast",
}


def page(one: Statement) -> str:
    """The whole document."""
    title = f"AI spend of {one.owner}, {one.month:%B %Y}"
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">',
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">",
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body>",
        _head(one),
        _tiles(one),
        _todo(one),
        _days(one),
        _shares("By grant", "grant", one.by_grant, one),
        _shares("By model", "model", one.by_model, one),
        _budget(one),
        _bookings(one.bookings),
        _foot(one),
        "</body></html>",
    ]
    return "\n".join(part for part in parts if part) + "\n"


def _head(one: Statement) -> str:
    until = "" if one.is_over else f", until {one.made_at:%Y-%m-%d %H:%M} UTC"
    return (
        f"<header><div><h1>{escape(one.owner)}</h1><p>Statement of AI spend, {one.month:%B %Y}{until}</p></div>"
        f'<div class="sum"><strong>{cents_text(one.total.amount_nanousd)}</strong>'
        f'<span class="quiet">{escape(_change(one))}</span></div></header>'
    )


def _change(one: Statement) -> str:
    before = one.before_nanousd
    if before <= 0:
        return "nothing in the month before"
    words = f"{cents_text(before)} in the month before"
    if not one.is_over:
        return words
    change = divide_half_even((one.total.amount_nanousd - before) * 100, before)
    return f"{words}, {'+' if change > 0 else ''}{change}%"


def _tiles(one: Statement) -> str:
    units = one.units
    tiles = [
        (f"{one.total.requests:,}", "calls"),
        (_fine(units.per_request_nanousd), "a call"),
        (_fine(units.per_1k_tokens_nanousd), "a thousand tokens"),
        (_percent(units.cache_hit_ppm), "of input from caches"),
        (_percent(units.retry_ppm), "of calls were retries"),
    ]
    items = "".join(f"<li><b>{escape(value)}</b><span>{escape(words)}</span></li>" for value, words in tiles)
    return f'<ul class="tiles">{items}</ul>'


def _todo(one: Statement) -> str:
    if not one.todo:
        return '<section><h2>To do</h2><ul class="todo none"><li>Nothing.</li></ul></section>'
    items = "".join(f"<li>{escape(words)}</li>" for words in one.todo)
    return f'<section><h2>To do</h2><ul class="todo">{items}</ul></section>'


def _days(one: Statement) -> str:
    drawn = bars(one.days, f"Spend by day in {one.month:%B %Y}")
    more = ""
    if one.earlier_nanousd:
        more = f'<p class="quiet">And {cents_text(one.earlier_nanousd)} used in months before, booked in this one.</p>'
    return f"<section><h2>By day</h2>{drawn}{more}</section>"


def _shares(title: str, name: str, rows: Sequence[ReportRow], one: Statement) -> str:
    shown, rest = rows[:_MOST_ROWS], rows[_MOST_ROWS:]
    waits = any(row.suspense_nanousd for row in rows)
    body = [
        [row.group[0] or "no call", f"{row.requests:,}", *([_some(row.suspense_nanousd)] if waits else []),
         cents_text(row.amount_nanousd), _of(row.amount_nanousd, one.total.amount_nanousd)]
        for row in shown
    ]  # fmt: skip
    if rest:
        amount, requests = sum(row.amount_nanousd for row in rest), sum(row.requests for row in rest)
        waiting = [_some(sum(row.suspense_nanousd for row in rest))] if waits else []
        words = f"{len(rest):,} more"
        body.append([words, f"{requests:,}", *waiting, cents_text(amount), _of(amount, one.total.amount_nanousd)])
    waiting = [_some(one.total.suspense_nanousd)] if waits else []
    foot = ["total", f"{one.total.requests:,}", *waiting, cents_text(one.total.amount_nanousd), ""]
    names = [name, "calls", *(["upper bound"] if waits else []), "charged", "share"]
    return f"<section><h2>{escape(title)}</h2>{_table(names, body, foot)}</section>"


def _budget(one: Statement) -> str:
    if not one.budget:
        return ""
    rows = []
    for line in one.budget:
        words = _VERDICTS[line.verdict]
        if line.expected_nanousd is not None and line.low_nanousd is not None and line.high_nanousd is not None:
            words = f"{words}: {cents_text(line.expected_nanousd)} ({cents_text(line.low_nanousd)} to {cents_text(line.high_nanousd)})"
        rows.append(
            f"<tr><td>{escape(line.path)}{_meter(line)}</td><td>{line.period}</td>"
            f'<td class="n">{cents_text(line.limit_nanousd)}</td><td class="n">{cents_text(line.posted_nanousd)}</td>'
            f'<td class="n">{_percent(line.used_ppm)}</td><td>{escape(words)}</td></tr>'
        )
    return (
        f'<section><h2>Budget</h2><p class="quiet">As of {one.made_at:%Y-%m-%d %H:%M} UTC, for the present period of each limit;'
        " in brackets where nine in ten forecasts end.</p><table><thead><tr><th>grant</th><th>per</th>"
        '<th class="n">limit</th><th class="n">spent</th><th class="n">used</th><th>at the end</th></tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></section>"
    )


def _meter(line: BudgetLine) -> str:
    if line.used_ppm is None:
        return ""
    kind = "" if line.verdict in ("fits", "unknown") else ' class="warn"'
    return f'<span class="meter"><i{kind} style="width:{min(max(line.used_ppm, 0) // 10_000, 100)}%"></i></span>'


def _bookings(bookings: Sequence[Booking]) -> str:
    if not bookings:
        return ""
    body = [
        [f"{one.held_at:%Y-%m-%d}", one.kind, one.grant_path, _why(one), cents_text(one.amount_nanousd)]
        for one in bookings
    ]
    foot = ["total", "", "", "", cents_text(sum(one.amount_nanousd for one in bookings))]
    names = ["used", "what", "grant", "why, and who booked it", "amount"]
    return f"<section><h2>Adjustments and transfers</h2>{_table(names, body, foot)}</section>"


def _why(one: Booking) -> str:
    words = " ".join(filter(None, (one.vendor, one.cause, one.note)))
    return f"{words} ({one.booked_by})" if one.booked_by else words


def _foot(one: Statement) -> str:
    return (
        '<footer class="quiet"><p>What is charged is what was booked in the month: what calls cost, what vendors charge otherwise, and'
        " what was moved here or away. Days are of UTC. Amounts are rounded to cents here; the ledger has them exactly:"
        f" {one.total.amount_nanousd:,} billionths of a dollar in all.</p><p>Made by Remit at {one.made_at:%Y-%m-%d %H:%M} UTC.</p></footer>"
    )


def _table(
    names: Sequence[str],
    body: Iterable[Sequence[str]],
    foot: Sequence[str],
) -> str:
    kinds = [_KINDS.get(name, "") for name in names]

    def line(cells: Sequence[str], tag: str) -> str:
        made = (f"<{tag}{kind}>{escape(cell)}</{tag}>" for cell, kind in zip(cells, kinds, strict=True))
        return f"<tr>{''.join(made)}</tr>"

    rows = "".join(line(cells, "td") for cells in body)
    return f"<table><thead>{line(names, 'th')}</thead><tbody>{rows}</tbody><tfoot>{line(foot, 'td')}</tfoot></table>"


def _some(amount: int) -> str:
    return cents_text(amount) if amount else ""


def _fine(amount: int | None) -> str:
    """A unit's cost, to four digits that count."""
    if amount is None:
        return "unknown"
    decimals = 2
    while decimals < 9 and abs(amount) < 10 ** (11 - decimals):
        decimals += 1
    return format_usd(amount, decimals=decimals)


def _percent(ppm: int | None) -> str:
    if ppm is None:
        return "unknown"
    tenths = divide_half_even(ppm, 1000)
    return "<0.1%" if tenths == 0 and ppm > 0 else f"{tenths // 10}.{tenths % 10}%"


def _of(amount: int, total: int) -> str:
    return "" if total <= 0 else _percent(divide_half_even(amount * 1_000_000, total)) if amount >= 0 else ""
