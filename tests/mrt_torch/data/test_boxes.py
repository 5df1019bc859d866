"""Geometry of boxes. Oracles: areas by hand, and gluoncv's ``bbox_iou``."""

import numpy as np
import pytest

from mrt_torch.data.boxes import box_areas, clip_boxes, intersection_over_union, scale_boxes


def test_shares_of_overlapping_squares():
    first = np.array([[0, 0, 2, 2], [0, 0, 4, 4], [5, 5, 6, 6]], np.float32)
    second = np.array([[1, 1, 3, 3], [0, 0, 2, 2]], np.float32)
    expected = [[1 / 7, 1], [4 / 16, 4 / 16], [0, 0]]
    assert intersection_over_union(first, second) == pytest.approx(np.array(expected))


def test_boxes_that_touch_or_have_no_area_share_nothing():
    empty = np.array([[1, 1, 1, 1]], np.float32)
    assert intersection_over_union(empty, empty).tolist() == [[0]]
    assert intersection_over_union(np.array([[0.0, 0, 1, 1]]), np.array([[1.0, 0, 2, 1]])).tolist() == [[0]]
    assert intersection_over_union(np.zeros((0, 4)), empty).shape == (0, 1)


def test_shares_are_those_of_gluoncv(gluoncv):
    random = np.random.RandomState(0)
    first, second = (np.sort(random.uniform(0, 50, (20, 2, 2)), 1).reshape(20, 4).astype(np.float32) for _ in range(2))
    expected = gluoncv.utils.bbox.bbox_iou(first, second)
    assert intersection_over_union(first, second).tobytes() == expected.tobytes()


def test_clipping_and_scaling():
    boxes = np.array([[-3, 5, 70, 60], [1, -1, 2, 4]], np.float32)
    assert clip_boxes(boxes, 64, 48).tolist() == [[0, 5, 64, 48], [1, 0, 2, 4]]
    assert scale_boxes(boxes, 2, 0.5).tolist() == [[-6, 2.5, 140, 30], [2, -0.5, 4, 2]]
    assert box_areas(boxes).tolist() == [73 * 55, 5]
