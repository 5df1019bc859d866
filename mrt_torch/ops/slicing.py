"""Slice, Concat and Pad."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import fx

from mrt_torch.graph.editor import GraphEditor, shape_of
from mrt_torch.ops.registry import register_pass, register_transformer
from mrt_torch.ops.scalar import beside_number
from mrt_torch.ops.transformer import Transformer
from mrt_torch.ops.transposition import PERMUTE, sink_common_transpose
from mrt_torch.quantization.context import QuantizationContext, Quantized

aten = torch.ops.aten
TO_THE_END = 2 ** 31 - 1


def slice_integers(context: QuantizationContext, node: fx.Node, axis: int, begin: int, end: int,
                   step: int = 1) -> fx.Node:
    """Emit a strided_slice along one axis; other axes, the free batch among them, are taken whole."""
    rank = len(shape_of(node))
    ends = [TO_THE_END] * rank
    ends[axis] = end
    return context.call("strided_slice", node, begin=[begin if a == axis else 0 for a in range(rank)], end=ends,
                        stride=[step if a == axis else 1 for a in range(rank)])


def slice_bounds(op: fx.Node) -> tuple[int, int, int, int]:
    """Axis, begin, end and step of an ``aten.slice`` node, within the extent of the axis."""
    x, axis, start, end, step = (*op.args, *(None,) * (5 - len(op.args)))
    axis = (axis or 0) % len(shape_of(x))
    start, end, step = slice(start, end, step or 1).indices(shape_of(x)[axis])
    return axis, start, end, step


@register_pass("fuse_transpose", "calculate_ops", "compile")
@register_transformer(aten.slice.Tensor, torch.ops.cvm.strided_slice.default)
class Slice(Transformer):
    """Part of one axis."""

    op_name = "slice"

    def validate(self, op: fx.Node, **context: Any) -> str | None:
        axis, start, end, step = slice_bounds(op)
        if axis == 0 and (start, end, step) != (0, shape_of(op.args[0])[0], 1):
            return "it cuts the batch axis, which is free"
        return f"it takes nothing: {start}..{end} of axis {axis}" if 0 in shape_of(op) else None

    def rewrite(self, op: fx.Node, *, editor: GraphEditor, **context: Any) -> fx.Node:
        """A slice of everything is its input."""
        return op.args[0] if shape_of(op) == shape_of(op.args[0]) else op

    def quantize(self, op: fx.Node, *, context: QuantizationContext, **keywords: Any) -> Quantized:
        node, scale = context.value(op.args[0])
        return Quantized(slice_integers(context, node, *slice_bounds(op)), scale)

    def prepare_for_compile(self, op: fx.Node, *, editor: GraphEditor, **context: Any) -> fx.Node:
        """Ends within the extents, which are known once the batch is fixed."""
        ends = [min(end, extent) for end, extent in zip(op.kwargs["end"], shape_of(op.args[0]), strict=True)]
        if ends == list(op.kwargs["end"]):
            return op
        return editor.call(op.target, *op.args, **{**op.kwargs, "end": ends})


@register_pass("rewrite", "calculate_ops", "prepare_for_compile", "compile")
@register_transformer(aten.cat.default)
class Concat(Transformer):
    """Tensors one after another along an axis."""

    op_name = "Concat"

    @staticmethod
    def axis(op: fx.Node) -> int:
        return (op.args[1] if len(op.args) > 1 else 0) % len(shape_of(op))

    def validate(self, op: fx.Node, **context: Any) -> str | None:
        return "it joins along the batch axis, which is free" if self.axis(op) == 0 else None

    def fuse_transpose(self, op: fx.Node, *, editor: GraphEditor, **context: Any) -> fx.Node:
        """Equal transposes on all inputs move below: the concat is then along axes[dim]."""
        axes = sink_common_transpose(op, op.args[0], editor)
        if axes is None:
            return op
        inner = editor.call(op.target, [node.args[0] for node in op.args[0]], axes[self.axis(op)])
        return editor.call(PERMUTE, inner, axes)

    def quantize(self, op: fx.Node, *, context: QuantizationContext, **keywords: Any) -> Quantized:
        """All inputs at the scale of the largest threshold in 16 bits."""
        nodes, scale = context.same_scale(op.args[0], context.settings.operator_precision(self.op_name))
        return Quantized(context.call("concatenate", nodes, axis=self.axis(op)), scale)


@register_pass("rewrite", "fuse_transpose", "calculate_ops", "prepare_for_compile", "compile")
@register_transformer(aten.constant_pad_nd.default)
class Pad(Transformer):
    """A constant around any axis but the batch; negative amounts crop."""

    op_name = "Pad"

    @staticmethod
    def amounts(op: fx.Node) -> list[tuple[int, int, int]]:
        """``(axis, before, after)`` for each padded axis; torch lists the last axis first."""
        rank, pairs = len(shape_of(op)), list(op.args[1])
        found = [(rank - 1 - i, pairs[2 * i], pairs[2 * i + 1]) for i in range(len(pairs) // 2)]
        return [amount for amount in found if amount[1] or amount[2]]

    def validate(self, op: fx.Node, **context: Any) -> str | None:
        value = op.args[2] if len(op.args) > 2 else 0
        if not math.isfinite(value):
            return f"it pads with {value}"
        extents = shape_of(op.args[0])
        if any(extents[axis] <= max(-before, 0) + max(-after, 0) for axis, before, after in self.amounts(op)):
            return f"it crops an axis of {extents} completely"
        return "it pads the batch axis, which is free" if any(a[0] == 0 for a in self.amounts(op)) else None

    def quantize(self, op: fx.Node, *, context: QuantizationContext, **keywords: Any) -> Quantized:
        """The runtime has no pad: a slice of extent 1 is clamped to zero, repeated and concatenated.

        A value other than zero is added to the zeros; see ``beside_number`` for the scale.
        """
        value, fill, (node, scale) = float(op.args[2]) if len(op.args) > 2 else 0.0, 0, context.value(op.args[0])
        if value:
            (node, scale), fill = beside_number(context, op.args[0], value)
        for axis, before, after in self.amounts(op):
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
