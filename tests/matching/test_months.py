"""Generated months: what is found is what was put in, by cause, key and amount."""

from collections import Counter
from dataclasses import replace
from itertools import pairwise

import pytest

from remit.reconcile.matching import match
from remit.reconcile.matching.cause import Cause
from remit.reconcile.matching.cells import VendorCell
from remit.reconcile.matching.claims import Rest
from remit.reconcile.matching.context import Context
from remit.reconcile.matching.match import match_month
from remit.reconcile.matching.rules import RULES, Rule
from remit.reconcile.matching.rules.common import Claims
from remit.reconcile.matching.rules.time import missing_costs
from remit.reconcile.matching.series import Series
from remit.testing.months.__main__ import main
from remit.testing.months.month import BILLED, RECIPES, Month, Plan, generate
from remit.testing.months.proof import judge

SEEDS = (1, 2, 3, 5, 8)


def identity_holds(month: Month) -> bool:
    """Whether bills are what the ledger has and what was found, vendor by vendor."""
    matched = match_month(month.ledger, month.vendor, month.invoices, month.settings)
    booked: Counter[str] = Counter()
    billed: Counter[str] = Counter()
    for cell in month.ledger:
        booked[cell.key.vendor] += cell.amount_nanousd
    for bill in month.invoices:
        billed[bill.vendor] += bill.total_nanousd
    return all(
        billed[one.vendor] == booked[one.vendor] + sum(finding.amount_nanousd for finding in one.findings)
        for one in matched
    )


def test_every_cause_can_be_put_in() -> None:
    """There is a way to make every mistake that has a name."""
    assert set(RECIPES) | BILLED == set(Cause)


@pytest.mark.parametrize("seed", SEEDS)
def test_all_causes_are_found(seed: int) -> None:
    """Precision and recall are 1 with every cause in the month, and so are the amounts."""
    verdict = judge(generate(Plan(seed=seed)))
    assert (verdict.missed, verdict.invented) == ([], [])
    assert (verdict.precision_per_mille, verdict.recall_per_mille) == (1_000, 1_000)
    assert verdict.amounts_are_equal
    assert {cause for cause, _, _ in verdict.found} == set(Cause)


@pytest.mark.parametrize("seed", SEEDS[:2])
def test_month_without_mistakes_has_no_finding(seed: int) -> None:
    """Two sides that price the same calls by themselves agree to the nano-dollar."""
    month = generate(Plan(seed=seed, causes=(), plain=8))
    matched = match_month(month.ledger, month.vendor, month.invoices, month.settings)
    assert len(matched) == 5
    assert [one.findings for one in matched] == [()] * 5
    assert all(one.bill_nanousd == one.ledger_nanousd > 0 for one in matched)


def test_larger_months_are_found_as_well() -> None:
    """Many calls in a cell change nothing: a month of a million is as exact as a small one."""
    verdict = judge(generate(Plan(seed=21, entries=1_000_000, copies=1, kinds=8)))
    assert (verdict.missed, verdict.invented) == ([], [])


def test_two_causes_in_one_series_keep_the_sum() -> None:
    """Where two mistakes meet, what they are is a guess, and their sum is not."""
    causes = [cause for cause, recipe in RECIPES.items() if recipe.vendor == "openai"]
    of_model = [cause for cause in causes if RECIPES[cause].model == "gpt-4o-mini"]
    pairs = [pair for pair in pairwise(of_model) if Cause.LATE_ROWS not in pair[:1]]
    month = generate(Plan(seed=4, causes=(), both=[pair for pair in pairs if Cause.BATCH_NEXT_MONTH not in pair[:1]]))
    assert identity_holds(month)
    found = judge(month).found
    assert sum(amount * count for (_, _, amount), count in found.items()) == sum(
        bill.total_nanousd for bill in month.invoices
    ) - sum(cell.amount_nanousd for cell in month.ledger)


def rounded(cell: VendorCell) -> VendorCell:
    """What the vendor would state if it rounded every line to a millionth of a dollar."""
    if cell.charge != "usage":
        return cell
    amounts = {meter: (amount + 500) // 1_000 * 1_000 for meter, amount in cell.amount_nanousd.items()}
    return replace(cell, amount_nanousd=amounts)


@pytest.mark.parametrize("seed", SEEDS[:2])
def test_no_rule_fires_on_noise(seed: int) -> None:
    """With every line rounded, the same causes are found at the same keys, and what is added is rounding only."""
    month = generate(Plan(seed=seed, causes=[cause for cause in Plan().causes if cause != Cause.UNEXPLAINED]))
    exact = {(cause, key) for cause, key, _ in judge(month).found}
    noisy = replace_vendor(month, [rounded(cell) for cell in month.vendor])
    found = {(cause, key) for cause, key, _ in judge(noisy).found}
    assert identity_holds(noisy)
    assert exact - found <= {("line_rounding", key) for _, key in exact}
    assert {cause for cause, _ in found - exact} <= {"line_rounding"}


def replace_vendor(month: Month, cells: list[VendorCell]) -> Month:
    """The month with another statement."""
    return Month(
        ledger=month.ledger,
        vendor=cells,
        invoices=month.invoices,
        injected=month.injected,
        entries=month.entries,
        settings=month.settings,
    )


def test_verdict_can_be_wrong() -> None:
    """A mistake that is not found, and one that nobody made, show in precision and recall."""
    month = generate(Plan(seed=1, causes=(Cause.DUPLICATE_EVENTS, Cause.FREE_TIER)))
    month.injected[0] = replace(month.injected[0], amount_nanousd=month.injected[0].amount_nanousd + 1)
    verdict = judge(month)
    assert (len(verdict.missed), len(verdict.invented)) == (1, 1)
    assert (verdict.precision_per_mille, verdict.recall_per_mille) == (500, 500)
    assert not verdict.amounts_are_equal


def test_command_prints_the_verdict(capsys: pytest.CaptureFixture[str]) -> None:
    """The command says how many mistakes there were, how many were found, and how right that is."""
    assert main(["--entries", "8000", "--seed", "9"]) == 0
    printed = capsys.readouterr().out
    assert "precision 1.000\nrecall    1.000\namounts equal y\n" in printed
    assert "  duplicate_events       injected   1  found   1\n" in printed


def test_no_rule_is_there_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every rule explains something of a month of all causes; with nothing found wrongly, none can be left out."""
    used = set()

    def watched(rule: Rule) -> Rule:
        def watching(series: Series, rest: Rest, about: Context) -> Claims:
            for claim in rule(series, rest, about):
                used.add(rule)
                yield claim

        return watching

    monkeypatch.setattr(match, "RULES", tuple(watched(rule) for rule in RULES))
    assert judge(generate(Plan(seed=1))).is_right
    assert set(RULES) - used == {missing_costs}  # every cost is stated there; see test_shapes.py
