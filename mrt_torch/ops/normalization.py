"""BatchNorm."""

from __future__ import annotations

from typing import Any

import torch
from torch import fx

from mrt_torch.graph.editor import GraphEditor, shape_of
from mrt_torch.graph.facts import source_name
from mrt_torch.ops.registry import register_pass, register_transformer
from mrt_torch.ops.transformer import Transformer

aten = torch.ops.aten
FOLDED_INTO = (aten.conv2d.default, aten.conv3d.default, aten.linear.default, aten.conv_transpose2d.input)


@register_pass("fuse_transpose", "quantize", "prepare_for_compile", "compile")
@register_transformer(aten.batch_norm.default)
class BatchNorm(Transformer):
    """Y = gamma * (X - mean) / sqrt(var + eps) + beta, channels on axis 1; gone after rewrite."""

    op_name = "BatchNorm"
    rewritten_into = "Convolution(X, W * sc, B * sc + offset), or X * sc + offset"
    limits = "The statistics of the batch, and computed ones, are refused."

    def validate(self, op: fx.Node, **context: Any) -> str | None:
        if op.args[5]:
            return ("it normalises with the statistics of the batch (training mode); "
                    "put the module into evaluation mode before the capture")
        if any(node is not None and node.op != "get_attr" for node in op.args[1:5]):
            return "its statistics are computed, not parameters"
        if op.args[3] is None or op.args[4] is None:
            return "it has no running statistics (track_running_stats=False)"
        return None

    def calculate_ops(self, op: fx.Node, **context: Any) -> int:
        """Four for each element."""
        return 4 * super().calculate_ops(op)

    def rewrite(self, op: fx.Node, *, editor: GraphEditor, **context: Any) -> fx.Node:
        """Fold into the Convolution or FullyConnected before it when that has no other reader; exact but for rounding.

            sc = gamma / sqrt(var + eps);  W' = W * sc;  B' = beta + sc * (B - mean)

        The existing bias is scaled too (the original forgot it). A 1-D convolution, which is a 2-D one with its row
        squeezed away, counts as a convolution. Otherwise Y = X * sc + (beta - sc * mean), with constants of shape
        (1, C, 1, ...). Computed in float64.
        """
        scale, offset = _affine(op, editor)
        before = op.args[0]
        if _is_convolution_of_a_row(before):
            folded = _fold(before.args[0], scale, offset, editor)
            return editor.call(aten.squeeze.dims, folded, *before.args[1:])
        # Channels are on axis 1, where those of a FullyConnected are only for tensors of two axes.
        channels_match = before.target is not aten.linear.default or len(shape_of(op)) == 2
        if before.target in FOLDED_INTO and channels_match and len(before.users) == 1 \
                and before.args[1].op == "get_attr":
            return _fold(before, scale, offset, editor)
        shape = [1, -1] + [1] * (len(shape_of(op)) - 2)
        dtype = op.meta["val"].dtype
        factor = editor.constant(f"{source_name(op)}_scale", scale.reshape(shape).to(dtype))
        addend = editor.constant(f"{source_name(op)}_offset", offset.reshape(shape).to(dtype))
        return editor.call(aten.add.Tensor, editor.call(aten.mul.Tensor, before, factor), addend)


def _is_convolution_of_a_row(node: fx.Node) -> bool:
    """A squeeze of spatial axes behind a convolution with a constant weight, neither with another reader."""
    if node.target is not aten.squeeze.dims or len(node.users) > 1 or len(shape_of(node)) != 3:
        return False
    source = node.args[0]
    return source.target in FOLDED_INTO and len(source.users) == 1 and source.args[1].op == "get_attr" \
        and shape_of(node)[:2] == shape_of(source)[:2] and 1 not in [axis % 4 for axis in node.args[1]]


def _affine(op: fx.Node, editor: GraphEditor) -> tuple[torch.Tensor, torch.Tensor]:
    """``(sc, beta - sc * mean)`` in float64, one number a channel."""
    gamma, beta, mean, var = (None if node is None else editor.tensor_of(node).to(torch.float64)
                              for node in op.args[1:5])
    scale = (var + op.args[7]).rsqrt()
    if gamma is not None:
        scale = scale * gamma
    offset = -scale * mean
    return scale, offset if beta is None else offset + beta


def _by_filter(linear: fx.Node, factor: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """``factor``, one number an output channel, in a shape that multiplies the weight of the layer."""
    if linear.target is not aten.conv_transpose2d.input:
        return factor.reshape([-1] + [1] * (weight.dim() - 1))
    groups = linear.args[6] if len(linear.args) > 6 else 1  # weight (C, O / g, kh, kw)
    return factor.reshape(groups, 1, -1, 1, 1).expand(-1, weight.shape[0] // groups, -1, -1, -1).flatten(0, 1)


def _fold(linear: fx.Node, scale: torch.Tensor, offset: torch.Tensor, editor: GraphEditor) -> fx.Node:
    weight_node, bias_node = linear.args[1], linear.args[2] if len(linear.args) > 2 else None
    weight = editor.tensor_of(weight_node)
    folded = weight.to(torch.float64) * _by_filter(linear, scale, weight)
    if bias_node is not None:
        offset = offset + scale * editor.tensor_of(bias_node).to(torch.float64)
    bias_name = source_name(bias_node) if bias_node is not None else f"{source_name(linear)}_bias"
    new_weight = editor.constant(source_name(weight_node), folded.to(weight.dtype))
    new_bias = editor.constant(bias_name, offset.to(weight.dtype))
    return editor.call(linear.target, linear.args[0], new_weight, new_bias, *linear.args[3:])
