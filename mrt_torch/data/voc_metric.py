"""Mean average precision of detectors as PASCAL VOC 2007 measures it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import torch

from mrt_torch.data.boxes import clip_boxes, intersection_over_union
from mrt_torch.data.detections import detections_of, objects_of
from mrt_torch.data.metric import Predictions

_RIGHT, _WRONG, _IGNORED = 1, 0, -1


class VOC07MeanAveragePrecision:
    """Mean over classes of the average precision at eleven recalls (Everingham et al., "The PASCAL Visual Object
    Classes (VOC) Challenge", 2010, section 4.2).

    Detections of a class are taken by falling score. In its picture a detection belongs to the object of its class
    that it overlaps most, and is right if that overlap is at least ``threshold`` and no detection before it belonged
    to that object; one that belongs to a difficult object does not count, and difficult objects need not be found.
    The precision at a recall r is the highest precision among the recalls of at least r; the average precision is
    their mean for r = 0, 0.1, ..., 1. Boxes are of whole pixels: the pixel at x2, y2 belongs to them.

    Of equal scores the later detection comes first, as in gluoncv's ``VOC07MApMetric``, whose figures these are.

    Args:
        classes: names of the classes, for ``average_precisions``.
        width, height: size of the pictures, pixels; detected boxes are clipped to it.
        threshold: intersection over union from which a detection belongs to an object.
    """

    def __init__(self, classes: Sequence[str], width: int, height: int, threshold: float = 0.5):
        self.classes = tuple(classes)
        self.width, self.height, self.threshold = width, height, threshold
        self._wanted: defaultdict[int, int] = defaultdict(int)
        self._scores: defaultdict[int, list[np.ndarray]] = defaultdict(list)
        self._verdicts: defaultdict[int, list[np.ndarray]] = defaultdict(list)

    def update(self, predictions: Predictions, labels: torch.Tensor) -> None:
        """Detections (ids (N, D, 1), scores (N, D, 1), boxes (N, D, 4)) and labels (N, M, 5 or 6); rows of a negative
        class are no detections and no objects."""
        for found, objects in zip(detections_of(predictions), objects_of(labels), strict=True):
            boxes = clip_boxes(found.boxes, self.width, self.height)
            for label in np.union1d(found.classes, objects.classes).tolist():
                mine, theirs = found.classes == label, objects.classes == label
                order = np.argsort(found.scores[mine], kind="stable")[::-1]
                self._wanted[label] += int((~objects.difficult[theirs]).sum())
                self._scores[label].append(found.scores[mine][order])
                self._verdicts[label].append(self._judge(
                    boxes[mine][order], objects.boxes[theirs], objects.difficult[theirs]))

    def _judge(self, boxes: np.ndarray, objects: np.ndarray, difficult: np.ndarray) -> np.ndarray:
        """Whether each detected box (D, 4), in order of their scores, is right, wrong or ignored: (D,)."""
        verdicts = np.full(len(boxes), _WRONG)
        if not len(boxes) or not len(objects):
            return verdicts
        one_more = np.array((0, 0, 1, 1), boxes.dtype)
        overlaps = intersection_over_union(boxes + one_more, objects + one_more)
        found = np.zeros(len(objects), bool)
        for index, nearest in enumerate(overlaps.argmax(1)):
            if overlaps[index, nearest] >= self.threshold:
                if difficult[nearest]:
                    verdicts[index] = _IGNORED
                elif not found[nearest]:
                    verdicts[index] = _RIGHT
                found[nearest] = True
        return verdicts

    def average_precisions(self) -> dict[str, float]:
        """Average precision of each class of which there was an object, by its name."""
        return {self.classes[label] if label < len(self.classes) else str(label): self._average_precision(label)
                for label in sorted(self._wanted) if self._wanted[label]}

    def _average_precision(self, label: int) -> float:
        scores, verdicts = np.concatenate(self._scores[label]), np.concatenate(self._verdicts[label])
        verdicts = verdicts[np.argsort(scores, kind="stable")[::-1]]
        right, wrong = np.cumsum(verdicts == _RIGHT), np.cumsum(verdicts == _WRONG)
        precision = right / np.maximum(right + wrong, 1)
        recall = right / self._wanted[label]
        total = 0.0
        for least in np.arange(0.0, 1.1, 0.1):  # not multiples of 0.1: as gluoncv rounds them
            total += precision[recall >= least].max(initial=0) / 11.0
        return float(total)

    def values(self) -> dict[str, float]:
        """``{"mAP": share}``; 0 before the first object."""
        precisions = list(self.average_precisions().values())
        return {"mAP": float(np.mean(precisions)) if precisions else 0.0}

    def __str__(self) -> str:
        return f"{self.values()['mAP']:.2%}"
