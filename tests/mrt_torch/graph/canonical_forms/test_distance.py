"""Similarities and distances. Oracle: the torch function at batches 1, 2 and 5."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from mrt_torch.passes.prepare import prepare
from tests.mrt_torch.graph.captured import Function, assert_equal, check, inputs, operators

ROWS = torch.randn(3, 6, generator=torch.Generator().manual_seed(1))
CASES = {
    "cosine": lambda m, x: F.cosine_similarity(x[:, 0], x[:, 1]),
    "cosine along the channels": lambda m, x: F.cosine_similarity(x[:, :3], x[:, 1:], dim=1),
    "cosine with a constant": lambda m, x: F.cosine_similarity(x, m.w[0], dim=-1),
    "cosine of every pair": lambda m, x: F.cosine_similarity(x[:, :, None], m.w, dim=-1),
    "cosine near zero": lambda m, x: F.cosine_similarity(x[:, 0] * 0, x[:, 1], eps=1e-3),
    "pairwise": lambda m, x: F.pairwise_distance(x[:, 0], x[:, 1]),
    "pairwise of order 1": lambda m, x: F.pairwise_distance(x[:, 0], x[:, 1], p=1, keepdim=True),
    "to every row": lambda m, x: torch.cdist(x, m.w),
    "to every row of order 1": lambda m, x: torch.cdist(x[:, 1:], x, p=1.0),
}


@pytest.mark.parametrize("name", CASES)
def test_distance(name):
    """Captured and prepared, within the rounding of float32, which a square root near zero widens."""
    module = Function(CASES[name], w=ROWS)
    graph = check(module, (4, 6))
    assert not {"cosine_similarity.default", "pairwise_distance.default", "cdist.default"} & set(operators(graph))
    assert_equal(prepare(graph), module, inputs([(4, 6)], 5), relative=1e-4)


def test_a_cosine_along_a_broadcast_axis_stays():
    """Near miss: torch repeats the single element before it takes the norm."""
    graph = check(Function(lambda m, x: F.cosine_similarity(x[..., :1], x, dim=-1)), (4, 6))
    assert "cosine_similarity.default" in operators(graph)
