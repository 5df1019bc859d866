"""Geometry of boxes. A box is (x1, y1, x2, y2); arrays of boxes are (N, 4)."""

from __future__ import annotations

import numpy as np


def clip_boxes(boxes: np.ndarray, width: float, height: float) -> np.ndarray:
    """Boxes (..., 4) with x moved into [0, width] and y into [0, height]."""
    return boxes.clip(0, np.asarray((width, height, width, height), boxes.dtype))


def scale_boxes(boxes: np.ndarray, x_scale: float, y_scale: float) -> np.ndarray:
    """Boxes (..., 4) of a picture that is resized by these factors, float64."""
    return boxes.astype(np.float64) * np.asarray((x_scale, y_scale, x_scale, y_scale))


def intersection_over_union(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """``area(a ∩ b) / (area(a) + area(b) - area(a ∩ b))`` of each box of ``first`` (N, 4) and of ``second`` (M, 4).

    Returns:
        (N, M) of the boxes' dtype; 0 where neither box has an area.
    """
    corner = np.maximum(first[:, None, :2], second[:, :2])
    opposite = np.minimum(first[:, None, 2:], second[:, 2:])
    shared = (opposite - corner).prod(2) * (corner < opposite).all(2)
    union = box_areas(first)[:, None] + box_areas(second) - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union != 0)


def box_areas(boxes: np.ndarray) -> np.ndarray:
    """``(x2 - x1) (y2 - y1)`` of boxes (N, 4)."""
    return (boxes[:, 2:] - boxes[:, :2]).prod(1)
