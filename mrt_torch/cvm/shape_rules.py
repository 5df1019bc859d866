"""Shape rules that several CVM operators share. All raise InvalidArgumentError where the runtime refuses."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from mrt_torch.cvm.operator import Shape
from mrt_torch.errors import InvalidArgumentError


def require(condition: bool, what: str, why: str | None = None) -> None:
    """Raise InvalidArgumentError unless ``condition`` holds."""
    if not condition:
        raise InvalidArgumentError(what, why=why, remedy="check the shapes and attributes of the operator call")


def same_shape(shapes: Sequence[Shape], attributes: Mapping[str, Any]) -> Shape:
    """Shape of the first operand."""
    return tuple(shapes[0])


def equal_shape(shapes: Sequence[Shape], attributes: Mapping[str, Any]) -> Shape:
    """The one shape of two operands."""
    require(tuple(shapes[0]) == tuple(shapes[1]), "the operands' shapes differ",
            f"{shapes[0]} and {shapes[1]}")
    return tuple(shapes[0])


def broadcast_shape(shapes: Sequence[Shape], attributes: Mapping[str, Any]) -> Shape:
    """numpy's broadcast of two shapes."""
    left, right = shapes
    length = max(len(left), len(right))
    left, right = ((1,) * (length - len(s)) + tuple(s) for s in (left, right))
    require(all(a == b or a == 1 or b == 1 for a, b in zip(left, right)),
            "the operands' shapes do not broadcast", f"{shapes[0]} and {shapes[1]}")
    return tuple(b if a == 1 else a for a, b in zip(left, right))


def normal_axis(axis: int, rank: int) -> int:
    """``axis`` counted from the front."""
    require(-rank <= axis < rank, f"axis {axis} is out of range for {rank} dimensions")
    return axis % rank


def normal_axes(axes: Sequence[int], rank: int) -> list[int]:
    """Different axes counted from the front, in the given order."""
    counted = [normal_axis(axis, rank) for axis in axes]
    require(len(set(counted)) == len(counted), f"axes {list(axes)} repeat")
    return counted


def elements(shape: Shape) -> int:
    return math.prod(shape)
