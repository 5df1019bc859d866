"""FullyConnected."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import fx

from mrt_torch.graph.contraction import contract
from mrt_torch.graph.editor import GraphEditor, shape_of
from mrt_torch.graph.facts import facts_of, source_name
from mrt_torch.graph.free_axis import free_axis, free_shape
from mrt_torch.ops.channel_slices import slice_channels
from mrt_torch.ops.registry import register_pass, register_transformer
from mrt_torch.ops.transformer import Transformer
from mrt_torch.quantization.context import Held, QuantizationContext
from mrt_torch.quantization.operands import operand
from mrt_torch.quantization.second_moment import dense_windows
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
# The runtime adds the bit length of the reduction length to 8 + 8 bits, and one bit for a bias.
LONGEST_REDUCTION = 32767

_quantize_xwb = quantize_weight_and_bias  # the name it has in MRT


@register_pass("fuse_transpose", "prepare_for_compile", "compile")
@register_transformer(aten.linear.default)
class FullyConnected(Transformer):
    """Y = X * W^T + B over the last axis."""

    op_name = "FullyConnected"
    cvm_operators = ("dense", "reshape", "strided_slice", "elemwise_add", "broadcast_add", "broadcast_mul")
    limits = "The axis that is summed over cannot be the batch."

    @staticmethod
    def arguments(op: fx.Node) -> tuple[fx.Node, fx.Node, fx.Node | None]:
        """X, W and B, which may be None."""
        return op.args[0], op.args[1], op.args[2] if len(op.args) > 2 else None

    def validate(self, op: fx.Node, **context: Any) -> str | None:
        x, weight, _ = self.arguments(op)
        if free_axis(x) == len(shape_of(x)) - 1 or free_axis(weight) == 1:
            return "it sums over the batch axis, which is free"
        return None

    def calculate_ops(self, op: fx.Node, **context: Any) -> int:
        """out * (2 * inputs, and one for a bias)."""
        _, weight, bias = self.arguments(op)
        return math.prod(shape_of(op)) * (2 * shape_of(weight)[1] + int(bias is not None))

    def rewrite(self, op: fx.Node, *, editor: GraphEditor, **context: Any) -> fx.Node:
        """Without a bias that is computed, X * W^T + B as a sum; a computed W makes it a batch_dot; then ``reduce``."""
        x, weight, bias = self.arguments(op)
        if bias is not None and bias.op != "get_attr" or weight.op != "get_attr":
            rows = [f"row {position}" for position in range(len(shape_of(x)) - 1)]
            product = editor.call(aten.linear.default, x, weight, None) if weight.op == "get_attr" else \
                contract(editor.call, x, weight, [*rows, "inner"], ["column", "inner"], [*rows, "column"])
            return product if bias is None else editor.call(aten.add.Tensor, product, bias)
        return self.reduce(op, editor=editor)

    def reduce(self, op: fx.Node, *, editor: GraphEditor) -> fx.Node:
        """Make the input 2-D, because the runtime's dense is: RX = reshape(X), Y = reshape(RX * W^T + B)."""
        shape = shape_of(op.args[0])
        if len(shape) == 2:
            return op
        flat = editor.call(aten.reshape.default, op.args[0], [-1, shape[-1]])
        return editor.call(aten.reshape.default, editor.call(aten.linear.default, flat, *op.args[1:]), free_shape(op))

    def slice_channel(self, op: fx.Node, *, editor: GraphEditor, gn_info: Any, **kwargs: Any) -> fx.Node:
        return slice_channels(op, self.arguments(op), editor=editor, gn_info=gn_info)

    def quantize(self, op: fx.Node, *, context: QuantizationContext, **keywords: Any) -> Held:
        """See ``operand`` and ``quantize_weight_and_bias``; a column of the result has the scale s_x * s_w.

        A reduction longer than 32767 is cut: Y = B + X1 * W1^T + X2 * W2^T + ... (matrix decomposition), whose parts
        share their scales, so their sum is exact. (The original cut the float graph and rounded each part.)
        """
        x, weight, bias = self.arguments(op)
        data = operand(context, x, operand_bits(context, op, self.op_name, weight))
        found = quantize_weight_and_bias(context, op, weight, bias, data, _zeros_through,
                                         lambda x, _: dense_windows(x))
        inside = len(data.parts) == 1 and shape_of(weight)[1] <= LONGEST_REDUCTION
        offset = offset_constant(context, op, bias, found, rank=1 if inside else 2)
        total = sum_of_products(context, found, lambda part: _product(context, part, source_name(weight), found.kernel,
                                                                      offset if inside else None))
        total = with_weight_zeros(context, found, total, source_name(weight), 1, lambda part, ones: context.call(
            "dense", part, ones, None))
        if offset is not None and not inside:
            total = context.call("broadcast_add", context.narrow(total, PARTIAL_SUM), offset)
        record(context, op, offset, total, found)
        return found.quantized(total)


def _product(context: QuantizationContext, data: fx.Node, name: str, weight: torch.Tensor, offset: fx.Node | None
             ) -> fx.Node:
    """X * W^T + B of integers, the reduction cut where it is too long for one operator."""
    length = weight.shape[1]
    if length <= LONGEST_REDUCTION:
        return context.call("dense", data, context.constant(name, weight), offset)
    total = None
    for begin in range(0, length, LONGEST_REDUCTION):
        end = min(begin + LONGEST_REDUCTION, length)
        part = context.call("strided_slice", data, begin=[0, begin], end=[2 ** 31 - 1, end], stride=[1, 1])
        columns = context.constant(f"{name}_{begin}", weight[:, begin:end])
        product = context.call("dense", part, columns, None)
        product = context.narrow(product, facts_of(product).value_range.precision)
        total = product if total is None else context.call("elemwise_add", total, product)
    return total


def _zeros_through(kernel: torch.Tensor, zeros: torch.Tensor) -> torch.Tensor:
    """What a dense layer makes of a row that holds the zero point, (O,)."""
    return kernel.sum(1) * zeros[0]
