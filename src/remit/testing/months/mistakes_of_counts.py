"""Mistakes in what was counted: kinds of tokens, calls and days."""

from dataclasses import replace

from remit.reconcile.matching.cause import Cause
from remit.reconcile.matching.cells import Part
from remit.testing.months.case import Case, Recipe, next_day, part_of, some
from remit.testing.months.vendors import Shape


def cached_inclusive(case: Case) -> None:
    for day in some(case):
        case.rebill(day, [replace(one, plain=one.plain + one.cached) for one in case.shapes[day]])
    case.inject(Cause.CACHED_INCLUSIVE)


def cache_count(case: Case) -> None:
    for day in case.days():
        case.rebill(day, [replace(one, cached=one.cached * 132 // 100) for one in case.shapes[day]])
    case.inject(Cause.CACHE_COUNT)


def cache_write_ttl(case: Case) -> None:
    for day in some(case, 2, 6):
        kept = [replace(one, written=0) for one in case.shapes[day]]
        hour = [Shape(0, 0, one.written, 0, one.count) for one in case.shapes[day]]
        case.rebill(day, kept)
        billed = case.bill(hour, model="sim-opus 1h")
        case.theirs[day, None].quantity["cache_write_1h"] = billed.quantity["cache_write"]
        case.theirs[day, None].amount["cache_write_1h"] = billed.amount["cache_write"]
    case.inject(Cause.CACHE_WRITE_TTL)


def reasoning_hidden(case: Case) -> None:
    for day in case.days():
        thought = [Shape(0, 0, 0, one.output * 2 + 7, one.count) for one in case.shapes[day]]
        billed = case.bill(thought)
        case.theirs[day, None].quantity["reasoning"] = billed.quantity["output"]
        case.theirs[day, None].amount["reasoning"] = billed.amount["output"]
    case.inject(Cause.REASONING_HIDDEN)


def rejected_prediction(case: Case) -> None:
    for day in some(case, 2, 5):
        more = [replace(one, output=one.output + 211) for one in case.shapes[day]]
        rejected = sum(211 * one.count for one in more)
        case.rebill(day, more)
        case.ours[day].parts["rejected_prediction"] = Part(requests=1, quantity={"output": rejected})
    case.inject(Cause.REJECTED_PREDICTION)


def modality(case: Case) -> None:
    for day in some(case, 2, 5):
        heard = [Shape(one.plain // 3, 0, 0, 0, one.count) for one in case.shapes[day]]
        rest = [replace(one, plain=one.plain - one.plain // 3) for one in case.shapes[day]]
        case.rebill(day, rest)
        billed = case.bill(heard, times=(10, 1))
        case.theirs[day, None].quantity["input_audio"] = billed.quantity["input"]
        case.theirs[day, None].amount["input_audio"] = billed.amount["input"]
    case.inject(Cause.MODALITY)


def server_tool_tokens(case: Case) -> None:
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


def system_tokens(case: Case) -> None:
    each = case.rng.randrange(11, 400)
    for day in case.days():
        case.rebill(day, [replace(one, plain=one.plain + each) for one in case.shapes[day]])
    case.inject(Cause.SYSTEM_TOKENS)


def tokenizer_change(case: Case) -> None:
    for day in case.days():
        case.ours[day].parts["recovered"] = case.ours[day].part()
        if day.day > 9:
            case.rebill(day, [replace(one, plain=one.plain * 127 // 100) for one in case.shapes[day]])
    case.inject(Cause.TOKENIZER_CHANGE)


def estimated_usage(case: Case) -> None:
    for day in some(case, 2, 5):
        guessed = [Shape(4_000, 0, 0, 16_384, 2)]
        really = [Shape(3_121, 0, 0, case.rng.randrange(20, 900), 2)]
        case.ours[day].add(case.book(guessed, day))
        case.ours[day].parts["estimated"] = part_of(case, guessed, day)
        case.theirs[day, None].add(case.bill(really))
    case.inject(Cause.ESTIMATED_USAGE)


def minimum_billing(case: Case) -> None:
    for day in case.days():
        case.rebill(day, [replace(one, output=10) for one in case.shapes[day]])
    case.inject(Cause.MINIMUM_BILLING)


def utc_cut(case: Case) -> None:
    days = case.days()
    for day in days[4:20]:
        evening = [replace(one, count=1) for one in case.shapes[day]]
        moved = case.bill(evening)
        case.theirs[day, None].add(moved, -1)
        case.theirs[next_day(day), None].add(moved)
    case.inject(Cause.UTC_CUT)


def request_boundary(case: Case) -> None:
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


def late_rows(case: Case) -> None:
    for day in case.days()[-3:]:
        del case.theirs[day, None]
    case.inject(Cause.LATE_ROWS)


def batch_next_month(case: Case) -> None:
    for day in case.days()[-2:]:
        del case.theirs[day, None]
    case.inject(Cause.BATCH_NEXT_MONTH)


def client_disconnect(case: Case) -> None:
    for day in some(case, 2, 5):
        bound = [Shape(2_000, 0, 0, 8_192, 1)]
        case.ours[day].add(case.book(bound, day))
        case.ours[day].parts["caller_left"] = part_of(case, bound, day)
        case.theirs[day, None].add(case.bill([Shape(1_777, 0, 0, case.rng.randrange(9, 4_000), 1)]))
    case.inject(Cause.CLIENT_DISCONNECT)


def timeout(case: Case) -> None:
    for day in some(case, 2, 5):
        bound = [Shape(2_000, 0, 0, 8_192, 2)]
        case.ours[day].add(case.book(bound, day))
        case.ours[day].parts["timeout"] = part_of(case, bound, day)
    case.inject(Cause.TIMEOUT)


def retry_billed(case: Case) -> None:
    for day in some(case, 2, 5):
        case.ours[day].parts["voided"] = Part(requests=2)
        case.theirs[day, None].add(case.bill([Shape(case.rng.randrange(500, 5_000), 0, 0, 91, 2)]))
    case.inject(Cause.RETRY_BILLED)


def sdk_retry(case: Case) -> None:
    for day in some(case, 2, 5):
        case.ours[day].parts["retries"] = Part(requests=1)
        case.theirs[day, None].add(case.bill([Shape(case.rng.randrange(500, 5_000), 0, 0, 83, 1)]))
    case.inject(Cause.SDK_RETRY)


def fallback(case: Case) -> None:
    for day in some(case, 2, 5):
        case.ours[day].parts["fell_back"] = Part(requests=3)
        case.ours[day].parts["voided"] = Part(requests=3)
        case.theirs[day, None].add(case.bill([Shape(case.rng.randrange(500, 5_000), 0, 0, 70, 3)]))
    case.inject(Cause.FALLBACK)


def duplicate_events(case: Case) -> None:
    for day in some(case, 1, 4):
        case.theirs[day, None].add(case.bill(case.shapes[day]))
    case.inject(Cause.DUPLICATE_EVENTS)


def usage_chunk_lost(case: Case) -> None:
    for day in some(case, 2, 6):
        lost = case.draw(2, 2)
        case.ours[day].requests += 2
        case.ours[day].parts["zero_usage"] = Part(requests=2)
        case.theirs[day, None].add(case.bill(lost))
    case.inject(Cause.USAGE_CHUNK_LOST)


def cache_hits(case: Case) -> None:
    for day in some(case, 2, 6):
        hits = case.draw(2, 2)
        case.ours[day].add(case.book(hits, day))
        case.ours[day].parts["cache_hits"] = part_of(case, hits, day)
    case.inject(Cause.CACHE_HITS)


RECIPES = {
    Cause.CACHED_INCLUSIVE: Recipe(inject=cached_inclusive),
    Cause.CACHE_COUNT: Recipe(inject=cache_count),
    Cause.CACHE_WRITE_TTL: Recipe(inject=cache_write_ttl, vendor="anthropic", model="sim-opus"),
    Cause.REASONING_HIDDEN: Recipe(inject=reasoning_hidden),
    Cause.REJECTED_PREDICTION: Recipe(inject=rejected_prediction),
    Cause.MODALITY: Recipe(inject=modality),
    Cause.SERVER_TOOL_TOKENS: Recipe(inject=server_tool_tokens),
    Cause.SYSTEM_TOKENS: Recipe(inject=system_tokens),
    Cause.TOKENIZER_CHANGE: Recipe(inject=tokenizer_change),
    Cause.ESTIMATED_USAGE: Recipe(inject=estimated_usage),
    Cause.MINIMUM_BILLING: Recipe(inject=minimum_billing, model="sim-whisper", renamed={"output": "audio_seconds"}),
    Cause.UTC_CUT: Recipe(inject=utc_cut),
    Cause.REQUEST_BOUNDARY: Recipe(inject=request_boundary),
    Cause.LATE_ROWS: Recipe(inject=late_rows),
    Cause.BATCH_NEXT_MONTH: Recipe(inject=batch_next_month, is_batch=True),
    Cause.CLIENT_DISCONNECT: Recipe(inject=client_disconnect),
    Cause.TIMEOUT: Recipe(inject=timeout),
    Cause.RETRY_BILLED: Recipe(inject=retry_billed),
    Cause.SDK_RETRY: Recipe(inject=sdk_retry),
    Cause.FALLBACK: Recipe(inject=fallback),
    Cause.DUPLICATE_EVENTS: Recipe(inject=duplicate_events),
    Cause.USAGE_CHUNK_LOST: Recipe(inject=usage_chunk_lost),
    Cause.CACHE_HITS: Recipe(inject=cache_hits),
}
"""How each mistake of counts is made."""
