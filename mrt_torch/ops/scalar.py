"""Operators of a tensor and a number."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import fx

from mrt_torch.cvm.interval import precision_range
from mrt_torch.graph.editor import GraphEditor
from mrt_torch.ops.activation import ElementwiseTransformer
from mrt_torch.ops.registry import register_pass, register_transformer
from mrt_torch.ops.truth import snapped_number
from mrt_torch.quantization.channels import ChannelQuantized
from mrt_torch.quantization.context import Held, QuantizationContext, Quantized
from mrt_torch.quantization.precision import scale as scale_of

aten = torch.ops.aten
WIDEST_TERM = 30


class ScalarTransformer(ElementwiseTransformer):
    """What the operators of a tensor and a number share."""

    limits = "The number is finite."

    def validate(self, op: fx.Node, **context: Any) -> str | None:
        return None if math.isfinite(op.args[1]) else f"its number is {op.args[1]}"


@register_pass("calculate_ops", "prepare_for_compile", "compile")
@register_transformer(aten.mul.Scalar)
class MulScalar(ScalarTransformer):
    """X * c."""

    op_name = "_mul_scalar"
    cvm_operators = ("negative", "cvm_clip")

    def rewrite(self, op: fx.Node, *, editor: GraphEditor, **context: Any) -> fx.Node:
        """X * 1 is X."""
        return op.args[0] if op.args[1] == 1 else op

    def quantize(self, op: fx.Node, *, context: QuantizationContext, **keywords: Any) -> Held:
        """The same integers with the scale s / c; negated where c is negative, zero where c is.

        Exact and free. (The original multiplied by a 16-bit constant.)
        """
        held, factor = context.held(op.args[0]), float(op.args[1])
        if factor == 0:
            return held._replace(node=context.narrow(held.node, 1))
        node = context.call("negative", held.node) if factor < 0 else held.node
        if isinstance(held, ChannelQuantized):
            return ChannelQuantized(node, held.scales / abs(factor))
        return Quantized(node, held.scale / abs(factor))


def beside_number(context: QuantizationContext, x: fx.Node, number: float) -> tuple[Quantized, int]:
    """X at a scale s that suits a number too, and round(number * s), ties away from zero.

    X keeps its scale; it is brought to 16 bits where it is coarser, unless the number is whole on its grid, or where X
    or the number would exceed 30 bits. Where X is then below half a unit it counts as zero.
    """
    bits, quantized = context.settings.operator_precision("broadcast_add"), context.value(x)
    whole = snapped_number(number * quantized.scale).is_integer()
    finest = bits <= quantized.value_range.precision or whole
    fits = finest and quantized.value_range.precision <= WIDEST_TERM
    if not fits or abs(number) * quantized.scale > precision_range(WIDEST_TERM):
        scale = scale_of(max(context.threshold(x), abs(number)), bits)
        if context.threshold(x) * scale < 0.5:
            quantized = Quantized(context.narrow(quantized.node, 1), scale)
        else:
            quantized = context.requantize(x, bits, scale)
    return quantized, int(math.copysign(math.floor(abs(number) * quantized.scale + 0.5), number))


@register_pass("calculate_ops", "prepare_for_compile", "compile")
@register_transformer(aten.add.Scalar)
class PlusScalar(ScalarTransformer):
    """X + c."""

    op_name = "_plus_scalar"
    cvm_operators = ("broadcast_add",)

    def rewrite(self, op: fx.Node, *, editor: GraphEditor, **context: Any) -> fx.Node:
        """X + 0 is X."""
        return op.args[0] if op.args[1] == 0 else op

    def quantize(self, op: fx.Node, *, context: QuantizationContext, **keywords: Any) -> Quantized:
        """X + round(c * s); see ``beside_number`` for s."""
        quantized, integer = beside_number(context, op.args[0], float(op.args[1]))
        if integer == 0:
            return quantized
        return Quantized(context.call("broadcast_add", quantized.node, context.number(integer)), quantized.scale)


@register_pass("calculate_ops")
@register_transformer(aten.sub.Scalar)
class MinusScalar(ScalarTransformer):
    """X - c; gone after rewrite."""

    op_name = "_minus_scalar"
    rewritten_into = "X + (-c)"

    def rewrite(self, op: fx.Node, *, editor: GraphEditor, **context: Any) -> fx.Node:
        """X + (-c)."""
        return editor.call(aten.add.Scalar, op.args[0], -op.args[1])


@register_pass("calculate_ops")
@register_transformer(aten.rsub.Scalar)
class ReverseMinusScalar(ScalarTransformer):
    """c - X; gone after rewrite."""

    op_name = "_rminus_scalar"
    rewritten_into = "(-X) + c"

    def rewrite(self, op: fx.Node, *, editor: GraphEditor, **context: Any) -> fx.Node:
        """(-X) + c."""
        return editor.call(aten.add.Scalar, editor.call(aten.neg.default, op.args[0]), op.args[1])


@register_pass("calculate_ops")
@register_transformer(aten.div.Scalar)
class DivScalar(ScalarTransformer):
    """X / c; gone after rewrite."""

    op_name = "_div_scalar"
    rewritten_into = "X * (1 / c)"
    limits = "The number is finite and not 0."

    def validate(self, op: fx.Node, **context: Any) -> str | None:
        return super().validate(op) or ("it divides by zero" if op.args[1] == 0 else None)

    def rewrite(self, op: fx.Node, *, editor: GraphEditor, **context: Any) -> fx.Node:
        """X * (1 / c)."""
        return editor.call(aten.mul.Scalar, op.args[0], 1.0 / op.args[1])
