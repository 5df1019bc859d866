"""Pad: a border of a constant, of the edge, of the mirrored inside, or of the opposite side."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import fx

from mrt_torch.graph.editor import GraphEditor, shape_of
from mrt_torch.graph.free_axis import free_axis
from mrt_torch.ops.registry import register_pass, register_transformer
from mrt_torch.ops.scalar import beside_number
from mrt_torch.ops.shape import integers_of
from mrt_torch.ops.slicing import slice_integers
from mrt_torch.ops.transformer import Transformer
from mrt_torch.ops.transposition import PERMUTE, transpose_before
from mrt_torch.quantization.context import QuantizationContext, Quantized

aten = torch.ops.aten
MODES = ("reflect", "replicate", "circular")


def pad_amounts(op: fx.Node) -> list[tuple[int, int, int]]:
    """``(axis, before, after)`` for each padded axis; torch lists the last axis first."""
    rank, pairs = len(shape_of(op)), list(op.args[1])
    found = [(rank - 1 - i, pairs[2 * i], pairs[2 * i + 1]) for i in range(len(pairs) // 2)]
    return [amount for amount in found if amount[1] or amount[2]]


@register_pass("calculate_ops", "prepare_for_compile", "compile")
@register_transformer(aten.constant_pad_nd.default)
class Pad(Transformer):
    """A constant around any axis but the batch; negative amounts crop.

    Exact for the constant 0; another is within half a unit of the common scale, see ``beside_number``.
    """

    op_name = "Pad"
    cvm_operators = ("strided_slice", "cvm_clip", "broadcast_add", "repeat", "concatenate")
    limits = "refused: a border of the batch; a number that is not finite."

    def validate(self, op: fx.Node, **context: Any) -> str | None:
        value = op.args[2] if len(op.args) > 2 else 0
        if not math.isfinite(value):
            return f"it pads with {value}"
        extents, amounts = shape_of(op.args[0]), pad_amounts(op)
        if any(extents[axis] <= max(-before, 0) + max(-after, 0) for axis, before, after in amounts):
            return f"it crops an axis of {extents} completely"
        free = free_axis(op.args[0])
        return "it pads the batch axis, which is free" if any(axis == free for axis, _, _ in amounts) else None

    def rewrite(self, op: fx.Node, *, editor: GraphEditor, **context: Any) -> fx.Node:
        """The input where nothing is added."""
        return op if pad_amounts(op) else op.args[0]

    def fuse_transpose(self, op: fx.Node, *, editor: GraphEditor, **context: Any) -> fx.Node:
        """pad(Transpose(X)) becomes Transpose(pad(X)), the amounts following their axes."""
        found = transpose_before(op, context)
        if found is None:
            return op
        x, axes = found
        amounts = [0] * (2 * len(axes))
        for axis, before, after in pad_amounts(op):
            behind = len(axes) - 1 - axes[axis]
            amounts[2 * behind:2 * behind + 2] = [before, after]
        return editor.call(PERMUTE, editor.call(op.target, x, amounts, *op.args[2:]), axes)

    def quantize(self, op: fx.Node, *, context: QuantizationContext, **keywords: Any) -> Quantized:
        """The runtime has no pad: a slice of extent 1 is clamped to zero, repeated and concatenated.

        A value other than zero is added to the zeros; see ``beside_number`` for the scale.
        """
        value, fill, (node, scale) = float(op.args[2]) if len(op.args) > 2 else 0.0, 0, integers_of(context, op.args[0])
        if value:
            (node, scale), fill = beside_number(context, op.args[0], value)
        for axis, before, after in pad_amounts(op):
            extent = shape_of(node)[axis]
            if before < 0 or after < 0:
                node = slice_integers(context, node, axis, max(-before, 0), extent - max(-after, 0))
            border = context.narrow(slice_integers(context, node, axis, 0, 1), 1)
            if fill:
                border = context.call("broadcast_add", border, context.number(fill))
            parts = [self._repeated(context, border, before, axis), node,
                     self._repeated(context, border, after, axis)]
            parts = [part for part in parts if part is not None]
            node = parts[0] if len(parts) == 1 else context.call("concatenate", parts, axis=axis)
        return Quantized(node, scale)

    @staticmethod
    def _repeated(context: QuantizationContext, border: fx.Node, count: int, axis: int) -> fx.Node | None:
        if count <= 0:
            return None
        return border if count == 1 else context.call("repeat", border, repeats=count, axis=axis)


@register_pass("fuse_transpose", "calculate_ops", "quantize", "prepare_for_compile", "compile")
@register_transformer(aten.pad.default)
class BorderPad(Transformer):
    """Pad with what the tensor holds: of its edge, mirrored without the edge, or of the opposite side.

    Gone after rewrite, which is exact.
    """

    op_name = "Pad"
    rewritten_into = "concat(border, X, border) of slices, repeated or reversed"
    limits = Pad.limits

    def validate(self, op: fx.Node, **context: Any) -> str | None:
        mode, free = self.mode(op), free_axis(op.args[0])
        if mode not in ("constant", *MODES):
            return f"it has no mode '{mode}'"
        return "it pads the batch axis, which is free" if any(a[0] == free for a in pad_amounts(op)) else None

    @staticmethod
    def mode(op: fx.Node) -> str:
        return op.args[2] if len(op.args) > 2 else "constant"

    def rewrite(self, op: fx.Node, *, editor: GraphEditor, **context: Any) -> fx.Node:
        """Axis after axis: its border before, the tensor (cropped where an amount is negative), its border after."""
        mode, node = self.mode(op), op.args[0]
        if mode == "constant":
            value = op.args[3] if len(op.args) > 3 and op.args[3] is not None else 0.0
            return editor.call(aten.constant_pad_nd.default, node, op.args[1], value)
        for axis, before, after in pad_amounts(op):
            parts = [_border(editor, node, axis, before, mode, True), _inside(editor, node, axis, before, after),
                     _border(editor, node, axis, after, mode, False)]
            parts = [part for part in parts if part is not None]
            node = parts[0] if len(parts) == 1 else editor.call(aten.cat.default, parts, axis)
        return node


def _inside(editor: GraphEditor, node: fx.Node, axis: int, before: int, after: int) -> fx.Node:
    begin, end = max(-before, 0), shape_of(node)[axis] + min(after, 0)
    if (begin, end) == (0, shape_of(node)[axis]):
        return node
    return editor.call(aten.slice.Tensor, node, axis, begin, end, 1)


def _border(editor: GraphEditor, node: fx.Node, axis: int, width: int, mode: str, first: bool) -> fx.Node | None:
    """``width`` elements before (``first``) or after an axis; None for none."""
    extent = shape_of(node)[axis]
    if width <= 0:
        return None
    if mode == "replicate":
        edge = editor.call(aten.slice.Tensor, node, axis, *((0, 1) if first else (extent - 1, extent)), 1)
        return edge if width == 1 else editor.call(aten.repeat_interleave.self_int, edge, width, axis)
    if mode == "circular":
        begin, end = (extent - width, extent) if first else (0, width)
        return editor.call(aten.slice.Tensor, node, axis, begin, end, 1)
    begin, end = (1, width + 1) if first else (extent - 1 - width, extent - 1)
    part = editor.call(aten.slice.Tensor, node, axis, begin, end, 1)
    return part if width == 1 else editor.call(aten.flip.default, part, [axis])
