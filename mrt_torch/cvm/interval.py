"""Integer intervals: what is proven about the values of a tensor, in Python integers of any size."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch


def precision_range(precision: int) -> int:
    """Largest magnitude of a symmetric signed number of ``precision`` bits: ``2**(precision - 1) - 1``."""
    return (1 << (precision - 1)) - 1


def bits_for(magnitude: int) -> int:
    """Smallest precision whose symmetric range holds ``magnitude``: its bit length and a sign, at least 1."""
    return int(magnitude).bit_length() + 1 if magnitude else 1


@dataclass(frozen=True)
class Interval:
    """All integers from ``minimum`` to ``maximum``, both included."""

    minimum: int
    maximum: int

    def __post_init__(self):
        if self.minimum > self.maximum:
            raise ValueError(f"empty interval {self.minimum}..{self.maximum}")

    @classmethod
    def symmetric(cls, precision: int) -> Interval:
        """The range of a symmetric signed number of ``precision`` bits."""
        bound = precision_range(precision)
        return cls(-bound, bound)

    @classmethod
    def of_tensor(cls, tensor: torch.Tensor) -> Interval:
        """Exact extremes of an integer tensor with at least one element."""
        minimum, maximum = torch.aminmax(tensor)
        return cls(int(minimum), int(maximum))

    @classmethod
    def hull(cls, intervals: Iterable[Interval]) -> Interval:
        """Smallest interval that contains all the given ones."""
        intervals = list(intervals)
        return cls(min(i.minimum for i in intervals), max(i.maximum for i in intervals))

    @property
    def magnitude(self) -> int:
        return max(abs(self.minimum), abs(self.maximum))

    @property
    def precision(self) -> int:
        """Bits of the smallest symmetric signed range that contains the interval."""
        return bits_for(self.magnitude)

    def clamp(self, low: int, high: int) -> Interval:
        return Interval(min(max(self.minimum, low), high), min(max(self.maximum, low), high))

    def contains(self, other: Interval) -> bool:
        return self.minimum <= other.minimum and other.maximum <= self.maximum

    def __neg__(self) -> Interval:
        return Interval(-self.maximum, -self.minimum)

    def __add__(self, other: Interval) -> Interval:
        return Interval(self.minimum + other.minimum, self.maximum + other.maximum)

    def __sub__(self, other: Interval) -> Interval:
        return self + (-other)

    def __mul__(self, other: Interval) -> Interval:
        products = [a * b for a in (self.minimum, self.maximum) for b in (other.minimum, other.maximum)]
        return Interval(min(products), max(products))
