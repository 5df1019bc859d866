"""Convolution."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import fx

from mrt_torch.cvm.interval import precision_range
from mrt_torch.graph.editor import shape_of
from mrt_torch.ops.registry import register_pass, register_transformer
from mrt_torch.ops.transformer import Transformer
from mrt_torch.quantization.context import QuantizationContext, Quantized

# Leaves a bit for the sum with the products and one for the shift that follows.
WIDEST_BIAS = 30
LONE_BIAS = 16


def quantize_weight_and_bias(context: QuantizationContext, x: fx.Node, weight: fx.Node, bias: fx.Node | None,
                             bits: int) -> tuple[fx.Node, fx.Node, fx.Node | None, float]:
    """Integer nodes of Y = X * W + B and the scale of Y. (MRT's ``_quantize_xwb``.)

    X and W are requantized to ``bits`` bits, B = round(b * s_x * s_w). Where that would exceed 30 bits, as with
    weights next to zero beside an ordinary bias, the weight's scale is lowered until it does not. Where X or W is
    all zero, Y is the bias alone, which gets 16 bits: the scale of zeros is free.
    """
    quantized = context.requantize(x, bits)
    weight_scale = None
    largest = 0.0 if bias is None else float(context.tensor(bias).abs().max())
    if largest > 0:
        integers = context.parameter_scale(weight, bits) * quantized.scale * largest
        if quantized.value_range.magnitude == 0 or context.threshold(weight) == 0:
            weight_scale = precision_range(LONE_BIAS) / (quantized.scale * largest)
        elif integers > precision_range(WIDEST_BIAS):
            weight_scale = precision_range(WIDEST_BIAS) / (quantized.scale * largest)
    kernel = context.parameter(weight, bits, weight_scale)
    scale = quantized.scale * kernel.scale
    offset = None if bias is None else context.parameter(bias, WIDEST_BIAS, scale).node
    return quantized.node, kernel.node, offset, scale


@register_pass("rewrite", "fuse_transpose", "prepare_for_compile", "compile")
@register_transformer(torch.ops.aten.conv2d.default)
class Convolution(Transformer):
    """2-D convolution, grouped or dilated, on NCHW tensors."""

    op_name = "Convolution"

    def validate(self, op: fx.Node, **context: Any) -> str | None:
        if op.args[1].op != "get_attr":
            return "the weight is computed, not a parameter: the runtime takes constant weights only"
        if len(op.args) > 2 and op.args[2] is not None and op.args[2].op != "get_attr":
            return "the bias is computed, not a parameter"
        if len(shape_of(op)) != 4:
            return f"the input has {len(shape_of(op.args[0]))} axes, expected 4 (N, C, H, W)"
        return None

    def calculate_ops(self, op: fx.Node, **context: Any) -> int:
        """out * (2 * C_in/groups * kernel elements, and one for a bias)."""
        has_bias = len(op.args) > 2 and op.args[2] is not None
        return math.prod(shape_of(op)) * (2 * math.prod(shape_of(op.args[1])[1:]) + int(has_bias))

    def quantize(self, op: fx.Node, *, context: QuantizationContext, **keywords: Any) -> Quantized:
        """See ``quantize_weight_and_bias``; the result has the scale s_x * s_w."""
        x, weight, bias, stride, padding, dilation, groups = convolution_arguments(op)
        data, kernel, offset, scale = quantize_weight_and_bias(
            context, x, weight, bias, context.settings.operator_precision(self.op_name))
        node = context.call("conv2d", data, kernel, offset, strides=list(stride), padding=list(padding),
                            dilation=list(dilation), groups=groups)
        return Quantized(node, scale)


def convolution_arguments(op: fx.Node) -> tuple[fx.Node, fx.Node, fx.Node | None, list, list, list, int]:
    """Input, weight, bias, stride, padding, dilation and groups of an ``aten.conv2d`` node, defaults filled in."""
    defaults = (None, [1, 1], [0, 0], [1, 1], 1)
    given = tuple(op.args[2:])
    bias, stride, padding, dilation, groups = given + defaults[len(given):]
    pair = [list(v) * 2 if len(v) == 1 else list(v) for v in (stride, padding, dilation)]
    return op.args[0], op.args[1], bias, *pair, groups
