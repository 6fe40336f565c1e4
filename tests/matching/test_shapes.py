"""Statements of other shapes: coarser keys, counts alone, sums alone; and each cause the other way round."""

from dataclasses import replace

from remit.pricing.book import LayeredPriceBook
from remit.pricing.overrides import parse_overrides
from remit.reconcile.matching.cells import (
    CellKey,
    Invoice,
    InvoiceLine,
    LedgerCell,
    Part,
    PricedLine,
    Tolerance,
    VendorCell,
)
from remit.reconcile.matching.registry import Registered, Registry
from tests.matching.sides import KEY, MONTH, PRICES, day, findings, matched, only, ours, theirs
from tests.matching.test_incidents import cost

SAME = {"input": 10_000, "cache_read": 4_000, "output": 700}
REGISTRY = Registry([Registered(vendor="v", deployment="d", project="p", key_id="k")])


def test_costs_by_model_only() -> None:
    """Where a statement does not tell keys apart, the ledger is summed over them."""
    other = replace(KEY, key_id="k2")
    ledger = [ours(1, 2, SAME), ours(1, 3, SAME, key=other)]
    stated = CellKey(vendor="v", model="m")
    twice = {meter: 2 * count for meter, count in SAME.items()}
    assert findings(ledger, [theirs(1, 5, twice, key=stated)]) == []
    short = {**twice, "output": 1_300}
    assert findings(ledger, [theirs(1, 5, short, key=stated)]) == [("unexplained", -cost(output=100))]


def test_unknown_key_within_costs_by_model() -> None:
    """A key that only the usage names is found within costs that do not, at our prices."""
    stranger = replace(KEY, key_id="mallory")
    charged = {meter: 2 * count for meter, count in SAME.items()}
    vendor = [
        VendorCell(day=day(1), key=KEY, requests=2, quantity=SAME),
        VendorCell(day=day(1), key=stranger, requests=2, quantity=SAME),
        VendorCell(day=day(1), key=CellKey(vendor="v", model="m"), amount_nanousd=theirs(1, 4, charged).amount_nanousd),
    ]
    found = only([ours(1, 2, SAME)], vendor, registry=REGISTRY)
    assert (found.cause, found.amount_nanousd, found.confidence) == ("shadow_use", cost(**SAME), "likely")
    assert found.key == CellKey(vendor="v", project="p", key_id="mallory")


def test_playground_within_costs_by_model() -> None:
    """Usage without a key is people's, also where costs do not name keys."""
    charged = {meter: 2 * count for meter, count in SAME.items()}
    vendor = [
        VendorCell(day=day(1), key=KEY, quantity=SAME),
        VendorCell(day=day(1), key=replace(KEY, key_id=""), quantity=SAME),
        VendorCell(
            day=day(1), key=CellKey(vendor="v", model="m"), amount_nanousd=theirs(1, None, charged).amount_nanousd
        ),
    ]
    assert findings([ours(1, 2, SAME)], vendor, registry=REGISTRY) == [("workbench", cost(**SAME))]


def test_likely_team_of_an_unknown_key() -> None:
    """An unknown key is likely the team's whose project, name and models it shares."""
    search = CellKey(vendor="v", project="search", key_id="key-search-ranker", model="m")
    sales = CellKey(vendor="v", project="sales", key_id="key-sales-bot", model="other")
    registry = Registry(
        [Registered(vendor="v", deployment="d", project=one.project, key_id=one.key_id) for one in (search, sales)]
    )
    ledger = [
        ours(1, 2, SAME, key=search, grants={"grant_search": 2, "grant_rest": 1}),
        ours(1, 2, SAME, key=sales, grants={"grant_sales": 5}),
    ]
    vendor = [
        theirs(1, 2, SAME, key=search),
        theirs(1, 2, SAME, key=sales),
        theirs(4, 9, SAME, key=replace(search, project="default", key_id="sk-ranker-laptop")),
        theirs(2, 9, SAME, key=replace(search, project="default", key_id="sk-ranker-laptop", model="other")),
    ]
    found = only(ledger, vendor, registry=registry)
    assert (found.cause, found.amount_nanousd) == ("shadow_use", 2 * cost(**SAME))
    assert (found.evidence["first_seen"], found.evidence["likely_grant"]) == ("2026-10-02", "grant_search")


def test_counts_alone_are_held_against_the_bill() -> None:
    """Where only counts are stated, they are priced here, and the bill is compared with their sum."""
    vendor = [VendorCell(day=day(1), key=KEY, requests=2, quantity=SAME)]
    bill = Invoice(
        issuer="v",
        id="1",
        vendor="v",
        month=MONTH,
        total_nanousd=cost(**SAME) + 40,
        lines=(InvoiceLine(charge="usage", amount_nanousd=cost(**SAME) + 40),),
    )
    assert findings([ours(1, 2, SAME)], vendor, invoices=[bill]) == [("line_rounding", 40)]
    missing = replace(bill, lines=(), total_nanousd=0)
    assert findings([ours(1, 2, SAME)], vendor, invoices=[missing]) == [("unexplained", -cost(**SAME))]


def test_one_amount_for_all_meters() -> None:
    """Where a vendor states one amount for a day, what differs in counts is still told, at our prices."""
    vendor = [theirs(1, 2, {**SAME, "reasoning": 900}, amount_nanousd={"all": cost(**SAME, reasoning=900)})]
    assert findings([ours(1, 2, SAME)], vendor) == [("reasoning_hidden", cost(reasoning=900))]


def test_cached_tokens_that_are_not_stated() -> None:
    """A vendor that does not tell cached tokens apart has them in its input, and that is no difference."""
    plain = {"input": 14_000, "output": 700}
    amounts = {"input": cost(input=10_000, cache_read=4_000), "output": cost(output=700)}
    assert findings([ours(1, 2, SAME)], [theirs(1, 2, plain, amount_nanousd=amounts)]) == []


def test_unlisted_amounts_are_compared_as_sums() -> None:
    """What an entry was booked at beyond its lines is compared with the day's sum, not with a meter."""
    cell = ours(1, 2, SAME)
    more = replace(cell, amount_nanousd=cell.amount_nanousd + 500)
    assert findings([more], [theirs(1, 2, SAME)]) == [("unexplained", -500)]
    exact = [theirs(1, 2, SAME, amount_nanousd={"input": cell.amount_nanousd + 500})]
    assert findings([more], exact) == []


def test_events_counted_twice_here() -> None:
    """Doubled entries are found as well as doubled lines."""
    twice = {meter: 2 * count for meter, count in SAME.items()}
    assert findings([ours(1, 4, twice)], [theirs(1, 2, SAME)]) == [("duplicate_events", -cost(**SAME))]


def test_discount_without_list_amounts() -> None:
    """A discount that no line mentions is the same whole percentage on every meter and day; it is likely one."""
    less = {meter: price * 85 // 100 for meter, price in PRICES.items()}
    days = range(1, 6)
    found = only([ours(at, 2, SAME) for at in days], [theirs(at, 2, SAME, prices=less) for at in days])
    assert (found.cause, found.confidence, found.evidence["percent"]) == ("negotiated_discount", "likely", 15)
    assert {one.meter for one in found.price_errors} == set(SAME)


def test_usage_of_an_earlier_month() -> None:
    """Usage dated before the month came late; that of batches ended late."""
    early = replace(theirs(1, 2, SAME), day=day(1).replace(month=9))
    assert findings([ours(1, 2, SAME)], [theirs(1, 2, SAME), early]) == [("late_rows", cost(**SAME))]
    batch = replace(KEY, is_batch=True)
    ledger, vendor = [ours(1, 2, SAME, key=batch)], [theirs(1, 2, SAME, key=batch), replace(early, key=batch)]
    assert findings(ledger, vendor) == [("batch_next_month", cost(**SAME))]


def test_kind_of_processing_booked_otherwise() -> None:
    """Batches booked as single calls lack there what they have as batches."""
    single, batch = replace(KEY, is_batch=False), replace(KEY, is_batch=True)
    half = {meter: price // 2 for meter, price in PRICES.items()}
    found = only([ours(1, 2, SAME, key=single)], [theirs(1, 2, SAME, key=batch, prices=half)])
    assert (found.cause, found.key, found.amount_nanousd) == ("batch_discount", single, -cost(**SAME) // 2)


def test_nothing_within_tolerance_is_a_question() -> None:
    """Differences within the vendor's tolerance are rounding; a nano-dollar more is a question."""
    (key, amount), vendor = ("output", cost(output=700)), theirs(1, 2, SAME)
    for by, cause in ((400, "line_rounding"), (-400, "line_rounding"), (401, "unexplained")):
        off = replace(vendor, amount_nanousd={**vendor.amount_nanousd, key: amount + by})
        tolerance = Tolerance(absolute_nanousd=400)
        assert findings([ours(1, 2, SAME)], [off], default_tolerance=tolerance) == [(cause, by)]


def test_what_is_not_compared_is_left_out() -> None:
    """A vendor without a statement and a bill is no finding: nothing is known of it."""
    ledger: list[LedgerCell] = [ours(1, 2, SAME), ours(1, 2, SAME, key=replace(KEY, vendor="other"))]
    assert matched(ledger, [theirs(1, 2, SAME)]).vendor == "v"


def test_parts_explain_only_what_fits() -> None:
    """As many voided attempts as requests are missing explain them; one more or less explains nothing."""
    more = {meter: count + 50 for meter, count in SAME.items()}
    for voided, cause in ((2, "retry_billed"), (1, "unexplained"), (3, "unexplained")):
        ledger = [ours(1, 4, SAME, parts={"voided": Part(requests=voided)})]
        assert findings(ledger, [theirs(1, 6, more)]) == [(cause, cost(input=50, cache_read=50, output=50))]


def test_calls_of_which_nothing_was_booked() -> None:
    """A line without a price does not stand for a price of zero."""
    unpriced = PricedLine("output", None, 300, 0)
    ledger = [ours(1, 2, SAME, more=(unpriced,))]
    assert findings(ledger, [theirs(1, 2, {**SAME, "output": 1_000})]) == [("unexplained", cost(output=300))]


def test_costs_that_are_not_stated_yet() -> None:
    """A day whose counts are stated and whose costs are not is late, and no gift."""
    ledger = [ours(at, 2, SAME) for at in (1, 2)]
    late = theirs(2, 2, SAME, amount_nanousd={})
    assert findings(ledger, [theirs(1, 2, SAME), late]) == [("late_rows", -cost(**SAME))]
    bought = replace(KEY, tier="priority")
    default = replace(KEY, tier="default")
    found = only(
        [ours(1, 2, SAME, key=default), ours(1, 2, SAME, key=bought)],
        [theirs(1, 2, SAME, key=default), theirs(1, 2, SAME, key=bought, amount_nanousd={})],
    )
    assert (found.cause, found.key, found.confidence) == ("committed_drawdown", bought, "likely")
    free = theirs(2, 2, SAME, amount_nanousd=dict.fromkeys(SAME, 0))
    assert findings(ledger, [theirs(1, 2, SAME), free]) == [("free_tier", -cost(**SAME))]


def test_days_that_a_statement_does_not_reach() -> None:
    """A series that is nowhere in a statement is late only on days that the statement does not reach."""
    other = replace(KEY, key_id="k2")
    reached = [theirs(3, 2, SAME)]
    assert findings([ours(3, 2, SAME), ours(4, 2, SAME, key=other)], reached) == [("late_rows", -cost(**SAME))]
    assert findings([ours(3, 2, SAME), ours(2, 2, SAME, key=other)], reached) == [("unexplained", -cost(**SAME))]


def test_last_day_from_the_cache() -> None:
    """A last day that the gateway's cache answered alone is not late."""
    part = Part(requests=2, quantity=SAME, amount_nanousd=cost(**SAME))
    ledger = [ours(1, 2, SAME), ours(2, 2, SAME, parts={"cache_hits": part})]
    assert findings(ledger, [theirs(1, 2, SAME)]) == [("cache_hits", -cost(**SAME))]


def test_models_by_other_names() -> None:
    """A model that the vendor calls otherwise is the ledger's by the settings, or by the price book."""
    stated = [theirs(1, 2, SAME, key=replace(KEY, model="m-2026-01-01"))]
    ledger = [ours(1, 2, SAME)]
    assert {cause for cause, _ in findings(ledger, stated)} == {"shared_key", "unexplained"}
    assert findings(ledger, stated, aliases={"v": {"m-2026-01-01": "m"}}) == []
    row = {"vendor": "v", "model": "m", "aliases": ["m-2026-01-01"], "input": "3", "output": "15"}
    assert findings(ledger, stated, prices=LayeredPriceBook(parse_overrides([row]))) == []


def test_accounts_by_other_names() -> None:
    """Where no account has the same name on both sides, accounts are summed over; where some have, they are not."""
    mine, yours = replace(KEY, account="main"), replace(KEY, account="o-81")
    ledger = [ours(1, 2, SAME, key=mine)]
    assert findings(ledger, [theirs(1, 2, SAME, key=yours)]) == []
    both = [theirs(1, 2, SAME, key=mine), theirs(1, 2, SAME, key=yours)]
    assert sum(amount for _, amount in findings(ledger, both)) == cost(**SAME)
    assert len(findings(ledger, both)) == 1
