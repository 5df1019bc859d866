"""Flatten, reshape, expand_dims, squeeze: no element changes, and the batch stays free."""

from __future__ import annotations

import pytest
import torch

from tests.mrt_torch.ops.graphs import assert_untouched, aten, draw, integer_model, operators, unary

CASES = [
    (aten.flatten.using_ints, (1, -1), (2, 3, 4, 5), "flatten"),
    (aten.flatten.using_ints, (1, 2), (2, 3, 4, 5), "reshape"),
    (aten.flatten.using_ints, (2, 3), (2, 3, 4, 5), "reshape"),
    (aten.flatten.using_ints, (0, 2), (2, 3, 4, 5), "reshape"),
    (aten.reshape.default, ([-1, 12, 5],), (2, 3, 4, 5), "reshape"),
    (aten.reshape.default, ([-1, 5],), (2, 3, 4, 5), "reshape"),
    (aten.unsqueeze.default, (1,), (2, 3), "reshape"),
    (aten.unsqueeze.default, (-1,), (2, 3), "reshape"),
    (aten.squeeze.dims, ([2, 3],), (2, 3, 1, 1), "reshape"),
    (aten.squeeze.dims, ([1],), (2, 3, 1, 1), "cvm_clip"),
    (aten.reshape.default, ([-1, 3],), (2, 3), "cvm_clip"),
]


@pytest.mark.parametrize("target, arguments, shape, operator", CASES)
def test_integers_only_move(target, arguments, shape, operator):
    """Oracle: the same operator of torch on the quantized input. Where no shape changes, the only node is the clip
    that gives an output a node of its own."""
    module = unary(target, *arguments, shape=shape)
    x = draw(*shape)
    assert_untouched(module, x)
    model = integer_model(module, x)
    assert operators(model.module) == [operator]
    assert torch.equal(model(x), target(model.seen(x), *arguments))


@pytest.mark.parametrize("target, arguments, shape, operator", CASES)
def test_another_batch_runs(target, arguments, shape, operator):
    model = integer_model(unary(target, *arguments, shape=shape), draw(*shape))
    x = draw(7, *shape[1:], seed=3)
    assert torch.equal(model(x), target(model.seen(x), *arguments))
