"""Ten thousand generated chains, honest and damaged: both verifiers give one answer, and the one that is due."""

from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from random import Random

from tests.capabilities.agreement import agree
from tests.capabilities.chains import INVALID, random_chain, ttl_too_long
from tests.capabilities.vectors import ISSUED, NOW, UNTIL

Case = tuple[str, int, str, Callable[[Random], tuple[str, int]]]


def _honest(length: int, bound: bool, has_tail: bool, rng: Random) -> tuple[str, int]:
    return random_chain(rng, length, bound=bound, has_tail=has_tail).text(), NOW


def _damaged(damage: Callable[..., str], rng: Random) -> tuple[str, int]:
    return damage(rng, random_chain(rng, rng.choice([2, 2, 2, 2, 3, 3, 3, 4, 8]))), NOW


def _at(now: int, rng: Random) -> tuple[str, int]:
    return random_chain(rng, rng.randrange(1, 5)).text(), now


def categories() -> Iterator[Case]:
    """(name, how many, the result that is due, a maker of a text and an instant)."""
    for length in range(1, 9):
        yield f"valid, {length} blocks", 150, "valid", partial(_honest, length, False, True)
        yield f"without a tail, {length} blocks", 50, "proof_required", partial(_honest, length, False, False)
        yield f"bound, {length} blocks", 50, "proof_required", partial(_honest, length, True, True)
    for name, damage in INVALID.items():
        yield name, 395, "invalid", partial(_damaged, damage)
    yield "ttl_too_long", 400, "not_yet_valid", partial(_damaged, ttl_too_long)
    yield "too early", 245, "not_yet_valid", partial(_at, ISSUED - 100)
    yield "too late", 245, "expired", partial(_at, UNTIL)


def test_both_verifiers_agree_on_ten_thousand_chains() -> None:
    """Every chain of every category gets the result due to it from both verifiers, with the same effective fields."""
    reached: Counter[str] = Counter()
    wrong = []
    for name, count, due, make in categories():
        for seed in range(count):
            text, now = make(Random(f"{name} {seed}"))
            if (result := agree(text, now)) != due:
                wrong.append((name, seed, result))
            reached[name] += 1
    print(dict(reached))
    assert not wrong
    assert reached.total() == 10_000
    assert min(reached.values()) >= 50
    assert len(reached) == 3 * 8 + len(INVALID) + 3
