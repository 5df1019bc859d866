"""Draws of operands and attributes for random calls of CVM operators, of values up to the ends of int32."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

import numpy as np

from mrt_torch.cvm import OPERATORS, Call, Interval
from mrt_torch.cvm import Operand as CvmOperand

MOST_ELEMENTS = 600


@dataclass(frozen=True)
class Operand:
    """One operand: its values where it is drawn anew, or a reference into a graph."""

    shape: tuple[int, ...]
    precision: int
    values: np.ndarray | None = None
    reference: Any = None


@dataclass(frozen=True)
class SampledCall:
    """A legal call. ``rectified``: no value of the first operand is negative."""

    operator: str
    operands: tuple[Operand, ...]
    attributes: dict[str, Any] = field(default_factory=dict)
    rectified: bool = False

    def call(self) -> Call:
        """The call as the table sees it, of operands that may hold any value of their precision."""
        operands = tuple(CvmOperand(o.shape, o.precision, Interval.symmetric(o.precision)) for o in self.operands)
        shape, *_ = OPERATORS[self.operator].output_shapes([o.shape for o in operands], self.attributes)
        return Call(operands, self.attributes, shape)


class Sampler:
    """Draws operands and attributes."""

    def __init__(self, random: Random, pool: Callable[..., Operand | None] | None = None):
        self.random, self.pool = random, pool

    def choice(self, *items):
        return self.random.choice(items)

    def bits(self, low: int, high: int) -> int:
        return self.choice(low, high, high, min(max(8, low), high), self.random.randint(low, high))

    def shape(self, low: int, high: int) -> tuple[int, ...]:
        while True:
            shape = tuple(self.choice(1, 1, 2, 3, 4, 5) for _ in range(self.random.randint(low, high)))
            if math.prod(shape) <= MOST_ELEMENTS:
                return shape

    def fresh(self, shape: Sequence[int], bits: tuple[int, int] = (1, 32), small: int | None = None) -> Operand:
        """New values; ``small`` bounds most of their magnitudes."""
        precision = self.bits(*bits)
        bound = 2 ** (precision - 1) - 1
        edges = [bound, -bound, max(bound - 1, 0), 0, min(1, bound), -min(1, bound)]
        near = bound if small is None else min(small, bound)
        values = [self.random.choice(edges) if self.random.random() < 0.2 else self.random.randint(-near, near)
                  for _ in range(math.prod(shape))]
        return Operand(tuple(shape), precision, np.array(values, dtype=np.int64).reshape(tuple(shape)))

    def first(self, low: int = 1, high: int = 4, bits: tuple[int, int] = (1, 32)) -> Operand:
        found = self.pool((low, high), bits) if self.pool else None
        return found or self.fresh(self.shape(low, high), bits)

    def like(self, other: Operand, bits: tuple[int, int] = (1, 32)) -> Operand:
        """An operand of the same shape, sometimes the same one."""
        if bits[0] <= other.precision <= bits[1] and self.random.random() < 0.1:
            return other
        return self.fresh(other.shape, bits)

    def axis(self, rank: int) -> int:
        return self.random.randint(-rank, rank - 1)

    def axes(self, rank: int, least: int = 0) -> list[int]:
        chosen = self.random.sample(range(rank), self.random.randint(least, rank))
        return [axis - rank if self.random.random() < 0.3 else axis for axis in chosen]

    def two(self, *items) -> list[int]:
        return [self.choice(*items) for _ in range(2)]

    def boolean(self) -> bool:
        return self.random.random() < 0.5
