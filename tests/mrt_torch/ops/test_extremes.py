"""Argmax and Argmin in integers. Oracle: torch on the quantized input, exactly, ties included."""

from __future__ import annotations

import pytest
import torch

from mrt_torch.errors import UnsupportedOperatorError
from mrt_torch.passes import prepare
from tests.mrt_torch.ops.graphs import (
    assert_same_values,
    assert_untouched,
    aten,
    draw,
    graph,
    integer_model,
    operators,
    transposed,
    unary,
)

EXTREMES = {"argmax": aten.argmax.default, "argmin": aten.argmin.default}


@pytest.mark.parametrize("shape, axis", [((3, 7), 1), ((3, 4, 5), 1), ((2, 3, 4, 5), 2), ((2, 3, 4, 1), 2),
                                         ((2, 1, 4, 5), -1), ((2, 1, 6, 1), 2), ((3, 300), 1), ((2, 5, 1), 2)])
@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("name", EXTREMES)
def test_indices(name, keepdims, shape, axis):
    """Coarse inputs have many ties: the first wins."""
    x = draw(*shape)
    model = integer_model(unary(EXTREMES[name], axis, keepdims, shape=shape), x, input_precision=4, output_precision=8)
    assert model.scales == [1.0]
    assert torch.equal(model.integers(x)[0].long(), EXTREMES[name](model.seen(x), axis, keepdims))


@pytest.mark.parametrize("name", EXTREMES)
def test_all_equal(name):
    """A tensor of zeros, which has one bit. Oracle: index 0."""
    x = torch.zeros(2, 5, dtype=torch.float64)
    model = integer_model(unary(EXTREMES[name], 1, False, shape=x.shape), x)
    assert torch.equal(model.integers(x)[0], torch.zeros(2, dtype=torch.int32))


def test_an_index_that_calibration_saw_as_zero():
    """It is no constant. Oracle: torch."""
    def build(e, x):
        index = e.call(aten._to_copy.default, e.call(aten.argmax.default, x, 1, True), dtype=torch.float64)
        return e.call(aten.mul.Tensor, index, e.call(aten.amax.default, x, [1], True))

    seen = torch.tensor([[1.0, 0.5, 0.25]], dtype=torch.float64)
    other = torch.tensor([[0.25, 0.5, 1.0]], dtype=torch.float64)
    model = integer_model(graph(build, seen.shape), seen)
    assert torch.allclose(model(other), torch.tensor([[2.0]]).double(), rtol=1e-3)


def test_wide_inputs():
    """Accumulators of nearly 30 bits are compared as they are. Oracle: the integers themselves."""
    weight = draw(9, 600, seed=3)

    def build(e, x):
        y = e.call(aten.linear.default, x, e.constant("w", weight))
        return e.call(aten.argmax.default, y, 1, False), y

    x = draw(4, 600)
    index, y = integer_model(graph(build, x.shape), x).integers(x)
    assert torch.equal(index.long(), y.argmax(1))


@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("name", EXTREMES)
def test_transposes_sink(name, keepdims):
    """Oracle: the graph before, exactly."""
    def build(e, x):
        return e.call(EXTREMES[name], e.call(aten.permute.default, x, [0, 3, 1, 2]), 1, keepdims)

    module = graph(build, (2, 3, 4, 5))
    after = transposed(module)
    assert operators(after) == ([name, "permute"] if keepdims else [name])
    assert_same_values(module, after, draw(2, 3, 4, 5), tolerance=0)


def test_a_transpose_with_other_readers_stays():
    def build(e, x):
        y = e.call(aten.permute.default, x, [0, 2, 1])
        return e.call(aten.argmax.default, y, 1, False), y

    assert operators(transposed(graph(build, (2, 3, 4)))) == ["permute", "argmax"]
    assert_untouched(graph(build, (2, 3, 4)), draw(2, 3, 4))


@pytest.mark.parametrize("axis", [0, -2, None])
def test_the_batch_cannot_be_searched(axis):
    with pytest.raises(UnsupportedOperatorError, match="it searches the batch axis"):
        prepare(unary(aten.argmax.default, axis, False, shape=(2, 3)))
