"""Operators of detection models: BoxNms, BoxDecode, and those that exist in floats only."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import fx

from mrt_torch.graph.editor import GraphEditor, shape_of
from mrt_torch.ops.detection_kernels import BIPARTITE_MATCHING, BOX_DECODE, BOX_IOU, MULTIBOX_DETECTION
from mrt_torch.ops.registry import register_pass, register_transformer
from mrt_torch.ops.transformer import Transformer

aten = torch.ops.aten


@register_pass("fuse_transpose", "calculate_ops", "quantize", "prepare_for_compile", "compile")
@register_transformer(BOX_DECODE)
class BoxDecode(Transformer):
    """Corner boxes from predicted offsets and anchors; gone after rewrite."""

    op_name = "_contrib_box_decode"
    rewritten_into = "middle = D[:2] * std * size + center; half = exp(D[2:] * std) * size / 2; middle ± half"

    def validate(self, op: fx.Node, **context: Any) -> str | None:
        numbers = op.args[2:7]
        return None if all(math.isfinite(number) for number in numbers) else f"its numbers are {numbers}"

    def rewrite(self, op: fx.Node, *, editor: GraphEditor, **context: Any) -> fx.Node:
        """Two slices of the offsets, arithmetic with the anchors, and a Concat; see ``mrt::box_decode``."""
        data, anchors, std0, std1, std2, std3, clip, box_format = op.args

        def half_of(node: fx.Node, first: bool) -> fx.Node:
            return editor.call(aten.slice.Tensor, node, 2, 0 if first else 2, 2 if first else 4, 1)
        center, size = half_of(anchors, True), half_of(anchors, False)
        if box_format == "corner":
            low, high = center, size
            center = editor.call(aten.mul.Scalar, editor.call(aten.add.Tensor, low, high), 0.5)
            size = editor.call(aten.sub.Tensor, high, low)
        middle = editor.call(aten.mul.Tensor, half_of(data, True), _times(editor, size, (std0, std1)))
        middle = editor.call(aten.add.Tensor, middle, center)
        growth = _times(editor, half_of(data, False), (std2, std3))
        if clip > 0:
            growth = editor.call(aten.clamp.default, growth, None, clip)
        half = editor.call(aten.mul.Tensor, editor.call(aten.exp.default, growth), _times(editor, size, (0.5, 0.5)))
        return editor.call(aten.cat.default, [editor.call(aten.sub.Tensor, middle, half),
                                              editor.call(aten.add.Tensor, middle, half)], 2)


def _times(editor: GraphEditor, node: fx.Node, factors: tuple[float, float]) -> fx.Node:
    """The last axis of (.., .., 2) times two numbers."""
    if factors[0] == factors[1]:
        return editor.call(aten.mul.Scalar, node, factors[0])
    constant = editor.constant("deviations", torch.tensor([[factors]], dtype=node.meta["val"].dtype))
    return editor.call(aten.mul.Tensor, node, constant)


class FloatOnlyTransformer(Transformer):
    """An operator that the CVM cannot express: it runs in floats, above the keys of a split."""

    limits = "no integer form; split the model before it"
    reason = ""

    def validate(self, op: fx.Node, **context: Any) -> str | None:
        return f"{self.reason}; split the model before it"

    def calculate_ops(self, op: fx.Node, **context: Any) -> int:
        """One for each input element."""
        return sum(math.prod(shape_of(node)) for node in op.all_input_nodes)


@register_pass("rewrite", "fuse_transpose", "quantize", "prepare_for_compile", "compile")
@register_transformer(BOX_IOU)
class BoxIou(FloatOnlyTransformer):
    """Intersection over union of every pair of boxes."""

    op_name = "_contrib_box_iou"
    reason = "the runtime compares boxes within non_max_suppression only"


@register_pass("rewrite", "fuse_transpose", "quantize", "prepare_for_compile", "compile")
@register_transformer(BIPARTITE_MATCHING)
class BipartiteMatching(FloatOnlyTransformer):
    """Rows and columns of a score matrix, matched greedily."""

    op_name = "_contrib_bipartite_matching"
    reason = "the runtime neither sorts nor loops over data"


@register_pass("rewrite", "fuse_transpose", "quantize", "prepare_for_compile", "compile")
@register_transformer(MULTIBOX_DETECTION)
class MultiBoxDetection(FloatOnlyTransformer):
    """Detections of an SSD from probabilities, predicted locations and anchors."""

    op_name = "_contrib_MultiBoxDetection"
    reason = "the runtime cannot keep suppressed rows, as this operator does; _contrib_box_nms it can do"
