"""Float upsampling and resizing as MXNet nodes."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch

from bridges.mxnet.exporters.float_call import FloatCall
from bridges.mxnet.symbol import Entry
from mrt_torch.ops.resampling import Resampling
from mrt_torch.ops.resizing import resamplings

aten = torch.ops.aten


def write_nearest(view: FloatCall) -> Entry:
    """UpSampling for one whole factor; else repeat, or a product with the matrix that selects, axis by axis."""
    view.require_rank(4)
    axes = resamplings(view.node)
    factors = {axis.factor for axis in axes}
    if len(factors) == 1 and None not in factors:
        return view.result("UpSampling", *view.inputs, scale=factors.pop(), sample_type="nearest", num_args=1)
    entry = view.inputs[0]
    for axis, resampling in enumerate(axes, start=2):
        if resampling.factor is None:
            entry = _resampled(view, entry, axis, resampling)
        elif resampling.factor > 1:
            entry = view.part("repeated", "repeat", entry, repeats=resampling.factor, axis=axis)
    return view.result("identity", entry)


def write_bilinear(view: FloatCall) -> Entry:
    """BilinearResize2D where it places the samples as torch does, else products with matrices."""
    view.require_rank(4)
    corners, size = view.arguments["align_corners"], view.output_shape[2:]
    # MXNet takes the first row for a single one, and knows no factors beside the sizes.
    alike = corners or all(extent > 1 or before == 1 for extent, before in zip(size, view.shape[2:]))
    if alike and view.arguments["scales_h"] is None and view.arguments["scales_w"] is None:
        return view.result("_contrib_BilinearResize2D", *view.inputs, height=size[0], width=size[1], mode="size",
                           align_corners=corners)
    return write_linear_map(view)


def write_linear_map(view: FloatCall) -> Entry:
    """A product with a constant matrix along H, and one along W."""
    view.require_rank(4)
    entry = view.inputs[0]
    for axis, resampling in enumerate(resamplings(view.node), start=2):
        if not resampling.is_identity:
            entry = _resampled(view, entry, axis, resampling)
    return view.result("identity", entry)


def _resampled(view: FloatCall, entry: Entry, axis: int, resampling: Resampling) -> Entry:
    dtype = np.dtype(str(view.node.meta["val"].dtype).removeprefix("torch."))
    matrix = view.constant(f"axis{axis}", resampling.matrix().numpy().astype(dtype))
    if axis == 2:
        entry = view.part("turned", "SwapAxis", entry, dim1=2, dim2=3)
    entry = view.part("resized", "FullyConnected", entry, matrix, num_hidden=len(resampling.first), no_bias=True,
                      flatten=False)
    return view.part("turned_back", "SwapAxis", entry, dim1=2, dim2=3) if axis == 2 else entry


RESIZING_WRITERS: Mapping[object, Callable[[FloatCall], Entry]] = {
    aten.upsample_nearest2d.default: write_nearest, aten._upsample_nearest_exact2d.default: write_nearest,
    aten.upsample_bilinear2d.default: write_bilinear, aten.upsample_bicubic2d.default: write_linear_map,
    aten._upsample_bilinear2d_aa.default: write_linear_map, aten._upsample_bicubic2d_aa.default: write_linear_map,
}
