"""Parts of tensors, in either direction, and tensors side by side: slice, slice_axis, SliceChannel, reverse, Concat."""

from __future__ import annotations

from typing import Any

import torch
from torch import fx

from mrt_torch.graph.editor import GraphEditor, shape_of
from mrt_torch.graph.free_axis import free_axis
from mrt_torch.ops.column_layout import columns_before, concatenated_columns, keeps_columns, takes_columns
from mrt_torch.ops.registry import register_pass, register_transformer
from mrt_torch.ops.shape import integers_of, same_shape
from mrt_torch.ops.transformer import Transformer
from mrt_torch.ops.transposition import PERMUTE, sink_common_transpose, transpose_before
from mrt_torch.quantization.affine import affine_concatenation, is_affine
from mrt_torch.quantization.columns import held_of, moved, selected
from mrt_torch.quantization.context import QuantizationContext, Quantized
from mrt_torch.quantization.held import ColumnQuantized
from mrt_torch.quantization.integer_writer import TO_THE_END

aten = torch.ops.aten


def slice_integers(context: QuantizationContext, node: fx.Node, axis: int, begin: int, end: int,
                   step: int = 1) -> fx.Node:
    """Emit a strided_slice along one axis; other axes, the free batch among them, are taken whole."""
    return context.slice_axis(node, axis, begin, end, step)


def slice_bounds(op: fx.Node) -> tuple[int, int, int, int]:
    """Axis, begin, end and step of an ``aten.slice`` node, within the extent of the axis."""
    x, axis, start, end, step = (*op.args, *(None,) * (5 - len(op.args)))
    axis = (axis or 0) % len(shape_of(x))
    start, end, step = slice(start, end, step or 1).indices(shape_of(x)[axis])
    return axis, start, end, step


@register_pass("calculate_ops", "compile")
@register_transformer(aten.slice.Tensor, torch.ops.cvm.strided_slice.default)
class Slice(Transformer):
    """Part of one axis: exact."""

    op_name = "slice"
    cvm_operators = ("strided_slice",)
    limits = "refused: a part of the batch, or of nothing."

    def validate(self, op: fx.Node, **context: Any) -> str | None:
        axis, start, end, step = slice_bounds(op)
        if axis == free_axis(op.args[0]) and (start, end, step) != (0, shape_of(op.args[0])[axis], 1):
            return "it cuts the batch axis, which is free"
        return f"it takes nothing: {start}..{end} of axis {axis}" if 0 in shape_of(op) else None

    def rewrite(self, op: fx.Node, *, editor: GraphEditor, **context: Any) -> fx.Node:
        """A slice of everything is its input."""
        return op.args[0] if shape_of(op) == shape_of(op.args[0]) else op

    def fuse_transpose(self, op: fx.Node, *, editor: GraphEditor, **context: Any) -> fx.Node:
        """slice(Transpose(X), axis) becomes Transpose(slice(X, axes[axis]))."""
        found = transpose_before(op, context)
        if found is None:
            return op
        axis, start, end, step = slice_bounds(op)
        return editor.call(PERMUTE, editor.call(op.target, found[0], found[1][axis], start, end, step), found[1])

    def quantize(self, op: fx.Node, *, context: QuantizationContext, **keywords: Any) -> Quantized | ColumnQuantized:
        """The same part of the integers; of columns with scales of their own those that are taken."""
        bounds, columns = slice_bounds(op), columns_before(op, context)
        if columns is not None and keeps_columns(op):
            return moved(columns, lambda node, _: slice_integers(context, node, *bounds))
        if columns is not None and takes_columns(op):
            return held_of(context, selected(context, columns.parts, *bounds[1:3]))
        node, scale = integers_of(context, op.args[0])
        return Quantized(slice_integers(context, node, *bounds), scale)

    def prepare_for_compile(self, op: fx.Node, *, editor: GraphEditor, **context: Any) -> fx.Node:
        """Ends within the extents, which are known once the batch is fixed."""
        ends = [min(end, extent) for end, extent in zip(op.kwargs["end"], shape_of(op.args[0]), strict=True)]
        if ends == list(op.kwargs["end"]):
            return op
        return editor.call(op.target, *op.args, **{**op.kwargs, "end": ends})


@register_pass("validate", "fuse_transpose", "calculate_ops", "quantize", "prepare_for_compile", "compile")
@register_transformer(aten.narrow.default)
class SliceAxis(Transformer):
    """``length`` elements of one axis from ``start`` on; gone after rewrite."""

    op_name = "slice_axis"
    rewritten_into = "slice(X, axis, start, start + length)"
    limits = Slice.limits

    def validate(self, op: fx.Node, **context: Any) -> str | None:
        if op.args[1] % len(shape_of(op)) == free_axis(op.args[0]) and shape_of(op) != shape_of(op.args[0]):
            return "it cuts the batch axis, which is free"
        return "it takes nothing" if 0 in shape_of(op) else None

    def rewrite(self, op: fx.Node, *, editor: GraphEditor, **context: Any) -> fx.Node:
        """slice, with the bounds counted from the front."""
        x, axis, start, length = op.args
        start %= shape_of(x)[axis]
        return editor.call(aten.slice.Tensor, x, axis % len(shape_of(x)), start, start + length, 1)


@register_pass("rewrite", "fuse_transpose", "quantize", "prepare_for_compile", "compile")
@register_transformer(aten.split_with_sizes.default, aten.split.Tensor, aten.chunk.default, aten.unbind.int)
class SliceChannel(Transformer):
    """An axis in parts, each an output; ``fuse_multiple_outputs`` makes slices of them before anything else."""

    op_name = "SliceChannel"
    rewritten_into = "slice of each part, and squeeze for unbind"
    limits = Slice.limits

    def validate(self, op: fx.Node, **context: Any) -> str | None:
        axis = split_axis(op)
        return "it cuts the batch axis, which is free" if axis == free_axis(op.args[0]) else None

    def calculate_ops(self, op: fx.Node, **context: Any) -> int:
        """The elements of its input."""
        return op.args[0].meta["val"].numel()


def split_axis(op: fx.Node) -> int:
    """The axis that a node of several parts divides."""
    position = 1 if op.target is aten.unbind.int else 2
    return (op.args[position] if len(op.args) > position else 0) % len(shape_of(op.args[0]))


@register_pass("calculate_ops", "prepare_for_compile", "compile")
@register_transformer(aten.flip.default)
class Reverse(Transformer):
    """Axes from behind: exact."""

    op_name = "reverse"
    cvm_operators = ("strided_slice",)
    limits = "refused: the batch in reverse order."

    @staticmethod
    def axes(op: fx.Node) -> list[int]:
        """The axes that are turned round, ascending."""
        return sorted({axis % len(shape_of(op)) for axis in op.args[1]})

    def validate(self, op: fx.Node, **context: Any) -> str | None:
        return "it reverses the batch axis, which is free" if free_axis(op.args[0]) in self.axes(op) else None

    def rewrite(self, op: fx.Node, *, editor: GraphEditor, **context: Any) -> fx.Node:
        """Axes of extent 1 have one order only."""
        axes = [axis for axis in self.axes(op) if shape_of(op)[axis] > 1]
        if not axes:
            return op.args[0]
        return op if axes == list(op.args[1]) else editor.call(op.target, op.args[0], axes)

    def fuse_transpose(self, op: fx.Node, *, editor: GraphEditor, **context: Any) -> fx.Node:
        """reverse(Transpose(X), axes) becomes Transpose(reverse(X, mapped axes))."""
        found = transpose_before(op, context)
        if found is None:
            return op
        mapped = sorted(found[1][axis] for axis in self.axes(op))
        return editor.call(PERMUTE, editor.call(op.target, found[0], mapped), found[1])

    def quantize(self, op: fx.Node, *, context: QuantizationContext, **keywords: Any) -> Quantized:
        """From the last element of each of the axes to the first, by steps of -1."""
        quantized, axes = integers_of(context, op.args[0]), self.axes(op)
        return Quantized(reverse_integers(context, quantized.node, axes), quantized.scale)


def reverse_integers(context: QuantizationContext, node: fx.Node, axes: list[int]) -> fx.Node:
    """Emit one strided_slice that turns ``axes`` round; an end of -extent - 1 is before the first element."""
    shape = shape_of(node)
    return context.call("strided_slice", node, begin=[-1 if axis in axes else 0 for axis in range(len(shape))],
                        end=[-shape[axis] - 1 if axis in axes else TO_THE_END for axis in range(len(shape))],
                        stride=[-1 if axis in axes else 1 for axis in range(len(shape))])


@register_pass("calculate_ops", "prepare_for_compile", "compile")
@register_transformer(aten.cat.default)
class Concat(Transformer):
    """Tensors one after another along an axis.

    Inputs of one scale within 16 bits are joined as they are, which is exact. Others are brought to the scale of the
    largest threshold in 16 bits first: within half a unit of it, 2**-16 of that threshold, and the rounding of the
    scale, 2**-11 of the value. Rows of detections, joined along the last axis, keep a scale for each column.
    """

    op_name = "Concat"
    cvm_operators = ("concatenate", "broadcast_add")
    limits = "refused: joining along the batch."

    @staticmethod
    def axis(op: fx.Node) -> int:
        return (op.args[1] if len(op.args) > 1 else 0) % len(shape_of(op))

    def validate(self, op: fx.Node, **context: Any) -> str | None:
        free = {free_axis(node) for node in op.args[0]}
        return "it joins along the batch axis, which is free" if self.axis(op) in free else None

    def rewrite(self, op: fx.Node, *, editor: GraphEditor, **context: Any) -> fx.Node:
        """One input that is all there is, is the result."""
        first = op.args[0][0]
        return first if len(op.args[0]) == 1 and same_shape(op, first) else op

    def fuse_transpose(self, op: fx.Node, *, editor: GraphEditor, **context: Any) -> fx.Node:
        """Equal transposes on all inputs but constants move below: the concat is then along axes[dim]."""
        found = sink_common_transpose(op, op.args[0], editor, context)
        if found is None or any(len(shape_of(node)) != len(found[0]) for node in found[1]):
            return op
        return editor.call(PERMUTE, editor.call(op.target, found[1], found[0][self.axis(op)]), found[0])

    def quantize(self, op: fx.Node, *, context: QuantizationContext, **keywords: Any) -> Quantized | ColumnQuantized:
        """All inputs at the scale of the largest threshold in 16 bits; configured zero points come back behind.

        Columns, the elements of the last axis, keep the scales they have where a suppression, or a slice of single
        columns, reads them; see ``mrt_torch.quantization.columns``.
        """
        bits, axis = context.settings.operator_precision(self.op_name), self.axis(op)
        if any(is_affine(context, node) for node in op.args[0]):
            return Quantized(*affine_concatenation(context, op.args[0], bits, axis))
        columns = concatenated_columns(op, axis, bits, context)
        if columns is not None:
            return columns
        nodes, scale = context.same_scale(op.args[0], bits)
        return Quantized(context.call("concatenate", nodes, axis=axis), scale)
