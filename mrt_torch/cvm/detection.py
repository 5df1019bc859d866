"""CVM operators on detections, rows of (id, score, x1, y1, x2, y2): get_valid_counts and non_max_suppression."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch

from mrt_torch.cvm.attribute_text import boolean, fixed, integer, reader, write
from mrt_torch.cvm.columns import column_range, common_producer, readers
from mrt_torch.cvm.interval import Interval, bits_for
from mrt_torch.cvm.operator import OPERATORS, Call, CvmOperator, Shape
from mrt_torch.cvm.shape_rules import elements, require

if TYPE_CHECKING:  # the editor serves every stage and knows no operators
    from torch import fx

    from mrt_torch.graph.editor import GraphEditor

ID, SCORE, COORDINATES = 0, 1, 2
ROW = 6
PERCENT = 100
INVALID = -1
LARGEST_INT64 = 2 ** 63 - 1
WIDEST_COORDINATE = 31          # differences of 31-bit coordinates fit int32, sums of two areas int64
COST_PER_ROW_ELEMENT = 20


def get_valid_counts(data: torch.Tensor, *, score_threshold: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows of (B, N, K) whose element 1 exceeds the threshold: how many, (B,), and first in their order, -1 after."""
    valid = data[:, :, SCORE] > score_threshold
    order = torch.argsort((~valid).to(torch.int32), dim=1, stable=True)
    rows = data.gather(1, order.unsqueeze(2).expand(data.shape))
    return valid.sum(1, dtype=torch.int32), rows.masked_fill(~valid.gather(1, order).unsqueeze(2), INVALID)


def non_max_suppression(data: torch.Tensor, valid_count: torch.Tensor, *, iou_threshold: int, force_suppress: bool,
                        top_k: int, max_output_size: int) -> torch.Tensor:
    """Of each batch element's first ``valid_count`` rows those that no better row suppresses, best first, -1 after.

    The rows are sorted by descending score, equal ones in their order; the first ``top_k`` are visited (all, if
    negative). A row of negative id is skipped. A row is dropped where a kept row of its id (of any, with
    ``force_suppress``) overlaps it by ``iou_threshold`` percent at least. At most ``max_output_size`` rows are kept
    (any number, if negative). That is the arithmetic of the FORMAL back end (cvm-runtime, ``formal/ops/nms.cc``).
    """
    result = torch.full_like(data, INVALID, memory_format=torch.contiguous_format)
    for rows, count, kept_rows in zip(data, valid_count.tolist(), result):
        rows = rows[:min(max(count, 0), len(rows))]
        rows = rows[torch.argsort(rows[:, SCORE], descending=True, stable=True)]
        rows = rows[:top_k] if top_k >= 0 else rows
        rows = rows[rows[:, ID] >= 0]
        kept = 0
        while len(rows) and (max_output_size < 0 or kept < max_output_size):
            best, rows = rows[0], rows[1:]
            kept_rows[kept] = best
            suppressed = overlap_percent(best, rows) >= iou_threshold
            if not force_suppress:
                suppressed &= rows[:, ID] == best[ID]
            rows, kept = rows[~suppressed], kept + 1
    return result


def overlap_percent(box: torch.Tensor, boxes: torch.Tensor) -> torch.Tensor:
    """``100 * intersection // union`` of one row's box with those of many rows, in int64; 0 without a union.

    Where 100 times the intersection exceeds int64, the union is divided by 100 instead.
    """
    x1, y1, x2, y2 = box[COORDINATES:].to(torch.int64)
    others = boxes[:, COORDINATES:].to(torch.int64).unbind(1)
    total = (x2 - x1) * (y2 - y1) + (others[2] - others[0]) * (others[3] - others[1])
    width = (torch.minimum(x2, others[2]) - torch.maximum(x1, others[0])).clamp(min=0)
    height = (torch.minimum(y2, others[3]) - torch.maximum(y1, others[1])).clamp(min=0)
    intersection = width * height
    union = total - intersection
    large = intersection > LARGEST_INT64 // PERCENT
    empty = (total <= 0) | (union <= 0)
    union = torch.where(large, union // PERCENT, union).masked_fill(empty, 1)
    return (torch.where(large, intersection, intersection * PERCENT) // union).masked_fill(empty, 0)


def _valid_counts_shape(shapes: Sequence[Shape], attributes: Mapping[str, Any]) -> tuple[Shape, Shape]:
    data = tuple(shapes[0])
    require(len(data) == 3 and 2 <= data[2] <= 31, "get_valid_counts takes (B, N, K), K in 2..31", f"shape {data}")
    return data[:1], data


def _valid_counts_precision(call: Call) -> tuple[int, int]:
    # The runtime counts one bit too many where N * K is 2**k - 1, as it does for clip.
    return bits_for(elements(call.operands[0].shape[1:]) + 1), call.operands[0].precision


def _valid_counts_range(call: Call) -> tuple[Interval, Interval]:
    data, rows = call.operands[0].value_range, call.operands[0].shape[1]
    threshold = call.attributes["score_threshold"]
    fewest, most = rows if data.minimum > threshold else 0, rows if data.maximum > threshold else 0
    # A row that is kept holds a score, so nothing is known of the other elements.
    return Interval(fewest, most), _padded(data, nothing=most == 0, padding=fewest < rows)


def _padded(values: Interval, *, nothing: bool, padding: bool) -> Interval:
    """Range of rows that are copied, and of -1 where some are not, or all are not."""
    invalid = Interval(INVALID, INVALID)
    return invalid if nothing else Interval.hull([values, invalid]) if padding else values


def _suppression_shape(shapes: Sequence[Shape], attributes: Mapping[str, Any]) -> Shape:
    data, count = (tuple(shape) for shape in shapes)
    require(len(data) == 3 and data[2] == ROW and count == data[:1],
            "non_max_suppression takes data (B, N, 6) and valid_count (B,)", f"shapes {data} and {count}")
    return data


def _suppression_range(call: Call) -> Interval:
    (data, count), attributes = call.operands, call.attributes
    rows, values = data.shape[1], data.value_range
    visited = rows if attributes["top_k"] < 0 else min(rows, attributes["top_k"])
    visited = visited if attributes["max_output_size"] < 0 else min(visited, attributes["max_output_size"])
    nothing = visited == 0 or count.value_range.maximum <= 0 or values.maximum < 0
    overlapping = rows > 1 and values.minimum < values.maximum and attributes["iou_threshold"] <= PERCENT
    padding = visited < rows or count.value_range.minimum < rows or values.minimum < 0 or overlapping
    return _padded(values, nothing=nothing, padding=padding)


def _suppression_limits(call: Call) -> list[str]:
    reasons = []
    if call.attributes["iou_threshold"] <= 0:
        reasons.append(f"iou_threshold {call.attributes['iou_threshold']} is not positive")
    if call.operands[0].value_range.precision > WIDEST_COORDINATE:
        reasons.append(f"coordinates of {call.operands[0].value_range.precision} bits overflow; the runtime computes "
                       f"with up to {WIDEST_COORDINATE}")
    return reasons


def _suppression_divergences(call: Call) -> list[str]:
    data, attributes = call.operands[0], call.attributes
    reasons = []
    if data.shape[0] > 1:
        reasons.append(f"the CPU back end returns memory as it is after a batch element without rows: give batch 1, "
                       f"not {data.shape[0]}, or let prepare_for_compile split it")
    if attributes["max_output_size"] == 0:
        reasons.append("the CPU back end keeps all rows for max_output_size 0, FORMAL none: give -1 for no limit")
    if 0 < attributes["top_k"] < data.shape[1] and _is_read_again(call):
        reasons.append(f"for top_k {attributes['top_k']} of {data.shape[1]} rows the CPU back end writes over its "
                       "input, which is a constant or read elsewhere: cut the rows before, or copy them")
    if not _ids_are_valid(call):
        reasons.append("ids may be negative, and the CPU back end compares no row beyond such a one: prove column 0 "
                       "to be 0 or more, by relu on the ids")
    return reasons


def _is_read_again(call: Call) -> bool:
    """Whether somebody needs the rows after the suppression overwrote them."""
    return call.node is None or call.operands[0].value is not None or len(readers(call.node.args[0])) > 1


def _ids_are_valid(call: Call) -> bool:
    """Whether no row that counts as valid has a negative id.

    Rows that get_valid_counts pads with -1 do not count, given its own count.
    """
    if call.operands[0].value_range.minimum >= 0:
        return True
    if call.node is None:
        return False
    data, count = call.node.args
    if _are_same_batch(data, count):
        data, count = data.args[0], count.args[0]
    source = common_producer(data, 1, count, 0, torch.ops.cvm.get_valid_counts.default)
    return column_range(data if source is None else source.args[0], ID).minimum >= 0


def _are_same_batch(data: fx.Node, count: fx.Node) -> bool:
    """Whether two nodes are slices of the same batch elements, the first of whole rows, as ``_split_batch`` makes."""
    if any(node.target is not torch.ops.cvm.strided_slice.default for node in (data, count)):
        return False
    first, second = (tuple(node.kwargs[name][0] for name in ("begin", "end", "stride")) for node in (data, count))
    whole = tuple(data.args[0].meta["val"].shape[1:]) == tuple(data.meta["val"].shape[1:])
    return first == second and whole and tuple(data.kwargs["stride"][1:]) == (1, 1)


def _split_batch(editor: GraphEditor, data: fx.Node, valid_count: fx.Node, **attributes: Any) -> fx.Node | None:
    """One suppression for each batch element, joined again; None for batch 1."""
    cvm = torch.ops.cvm
    batch, rows, _ = data.meta["val"].shape
    if batch == 1:
        return None
    parts = []
    for index in range(batch):
        part = editor.call(cvm.strided_slice.default, data, begin=[index, 0, 0], end=[index + 1, rows, ROW],
                           stride=[1, 1, 1])
        count = editor.call(cvm.strided_slice.default, valid_count, begin=[index], end=[index + 1], stride=[1])
        parts.append(editor.call(cvm.non_max_suppression.default, part, count, **attributes))
    return editor.call(cvm.concatenate.default, parts, axis=0)


def _write_given(call: Call) -> dict[str, str]:
    return write(**call.attributes)


OPERATORS.register(CvmOperator(
    name="get_valid_counts", schema="(Tensor data, *, int score_threshold) -> (Tensor, Tensor)",
    kernel=get_valid_counts, outputs=2, output_shape=_valid_counts_shape, precision=_valid_counts_precision,
    value_range=_valid_counts_range, write_attributes=_write_given,
    read_attributes=reader("get_valid_counts", score_threshold=integer(0)), mxnet_name="cvm_get_valid_counts"))

OPERATORS.register(CvmOperator(
    name="non_max_suppression", kernel=non_max_suppression,
    schema="(Tensor data, Tensor valid_count, *, int iou_threshold, bool force_suppress, int top_k, "
           "int max_output_size) -> Tensor",
    output_shape=_suppression_shape, value_range=_suppression_range, limits=_suppression_limits,
    divergences=_suppression_divergences, unit_cost=lambda call: COST_PER_ROW_ELEMENT * call.operands[0].shape[0],
    write_attributes=lambda call: write(
        **call.attributes, coord_start=COORDINATES, score_index=SCORE, id_index=ID, return_indices=False,
        invalid_to_bottom=True),
    read_attributes=reader(
        "non_max_suppression", iou_threshold=integer(50), force_suppress=boolean(False), top_k=integer(-1),
        max_output_size=integer(-1), coord_start=fixed(COORDINATES), score_index=fixed(SCORE), id_index=fixed(ID),
        return_indices=fixed(False), invalid_to_bottom=fixed(True)),
    mxnet_name="cvm_non_max_suppression", expansion=_split_batch))
