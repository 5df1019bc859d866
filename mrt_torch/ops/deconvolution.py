"""Deconvolution: a transposed convolution, written as a convolution whose outputs are interleaved."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx

from mrt_torch.graph.editor import GraphEditor, shape_of
from mrt_torch.graph.free_axis import free_shape
from mrt_torch.ops.convolution import computed_parameter
from mrt_torch.ops.explanation import decline
from mrt_torch.ops.registry import register_pass, register_transformer
from mrt_torch.ops.spatial import is_normalized, not_an_image, numbers
from mrt_torch.ops.transformer import Transformer

aten = torch.ops.aten


@dataclass(frozen=True)
class PhaseAxis:
    """One spatial axis of Y[t] = sum_i X[i] * W[k] over t + padding = stride * i + dilation * k.

    With t + padding = stride * q + r, the outputs of one phase r are a convolution of stride 1 with the taps
    W[r], W[r + stride], ...; the convolution computes all phases at each q.

    Attributes:
        stride: number of phases.
        taps: taps of each phase; the shorter phases end with zeros.
        dilation: of the convolution. A dilated kernel of stride 1 stays dilated, others are filled with zeros.
        padding: of the convolution, on both sides.
        begin: outputs of the convolution, interleaved, that are cut off at the front.
        extent: outputs that remain.
    """

    stride: int
    taps: int
    dilation: int
    padding: int
    begin: int
    extent: int

    @classmethod
    def of(cls, extent: int, outputs: int, kernel: int, stride: int, padding: int, dilation: int) -> PhaseAxis:
        """For an axis of ``extent`` inputs and ``outputs`` outputs."""
        if stride == 1:
            taps, reach = kernel, dilation * (kernel - 1)
        else:
            taps, dilation = -(-(dilation * (kernel - 1) + 1) // stride), 1
            reach = taps - 1
        last = (padding + outputs - 1) // stride
        border = max(reach - padding // stride, last - (extent - 1), 0)
        return cls(stride, taps, dilation, border, padding - stride * (reach - border), outputs)

    def phases(self, weight: torch.Tensor, axis: int, dilation: int) -> torch.Tensor:
        """``weight`` with its axis of taps k = r + stride * m split in two: m, from the last to the first, and r."""
        if self.stride > 1 and dilation > 1:
            shape = list(weight.shape)
            shape[axis] = dilation * (shape[axis] - 1) + 1
            filled = weight.new_zeros(shape)
            filled.index_copy_(axis, torch.arange(0, shape[axis], dilation, device=weight.device), weight)
            weight = filled
        missing = self.taps * self.stride - weight.shape[axis]
        border = [0, 0] * (weight.dim() - 1 - axis) + [0, missing]
        return torch.nn.functional.pad(weight, border).unflatten(axis, (self.taps, self.stride)).flip(axis)


@register_pass("fuse_transpose")
@register_transformer(aten.conv_transpose2d.input)
class Deconvolution(Transformer):
    """Transposed convolution, grouped or dilated, on NCHW tensors; gone after rewrite."""

    op_name = "Deconvolution"
    rewritten_into = "Y = slice(depth_to_space(Convolution(X, W')))"
    limits = "The weight is a parameter."

    def validate(self, op: fx.Node, **context: Any) -> str | None:
        return not_an_image(op) or computed_parameter(*deconvolution_arguments(op)[1:3])

    def calculate_ops(self, op: fx.Node, **context: Any) -> int:
        """in * 2 * C_out/groups * kernel elements, and out for a bias."""
        x, weight, bias = deconvolution_arguments(op)[:3]
        return 2 * math.prod(shape_of(x)) * math.prod(shape_of(weight)[1:]) \
            + (math.prod(shape_of(op)) if bias is not None else 0)

    def rewrite(self, op: fx.Node, *, editor: GraphEditor, **context: Any) -> fx.Node:
        """One convolution with stride_h * stride_w times the filters, whose results are interleaved and cropped.

            Z = Convolution(X, W')                   (N, O * s_h * s_w, Q_h, Q_w), see ``PhaseAxis``
            Y = crop(reshape(transpose(reshape(Z, (N, O, s_h, s_w, Q_h, Q_w)), (0, 1, 4, 2, 5, 3))))

        Exact but for rounding. An output costs ceil(k_h / s_h) * ceil(k_w / s_w) products an input channel, where zeros
        stuffed between the inputs would cost k_h * k_w; and no tensor is larger than the result and its margin.
        """
        x, weight, bias, stride, padding, _, groups, dilation = deconvolution_arguments(op)
        if is_normalized(op):
            return decline(op, "the normalization behind it folds into it first", context)
        kernel, extents, outputs = shape_of(weight)[2:], shape_of(x)[2:], shape_of(op)[2:]
        axes = [PhaseAxis.of(*axis) for axis in zip(extents, outputs, kernel, stride, padding, dilation, strict=True)]
        filters = _filters(editor.tensor_of(weight), axes, dilation, groups)
        phases = stride[0] * stride[1]
        offset = None
        if bias is not None:
            repeated = editor.tensor_of(bias).repeat_interleave(phases)
            offset = editor.constant(f"{op.name}_bias", repeated) if phases > 1 else bias
        node = editor.call(aten.conv2d.default, x, editor.constant(f"{op.name}_weight", filters), offset, [1, 1],
                           [axis.padding for axis in axes], [axis.dilation for axis in axes], groups)
        if phases > 1:
            node = _interleaved(editor, node, stride)
        for position, axis in enumerate(axes, start=2):
            if shape_of(node)[position] != axis.extent:
                node = editor.call(aten.slice.Tensor, node, position, axis.begin, axis.begin + axis.extent, 1)
        return node


def _filters(weight: torch.Tensor, axes: list[PhaseAxis], dilation: list[int], groups: int) -> torch.Tensor:
    """Weight (C, O / g, kh, kw) as that of the convolution, (O * s_h * s_w, C / g, taps_h, taps_w)."""
    # C, O / g, m_h, r_h, m_w, r_w; then g, O / g, r_h, r_w, C / g, m_h, m_w
    split = axes[1].phases(axes[0].phases(weight, 2, dilation[0]), 4, dilation[1])
    ordered = split.unflatten(0, (groups, -1)).permute(0, 2, 4, 6, 1, 3, 5)
    return ordered.flatten(0, 3).contiguous()


def _interleaved(editor: GraphEditor, node: fx.Node, stride: list[int]) -> fx.Node:
    """(N, O * s_h * s_w, Q_h, Q_w) as (N, O, Q_h * s_h, Q_w * s_w)."""
    batch, channels, height, width = free_shape(node)
    channels //= stride[0] * stride[1]
    parts = editor.call(aten.reshape.default, node, [batch, channels, *stride, height, width])
    ordered = editor.call(aten.permute.default, parts, [0, 1, 4, 2, 5, 3])
    return editor.call(aten.reshape.default, ordered, [batch, channels, height * stride[0], width * stride[1]])


def deconvolution_arguments(op: fx.Node) -> tuple[fx.Node, fx.Node, fx.Node | None, list, list, list, int, list]:
    """Input, weight, bias, stride, padding, output padding, groups and dilation of an ``aten.conv_transpose2d``."""
    defaults = (None, [1, 1], [0, 0], [0, 0], 1, [1, 1])
    given = tuple(op.args[2:])
    bias, stride, padding, output_padding, groups, dilation = given + defaults[len(given):]
    pairs = [list(numbers(value)) for value in (stride, padding, output_padding, dilation)]
    return op.args[0], op.args[1], bias, *pairs[:3], groups, pairs[3]
