"""What detection models compute after their last layer, in floats, as MXNet 1.9 does: ``torch.ops.mrt.*``.

Boxes are "corner" (left, top, right, bottom) or "center" (x, y, width, height), in any unit.
"""

from __future__ import annotations

import torch

from mrt_torch.graph.float_operators import define_float_operator

BLOCK = 128  # references compared with all other boxes at once: the memory of the comparison is BLOCK * boxes


def corners_of(boxes: torch.Tensor, box_format: str) -> torch.Tensor:
    """Boxes (..., 4) of a format as corners."""
    if box_format == "corner":
        return boxes
    center, half = boxes[..., :2], boxes[..., 2:] / 2
    return torch.cat([center - half, center + half], -1)


def areas_of(boxes: torch.Tensor, box_format: str) -> torch.Tensor:
    """Areas (...) of boxes (..., 4); 0 where a side is negative."""
    sides = boxes[..., 2:] - boxes[..., :2] if box_format == "corner" else boxes[..., 2:]
    return torch.where((sides < 0).any(-1), torch.zeros_like(sides[..., 0]), sides[..., 0] * sides[..., 1])


def overlaps(a: torch.Tensor, b: torch.Tensor, area_a: torch.Tensor, area_b: torch.Tensor) -> torch.Tensor:
    """Intersection over union of every pair of corner boxes (n, 4) and (m, 4): (n, m). NaN where the union is 0."""
    low = torch.maximum(a[:, None, :2], b[None, :, :2])
    high = torch.minimum(a[:, None, 2:], b[None, :, 2:])
    sides = (high - low).clamp(min=0)
    shared = sides[..., 0] * sides[..., 1]
    return shared / (area_a[:, None] + area_b[None, :] - shared)


def greedily_kept(boxes: torch.Tensor, areas: torch.Tensor, groups: torch.Tensor | None,
                  threshold: float) -> torch.Tensor:
    """Which of n corner boxes, best first, overlap no kept box of their group before them by more than a threshold.

    Returns:
        (n,) bool.
    """
    count = len(boxes)
    alive = torch.ones(count, dtype=torch.bool, device=boxes.device)

    def suppresses(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        found = overlaps(boxes[first], boxes[second], areas[first], areas[second]) > threshold
        return found if groups is None else found & (groups[first, None] == groups[None, second])
    positions = torch.arange(count, device=boxes.device)
    for begin in range(0, count, BLOCK):
        block, rest = positions[begin:begin + BLOCK], positions[begin + BLOCK:]
        within = suppresses(block, block)
        for offset in range(len(block) - 1):
            if alive[begin + offset]:
                alive[begin + offset + 1:begin + len(block)] &= ~within[offset, offset + 1:]
        kept = block[alive[block]]
        if len(rest) and len(kept):
            alive[rest] &= ~suppresses(kept, rest).any(0)
    return alive


def box_nms(data: torch.Tensor, overlap_thresh: float, valid_thresh: float, topk: int, coord_start: int,
            score_index: int, id_index: int, background_id: int, force_suppress: bool, in_format: str,
            out_format: str) -> torch.Tensor:
    """Non-maximum suppression of rows (..., n, width): what is kept stands first, by score, and the rest is -1.

    A row counts when its score is above ``valid_thresh`` and its class is not ``background_id`` (``id_index`` -1: there
    are no classes). The best ``topk`` of them (-1: all; 0: the data is returned as it is) are taken in order, and a row
    is dropped when its intersection over union with a kept row of the same class, or of any with ``force_suppress``,
    is above ``overlap_thresh``. Classes are compared as integers. Where the formats differ, kept boxes are converted,
    save those whose first coordinate is negative. (MXNet's ``_contrib_box_nms``.)
    """
    if topk == 0:
        return data.clone()
    result = torch.full_like(data, -1)
    batches, results = (tensor.reshape(-1, *data.shape[-2:]) for tensor in (data, result))
    for rows, kept in zip(batches, results):
        valid = rows[:, score_index] > valid_thresh
        if id_index >= 0:
            valid = valid & (rows[:, id_index] != background_id)
        rows = rows[valid]
        order = rows[:, score_index].argsort(descending=True, stable=True)
        rows = rows[order[:topk] if topk > 0 else order]
        boxes = rows[:, coord_start:coord_start + 4]
        groups = None if force_suppress or id_index < 0 else rows[:, id_index].to(torch.int64)
        alive = greedily_kept(corners_of(boxes, in_format), areas_of(boxes, in_format), groups, overlap_thresh)
        kept[:int(alive.sum())] = rows[alive]
    if in_format != out_format:
        boxes = result[..., coord_start:coord_start + 4]
        result[..., coord_start:coord_start + 4] = torch.where(boxes[..., :1] < 0, boxes, _converted(boxes, out_format))
    return result


def _converted(boxes: torch.Tensor, box_format: str) -> torch.Tensor:
    """Boxes of the other format as boxes of this one."""
    if box_format == "corner":
        return corners_of(boxes, "center")
    low, high = boxes[..., :2], boxes[..., 2:]
    return torch.cat([(low + high) / 2, high - low], -1)


def box_decode(data: torch.Tensor, anchors: torch.Tensor, std0: float, std1: float, std2: float, std3: float,
               clip: float, box_format: str) -> torch.Tensor:
    """Corner boxes from predicted offsets (B, N, 4) and anchors (1, N, 4) of a format.

        center = offset[:2] * std[:2] * size + anchor's center
        half   = exp(min(offset[2:] * std[2:], clip)) * size / 2      (no min where clip <= 0)
        box    = (center - half, center + half)
    """
    deviations = torch.tensor([std0, std1, std2, std3], dtype=data.dtype, device=data.device)
    centers = anchors if box_format == "center" else _converted(anchors, "center")
    middle, size = centers[..., :2], centers[..., 2:]
    growth = data[..., 2:] * deviations[2:]
    half = (growth.clamp(max=clip) if clip > 0 else growth).exp() * size / 2
    middle = data[..., :2] * deviations[:2] * size + middle
    return torch.cat([middle - half, middle + half], -1)


def box_iou(lhs: torch.Tensor, rhs: torch.Tensor, box_format: str) -> torch.Tensor:
    """Intersection over union of every pair: (a..., 4) and (b..., 4) give (a..., b...); 0 where nothing is shared."""
    pairs = [boxes.reshape(-1, 4) for boxes in (lhs, rhs)]
    corners = [corners_of(boxes, box_format) for boxes in pairs]
    found = overlaps(*corners, *(areas_of(boxes, box_format) for boxes in pairs))
    sides = torch.minimum(corners[0][:, None, 2:], corners[1][None, :, 2:]) - \
        torch.maximum(corners[0][:, None, :2], corners[1][None, :, :2])
    return torch.where((sides > 0).all(-1), found, torch.zeros_like(found)).reshape(*lhs.shape[:-1], *rhs.shape[:-1])


def bipartite_matching(data: torch.Tensor, threshold: float, is_ascend: bool,
                       topk: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows and columns of a score matrix (..., n, m) matched greedily, best score first.

    A pair counts when its score is above ``threshold``, or below it with ``is_ascend``. The matching ends with the
    first free pair that does not count, and once ``topk`` + 1 pairs are found where ``topk`` is positive.

    Returns:
        Column of each row (..., n) and row of each column (..., m); -1 where there is none.
    """
    rows, columns = data.new_full(data.shape[:-1], -1), data.new_full((*data.shape[:-2], data.shape[-1]), -1)
    matrices = data.reshape(-1, *data.shape[-2:])
    for scores, row_of, column_of in zip(matrices, rows.view(-1, rows.shape[-1]), columns.view(-1, columns.shape[-1])):
        flat, found = scores.reshape(-1), 0
        for position in flat.argsort(descending=not is_ascend, stable=True).tolist():
            row, column = divmod(position, scores.shape[1])
            if row_of[row] != -1 or column_of[column] != -1:
                continue
            if not (flat[position] < threshold if is_ascend else flat[position] > threshold):
                break
            row_of[row], column_of[column], found = column, row, found + 1
            if 0 < topk < found:
                break
    return rows, columns


def multibox_detection(cls_prob: torch.Tensor, loc_pred: torch.Tensor, anchor: torch.Tensor, clip: bool,
                       threshold: float, variances: list[float], nms_threshold: float, force_suppress: bool,
                       nms_topk: int) -> torch.Tensor:
    """Detections (B, N, 6) of an SSD: class, probability and corner box, by probability; empty rows are -1.

    Anchor boxes whose best class but 0 is at least ``threshold`` probable are decoded, with ``clip`` into [0, 1], and
    suppressed as in ``box_nms``, at an overlap of ``nms_threshold`` or more. A suppressed row loses its class (-1) and
    keeps the rest; so does the row that stood at a place after the best ``nms_topk``.
    (MXNet's ``_contrib_MultiBoxDetection``.)

    Args:
        cls_prob: (B, classes with the background, N).
        loc_pred: (B, 4 N).
        anchor: (1, N, 4), corners.
    """
    result = cls_prob.new_full((cls_prob.shape[0], cls_prob.shape[2], 6), -1)
    boxes = box_decode(loc_pred.reshape(len(loc_pred), -1, 4), anchor, *variances, 0.0, "corner")
    boxes = boxes.clamp(0, 1) if clip else boxes
    for probabilities, located, rows in zip(cls_prob, boxes, result):
        best, label = probabilities[1:].max(0)
        chosen = (best >= threshold) & (best > -1)
        count = int(chosen.sum())
        rows[:count] = torch.cat([label[chosen, None].to(rows), best[chosen, None], located[chosen]], 1)
        if not count or nms_threshold <= 0 or nms_threshold > 1:
            continue
        found = rows[:count].clone()
        order = found[:, 1].argsort(descending=True, stable=True)
        order = order[:nms_topk] if nms_topk > 0 else order
        found[:len(order)] = rows[:count][order]
        found[len(order):, 0] = -1
        areas = (found[:, 4] - found[:, 2]) * (found[:, 5] - found[:, 3])
        _suppress_at_least(found, areas, force_suppress, nms_threshold)
        rows[:count] = found
    return result


def _suppress_at_least(rows: torch.Tensor, areas: torch.Tensor, force_suppress: bool, threshold: float) -> None:
    """Set the class of rows to -1 that overlap a row before them, of the same class, by ``threshold`` or more."""
    for index in range(len(rows) - 1):
        if rows[index, 0] < 0:
            continue
        later = rows[index + 1:]
        found = overlaps(rows[index:index + 1, 2:], later[:, 2:], areas[index:index + 1], areas[index + 1:])[0]
        hit = (found >= threshold) & (later[:, 0] >= 0)
        later[hit if force_suppress else hit & (later[:, 0] == rows[index, 0]), 0] = -1


def _like_data(data: torch.Tensor, *attributes: object) -> torch.Tensor:
    return torch.empty_like(data)


def _pairs(lhs: torch.Tensor, rhs: torch.Tensor, box_format: str) -> torch.Tensor:
    return lhs.new_empty((*lhs.shape[:-1], *rhs.shape[:-1]))


def _matches(data: torch.Tensor, *attributes: object) -> tuple[torch.Tensor, torch.Tensor]:
    return data.new_empty(data.shape[:-1]), data.new_empty((*data.shape[:-2], data.shape[-1]))


def _detections(cls_prob: torch.Tensor, *others: object) -> torch.Tensor:
    return cls_prob.new_empty((cls_prob.shape[0], cls_prob.shape[2], 6))


BOX_NMS = define_float_operator(
    "box_nms", "(Tensor data, float overlap_thresh, float valid_thresh, int topk, int coord_start, int score_index, "
               "int id_index, int background_id, bool force_suppress, str in_format, str out_format) -> Tensor",
    box_nms, _like_data)
BOX_DECODE = define_float_operator(
    "box_decode", "(Tensor data, Tensor anchors, float std0, float std1, float std2, float std3, float clip, "
                  "str box_format) -> Tensor", box_decode)
BOX_IOU = define_float_operator("box_iou", "(Tensor lhs, Tensor rhs, str box_format) -> Tensor", box_iou, _pairs)
BIPARTITE_MATCHING = define_float_operator(
    "bipartite_matching", "(Tensor data, float threshold, bool is_ascend, int topk) -> (Tensor, Tensor)",
    bipartite_matching, _matches)
MULTIBOX_DETECTION = define_float_operator(
    "multibox_detection", "(Tensor cls_prob, Tensor loc_pred, Tensor anchor, bool clip, float threshold, "
                          "float[] variances, float nms_threshold, bool force_suppress, int nms_topk) -> Tensor",
    multibox_detection, _detections)
