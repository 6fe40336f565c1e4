"""Mistakes in prices, and usage that did not pass through the gateway."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import date, timedelta
from fractions import Fraction

from remit.reconcile.matching.cause import Cause
from remit.reconcile.matching.cells import CellKey, Quantity, VendorCell
from remit.testing.months.books import CHANGED_HERE, Books, book_without_bands
from remit.testing.months.case import STATED, Case, Recipe, some
from remit.testing.months.vendors import Shape, bill

CHANGED_THERE = 14
"""The day from which on the vendor charges the new price of `sim-change`."""


def _batch_discount(case: Case) -> None:
    for day in case.days():
        case.rebill(day, case.shapes[day], times=(1, 2))
    case.inject(Cause.BATCH_DISCOUNT)


def _service_tier(case: Case) -> None:
    for day in case.days():
        case.rebill(day, case.shapes[day], tier="priority")
    case.inject(Cause.SERVICE_TIER)


def _tier_downgrade(case: Case) -> None:
    case.stated_key = replace(case.key, tier="default")
    for day in case.days():
        case.rebill(day, case.shapes[day], tier="default")
    case.inject(Cause.TIER_DOWNGRADE)


def _long_context(case: Case) -> None:
    unaware = Books(book_without_bands())
    for day in some(case, 2, 6):
        long = [Shape(case.rng.randrange(210_000, 400_000), 0, 0, 901, 1)]
        case.entries += 1
        case.ours[day].add(unaware.book_shapes(long, day, case.key))
        case.theirs[day, "200k-1M"] = case.bill(long)
        case.theirs[day, "0-200k"] = case.theirs.pop((day, None))
    case.inject(Cause.LONG_CONTEXT)


def _data_residency(case: Case) -> None:
    for day in case.days():
        case.rebill(day, case.shapes[day], times=(11, 10))
    case.inject(Cause.DATA_RESIDENCY)


def _cross_region(case: Case) -> None:
    case.stated_key = replace(case.key, region="eu")
    for day in case.days():
        case.rebill(day, case.shapes[day], times=(6, 5))
    case.inject(Cause.CROSS_REGION)


def _unit_scale(case: Case) -> None:
    case.inject(Cause.UNIT_SCALE)


def _fine_tuned(case: Case) -> None:
    hosted = 0
    for day in case.days():
        case.theirs[day, None].amount["session"] = 1_700_000_000
        case.theirs[day, None].quantity["session"] = 24
        hosted += 1_700_000_000
    case.inject(Cause.FINE_TUNED)


def _price_change(case: Case) -> None:
    for day in case.days():
        if day.day >= CHANGED_THERE:
            case.rebill(day, case.shapes[day], model="sim-change after")
    assert CHANGED_THERE < CHANGED_HERE
    case.inject(Cause.PRICE_CHANGE)


def _time_of_day(case: Case) -> None:
    case.inject(Cause.TIME_OF_DAY)


def _stale_catalogue(case: Case) -> None:
    for day in case.days():
        if day.day >= 11:
            case.rebill(day, case.shapes[day], model="sim-stale after")
    case.inject(Cause.STALE_CATALOGUE)


def _negotiated_discount(case: Case) -> None:
    for day in case.days():
        listed = dict(case.theirs[day, None].amount)
        case.rebill(day, case.shapes[day], times=(4, 5))
        case.theirs[day, None].listed = listed
    case.inject(Cause.NEGOTIATED_DISCOUNT)


def _committed_drawdown(case: Case) -> None:
    for day in some(case, 4, 9):
        billed = case.theirs[day, None]
        billed.listed = dict(billed.amount)
        billed.amount = dict.fromkeys(billed.amount, 0)
    case.inject(Cause.COMMITTED_DRAWDOWN)


def _free_tier(case: Case) -> None:
    for day in some(case, 4, 9):
        billed = case.theirs[day, None]
        billed.amount = dict.fromkeys(billed.amount, 0)
    case.inject(Cause.FREE_TIER)


def _priced_at_zero(case: Case) -> None:
    case.inject(Cause.PRICED_AT_ZERO)


def _line_rounding(case: Case) -> None:
    for day in case.days():
        billed = case.theirs[day, None]
        billed.amount = {meter: (amount + 500) // 1_000 * 1_000 for meter, amount in billed.amount.items()}
    case.inject(Cause.LINE_ROUNDING)


def _unexplained(case: Case) -> None:
    (day,) = some(case, days=1)
    case.theirs[day, None].amount["output"] += 123_456_789
    case.inject(Cause.UNEXPLAINED)


def _state(
    case: Case, day: date, amount: Mapping[str, int], quantity: Mapping[str, Quantity], key: CellKey, **more: object
) -> None:
    case.extra.append(
        VendorCell(day=day, key=key, amount_nanousd=amount, quantity=quantity, **more)  # type: ignore[arg-type]
    )


def _unmetered(cause: Cause, meter: str, each: int, text: str | None = None) -> Recipe:
    """A recipe: lines of something that the ledger does not meter, beside what it does."""

    def inject(case: Case) -> None:
        total = 0
        for day in some(case, 2, 6):
            units = Fraction(case.rng.randrange(1, 400), 8)
            amount = units.numerator * each // units.denominator
            total += amount
            _state(case, day, {meter: amount}, {meter: units}, case.key.only(STATED[case.key.vendor]), text=text)
        case.inject(cause, total)

    return Recipe(inject=inject)


def _embeddings(case: Case) -> None:
    key = replace(case.key, model="text-embedding-3-small").only(STATED[case.key.vendor])
    total = 0
    for day in some(case, 2, 6):
        units = case.rng.randrange(10_000, 10**7)
        total += units * 20
        _state(case, day, {"input": units * 20}, {"input": units}, key, requests=4)
    case.inject(Cause.EMBEDDINGS, total, key)


def _past(case: Case, key: CellKey, model: str) -> int:
    """Usage on a key that the ledger has nothing of; answers what it costs."""
    total = 0
    stated = replace(key, model=model).only(STATED[key.vendor])
    for day in some(case, 3, 9):
        billed = bill(case.draw(5, 3), model)
        total += billed.total
        requests = billed.requests if key.vendor == "openai" else None
        _state(case, day, billed.amount, billed.quantity, stated, requests=requests)
    return total


def _who(key: CellKey) -> CellKey:
    return CellKey(vendor=key.vendor, project=key.project, key_id=key.key_id)


def _shadow_use(case: Case) -> None:
    key = replace(case.key, key_id=f"{case.key.key_id}-private")
    total = _past(case, key, "gpt-4o-mini") + _past(case, key, "gpt-4.1")
    case.inject(Cause.SHADOW_USE, total, _who(key))


def _workbench(case: Case) -> None:
    key = replace(case.key, key_id="")
    case.inject(Cause.WORKBENCH, _past(case, key, "sim-opus"), _who(key))


def _shared_key(case: Case) -> None:
    total = _past(case, case.key, "gpt-4.1")
    case.inject(Cause.SHARED_KEY, total, replace(case.key, model="gpt-4.1").only(STATED[case.key.vendor]))


def _other_products(case: Case) -> None:
    key = CellKey(vendor=case.key.vendor, project=case.key.project)
    total = 0
    for day in some(case, 2, 6):
        amount = case.rng.randrange(10**6, 10**10)
        total += amount
        _state(case, day, {"other": amount}, {}, key, text="seats of a chat product")
    case.inject(Cause.OTHER_PRODUCTS, total, key)


def _backdated_credit(case: Case) -> None:
    key = CellKey(vendor=case.key.vendor, project=case.key.project)
    day = case.days()[0] - timedelta(days=9)
    _state(case, day, {"credit": -777_000_001}, {}, key, charge="credit", text="goodwill")
    case.inject(Cause.BACKDATED_CREDIT, -777_000_001, key)


def _refund(case: Case) -> None:
    key = CellKey(vendor=case.key.vendor, project=case.key.project)
    _state(
        case, some(case, days=1)[0], {"other": -55_000_003}, {}, key, charge="adjustment", text="Refund of an outage"
    )
    case.inject(Cause.REFUND, -55_000_003, key)


RECIPES = {
    Cause.BATCH_DISCOUNT: Recipe(inject=_batch_discount, is_batch=True),
    Cause.SERVICE_TIER: Recipe(inject=_service_tier, vendor="anthropic", model="sim-opus"),
    Cause.TIER_DOWNGRADE: Recipe(inject=_tier_downgrade, tier="priority", tier_requested="priority"),
    Cause.LONG_CONTEXT: Recipe(inject=_long_context, vendor="anthropic", model="sim-long"),
    Cause.DATA_RESIDENCY: Recipe(inject=_data_residency, vendor="anthropic", model="sim-opus"),
    Cause.CROSS_REGION: Recipe(inject=_cross_region, vendor="anthropic", model="sim-opus"),
    Cause.UNIT_SCALE: Recipe(inject=_unit_scale, model="sim-scale"),
    Cause.FINE_TUNED: Recipe(inject=_fine_tuned, model="ft:gpt-4o-mini:acme"),
    Cause.PRICE_CHANGE: Recipe(inject=_price_change, model="sim-change"),
    Cause.TIME_OF_DAY: Recipe(inject=_time_of_day, model="sim-night"),
    Cause.STALE_CATALOGUE: Recipe(inject=_stale_catalogue, model="sim-stale"),
    Cause.NEGOTIATED_DISCOUNT: Recipe(inject=_negotiated_discount),
    Cause.COMMITTED_DRAWDOWN: Recipe(inject=_committed_drawdown),
    Cause.FREE_TIER: Recipe(inject=_free_tier),
    Cause.PRICED_AT_ZERO: Recipe(inject=_priced_at_zero, model="sim-zero"),
    Cause.LINE_ROUNDING: Recipe(inject=_line_rounding),
    Cause.UNEXPLAINED: Recipe(inject=_unexplained),
    Cause.CACHE_STORAGE: _unmetered(Cause.CACHE_STORAGE, "storage", 4_500, "context cache, token-hours"),
    Cause.WEB_SEARCH: _unmetered(Cause.WEB_SEARCH, "web_search", 10_000_000),
    Cause.CODE_EXECUTION: _unmetered(Cause.CODE_EXECUTION, "code_execution", 50_000_000),
    Cause.SESSION_HOURS: _unmetered(Cause.SESSION_HOURS, "session", 80_000_000),
    Cause.STORAGE: _unmetered(Cause.STORAGE, "storage", 100_000_000, "vector store"),
    Cause.IMAGES: _unmetered(Cause.IMAGES, "images", 40_000_000),
    Cause.EMBEDDINGS: Recipe(inject=_embeddings),
    Cause.SHADOW_USE: Recipe(inject=_shadow_use),
    Cause.WORKBENCH: Recipe(inject=_workbench, vendor="anthropic", model="sim-opus"),
    Cause.SHARED_KEY: Recipe(inject=_shared_key),
    Cause.OTHER_PRODUCTS: Recipe(inject=_other_products),
    Cause.BACKDATED_CREDIT: Recipe(inject=_backdated_credit),
    Cause.REFUND: Recipe(inject=_refund),
}
"""How each mistake of prices and scope is made."""
