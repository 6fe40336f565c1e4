"""The final report: one value for JSON, and the text a person reads."""

import os
import platform
from collections import Counter
from collections.abc import Iterable
from typing import Any

from rich.console import Console
from rich.table import Table

from remit.cli.output import table
from remit.cli.rehearsal.books import Verdict
from remit.cli.rehearsal.drive import Drive
from remit.kernel.money import format_usd
from remit.testing.load import Answer, Sample

_PERCENTS = (50, 99)
_LATE_SECONDS = 0.25


def report_of(drive: Drive, verdict: Verdict | None, *, rule: list[str]) -> dict[str, Any]:
    """Everything there is to say, as plain data: amounts in nano-USD, durations in milliseconds.

    Without a verdict (a gateway that is somebody else's) what cannot be known from outside is null.
    """
    tally = drive.tally
    return {
        "rule": rule,
        "machine": {
            "cores": os.cpu_count(),
            "system": platform.platform(terse=True),
            "python": platform.python_version(),
        },
        "speed": drive.speed,
        "seconds": round(drive.elapsed_seconds, 3),
        "requests": tally.sent,
        "requests_per_second": round(tally.sent / max(drive.elapsed_seconds, 0.001), 1),
        "answered": tally.answered,
        "streamed": tally.streams,
        "refused": tally.refusals,
        "refused_by": [
            {
                "code": kind.code,
                "status": kind.status,
                "class": kind.grant_class,
                "binding_node": kind.binding_node,
                "requests": count,
            }
            for kind, count in sorted(tally.refused.items(), key=lambda item: (item[0].code, -item[1]))
        ],
        "failed_by_status": {str(status): count for status, count in sorted(tally.failed.items())},
        "broken_by_reason": dict(sorted(tally.broken.items())),
        "all_ended": drive.all_ended,
        "most_inflight": drive.most_inflight,
        "told_to_callers_nanousd": tally.told_nanousd,
        "latency_ms": _percentiles(tally.latency),
        "added_latency_ms": _added(drive),
        "generator_lag_ms": {**_percentiles(drive.lag), "max": _ms(drive.lag.largest)},
        "books": None if verdict is None else _books(verdict),
    }


def _books(verdict: Verdict) -> dict[str, Any]:
    excess = verdict.overspend
    return {
        "vendor_nanousd": verdict.vendor_nanousd,
        "vendor_rows": verdict.vendor_rows,
        "direct_nanousd": verdict.direct_nanousd,
        "direct_rows": verdict.direct_rows,
        "ledger_nanousd": verdict.ledger_nanousd,
        "difference_nanousd": verdict.difference_nanousd,
        "holds": verdict.holds,
        "holds_that_differ": verdict.holds_that_differ,
        "suspense_calls": verdict.suspense_calls,
        "suspense_nanousd": verdict.suspense_nanousd,
        "corrected_nanousd": verdict.corrected_nanousd,
        "overdraft_nanousd": verdict.overdraft_nanousd,
        "overspend_nanousd": excess.usd,
        "overspend_tokens": excess.tokens,
        "overspend_requests": excess.requests,
        "buckets": len(verdict.buckets),
        "looks_at_buckets": excess.looks,
        "spend_by_team": [
            {"team": row.group[0], "class": row.group[1], "requests": row.requests, "nanousd": row.amount_nanousd}
            for row in verdict.spend_by_team
        ],
        "doctor": verdict.doctor,
        "agree": verdict.agrees,
    }


def _added(drive: Drive) -> dict[str, Any]:
    """Percentiles of both sides of the pairs, and their differences: not the percentiles of differences."""
    pairs = drive.pairs
    direct, gateway = _percentiles(pairs.direct), _percentiles(pairs.gateway)
    added = {
        name: None if value is None or other is None else round(other - value, 3)
        for (name, value), other in zip(direct.items(), gateway.values(), strict=True)
    }
    return {"pairs": len(pairs.gateway), "failed_pairs": pairs.failed, "direct": direct, "gateway": gateway, **added}


def _percentiles(sample: Sample) -> dict[str, float | None]:
    return {f"p{percent}": _ms(sample.percentile(percent)) for percent in _PERCENTS}


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 3)


def print_report(out: Console, report: dict[str, Any]) -> None:
    """The report for people."""
    seconds, requests = report["seconds"], report["requests"]
    out.print()
    out.print(
        f"{requests:,} requests in {seconds:.1f} s ({report['requests_per_second']:,.0f} a second, at most "
        f"{report['most_inflight']:,} at a time): {report['answered']:,} answered ({report['streamed']:,} streamed), "
        f"{report['refused']:,} refused, {_unanswered(report):,} failed"
    )
    if report["refused_by"]:
        out.print(_refused_table(report["refused_by"]))
    for reason, count in {**report["failed_by_status"], **report["broken_by_reason"]}.items():
        out.print(f"failed: {count:,} x {'status ' if reason.isdigit() else ''}{reason}")
    books = report["books"]
    if books is not None:
        _print_books(out, books)
    _print_latency(out, report)
    if not report["all_ended"]:
        out.print("NOT COMPLETE: some calls were still under way when the waiting ended", style="bold red")


def _unanswered(report: dict[str, Any]) -> int:
    counts: list[int] = [*report["failed_by_status"].values(), *report["broken_by_reason"].values()]
    return sum(counts)


def _refused_table(rows: Iterable[dict[str, Any]]) -> Table:
    shown = table("refused", "status", "class", "requests", "binding node", right=("status", "requests"))
    for row in rows:
        shown.add_row(row["code"], str(row["status"]), row["class"], f"{row['requests']:,}", row["binding_node"] or "-")
    return shown


def _print_books(out: Console, books: dict[str, Any]) -> None:
    teams = table("team", "class", "requests", "spend", right=("requests", "spend"))
    for row in books["spend_by_team"]:
        teams.add_row(row["team"] or "-", row["class"] or "-", f"{row['requests']:,}", format_usd(row["nanousd"]))
    out.print(teams)
    money = table("books", "amount", "", right=("amount",))
    money.add_row("vendor's books", format_usd(books["vendor_nanousd"]), f"{books['vendor_rows']:,} rows")
    money.add_row("ledger", format_usd(books["ledger_nanousd"]), f"{books['holds']:,} holds, compared one by one")
    difference = books["difference_nanousd"]
    style = "bold red" if difference or books["holds_that_differ"] else "bold green"
    money.add_row("difference", format_usd(difference), "", style=style)
    overspend = books["overspend_nanousd"]
    over = overspend > 0 or books["overspend_tokens"] > 0 or books["overspend_requests"] > 0
    looks = f"over {books['buckets']:,} buckets, looked at {books['looks_at_buckets']:,} times"
    money.add_row("overspend", format_usd(overspend), looks, style="bold red" if over else "bold green")
    out.print(money)
    if books["suspense_calls"]:
        out.print(
            f"{books['suspense_calls']:,} calls broke at the vendor: booked at their ceilings, "
            f"{format_usd(books['suspense_nanousd'])}, then corrected by its statement by {format_usd(books['corrected_nanousd'])}"
        )
    if books["overdraft_nanousd"]:
        out.print(f"overdraft used, posted as debt: {format_usd(books['overdraft_nanousd'])}")
    for name in books["holds_that_differ"]:
        out.print(f"differs: {name}", style="red")
    for finding in books["doctor"]:
        out.print(f"doctor: {finding}", style="red")


def _print_latency(out: Console, report: dict[str, Any]) -> None:
    added, lag = report["added_latency_ms"], report["generator_lag_ms"]
    if added["p50"] is not None:
        direct, gateway = added["direct"], added["gateway"]
        out.print(
            f"added latency p50 {added['p50']:.1f} ms, p99 {added['p99']:.1f} ms: direct {direct['p50']:.1f} / "
            f"{direct['p99']:.1f} ms, gateway {gateway['p50']:.1f} / {gateway['p99']:.1f} ms, "
            f"{added['pairs']:,} pairs sent at the same instants during the run; generator, vendor, database and gateway "
            f"share {report['machine']['cores']} cores"
        )
    if lag["max"] is not None:
        late = lag["max"] > _LATE_SECONDS * 1000
        text = f"generator lag p50 {lag['p50']:.1f} ms, p99 {lag['p99']:.1f} ms, max {lag['max']:.1f} ms"
        out.print(
            f"{text}: IT FELL BEHIND; the load was less sharp than the trace" if late else text,
            style="bold yellow" if late else "",
        )


def http_text(answer: Answer) -> str:
    """An answer as it came over the wire, its JSON body indented for reading."""
    import msgspec

    head = [f"HTTP/1.1 {answer.status} {answer.reason}", *(f"{name}: {value}" for name, value in answer.headers)]
    try:
        body = msgspec.json.format(answer.body, indent=2).decode()
    except (msgspec.MsgspecError, UnicodeDecodeError):
        body = answer.body.decode(errors="replace")
    return "\n".join([*head, "", body])


def codes_met(report: dict[str, Any]) -> Counter[str]:
    """Requests by refusal code."""
    met: Counter[str] = Counter()
    for row in report["refused_by"]:
        met[row["code"]] += row["requests"]
    return met
