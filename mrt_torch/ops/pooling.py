"""Pooling: max pooling as the runtime has it; average pooling rewritten into sums."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx

from mrt_torch.graph.editor import GraphEditor, shape_of
from mrt_torch.ops.registry import register_pass, register_transformer
from mrt_torch.ops.transformer import Transformer
from mrt_torch.quantization.context import QuantizationContext, Quantized

aten = torch.ops.aten


@dataclass(frozen=True)
class Window:
    """Kernel, stride and padding of a pooling node for each spatial axis, and its rounding mode."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    ceil_mode: bool

    def overhang(self, axis: int, extent: int, outputs: int) -> int:
        """How far the last window reaches beyond the padded input."""
        reach = (outputs - 1) * self.stride[axis] + self.kernel[axis]
        return max(reach - (extent + 2 * self.padding[axis]), 0)


def _pair(value: Sequence[int] | int) -> tuple[int, int]:
    values = [value] if isinstance(value, int) else list(value)
    return tuple(values * 2 if len(values) == 1 else values)


def _argument(op: fx.Node, position: int, default: Any) -> Any:
    return op.args[position] if len(op.args) > position else default


def _window(op: fx.Node, ceil_mode: bool) -> Window:
    kernel = _pair(op.args[1])
    return Window(kernel, _pair(_argument(op, 2, []) or kernel), _pair(_argument(op, 3, [0, 0])), ceil_mode)


@register_pass("rewrite", "fuse_transpose", "prepare_for_compile", "compile")
@register_transformer(aten.max_pool2d.default)
class Pooling(Transformer):
    """Maximum over windows; padding never wins."""

    op_name = "Pooling"

    @staticmethod
    def window(op: fx.Node) -> Window:
        return _window(op, bool(_argument(op, 5, False)))

    def validate(self, op: fx.Node, **context: Any) -> str | None:
        if _pair(_argument(op, 4, [1, 1])) != (1, 1):
            return f"max pooling with dilation {op.args[4]}: the runtime has none"
        return _not_four_axes(op)

    def calculate_ops(self, op: fx.Node, **context: Any) -> int:
        """out * elements of the kernel."""
        return math.prod(shape_of(op)) * math.prod(self.window(op).kernel)

    def quantize(self, op: fx.Node, *, context: QuantizationContext, **keywords: Any) -> Quantized:
        """One max_pool2d, or one for each axis where only one of them is rounded up.

        Two things that torch does in ceil mode, the runtime refuses. A last window that would start in the padding is
        dropped: such an axis is rounded down. A window may exceed the padded input: it is cut.
        """
        (node, scale), window = context.value(op.args[0]), self.window(op)
        padded = [extent + 2 * padding for extent, padding in zip(shape_of(node)[2:], window.padding, strict=True)]
        kernel = [min(pair) for pair in zip(window.kernel, padded, strict=True)]
        ceil_mode = [(padded[axis] - kernel[axis]) // window.stride[axis] + 1 < shape_of(op)[2 + axis]
                     for axis in (0, 1)]
        for axes in [(0, 1)] if ceil_mode[0] == ceil_mode[1] else [(0,), (1,)]:
            node = context.call(
                "max_pool2d", node, pool_size=[kernel[axis] if axis in axes else 1 for axis in (0, 1)],
                strides=[window.stride[axis] if axis in axes else 1 for axis in (0, 1)],
                padding=[window.padding[axis] if axis in axes else 0 for axis in (0, 1)],
                ceil_mode=ceil_mode[axes[0]])
        return Quantized(node, scale)


@register_pass("fuse_transpose")
@register_transformer(aten.avg_pool2d.default)
class AveragePooling(Transformer):
    """Mean over windows, in every variant of padding, rounding and divisor; gone after rewrite."""

    op_name = "Pooling"

    @staticmethod
    def window(op: fx.Node) -> Window:
        return _window(op, bool(_argument(op, 4, False)))

    def validate(self, op: fx.Node, **context: Any) -> str | None:
        return _not_four_axes(op)

    def calculate_ops(self, op: fx.Node, **context: Any) -> int:
        """out * (elements of the kernel + 1)."""
        return math.prod(shape_of(op)) * (math.prod(self.window(op).kernel) + 1)

    def rewrite(self, op: fx.Node, *, editor: GraphEditor, **context: Any) -> fx.Node:
        """A mean where one window covers the input, else a depthwise convolution; exact but for rounding.

        Windows that overhang on the right (ceil mode) need padding there only, while convolutions pad both sides
        alike: padding grows by the overhang, and so does the kernel, with zeros at its front. Where windows are
        divided by different counts, the convolution sums and a constant map of 1/count multiplies.
        """
        x, window = op.args[0], self.window(op)
        _, channels, *extents = shape_of(x)
        outputs = shape_of(op)[2:]
        divisors = self._divisors(op, window, extents, outputs)
        if outputs == (1, 1) and window.kernel == tuple(extents) and window.padding == (0, 0) \
                and float(divisors[0, 0]) == math.prod(extents):
            return editor.call(aten.mean.dim, x, [2, 3], True)
        extra = [window.overhang(axis, extents[axis], outputs[axis]) for axis in (0, 1)]
        uniform = bool((divisors == divisors[0, 0]).all())
        value = 1.0 / float(divisors[0, 0]) if uniform else 1.0
        kernel = torch.full((channels, 1, *window.kernel), value, dtype=op.meta["val"].dtype)
        kernel = torch.nn.functional.pad(kernel, (extra[1], 0, extra[0], 0))
        weight = editor.constant(f"{op.name}_weight", kernel)
        padding = [window.padding[axis] + extra[axis] for axis in (0, 1)]
        pooled = editor.call(aten.conv2d.default, x, weight, None, list(window.stride), padding, [1, 1], channels)
        if uniform:
            return pooled
        shares = (1.0 / divisors).to(kernel.dtype).reshape(1, 1, *outputs)
        return editor.call(aten.mul.Tensor, pooled, editor.constant(f"{op.name}_shares", shares))

    @staticmethod
    def _divisors(op: fx.Node, window: Window, extents: Sequence[int], outputs: Sequence[int]) -> torch.Tensor:
        """What each output is divided by, (oh, ow) in float64: the count includes padding or not, never overhang."""
        if _argument(op, 6, None) is not None:
            return torch.full(tuple(outputs), float(op.args[6]), dtype=torch.float64)
        include_padding = bool(_argument(op, 5, True))
        counts = []
        for axis in (0, 1):
            starts = torch.arange(outputs[axis]) * window.stride[axis] - window.padding[axis]
            ends = (starts + window.kernel[axis]).clamp(max=extents[axis] + window.padding[axis])
            if not include_padding:
                starts, ends = starts.clamp(min=0), ends.clamp(max=extents[axis])
            counts.append((ends - starts).to(torch.float64))
        return counts[0][:, None] * counts[1][None, :]


@register_pass("fuse_transpose")
@register_transformer(aten.adaptive_avg_pool2d.default)
class AdaptiveAveragePooling(Transformer):
    """Average pooling to a given size; gone after rewrite."""

    op_name = "Pooling"

    def validate(self, op: fx.Node, **context: Any) -> str | None:
        extents, outputs = shape_of(op.args[0])[2:], shape_of(op)[2:]
        if any(extent % size for extent, size in zip(extents, outputs, strict=True)):
            return f"adaptive pooling from {extents} to {outputs}: windows of unequal size have no integer form"
        return _not_four_axes(op)

    def calculate_ops(self, op: fx.Node, **context: Any) -> int:
        """One for each element that is summed, and one division for each mean."""
        return math.prod(shape_of(op.args[0])) + math.prod(shape_of(op))

    def rewrite(self, op: fx.Node, *, editor: GraphEditor, **context: Any) -> fx.Node:
        """A mean over (2, 3) for size (1, 1), else plain average pooling with kernel = stride = extent / size.

        Where every window is one element it is the input.
        """
        extents, outputs = shape_of(op.args[0])[2:], shape_of(op)[2:]
        if extents == outputs:
            return op.args[0]
        if outputs == (1, 1):
            return editor.call(aten.mean.dim, op.args[0], [2, 3], True)
        kernel = [extent // size for extent, size in zip(extents, outputs, strict=True)]
        return editor.call(aten.avg_pool2d.default, op.args[0], kernel, kernel)


def _not_four_axes(op: fx.Node) -> str | None:
    rank = len(shape_of(op.args[0]))
    return None if rank == 4 else f"the input has {rank} axes, expected 4 (N, C, H, W)"
