"""BatchDot: products of two computed matrices."""

from __future__ import annotations

from typing import Any

import torch
from torch import fx

from mrt_torch.cvm.interval import precision_range
from mrt_torch.cvm.operator import MAXIMUM_PRECISION
from mrt_torch.errors import PrecisionError
from mrt_torch.graph.contraction import SWAP
from mrt_torch.graph.editor import GraphEditor, shape_of
from mrt_torch.graph.facts import describe, facts_of
from mrt_torch.graph.free_axis import free_axis
from mrt_torch.ops.explanation import decline
from mrt_torch.ops.registry import register_pass, register_transformer
from mrt_torch.ops.slicing import slice_integers
from mrt_torch.ops.transformer import Transformer
from mrt_torch.ops.transposition import PERMUTE, permutation_of
from mrt_torch.quantization.context import QuantizationContext, Quantized

aten = torch.ops.aten
FACTOR_BITS = 8            # what the runtime multiplies
LONGEST_REDUCTION = 32767  # the runtime adds its bit length to 8 + 8 bits
WIDEST_SPLIT = 15          # 8 bits, and 7 more in the second part
NARROWEST_FACTOR = 4
LARGEST_SUM = precision_range(31)  # one bit is left for the sum of two parts

Part = tuple[fx.Node, int]  # integers, and the power of two by which they count


@register_pass("fuse_transpose", "prepare_for_compile", "compile")
@register_transformer(aten.bmm.default)
class BatchDot(Transformer):
    """Y[b] = A[b] * B[b], (B, M, K) times (B, K, N)."""

    op_name = "batch_dot"
    cvm_operators = ("batch_dot", "transpose", "cvm_right_shift", "broadcast_mul", "elemwise_sub", "elemwise_add",
                     "strided_slice")
    limits = "The axis that is summed over cannot be the batch."

    def validate(self, op: fx.Node, **context: Any) -> str | None:
        if free_axis(op.args[0]) == 2 or free_axis(op.args[1]) == 1:
            return "it sums over the batch axis, which is free"
        return None

    def calculate_ops(self, op: fx.Node, **context: Any) -> int:
        """out * 2 * K."""
        return super().calculate_ops(op) * 2 * shape_of(op.args[0])[2]

    def rewrite(self, op: fx.Node, *, editor: GraphEditor, **context: Any) -> fx.Node:
        """A product with a constant becomes a linear layer, or a grouped 1 x 1 convolution where its matrices differ.

            X (B, M, K), W (B, K, N)  =>  conv2d(X as (M, B * K, 1, 1), W as (B * N, K, 1, 1), groups=B)
        """
        left, right = op.args
        if right.op != "get_attr" and left.op != "get_attr":
            return op
        if right.op != "get_attr":  # (A X)^T = X^T A^T
            weight = editor.constant(f"{op.name}_weight", editor.tensor_of(left).transpose(1, 2).contiguous())
            return editor.call(PERMUTE, editor.call(aten.bmm.default, editor.call(PERMUTE, right, SWAP), weight), SWAP)
        if left.op == "get_attr":
            return op
        weight = editor.tensor_of(right).transpose(1, 2)
        groups, columns, length = weight.shape
        if bool((weight == weight[:1]).all()):
            return editor.call(aten.linear.default, left, editor.constant(f"{op.name}_weight", weight[0]), None)
        if length > LONGEST_REDUCTION:
            return decline(op, f"a convolution sums {LONGEST_REDUCTION} products at most, it has {length}", context)
        kernel = editor.constant(f"{op.name}_weight", weight.reshape(groups * columns, length, 1, 1))
        rows = editor.call(aten.reshape.default, editor.call(PERMUTE, left, [1, 0, 2]), [-1, groups * length, 1, 1])
        product = editor.call(aten.conv2d.default, rows, kernel, None, [1, 1], [0, 0], [1, 1], groups)
        product = editor.call(aten.reshape.default, product, [-1, groups, columns])
        return editor.call(PERMUTE, product, [1, 0, 2])

    def quantize(self, op: fx.Node, *, context: QuantizationContext, **keywords: Any) -> Quantized:
        """Yq = Aq * Bq, exact, with the scale s_a * s_b; both operands in 8 bits at scales of their own.

        An operand that is never negative, such as the probabilities of an attention, would use 7 of its 8 bits, and
        the large ones would leave nothing to the many small ones. It gets up to 15 bits, cut exactly into
        hi * 2**k + lo, and Y = (hi * B) * 2**k + lo * B. So does every operand where ``batch_dot`` is given a
        precision above 8.

        K, the inner length, counts: bits are given up where K products do not fit 31 bits (8 bits fit 66571 of them),
        and beyond 32767 the product is a sum of products of slices, Y = A1 * B1 + A2 * B2 + ... (matrix
        decomposition), which is exact because the slices share their scales.

        Error: at most sum over K of abs(A) * e_b + abs(B) * e_a + e_a * e_b, with e the rounding of an operand to
        its grid, 1 / (2 * scale).

        Raises:
            PrecisionError: operands of 4 bits do not fit.
        """
        left, right = op.args
        length = shape_of(left)[2]
        widths = self._widths(op, context, length)
        first = context.requantize(left, widths[0])
        second, swapped = self._rows_of(right, context, widths[1])
        if not swapped:
            second = Quantized(context.call("transpose", second.node, axes=SWAP), second.scale)
        total = None
        for part, shift in self._parts(context, first):
            for other, other_shift in self._parts(context, second):
                term = _multiplied(context, self._product(context, part, other, length), shift + other_shift)
                total = term if total is None else context.call("elemwise_add", total, term)
        return Quantized(total, first.scale * second.scale)

    def _widths(self, op: fx.Node, context: QuantizationContext, length: int) -> list[int]:
        """Bits of each operand: as many as wanted, as far as their products fit."""
        wanted = context.settings.operator_precision(self.op_name)
        widths = [wanted, wanted]
        if self.op_name not in context.settings.operator_precisions:
            for position, node in enumerate(op.args):
                if not context.is_constant(node) and context.value(node).value_range.minimum >= 0:
                    widths[position] = WIDEST_SPLIT
        while length * precision_range(widths[0]) * precision_range(widths[1]) > LARGEST_SUM:
            widths[widths.index(max(widths))] -= 1
        if min(widths) < NARROWEST_FACTOR:
            raise PrecisionError("a matrix product cannot fit 32 bits", where=describe(op),
                                 why=f"{length} products leave {widths} bits to the operands",
                                 remedy="split the model before it, or the inner axis into several products")
        return widths

    @staticmethod
    def _rows_of(node: fx.Node, context: QuantizationContext, bits: int) -> tuple[Quantized, bool]:
        """The right operand, and whether it is (B, N, K) already because the float graph transposed it to (B, K, N)."""
        if context.is_constant(node):
            quantized = context.parameter(node, bits)
            rows = context.editor.tensor_of(quantized.node).transpose(1, 2)
            return Quantized(context.constant(f"{quantized.node.name}_rows", rows), quantized.scale), True
        if node.target is PERMUTE and permutation_of(node) == SWAP and not context.is_constant(node.args[0]):
            return context.requantize(node.args[0], bits), True
        return context.requantize(node, bits), False

    @staticmethod
    def _parts(context: QuantizationContext, quantized: Quantized) -> list[Part]:
        """``hi * 2**k + lo``, both of at most 8 bits: exactly the integers given. One part where they have 8 bits.

        hi = clamp(round(x / 2**k)) and lo = x - hi * 2**k, of which the clamp leaves abs(lo) < 2**k.
        """
        node, bits = quantized.node, quantized.value_range.precision
        if bits <= FACTOR_BITS:
            return [(context.narrow(node, FACTOR_BITS), 0)]
        low = bits - FACTOR_BITS
        high = context.call("cvm_right_shift", node, precision=FACTOR_BITS, shift_bit=low)
        rest = context.call("elemwise_sub", node, context.call("broadcast_mul", high, context.number(1 << low)))
        return [(high, low), (context.narrow(rest, low + 1), 0)]

    @staticmethod
    def _product(context: QuantizationContext, left: fx.Node, right: fx.Node, length: int) -> fx.Node:
        """batch_dot, in slices of the inner axis where it is too long."""
        total = None
        for begin in range(0, length, LONGEST_REDUCTION):
            end = min(begin + LONGEST_REDUCTION, length)
            pair = [node if length <= LONGEST_REDUCTION else slice_integers(context, node, 2, begin, end)
                    for node in (left, right)]
            term = context.call("batch_dot", *pair)
            total = term if total is None else context.call("elemwise_add", total, term)
        return total


def _narrowed(context: QuantizationContext, node: fx.Node) -> fx.Node:
    """Clamped to the bits that are proven, where the runtime believes it to be wider: no value changes."""
    return context.narrow(node, facts_of(node).value_range.precision)


def _multiplied(context: QuantizationContext, node: fx.Node, power: int) -> fx.Node:
    """``node * 2**power``; the runtime counts two bits more for a factor than it has zeros, and one for a sum."""
    while power:
        node = _narrowed(context, node)
        step = min(power, MAXIMUM_PRECISION - facts_of(node).precision - 2)
        if step > 0:
            node = context.call("broadcast_mul", node, context.number(1 << step))
        else:
            node, step = context.call("elemwise_add", node, node), 1
        power -= step
    return node
