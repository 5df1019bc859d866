"""Norms of vectors."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import fx

from mrt_torch.graph.editor import GraphEditor, shape_of
from mrt_torch.graph.facts import facts_of
from mrt_torch.graph.free_axis import free_axis, free_shape
from mrt_torch.graph.rows import along_rows
from mrt_torch.ops.reduction import BATCH
from mrt_torch.ops.registry import register_pass, register_transformer
from mrt_torch.ops.row_normalization import WIDEST_INPUT, block_rows, filled
from mrt_torch.ops.transformer import Transformer
from mrt_torch.ops.wide_table import wide_table
from mrt_torch.quantization.context import QuantizationContext, Quantized

aten = torch.ops.aten
FACTOR_BITS = 16  # of a root and of a row's unit, whose product has 31
ORDERS = (1, 2, math.inf)
LARGEST_FLOOR = 1e-3  # of a norm that is a divisor: beyond, it is more than a guard against zero


def norm_arguments(op: fx.Node) -> tuple[float, list[int], bool]:
    """Order, axes (ascending, none negative) and keepdim of a norm."""
    _, order, axes, keepdim = (*op.args[:4], *(2, None, False)[len(op.args) - 1:])
    rank = len(shape_of(op.args[0]))
    axes = [axes] if isinstance(axes, int) else list(range(rank)) if axes is None else list(axes)
    return float(order), sorted({axis % rank for axis in axes}), bool(keepdim)


@register_pass("fuse_transpose", "prepare_for_compile", "compile")
@register_transformer(aten.linalg_vector_norm.default)
class Norm(Transformer):
    """(sum(abs(X)**p))**(1 / p) over axes, for p = 1, 2 and infinity."""

    op_name = "norm"
    cvm_operators = ("broadcast_mul", "abs", "max", "broadcast_add", "cvm_right_shift", "broadcast_div", "cvm_clip",
                     "sum", "cvm_lut", "broadcast_max", "reshape")
    limits = f"{BATCH} So are other orders than 1, 2 and infinity."

    def validate(self, op: fx.Node, **context: Any) -> str | None:
        order, axes, _ = norm_arguments(op)
        if order not in ORDERS:
            return f"its order is {order}; 1, 2 and infinity have an integer form"
        if op.kwargs.get("dtype") is not None or len(op.args) > 4 and op.args[4] is not None:
            return "its result has another type than its input"
        return "it reduces the batch axis, which is free" if free_axis(op.args[0]) in axes else None

    def calculate_ops(self, op: fx.Node, **context: Any) -> int:
        """Three for each input element."""
        return 3 * math.prod(shape_of(op.args[0]))

    def rewrite(self, op: fx.Node, *, editor: GraphEditor, **context: Any) -> fx.Node:
        """Order 1: sum(abs(X)); infinity: max(abs(X)); 2: over the last axis, which is kept, of X transposed."""
        x, (order, axes, keepdim) = op.args[0], norm_arguments(op)
        if order != 2:
            target = aten.sum.dim_IntList if order == 1 else aten.amax.default
            return editor.call(target, editor.call(aten.abs.default, x), axes, keepdim)
        last = len(shape_of(x)) - 1
        if axes == [last] and keepdim or any(_divides_its_operand(op, user) for user in op.users):
            return op
        kept = [axis for axis in range(last + 1) if axis not in axes]
        rows = editor.call(aten.permute.default, x, [*kept, *axes]) if axes != list(range(len(kept), last + 1)) else x
        shape = free_shape(x)
        if len(axes) > 1:
            rows = editor.call(aten.reshape.default, rows, [*(shape[axis] for axis in kept),
                                                            math.prod(shape[axis] for axis in axes)])
        norm = editor.call(op.target, rows, 2, [len(kept)], True)
        return editor.call(aten.reshape.default, norm, free_shape(op))

    def quantize(self, op: fx.Node, *, context: QuantizationContext, **keywords: Any) -> Quantized:
        """``Y = M * round(2**f * sqrt(V))`` with the row's unit M and sum of squares V of ``block_rows``.

        X has up to 20 bits. Error: 0.1 % of y from the square root, which ``wide_table`` looks up, and a unit of 2**-14
        of the row's largest element for each element: below 0.3 % in rows of up to 4096.
        """
        bits = min(context.settings.operator_precision(self.op_name, WIDEST_INPUT), WIDEST_INPUT)
        x = context.requantize(op.args[0], bits)
        rows, factor = filled(context, x.node)
        blocks = block_rows(context, rows, 0)
        spare = 2 * (FACTOR_BITS - 1) - (facts_of(blocks.squares).value_range.precision - 1)
        point = max(spare // 2, 0)
        root = wide_table(context, blocks.squares, lambda v: 2.0 ** point * v.sqrt(), f"{op.name}_root")
        factors = [context.narrow(node, FACTOR_BITS) for node in (blocks.divisor, root)]
        product = context.call("broadcast_mul", *factors)
        return Quantized(context.narrow(product, facts_of(product).value_range.precision),
                         x.scale * factor * 2.0 ** (point - blocks.shift))


def _divides_its_operand(norm: fx.Node, user: fx.Node) -> bool:
    """Whether a reader, or the clamp's that is one, divides by a norm what the norm is of: its rule takes the norm."""
    readers = user.users if user.target is aten.clamp.default else [user]
    return any(reader.target is aten.div.Tensor and own_norm(reader) is not None for reader in readers)


def own_norm(op: fx.Node) -> tuple[fx.Node, float] | None:
    """The L2 norm, over axes that are kept, of its dividend that a division divides by, and what bounds it below."""
    (x, norm), least = op.args[:2], 0.0
    if norm.target is aten.clamp.default:
        low, high = (*norm.args[1:], None, None)[:2]
        if low is None or high is not None or not 0 <= low <= LARGEST_FLOOR:
            return None
        norm, least = norm.args[0], float(low)
    if norm.target is not aten.linalg_vector_norm.default or norm.args[0] is not x:
        return None
    order, _, keepdim = norm_arguments(norm)
    return (norm, least) if order == 2 and keepdim else None


def divided_by_own_norm(op: fx.Node, editor: GraphEditor) -> fx.Node | None:
    """``x / max(|x|, c)``, with the L2 norm over axes that are kept, as ``rms_norm(x, c**2 / n) / sqrt(n)``.

    That divides by ``sqrt(|x|**2 + c**2)``: the same unless the norm is close to c, which is 1e-12 as a rule. None for
    other quotients.
    """
    found = own_norm(op)
    if found is None:
        return None
    norm, least = found

    def normalize(rows: fx.Node, length: int) -> fx.Node:
        normal = editor.call(aten.rms_norm.default, rows, [length], None, least * least / length)
        return editor.call(aten.mul.Scalar, normal, length ** -0.5)

    return along_rows(editor.call, op.args[0], norm_arguments(norm)[1], normalize)
