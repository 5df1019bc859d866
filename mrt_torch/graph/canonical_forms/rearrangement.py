"""Elements in another order: pixel and channel shuffles, flips and rolls."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product

from torch import fx

from mrt_torch.graph.batch_axis import is_free
from mrt_torch.graph.canonical_forms.slicing import part
from mrt_torch.graph.editor import shape_of
from mrt_torch.graph.source_call import Call, aten, canonical_form, pair, rank_of

WINDOW = ("kernel_size", "dilation", "padding", "stride")


def _rearranged(call: Call, middle: Sequence[int], order: Sequence[int], after: Sequence[int]) -> fx.Node:
    """The last three axes split into ``middle``, permuted by ``order``, and given the extents ``after``."""
    x, sizes = call["self"], call.source("self").meta["val"].shape[:-3]
    leading = [-1 if is_free(size) else extent for size, extent in zip(sizes, shape_of(call["self"]))]
    axes = [*range(len(leading)), *(len(leading) + axis for axis in order)]
    x = call.emit(aten.permute.default, call.emit(aten.reshape.default, x, [*leading, *middle]), axes)
    return call.emit(aten.reshape.default, x, [*leading, *after])


@canonical_form("pixel_shuffle.default")
def pixel_shuffle(call: Call) -> fx.Node:
    """(C * r * r, H, W) to (C, H * r, W * r), in torch's order of channels: C, rows, columns."""
    (channels, height, width), r = shape_of(call["self"])[-3:], call["upscale_factor"]
    channels //= r * r
    return _rearranged(call, [channels, r, r, height, width], [0, 3, 1, 4, 2], [channels, height * r, width * r])


@canonical_form("pixel_unshuffle.default")
def pixel_unshuffle(call: Call) -> fx.Node:
    """(C, H * r, W * r) to (C * r * r, H, W)."""
    (channels, height, width), r = shape_of(call["self"])[-3:], call["downscale_factor"]
    height, width = height // r, width // r
    return _rearranged(call, [channels, height, r, width, r], [0, 2, 4, 1, 3], [channels * r * r, height, width])


@canonical_form("channel_shuffle.default", "native_channel_shuffle.default")
def channel_shuffle(call: Call) -> fx.Node:
    """Channels c * groups + g from the channels g * (C / groups) + c, as in ShuffleNet."""
    x, groups = call["self"], call["groups"]
    sizes = call.source("self").meta["val"].shape
    shape = [-1 if is_free(size) else extent for size, extent in zip(sizes, shape_of(x), strict=True)]
    x = call.emit(aten.reshape.default, x, [shape[0], groups, shape[1] // groups, *shape[2:]])
    x = call.emit(aten.permute.default, x, [0, 2, 1, *range(3, rank_of(x))])
    return call.emit(aten.reshape.default, x, shape)


@canonical_form("im2col.default")
def unfold(call: Call) -> fx.Node:
    """Windows as columns, (N, C, H, W) to (N, C * kernel, windows): a slice with steps for each place in the kernel."""
    x, kernel, dilation, padding, stride = call.args[0], *(pair(call[name]) for name in WINDOW)
    if rank_of(x) != 4 or call.is_free_axis("self", 1):
        return call.keep()
    if any(padding):
        x = call.emit(aten.constant_pad_nd.default, x, [padding[1], padding[1], padding[0], padding[0]], 0.0)
    counts = [(extent - d * (k - 1) - 1) // s + 1
              for extent, k, d, s in zip(shape_of(x)[2:], kernel, dilation, stride, strict=True)]
    channels, parts = shape_of(x)[1], []
    for place in product(*(range(0, k * d, d) for k, d in zip(kernel, dilation, strict=True))):
        window = x
        for axis, (start, count, step) in enumerate(zip(place, counts, stride, strict=True), 2):
            window = part(call, window, axis, start, start + (count - 1) * step + 1, step)
        parts.append(call.emit(aten.reshape.default, window, [-1, channels, 1, math.prod(counts)]))
    columns = call.emit(aten.cat.default, parts, 2) if len(parts) > 1 else parts[0]
    return call.emit(aten.reshape.default, columns, [-1, channels * len(parts), math.prod(counts)])


def _flipped(call: Call, axes: Sequence[int]) -> fx.Node:
    axes = sorted({axis % max(rank_of(call["self"]), 1) for axis in axes})
    return call.emit(aten.flip.default, call["self"], axes) if axes else call["self"]


@canonical_form("flip.default")
def flip(call: Call) -> fx.Node:
    """Axes from behind, counted from the front."""
    return _flipped(call, call["dims"])


@canonical_form("fliplr.default", "flipud.default")
def flip_one(call: Call) -> fx.Node:
    """The second or the first axis from behind."""
    return _flipped(call, [1 if "fliplr" in str(call.target) else 0])


@canonical_form("roll.default")
def roll(call: Call) -> fx.Node:
    """The end of each axis before its beginning; the batch, or all elements as one axis, stay as they are."""
    x, shifts, axes = call["self"], call["shifts"], call["dims"]
    axes = [axis % rank_of(x) for axis in axes]
    if not axes or any(call.is_free_axis("self", axis) for axis in axes):
        return call.keep()
    for shift, axis in zip(shifts, axes, strict=True):
        extent = shape_of(x)[axis]
        cut = -shift % extent if extent else 0
        if cut:
            parts = [call.emit(aten.slice.Tensor, x, axis, *bounds, 1) for bounds in ((cut, extent), (0, cut))]
            x = call.emit(aten.cat.default, parts, axis)
    return x
