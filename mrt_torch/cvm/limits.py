"""Limits of the CVM runtime on tensors and attributes, each answered with reasons instead of errors."""

from __future__ import annotations

import math

from mrt_torch.cvm.operator import MAXIMUM_PRECISION, Call, Shape

LARGEST_ATTRIBUTE = 4096        # the runtime's default range of attributes is 0..4096
LARGEST_EXTENT = 2 ** 24
LARGEST_SIZE = 2 ** 30
LARGEST_RANK = 6
PRODUCT_PRECISION = 8           # conv2d and dense multiply int8 by int8


def tensor_limits(shape: Shape) -> list[str]:
    """Reasons why the runtime refuses a tensor of this shape."""
    reasons = []
    if not 1 <= len(shape) <= LARGEST_RANK:
        reasons.append(f"the shape {tuple(shape)} has {len(shape)} dimensions, not 1..{LARGEST_RANK}")
    reasons += [f"extent {extent} of axis {axis} is not in 1..{LARGEST_EXTENT}"
                for axis, extent in enumerate(shape) if not 1 <= extent <= LARGEST_EXTENT]
    if math.prod(shape) > LARGEST_SIZE:
        reasons.append(f"the tensor has {math.prod(shape)} elements, more than {LARGEST_SIZE}")
    return reasons


def precision_limits(precision: int) -> list[str]:
    """Reasons why the runtime refuses a tensor of this precision."""
    if 1 <= precision <= MAXIMUM_PRECISION:
        return []
    return [f"the runtime infers {precision} bits, not 1..{MAXIMUM_PRECISION}: "
            "narrow an input with cvm_clip first"]


def attribute_limits(call: Call, low: int, *names: str) -> list[str]:
    """Reasons for the named attributes, integers or lists of them, that are not in ``low..4096``."""
    reasons = []
    for name in names:
        value = call.attributes[name]
        outside = [v for v in (value if isinstance(value, (list, tuple)) else [value])
                   if not low <= v <= LARGEST_ATTRIBUTE]
        reasons += [f"{name} {v} is not in {low}..{LARGEST_ATTRIBUTE}" for v in outside]
    return reasons


def product_limits(call: Call, names: tuple[str, str] = ("data", "weight")) -> list[str]:
    """Reasons why the first two operands, of a convolution or matrix product, are too wide."""
    return [f"the {name} has {operand.precision} bits; the runtime multiplies up to {PRODUCT_PRECISION}"
            for name, operand in zip(names, call.operands)
            if operand.precision > PRODUCT_PRECISION]
