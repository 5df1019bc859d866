"""Integers 0 and 1: how comparisons are emitted, and what is decided by proven ranges."""

from __future__ import annotations

import torch
from torch import fx

from mrt_torch.graph.facts import facts_of
from mrt_torch.quantization.context import QuantizationContext, Quantized
from mrt_torch.quantization.discrete import is_exact
from mrt_torch.quantization.precision import round_half_away

WIDEST = 30
SLACK = 2.0 ** -22  # thresholds are float32: a product this close to an integer, relatively, is that integer


def snapped(values: torch.Tensor) -> torch.Tensor:
    """float64 values; those that miss an integer by rounding only become that integer."""
    nearest = values.round()
    return torch.where((values - nearest).abs() <= SLACK * nearest.abs().clamp(min=1.0), nearest, values)


def snapped_number(value: float) -> float:
    """See ``snapped``; infinities stay."""
    return float(snapped(torch.tensor(value, dtype=torch.float64)))


def bounds_beside(x: fx.Node, values: torch.Tensor, scale: float) -> torch.Tensor:
    """What the integers of the float node ``x`` are compared with: ``values`` * scale, in float64.

    Beside rounded integers they are rounded too, ties away from zero: what is equal in floats is then equal in
    integers, as the number 5 and an input of 5 at the scale 127 / 38. Beside exact ones fractions count.
    """
    scaled = snapped(values.to(torch.float64) * scale)
    return scaled if is_exact(x) else torch.where(scaled.isinf(), scaled, round_half_away(scaled))


def greater(context: QuantizationContext, left: fx.Node, right: fx.Node) -> fx.Node:
    """1 where left > right, else 0.

    The runtime gives the result as many bits as ``left`` has. Zeros have one, which cannot hold a 1: then the negated
    operands are compared the other way round.
    """
    if facts_of(left).precision < 2:
        left, right = context.call("negative", right), context.call("negative", left)
    return context.call("broadcast_greater", left, right)


def opposite(context: QuantizationContext, truth: fx.Node) -> fx.Node:
    """1 - truth."""
    return context.call("broadcast_sub", context.number(1), truth)


def nowhere(context: QuantizationContext, node: fx.Node) -> fx.Node:
    """Zeros of the shape of ``node``."""
    return context.narrow(node, 1)


def everywhere(context: QuantizationContext, node: fx.Node) -> fx.Node:
    """Ones of the shape of ``node``."""
    return context.call("broadcast_add", nowhere(context, node), context.number(1))


def above_number(context: QuantizationContext, node: fx.Node, number: float) -> fx.Node:
    """1 where X > number, an integer or infinite; decided here where the proven range of X decides it."""
    values = facts_of(node).value_range
    if number >= values.maximum:
        return nowhere(context, node)
    if number < values.minimum:
        return everywhere(context, node)
    return greater(context, node, context.number(int(number)))


def below_number(context: QuantizationContext, node: fx.Node, number: float) -> fx.Node:
    """1 where X < number, an integer or infinite."""
    values = facts_of(node).value_range
    if number <= values.minimum:
        return nowhere(context, node)
    if number > values.maximum:
        return everywhere(context, node)
    if number == 0:  # a constant zero has one bit
        return greater(context, context.call("negative", node), context.number(0))
    return greater(context, context.number(int(number)), node)


def is_zero(context: QuantizationContext, difference: fx.Node) -> fx.Node:
    """1 where X is 0: 1 > abs(X)."""
    if facts_of(difference).value_range.minimum < 0:
        difference = context.call("abs", difference)
    return greater(context, context.number(1), difference)


def equals_number(context: QuantizationContext, node: fx.Node, number: float) -> fx.Node:
    """1 where X == number."""
    values = facts_of(node).value_range
    if number % 1 or not values.minimum <= number <= values.maximum:
        return nowhere(context, node)
    difference = node if number == 0 else context.call("broadcast_sub", node, context.number(int(number)))
    return is_zero(context, difference)


def compared_integers(context: QuantizationContext, node: fx.Node) -> Quantized:
    """An activation as it is; in 30 bits where it has more, so that every number beside it is a parameter."""
    quantized = context.value(node)
    return quantized if quantized.value_range.precision <= WIDEST else context.requantize(node, WIDEST)
