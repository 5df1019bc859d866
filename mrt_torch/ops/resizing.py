"""UpSampling and resizing: outputs are weighted sums of inputs, along H and along W, with weights fixed by shapes."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import fx

from mrt_torch.graph.editor import GraphEditor, shape_of
from mrt_torch.ops.registry import register_pass, register_transformer
from mrt_torch.ops.resampling import Resampling, gather, resample
from mrt_torch.ops.spatial import not_an_image
from mrt_torch.ops.transformer import Transformer
from mrt_torch.quantization.context import QuantizationContext, Quantized

aten = torch.ops.aten


def resamplings(op: fx.Node) -> list[Resampling]:
    """What a resizing node does along H and along W: found by resizing unit vectors in float64."""
    arguments = [*op.args, *[None] * (len(op.target._schema.arguments) - len(op.args))]
    options, given, found = arguments[2:-2], arguments[-2:], []
    for axis in (0, 1):
        extent, outputs = shape_of(op.args[0])[2 + axis], shape_of(op)[2 + axis]
        # The other axis of the image of unit vectors keeps its size, and so its samples.
        units = torch.eye(extent, dtype=torch.float64)[None, None]
        size, scales = [extent, extent], [None, None]
        size[axis], scales[axis] = outputs, given[axis]
        resized = op.target(units, size, *options, *scales)[0, 0]
        found.append(Resampling.of_matrix(resized if axis == 0 else resized.T))
    return found


class ResizingTransformer(Transformer):
    """What the operators that resize images share: (x, [height, width], ..., scale of height, scale of width)."""

    def validate(self, op: fx.Node, **context: Any) -> str | None:
        return not_an_image(op)

    def rewrite(self, op: fx.Node, *, editor: GraphEditor, **context: Any) -> fx.Node:
        """An image that stays as it is."""
        if shape_of(op) == shape_of(op.args[0]) and all(axis.is_identity for axis in resamplings(op)):
            return op.args[0]
        return op


@register_pass("fuse_transpose", "calculate_ops", "prepare_for_compile", "compile")
@register_transformer(aten.upsample_nearest2d.default, aten._upsample_nearest_exact2d.default)
class UpSampling(ResizingTransformer):
    """Nearest neighbours: Y[n, c, i, j] = X[n, c, rows[i], columns[j]], by any factor."""

    op_name = "UpSampling"
    cvm_operators = ("upsampling", "repeat", "strided_slice", "take")

    def quantize(self, op: fx.Node, *, context: QuantizationContext, **keywords: Any) -> Quantized:
        """The same integers. One upsampling where both axes grow by the same whole factor; else, for each axis, a
        repeat, a strided slice, or a take at constant indices."""
        (node, scale), axes = context.value(op.args[0]), resamplings(op)
        factors = {axis.factor for axis in axes}
        if len(factors) == 1 and None not in factors:
            return Quantized(context.call("upsampling", node, scale=factors.pop()), scale)
        for axis, resampling in enumerate(axes, start=2):
            node = gather(context, node, axis, resampling.first, f"{op.name}_indices{axis}")
        return Quantized(node, scale)


@register_pass("fuse_transpose", "prepare_for_compile", "compile")
@register_transformer(aten.upsample_bilinear2d.default, aten._upsample_bilinear2d_aa.default)
class BilinearResize(ResizingTransformer):
    """Bilinear interpolation to any size, whatever the rule that places the samples."""

    op_name = "_contrib_BilinearResize2D"
    cvm_operators = ("take", "repeat", "strided_slice", "broadcast_mul", "elemwise_add", "cvm_right_shift")

    def calculate_ops(self, op: fx.Node, **context: Any) -> int:
        """2 * taps for each result of the two axes, where an axis changes."""
        total, shape = 0, list(shape_of(op.args[0]))
        for axis, resampling in enumerate(resamplings(op), start=2):
            shape[axis] = shape_of(op)[axis]
            total += 0 if resampling.is_identity else 2 * resampling.taps * math.prod(shape)
        return total

    def quantize(self, op: fx.Node, *, context: QuantizationContext, **keywords: Any) -> Quantized:
        """X in at most 16 bits, then along each axis Y[i] = sum over t of X[first[i] + t] * W[t, i]; see ``resample``.

        The error beside the exact map of the quantized X is below 2**-12 of the largest magnitude of X, and 0 where
        the weights are multiples of a small power of two, as those of whole factors that are powers of two.
        """
        quantized = context.requantize(op.args[0], context.settings.operator_precision(self.op_name))
        axes = dict(enumerate(resamplings(op), start=2))
        # The axis that grows least comes first: the other one then has less to compute.
        for axis in sorted(axes, key=lambda axis: shape_of(op)[axis] / shape_of(op.args[0])[axis]):
            quantized = resample(context, quantized, axis, axes[axis], f"{op.name}_axis{axis}")
        return quantized


@register_pass("fuse_transpose", "prepare_for_compile", "compile")
@register_transformer(aten.upsample_bicubic2d.default, aten._upsample_bicubic2d_aa.default)
class BicubicResize(BilinearResize):
    """Bicubic interpolation to any size; MXNet has none."""

    op_name = "BicubicResize2D"
