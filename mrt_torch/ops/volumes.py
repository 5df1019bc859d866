"""Operators on volumes, tensors of the axes (N, C, D, H, W), written as operators on images."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import fx

from mrt_torch.graph.editor import GraphEditor, shape_of
from mrt_torch.graph.free_axis import free_shape
from mrt_torch.ops.convolution import computed_parameter
from mrt_torch.ops.explanation import decline
from mrt_torch.ops.registry import register_pass, register_transformer
from mrt_torch.ops.spatial import argument, is_normalized, not_an_image, numbers
from mrt_torch.ops.transformer import Transformer

aten = torch.ops.aten


@register_pass("fuse_transpose")
@register_transformer(aten.conv3d.default)
class VolumeConvolution(Transformer):
    """3-D convolution, grouped or dilated, on NCDHW tensors; gone after rewrite."""

    op_name = "Convolution"
    rewritten_into = "a 2-D Convolution of each frame of the result, whose channels are those of all frames it reads"
    limits = "The weight is a parameter."

    def validate(self, op: fx.Node, **context: Any) -> str | None:
        return not_an_image(op, rank=5) or computed_parameter(op.args[1], argument(op, 2, None))

    def calculate_ops(self, op: fx.Node, **context: Any) -> int:
        """out * (2 * C_in/groups * kernel elements, and one for a bias)."""
        has_bias = argument(op, 2, None) is not None
        return math.prod(shape_of(op)) * (2 * math.prod(shape_of(op.args[1])[1:]) + int(has_bias))

    def rewrite(self, op: fx.Node, *, editor: GraphEditor, **context: Any) -> fx.Node:
        """One 2-D convolution, with the frames of the result as its batch and the frames they read as channels.

            P = pad(X, D);  F[n, d, c, k] = P[n, c, stride * d + dilation * k]          (N, D', C, K, H, W)
            Y = transpose(reshape(Convolution(reshape(F, (N * D', C * K, H, W)), reshape(W, (O, C * K, kh, kw)))))

        Exact but for rounding, with no multiplication more than the 3-D convolution has.
        """
        if is_normalized(op):
            return decline(op, "the normalization behind it folds into it first", context)
        x, weight = op.args[:2]
        stride, padding, dilation = (numbers(argument(op, position, default), 3)
                                     for position, default in ((3, 1), (4, 0), (5, 1)))
        taps, frames = shape_of(weight)[2], shape_of(op)[2]
        if padding[0]:
            x = editor.call(aten.constant_pad_nd.default, x, [0, 0, 0, 0, padding[0], padding[0]], 0.0)
        moved = editor.call(aten.permute.default, x, [0, 2, 1, 3, 4])
        reads = [editor.call(aten.slice.Tensor, moved, 1, tap * dilation[0],
                             tap * dilation[0] + (frames - 1) * stride[0] + 1, stride[0]) for tap in range(taps)]
        if taps > 1:
            columns = [editor.call(aten.unsqueeze.default, frame, 3) for frame in reads]
            reads = [editor.call(aten.cat.default, columns, 3)]
        height, width = shape_of(reads[0])[-2:]
        # The batch leads, and stays free as the axis that is inferred.
        images = editor.call(aten.reshape.default, reads[0], [-1, shape_of(x)[1] * taps, height, width])
        kernel = editor.call(aten.flatten.using_ints, weight, 1, 2)
        result = editor.call(aten.conv2d.default, images, kernel, argument(op, 2, None), list(stride[1:]),
                             list(padding[1:]), list(dilation[1:]), argument(op, 6, 1))
        batch = free_shape(op)[0]
        volumes = editor.call(aten.reshape.default, result, [batch, frames, *shape_of(result)[1:]])
        return editor.call(aten.permute.default, volumes, [0, 2, 1, 3, 4])


class VolumePooling(Transformer):
    """What the poolings of volumes share: pooling over H and W, and then over D, which are independent."""

    op_name = "Pooling"
    rewritten_into = "Y = Pooling(Pooling(X, (H, W)), D)"

    def validate(self, op: fx.Node, **context: Any) -> str | None:
        return not_an_image(op, rank=5)

    def calculate_ops(self, op: fx.Node, **context: Any) -> int:
        """out * elements of the kernel."""
        return math.prod(shape_of(op)) * math.prod(numbers(op.args[1], 3))

    def rewrite(self, op: fx.Node, *, editor: GraphEditor, **context: Any) -> fx.Node:
        """Every frame is an image with C * D channels; then every column of frames is one, with H * W columns."""
        batch, channels, frames, height, width = free_shape(op.args[0])
        kernel = numbers(op.args[1], 3)
        stride, padding = numbers(argument(op, 2, []) or kernel, 3), numbers(argument(op, 3, 0), 3)
        images = editor.call(aten.reshape.default, op.args[0], [batch, channels * frames, height, width])
        pooled = self.pooled(editor, op, images, (1, 2), [list(value[1:]) for value in (kernel, stride, padding)])
        height, width = shape_of(pooled)[2:]
        columns = editor.call(aten.reshape.default, pooled, [batch, channels, frames, height * width])
        values = [[value[0], other] for value, other in zip((kernel, stride, padding), (1, 1, 0), strict=True)]
        pooled = self.pooled(editor, op, columns, (0, None), values)
        result = editor.call(aten.reshape.default, pooled, [batch, channels, shape_of(pooled)[2], height, width])
        return self.finished(editor, op, result)

    def pooled(self, editor: GraphEditor, op: fx.Node, x: fx.Node, axes: tuple, values: list) -> fx.Node:
        """2-D pooling with the window of some spatial axes of ``op``, None for an axis that stays."""
        raise AssertionError("a subclass pools")

    def finished(self, editor: GraphEditor, op: fx.Node, result: fx.Node) -> fx.Node:
        return result


@register_pass("fuse_transpose")
@register_transformer(aten.max_pool3d.default)
class VolumeMaxPooling(VolumePooling):
    """Maximum over windows of volumes; gone after rewrite."""

    def pooled(self, editor: GraphEditor, op: fx.Node, x: fx.Node, axes: tuple, values: list) -> fx.Node:
        dilation = numbers(argument(op, 4, 1), 3)
        spread = [1 if axis is None else dilation[axis] for axis in axes]
        return editor.call(aten.max_pool2d.default, x, *values, spread, argument(op, 5, False))


@register_pass("fuse_transpose")
@register_transformer(aten.avg_pool3d.default)
class VolumeAveragePooling(VolumePooling):
    """Mean over windows of volumes: counts are products of those of the axes; gone after rewrite."""

    def pooled(self, editor: GraphEditor, op: fx.Node, x: fx.Node, axes: tuple, values: list) -> fx.Node:
        divisor = None if argument(op, 6, None) is None else 1
        return editor.call(aten.avg_pool2d.default, x, *values, argument(op, 4, False), argument(op, 5, True), divisor)

    def finished(self, editor: GraphEditor, op: fx.Node, result: fx.Node) -> fx.Node:
        """The sums over a divisor given."""
        divisor = argument(op, 6, None)
        return result if divisor is None else editor.call(aten.div.Scalar, result, float(divisor))
