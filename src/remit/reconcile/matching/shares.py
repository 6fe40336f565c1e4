"""A sum divided so that the parts are whole and come to it exactly."""

from collections.abc import Mapping


def divide(amount: int, weights: Mapping[str, int]) -> dict[str, int]:
    """The amount by weights, each rounded down, and the rest to the largest remainders (ties by name); weights below one are none.

    Raises ValueError where no weight is above zero.
    """
    positive = {name: weight for name, weight in weights.items() if weight > 0}
    total = sum(positive.values())
    if not total:
        raise ValueError("nobody to divide it between")
    sign = -1 if amount < 0 else 1
    shares = {name: abs(amount) * weight // total for name, weight in positive.items()}
    left = abs(amount) - sum(shares.values())
    order = sorted(positive, key=lambda name: (-(abs(amount) * positive[name] % total), name))
    for name in order[:left]:
        shares[name] += 1
    return {name: sign * share for name, share in shares.items()}
