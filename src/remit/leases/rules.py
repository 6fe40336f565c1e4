"""Pure rules: which lines a request holds, how spending is paced, which failure answers."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from remit.grants.words import amount_text
from remit.kernel.decisions import Dimension, RefusalCode, Refused
from remit.kernel.periods import BEGINNING, FOREVER, Period, PeriodKind, period_of
from remit.leases.model import HoldLine, LineFailure, NodeTerms
from remit.leases.ports import FullParent, HoldRefused, ProofReplayed
from remit.leases.terms import path_of_block

_RATE_KINDS = ("minute", "inflight")
# The period found last for each kind and zone. Periods are disjoint: the one that contains an instant is its answer.
_recent: dict[tuple[PeriodKind, ZoneInfo], Period] = {}
INFLIGHT_RETRY_SECONDS = 1


def hold_lines(nodes: Iterable[NodeTerms], *, usd: int, tokens: int, now: datetime) -> tuple[HoldLine, ...]:
    """One line for every limit and rate of every node. `usd` in nano-USD and `tokens` are the request's ceiling."""
    amounts: dict[Dimension, int] = {"usd": usd, "tokens": tokens, "requests": 1}
    path = tuple(nodes)
    # An overdraft is for production: an experiment below a grant that has one uses that grant's own money only.
    overdraws = not path or path[-1].grant_class == "production"
    lines: list[HoldLine] = []
    for node in path:
        for line in bucket_lines(node, amounts, now):
            if line.overdraft_limit and not overdraws:
                pace = line.limit if line.pace_limit is None else min(line.pace_limit, line.limit)
                lines.append(replace(line, pace_limit=pace))
            else:
                lines.append(line)
    return tuple(lines)


def bucket_lines(node: NodeTerms, amounts: dict[Dimension, int], now: datetime) -> list[HoldLine]:
    """The lines of one node; with zero amounts, simply its buckets at that instant."""
    lines = []
    for limit in node.limits:
        period = _period_of(limit.period, now, node.zone)
        money = limit.dimension == "usd"
        lines.append(
            HoldLine(
                node_id=node.node_id,
                dimension=limit.dimension,
                kind=limit.period,
                starts=period.start,
                ends=period.end,
                limit=limit.amount,
                amount=amounts[limit.dimension],
                overdraft_limit=node.overdraft_nanousd if money else 0,
                pace_limit=_pace_limit(node, limit.amount, period, now) if money else None,
                page_percents=node.page_percents,
            )
        )
    rates: tuple[tuple[Dimension, int | None], ...] = (
        ("requests", node.requests_per_minute),
        ("tokens", node.tokens_per_minute),
    )
    for dimension, rate in rates:
        if rate is not None:
            minute = _period_of("minute", now, node.zone)
            lines.append(
                HoldLine(
                    node_id=node.node_id,
                    dimension=dimension,
                    kind="minute",
                    starts=minute.start,
                    ends=minute.end,
                    limit=rate,
                    amount=amounts[dimension],
                )
            )
    if node.concurrency is not None:
        lines.append(
            HoldLine(
                node_id=node.node_id,
                dimension="requests",
                kind="inflight",
                starts=BEGINNING,
                ends=FOREVER,
                limit=node.concurrency,
                amount=amounts["requests"],
            )
        )
    return lines


def _period_of(kind: PeriodKind, now: datetime, zone: ZoneInfo) -> Period:
    recent = _recent.get((kind, zone))
    if recent is None or now not in recent:
        recent = _recent[kind, zone] = period_of(kind, now, zone)
    return recent


def pace_line(limit: int, pace_from_percent: int, period: Period, now: datetime) -> int:
    """How much of a limit may be used by now when spending is paced.

    Up to `pace_from_percent` of the limit is free at any time; the rest becomes available evenly over the period.
    """
    free = limit * pace_from_percent // 100
    elapsed = int((now - period.start).total_seconds())
    length = int((period.end - period.start).total_seconds())
    return free + (limit - free) * elapsed // length


def _pace_limit(node: NodeTerms, limit: int, period: Period, now: datetime) -> int | None:
    if node.pace_from_percent is None or node.grant_class != "experimentation" or period.kind == "once":
        return None
    return pace_line(limit, node.pace_from_percent, period, now)


def pace_wait_seconds(failure: LineFailure, pace_from_percent: int, now: datetime) -> int:
    """Whole seconds, at least one, until the pace allows what was refused."""
    wanted = failure.posted + failure.held + failure.required
    free = failure.limit * pace_from_percent // 100
    length = int((failure.ends - failure.starts).total_seconds())
    seconds = -(-(wanted - free) * length // max(1, failure.limit - free))
    return max(1, int((failure.starts + timedelta(seconds=seconds) - now).total_seconds()) + 1)


def refusal_of_hold(
    why: HoldRefused, nodes: Sequence[NodeTerms], leaf: NodeTerms, *, now: datetime, renew_url: str | None
) -> Refused:
    """The answer for a hold that was not taken. `nodes` are those it was wanted on, `leaf` the grant it draws on."""
    if isinstance(why, ProofReplayed):
        detail = f"the proof of possession was used before; make a new one for every request; ask `{leaf.owner}`"
        return Refused(code=RefusalCode.proof_required, detail=detail, path=leaf.path, owner=leaf.owner)
    if isinstance(why, FullParent):
        parent = path_of_block(leaf.path, why.block_id)
        detail = (
            f"`{parent}` may have {why.max_children:,} living child{'' if why.max_children == 1 else 'ren'} "
            f"and has {why.living:,}; "
            f"the first of them expires at {why.next_at:%Y-%m-%dT%H:%M:%SZ}; ask `{leaf.owner}`"
        )
        return Refused(
            code=RefusalCode.policy_forbidden,
            detail=detail,
            path=leaf.path,
            binding_node=parent,
            resets_at=why.next_at,
            owner=leaf.owner,
            extra={"max_children": why.max_children, "living_children": why.living},
        )
    return refusal_of(why, nodes, path=leaf.path, now=now, renew_url=renew_url)


def refusal_of(
    failures: Sequence[LineFailure], nodes: Sequence[NodeTerms], *, path: str, now: datetime, renew_url: str | None
) -> Refused:
    """The one answer for lines that did not fit: rates before pace before exhaustion, then root before leaf.

    Among exhausted limits one that never refills wins: waiting for another would not help.
    """
    terms = {node.node_id: node for node in nodes}
    order = {node.node_id: index for index, node in enumerate(nodes)}

    def precedence(failure: LineFailure) -> tuple[int, int, int]:
        code = _code_of(failure)
        never = -int(failure.ends.timestamp()) if code is RefusalCode.grant_exhausted else 0
        return (code.precedence, never, order[failure.node_id])

    failure = min(failures, key=precedence)
    node = terms[failure.node_id]
    code = _code_of(failure)
    overdraft = failure.overdraft_limit if nodes[-1].grant_class == "production" else 0
    resets_at = None if failure.kind in ("once", "inflight") else failure.ends
    # Whether the same request fits once nothing else is counted: else no waiting helps.
    room = failure.limit + overdraft
    fits = room > 0 and failure.required <= room
    refills = resets_at is not None and fits
    wait: int | None
    if code is RefusalCode.grant_exhausted:
        status, transient, wait = (429, True, _seconds_until(failure.ends, now)) if refills else (402, False, None)
    elif code is RefusalCode.paced:
        assert node.pace_from_percent is not None
        status, transient, wait = 429, True, pace_wait_seconds(failure, node.pace_from_percent, now)
    else:
        seconds = INFLIGHT_RETRY_SECONDS if failure.kind == "inflight" else _seconds_until(failure.ends, now)
        status, transient, wait = (429, True, seconds) if fits else (429, False, None)
    return Refused(
        code=code,
        status=status,
        transient=transient,
        detail=_detail(failure, node, code, overdraft, resets_at if refills else None),
        path=path,
        binding_node=node.path,
        dimension=failure.dimension,
        period=failure.kind,
        limit=failure.limit,
        posted=failure.posted,
        held=failure.held,
        required=failure.required,
        resets_at=resets_at,
        owner=node.owner,
        renew_url=renew_url,
        retry_after_seconds=wait,
    )


def _code_of(failure: LineFailure) -> RefusalCode:
    if failure.kind in _RATE_KINDS:
        return RefusalCode.rate_limited
    return RefusalCode.paced if failure.paced else RefusalCode.grant_exhausted


def _seconds_until(instant: datetime, now: datetime) -> int:
    return max(1, int((instant - now).total_seconds()) + 1)


def _detail(
    failure: LineFailure, node: NodeTerms, code: RefusalCode, overdraft: int, resets_at: datetime | None
) -> str:
    def text(amount: int) -> str:
        return amount_text(failure.dimension, amount)

    window = {"once": "in all", "inflight": "at a time"}.get(failure.kind, f"per {failure.kind}")
    numbers = (
        f"`{node.path}` allows {text(failure.limit)} {window}: "
        f"{text(failure.posted)} posted, {text(failure.held)} held, {text(failure.required)} required"
    )
    if overdraft:
        numbers += f", overdraft of {text(overdraft)} included"
    if code is RefusalCode.paced:
        numbers += "; what is left is spread over the period"
    if resets_at is not None:
        numbers += f"; resets at {resets_at:%Y-%m-%dT%H:%M:%SZ}"
    return f"{numbers}; ask `{node.owner}`"
