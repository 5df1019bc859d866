"""zeros_like, ones_like, full_like and arange. Oracle: torch."""

from __future__ import annotations

import math

import pytest
import torch

from mrt_torch.errors import UnsupportedOperatorError
from mrt_torch.graph.editor import output_nodes, tensor_of
from mrt_torch.ops import apply_pass
from mrt_torch.ops.creation import ARANGE_LIKE
from mrt_torch.passes import prepare
from tests.mrt_torch.ops.free_axis_models import check_exact
from tests.mrt_torch.ops.graphs import assert_same_values, aten, draw, graph, integer_model, operators, unary

X = draw(2, 3, 4)
LIKES = [(aten.zeros_like.default, ()), (aten.ones_like.default, ()), (aten.full_like.default, (2.5,)),
         (aten.full_like.default, (-1e-3,)), (aten.full_like.default, (0.0,))]


@pytest.mark.parametrize("target, arguments", LIKES)
def test_numbers_follow_the_batch_exactly(target, arguments):
    """They are not folded to one batch."""
    model = integer_model(unary(target, *arguments, shape=X.shape), X)
    for x in (X, draw(5, 3, 4)):
        assert torch.allclose(model(x), target(x, *arguments), rtol=1e-15, atol=0)


@pytest.mark.parametrize("target, arguments", LIKES)
def test_numbers_follow_another_batch_axis(target, arguments):
    check_exact(lambda e, x: e.call(target, x, *arguments), (4, -1), lambda x: target(x, *arguments))


def test_a_sum_with_ones():
    """1 - x, as gates have it. Bound: the roundings of both to 16 bits."""
    model = integer_model(graph(lambda e, x: e.call(aten.sub.Tensor, e.call(aten.ones_like.default, x), x), X.shape), X)
    assert float((model(X) - (1 - model.seen(X))).abs().max()) < 2.2 / 32767


@pytest.mark.parametrize("target, arguments", LIKES)
def test_fixed_shapes_become_constants(target, arguments):
    """One number in memory, whatever the shape. Oracle: the graph before."""
    def build(e, x):
        return e.call(aten.add.Tensor, x, e.call(target, e.constant("w", draw(3, 4)), *arguments))

    module = graph(build, X.shape)
    prepared = prepare(module)
    assert operators(prepared) in (["add"], [])
    assert_same_values(module, prepared, X, tolerance=0)


@pytest.mark.parametrize("number", [math.inf, -math.inf, math.nan])
def test_numbers_that_are_refused(number):
    with pytest.raises(UnsupportedOperatorError, match="its number is"):
        prepare(unary(aten.full_like.default, number, shape=X.shape))


ARANGES = [(1.0, 0.5, 1, 1), (0.0, 1.0, 2, -1), (3.0, -1.0, 1, 2)]


@pytest.mark.parametrize("arguments", ARANGES)
def test_arange_like_of_a_fixed_axis_is_a_constant(arguments):
    """Oracle: start + step * (i // repeat)."""
    prepared = prepare(unary(ARANGE_LIKE, *arguments, shape=X.shape))
    start, step, repeat, axis = arguments
    expected = [start + step * (i // repeat) for i in range(X.shape[axis])]
    assert tensor_of(prepared, output_nodes(prepared.graph)[0]).tolist() == expected


def test_arange_like_of_all():
    def build(e, x):
        return e.call(aten.add.Tensor, x, e.call(ARANGE_LIKE, e.constant("w", draw(3, 4)), 0.0, 1.0, 1, None))

    module = graph(build, X.shape)
    assert_same_values(module, prepare(module), X, tolerance=0)
    assert torch.equal(module(X)[0] - X + X, X + torch.arange(12.0).reshape(3, 4))


@pytest.mark.parametrize("shape, axis", [((2, 3), 0), ((2, 3), None), ((3, -1), 1)])
def test_counting_the_batch_is_refused(shape, axis):
    with pytest.raises(UnsupportedOperatorError, match="it counts the batch"):
        prepare(unary(ARANGE_LIKE, 0.0, 1.0, 1, axis, shape=shape))


def test_aranges_are_folded():
    def build(e, x):
        made = e.call(aten.arange.start_step, 1, 4, 1, dtype=torch.float64)
        made.meta["val"] = made.meta["val"].to("meta")
        return e.call(aten.mul.Tensor, x, made)

    module = graph(build, (2, 3))
    assert operators(prepare(module)) == ["mul"]
    assert_same_values(module, prepare(module), draw(2, 3), tolerance=0)


def test_operations():
    """mrt-core 8: the output elements."""
    module = unary(aten.zeros_like.default, shape=X.shape)
    assert apply_pass("calculate_ops", next(n for n in module.graph.nodes if n.op == "call_function")) == 24
