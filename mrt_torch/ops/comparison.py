"""Comparisons: of two tensors, and of a tensor and a number. The result is 0 or 1, at scale 1."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import fx

from mrt_torch.cvm.interval import precision_range
from mrt_torch.graph.editor import GraphEditor, shape_of
from mrt_torch.graph.facts import facts_of, source_name
from mrt_torch.ops.activation import ElementwiseTransformer
from mrt_torch.ops.elementwise import BinaryTransformer
from mrt_torch.ops.registry import register_pass, register_transformer
from mrt_torch.ops.truth import (
    WIDEST,
    above_number,
    below_number,
    bounds_beside,
    compared_integers,
    equals_number,
    greater,
    is_zero,
)
from mrt_torch.quantization.context import QuantizationContext, Quantized

aten = torch.ops.aten


@register_pass("rewrite", "calculate_ops", "prepare_for_compile", "compile")
@register_transformer(aten.gt.Scalar)
class GreaterScalar(ElementwiseTransformer):
    """X > c."""

    op_name = "_greater_scalar"
    cvm_operators = ("broadcast_greater",)
    limits = "The number is not NaN."

    def validate(self, op: fx.Node, **context: Any) -> str | None:
        return "its number is NaN" if math.isnan(op.args[1]) else None

    def quantize(self, op: fx.Node, *, context: QuantizationContext, **keywords: Any) -> Quantized:
        """X > floor(b), with b = round(c * s) beside rounded integers and c * s beside exact ones.

        See ``bounds_beside``. The result differs from that of the floats only where x is within a unit, 1 / s, of c,
        and is right where both are equal. (The original took integer numbers only, and no scale.)
        """
        node, scale = compared_integers(context, op.args[0])
        bound = bounds_beside(op.args[0], torch.tensor(op.args[1], dtype=torch.float64), scale)
        return Quantized(self.compare(context, node, float(bound)), 1.0)

    @staticmethod
    def compare(context: QuantizationContext, node: fx.Node, bound: float) -> fx.Node:
        return above_number(context, node, _floor(bound))


@register_pass("rewrite", "calculate_ops", "prepare_for_compile", "compile")
@register_transformer(aten.ge.Scalar)
class GreaterEqualScalar(GreaterScalar):
    """X >= c, as X > ceil(b) - 1."""

    op_name = "_greater_equal_scalar"

    @staticmethod
    def compare(context: QuantizationContext, node: fx.Node, bound: float) -> fx.Node:
        return above_number(context, node, _ceil(bound) - 1)


@register_pass("rewrite", "calculate_ops", "prepare_for_compile", "compile")
@register_transformer(aten.lt.Scalar)
class LesserScalar(GreaterScalar):
    """X < c, as ceil(b) > X."""

    op_name = "_lesser_scalar"

    @staticmethod
    def compare(context: QuantizationContext, node: fx.Node, bound: float) -> fx.Node:
        return below_number(context, node, _ceil(bound))


@register_pass("rewrite", "calculate_ops", "prepare_for_compile", "compile")
@register_transformer(aten.le.Scalar)
class LesserEqualScalar(GreaterScalar):
    """X <= c, as floor(b) + 1 > X."""

    op_name = "_lesser_equal_scalar"

    @staticmethod
    def compare(context: QuantizationContext, node: fx.Node, bound: float) -> fx.Node:
        return below_number(context, node, _floor(bound) + 1)


@register_pass("rewrite", "calculate_ops", "prepare_for_compile", "compile")
@register_transformer(aten.eq.Scalar)
class EqualScalar(GreaterScalar):
    """X == c, as 1 > abs(X - b): equal means the same integer."""

    op_name = "_equal_scalar"
    cvm_operators = ("broadcast_sub", "abs", "broadcast_greater")

    @staticmethod
    def compare(context: QuantizationContext, node: fx.Node, bound: float) -> fx.Node:
        return equals_number(context, node, bound)


@register_pass("calculate_ops")
@register_transformer(aten.ne.Scalar)
class NotEqualScalar(GreaterScalar):
    """X != c; gone after rewrite."""

    op_name = "_not_equal_scalar"
    cvm_operators = ()
    rewritten_into = "not (X == c)"

    def rewrite(self, op: fx.Node, *, editor: GraphEditor, **context: Any) -> fx.Node:
        return editor.call(aten.logical_not.default, editor.call(aten.eq.Scalar, *op.args))


def _floor(value: float) -> float:
    return value if math.isinf(value) else math.floor(value)


def _ceil(value: float) -> float:
    return value if math.isinf(value) else math.ceil(value)


MIRRORED = {aten.gt.Tensor: aten.lt.Scalar, aten.eq.Tensor: aten.eq.Scalar}


class TensorComparison(BinaryTransformer):
    """What comparisons of two tensors share."""

    def rewrite(self, op: fx.Node, *, editor: GraphEditor, **context: Any) -> fx.Node:
        """A comparison with a number, where one operand is a constant of one element that adds no axis."""
        for position, (constant, other) in enumerate((op.args, op.args[::-1])):
            if constant.op == "get_attr" and other.op != "get_attr" and shape_of(op) == shape_of(other):
                tensor = editor.tensor_of(constant)
                if tensor.numel() == 1:
                    target = op.target.overloadpacket.Scalar if position else MIRRORED[op.target]
                    return editor.call(target, other, tensor.item())
        return op


def _beside_constant(context: QuantizationContext, op: fx.Node, rounded: Callable[[torch.Tensor], torch.Tensor]
                     ) -> tuple[fx.Node, fx.Node]:
    """Both operands, the constant clamped to just outside the proven range of the other."""
    place = 0 if context.is_constant(op.args[0]) else 1
    x, scale = compared_integers(context, op.args[1 - place])
    values = facts_of(x).value_range
    bounds = rounded(bounds_beside(op.args[1 - place], context.tensor(op.args[place]), scale))
    integers = bounds.clamp(values.minimum - 1, values.maximum + 1).to(torch.int64)
    constant = context.constant(source_name(op.args[place]), integers)
    return (constant, x) if place == 0 else (x, constant)


def _common_integers(context: QuantizationContext, left: fx.Node, right: fx.Node) -> tuple[fx.Node, fx.Node]:
    """Two activations at the finer of their scales; where 30 bits do not reach so far, at one of 24 bits."""
    pair = [compared_integers(context, node) for node in (left, right)]
    if pair[0].scale == pair[1].scale:
        return pair[0].node, pair[1].node
    finer = 0 if pair[0].scale > pair[1].scale else 1
    coarse = (left, right)[1 - finer]
    if context.threshold(coarse) * pair[finer].scale > precision_range(WIDEST):
        first, second = context.same_scale((left, right), 24)[0]
        return first, second
    nodes = [quantized.node for quantized in pair]
    nodes[1 - finer] = context.requantize(coarse, WIDEST, pair[finer].scale).node
    return nodes[0], nodes[1]


@register_pass("validate", "calculate_ops", "prepare_for_compile", "compile")
@register_transformer(aten.gt.Tensor)
class BroadcastGreater(TensorComparison):
    """A > B."""

    op_name = "broadcast_greater"
    cvm_operators = ("broadcast_greater",)

    def quantize(self, op: fx.Node, *, context: QuantizationContext, **keywords: Any) -> Quantized:
        """A constant is compared element by element as a number is, see ``GreaterScalar``.

        Two activations are brought to the finer of their scales. The result differs from that of the floats only
        where they are closer than half a unit of each, and 2**-12 of the one that was rescaled.
        """
        left, right = op.args
        if context.is_constant(left) or context.is_constant(right):
            nodes = _beside_constant(context, op, torch.floor if context.is_constant(right) else torch.ceil)
        else:
            nodes = _common_integers(context, left, right)
        return Quantized(greater(context, *nodes), 1.0)


@register_pass("validate", "calculate_ops", "prepare_for_compile", "compile")
@register_transformer(aten.eq.Tensor)
class BroadcastEqual(TensorComparison):
    """A == B: the same integer at one scale."""

    op_name = "broadcast_equal"
    cvm_operators = ("broadcast_sub", "abs", "broadcast_greater")

    def quantize(self, op: fx.Node, *, context: QuantizationContext, **keywords: Any) -> Quantized:
        """1 > abs(A - B), at the scale of ``BroadcastGreater``; a constant is compared as a number is.

        Exact where both hold integers by nature; floats that differ by less than a unit may count as equal.
        """
        if any(context.is_constant(node) for node in op.args):
            nodes = _beside_constant(context, op, lambda v: v.where(v % 1 == 0, math.inf))
        else:
            nodes = _common_integers(context, *op.args)
        return Quantized(is_zero(context, context.call("broadcast_sub", *nodes)), 1.0)


@register_pass("validate", "calculate_ops")
@register_transformer(aten.lt.Tensor)
class BroadcastLesser(BinaryTransformer):
    """A < B; gone after rewrite."""

    op_name = "broadcast_lesser"
    rewritten_into = "B > A"

    def rewrite(self, op: fx.Node, *, editor: GraphEditor, **context: Any) -> fx.Node:
        return editor.call(aten.gt.Tensor, op.args[1], op.args[0])


@register_pass("validate", "calculate_ops")
@register_transformer(aten.ge.Tensor)
class BroadcastGreaterEqual(BinaryTransformer):
    """A >= B; gone after rewrite."""

    op_name = "broadcast_greater_equal"
    rewritten_into = "not (B > A)"

    def rewrite(self, op: fx.Node, *, editor: GraphEditor, **context: Any) -> fx.Node:
        return editor.call(aten.logical_not.default, editor.call(aten.gt.Tensor, op.args[1], op.args[0]))


@register_pass("validate", "calculate_ops")
@register_transformer(aten.le.Tensor)
class BroadcastLesserEqual(BinaryTransformer):
    """A <= B; gone after rewrite."""

    op_name = "broadcast_lesser_equal"
    rewritten_into = "not (A > B)"

    def rewrite(self, op: fx.Node, *, editor: GraphEditor, **context: Any) -> fx.Node:
        return editor.call(aten.logical_not.default, editor.call(aten.gt.Tensor, *op.args))


@register_pass("validate", "calculate_ops")
@register_transformer(aten.ne.Tensor)
class BroadcastNotEqual(BinaryTransformer):
    """A != B; gone after rewrite."""

    op_name = "broadcast_not_equal"
    rewritten_into = "not (A == B)"

    def rewrite(self, op: fx.Node, *, editor: GraphEditor, **context: Any) -> fx.Node:
        return editor.call(aten.logical_not.default, editor.call(aten.eq.Tensor, *op.args))
