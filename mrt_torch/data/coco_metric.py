"""Mean average precision of detectors as COCO measures it, by pycocotools, an optional package."""

from __future__ import annotations

import contextlib
import importlib
import io
from types import ModuleType
from typing import Any

import numpy as np
import torch

from mrt_torch.data.boxes import clip_boxes, scale_boxes
from mrt_torch.data.coco_annotations import CocoAnnotations
from mrt_torch.data.detections import Detections, detections_of
from mrt_torch.data.metric import Predictions
from mrt_torch.errors import InvalidArgumentError, MissingDependencyError

LEAST_SCORE = 0.05  # detections below do not count, as in gluoncv's COCODetectionMetric
MOST_DETECTIONS = 100  # a picture


def import_pycocotools() -> tuple[ModuleType, ModuleType]:
    """The modules ``pycocotools.coco`` and ``pycocotools.cocoeval``.

    Raises:
        MissingDependencyError: pycocotools is not installed.
    """
    try:
        return importlib.import_module("pycocotools.coco"), importlib.import_module("pycocotools.cocoeval")
    except ImportError as error:
        raise MissingDependencyError("pycocotools, which measures detectors on COCO, cannot be imported",
                                     why=str(error), remedy='pip install "mrt-torch[data]"') from error


class COCOMeanAveragePrecision:
    """Mean average precision over intersections over union of .50, .55, ..., .95, all areas, and all classes.

    Figures are those of gluoncv's ``COCODetectionMetric`` once all pictures were judged; before that, of the pictures
    judged so far. Labels are not used: the annotations also say which objects are crowds.

    Args:
        annotations: all pictures; they are to be judged in this order.
        width, height: size of the pictures that the network saw, pixels; detected boxes are clipped to it.

    Raises:
        MissingDependencyError: pycocotools is not installed.
    """

    def __init__(self, annotations: CocoAnnotations, width: int, height: int):
        self._coco, self._cocoeval = import_pycocotools()
        self._annotations, self._width, self._height = annotations, width, height
        self._seen: list[int] = []
        self._judged: list[np.ndarray] = []  # for each batch pycocotools' verdicts: (categories, pictures)

    def update(self, predictions: Predictions, labels: torch.Tensor) -> None:
        """Detections (ids (N, D, 1), scores (N, D, 1), boxes (N, D, 4)) in the next N pictures; ``labels`` go unused.

        Raises:
            InvalidArgumentError: there are not as many pictures.
        """
        batch = detections_of(predictions)
        pictures = self._annotations.pictures[len(self._seen):len(self._seen) + len(batch)]
        if len(pictures) != len(batch):
            raise InvalidArgumentError("there are more answers than pictures",
                                       why=f"there are {len(self._annotations.pictures)} pictures",
                                       remedy="take a new metric for each pass over the data set")
        found = [row for detections, picture in zip(batch, pictures, strict=True)
                 for row in self._rows(detections, picture)]
        wanted = [{"iscrowd": 0, **annotation} for picture in pictures
                  for annotation in self._annotations.annotations[picture["id"]]]
        keys = [picture["id"] for picture in pictures]
        with contextlib.redirect_stdout(io.StringIO()):
            evaluation = self._evaluation(keys, wanted, found)
            evaluation.evaluate()
        verdicts = np.empty(len(evaluation.evalImgs), object)
        verdicts[:] = evaluation.evalImgs
        self._judged.append(verdicts.reshape(len(self._annotations.categories), len(keys)))
        self._seen += keys

    def _rows(self, detections: Detections, picture: dict[str, Any]) -> list[dict[str, Any]]:
        """A picture's detections as pycocotools takes them, in pixels of the image file."""
        boxes = scale_boxes(clip_boxes(detections.boxes, self._width, self._height),
                            picture["width"] / self._width, picture["height"] / self._height)
        boxes[:, 2:] -= boxes[:, :2] - 1  # to width and height; the pixel at x2, y2 belongs to the box
        categories = self._annotations.categories
        return [{"image_id": picture["id"], "category_id": categories[label]["id"], "score": float(score), "iscrowd": 0,
                 "bbox": box, "area": box[2] * box[3]}
                for label, score, box in zip(detections.classes, detections.scores, boxes.tolist(), strict=True)
                if label < len(categories) and score >= LEAST_SCORE]

    def _evaluation(self, keys: list[int], wanted: list[dict[str, Any]], found: list[dict[str, Any]]) -> Any:
        evaluation = self._cocoeval.COCOeval(self._indexed(wanted), self._indexed(found), "bbox")
        evaluation.params.imgIds = keys
        evaluation.params.maxDets = [MOST_DETECTIONS]
        evaluation.params.areaRng, evaluation.params.areaRngLbl = evaluation.params.areaRng[:1], ["all"]
        return evaluation

    def _indexed(self, annotations: list[dict[str, Any]]) -> Any:
        indexed = self._coco.COCO()
        indexed.dataset = {"images": [], "categories": list(self._annotations.categories), "annotations": [
            {**annotation, "id": number} for number, annotation in enumerate(annotations, 1)]}  # takes 0 for no match
        indexed.createIndex()
        return indexed

    def values(self) -> dict[str, float]:
        """``{"mAP": share}``; 0 before the first picture with an object."""
        if not self._judged:
            return {"mAP": 0.0}
        with contextlib.redirect_stdout(io.StringIO()):
            evaluation = self._evaluation(self._seen, [], [])
            evaluation.evalImgs = np.concatenate(self._judged, axis=1).reshape(-1).tolist()
            evaluation._paramsEval = evaluation.params  # what evaluate would leave
            evaluation.accumulate()
        precision = evaluation.eval["precision"]
        counted = precision[precision > -1]
        return {"mAP": float(counted.mean()) if counted.size else 0.0}

    def __str__(self) -> str:
        return f"{self.values()['mAP']:.2%}"
