"""MRT defect 13: every pass asked for all shapes again, so the work grew with the square of the depth.

Oracle: the number of shape questions, counted.
"""

from __future__ import annotations

import torch

from mrt_torch import Model
from mrt_torch.graph import editor, shapes
from tests.benchmarks.residual import deep_resnet


def shape_questions(blocks: int, monkeypatch) -> int:
    model = Model.from_torch(deep_resnet(blocks), torch.zeros(2, 3, 8, 8))
    counted = 0
    infer = shapes.infer_value

    def count(node):
        nonlocal counted
        counted += 1
        return infer(node)
    with monkeypatch.context() as patch:
        patch.setattr(shapes, "infer_value", count)
        patch.setattr(editor, "infer_value", count)
        model.prepare((1, 3, 8, 8))
        mrt = model.get_mrt()
        mrt.set_data(torch.randn(2, 3, 8, 8))
        mrt.calibrate()
        mrt.quantize()
    return counted


def test_shape_questions_grow_with_the_depth_and_no_faster(monkeypatch):
    shallow, deep = shape_questions(2, monkeypatch), shape_questions(8, monkeypatch)
    assert 0 < shallow < deep <= 4 * shallow
