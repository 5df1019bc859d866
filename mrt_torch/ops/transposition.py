"""Transpose, and how other operators trade places with it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import fx

from mrt_torch.graph.editor import GraphEditor, shape_of
from mrt_torch.ops.registry import register_pass, register_transformer
from mrt_torch.ops.transformer import Transformer
from mrt_torch.quantization.context import QuantizationContext, Quantized

PERMUTE = torch.ops.aten.permute.default


def permutation_of(op: fx.Node) -> list[int]:
    """Axes of a permute node, none negative."""
    rank = len(shape_of(op))
    return [axis % rank for axis in op.args[1]]


@register_pass("validate", "rewrite", "calculate_ops", "prepare_for_compile", "compile")
@register_transformer(PERMUTE)
class Transpose(Transformer):
    """Permutation of axes."""

    op_name = "transpose"

    def fuse_transpose(self, op: fx.Node, *, editor: GraphEditor, **context: Any) -> fx.Node:
        """Merge with a transpose before it, axes3[j] = axes1[axes2[j]]; drop one that changes nothing."""
        axes, source = permutation_of(op), op.args[0]
        if source.target is PERMUTE:
            inner = permutation_of(source)
            axes, source = [inner[axis] for axis in axes], source.args[0]
        if axes == sorted(axes):
            return source
        return op if source is op.args[0] else editor.call(PERMUTE, source, axes)

    def quantize(self, op: fx.Node, *, context: QuantizationContext, **keywords: Any) -> Quantized:
        node, scale = context.value(op.args[0])
        return Quantized(context.call("transpose", node, axes=permutation_of(op)), scale)


def reverse_transpose(op: fx.Node, *, editor: GraphEditor) -> fx.Node:
    """X -> Transpose -> op becomes X -> op -> Transpose, for an operator that works element by element.

    Only where the transpose has no other reader: the number of transposes then never grows, so repeated passes end.
    """
    before = op.args[0]
    if before.target is not PERMUTE or len(before.users) > 1:
        return op
    inner = editor.call(op.target, before.args[0], *op.args[1:], **op.kwargs)
    return editor.call(PERMUTE, inner, permutation_of(before))


def sink_common_transpose(op: fx.Node, inputs: Sequence[fx.Node], editor: GraphEditor) -> list[int] | None:
    """The axes shared by the transposes that feed ``op``, when all its inputs are such and feed nothing else."""
    if not inputs or any(node.target is not PERMUTE or set(node.users) != {op} for node in inputs):
        return None
    axes = permutation_of(inputs[0])
    return axes if all(permutation_of(node) == axes for node in inputs) else None
