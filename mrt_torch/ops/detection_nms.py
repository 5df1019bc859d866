"""BoxNms: non-maximum suppression."""

from __future__ import annotations

import math
import operator
from typing import Any

import torch
from torch import fx

from mrt_torch.cvm import analyse_node
from mrt_torch.graph.editor import GraphEditor, shape_of
from mrt_torch.graph.facts import facts_of
from mrt_torch.ops.detection_kernels import BOX_NMS
from mrt_torch.ops.registry import register_pass, register_transformer
from mrt_torch.ops.slicing import slice_integers
from mrt_torch.ops.transformer import Transformer
from mrt_torch.quantization.context import QuantizationContext, Quantized

WIDTH = 6
LABEL, SCORE, CORNERS = 0, 1, 2
WIDEST_ROW = 26  # bits: scores with their mask, and the rows after it, stay well within 32


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

    def quantize(self, op: fx.Node, *, context: QuantizationContext, **keywords: Any) -> Quantized:
        """The same suppression of the rows at their common scale s, which does not change it.

            known = [class > -1];  rows = (relu(class), lowest + (score - lowest) * known, corners)
            count, rows = get_valid_counts(rows, score > floor(valid_thresh * s))
            Z = non_max_suppression(rows, count, overlap >= round(100 * overlap_thresh) percent, topk)
            Y = Z + empty * (1 - round(s)),  empty = [class of Z is -1]

        Of the quantized rows this is what the float operator makes of them, but for two things: overlaps are compared
        in whole percents, so a pair within 1 percent of the threshold may be decided otherwise, and every class below 0
        counts as background, not -1 alone. Such rows get the lowest score here, because the runtime's CPU back end
        compares no row after the first of a negative class. Empty rows are -1 in the units of the float model: hence Y.
        Classes are whole numbers to within a unit of s: round them.
        """
        _, overlap, valid, topk, _, _, _, _, force, _, _ = op.args
        rows, scale = context.requantize(op.args[0], WIDEST_ROW)
        largest = max(facts_of(rows).value_range.magnitude, 1)
        rows = self._without_background(context, rows, -largest - 1)
        threshold = min(max(math.floor(valid * scale), -largest - 1), largest)
        count, rows = self._valid_rows(context, rows, threshold)
        kept = context.call("non_max_suppression", rows, count, iou_threshold=_percent(overlap), force_suppress=force,
                            top_k=topk, max_output_size=-1)
        return Quantized(self._with_empty_rows(context, kept, round(scale)), scale)

    @staticmethod
    def _without_background(context: QuantizationContext, rows: fx.Node, lowest: int) -> fx.Node:
        """Rows of a class below 0 get the score ``lowest``, and the class 0."""
        label, score = (slice_integers(context, rows, 2, column, column + 1) for column in (LABEL, SCORE))
        known = context.narrow(context.call("broadcast_greater", label, context.number(-1)), 2)
        raised = context.call("broadcast_add", score, context.number(-lowest))
        score = context.call("broadcast_add", context.call("broadcast_mul", raised, known), context.number(lowest))
        corners = slice_integers(context, rows, 2, CORNERS, WIDTH)
        return context.call("concatenate", [context.call("relu", label), score, corners], axis=2)

    @staticmethod
    def _valid_rows(context: QuantizationContext, rows: fx.Node, threshold: int) -> tuple[fx.Node, fx.Node]:
        """How many rows score above the threshold, and those."""
        both = context.editor.call(torch.ops.cvm.get_valid_counts.default, rows, score_threshold=threshold)
        outputs = tuple(context.editor.call(operator.getitem, both, index) for index in (0, 1))
        for output in outputs:
            analyse_node(output)
        return outputs

    @staticmethod
    def _with_empty_rows(context: QuantizationContext, kept: fx.Node, one: int) -> fx.Node:
        """Rows of class -1 are -1 throughout: they become -``one``."""
        if one <= 1:
            return kept
        label = context.call("negative", slice_integers(context, kept, 2, LABEL, LABEL + 1))
        empty = context.narrow(context.call("relu", label), 2)
        return context.call("broadcast_add", kept, context.call("broadcast_mul", empty, context.number(1 - one)))


def _percent(overlap: float) -> int:
    return round(100 * overlap)
