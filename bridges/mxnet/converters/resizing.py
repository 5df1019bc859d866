"""UpSampling and BilinearResize2D."""

from __future__ import annotations

import numpy as np
import torch
from torch import fx

from bridges.mxnet.converters.spatial import chain
from bridges.mxnet.node_view import NodeView
from bridges.mxnet.registry import register_converter

aten = torch.ops.aten
MODES = ("size", "odd_scale", "like", "to_even_down", "to_even_up", "to_odd_down", "to_odd_up")


@register_converter("UpSampling")
def convert_upsampling(view: NodeView) -> fx.Node:
    """``nearest``: every input repeated up to ``scale`` times the size of the first; several are joined or added up.

    ``bilinear``: a deconvolution, whose kernel is the second input, of 2 * scale - scale % 2 elements and any values.
    """
    scale = view.attributes.integer("scale")
    if scale < 1 or len(view.shape()) != 4:
        raise view.invalid(f"scale is {scale} for the input shape {view.shape()}")
    if view.attributes.choice("sample_type", ("bilinear", "nearest")) == "bilinear":
        return _bilinear(view, scale)
    size = [extent * scale for extent in view.shape()[2:]]
    joined = len(view.inputs) > 1
    images = []
    for position, node in enumerate(view.inputs):
        extents = view.shape(position)[2:]
        if len(extents) != 2 or any(wanted % extent or wanted // extent != size[0] // extents[0]
                                    for wanted, extent in zip(size, extents)):
            raise view.invalid(f"input {position} of shape {view.shape(position)} does not grow to {tuple(size)}")
        emit = view.step if joined else view.call
        images.append(emit(aten.upsample_nearest2d.default, node, size, None, None))
    if not joined:
        return images[0]
    if view.attributes.choice("multi_input_mode", ("concat", "sum"), "concat") == "concat":
        return view.call(aten.cat.default, images, 1)
    return chain(view, images[0], *((aten.add.Tensor, image) for image in images[1:]))


def _bilinear(view: NodeView, scale: int) -> fx.Node:
    view.expect_inputs(2)
    kernel, channels = 2 * scale - scale % 2, view.shape()[1]
    filters = view.attributes.integer("num_filter", 0)
    if filters != channels:
        raise view.invalid(f"num_filter is {filters} for {channels} channels")
    view.expect_shape(1, (channels, 1, kernel, kernel), "the weight")
    padding = scale // 2
    return view.call(aten.conv_transpose2d.input, view.inputs[0], view.inputs[1], None, [scale] * 2, [padding] * 2,
                     [0, 0], channels, [1, 1])


@register_converter("_contrib_BilinearResize2D")
def convert_bilinear_resize(view: NodeView) -> fx.Node:
    """upsample_bilinear2d to the size that ``mode`` gives.

    An axis of which one element remains takes the first, where torch, unless corners are aligned, takes the middle.
    """
    view.expect_inputs(*((2,) if view.attributes.choice("mode", MODES, "size") == "like" else (1,)))
    if len(view.shape()) != 4:
        raise view.invalid(f"the input has shape {view.shape()}; 4 axes are expected")
    extents, size = view.shape()[2:], _size(view)
    if any(extent < 1 for extent in size):
        raise view.invalid(f"the result has the size {tuple(size)}")
    firsts = [(aten.slice.Tensor, axis, 0, 1, 1) for axis in (2, 3) if size[axis - 2] == 1 < extents[axis - 2]]
    corners = view.attributes.boolean("align_corners", True)
    return chain(view, view.inputs[0], *firsts, (aten.upsample_bilinear2d.default, size, corners, None, None))


def _size(view: NodeView) -> list[int]:
    attributes, extents = view.attributes, view.shape()[2:]
    mode = attributes.choice("mode", MODES, "size")
    scales = [attributes.optional_real(name) for name in ("scale_height", "scale_width")]
    if mode == "like":
        if len(view.shape(1)) != 4:
            raise view.invalid(f"the second input has shape {view.shape(1)}; 4 axes are expected")
        return list(view.shape(1)[2:])
    if mode == "odd_scale" or (mode == "size" and scales[0] is not None):
        if None in scales:
            raise view.invalid(f"scale_height and scale_width are {tuple(scales)}; MXNet needs both")
        return [_scaled(extent, scale, mode) for extent, scale in zip(extents, scales)]
    if mode == "size":
        return [attributes.integer("height", 1), attributes.integer("width", 1)]
    wanted = int(mode.startswith("to_odd"))
    change = 1 if mode.endswith("up") else -1
    return [extent if extent % 2 == wanted else extent + change for extent in extents]


def _scaled(extent: int, scale: float, mode: str) -> int:
    """The product in float32, rounded down; odd extents stay odd with ``odd_scale``: (extent - 1) * scale + 1."""
    odd = mode == "odd_scale" and extent % 2 == 1
    return int(np.float32(extent - odd) * np.float32(scale)) + int(odd)
