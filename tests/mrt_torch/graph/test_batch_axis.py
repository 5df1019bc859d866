"""Symbolic sizes. Oracle: Python's own arithmetic on the example batch."""

from __future__ import annotations

import pytest
import torch
from torch import fx
from torch.fx.experimental.symbolic_shapes import ShapeEnv

from mrt_torch.errors import UnsupportedOperatorError
from mrt_torch.graph.batch_axis import BatchAxis, is_free


@pytest.fixture
def size() -> torch.SymInt:
    """A free batch, as torch.export makes it."""
    from torch._dynamo.source import ConstantSource
    from torch.fx.experimental.symbolic_shapes import DimDynamic
    environment = ShapeEnv()
    symbol = environment.create_symbol(2, ConstantSource("batch"), dynamic_dim=DimDynamic.DYNAMIC)
    return environment.create_symintnode(symbol, hint=2)


@pytest.fixture
def node() -> fx.Node:
    return fx.Graph().placeholder("x")


def test_free(size):
    assert is_free(size) and is_free(size * 3 + 1)
    assert not is_free(4)


def test_concrete(size, node):
    batch = BatchAxis(5, size.node.expr)
    assert [batch.concrete(value, node) for value in (size, size * 3, 7 * size + 1, 4)] == [5, 15, 36, 4]


def test_other_symbols_are_refused(size, node):
    with pytest.raises(UnsupportedOperatorError, match="values of a tensor"):
        BatchAxis(5, None).concrete(size, node)


def test_target_shape(size, node):
    batch = BatchAxis(5, size.node.expr)
    assert batch.target_shape(node, [size, 3, 4], [size, 12]) == [-1, 3, 4]
    assert batch.target_shape(node, [size * 4, 3], [size, 12]) == [-1, 3]
    assert batch.target_shape(node, [3, size], [size, 3]) == [3, -1]
    assert batch.target_shape(node, [size, size], [size, 3]) is None
    assert batch.target_shape(node, [], [1]) == []


def test_target_shape_of_a_fixed_program(node):
    """-1 only where axis 0 was the batch and stays it, and only on request."""
    fixed, free = BatchAxis(2, None), BatchAxis(2, None, assume_free=True)
    assert fixed.target_shape(node, [2, 12], [2, 3, 4]) == [2, 12]
    assert free.target_shape(node, [2, 12], [2, 3, 4]) == [-1, 12]
    assert free.target_shape(node, [12, 2], [2, 3, 4]) == [12, 2]
    assert free.target_shape(node, [3, 8], [3, 2, 4]) == [3, 8]
