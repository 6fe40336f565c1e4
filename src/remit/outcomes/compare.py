"""Whether one of two arms costs less per success: an interval for the difference of two ratios, in whole numbers.

Each arm's cost per success is a ratio of means over its outcomes, with Fieller's interval (1954): the values t for which
`cost - t * success` has a mean that does not differ from nothing. It has no ends where the successes are too few to bound the
ratio. The interval of the difference is put together from both by the method of variance estimates recovery (Donner and Zou,
2012), which keeps their lopsidedness: costs are skewed. Nothing is drawn at random, so the same outcomes have the same answer.
"""

from collections.abc import Sequence
from fractions import Fraction
from math import isqrt
from typing import Final

from remit.outcomes.model import Arm, Comparison, Interval, Subject, Verdict
from remit.outcomes.rules import per

METHOD: Final = "Fieller for each arm, MOVER for the difference"
CONFIDENCE_PERCENT: Final = 95
MIN_OUTCOMES: Final = 30
MIN_SUCCESSES: Final = 10
_MICRO: Final = 1_000_000


def compare(
    kind: str, names: tuple[str, str], first: Sequence[Subject], second: Sequence[Subject], in_both: int
) -> Comparison:
    """The comparison of two arms. It never says that one costs less where the interval holds nothing, or too little is known."""
    arms = [_arm(name, subjects) for name, subjects in zip(names, (first, second), strict=True)]
    why = next(filter(None, (_missing(arm) for arm in arms)), None)
    difference = interval = None
    verdict: Verdict = "too_few"
    if why is None:
        exact = [Fraction(arm.cost_nanousd, arm.successes) for arm in arms]
        difference = round(exact[1] - exact[0])
        interval = _difference(exact, [arm.interval for arm in arms])
        verdict = (
            "first_costs_less"
            if interval.low > 0
            else "second_costs_less"
            if interval.high < 0
            else "no_difference_shown"
        )
    return Comparison(
        kind=kind,
        first=arms[0],
        second=arms[1],
        in_both=in_both,
        difference_nanousd=difference,
        interval=interval,
        verdict=verdict,
        confidence_percent=CONFIDENCE_PERCENT,
        method=METHOD,
        why=why,
    )


def _arm(name: str, subjects: Sequence[Subject]) -> Arm:
    cost, successes = sum(one.cost_nanousd for one in subjects), sum(one.is_success for one in subjects)
    return Arm(
        name=name,
        outcomes=len(subjects),
        successes=successes,
        cost_nanousd=cost,
        cost_per_success_nanousd=per(cost, successes),
        interval=ratio_interval(subjects),
    )


def _missing(arm: Arm) -> str | None:
    if arm.outcomes < MIN_OUTCOMES or arm.successes < MIN_SUCCESSES:
        have = f"{arm.outcomes} outcomes with {arm.successes} successes"
        return f"`{arm.name}` has {have}; nothing is said below {MIN_OUTCOMES} with {MIN_SUCCESSES}"
    if arm.interval is None:
        return f"the {arm.successes} successes of `{arm.name}` are too few to bound what one costs"
    return None


def ratio_interval(subjects: Sequence[Subject]) -> Interval | None:
    """Fieller's interval for cost per success, None where it has no two ends."""
    n = len(subjects)
    cost, successes = sum(one.cost_nanousd for one in subjects), sum(one.is_success for one in subjects)
    if n < 2 or successes == 0:
        return None
    # Sums of squares about the means, times n: whole numbers.
    cost_cost = n * sum(one.cost_nanousd**2 for one in subjects) - cost**2
    cost_success = n * sum(one.cost_nanousd for one in subjects if one.is_success) - cost * successes
    success_success = n * successes - successes**2
    # (mean of cost - t * success)^2 <= q^2 * its variance / n, as a * t^2 - 2 * b * t + c <= 0.
    scale = _quantile_micro(n - 1) ** 2
    below = (n - 1) * _MICRO**2
    a = successes**2 * below - scale * success_success
    b = cost * successes * below - scale * cost_success
    c = cost**2 * below - scale * cost_cost
    root = b * b - a * c
    if a <= 0 or root < 0:
        return None
    square = isqrt(root)
    return Interval(low=(b - square - 1) // a, high=-((-b - square - 1) // a))


def _quantile_micro(degrees: int) -> int:
    """The 97.5 % quantile of Student's t in millionths, by its expansion in 1/degrees about the normal's.

    Abramowitz and Stegun, 26.7.5; at 29 degrees it is off by less than 50 of them.
    """
    return 1_959_964 + 2_372_270 // degrees + 2_822_500 // degrees**2


def _difference(ratios: Sequence[Fraction], intervals: Sequence[Interval | None]) -> Interval:
    """The interval of the second ratio less the first."""
    (first, second), (of_first, of_second) = ratios, intervals
    assert of_first is not None and of_second is not None
    down = _root_up((second - of_second.low) ** 2 + (of_first.high - first) ** 2)
    up = _root_up((of_second.high - second) ** 2 + (first - of_first.low) ** 2)
    middle = second - first
    return Interval(low=(middle - down).__floor__(), high=(middle + up).__ceil__())


def _root_up(value: Fraction) -> int:
    """A whole number that is not below the square root, and above it by less than two."""
    return isqrt(value.__ceil__()) + 1
