"""Float pooling as MXNet nodes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import torch

from bridges.mxnet.exporters.float_call import FloatCall
from bridges.mxnet.symbol import Entry

aten = torch.ops.aten
LOWEST = float(np.finfo(np.float32).min)


def _pool(view: FloatCall, kind: str, **attributes: object) -> Entry:
    """Pooling; MXNet's ceil mode may make one window more than torch's on an axis, which is cut off."""
    rank = len(view.shape)
    kernel = view.numbers("kernel_size", rank - 2)
    stride = view.numbers("stride", rank - 2) if view.arguments["stride"] else kernel
    padding, ceil = view.numbers("padding", rank - 2), view.arguments["ceil_mode"]
    rooms = [extent + 2 * pad - window for extent, pad, window in zip(view.shape[2:], padding, kernel)]
    wanted = view.output_shape[2:]
    full = tuple(-(-room // step) + 1 for room, step in zip(rooms, stride))
    valid = tuple(room // step + 1 for room, step in zip(rooms, stride))
    ceil = ceil and wanted != valid
    attributes = dict(attributes, kernel=kernel, stride=stride, pad=padding, pool_type=kind,
                      pooling_convention="full" if ceil else "valid")
    if not ceil or wanted == full:
        return view.result("Pooling", *view.inputs, **attributes)
    return view.result("slice", view.part("full", "Pooling", *view.inputs, **attributes),
                       begin=(None,) * rank, end=(None, None, *wanted))


def write_max_pool(view: FloatCall) -> Entry:
    """Pooling of the type max; with a dilation, the maximum of slices."""
    view.require_rank(4, 5)
    if set(view.numbers("dilation", 2)) == {1}:
        return _pool(view, "max")
    view.require(len(view.shape) == 4, f"dilation is {view.arguments['dilation']} for three axes")
    kernel, padding, dilation = (view.pair(name) for name in ("kernel_size", "padding", "dilation"))
    stride = view.pair("stride") if view.arguments["stride"] else kernel
    widths, taps = [0, 0, 0, 0], []
    for axis, outputs in enumerate(view.output_shape[2:]):
        reach = (outputs - 1) * stride[axis] + 1
        last = reach + (kernel[axis] - 1) * dilation[axis]
        widths += [padding[axis], max(last - padding[axis] - view.shape[2 + axis], 0)]
        taps.append([(tap * dilation[axis], tap * dilation[axis] + reach) for tap in range(kernel[axis])])
    entry = view.part("border", "Pad", *view.inputs, mode="constant", pad_width=widths, constant_value=LOWEST)
    for axis, bounds in enumerate(taps, start=2):
        parts = [view.part("tap", "slice", entry, begin=(*(None,) * axis, begin), end=(*(None,) * axis, end),
                           step=(*(1,) * axis, stride[axis - 2])) for begin, end in bounds]
        entry = parts[0]
        for part in parts[1:]:
            entry = view.part("largest", "broadcast_maximum", entry, part)
    return view.result("identity", entry)


def write_average_pool(view: FloatCall) -> Entry:
    """Pooling of the type avg; with a divisor of its own, the sum divided by it."""
    view.require_rank(4, 5)
    divisor = view.arguments["divisor_override"]
    if divisor is None:
        return _pool(view, "avg", count_include_pad=view.arguments["count_include_pad"])
    if divisor == 1:
        return _pool(view, "sum")
    total = _pool(replace(view, name=view.builder.unused_name(f"{view.name}_sum")), "sum")
    return view.result("_div_scalar", total, scalar=float(divisor))


def write_adaptive_average(view: FloatCall) -> Entry:
    """Global Pooling for the size 1, adaptive pooling for others."""
    view.require_rank(4)
    if view.output_shape[2:] == (1, 1):
        return view.result("Pooling", *view.inputs, kernel=(1, 1), global_pool=True, pool_type="avg")
    return view.result("_contrib_AdaptiveAvgPooling2D", *view.inputs, output_size=view.output_shape[2:])


POOLING_WRITERS: Mapping[object, Callable[[FloatCall], Entry]] = {
    aten.max_pool2d.default: write_max_pool, aten.max_pool3d.default: write_max_pool,
    aten.avg_pool2d.default: write_average_pool, aten.avg_pool3d.default: write_average_pool,
    aten.adaptive_avg_pool2d.default: write_adaptive_average,
}
