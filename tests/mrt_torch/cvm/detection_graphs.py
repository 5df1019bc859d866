"""An integer graph that ends in detections."""

from __future__ import annotations

import operator

from torch import fx

from tests.bridges.cvm.graphs import cvm, integer_graph

TO_THE_END = 2 ** 31 - 1


def detection_graph(batch=1, clean_ids=True, top_k=-1, heads=slice(None)) -> fx.GraphModule:
    """(batch, 5, 6) rows, whose ids are made valid, their counts and those that survive: three heads."""
    def build(editor, data):
        def columns(first, last):
            return editor.call(cvm.strided_slice.default, data, begin=[0, 0, first], end=[TO_THE_END, 5, last],
                               stride=[1, 1, 1])
        ids = editor.call(cvm.relu.default if clean_ids else cvm.negative.default, columns(0, 1))
        rows = editor.call(cvm.concatenate.default, [ids, columns(1, 6)], axis=-1)
        valid = editor.call(cvm.get_valid_counts.default, rows, score_threshold=3)
        counts, kept = (editor.call(operator.getitem, valid, index) for index in (0, 1))
        suppressed = editor.call(cvm.non_max_suppression.default, kept, counts, iou_threshold=40,
                                 force_suppress=False, top_k=top_k, max_output_size=-1)
        return [counts, kept, suppressed][heads]
    return integer_graph(build, (batch, 5, 6))
