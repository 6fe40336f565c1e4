"""Mistakes in what was counted: kinds of tokens, calls and days."""

from dataclasses import replace

from remit.reconcile.matching.cause import Cause
from remit.reconcile.matching.cells import Part
from remit.testing.months.case import Case, Recipe, bound_of, next_day, part_of, some
from remit.testing.months.vendors import Shape


def _cached_inclusive(case: Case) -> None:
    for day in some(case):
        case.rebill(day, [replace(one, plain=one.plain + one.cached) for one in case.shapes[day]])
    case.inject(Cause.CACHED_INCLUSIVE)


def _cache_count(case: Case) -> None:
    for day in case.days():
        case.rebill(day, [replace(one, cached=one.cached * 132 // 100) for one in case.shapes[day]])
    case.inject(Cause.CACHE_COUNT)


def _cache_write_ttl(case: Case) -> None:
    for day in some(case, 2, 6):
        kept = [replace(one, written=0) for one in case.shapes[day]]
        hour = [Shape(0, 0, one.written, 0, one.count) for one in case.shapes[day]]
        case.rebill(day, kept)
        billed = case.bill(hour, model="sim-opus 1h")
        case.theirs[day, None].quantity["cache_write_1h"] = billed.quantity["cache_write"]
        case.theirs[day, None].amount["cache_write_1h"] = billed.amount["cache_write"]
    case.inject(Cause.CACHE_WRITE_TTL)


def _reasoning_hidden(case: Case) -> None:
    for day in case.days():
        thought = [Shape(0, 0, 0, one.output * 2 + 7, one.count) for one in case.shapes[day]]
        billed = case.bill(thought)
        case.theirs[day, None].quantity["reasoning"] = billed.quantity["output"]
        case.theirs[day, None].amount["reasoning"] = billed.amount["output"]
    case.inject(Cause.REASONING_HIDDEN)


def _rejected_prediction(case: Case) -> None:
    for day in some(case, 2, 5):
        more = [replace(one, output=one.output + 211) for one in case.shapes[day]]
        rejected = sum(211 * one.count for one in more)
        case.rebill(day, more)
        case.ours[day].parts["rejected_prediction"] = Part(requests=1, quantity={"output": rejected})
    case.inject(Cause.REJECTED_PREDICTION)


def _modality(case: Case) -> None:
    for day in some(case, 2, 5):
        heard = [Shape(one.plain // 3, 0, 0, 0, one.count) for one in case.shapes[day]]
        rest = [replace(one, plain=one.plain - one.plain // 3) for one in case.shapes[day]]
        case.rebill(day, rest)
        billed = case.bill(heard, times=(10, 1))
        case.theirs[day, None].quantity["input_audio"] = billed.quantity["input"]
        case.theirs[day, None].amount["input_audio"] = billed.amount["input"]
    case.inject(Cause.MODALITY)


def _server_tool_tokens(case: Case) -> None:
    searched = 0
    for day in some(case, 2, 5):
        more = [replace(one, plain=one.plain + case.rng.randrange(300, 4_000)) for one in case.shapes[day]]
        case.rebill(day, more)
        calls = case.rng.randrange(1, 5)
        case.theirs[day, None].quantity["web_search"] = calls
        case.theirs[day, None].amount["web_search"] = calls * 10_000_000
        searched += calls * 10_000_000
    case.inject(Cause.WEB_SEARCH, searched)
    case.inject(Cause.SERVER_TOOL_TOKENS, case.difference() - searched)


def _system_tokens(case: Case) -> None:
    each = case.rng.randrange(11, 400)
    for day in case.days():
        case.rebill(day, [replace(one, plain=one.plain + each) for one in case.shapes[day]])
    case.inject(Cause.SYSTEM_TOKENS)


def _tokenizer_change(case: Case) -> None:
    for day in case.days():
        case.ours[day].parts["recovered"] = case.ours[day].part()
        if day.day > 9:
            case.rebill(day, [replace(one, plain=one.plain * 127 // 100) for one in case.shapes[day]])
    case.inject(Cause.TOKENIZER_CHANGE)


def _estimated_usage(case: Case) -> None:
    for day in some(case, 2, 5):
        really = [Shape(3_121, 0, 0, case.rng.randrange(20, 900), 2)]
        bound_of(case, day, "estimated", 2)
        case.theirs[day, None].add(case.bill(really))
    case.inject(Cause.ESTIMATED_USAGE)


def _minimum_billing(case: Case) -> None:
    for day in case.days():
        case.rebill(day, [replace(one, output=10) for one in case.shapes[day]])
    case.inject(Cause.MINIMUM_BILLING)


def _utc_cut(case: Case) -> None:
    days = case.days()
    for day in days[4:20]:
        evening = [replace(one, count=1) for one in case.shapes[day]]
        moved = case.bill(evening)
        case.theirs[day, None].add(moved, -1)
        case.theirs[next_day(day), None].add(moved)
    case.inject(Cause.UTC_CUT)


def _request_boundary(case: Case) -> None:
    days = case.days()
    before = [Shape(900, 11, 0, 333, 2)]
    case.ours[days[0]].parts["after_midnight"] = part_of(case, before, days[0])
    case.theirs[days[0], None].add(case.bill(before))
    for day in days:
        running = [replace(case.shapes[day][0], count=1)]
        case.ours[day].parts["before_midnight"] = part_of(case, running, day)
        case.theirs[day, None].add(case.bill(running), -1)
        if day != days[-1]:
            case.ours[next_day(day)].parts["after_midnight"] = part_of(case, running, day)
            case.theirs[next_day(day), None].add(case.bill(running))
    case.inject(Cause.REQUEST_BOUNDARY)


def _late_rows(case: Case) -> None:
    for day in case.days()[-3:]:
        del case.theirs[day, None]
    case.inject(Cause.LATE_ROWS)


def _batch_next_month(case: Case) -> None:
    for day in case.days()[-2:]:
        del case.theirs[day, None]
    case.inject(Cause.BATCH_NEXT_MONTH)


def _client_disconnect(case: Case) -> None:
    for day in some(case, 2, 5):
        bound_of(case, day, "caller_left", 1)
        case.theirs[day, None].add(case.bill([Shape(1_777, 0, 0, case.rng.randrange(9, 4_000), 1)]))
    case.inject(Cause.CLIENT_DISCONNECT)


def _timeout(case: Case) -> None:
    for day in some(case, 2, 5):
        bound_of(case, day, "timeout", 2)
    case.inject(Cause.TIMEOUT)


def _retry_billed(case: Case) -> None:
    for day in some(case, 2, 5):
        case.ours[day].parts["voided"] = Part(requests=2)
        case.theirs[day, None].add(case.bill([Shape(case.rng.randrange(500, 5_000), 0, 0, 91, 2)]))
    case.inject(Cause.RETRY_BILLED)


def _sdk_retry(case: Case) -> None:
    for day in some(case, 2, 5):
        case.ours[day].parts["retries"] = Part(requests=1)
        case.theirs[day, None].add(case.bill([Shape(case.rng.randrange(500, 5_000), 0, 0, 83, 1)]))
    case.inject(Cause.SDK_RETRY)


def _fallback(case: Case) -> None:
    for day in some(case, 2, 5):
        case.ours[day].parts["fell_back"] = Part(requests=3)
        case.ours[day].parts["voided"] = Part(requests=3)
        case.theirs[day, None].add(case.bill([Shape(case.rng.randrange(500, 5_000), 0, 0, 70, 3)]))
    case.inject(Cause.FALLBACK)


def _duplicate_events(case: Case) -> None:
    for day in some(case, 1, 4):
        case.theirs[day, None].add(case.bill(case.shapes[day]))
    case.inject(Cause.DUPLICATE_EVENTS)


def _usage_chunk_lost(case: Case) -> None:
    for day in some(case, 2, 6):
        lost = case.draw(2, 2)
        case.ours[day].requests += 2
        case.ours[day].parts["zero_usage"] = Part(requests=2)
        case.theirs[day, None].add(case.bill(lost))
    case.inject(Cause.USAGE_CHUNK_LOST)


def _cache_hits(case: Case) -> None:
    for day in some(case, 2, 6):
        hits = case.draw(2, 2)
        case.ours[day].add(case.book(hits, day))
        case.ours[day].parts["cache_hits"] = part_of(case, hits, day)
    case.inject(Cause.CACHE_HITS)


RECIPES = {
    Cause.CACHED_INCLUSIVE: Recipe(inject=_cached_inclusive),
    Cause.CACHE_COUNT: Recipe(inject=_cache_count),
    Cause.CACHE_WRITE_TTL: Recipe(inject=_cache_write_ttl, vendor="anthropic", model="sim-opus"),
    Cause.REASONING_HIDDEN: Recipe(inject=_reasoning_hidden),
    Cause.REJECTED_PREDICTION: Recipe(inject=_rejected_prediction),
    Cause.MODALITY: Recipe(inject=_modality),
    Cause.SERVER_TOOL_TOKENS: Recipe(inject=_server_tool_tokens),
    Cause.SYSTEM_TOKENS: Recipe(inject=_system_tokens),
    Cause.TOKENIZER_CHANGE: Recipe(inject=_tokenizer_change),
    Cause.ESTIMATED_USAGE: Recipe(inject=_estimated_usage),
    Cause.MINIMUM_BILLING: Recipe(inject=_minimum_billing, model="sim-whisper", renamed={"output": "audio_seconds"}),
    Cause.UTC_CUT: Recipe(inject=_utc_cut),
    Cause.REQUEST_BOUNDARY: Recipe(inject=_request_boundary),
    Cause.LATE_ROWS: Recipe(inject=_late_rows),
    Cause.BATCH_NEXT_MONTH: Recipe(inject=_batch_next_month, is_batch=True),
    Cause.CLIENT_DISCONNECT: Recipe(inject=_client_disconnect),
    Cause.TIMEOUT: Recipe(inject=_timeout),
    Cause.RETRY_BILLED: Recipe(inject=_retry_billed),
    Cause.SDK_RETRY: Recipe(inject=_sdk_retry),
    Cause.FALLBACK: Recipe(inject=_fallback),
    Cause.DUPLICATE_EVENTS: Recipe(inject=_duplicate_events),
    Cause.USAGE_CHUNK_LOST: Recipe(inject=_usage_chunk_lost),
    Cause.CACHE_HITS: Recipe(inject=_cache_hits),
}
"""How each mistake of counts is made."""
