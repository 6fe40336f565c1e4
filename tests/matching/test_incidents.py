"""What went wrong in public, in small: each is found, at its amount."""

from remit.kernel.money import line_cost_nanousd
from remit.reconcile.matching.cells import Part, PricedLine
from tests.matching.sides import PRICES, findings, only, ours, theirs


def cost(**units: int) -> int:
    return sum(line_cost_nanousd(count, PRICES[meter]) for meter, count in units.items())


def test_streams_logged_as_nothing() -> None:
    """A month of streams booked at zero against a bill of hundreds is one finding of that size (LiteLLM #37923)."""
    each = {"input": 9_000_000, "output": 600_000}
    days = range(1, 24)
    ledger = [ours(at, 4_000, {"input": 1_000}, parts={"zero_usage": Part(requests=3_999)}) for at in days]
    found = only(ledger, [theirs(at, 4_000, each) for at in days])
    assert found.cause == "usage_chunk_lost"
    assert found.amount_nanousd == 23 * (cost(**each) - cost(input=1_000))
    assert found.amount_nanousd > 800 * 10**9 > 500 * sum(cell.amount_nanousd for cell in ledger)


def test_first_cache_breakdown_only() -> None:
    """Only the first part of the cache writes was priced: 20 to 60 % too little, and nothing else differs (#42663)."""
    found = only(
        [ours(at, 10, {"input": 5_000, "cache_write": 20_000, "output": 900}) for at in (3, 4)],
        [theirs(at, 10, {"input": 5_000, "cache_write": 90_000, "output": 900}) for at in (3, 4)],
    )
    assert (found.cause, found.amount_nanousd) == ("cache_count", 2 * cost(cache_write=70_000))
    assert found.evidence["ours"] == "cache_write=40000"


def test_cache_reads_undercounted() -> None:
    """Requests, input and output match exactly, and cached tokens are 24 % short (#34801)."""
    same = {"input": 40_000, "output": 3_000}
    found = only([ours(7, 12, {**same, "cache_read": 760_000})], [theirs(7, 12, {**same, "cache_read": 1_000_000})])
    assert (found.cause, found.amount_nanousd) == ("cache_count", cost(cache_read=240_000))
    assert found.quantity == {"cache_read": 240_000}


def test_estimate_of_four_times_the_cost() -> None:
    """Usage in a chunk nobody read: what was booked instead is taken back (#36168)."""
    bound = {"input": 10_000, "output": 16_000}
    part = Part(requests=5, quantity=bound, amount_nanousd=cost(**bound))
    found = only(
        [ours(2, 25, {"input": 50_000, "output": 20_000}, parts={"estimated": part})],
        [theirs(2, 25, {"input": 48_000, "output": 5_000})],
    )
    assert (found.cause, found.amount_nanousd) == ("estimated_usage", -cost(input=2_000, output=15_000))


def test_vendor_bills_after_the_caller_left() -> None:
    """The caller hung up, the input alone was booked, and the vendor bills the output too (#13245)."""
    part = Part(requests=3, quantity={"input": 6_000}, amount_nanousd=cost(input=6_000))
    found = only(
        [ours(9, 40, {"input": 80_000, "output": 9_000}, parts={"caller_left": part})],
        [theirs(9, 40, {"input": 80_000, "output": 13_500})],
    )
    assert (found.cause, found.amount_nanousd) == ("client_disconnect", cost(output=4_500))


def test_explicit_zero_taken_for_missing() -> None:
    """The vendor says that calls used nothing, and an estimate was booked for them: all of it is taken back (#37992)."""
    bound = {"input": 2_000, "output": 4_000}
    part = Part(requests=2, quantity=bound, amount_nanousd=cost(**bound))
    found = only(
        [ours(11, 8, {"input": 14_000, "output": 7_000}, parts={"estimated": part})],
        [theirs(11, 8, {"input": 12_000, "output": 3_000})],
    )
    assert (found.cause, found.amount_nanousd) == ("estimated_usage", -cost(**bound))


def test_thinking_that_answers_did_not_state() -> None:
    """The bill has thinking tokens that no answer mentioned (langfuse #14144)."""
    same = {"input": 30_000, "output": 2_000}
    found = only([ours(5, 6, same)], [theirs(5, 6, {**same, "reasoning": 11_000})])
    assert (found.cause, found.amount_nanousd) == ("reasoning_hidden", cost(reasoning=11_000))


def test_priced_at_zero_with_tokens() -> None:
    """Tokens at a price of zero are never taken for a free model: the vendor's amount is a finding, and so is the price."""
    free = {"input": 0, "output": 0}
    same = {"input": 1_000_000, "output": 100_000}
    found = only([ours(5, 6, same, prices=free)], [theirs(5, 6, same)])
    assert (found.cause, found.amount_nanousd, found.proposal) == ("priced_at_zero", cost(**same), "look")
    assert [
        (one.meter, one.ours_nanousd_per_million, one.theirs_nanousd_per_million) for one in found.price_errors
    ] == [
        ("input", 0, PRICES["input"]),
        ("output", 0, PRICES["output"]),
    ]


def test_ceilings_are_not_prices() -> None:
    """What is booked at a ceiling is of the dearest price there was: the whole difference is that of the call."""
    dear = PricedLine("input", None, 4_000, line_cost_nanousd(4_000, PRICES["cache_write"]))
    part = Part(requests=1, quantity={"input": 4_000}, amount_nanousd=dear.amount_nanousd)
    ledger = [ours(8, 3, {"input": 6_000, "output": 800}, parts={"timeout": part}, more=(dear,))]
    assert findings(ledger, [theirs(8, 3, {"input": 7_000, "output": 800})]) == [
        ("timeout", cost(input=1_000) - dear.amount_nanousd)
    ]
    assert findings(ledger, [theirs(8, 2, {"input": 6_000, "output": 800})]) == [("timeout", -dear.amount_nanousd)]
