"""BoxNms: non-maximum suppression."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any

import torch
from torch import fx

from mrt_torch.cvm import analyse_node, bits_for
from mrt_torch.graph.editor import GraphEditor, shape_of
from mrt_torch.graph.facts import facts_of
from mrt_torch.ops.detection_kernels import BOX_NMS
from mrt_torch.ops.registry import register_pass, register_transformer
from mrt_torch.ops.slicing import slice_integers
from mrt_torch.ops.transformer import Transformer
from mrt_torch.quantization.columns import WIDEST_COLUMN, columns_of, held_of, one_scale, selected, within
from mrt_torch.quantization.context import QuantizationContext, Quantized
from mrt_torch.quantization.held import ColumnPart, ColumnQuantized
from mrt_torch.quantization.precision import get_bit

WIDTH = 6
LABEL, SCORE, CORNERS = 0, 1, 2
SCORE_BITS = WIDEST_COLUMN     # times a mask of 2 bits
SCORE_BITS_BELOW_ZERO = 26     # raised above 0 first
LARGEST_SCALE = 2.0 ** 30 - 2  # so that -1 at that scale is a sum of two products of 32 bits


@register_pass("fuse_transpose", "prepare_for_compile", "compile")
@register_transformer(BOX_NMS)
class BoxNms(Transformer):
    """Rows (N, n, 6) of class, score and corners: suppressed by score and overlap; see ``mrt::box_nms``."""

    op_name = "_contrib_box_nms"
    cvm_operators = ("get_valid_counts", "non_max_suppression", "strided_slice", "concatenate", "relu", "negative",
                     "broadcast_add", "broadcast_greater")
    limits = ("refused but for rows (class, score, left, top, right, bottom) with corners in and out, no background "
              "class other than -1, and overlap_thresh from 0.01 on, which is rounded to whole percents")

    def validate(self, op: fx.Node, **context: Any) -> str | None:
        reason = self._refusal(op)
        return reason and f"{reason}; split the model before it, and keep the suppression in floats"

    @staticmethod
    def _refusal(op: fx.Node) -> str | None:
        data, overlap, valid, topk, start, score, label, background, _, in_format, out_format = op.args
        if topk == 0:
            return None  # it does nothing
        shape = shape_of(data)
        if len(shape) != 3 or shape[2] != WIDTH:
            return f"its input has shape {shape}; the runtime takes (N, n, {WIDTH})"
        if (label, score, start) != (LABEL, SCORE, CORNERS):
            return (f"class, score and box begin at columns {label}, {score} and {start}; the runtime's at {LABEL}, "
                    f"{SCORE} and {CORNERS}")
        if background != -1:
            return f"its background class is {background}; the runtime drops the classes below 0"
        if (in_format, out_format) != ("corner", "corner"):
            return f"it takes {in_format} boxes and returns {out_format} ones; the runtime knows corners"
        if not (math.isfinite(valid) and math.isfinite(overlap) and _percent(overlap) >= 1):
            return f"its thresholds are {overlap} and {valid}; the runtime's overlap is from 1 percent on"
        return None

    def calculate_ops(self, op: fx.Node, **context: Any) -> int:
        """20 for each element, as the runtime counts it."""
        return 20 * super().calculate_ops(op)

    def rewrite(self, op: fx.Node, *, editor: GraphEditor, **context: Any) -> fx.Node:
        """The input, where ``topk`` is 0."""
        return op.args[0] if op.args[3] == 0 else op

    def quantize(self, op: fx.Node, *, context: QuantizationContext, **keywords: Any) -> Quantized | ColumnQuantized:
        """The same suppression of the rows, whose class, score and box have scales of their own.

            known = [class > -1];  rows = (relu(class), score * known, corners)
            count, rows = get_valid_counts(rows, score > floor(valid_thresh * s)),  s the scale of the scores
            Z = non_max_suppression(rows, count, overlap >= round(100 * overlap_thresh) percent, topk)
            Y = Z + empty * (1 - round(scale of the column)),  empty = [class of Z is -1]

        Classes have scale 1: they are whole, and stay so. Of the quantized rows this is what the float operator makes
        of them, but for two things: overlaps are compared in whole percents, so a pair within 1 percent of the
        threshold may be decided otherwise, and every class below 0 counts as background, not -1 alone. Such rows get
        a score that is not valid here (0, or the lowest beside a negative threshold), because the runtime's CPU back
        end compares no row after the first of a negative class. Empty rows are -1 in the units of the float model:
        hence Y.
        """
        _, overlap, valid, topk, _, _, _, _, force, _, _ = op.args
        label, score, corners = _columns(op, context, SCORE_BITS if valid >= 0 else SCORE_BITS_BELOW_ZERO)
        context.number_scales[op] = score.quantized.scale
        largest = max(score.quantized.value_range.magnitude, 1)
        threshold = min(max(math.floor(valid * score.quantized.scale), -largest - 1), largest)
        nodes = [*_without_background(context, label.quantized.node, score.quantized.node, threshold),
                 corners.quantized.node]
        count, rows = self._valid_rows(context, context.call("concatenate", nodes, axis=2), threshold)
        kept = context.call("non_max_suppression", rows, count, iou_threshold=_percent(overlap), force_suppress=force,
                            top_k=topk, max_output_size=-1)
        return held_of(context, _with_empty_rows(context, kept, [label, score, corners]))

    @staticmethod
    def _valid_rows(context: QuantizationContext, rows: fx.Node, threshold: int) -> tuple[fx.Node, fx.Node]:
        """How many rows score above the threshold, and those."""
        both = context.editor.call(torch.ops.cvm.get_valid_counts.default, rows, score_threshold=threshold)
        outputs = tuple(context.editor.call(operator.getitem, both, index) for index in (0, 1))
        for output in outputs:
            analyse_node(output)
        return outputs


def _columns(op: fx.Node, context: QuantizationContext, score_bits: int) -> list[ColumnPart]:
    """Class, score and corners of the rows: each of one scale, classes at 1, within what the masks can hold."""
    parts = columns_of(context, op.args[0])
    label, = selected(context, parts, LABEL, SCORE)
    score, = selected(context, parts, SCORE, CORNERS)
    bits = context.settings.operator_precision("Concat")
    corners = one_scale(context, selected(context, parts, CORNERS, WIDTH), bits, op)
    if label.quantized.scale != 1.0:  # whole numbers at another scale: the nearest of them
        rounded = context.rescale(label.quantized, label.threshold, get_bit(label.threshold) + 1, 1.0)
        label = ColumnPart(Quantized(rounded.node, 1.0), label.threshold)
    return [label, within(context, score, score_bits, LARGEST_SCALE),
            within(context, corners, WIDEST_COLUMN, LARGEST_SCALE)]


def _without_background(context: QuantizationContext, label: fx.Node, score: fx.Node, threshold: int
                        ) -> tuple[fx.Node, fx.Node]:
    """Class and score; rows of a class below 0 get the class 0 and a score that is not above the threshold."""
    if facts_of(label).value_range.minimum >= 0:
        return label, score
    known = context.narrow(context.call("broadcast_greater", label, context.number(-1)), 2)
    if threshold >= 0:
        return context.call("relu", label), context.call("broadcast_mul", score, known)
    lowest = -max(facts_of(score).value_range.magnitude, 1) - 1
    raised = context.call("broadcast_add", score, context.number(-lowest))
    return context.call("relu", label), context.call(
        "broadcast_add", context.call("broadcast_mul", raised, known), context.number(lowest))


def _with_empty_rows(context: QuantizationContext, kept: fx.Node, columns: Sequence[ColumnPart]) -> list[ColumnPart]:
    """The columns of what was kept; rows of class -1 are -1 throughout, which becomes -1 at each column's scale."""
    nodes = [slice_integers(context, kept, 2, begin, end)
             for begin, end in ((LABEL, SCORE), (SCORE, CORNERS), (CORNERS, WIDTH))]
    empty = context.narrow(context.call("relu", context.call("negative", nodes[0])), 2)
    found = []
    for node, (quantized, threshold) in zip(nodes, columns, strict=True):
        missing = round(quantized.scale) - 1
        halves = (missing,) if bits_for(missing) <= WIDEST_COLUMN else (missing // 2, missing - missing // 2)
        for amount in halves if missing > 0 else ():
            node = context.call("broadcast_add", node, context.call("broadcast_mul", empty, context.number(-amount)))
        found.append(ColumnPart(Quantized(node, quantized.scale), max(threshold, 1.0)))
    return found


def _percent(overlap: float) -> int:
    return round(100 * overlap)
