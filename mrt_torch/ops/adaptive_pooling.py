"""Average pooling to a given size."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import fx

from mrt_torch.graph.adaptive_windows import adaptive_windows
from mrt_torch.graph.editor import GraphEditor, shape_of
from mrt_torch.graph.free_axis import free_shape
from mrt_torch.ops.registry import register_pass, register_transformer
from mrt_torch.ops.spatial import not_an_image
from mrt_torch.ops.transformer import Transformer

aten = torch.ops.aten


@register_pass("fuse_transpose")
@register_transformer(aten.adaptive_avg_pool2d.default)
class AdaptiveAveragePooling(Transformer):
    """Average pooling to a given size, whose windows may differ in size by one; gone after rewrite."""

    op_name = "_contrib_AdaptiveAvgPooling2D"
    rewritten_into = "Y = mean(X, (2, 3)), or Pooling(X), or sums over slices of H and of W times a map of 1 / count"

    def validate(self, op: fx.Node, **context: Any) -> str | None:
        return not_an_image(op)

    def calculate_ops(self, op: fx.Node, **context: Any) -> int:
        """One for each element that is summed, and one division for each mean."""
        return math.prod(shape_of(op.args[0])) + math.prod(shape_of(op))

    def rewrite(self, op: fx.Node, *, editor: GraphEditor, **context: Any) -> fx.Node:
        """A mean over (2, 3) for size (1, 1), else plain average pooling with kernel = stride = extent / size.

        Where every window is one element it is the input. Where windows differ in size, the sums over the windows of
        H, and of those over the windows of W, are multiplied by a constant map of 1 / count: sums share their input's
        scale, so their integers are exact, and only the map is rounded.
        """
        x, (extents, outputs) = op.args[0], (shape_of(op.args[0])[2:], shape_of(op)[2:])
        if extents == outputs:
            return x
        if outputs == (1, 1):
            return editor.call(aten.mean.dim, x, [2, 3], True)
        if not any(extent % size for extent, size in zip(extents, outputs, strict=True)):
            kernel = [extent // size for extent, size in zip(extents, outputs, strict=True)]
            return editor.call(aten.avg_pool2d.default, x, kernel, kernel)
        counts = []
        for axis, (extent, size) in enumerate(zip(extents, outputs, strict=True), start=2):
            windows = adaptive_windows(extent, size)
            x = _window_sums(editor, x, axis, windows)
            counts.append(torch.tensor([end - begin for begin, end in windows], dtype=torch.float64))
        shares = 1 / (counts[0][:, None] * counts[1][None, :])
        shares = shares.to(op.meta["val"].dtype).reshape(1, 1, *outputs)
        return editor.call(aten.mul.Tensor, x, editor.constant(f"{op.name}_shares", shares))


def _window_sums(editor: GraphEditor, x: fx.Node, axis: int, windows: list[tuple[int, int]]) -> fx.Node:
    extent, size = shape_of(x)[axis], len(windows)
    if extent == size:
        return x
    if size == 1:
        return editor.call(aten.sum.dim_IntList, x, [axis], True)
    if extent % size == 0:
        shape = free_shape(x)
        blocks = editor.call(aten.reshape.default, x, [*shape[:axis], size, extent // size, *shape[axis + 1:]])
        return editor.call(aten.sum.dim_IntList, blocks, [axis + 1], False)
    parts = [editor.call(aten.slice.Tensor, x, axis, begin, end, 1) for begin, end in windows]
    sums = [editor.call(aten.sum.dim_IntList, part, [axis], True) for part in parts]
    return editor.call(aten.cat.default, sums, axis)
