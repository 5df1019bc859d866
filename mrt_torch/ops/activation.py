"""Activation functions with an exact integer form: relu, LeakyReLU, clip; and Dropout, which does nothing."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import fx

from mrt_torch.cvm.interval import precision_range
from mrt_torch.graph.editor import GraphEditor
from mrt_torch.ops.registry import register_pass, register_transformer
from mrt_torch.ops.transformer import Transformer
from mrt_torch.ops.transposition import reverse_transpose
from mrt_torch.quantization.context import Held, QuantizationContext, Quantized
from mrt_torch.quantization.precision import scale as scale_of

aten = torch.ops.aten
CONSTANT_PRECISION = 16
NEXT_TO_ZERO = 1e-300  # its scale would exceed the floats


class ElementwiseTransformer(Transformer):
    """An operator of one input that works element by element, so it trades places with a transpose."""

    def fuse_transpose(self, op: fx.Node, *, editor: GraphEditor, **context: Any) -> fx.Node:
        """See ``reverse_transpose``."""
        return reverse_transpose(op, editor=editor, **context)


@register_pass("validate", "rewrite", "calculate_ops", "prepare_for_compile", "compile")
@register_transformer(aten.relu.default)
class Relu(ElementwiseTransformer):
    """max(x, 0)."""

    op_name = "relu"
    cvm_operators = ("relu",)

    def quantize(self, op: fx.Node, *, context: QuantizationContext, **keywords: Any) -> Held:
        """Exact, whatever the scales of the channels."""
        held = context.held(op.args[0])
        return held._replace(node=context.call("relu", held.node))


@register_pass("validate", "calculate_ops")
@register_transformer(aten.leaky_relu.default)
class LeakyReLU(ElementwiseTransformer):
    """x where positive, slope * x elsewhere; gone after rewrite."""

    op_name = "LeakyReLU"
    rewritten_into = "relu(X) - slope * relu(-X)"

    def rewrite(self, op: fx.Node, *, editor: GraphEditor, **context: Any) -> fx.Node:
        """relu(X) - slope * relu(-X), which is exact."""
        slope = op.args[1] if len(op.args) > 1 else 0.01
        positive = editor.call(aten.relu.default, op.args[0])
        negative = editor.call(aten.relu.default, editor.call(aten.neg.default, op.args[0]))
        return editor.call(aten.sub.Tensor, positive, editor.call(aten.mul.Scalar, negative, slope))


@register_pass("calculate_ops", "prepare_for_compile", "compile")
@register_transformer(aten.clamp.default)
class Clip(ElementwiseTransformer):
    """min(max(x, a_min), a_max); either bound may be None."""

    op_name = "clip"
    cvm_operators = ("clip", "relu", "broadcast_add")
    limits = "refused: bounds that are no interval."

    def validate(self, op: fx.Node, **context: Any) -> str | None:
        low, high = clip_bounds(op)
        if math.isnan(low) or math.isnan(high) or low > high:
            return f"its bounds {low} and {high} are not an interval"
        return None

    def rewrite(self, op: fx.Node, *, editor: GraphEditor, **context: Any) -> fx.Node:
        """A clip from 0 upwards is a relu."""
        return editor.call(aten.relu.default, op.args[0]) if clip_bounds(op) == (0, math.inf) else op

    def quantize(self, op: fx.Node, *, context: QuantizationContext, **keywords: Any) -> Quantized:
        """clip(x, round(a_min * s), round(a_max * s)), bounds that the proven range never meets left out.

        Where both bounds round to one integer, or all values lie on one side of them, the result is one number.
        """
        quantized = context.value(op.args[0])
        if context.threshold(op.args[0]) == 0:
            quantized = Quantized(context.narrow(quantized.node, 1), quantized.scale)
        (node, scale), values, (low, high) = quantized, quantized.value_range, clip_bounds(op)
        least, largest = values.minimum / scale, values.maximum / scale
        if low <= least and high >= largest:
            return quantized
        if low > largest or high < least:
            return _one_number(context, node, low if low > largest else high)
        low, high = max(low, least), min(high, largest)
        integers = [_round_half_away(bound * scale) for bound in (low, high)]
        if integers[0] == integers[1]:
            return _one_number(context, node, (low + high) / 2)
        if integers == [0, values.maximum]:
            return Quantized(context.call("relu", node), scale)
        return Quantized(context.call("clip", node, a_min=integers[0], a_max=integers[1]), scale)


def clip_bounds(op: fx.Node) -> tuple[float, float]:
    """Bounds of a clamp node, infinite where absent."""
    low, high = (tuple(op.args[1:]) + (None, None))[:2]
    return -math.inf if low is None else float(low), math.inf if high is None else float(high)


def _round_half_away(value: float) -> int:
    return int(math.copysign(math.floor(abs(value) + 0.5), value))


def _one_number(context: QuantizationContext, node: fx.Node, value: float) -> Quantized:
    """A tensor of the shape of ``node`` that holds ``value`` everywhere, in 16 bits."""
    zeros = context.narrow(node, 1)
    if abs(value) < NEXT_TO_ZERO:
        return Quantized(zeros, 1.0)
    integer = int(math.copysign(precision_range(CONSTANT_PRECISION), value))
    filled = context.call("broadcast_add", zeros, context.number(integer))
    return Quantized(filled, scale_of(abs(value), CONSTANT_PRECISION))


@register_pass("validate", "calculate_ops")
@register_transformer(aten.dropout.default)
class Dropout(ElementwiseTransformer):
    """The identity at inference; gone after rewrite."""

    op_name = "Dropout"
    rewritten_into = "X"
    limits = "refused: active in evaluation."

    def validate(self, op: fx.Node, **context: Any) -> str | None:
        active = op.args[2] if len(op.args) > 2 else True
        return "it is active in evaluation too: pass training=self.training to F.dropout" if active else None

    def rewrite(self, op: fx.Node, *, editor: GraphEditor, **context: Any) -> fx.Node:
        return op.args[0]
