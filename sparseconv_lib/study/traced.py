"""Floats that remember the trainings they were computed from.

A record hands out its accuracies and errors as `Traced`; sums, differences and ratios of them, and
the means of `statistics`, remember every training that went in. So the report can say of a number
where it came from without any table having to keep account.
"""

from collections.abc import Hashable, Iterable


class Traced(float):
    """A float with `behind`, the keys of what it was computed from; otherwise a plain float."""

    behind: frozenset[Hashable]

    def __new__(cls, value: float, behind: Iterable[Hashable] = ()) -> "Traced":
        self = super().__new__(cls, value)
        self.behind = frozenset(behind)
        return self

    def __reduce__(self) -> tuple:
        return Traced, (float(self), self.behind)

    def __add__(self, other: float) -> float:
        return _traced(float.__add__(self, other), self, other)

    def __sub__(self, other: float) -> float:
        return _traced(float.__sub__(self, other), self, other)

    def __mul__(self, other: float) -> float:
        return _traced(float.__mul__(self, other), self, other)

    def __truediv__(self, other: float) -> float:
        return _traced(float.__truediv__(self, other), self, other)

    def __radd__(self, other: float) -> float:
        return _traced(float.__radd__(self, other), self, other)

    def __rsub__(self, other: float) -> float:
        return _traced(float.__rsub__(self, other), self, other)

    def __rmul__(self, other: float) -> float:
        return _traced(float.__rmul__(self, other), self, other)

    def __rtruediv__(self, other: float) -> float:
        return _traced(float.__rtruediv__(self, other), self, other)

    def __neg__(self) -> float:
        return _traced(float.__neg__(self), self)


def behind(values: Iterable[float]) -> frozenset[Hashable]:
    """What all of these values together were computed from; empty where nothing is known."""
    return frozenset().union(*(v.behind for v in values if isinstance(v, Traced)))


def _traced(value: float, *operands: float) -> float:
    if value is NotImplemented:  # the other operand, such as an array, computes it
        return value
    return Traced(value, behind(operands))
