"""What is said about two arms: how often the interval holds the truth, and when nothing is said."""

import random
from fractions import Fraction

import pytest

from remit.outcomes.compare import MIN_OUTCOMES, MIN_SUCCESSES, _quantile_micro, compare, ratio_interval
from remit.outcomes.model import Comparison, Subject

ARMS = ("A", "B")
CENT = 10_000_000


def arm(chance: random.Random, count: int, success_percent: int, scale: int) -> list[Subject]:
    """Costs as agents have them: most are low and some far above, and failures cost twice as much."""
    made = []
    for _ in range(count):
        is_success = chance.randrange(100) < success_percent
        cost = int(scale * chance.lognormvariate(0, 1))
        made.append(Subject(cost if is_success else 2 * cost, is_success))
    return made


def truth(success_percent: int, scale: int) -> float:
    share = success_percent / 100
    return scale * 2.718281828459045**0.5 * (share + 2 * (1 - share)) / share


@pytest.mark.parametrize(
    ("count", "percents", "scales"), [(150, (68, 55), (CENT, CENT)), (300, (68, 90), (CENT, 2 * CENT))]
)
def test_the_interval_holds_the_truth_as_often_as_it_says(
    count: int, percents: tuple[int, int], scales: tuple[int, int]
) -> None:
    """Of 400 experiments with skewed costs, the 95 % interval holds the true difference in 92 to 98 of a hundred."""
    chance = random.Random(20260601)
    true = truth(percents[1], scales[1]) - truth(percents[0], scales[0])
    held = 0
    for _ in range(400):
        first, second = (arm(chance, count, *terms) for terms in zip(percents, scales, strict=True))
        made = compare("k", ARMS, first, second, 0)
        assert made.interval is not None
        held += made.interval.low <= true <= made.interval.high
    assert 0.92 * 400 <= held <= 0.98 * 400, held


def test_arms_that_are_alike_are_seldom_told_apart() -> None:
    """Where there is no difference, one is claimed in about five of a hundred experiments, and never one the interval denies."""
    chance = random.Random(7)
    claimed = 0
    for _ in range(200):
        made = compare("k", ARMS, arm(chance, 100, 68, CENT), arm(chance, 100, 68, CENT), 0)
        assert made.interval is not None
        holds_nothing = made.interval.low <= 0 <= made.interval.high
        assert (made.verdict == "no_difference_shown") == holds_nothing
        claimed += not holds_nothing
    assert claimed <= 20, claimed


def said(first: list[Subject], second: list[Subject]) -> Comparison:
    return compare("k", ARMS, first, second, 3)


def test_a_plain_difference_is_named_and_bounded() -> None:
    """At half the cost the second costs less; turned round, the first does, and the interval with it."""
    chance = random.Random(1)
    dear, cheap = arm(chance, 300, 68, 2 * CENT), arm(chance, 300, 68, CENT)
    one, other = said(dear, cheap), said(cheap, dear)
    assert (one.verdict, other.verdict) == ("second_costs_less", "first_costs_less")
    assert one.interval is not None and other.interval is not None
    assert one.interval.high < 0 < other.interval.low
    assert one.difference_nanousd == -(other.difference_nanousd or 0) and one.in_both == 3
    assert abs(one.interval.low + other.interval.high) <= 4  # rounded outwards on both sides
    assert said(dear, cheap) == one, "nothing is drawn at random"


@pytest.mark.parametrize(
    ("outcomes", "successes", "word"),
    [
        (MIN_OUTCOMES - 1, MIN_SUCCESSES, "nothing is said below"),
        (500, MIN_SUCCESSES - 1, "nothing is said below"),
        (0, 0, "nothing is said below"),
    ],
)
def test_of_too_little_nothing_is_said(outcomes: int, successes: int, word: str) -> None:
    """Below the least sample there is no difference, no interval and no verdict but that."""
    few = [Subject(CENT, number < successes) for number in range(outcomes)]
    made = said(few, arm(random.Random(3), 100, 68, CENT))
    assert (made.verdict, made.difference_nanousd, made.interval) == ("too_few", None, None)
    assert made.why is not None and word in made.why and "`A`" in made.why


def test_successes_that_bound_nothing_have_no_interval() -> None:
    """A ratio over two successes in a thousand could be anything; over none it is unknown."""
    assert ratio_interval([Subject(CENT, number < 2) for number in range(1000)]) is None
    assert ratio_interval([Subject(CENT, False)] * 50) is None
    assert ratio_interval([Subject(CENT, True)]) is None


def test_the_interval_of_one_arm_is_fiellers() -> None:
    """Both ends solve its equation, to the nano-dollar; the same cost each time has an interval that is that cost."""
    subjects = arm(random.Random(5), 80, 60, CENT)
    made = ratio_interval(subjects)
    assert made is not None
    quantile = Fraction(_quantile_micro(79), 10**6)

    def beyond(ratio: int) -> Fraction:
        rests = [Fraction(one.cost_nanousd - ratio * one.is_success) for one in subjects]
        mean = sum(rests) / 80
        variance = sum((rest - mean) ** 2 for rest in rests) / 79
        return mean**2 - quantile**2 * variance / 80

    assert beyond(made.low) >= 0 >= beyond(made.low + 2)
    assert beyond(made.high) >= 0 >= beyond(made.high - 2)
    constant = ratio_interval([Subject(CENT, True)] * 40)
    assert constant is not None and constant.low <= CENT <= constant.high and constant.high - constant.low <= 3


@pytest.mark.parametrize(
    ("degrees", "quantile"), [(29, 2_045_230), (60, 2_000_298), (120, 1_979_930), (10**9, 1_959_964)]
)
def test_the_quantile_is_students(degrees: int, quantile: int) -> None:
    """As tables have it."""
    assert abs(_quantile_micro(degrees) - quantile) <= 150
