"""Flatten, reshape, expand_dims, squeeze: no element changes, and the batch stays free."""

from __future__ import annotations

import pytest
import torch

from tests.mrt_torch.ops.free_axis_models import check_exact
from tests.mrt_torch.ops.graphs import (
    assert_same_values,
    assert_untouched,
    aten,
    draw,
    graph,
    integer_model,
    operators,
    rewritten,
    unary,
)

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
]


@pytest.mark.parametrize("target, arguments, shape, operator", CASES)
def test_integers_only_move(target, arguments, shape, operator):
    """Oracle: the same operator of torch on the quantized input."""
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


@pytest.mark.parametrize("target, arguments, shape", [(aten.squeeze.dims, ([1],), (2, 3, 1, 1)),
                                                      (aten.reshape.default, ([-1, 3],), (2, 3))])
def test_a_shape_that_stays_is_no_operator(target, arguments, shape):
    """The only node is the clip that gives an output a node of its own."""
    module = unary(target, *arguments, shape=shape)
    assert operators(rewritten(module)) == []
    assert operators(integer_model(module, draw(*shape)).module) == ["cvm_clip"]


def test_changes_of_shape_are_joined():
    """One reshape for all in a row, none where they lead back. Oracle: the graph before, at another batch."""
    def there(e, x):
        x = e.call(aten.flatten.using_ints, e.call(aten.unsqueeze.default, x, 1), 2, 3)
        return e.call(aten.reshape.default, e.call(aten.squeeze.dims, x, [1]), [-1, 2, 6])

    def back(e, x):
        return e.call(aten.reshape.default, there(e, x), [-1, 3, 4])

    for build, expected in ((there, ["reshape"]), (back, [])):
        module = graph(build, (2, 3, 4))
        assert operators(rewritten(module)) == expected
        assert_same_values(module, rewritten(module), draw(5, 3, 4), tolerance=0)


def test_a_batch_that_moves_is_a_change():
    """(N, 1, 4) to (1, N, 4): with one sample the extents are equal, but the batch is another axis."""
    module = unary(aten.reshape.default, [1, -1, 4], shape=(1, 1, 4))
    assert operators(rewritten(module)) == ["reshape"]
    model = integer_model(module, draw(1, 1, 4))
    x = draw(5, 1, 4)
    assert torch.equal(model(x), model.seen(x).reshape(1, 5, 4))


@pytest.mark.parametrize("shape, target, arguments", [
    ((6, -1), aten.reshape.default, ([2, 3, -1],)), ((2, 3, -1), aten.reshape.default, ([6, -1],)),
    ((4, -1, 3), aten.reshape.default, ([-1, 3],)), ((4, -1), aten.unsqueeze.default, (0,)),
    ((1, -1, 3), aten.squeeze.dims, ([0],)), ((4, 2, -1), aten.flatten.using_ints, (0, 1)),
    ((4, -1, 3), aten.flatten.using_ints, (1, 2)), ((4, -1, 3), aten.reshape.default, ([2, 2, -1, 3],))])
def test_the_batch_on_another_axis(shape, target, arguments):
    """Oracle: the float operator on the quantized input, at two batches."""
    check_exact(lambda e, x: e.call(target, x, *arguments), shape, lambda x: target(x, *arguments))
