"""Rounding to whole numbers: floor, ceil, round, rint, fix and sign. The result has the scale 1."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import fx

from mrt_torch.cvm.interval import bits_for
from mrt_torch.errors import PrecisionError
from mrt_torch.graph.editor import GraphEditor
from mrt_torch.graph.facts import describe, facts_of
from mrt_torch.graph.float_operators import define_float_operator
from mrt_torch.ops.activation import ElementwiseTransformer
from mrt_torch.ops.registry import register_pass, register_transformer
from mrt_torch.ops.truth import below_number
from mrt_torch.quantization.context import QuantizationContext, Quantized
from mrt_torch.quantization.discrete import is_discrete
from mrt_torch.quantization.precision import cvm_float, round_half_away

aten = torch.ops.aten
PRODUCT_BITS = 30  # a shift reads 31, and half a unit is added
WIDEST = 18        # leaves the factor 12 bits
REDUCED = 16


def _round_half_down(values: torch.Tensor) -> torch.Tensor:
    floor, ceil = values.floor(), values.ceil()
    return torch.where(values - floor <= ceil - values, floor, ceil)


ROUND_HALF_AWAY = define_float_operator("round_half_away", "(Tensor x) -> Tensor", round_half_away)
ROUND_HALF_DOWN = define_float_operator("round_half_down", "(Tensor x) -> Tensor", _round_half_down)


class Grid(NamedTuple):
    """Integers Y, and k: the value is Y / 2**k, at most ``slack`` / 2**k off; no slack means that it is exact."""

    node: fx.Node
    shift: int
    slack: int


def on_grid(context: QuantizationContext, x: fx.Node) -> Grid | None:
    """The activation over a power of two: X / s = X * frac / 2**k; None where 30 bits do not hold its whole part.

    Exact where s is a power of two or 1 / s a whole number. Elsewhere frac has the bits that X, of 18 bits at most,
    leaves of 30, and the slack is half a unit of X and what the rounding of frac makes of the largest X, but no more
    than one half.
    """
    quantized = context.value(x)
    if quantized.value_range.precision > (PRODUCT_BITS if _is_power(quantized.scale) else WIDEST):
        quantized = context.requantize(x, REDUCED)
    (node, scale), values = quantized, quantized.value_range
    if 2 * values.magnitude < scale:  # below one half everywhere: any larger power of two rounds alike
        return Grid(node, bits_for(values.magnitude), 0)
    frac, shift = _reciprocal(scale, 2 if _is_power(scale) else PRODUCT_BITS - values.precision)
    if bits_for(values.magnitude * frac) > PRODUCT_BITS:
        return None
    if frac != 1:
        node = context.call("broadcast_mul", node, context.number(frac))
    if frac == 1 or not shift:
        return Grid(node, shift, 0)
    missed = math.ceil(values.magnitude * abs(frac - math.ldexp(1 / scale, shift)))
    return Grid(node, shift, min(frac // 2 + missed, 1 << shift - 1))


def _is_power(scale: float) -> bool:
    return math.frexp(scale)[0] == 0.5


def _reciprocal(scale: float, bits: int) -> tuple[int, int]:
    """``(frac, k)`` with frac / 2**k close to 1 / scale and k >= 0; k < 30 where X / scale reaches one half."""
    frac, exponent = cvm_float(1 / scale, bits)
    return (frac << exponent, 0) if exponent >= 0 else (frac, -exponent)


def added(context: QuantizationContext, node: fx.Node, number: int) -> fx.Node:
    """X + number."""
    return context.call("broadcast_add", node, context.number(number)) if number else node


def shifted(context: QuantizationContext, node: fx.Node, shift: int) -> fx.Node:
    """floor(X / 2**shift + 1/2), in the bits its proven range needs."""
    values = facts_of(node).value_range
    ends = (((end >> (shift - 1)) + 1) >> 1 for end in (values.minimum, values.maximum))
    return context.call("cvm_right_shift", context.narrow(node, 31), precision=bits_for(max(map(abs, ends))),
                        shift_bit=shift)


def floored(context: QuantizationContext, grid: Grid) -> fx.Node:
    """floor((Y + slack) / 2**k)."""
    return shifted(context, added(context, grid.node, grid.slack - (1 << grid.shift - 1)), grid.shift)


def nearest(context: QuantizationContext, x: fx.Node) -> Quantized:
    """An activation at scale 1, rounded to the nearest whole number: what indices are read with.

    Raises:
        PrecisionError: 30 bits do not hold its whole part.
    """
    grid = on_grid(context, x)
    if grid is None:
        raise PrecisionError("an index does not fit 30 bits", where=describe(x),
                             why=f"its magnitude is up to {context.threshold(x):.3g}", remedy="clip it first")
    return Quantized(shifted(context, grid.node, grid.shift) if grid.shift else grid.node, 1.0)


def truncated(context: QuantizationContext, x: fx.Node) -> Quantized:
    """An activation at scale 1, rounded toward zero: see ``Fix``."""
    grid = on_grid(context, x)
    if grid is None:
        return context.value(x)
    node = grid.node
    if not grid.shift:
        return Quantized(node, 1.0)
    if grid.slack:
        sign = context.call("cvm_clip", node, precision=2)
        node = context.call("broadcast_add", node, context.call("broadcast_mul", sign, context.number(grid.slack)))
    return Quantized(context.call("broadcast_div", node, context.number(1 << grid.shift)), 1.0)


class Rounding(ElementwiseTransformer):
    """What roundings share.

    X / s is brought to Y / 2**k, see ``on_grid``. The result is exact where the scale is a power of two. Elsewhere X
    itself was rounded, and a value within the slack of a whole number, about half a unit 1 / (2 s), counts as that
    number: floor, ceil and fix keep whole numbers, and ties of the roundings to nearest may go either way. Values
    whose whole part needs more than 30 bits are left as they are.
    """

    cvm_operators = ("broadcast_mul", "broadcast_add", "cvm_right_shift")
    limits = "Inputs within half a unit of a step may go to either side of it."

    def rewrite(self, op: fx.Node, *, editor: GraphEditor, **context: Any) -> fx.Node:
        """Whole numbers by nature need no rounding."""
        return op.args[0] if is_discrete(op.args[0]) else op

    def quantize(self, op: fx.Node, *, context: QuantizationContext, **keywords: Any) -> Quantized:
        """See the class, and ``whole`` of the subclass for the formula."""
        grid = on_grid(context, op.args[0])
        if grid is None:
            return context.value(op.args[0])
        return Quantized(self.whole(context, grid) if grid.shift else grid.node, 1.0)

    def whole(self, context: QuantizationContext, grid: Grid) -> fx.Node:
        """The integers for k > 0."""
        raise TypeError("Rounding is abstract: a subclass gives whole")


@register_pass("validate", "calculate_ops", "prepare_for_compile", "compile")
@register_transformer(aten.floor.default)
class Floor(Rounding):
    """Largest whole number not above x: floor((Y + slack) / 2**k), one shift of Y + slack - 2**(k-1)."""

    op_name = "floor"

    def whole(self, context: QuantizationContext, grid: Grid) -> fx.Node:
        return floored(context, grid)


@register_pass("validate", "calculate_ops", "prepare_for_compile", "compile")
@register_transformer(aten.ceil.default)
class Ceil(Rounding):
    """Smallest whole number not below x: floor((Y - slack + 2**k - 1) / 2**k)."""

    op_name = "ceil"

    def whole(self, context: QuantizationContext, grid: Grid) -> fx.Node:
        return shifted(context, added(context, grid.node, (1 << grid.shift - 1) - 1 - grid.slack), grid.shift)


@register_pass("validate", "calculate_ops", "prepare_for_compile", "compile")
@register_transformer(ROUND_HALF_AWAY)
class Round(Rounding):
    """Nearest whole number, ties away from zero (MXNet's): shift of Y - 1 where Y < 0, of Y elsewhere."""

    op_name = "round"
    cvm_operators = ("negative", "broadcast_greater", "broadcast_sub", "broadcast_mul", "cvm_right_shift")

    def whole(self, context: QuantizationContext, grid: Grid) -> fx.Node:
        node = grid.node
        if not grid.slack and facts_of(node).value_range.minimum < 0:
            node = context.call("broadcast_sub", node, below_number(context, node, 0))
        return shifted(context, node, grid.shift)


@register_pass("validate", "calculate_ops", "prepare_for_compile", "compile")
@register_transformer(ROUND_HALF_DOWN)
class Rint(Rounding):
    """Nearest whole number, ties down (MXNet's rint): shift of Y - 1."""

    op_name = "rint"

    def whole(self, context: QuantizationContext, grid: Grid) -> fx.Node:
        return shifted(context, added(context, grid.node, 0 if grid.slack else -1), grid.shift)


@register_pass("validate", "calculate_ops", "prepare_for_compile", "compile")
@register_transformer(aten.round.default)
class RoundHalfEven(Rounding):
    """Nearest whole number, ties to even (torch's round): shift of Y - 1 + b, b the lowest bit of floor(Y / 2**k)."""

    op_name = "round_half_even"
    cvm_operators = ("broadcast_add", "broadcast_sub", "broadcast_mul", "cvm_right_shift")

    def whole(self, context: QuantizationContext, grid: Grid) -> fx.Node:
        if grid.slack:
            return shifted(context, grid.node, grid.shift)
        below = floored(context, grid)
        doubled = context.call("broadcast_mul", floored(context, Grid(below, 1, 0)), context.number(2))
        odd = context.call("cvm_clip", context.call("broadcast_sub", below, doubled), precision=2)
        return shifted(context, added(context, context.call("broadcast_add", grid.node, odd), -1), grid.shift)


@register_pass("validate", "calculate_ops", "prepare_for_compile", "compile")
@register_transformer(aten.trunc.default)
class Fix(Rounding):
    """x without its fraction, toward zero: broadcast_div of Y + sign(Y) * slack by 2**k, which truncates."""

    op_name = "fix"
    cvm_operators = ("cvm_clip", "broadcast_mul", "broadcast_add", "broadcast_div")

    def quantize(self, op: fx.Node, *, context: QuantizationContext, **keywords: Any) -> Quantized:
        return truncated(context, op.args[0])


@register_pass("validate", "rewrite", "calculate_ops", "prepare_for_compile", "compile")
@register_transformer(aten.sign.default)
class Sign(ElementwiseTransformer):
    """-1, 0 or 1."""

    op_name = "sign"
    cvm_operators = ("cvm_clip",)

    def quantize(self, op: fx.Node, *, context: QuantizationContext, **keywords: Any) -> Quantized:
        """A clip to two bits, exact; what was rounded to zero has no sign."""
        return Quantized(context.call("cvm_clip", context.value(op.args[0]).node, precision=2), 1.0)
