"""Pooling over windows."""

from __future__ import annotations

from collections.abc import Sequence

from torch import fx

from mrt_torch.graph.adaptive_windows import adaptive_windows
from mrt_torch.graph.editor import shape_of
from mrt_torch.graph.source_call import Call, aten, canonical_form, pair, rank_of


def _max_pool2d(call: Call) -> fx.Node:
    kernel = pair(call["kernel_size"])
    return call.emit(aten.max_pool2d.default, call["self"], kernel, pair(call["stride"] or kernel),
                     pair(call["padding"]), pair(call["dilation"]), call["ceil_mode"])


@canonical_form("max_pool2d.default")
def max_pool2d(call: Call) -> fx.Node:
    """Every argument given, two numbers each."""
    return _max_pool2d(call)


@canonical_form("max_pool2d_with_indices.default")
def max_pool2d_with_indices(call: Call) -> fx.Node | tuple:
    """Maximum pooling, when nothing reads the indices."""
    return call.keep() if call.reads_part(1) else (_max_pool2d(call), None)


@canonical_form("avg_pool2d.default")
def avg_pool2d(call: Call) -> fx.Node:
    """Every argument given, two numbers each."""
    kernel = pair(call["kernel_size"])
    return call.emit(aten.avg_pool2d.default, call["self"], kernel, pair(call["stride"] or kernel),
                     pair(call["padding"]), call["ceil_mode"], call["count_include_pad"], call["divisor_override"])


@canonical_form("adaptive_avg_pool2d.default", "_adaptive_avg_pool2d.default")
def adaptive_avg_pool2d(call: Call) -> fx.Node:
    """Mean over windows that share the input evenly."""
    return call.emit(aten.adaptive_avg_pool2d.default, call["self"], pair(call["output_size"]))


@canonical_form("adaptive_max_pool2d.default")
def adaptive_max_pool2d(call: Call) -> fx.Node | tuple:
    """The maximum over both axes for size 1, plain pooling where the windows are equal, else maxima of slices."""
    x, outputs = call["self"], pair(call["output_size"])
    extents = shape_of(x)[-2:]
    if call.reads_part(1) or rank_of(x) != 4:
        return call.keep()
    if outputs == [1, 1]:
        return call.emit(aten.amax.default, x, [2, 3], True), None
    if any(extent % size for extent, size in zip(extents, outputs, strict=True)):
        return _maxima_of_slices(call, x, outputs), None
    kernel = [extent // size for extent, size in zip(extents, outputs, strict=True)]
    return call.emit(aten.max_pool2d.default, x, kernel, kernel, [0, 0], [1, 1], False), None


def _maxima_of_slices(call: Call, x: fx.Node, outputs: list[int]) -> fx.Node:
    """Axis after axis, the maximum of each window of adaptive pooling."""
    for axis, size in enumerate(outputs, start=2):
        extent = shape_of(x)[axis]
        if size == 1:
            x = call.emit(aten.amax.default, x, [axis], True)
        elif size != extent:
            parts = [call.emit(aten.slice.Tensor, x, axis, *window, 1) for window in adaptive_windows(extent, size)]
            x = call.emit(aten.cat.default, [call.emit(aten.amax.default, part, [axis], True) for part in parts], axis)
    return x


@canonical_form("max_pool3d.default", "max_pool3d_with_indices.default")
def max_pool3d(call: Call) -> fx.Node | tuple:
    """Every argument given, three numbers each; no indices."""
    indexed = "with_indices" in str(call.target)
    if indexed and call.reads_part(1):
        return call.keep()
    kernel = _three(call["kernel_size"])
    result = call.emit(aten.max_pool3d.default, call["self"], kernel, _three(call["stride"] or kernel),
                       _three(call["padding"]), _three(call["dilation"]), call["ceil_mode"])
    return (result, None) if indexed else result


@canonical_form("avg_pool3d.default")
def avg_pool3d(call: Call) -> fx.Node:
    """Every argument given, three numbers each."""
    kernel = _three(call["kernel_size"])
    return call.emit(aten.avg_pool3d.default, call["self"], kernel, _three(call["stride"] or kernel),
                     _three(call["padding"]), call["ceil_mode"], call["count_include_pad"], call["divisor_override"])


@canonical_form("adaptive_avg_pool3d.default", "_adaptive_avg_pool3d.default")
def adaptive_avg_pool3d(call: Call) -> fx.Node:
    """A mean for size 1, else plain pooling where the windows are equal."""
    x, outputs = call["self"], _three(call["output_size"])
    extents = shape_of(x)[-3:]
    if outputs == [1, 1, 1]:
        return call.emit(aten.mean.dim, x, [axis - 3 + rank_of(x) for axis in range(3)], True)
    if any(extent % size for extent, size in zip(extents, outputs, strict=True)):
        return call.keep()
    kernel = [extent // size for extent, size in zip(extents, outputs, strict=True)]
    return call.emit(aten.avg_pool3d.default, x, kernel, kernel, [0, 0, 0], False, True, None)


def _three(value: Sequence[int] | int) -> list[int]:
    values = [value] if isinstance(value, int) else list(value)
    return values * 3 if len(values) == 1 else values


@canonical_form("max_pool1d.default")
def max_pool1d(call: Call) -> fx.Node:
    """2-D pooling over one row."""
    if rank_of(call["self"]) != 3:
        return call.keep()
    kernel, row = call["kernel_size"], call.emit(aten.unsqueeze.default, call["self"], 2)
    result = call.emit(aten.max_pool2d.default, row, [1, *kernel], [1, *(call["stride"] or kernel)],
                       [0, *call["padding"]], [1, *call["dilation"]], call["ceil_mode"])
    return call.emit(aten.squeeze.dims, result, [2])


@canonical_form("avg_pool1d.default")
def avg_pool1d(call: Call) -> fx.Node:
    """2-D pooling over one row."""
    if rank_of(call["self"]) != 3:
        return call.keep()
    kernel, row = call["kernel_size"], call.emit(aten.unsqueeze.default, call["self"], 2)
    result = call.emit(aten.avg_pool2d.default, row, [1, *kernel], [1, *(call["stride"] or kernel)],
                       [0, *call["padding"]], call["ceil_mode"], call["count_include_pad"], None)
    return call.emit(aten.squeeze.dims, result, [2])


@canonical_form("adaptive_avg_pool1d.default")
def adaptive_avg_pool1d(call: Call) -> fx.Node:
    """A mean over the last axis for size 1, else 2-D pooling over one row."""
    x, size = call["self"], list(call["output_size"])
    if size == [1]:
        return call.emit(aten.mean.dim, x, [rank_of(x) - 1], True)
    if rank_of(x) != 3:
        return call.keep()
    row = call.emit(aten.unsqueeze.default, x, 2)
    return call.emit(aten.squeeze.dims, call.emit(aten.adaptive_avg_pool2d.default, row, [1, *size]), [2])


@canonical_form("adaptive_max_pool1d.default")
def adaptive_max_pool1d(call: Call) -> fx.Node | tuple:
    """The maximum over the last axis for size 1, 2-D pooling over one row where the windows are equal, else slices."""
    x, (size,) = call["self"], call["output_size"]
    if call.reads_part(1) or rank_of(x) != 3:
        return call.keep()
    if size == 1 or shape_of(x)[2] % size:
        return _maxima_of_slices(call, x, [size]), None
    kernel, row = shape_of(x)[2] // size, call.emit(aten.unsqueeze.default, x, 2)
    pooled = call.emit(aten.max_pool2d.default, row, [1, kernel], [1, kernel], [0, 0], [1, 1], False)
    return call.emit(aten.squeeze.dims, pooled, [2]), None
