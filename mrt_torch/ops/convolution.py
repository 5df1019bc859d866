"""Convolution."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import fx

from mrt_torch.cvm.interval import precision_range
from mrt_torch.errors import PrecisionError
from mrt_torch.graph.editor import GraphEditor, shape_of
from mrt_torch.graph.facts import describe, facts_of
from mrt_torch.ops.explanation import decline
from mrt_torch.ops.padding import pad_amounts
from mrt_torch.ops.registry import register_pass, register_transformer
from mrt_torch.ops.slicing import slice_integers
from mrt_torch.ops.spatial import not_an_image, numbers
from mrt_torch.ops.transformer import Transformer
from mrt_torch.quantization.context import QuantizationContext, Quantized

aten = torch.ops.aten
# Leaves a bit for the sum with the products and one for the shift that follows.
WIDEST_BIAS = 30
LONE_BIAS = 16
# Products of 8 by 8 bits whose sum the runtime takes to fit 32: 8 + 8 + bit_length(K) <= 32.
LARGEST_KERNEL = 65535
PARTIAL_SUM = 31        # the runtime takes a sum of two to be a bit wider, and 32 bits is all there is
LARGEST_STEP = 1 - 2.0 ** -6


def quantize_weight_and_bias(context: QuantizationContext, x: fx.Node, weight: fx.Node, bias: fx.Node | None,
                             bits: int, largest_scale: float = math.inf
                             ) -> tuple[fx.Node, fx.Node, fx.Node | None, float]:
    """Integer nodes of Y = X * W + B and the scale of Y. (MRT's ``_quantize_xwb``.)

    X and W are requantized to ``bits`` bits, B = round(b * s_x * s_w). Where that would exceed 30 bits, as with
    weights next to zero beside an ordinary bias, the weight's scale is lowered until it does not. Where X or W is
    all zero, Y is the bias alone, which gets 16 bits: the scale of zeros is free. The weight's scale is
    ``largest_scale`` at most.
    """
    quantized = context.requantize(x, bits)
    weight_scale = None if math.isinf(largest_scale) else min(context.parameter_scale(weight, bits), largest_scale)
    largest = 0.0 if bias is None else float(context.tensor(bias).abs().max())
    if largest > 0:
        integers = context.parameter_scale(weight, bits) * quantized.scale * largest
        if quantized.value_range.magnitude == 0 or context.threshold(weight) == 0:
            weight_scale = precision_range(LONE_BIAS) / (quantized.scale * largest)
        elif integers > precision_range(WIDEST_BIAS):
            weight_scale = min(precision_range(WIDEST_BIAS) / (quantized.scale * largest), largest_scale)
    kernel = context.parameter(weight, bits, weight_scale)
    scale = quantized.scale * kernel.scale
    offset = None if bias is None else context.parameter(bias, WIDEST_BIAS, scale).node
    return quantized.node, kernel.node, offset, scale


def quantize_within(bits: int, context: QuantizationContext, x: fx.Node, weight: fx.Node, bias: fx.Node | None,
                    operand_bits: int) -> tuple[fx.Node, fx.Node, fx.Node | None, float]:
    """``quantize_weight_and_bias`` with the weight's scale lowered until |B| + |X| * sum(|W|) fits ``bits`` bits."""
    largest_scale = math.inf
    while True:
        found = data, kernel, offset, scale = quantize_weight_and_bias(context, x, weight, bias, operand_bits,
                                                                       largest_scale)
        data_range = facts_of(data).value_range
        taps = context.editor.tensor_of(kernel).flatten(1).abs().sum(1, dtype=torch.int64)
        bound = int(taps.max()) * data_range.magnitude
        bound += 0 if offset is None else facts_of(offset).value_range.magnitude
        if bound <= precision_range(bits):
            return found
        data_scale = context.requantize(x, operand_bits).scale
        largest_scale = scale / data_scale * min(precision_range(bits) / bound, LARGEST_STEP)


def computed_parameter(weight: fx.Node, bias: fx.Node | None) -> str | None:
    """Reason why a convolution's weight or bias cannot be taken; None where both are parameters."""
    if weight.op != "get_attr":
        return "the weight is computed, not a parameter: the runtime takes constant weights only"
    if bias is not None and bias.op != "get_attr":
        return "the bias is computed, not a parameter"
    return None


@register_pass("fuse_transpose", "prepare_for_compile", "compile")
@register_transformer(aten.conv2d.default)
class Convolution(Transformer):
    """2-D convolution, grouped or dilated, on NCHW tensors.

    The importers bring other layouts, and 1-D convolutions (NCW), to it with a transpose or an axis of extent 1.
    """

    op_name = "Convolution"
    cvm_operators = ("conv2d", "strided_slice", "elemwise_add", "broadcast_add")
    limits = f"The weight is a parameter; kh * kw is {LARGEST_KERNEL} at most."

    def validate(self, op: fx.Node, **context: Any) -> str | None:
        reason = not_an_image(op) or computed_parameter(op.args[1], op.args[2] if len(op.args) > 2 else None)
        area = math.prod(shape_of(op.args[1])[2:])
        if reason is None and area > LARGEST_KERNEL:
            reason = f"its kernel has {area} elements; the runtime sums {LARGEST_KERNEL} products at most"
        return reason

    def calculate_ops(self, op: fx.Node, **context: Any) -> int:
        """out * (2 * C_in/groups * kernel elements, and one for a bias)."""
        has_bias = len(op.args) > 2 and op.args[2] is not None
        return math.prod(shape_of(op)) * (2 * math.prod(shape_of(op.args[1])[1:]) + int(has_bias))

    def rewrite(self, op: fx.Node, *, editor: GraphEditor, **context: Any) -> fx.Node:
        """Take over a border of zeros, on every spatial axis where it is as wide before as after.

        Other borders stay, because the runtime pads both sides alike.
        """
        border = _border_of(op.args[0])
        if border is None:
            return op
        pad, wrapped = border
        rank, pairs = len(shape_of(pad)), {axis: pair for axis, *pair in pad_amounts(pad)}
        folded = {axis: pair[0] for axis, pair in pairs.items() if axis >= 2 and pair[0] == pair[1] > 0}
        if not folded or (len(pad.args) > 2 and pad.args[2] != 0):
            return decline(op, "the padding before it is not of zeros, or wider on one side", context)
        left = [amount for axis in reversed(range(rank))
                for amount in ((0, 0) if axis in folded else pairs.get(axis, (0, 0)))]
        data = editor.call(aten.constant_pad_nd.default, pad.args[0], left, 0.0) if any(left) else pad.args[0]
        # The axis that an unsqueeze adds, before or behind the only spatial one, shifts what follows it.
        spatial = {axis + int(wrapped is not None and axis >= wrapped.args[1] % (rank + 1)): amount
                   for axis, amount in folded.items()}
        data = data if wrapped is None else editor.call(wrapped.target, data, *wrapped.args[1:])
        x, weight, bias, stride, padding, dilation, groups = convolution_arguments(op)
        padding = [padding[axis] + spatial.get(2 + axis, 0) for axis in (0, 1)]
        return editor.call(op.target, data, weight, bias, stride, padding, dilation, groups)

    def quantize(self, op: fx.Node, *, context: QuantizationContext, **keywords: Any) -> Quantized:
        """See ``quantize_weight_and_bias``; the result has the scale s_x * s_w.

        Where the runtime could not take a sum of so many products to fit 32 bits (8 + 8 + bit_length(K), and one for
        a bias), the input channels are cut: Y = B + X1 * W1 + X2 * W2 + ..., whose parts share one scale, so their
        sum is exact. (The original refused.) Where the sum itself might exceed 31 bits, W gets a smaller scale.
        """
        x, weight, bias, stride, padding, dilation, groups = convolution_arguments(op)
        data, kernel, offset, scale = quantize_within(PARTIAL_SUM, context, x, weight, bias,
                                                      context.settings.operator_precision(self.op_name))
        options = {"strides": list(stride), "padding": list(padding), "dilation": list(dilation), "groups": groups}
        room = 32 - sum(facts_of(node).value_range.precision for node in (data, kernel))
        length = math.prod(shape_of(kernel)[1:])
        if length.bit_length() + int(offset is not None) <= room:
            return Quantized(context.call("conv2d", data, kernel, offset, **options), scale)
        total = _sum_of_parts(op, context, data, kernel, (2 ** room - 1), options)
        if offset is not None:
            column = context.editor.tensor_of(offset).reshape(-1, 1, 1)
            total = context.call("broadcast_add", total, context.constant(f"{offset.name}_column", column))
        return Quantized(total, scale)


def _border_of(x: fx.Node) -> tuple[fx.Node, fx.Node | None] | None:
    """A padding, and the unsqueeze between it and the convolution if there is one; None where neither feeds it."""
    if x.target is aten.constant_pad_nd.default:
        return x, None
    if x.target is aten.unsqueeze.default and x.args[0].target is aten.constant_pad_nd.default:
        return x.args[0], x
    return None


def _sum_of_parts(op: fx.Node, context: QuantizationContext, data: fx.Node, kernel: fx.Node, longest: int,
                  options: dict[str, Any]) -> fx.Node:
    """The convolution as a sum over runs of input channels, of at most ``longest`` products each."""
    integers, groups = context.editor.tensor_of(kernel), options["groups"]
    channels, step = integers.shape[1], longest // math.prod(integers.shape[2:])
    if step == 0:
        raise PrecisionError("a convolution cannot be proven to fit 32 bits", where=describe(op),
                             why=f"one input channel has {math.prod(integers.shape[2:])} products",
                             remedy="lower the operator's input precision")
    total = None
    for begin in range(0, channels, step):
        end = min(begin + step, channels)
        runs = [slice_integers(context, data, 1, group * channels + begin, group * channels + end)
                for group in range(groups)]
        part = runs[0] if groups == 1 else context.call("concatenate", runs, axis=1)
        weight = context.constant(f"{kernel.name}_{begin}", integers[:, begin:end])
        product = context.call("conv2d", part, weight, None, **options)
        product = context.narrow(product, facts_of(product).value_range.precision)
        total = product if total is None else context.call("elemwise_add", total, product)
    return total


def convolution_arguments(op: fx.Node) -> tuple[fx.Node, fx.Node, fx.Node | None, list, list, list, int]:
    """Input, weight, bias, stride, padding, dilation and groups of an ``aten.conv2d`` node, defaults filled in."""
    defaults = (None, [1, 1], [0, 0], [1, 1], 1)
    given = tuple(op.args[2:])
    bias, stride, padding, dilation, groups = given + defaults[len(given):]
    pair = [list(numbers(v)) for v in (stride, padding, dilation)]
    return op.args[0], op.args[1], bias, *pair, groups
