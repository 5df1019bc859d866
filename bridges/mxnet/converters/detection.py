"""Operators of detection models: anchors, decoding of boxes, non-maximum suppression, matching."""

from __future__ import annotations

import operator

import numpy as np
import torch
from torch import fx

from bridges.mxnet.node_view import NodeView
from bridges.mxnet.registry import register_converter

mrt = torch.ops.mrt

_FORMATS = ("corner", "center")
_MOST_ANCHORS = 2**24  # a short text could ask for more than any memory holds


@register_converter("_contrib_box_nms", "_contrib_box_non_maximum_suppression")
def convert_box_nms(view: NodeView) -> fx.Node:
    """Rows (..., n, width) suppressed by score, class and overlap; see ``mrt::box_nms``."""
    attributes, shape = view.attributes, view.shape()
    view.expect_inputs(1)
    start, score = attributes.integer("coord_start", 2), attributes.integer("score_index", 1)
    label, background = attributes.integer("id_index", -1), attributes.integer("background_id", -1)
    if len(shape) < 2:
        raise view.invalid(f"its input has shape {shape}; rows of boxes are expected")
    columns = [start, start + 1, start + 2, start + 3, score, *([label] if label >= 0 else [])]
    if len(set(columns)) < len(columns) or not all(0 <= column < shape[-1] for column in columns):
        raise view.invalid(f"coordinates from {start}, score at {score} and class at {label} do not fit "
                           f"{shape[-1]} columns")
    return view.call(mrt.box_nms.default, view.inputs[0], _single(attributes.real("overlap_thresh", 0.5)),
                     _single(attributes.real("valid_thresh", 0.0)), max(attributes.integer("topk", -1), -1), start,
                     score, max(label, -1), background, attributes.boolean("force_suppress", False),
                     attributes.choice("in_format", _FORMATS, "corner"),
                     attributes.choice("out_format", _FORMATS, "corner"))


@register_converter("_contrib_box_decode")
def convert_box_decode(view: NodeView) -> fx.Node:
    """Corner boxes from offsets (B, N, 4) and anchors (1, N, 4); see ``mrt::box_decode``."""
    view.expect_inputs(2)
    attributes, shape, anchors = view.attributes, view.shape(), view.shape(1)
    if len(shape) != 3 or shape[2] != 4 or anchors != (1, *shape[1:]):
        raise view.invalid(f"its inputs have shapes {shape} and {anchors}; (B, N, 4) and (1, N, 4) are expected")
    deviations = [_single(attributes.real(f"std{index}", 1.0)) for index in range(4)]
    return view.call(mrt.box_decode.default, *view.inputs, *deviations, _single(attributes.real("clip", -1.0)),
                     attributes.choice("format", _FORMATS, "center"))


@register_converter("_contrib_box_iou")
def convert_box_iou(view: NodeView) -> fx.Node:
    """Intersection over union of every pair of boxes; see ``mrt::box_iou``."""
    view.expect_inputs(2)
    if any(len(view.shape(position)) < 2 or view.shape(position)[-1] != 4 for position in (0, 1)):
        raise view.invalid(f"its inputs have shapes {view.shape()} and {view.shape(1)}; (..., n, 4) is expected")
    return view.call(mrt.box_iou.default, *view.inputs, view.attributes.choice("format", _FORMATS, "corner"))


@register_converter("_contrib_bipartite_matching")
def convert_bipartite_matching(view: NodeView) -> dict[int, fx.Node]:
    """Column of each row and row of each column of a score matrix; see ``mrt::bipartite_matching``."""
    view.expect_inputs(1)
    if len(view.shape()) < 2:
        raise view.invalid(f"its input has shape {view.shape()}; a matrix is expected")
    attributes = view.attributes
    matched = view.step(mrt.bipartite_matching.default, view.inputs[0], _single(attributes.real("threshold")),
                        attributes.boolean("is_ascend", False), attributes.integer("topk", -1))
    return {position: view.call(operator.getitem, matched, position, output=position)
            for position in sorted(view.outputs_read) if position < 2}


@register_converter("_contrib_MultiBoxPrior", "MultiBoxPrior")
def convert_multibox_prior(view: NodeView) -> fx.Node:
    """Anchors (1, H * W * (sizes + ratios - 1), 4), corners, of a feature map (N, C, H, W): a constant.

    At each pixel, centred at ((row, column) + offsets) * steps: every size at the first ratio, then the first size at
    every other ratio; width = size * H / W * sqrt(ratio), height = size / sqrt(ratio), in units of the picture.
    """
    view.expect_inputs(1)
    attributes, shape = view.attributes, view.shape()
    if len(shape) != 4:
        raise view.invalid(f"its input has shape {shape}; (N, C, H, W) is expected")
    height, width = shape[2:]
    sizes, ratios = (np.float32(attributes.reals(name, (1.0,))) for name in ("sizes", "ratios"))
    steps, offsets = attributes.reals("steps", (-1.0, -1.0)), np.float32(attributes.reals("offsets", (0.5, 0.5)))
    if not len(sizes) or not len(ratios) or len(steps) != 2 or len(offsets) != 2 or min(ratios) <= 0:
        raise view.invalid(f"sizes {sizes.tolist()}, ratios {ratios.tolist()}, steps {steps} and offsets "
                           f"{offsets.tolist()} do not describe anchors")
    if height * width * (len(sizes) + len(ratios) - 1) > _MOST_ANCHORS:
        raise view.unsupported(f"it makes {height * width * (len(sizes) + len(ratios) - 1)} anchors; "
                               f"{_MOST_ANCHORS} are supported")
    steps = np.float32(steps if min(steps) > 0 else (1 / height, 1 / width))
    rows, columns = (np.arange(count, dtype=np.float32) for count in (height, width))
    centers = np.stack(np.broadcast_arrays(((columns + offsets[1]) * steps[1])[None, :, None],
                                           ((rows + offsets[0]) * steps[0])[:, None, None]), -1)
    stretch = np.sqrt(np.concatenate([np.repeat(ratios[:1], len(sizes)), ratios[1:]]))
    extents = np.concatenate([sizes, np.full(len(ratios) - 1, sizes[0])])
    halves = np.stack([extents * np.float32(height) / np.float32(width) * stretch / 2, extents / stretch / 2], -1)
    anchors = np.concatenate([centers - halves, centers + halves], -1, dtype=np.float32).reshape(1, -1, 4)
    if attributes.boolean("clip", False):
        anchors = anchors.clip(0, 1)
    return view.constant(torch.from_numpy(anchors).to(view.dtype), "anchors")


@register_converter("_contrib_MultiBoxDetection", "MultiBoxDetection")
def convert_multibox_detection(view: NodeView) -> fx.Node:
    """Detections (B, N, 6) of an SSD; see ``mrt::multibox_detection``."""
    view.expect_inputs(3)
    attributes, shape = view.attributes, view.shape()
    if len(shape) != 3:
        raise view.invalid(f"the probabilities have shape {shape}; (B, classes, N) is expected")
    view.expect_shape(1, (shape[0], 4 * shape[2]), "the prediction of locations")
    view.expect_shape(2, (1, shape[2], 4), "the anchors")
    variances = [_single(value) for value in attributes.reals("variances", (0.1, 0.1, 0.2, 0.2))]
    if len(variances) != 4:
        raise view.invalid(f"variances are {variances}; four are expected")
    return view.call(mrt.multibox_detection.default, *view.inputs, attributes.boolean("clip", True),
                     _single(attributes.real("threshold", 0.01)), variances,
                     _single(attributes.real("nms_threshold", 0.5)), attributes.boolean("force_suppress", False),
                     attributes.integer("nms_topk", -1))


def _single(number: float) -> float:
    """The number as MXNet keeps it, in single precision: thresholds decide on the last bit."""
    return float(np.float32(number))
