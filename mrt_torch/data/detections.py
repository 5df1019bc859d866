"""What a detector answers, and the objects that there are, picture by picture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from mrt_torch.data.boxes import intersection_over_union
from mrt_torch.data.metric import Predictions
from mrt_torch.errors import InvalidArgumentError


@dataclass(frozen=True)
class Detections:
    """The detections in a picture: classes (D,) int, scores (D,), boxes (D, 4) x1 y1 x2 y2."""

    classes: np.ndarray
    scores: np.ndarray
    boxes: np.ndarray


@dataclass(frozen=True)
class Objects:
    """The objects in a picture: classes (M,) int, boxes (M, 4) x1 y1 x2 y2, difficult (M,) bool."""

    classes: np.ndarray
    boxes: np.ndarray
    difficult: np.ndarray


def detections_of(predictions: Predictions) -> list[Detections]:
    """The detections in each picture of a batch.

    Args:
        predictions: ids (N, D, 1), scores (N, D, 1) and boxes (N, D, 4), as detectors of gluoncv answer; a row whose
            id is negative, or in which something is no number, is none.

    Raises:
        InvalidArgumentError: other outputs.
    """
    parts = () if isinstance(predictions, torch.Tensor) else tuple(map(_array, predictions))
    if len(parts) != 3 or parts[2].ndim != 3 or parts[2].shape[2] != 4 or \
            any(part.shape not in (parts[2].shape[:2], (*parts[2].shape[:2], 1)) for part in parts[:2]):
        raise InvalidArgumentError(
            "the answers are no detections", why="expected ids (N, D, 1), scores (N, D, 1) and boxes (N, D, 4), saw "
            + (", ".join(str(part.shape) for part in parts) or "one tensor"),
            remedy="use a detector with the outputs ids, scores and boxes, or a data set for this kind of model")
    batch = []
    for ids, scores, boxes in zip(*parts, strict=True):
        ids, scores = ids.reshape(-1), scores.reshape(-1)
        valid = np.isfinite(ids) & (ids >= 0) & ~np.isnan(scores) & ~np.isnan(boxes).any(1)
        batch.append(Detections(ids[valid].astype(np.int64), scores[valid], boxes[valid]))
    return batch


def objects_of(labels: torch.Tensor) -> list[Objects]:
    """The objects in each picture of a batch, of labels (N, M, 5 or 6): box, class, and 1 where it is difficult.

    A row of a negative class fills up the batch and is none.
    """
    batch = []
    for rows in _array(labels):
        rows = rows[rows[:, 4] >= 0]
        difficult = rows[:, 5] != 0 if rows.shape[1] > 5 else np.zeros(len(rows), bool)
        batch.append(Objects(rows[:, 4].astype(np.int64), rows[:, :4], difficult))
    return batch


def same_best_detection(first: Detections, second: Detections, threshold: float = 0.5) -> bool:
    """Whether the detections of the highest score have one class and overlap by ``threshold``, or there are none."""
    if not len(first.classes) or not len(second.classes):
        return len(first.classes) == len(second.classes)
    one, other = int(first.scores.argmax()), int(second.scores.argmax())
    if first.classes[one] != second.classes[other]:
        return False
    boxes = first.boxes[one:one + 1], second.boxes[other:other + 1]
    return bool(np.array_equal(*boxes) or intersection_over_union(*boxes)[0, 0] >= threshold)


def _array(tensor: torch.Tensor) -> np.ndarray:
    tensor = torch.as_tensor(tensor).detach().cpu()
    return (tensor if tensor.dtype in (torch.float32, torch.float64) else tensor.float()).numpy()
