"""Activation functions with an exact integer form: relu, LeakyReLU, clip; and Dropout, which does nothing."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import fx

from mrt_torch.graph.editor import GraphEditor
from mrt_torch.ops.registry import register_pass, register_transformer
from mrt_torch.ops.transformer import Transformer
from mrt_torch.ops.transposition import reverse_transpose
from mrt_torch.quantization.context import QuantizationContext, Quantized

aten = torch.ops.aten


class ElementwiseTransformer(Transformer):
    """An operator of one input that works element by element, so it trades places with a transpose."""

    def fuse_transpose(self, op: fx.Node, *, editor: GraphEditor, **context: Any) -> fx.Node:
        """See ``reverse_transpose``."""
        return reverse_transpose(op, editor=editor)


@register_pass("validate", "rewrite", "prepare_for_compile", "compile")
@register_transformer(aten.relu.default)
class Relu(ElementwiseTransformer):
    """max(x, 0)."""

    op_name = "relu"

    def quantize(self, op: fx.Node, *, context: QuantizationContext, **keywords: Any) -> Quantized:
        node, scale = context.value(op.args[0])
        return Quantized(context.call("relu", node), scale)


@register_pass("validate")
@register_transformer(aten.leaky_relu.default)
class LeakyReLU(ElementwiseTransformer):
    """x where positive, slope * x elsewhere; gone after rewrite."""

    op_name = "LeakyReLU"

    def rewrite(self, op: fx.Node, *, editor: GraphEditor, **context: Any) -> fx.Node:
        """relu(X) - slope * relu(-X), which is exact."""
        slope = op.args[1] if len(op.args) > 1 else 0.01
        positive = editor.call(aten.relu.default, op.args[0])
        negative = editor.call(aten.relu.default, editor.call(aten.neg.default, op.args[0]))
        return editor.call(aten.sub.Tensor, positive, editor.call(aten.mul.Scalar, negative, slope))


@register_pass("prepare_for_compile", "compile")
@register_transformer(aten.clamp.default)
class Clip(ElementwiseTransformer):
    """min(max(x, a_min), a_max); either bound may be None."""

    op_name = "clip"

    def validate(self, op: fx.Node, **context: Any) -> str | None:
        low, high = clip_bounds(op)
        if math.isnan(low) or math.isnan(high) or low > high:
            return f"its bounds {low} and {high} are not an interval"
        return None

    def rewrite(self, op: fx.Node, *, editor: GraphEditor, **context: Any) -> fx.Node:
        """A clip from 0 upwards is a relu."""
        return editor.call(aten.relu.default, op.args[0]) if clip_bounds(op) == (0, math.inf) else op

    def quantize(self, op: fx.Node, *, context: QuantizationContext, **keywords: Any) -> Quantized:
        """clip(x, round(a_min * s), round(a_max * s)), bounds that the proven range never meets left out."""
        quantized = context.value(op.args[0])
        node, scale = quantized
        values = quantized.value_range
        low, high = (_integer_bound(bound * scale, values.minimum, values.maximum) for bound in clip_bounds(op))
        if low <= values.minimum and high >= values.maximum:
            return quantized
        if low == 0 and high >= values.maximum:
            return Quantized(context.call("relu", node), scale)
        # The runtime wants a_min < a_max: an interval below one unit keeps its lower bound.
        return Quantized(context.call("clip", node, a_min=low, a_max=max(high, low + 1)), scale)


def clip_bounds(op: fx.Node) -> tuple[float, float]:
    """Bounds of a clamp node, infinite where absent."""
    low, high = (tuple(op.args[1:]) + (None, None))[:2]
    return -math.inf if low is None else float(low), math.inf if high is None else float(high)


def _integer_bound(bound: float, minimum: int, maximum: int) -> int:
    """Nearest integer, ties away from zero, kept within the values that occur."""
    if bound <= minimum:
        return minimum
    return maximum if bound >= maximum else int(math.copysign(math.floor(abs(bound) + 0.5), bound))


@register_pass("validate")
@register_transformer(aten.dropout.default)
class Dropout(ElementwiseTransformer):
    """The identity at inference; gone after rewrite."""

    op_name = "Dropout"

    def rewrite(self, op: fx.Node, *, editor: GraphEditor, **context: Any) -> fx.Node:
        return op.args[0]
