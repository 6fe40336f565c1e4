"""A whole month of several vendors: series on which both sides agree, and series with one mistake each."""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Final

from remit.pricing.book import PriceBook
from remit.reconcile.matching.cause import Cause
from remit.reconcile.matching.cells import CellKey, Invoice, InvoiceLine, LedgerCell, Tolerance, VendorCell
from remit.reconcile.matching.match import Settings
from remit.reconcile.matching.registry import Registered, Registry
from remit.testing.months import mistakes_of_counts, mistakes_of_prices
from remit.testing.months.books import Books, price_book
from remit.testing.months.case import Case, Injected, Recipe

RECIPES: Final[Mapping[Cause, Recipe]] = {**mistakes_of_counts.RECIPES, **mistakes_of_prices.RECIPES}
BILLED: Final = frozenset({Cause.CREDIT, Cause.TAX, Cause.FX, Cause.MARKETPLACE, Cause.PLATFORM_FEE, Cause.PREPAYMENT})
"""Causes that are in a bill and in no line of costs."""
_PLAIN: Final = (
    ("openai", "gpt-4o-mini"),
    ("openai", "gpt-4.1"),
    ("anthropic", "sim-opus"),
    ("openrouter", "or-small"),
    ("google", "gem-flash"),
    ("bedrock", "bed-pro"),
)
_CENT: Final = 10_000_000


@dataclass(slots=True, kw_only=True)
class Month:
    """What both sides say of a month, and what was put into it."""

    ledger: list[LedgerCell] = field(default_factory=list)
    vendor: list[VendorCell] = field(default_factory=list)
    invoices: list[Invoice] = field(default_factory=list)
    injected: list[Injected] = field(default_factory=list)
    entries: int = 0
    settings: Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How large a month is, and what is wrong with it. `both` are pairs of causes that meet in one series."""

    first: date = date(2026, 10, 1)
    entries: int = 20_000
    seed: int = 1
    copies: int = 1
    plain: int = 4
    kinds: int = 4
    causes: Sequence[Cause] = (*RECIPES, *sorted(BILLED))
    both: Sequence[tuple[Cause, Cause]] = ()


def days_of(first: date) -> list[date]:
    """Every day of a month."""
    found = [first]
    while (following := found[-1] + timedelta(days=1)).month == first.month:
        found.append(following)
    return found


def generate(plan: Plan) -> Month:
    """The month of a plan; the same plan gives the same month. Requests are never kept: only sums by day and key are."""
    book = price_book(plan.first)
    registered = [
        Registered(vendor=vendor, deployment="plain", account="main", project=project, key_id=key)
        for vendor, project, key in _names(plan)
    ]
    month = Month(settings=_settings(plan.first, registered, book))
    books = Books(book)
    days = days_of(plan.first)
    each = max(1, plan.entries // (len(registered) * len(days)))
    for case, recipes in _cases(plan, books):
        for day in days:
            case.fill(day, case.draw(case.rng.randint(max(1, each - each // 4), each + each // 4), plan.kinds))
        for recipe in recipes:
            recipe.inject(case)
        month.entries += case.entries
        month.ledger += case.ledger_cells()
        month.vendor += case.vendor_cells()
        month.injected += case.injected
    _bill(plan, month)
    return month


def _settings(first: date, registered: Sequence[Registered], book: PriceBook) -> Settings:
    return Settings(
        month=first, registry=Registry(registered), prices=book, default_tolerance=Tolerance(absolute_nanousd=500)
    )


def _keys(plan: Plan) -> Iterator[tuple[str, str, Sequence[Recipe], str]]:
    """Vendor, a name, what is wrong, and a model, of every series."""
    for vendor, model in _PLAIN:
        for number in range(plan.plain):
            yield vendor, f"plain{number}-{model}", (), model
    wrong = [(cause,) for cause in plan.causes if cause in RECIPES]
    for causes in (*wrong, *plan.both):
        recipe = RECIPES[causes[0]]
        for number in range(plan.copies):
            name = "-".join(causes).replace("_", "")
            yield recipe.vendor, f"{name}{number}", tuple(RECIPES[cause] for cause in causes), recipe.model


def _names(plan: Plan) -> Iterator[tuple[str, str, str]]:
    for vendor, name, _, _ in _keys(plan):
        yield vendor, f"proj-{name}", f"key-{name}"


def _cases(plan: Plan, books: Books) -> Iterator[tuple[Case, Sequence[Recipe]]]:
    for vendor, name, recipes, model in _keys(plan):
        how = recipes[0] if recipes else Recipe(inject=lambda _: None)
        key = CellKey(
            vendor=vendor,
            account="main",
            project=f"proj-{name}",
            key_id=f"key-{name}",
            deployment="plain",
            # Where a statement tells series apart by their model alone, each has one of its own.
            model=model,
            tier=how.tier,
            is_batch=how.is_batch,
            region="us",
        )
        rng = random.Random(f"{plan.seed} {name}")  # noqa: S311 - not for secrets
        yield (
            Case(
                key=key,
                rng=rng,
                books=books,
                grants=(f"grant-{name}-a", f"grant-{name}-b"),
                tier_requested=how.tier_requested,
                renamed=how.renamed,
            ),
            recipes,
        )


def _bill(plan: Plan, month: Month) -> None:
    """The bills: costs as they are stated, and what is in bills alone, each with one vendor."""
    stated: dict[tuple[str, str | None], int] = {}
    others: dict[str, list[InvoiceLine]] = {}
    for cell in month.vendor:
        if cell.charge == "usage":
            at = (cell.key.vendor, cell.issuer)
            stated[at] = stated.get(at, 0) + cell.total_nanousd
        else:
            line = InvoiceLine(charge=cell.charge, amount_nanousd=cell.total_nanousd, text=cell.text)
            others.setdefault(cell.key.vendor, []).append(line)
    causes = set(plan.causes)
    for (vendor, issuer), usage in stated.items():
        lines = [InvoiceLine(charge="usage", amount_nanousd=usage, text="usage"), *others.get(vendor, [])]
        currency, rate = "USD", None
        if vendor == "google" and Cause.FX in causes:
            currency, rate = "EUR", "1.0823"
            lines[0] = _usage(month, Cause.FX, vendor, usage, usage * 10_031 // 10_000 + 7 * _CENT)
        if vendor == "bedrock" and Cause.MARKETPLACE in causes:
            lines[0] = _usage(month, Cause.MARKETPLACE, vendor, usage, usage * 103 // 100 + 7)
        for cause, where, charge, meter, amount in (
            (Cause.TAX, "anthropic", "tax", None, usage * 19 // 100),
            (Cause.CREDIT, "openai", "credit", None, -25_000_000_001),
            (Cause.PLATFORM_FEE, "openrouter", "usage", "platform_fee", usage * 55 // 1_000),
            (Cause.PREPAYMENT, "anthropic", "purchase", None, 500_000_000_000),
        ):
            if vendor == where and cause in causes:
                lines.append(InvoiceLine(charge=charge, amount_nanousd=amount, meter=meter, text=cause))  # type: ignore[arg-type]
                month.injected.append(Injected(cause, CellKey(vendor=vendor), amount))
        month.invoices.append(
            Invoice(
                issuer=issuer or vendor,
                id=f"{vendor}-{plan.first:%Y-%m}",
                vendor=vendor,
                month=plan.first,
                total_nanousd=sum(line.amount_nanousd for line in lines),
                currency=currency,
                rate_text=rate,
                lines=tuple(lines),
            )
        )


def _usage(month: Month, cause: Cause, vendor: str, stated: int, billed: int) -> InvoiceLine:
    month.injected.append(Injected(cause, CellKey(vendor=vendor), billed - stated))
    return InvoiceLine(charge="usage", amount_nanousd=billed, text="usage")
