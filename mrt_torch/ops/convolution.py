"""Convolution."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import torch
from torch import fx

from mrt_torch.errors import PrecisionError
from mrt_torch.graph.editor import GraphEditor, shape_of
from mrt_torch.graph.facts import describe, facts_of, source_name
from mrt_torch.graph.free_axis import free_axis
from mrt_torch.ops.channel_slices import slice_channels
from mrt_torch.ops.explanation import decline
from mrt_torch.ops.padding import pad_amounts
from mrt_torch.ops.registry import register_pass, register_transformer
from mrt_torch.ops.slicing import slice_integers
from mrt_torch.ops.spatial import not_an_image, numbers
from mrt_torch.ops.transformer import Transformer
from mrt_torch.quantization.context import Held, QuantizationContext
from mrt_torch.quantization.operands import operand
from mrt_torch.quantization.second_moment import convolution_windows
from mrt_torch.quantization.weighted_sum import (
    PARTIAL_SUM,
    offset_constant,
    operand_bits,
    quantize_weight_and_bias,
    record,
    sum_of_products,
    with_weight_zeros,
)

aten = torch.ops.aten
# Products of 8 by 8 bits whose sum the runtime takes to fit 32: 8 + 8 + bit_length(K) <= 32.
LARGEST_KERNEL = 65535


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
    cvm_operators = ("conv2d", "strided_slice", "elemwise_add", "broadcast_add", "broadcast_mul", "repeat")
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

    def slice_channel(self, op: fx.Node, *, editor: GraphEditor, gn_info: Any, **kwargs: Any) -> fx.Node:
        *operands, stride, padding, dilation, groups = convolution_arguments(op)
        return slice_channels(op, operands, (stride, padding, dilation, 1), groups, editor=editor, gn_info=gn_info)

    def quantize(self, op: fx.Node, *, context: QuantizationContext, **keywords: Any) -> Held:
        """See ``operand`` and ``quantize_weight_and_bias``; a channel of the result has the scale s_x * s_w.

        Where the runtime could not take a sum of so many products to fit 32 bits (8 + 8 + bit_length(K), and one for
        a bias), the input channels are cut: Y = B + X1 * W1 + X2 * W2 + ..., whose parts share their scales, so their
        sum is exact. (The original refused.) Where the sum itself might exceed 31 bits, W gets a smaller scale.
        """
        x, weight, bias, stride, padding, dilation, groups = convolution_arguments(op)
        data = operand(context, x, operand_bits(context, op, self.op_name, weight), groups,
                       affine=not any(padding) or free_axis(op) in (0, None))
        options = {"strides": list(stride), "padding": list(padding), "dilation": list(dilation), "groups": groups}
        found = quantize_weight_and_bias(context, op, weight, bias, data, partial(_zeros_through, op),
                                         partial(_windows, op))
        kernel = context.constant(source_name(weight), found.kernel)
        room = 32 - max(facts_of(part).value_range.precision for part, _ in data.parts) \
            - facts_of(kernel).value_range.precision
        length = math.prod(shape_of(kernel)[1:])
        fits = length.bit_length() <= room
        inside = len(data.parts) == 1 and found.offset is not None and found.offset.dim() == 1 \
            and length.bit_length() < room
        offset = offset_constant(context, op, bias, found, rank=1 if inside else 4)

        def multiply(part: fx.Node) -> fx.Node:
            if fits:
                return context.call("conv2d", part, kernel, offset if inside else None, **options)
            return _sum_of_parts(op, context, part, kernel, 2 ** room - 1, options)

        total = sum_of_products(context, found, multiply)
        total = with_weight_zeros(context, found, total, source_name(weight), groups,
                                  lambda part, ones: context.call("conv2d", part, ones, None, **options))
        if offset is not None and not inside:
            total = context.call("broadcast_add", context.narrow(total, PARTIAL_SUM), offset)
        record(context, op, offset, total, found)
        return found.quantized(total)


def _windows(op: fx.Node, x: torch.Tensor, positions: int) -> torch.Tensor:
    """What of the operand the weights of each group are multiplied with: (groups, taps, windows)."""
    _, weight, _, stride, padding, dilation, groups = convolution_arguments(op)
    return convolution_windows(x, shape_of(weight)[2:], stride, padding, dilation, groups, positions)


def _zeros_through(op: fx.Node, kernel: torch.Tensor, zeros: torch.Tensor) -> torch.Tensor:
    """What a convolution makes of an image that holds the zero points: (O,), or (1, O, H, W) where the border differs.

    Exact: sums of products of 8 bits in float64.
    """
    x, _, _, stride, padding, dilation, groups = convolution_arguments(op)
    channels, extents = shape_of(x)[1], shape_of(x)[2:]
    if not bool(zeros.any()):
        return torch.zeros(len(kernel), dtype=torch.float64)
    image = zeros.repeat_interleave(channels // len(zeros)).reshape(1, -1, 1, 1)
    if not any(padding):
        image = image.expand(-1, -1, *kernel.shape[2:])
        return torch.nn.functional.conv2d(image, kernel, None, 1, 0, 1, groups).reshape(-1)
    image = image.expand(-1, -1, *extents)
    found = torch.nn.functional.conv2d(image, kernel, None, stride, padding, dilation, groups)
    return found[0, :, 0, 0] if bool((found == found[:, :, :1, :1]).all()) else found


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
