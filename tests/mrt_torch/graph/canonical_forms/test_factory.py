"""Tensors made from nothing. Oracle: the torch module at batches 1, 2 and 5."""

from __future__ import annotations

import pytest
import torch

from mrt_torch.graph.free_axis import is_batch_free
from mrt_torch.inspection import find_unsupported
from tests.mrt_torch.graph.captured import Function, check

STATIC = {
    "arange": lambda m, x: x + torch.arange(5),
    "full": lambda m, x: x + torch.full((4, 1), 2.0),
    "zeros and ones": lambda m, x: x + torch.zeros(5) + torch.ones(4, 5),
    "eye": lambda m, x: x + torch.eye(4, 5),
    "linspace": lambda m, x: x * torch.linspace(0, 1, 5),
    "meshgrid": lambda m, x: x + torch.meshgrid(torch.arange(4), torch.arange(5), indexing="ij")[1],
    "new zeros": lambda m, x: x + x.new_zeros(4, 5) + x.new_ones(5) + x.new_full((1,), 2.5),
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
    "new zeros": lambda m, x: torch.cat([x.new_zeros(x.shape[0], 1, 5), x * x.new_ones(x.shape[0], 1, 1)], 1),
    "hidden state": lambda m, x: torch.zeros(1, x.shape[0], 5).transpose(0, 1) + x,
    "zeros like": lambda m, x: torch.zeros_like(x) + x, "ones like": lambda m, x: torch.ones_like(x) - x,
    "full like": lambda m, x: torch.full_like(x, 0.5) * x,
}


@pytest.mark.parametrize("name", FREE)
def test_shape_follows_the_batch(name):
    """It is made anew for every batch, by operators that have an integer form."""
    graph = check(Function(FREE[name]), (4, 5))
    assert is_batch_free(graph) and not find_unsupported(graph)
