"""Operators of detection models as MXNet nodes: suppression, decoding, overlap, matching."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from bridges.mxnet.exporters.float_call import FloatCall
from bridges.mxnet.symbol import Entry
from mrt_torch.ops.detection_kernels import BIPARTITE_MATCHING, BOX_DECODE, BOX_IOU, BOX_NMS, MULTIBOX_DETECTION


def _same_attributes(operator: str, tensors: int, **renamed: str) -> Callable[[FloatCall], Entry]:
    """The operator of MXNet whose attributes are the arguments after the first tensors, but for some names."""
    def write(view: FloatCall) -> Entry:
        attributes = {renamed.get(name, name): tuple(value) if isinstance(value, (list, tuple)) else value
                      for name, value in list(view.arguments.items())[tensors:]}
        return view.result(operator, *view.inputs, **attributes)
    return write


DETECTION_WRITERS: Mapping[object, Callable[[FloatCall], Entry]] = {
    BOX_NMS: _same_attributes("_contrib_box_nms", 1),
    BOX_DECODE: _same_attributes("_contrib_box_decode", 2, box_format="format"),
    BOX_IOU: _same_attributes("_contrib_box_iou", 2, box_format="format"),
    BIPARTITE_MATCHING: _same_attributes("_contrib_bipartite_matching", 1),
    MULTIBOX_DETECTION: _same_attributes("_contrib_MultiBoxDetection", 3),
}
