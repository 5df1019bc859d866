"""Softmax."""

from __future__ import annotations

from typing import Any

import torch
from torch import fx

from mrt_torch.cvm.interval import precision_range
from mrt_torch.errors import PrecisionError
from mrt_torch.graph.editor import shape_of
from mrt_torch.graph.facts import describe
from mrt_torch.ops.reduction import reduce_integers
from mrt_torch.ops.registry import register_pass, register_transformer
from mrt_torch.ops.transformer import Transformer
from mrt_torch.quantization.context import QuantizationContext, Quantized
from mrt_torch.quantization.precision import get_bit_cnt, int_realize

TABLE_PRECISION = 16
PROBABILITY_PRECISION = 15
WIDEST_PROBABILITY = 18


@register_pass("rewrite", "fuse_transpose", "prepare_for_compile", "compile")
@register_transformer(torch.ops.aten.softmax.int)
class Softmax(Transformer):
    """exp(x) / sum(exp(x)) over one axis."""

    op_name = "softmax"

    def validate(self, op: fx.Node, **context: Any) -> str | None:
        if len(op.args) > 2 and op.args[2] is not None and not op.args[2].is_floating_point:
            return f"its result type {op.args[2]} is not a float"
        return "it runs along the batch axis, which is free" if op.args[1] % len(shape_of(op)) == 0 else None

    def calculate_ops(self, op: fx.Node, **context: Any) -> int:
        """out * (2 + 2 * length of the axis)."""
        return super().calculate_ops(op) * (2 + 2 * shape_of(op)[op.args[1]])

    def quantize(self, op: fx.Node, *, context: QuantizationContext, **keywords: Any) -> Quantized:
        """Exponentials by table, then one rounded integer division.

            d = X - max(X) in -2R..0;  e = table[max(d + alpha, 0)];  table[i] = round(exp((i - alpha) / s) * T)
            Y = floor((e * P + floor(sum(e) / 2 + 1/2)) / sum(e))

        with alpha = min(lambd * s, 2R), R the range of X, T = 2**15 - 1 and P = 2**14 - 1 the scale of Y. The index
        spans the whole table whatever the threshold of X (the original clipped it to 8 bits and was off by 22 to 43 %
        for small logits). Logits more than ``softmax_lambd`` below the largest count as zero.

        Beyond 127 elements P gets the bits that a share of 1 / length needs, up to 2**17 - 1, at the cost of T: the
        product e * P has 32 bits.
        """
        x, axis = op.args[0], op.args[1] % len(shape_of(op))
        length = shape_of(op)[axis]
        quantized = context.requantize(x, context.settings.operator_precision(self.op_name))
        result_bits = min(max(PROBABILITY_PRECISION, get_bit_cnt(length) + 8), WIDEST_PROBABILITY)
        table_bits = min(TABLE_PRECISION, 32 - result_bits, 31 - get_bit_cnt(length))
        if table_bits < 8:
            raise PrecisionError("a softmax is too long for 32 bits", where=describe(op), why=f"its axis has {length}",
                                 remedy="split the model before the softmax")
        spread = 2 * quantized.value_range.magnitude
        alpha = max(min(int(context.settings.softmax_lambd * quantized.scale), spread), 1)
        offsets = torch.arange(-alpha, 1, dtype=torch.float64)
        table = int_realize((offsets / quantized.scale).exp() * precision_range(table_bits), table_bits)
        if alpha < spread:
            table[0] = 0
        largest = reduce_integers(context, "max", quantized.node, [axis], True)
        index = context.call("broadcast_add", context.call("broadcast_sub", quantized.node, largest),
                             context.number(alpha))
        weights = context.constant(f"{op.name}_table", table.reshape(-1, 1))
        exponentials = context.call("cvm_lut", index, weights)
        total = reduce_integers(context, "sum", exponentials, [axis], True)
        half = context.call("cvm_right_shift", context.narrow(total, 31), precision=31, shift_bit=1)
        top = precision_range(result_bits)
        numerator = context.call("broadcast_mul", exponentials, context.number(top))
        numerator = context.call("broadcast_add", numerator, half)
        quotient = context.call("broadcast_div", numerator, total)
        return Quantized(context.call("cvm_clip", quotient, precision=result_bits), float(top))
