"""Transpose and SwapAxis, and how other operators trade places with a transpose.

Every rule takes at least as many transposes away as it adds and puts what it adds nearer to the outputs, so repeated
passes end.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import fx

from mrt_torch.graph.editor import GraphEditor, shape_of
from mrt_torch.graph.facts import source_name
from mrt_torch.graph.free_axis import free_axis, free_shape
from mrt_torch.ops.column_layout import columns_before, keeps_columns
from mrt_torch.ops.explanation import decline
from mrt_torch.ops.registry import register_pass, register_transformer
from mrt_torch.ops.transformer import Transformer
from mrt_torch.quantization.columns import moved
from mrt_torch.quantization.context import QuantizationContext, Quantized
from mrt_torch.quantization.held import ColumnQuantized

aten = torch.ops.aten
PERMUTE = aten.permute.default
NO_TRANSPOSE = "no transpose is before it"


def permutation_of(op: fx.Node) -> list[int]:
    """Axes of a permute node, none negative."""
    rank = len(shape_of(op))
    return [axis % rank for axis in op.args[1]]


@register_pass("validate", "calculate_ops", "prepare_for_compile", "compile")
@register_transformer(PERMUTE)
class Transpose(Transformer):
    """Permutation of axes: exact."""

    op_name = "transpose"
    cvm_operators = ("transpose",)
    limits = "refused: more than 6 axes, unless axes that move together can be merged between reshapes."

    def fuse_transpose(self, op: fx.Node, *, editor: GraphEditor, **context: Any) -> fx.Node:
        """Merge with a transpose before it, axes3[j] = axes1[axes2[j]]; drop one that changes nothing."""
        axes, source = permutation_of(op), op.args[0]
        if source.target is PERMUTE:
            inner = permutation_of(source)
            axes, source = [inner[axis] for axis in axes], source.args[0]
        if axes == sorted(axes):
            return source
        if source is op.args[0]:
            return decline(op, "it moves axes, and no transpose is before it", context)
        return editor.call(PERMUTE, source, axes)

    def rewrite(self, op: fx.Node, *, editor: GraphEditor, **context: Any) -> fx.Node:
        """One that moves nothing but axes of extent 1, the batch not among them, is a reshape."""
        source, free = op.args[0], free_axis(op.args[0])
        longer = [axis for axis in permutation_of(op) if axis == free or shape_of(source)[axis] != 1]
        if longer == sorted(longer) and (free is None) == (free_axis(op) is None):
            return editor.call(aten.reshape.default, source, free_shape(op))
        return op

    def quantize(self, op: fx.Node, *, context: QuantizationContext, **keywords: Any) -> Quantized | ColumnQuantized:
        axes, columns = permutation_of(op), columns_before(op, context)
        if columns is not None and keeps_columns(op):
            return moved(columns, lambda node, _: context.call("transpose", node, axes=axes))
        node, scale = context.value(op.args[0])
        return Quantized(context.call("transpose", node, axes=axes), scale)


@register_pass("validate", "fuse_transpose", "calculate_ops", "quantize", "prepare_for_compile", "compile")
@register_transformer(aten.transpose.int)
class SwapAxis(Transformer):
    """Two axes exchanged; gone after rewrite."""

    op_name = "SwapAxis"
    rewritten_into = "transpose(X, axes)"

    def rewrite(self, op: fx.Node, *, editor: GraphEditor, **context: Any) -> fx.Node:
        """transpose with the two axes exchanged; the input where they are the same."""
        axes = list(range(len(shape_of(op))))
        first, second = (axis % max(len(axes), 1) for axis in op.args[1:3])
        if first == second:
            return op.args[0]
        axes[first], axes[second] = axes[second], axes[first]
        return editor.call(PERMUTE, op.args[0], axes)


def reverse_sequence(op: fx.Node, *, editor: GraphEditor, **context: Any) -> fx.Node:
    """X -> A -> op becomes X -> op -> A, for operators A and op of one tensor whose order does not matter.

    Safe where others read A too: they keep it, and op's own readers get another. (The original moved A itself, and
    gave every reader of A the result of op.)
    """
    before = op.args[0]
    if before.op != "call_function" or len(before.all_input_nodes) != 1 or len(op.all_input_nodes) != 1:
        return decline(op, "it and what is before it are no operators of one tensor each", context)
    inner = editor.call(op.target, before.args[0], *op.args[1:], **op.kwargs)
    return editor.call(before.target, inner, *before.args[1:], **before.kwargs)


def reverse_transpose(op: fx.Node, *, editor: GraphEditor, **context: Any) -> fx.Node:
    """X -> Transpose -> op becomes X -> op -> Transpose, for an operator that works element by element.

    Only where the transpose has no other reader: the number of transposes then never grows, so repeated passes end.
    """
    return op if transpose_before(op, context) is None else reverse_sequence(op, editor=editor, **context)


def transpose_before(op: fx.Node, context: Mapping[str, Any]) -> tuple[fx.Node, list[int]] | None:
    """What the transpose before ``op`` reads, and its axes; None without one that ``op`` alone reads."""
    before = op.args[0]
    if before.target is not PERMUTE:
        decline(op, NO_TRANSPOSE, context)
        return None
    if set(before.users) != {op}:
        decline(op, "others read the transpose before it", context)
        return None
    return before.args[0], permutation_of(before)


def sink_common_transpose(op: fx.Node, inputs: Sequence[fx.Node], editor: GraphEditor,
                          context: Mapping[str, Any] | None = None) -> tuple[list[int], list[fx.Node]] | None:
    """The axes shared by all transposes that feed ``op``, and its inputs without them.

    Every input is a transpose that ``op`` alone reads, or a constant, which is transposed back here and now, with as
    many axes as the others. None where this does not hold; ``op`` is left as it is then.
    """
    context = {} if context is None else context
    transposes = [node for node in inputs if isinstance(node, fx.Node) and node.target is PERMUTE]
    if not transposes or not all(isinstance(node, fx.Node) for node in inputs):
        decline(op, NO_TRANSPOSE, context)
        return None
    axes = permutation_of(transposes[0])
    reason = None
    if any(node.target is not PERMUTE and node.op != "get_attr" for node in inputs):
        reason = "not all of its inputs are transposed"
    elif any(set(node.users) != {op} for node in transposes):
        reason = "others read a transpose before it"
    elif any(permutation_of(node) != axes for node in transposes):
        reason = "the transposes before it differ"
    elif any(len(shape_of(node)) > len(axes) for node in inputs):
        reason = "a constant has more axes than the transposes before it"
    if reason:
        decline(op, reason, context)
        return None
    return axes, [node.args[0] if node.target is PERMUTE else _transposed_back(node, axes, editor) for node in inputs]


def _transposed_back(constant: fx.Node, axes: Sequence[int], editor: GraphEditor) -> fx.Node:
    """The constant whose transpose by ``axes`` is ``constant``; one of a single element has no order."""
    tensor = editor.tensor_of(constant)
    if tensor.numel() == 1 and tensor.dim() < len(axes):
        return constant
    tensor = tensor.reshape((1,) * (len(axes) - tensor.dim()) + tuple(tensor.shape))
    return editor.constant(source_name(constant), tensor.permute(inverse(axes)))


def inverse(axes: Sequence[int]) -> list[int]:
    """The permutation that undoes ``axes``."""
    return sorted(range(len(axes)), key=axes.__getitem__)
