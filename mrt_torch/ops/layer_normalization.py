"""Normalizations by the statistics of each sample: LayerNorm, RMSNorm, GroupNorm, InstanceNorm and the L2 norm."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import fx

from mrt_torch.graph.editor import GraphEditor, shape_of
from mrt_torch.graph.facts import source_name
from mrt_torch.graph.free_axis import free_axis, free_shape
from mrt_torch.ops.registry import register_pass, register_transformer
from mrt_torch.ops.row_normalization import WIDEST_INPUT, normalize_rows
from mrt_torch.ops.transformer import Transformer
from mrt_torch.ops.transposition import PERMUTE, transpose_before
from mrt_torch.quantization.context import QuantizationContext, Quantized

aten = torch.ops.aten
OPERATORS = ("reshape", "broadcast_mul", "sum", "broadcast_sub", "abs", "max", "broadcast_max", "broadcast_add",
             "cvm_right_shift", "broadcast_div", "cvm_clip", "cvm_lut")
BATCH = "Normalizing along the batch axis, which is free, is refused, and so is a computed gamma or beta."
TORCH_EPSILON = {torch.float64: 2.0 ** -52, torch.float16: 2.0 ** -10, torch.bfloat16: 2.0 ** -7}


def computed_parameter(nodes: Sequence[fx.Node | None]) -> str | None:
    """Why a normalization with these scales and shifts has no integer form; None where they are parameters."""
    return "its scale or shift is computed, not a parameter" if any(
        node is not None and node.op != "get_attr" for node in nodes) else None


def argument(op: fx.Node, position: int, default: Any = None) -> Any:
    """A positional argument of a node; ``default`` where it ends before."""
    return op.args[position] if len(op.args) > position else default


def scaled_and_shifted(editor: GraphEditor, node: fx.Node, scale: fx.Node | None, shift: fx.Node | None,
                       shape: Sequence[int]) -> fx.Node:
    """``node * scale + shift`` with parameters reshaped to ``shape``; a scale of ones and a shift of zeros drop out."""
    for target, parameter, neutral in ((aten.mul.Tensor, scale, 1), (aten.add.Tensor, shift, 0)):
        if parameter is None or bool((editor.tensor_of(parameter) == neutral).all()):
            continue
        tensor = editor.tensor_of(parameter)
        if tuple(tensor.shape) != tuple(shape):
            parameter = editor.constant(source_name(parameter), tensor.reshape(tuple(shape)))
        node = editor.call(target, node, parameter)
    return node


class RowNormalization(Transformer):
    """What the normalizations over the last axes share; after rewrite they have neither scale nor shift."""

    cvm_operators = OPERATORS
    limits = BATCH
    centred = True

    @staticmethod
    def parameters(op: fx.Node) -> tuple[fx.Node | None, fx.Node | None]:
        """gamma and beta."""
        return argument(op, 2), argument(op, 3)

    @staticmethod
    def epsilon(op: fx.Node) -> float:
        """eps."""
        return float(argument(op, 4, 1e-5))

    def validate(self, op: fx.Node, **context: Any) -> str | None:
        first = len(shape_of(op)) - len(op.args[1])
        if free_axis(op.args[0]) is not None and free_axis(op.args[0]) >= first:
            return "it normalizes along the batch axis, which is free"
        epsilon = self.epsilon(op)
        if not (math.isfinite(epsilon) and epsilon >= 0):
            return f"its eps is {epsilon}"
        return computed_parameter(self.parameters(op))

    def calculate_ops(self, op: fx.Node, **context: Any) -> int:
        """Eight for each element."""
        return 8 * super().calculate_ops(op)

    def plain(self, op: fx.Node, x: fx.Node, shape: Sequence[int], editor: GraphEditor) -> fx.Node:
        """The same normalization of ``x`` over its last axes ``shape``, without scale and shift."""
        return editor.call(op.target, x, list(shape), None, None, self.epsilon(op))

    def rewrite(self, op: fx.Node, *, editor: GraphEditor, **context: Any) -> fx.Node:
        """Y * gamma + beta behind a normalization without them; and one axis where there are several."""
        x, shape = op.args[0], list(op.args[1])
        scale, shift = self.parameters(op)
        if scale is None and shift is None and len(shape) == 1:
            return op
        if len(shape) > 1:
            leading = free_shape(x)[:len(shape_of(x)) - len(shape)]
            flat = editor.call(aten.reshape.default, x, [*leading, math.prod(shape)])
            normal = editor.call(aten.reshape.default, self.plain(op, flat, [math.prod(shape)], editor), free_shape(x))
        else:
            normal = self.plain(op, x, shape, editor)
        return scaled_and_shifted(editor, normal, scale, shift, shape)

    def fuse_transpose(self, op: fx.Node, *, editor: GraphEditor, **context: Any) -> fx.Node:
        """A transpose that leaves the normalized axes where they are, and has no other reader, goes behind."""
        found = transpose_before(op, context)
        first = len(shape_of(op)) - len(op.args[1])
        if found is None or found[1][first:] != list(range(first, len(shape_of(op)))):
            return op
        return editor.call(PERMUTE, editor.call(op.target, found[0], *op.args[1:]), found[1])

    def quantize(self, op: fx.Node, *, context: QuantizationContext, **keywords: Any) -> Quantized:
        """See ``normalize_rows``; the input has up to 20 bits."""
        bits = min(context.settings.operator_precision(self.op_name, WIDEST_INPUT), WIDEST_INPUT)
        x = context.requantize(op.args[0], bits)
        thresholds = context.threshold(op.args[0]), context.threshold(op)
        return normalize_rows(context, x, thresholds, self.epsilon(op), self.centred, op.name)


@register_pass("prepare_for_compile", "compile")
@register_transformer(aten.layer_norm.default)
class LayerNorm(RowNormalization):
    """(X - mean) / sqrt(var + eps) * gamma + beta over the last axes. (Ba et al., Layer Normalization, 2016.)"""

    op_name = "LayerNorm"


@register_pass("prepare_for_compile", "compile")
@register_transformer(aten.rms_norm.default)
class RMSNorm(RowNormalization):
    """X / sqrt(mean(X**2) + eps) * gamma over the last axes.

    MXNet's L2Normalization is this with eps / n, divided by sqrt(n). (Zhang and Sennrich, Root Mean Square Layer
    Normalization, 2019.)
    """

    op_name = "L2Normalization"
    centred = False

    @staticmethod
    def parameters(op: fx.Node) -> tuple[fx.Node | None, fx.Node | None]:
        """gamma; there is no beta."""
        return argument(op, 2), None

    @staticmethod
    def epsilon(op: fx.Node) -> float:
        """eps; by default the machine's for the type, as torch has it."""
        given = argument(op, 3)
        return float(TORCH_EPSILON.get(op.meta["val"].dtype, 2.0 ** -23) if given is None else given)

    def plain(self, op: fx.Node, x: fx.Node, shape: Sequence[int], editor: GraphEditor) -> fx.Node:
        """The same normalization without a scale."""
        return editor.call(op.target, x, list(shape), None, self.epsilon(op))


@register_pass("fuse_transpose", "quantize", "prepare_for_compile", "compile")
@register_transformer(aten.group_norm.default)
class GroupNorm(Transformer):
    """LayerNorm over groups of channels and all axes behind them, gamma and beta for each channel; gone after rewrite.

    (Wu and He, Group Normalization, 2018.)
    """

    op_name = "GroupNorm"
    rewritten_into = "reshape(LayerNorm(reshape(X))) * gamma + beta"
    limits = BATCH

    def validate(self, op: fx.Node, **context: Any) -> str | None:
        if free_axis(op.args[0]) not in (None, 0):
            return "it normalizes along the batch axis, which is free"
        return computed_parameter([argument(op, 2), argument(op, 3)])

    def calculate_ops(self, op: fx.Node, **context: Any) -> int:
        """Eight for each element."""
        return 8 * super().calculate_ops(op)

    def rewrite(self, op: fx.Node, *, editor: GraphEditor, **context: Any) -> fx.Node:
        """One row for each group."""
        x, groups = op.args[:2]
        shape = shape_of(x)
        count = math.prod(shape[1:]) // groups
        rows = editor.call(aten.reshape.default, x, [free_shape(x)[0], groups, count])
        normal = editor.call(aten.layer_norm.default, rows, [count], None, None, float(argument(op, 4, 1e-5)))
        normal = editor.call(aten.reshape.default, normal, free_shape(x))
        return scaled_and_shifted(editor, normal, argument(op, 2), argument(op, 3),
                                  [1, shape[1]] + [1] * (len(shape) - 2))


@register_pass("fuse_transpose", "quantize", "prepare_for_compile", "compile")
@register_transformer(aten.instance_norm.default)
class InstanceNorm(Transformer):
    """LayerNorm over the spatial axes, gamma and beta for each channel; gone after rewrite.

    With running statistics it is a BatchNorm. (Ulyanov et al., Instance Normalization, 2016.)
    """

    op_name = "InstanceNorm"
    rewritten_into = "LayerNorm(X) * gamma + beta, or BatchNorm(X)"
    limits = BATCH

    def validate(self, op: fx.Node, **context: Any) -> str | None:
        free = free_axis(op.args[0])
        if op.args[5] and free is not None and free > 1:
            return "it normalizes along the batch axis, which is free"
        if not op.args[5] and (op.args[3] is None or op.args[4] is None):
            return "it has no statistics of its own, nor may it use those of the input"
        return computed_parameter(op.args[1:3] if op.args[5] else op.args[1:5])

    def calculate_ops(self, op: fx.Node, **context: Any) -> int:
        """Eight for each element."""
        return 8 * super().calculate_ops(op)

    def rewrite(self, op: fx.Node, *, editor: GraphEditor, **context: Any) -> fx.Node:
        """One row for each channel of a sample."""
        x, scale, shift, mean, variance, own, momentum, epsilon = op.args[:8]
        shape = shape_of(x)
        if not own:
            return editor.call(aten.batch_norm.default, x, scale, shift, mean, variance, False, momentum, epsilon,
                               False)
        normal = editor.call(aten.layer_norm.default, x, list(shape[2:]), None, None, float(epsilon))
        return scaled_and_shifted(editor, normal, scale, shift, [1, shape[1]] + [1] * (len(shape) - 2))
