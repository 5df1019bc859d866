"""Softmax of sums with a huge term that nothing recognised as a mask, against float."""

from __future__ import annotations

import pytest
import torch

from tests.mrt_torch.ops.graphs import aten, draw, graph, integer_model, operators, relative_error

SHAPE = (2, 4, 6)


def masked(number, sign=1):
    """softmax(scores + number * (m - 1)) of two halves of the input, the mask m of 0 and 1 being the second."""
    def build(e, x):
        scores, mask = (e.call(aten.slice.Tensor, x, 1, begin, begin + 2) for begin in (0, 2))
        excluded = e.call(aten.sub.Scalar, mask, 1.0)
        term = e.call(aten.mul.Scalar, excluded, sign * number)
        total = e.call(aten.sub.Tensor if sign < 0 else aten.add.Tensor, scores, term)
        return e.call(aten.softmax.int, total, 2)
    return graph(build, SHAPE)


def scores_and_mask(magnitude=1.0):
    x = draw(*SHAPE, magnitude=magnitude)
    x[:, 2:] = (draw(2, 2, 6, seed=4) > -0.2).double()
    x[:, 2:, 1] = 1.0
    return x


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("number", [1e3, 1e4, 1e9, 1e18])
def test_a_computed_mask(number, sign):
    """Oracle: torch. Bound: 1 %; the sum itself would have units of number / 32767."""
    x = scores_and_mask()
    module = masked(number, sign)
    model = integer_model(module, x, input_precision=16)
    assert relative_error(model(x), module(x)[0]) < 0.01


@pytest.mark.parametrize("magnitude", [0.1, 5.0, 100.0])
def test_a_wide_bias_that_is_no_mask(magnitude):
    """A constant of all sizes, -3000..3000, keeps what counts. Oracle: torch; 1 %, and the units of the sum."""
    bias = torch.linspace(-3000, 3000, 24, dtype=torch.float64).reshape(4, 6)
    bias[:, ::2] = bias[:, 1::2] - 0.5

    def build(e, x):
        return e.call(aten.softmax.int, e.call(aten.add.Tensor, x, e.constant("bias", bias)), 2)

    x = draw(*SHAPE, magnitude=magnitude)
    module = graph(build, SHAPE)
    model = integer_model(module, x, input_precision=16)
    assert relative_error(model(x), module(x)[0]) < 0.01 + 2 * magnitude / 32767


def test_a_term_that_is_the_same_along_the_axis_has_no_effect():
    """Oracle: softmax without it."""
    def build(e, x):
        level = e.call(aten.mul.Scalar, e.call(aten.amax.default, x, [2], True), 1e6)
        return e.call(aten.softmax.int, e.call(aten.add.Tensor, x, level), 2)

    x = draw(*SHAPE, magnitude=3.0)
    model = integer_model(graph(build, SHAPE), x, input_precision=16)
    assert relative_error(model(x), x.softmax(2)) < 0.005


@pytest.mark.parametrize("build", [
    lambda e, x: e.call(aten.add.Tensor, x, e.call(aten.abs.default, x)),
    lambda e, x: e.call(aten.mul.Scalar, e.call(aten.add.Tensor, x, e.call(aten.abs.default, x)), 1e4)])
def test_near_misses(build):
    """Ordinary sums, and sums that only a factor makes huge, are taken as they are. Oracle: the operators."""
    x = draw(*SHAPE)
    model = integer_model(graph(lambda e, v: e.call(aten.softmax.int, build(e, v), 2), SHAPE), x, input_precision=16)
    assert operators(model.module).count("max") == 1
