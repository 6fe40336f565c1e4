"""Exact percentiles of many durations."""

from array import array
from collections.abc import Iterable


class Sample:
    """Every value is kept, at eight bytes each; nothing is estimated.

    A percentile is the nearest rank: the smallest value with at least that share of the values at or below it. It is
    always a value that occurred.
    """

    __slots__ = ("_sorted", "_values")

    def __init__(self, values: Iterable[float] = ()) -> None:
        self._values = array("d", values)
        self._sorted = False

    def __len__(self) -> int:
        return len(self._values)

    def add(self, value: float) -> None:
        """Takes one more value."""
        self._values.append(value)
        self._sorted = False

    def percentile(self, percent: int) -> float | None:
        """The nearest rank for 0 < percent <= 100; None where there is no value."""
        assert 0 < percent <= 100
        if not self._values:
            return None
        if not self._sorted:
            self._values = array("d", sorted(self._values))
            self._sorted = True
        rank = -(-len(self._values) * percent // 100)
        return self._values[rank - 1]

    @property
    def largest(self) -> float | None:
        return self.percentile(100)
