"""Tensors made from nothing. Oracle: the torch module at batches 1, 2 and 5."""

from __future__ import annotations

import pytest
import torch

from tests.mrt_torch.graph.captured import Function, check

STATIC = {
    "arange": lambda m, x: x + torch.arange(5),
    "full": lambda m, x: x + torch.full((4, 1), 2.0),
    "zeros and ones": lambda m, x: x + torch.zeros(5) + torch.ones(4, 5),
    "eye": lambda m, x: x + torch.eye(4, 5),
    "linspace": lambda m, x: x * torch.linspace(0, 1, 5),
    "tensor": lambda m, x: x + torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0]),
}


@pytest.mark.parametrize("name", STATIC)
def test_constant(name):
    """A tensor of fixed shape is a buffer of the graph."""
    graph = check(Function(STATIC[name]), (4, 5))
    assert {str(node.target) for node in graph.graph.nodes if node.op == "call_function"} <= {
        "aten.add.Tensor", "aten.mul.Tensor"}


FREE = {
    "zeros": lambda m, x: torch.zeros(x.shape[0], 5) + x[:, 0],
    "ones": lambda m, x: torch.ones(x.shape[0], 1, 5) * x,
    "full": lambda m, x: torch.full((x.shape[0], 4, 5), 3.0) - x,
}


@pytest.mark.parametrize("name", FREE)
def test_shape_follows_the_batch(name):
    """It is made anew for every batch."""
    check(Function(FREE[name]), (4, 5))
