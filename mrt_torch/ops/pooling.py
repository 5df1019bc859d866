"""Pooling: max pooling as the runtime has it; average pooling rewritten into sums."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx

from mrt_torch.graph.editor import GraphEditor, shape_of
from mrt_torch.graph.facts import facts_of
from mrt_torch.ops.registry import register_pass, register_transformer
from mrt_torch.ops.slicing import slice_integers
from mrt_torch.ops.spatial import argument, not_an_image, numbers
from mrt_torch.ops.transformer import Transformer
from mrt_torch.quantization.context import Held, QuantizationContext

aten = torch.ops.aten


@dataclass(frozen=True)
class Window:
    """Kernel, stride, padding and dilation of a pooling node for each spatial axis, and its rounding mode."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    ceil_mode: bool
    dilation: tuple[int, int] = (1, 1)

    def overhang(self, axis: int, extent: int, outputs: int) -> int:
        """How far the last window reaches beyond the padded input."""
        reach = (outputs - 1) * self.stride[axis] + self.kernel[axis]
        return max(reach - (extent + 2 * self.padding[axis]), 0)


def _window(op: fx.Node, ceil_mode: bool, dilation: Sequence[int] = (1, 1)) -> Window:
    kernel = numbers(op.args[1])
    return Window(kernel, numbers(argument(op, 2, []) or kernel), numbers(argument(op, 3, [0, 0])), ceil_mode,
                  numbers(dilation))


@register_pass("rewrite", "fuse_transpose", "prepare_for_compile", "compile")
@register_transformer(aten.max_pool2d.default)
class Pooling(Transformer):
    """Maximum over windows; padding never wins."""

    op_name = "Pooling"
    cvm_operators = ("max_pool2d", "strided_slice", "concatenate", "repeat", "broadcast_add", "broadcast_max")
    limits = "Every dilated window reads an element of the input."

    @staticmethod
    def window(op: fx.Node) -> Window:
        return _window(op, bool(argument(op, 5, False)), argument(op, 4, [1, 1]))

    def validate(self, op: fx.Node, **context: Any) -> str | None:
        window = self.window(op)
        reason = not_an_image(op)
        for axis in (0, 1) if reason is None else ():
            extent = shape_of(op.args[0])[2 + axis]
            for start in range(-window.padding[axis], window.stride[axis] * shape_of(op)[2 + axis]
                               - window.padding[axis], window.stride[axis]):
                taps = range(start, start + window.kernel[axis] * window.dilation[axis], window.dilation[axis])
                if window.dilation[axis] > 1 and not any(0 <= tap < extent for tap in taps):
                    return f"a window with dilation {window.dilation} reads nothing but padding"
        return reason

    def calculate_ops(self, op: fx.Node, **context: Any) -> int:
        """out * elements of the kernel."""
        return math.prod(shape_of(op)) * math.prod(self.window(op).kernel)

    def quantize(self, op: fx.Node, *, context: QuantizationContext, **keywords: Any) -> Held:
        """One max_pool2d, or one for each axis where only one of them is rounded up; exact.

        Two things that torch does in ceil mode, the runtime refuses. A last window that would start in the padding is
        dropped: such an axis is rounded down. A window may exceed the padded input: it is cut. Dilated windows, which
        the runtime lacks, are pooled one axis after the other as the maximum of strided slices, one a tap.
        """
        held, window = context.held(op.args[0]), self.window(op)
        node = held.node
        if window.dilation != (1, 1):
            for axis in (0, 1):
                node = _dilated_maximum(context, node, 2 + axis, shape_of(op)[2 + axis], window.kernel[axis],
                                        window.stride[axis], window.padding[axis], window.dilation[axis])
            return held._replace(node=node)
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
        return held._replace(node=node)


def _dilated_maximum(context: QuantizationContext, node: fx.Node, axis: int, outputs: int, kernel: int, stride: int,
                     padding: int, dilation: int) -> fx.Node:
    """max over k of x[stride * i + dilation * k - padding] along an axis.

    What lies outside is the smallest integer that the input may hold, which never wins where a window reads any input.
    """
    reach = (outputs - 1) * stride + (kernel - 1) * dilation + 1
    extent = shape_of(node)[axis]
    after = max(reach - padding - extent, 0)
    if padding or after:
        border = context.narrow(slice_integers(context, node, axis, 0, 1), 1)
        border = context.call("broadcast_add", border, context.number(facts_of(node).value_range.minimum))
        borders = [border if count == 1 else context.call("repeat", border, repeats=count, axis=axis)
                   for count in (padding, after) if count]
        parts = [*borders[:1], node, *borders[1:]] if padding else [node, *borders]
        node = context.call("concatenate", parts, axis=axis)
    largest = None
    for tap in range(kernel):
        begin = tap * dilation
        part = slice_integers(context, node, axis, begin, begin + (outputs - 1) * stride + 1, stride)
        largest = part if largest is None else context.call("broadcast_max", largest, part)
    return largest


@register_pass("fuse_transpose")
@register_transformer(aten.avg_pool2d.default)
class AveragePooling(Transformer):
    """Mean over windows, in every variant of padding, rounding and divisor; gone after rewrite."""

    op_name = "Pooling"
    rewritten_into = "mean(X, (2, 3)), or Convolution(X, W) with W = 1 / count, or with W = 1 times a map of 1 / count"

    @staticmethod
    def window(op: fx.Node) -> Window:
        return _window(op, bool(argument(op, 4, False)))

    def validate(self, op: fx.Node, **context: Any) -> str | None:
        return not_an_image(op)

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
        if argument(op, 6, None) is not None:
            return torch.full(tuple(outputs), float(op.args[6]), dtype=torch.float64)
        include_padding = bool(argument(op, 5, True))
        counts = []
        for axis in (0, 1):
            starts = torch.arange(outputs[axis]) * window.stride[axis] - window.padding[axis]
            ends = (starts + window.kernel[axis]).clamp(max=extents[axis] + window.padding[axis])
            if not include_padding:
                starts, ends = starts.clamp(min=0), ends.clamp(max=extents[axis])
            counts.append((ends - starts).to(torch.float64))
        return counts[0][:, None] * counts[1][None, :]
