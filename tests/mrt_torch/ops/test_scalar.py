"""Operators of a tensor and a number against torch in float64."""

from __future__ import annotations

import math

import pytest
import torch

from mrt_torch.errors import UnsupportedOperatorError
from mrt_torch.passes import prepare
from tests.mrt_torch.ops.graphs import (
    assert_same_values,
    assert_untouched,
    assert_within,
    aten,
    draw,
    graph,
    integer_model,
    operators,
    rewritten,
    unary,
)

X = draw(2, 3, 4, 5)


@pytest.mark.parametrize("target, number, expected", [
    (aten.sub.Scalar, 0.3, ["add"]), (aten.rsub.Scalar, 0.3, ["neg", "add"]), (aten.div.Scalar, 3.0, ["mul"]),
    (aten.sub.Scalar, 0.0, []), (aten.rsub.Scalar, 0, ["neg"]), (aten.div.Scalar, 1, []), (aten.mul.Scalar, 1, []),
    (aten.add.Scalar, 0, []), (aten.div.Scalar, -7, ["mul"])])
def test_rewrite(target, number, expected):
    """Oracle: the operator itself; x * (1 / c) differs from x / c by rounding only, 1e-12."""
    module = unary(target, number)
    assert operators(rewritten(module)) == expected
    assert_same_values(module, rewritten(module), X)


@pytest.mark.parametrize("target, number", [(aten.mul.Scalar, 1.0000001), (aten.mul.Scalar, -1), (aten.mul.Scalar, 0),
                                            (aten.add.Scalar, 1e-9)])
def test_rewrite_leaves_the_others(target, number):
    assert_untouched(unary(target, number), X)


@pytest.mark.parametrize("factor", [3.0, -3.0, 1e-6, 1e6, 0.5, -1.0, 0.0])
def test_a_factor_is_free_and_exact(factor):
    """Oracle: torch's product with the quantized input; the scale is a float, so only its rounding counts."""
    model = integer_model(unary(aten.mul.Scalar, factor), X)
    assert torch.allclose(model(X), model.seen(X) * factor, rtol=1e-12, atol=0)
    assert "broadcast_mul" not in operators(model.module)


@pytest.mark.parametrize("target", [aten.add.Scalar, aten.sub.Scalar, aten.rsub.Scalar])
@pytest.mark.parametrize("number", [0.3, -0.3, 1e-4, 100.0, -1e7, 2.0])
def test_terms(target, number):
    """MRT defect 5: subtraction works in a full flow.

    Bound: half a unit for the input in 16 bits, half for the number; and the rounding of the fraction of the rescaled
    input, below 2**-14 of it where 16 bits are asked of 8.
    """
    model = integer_model(unary(target, number), X)
    assert_within(model(X), target(model.seen(X), number), 1.5 / model.scales[0])
    if abs(number) <= 100 and (number * 127).is_integer():  # nothing is rounded then
        assert torch.allclose(model(X), target(model.seen(X), number), rtol=1e-12, atol=0) and model.scales == [127.0]
    else:
        assert 1 / model.scales[0] <= max(abs(number), 1) * 2 ** -14


def test_adding_to_a_finer_tensor_keeps_its_scale():
    """A tensor of more than 16 bits is not rescaled to add a number. Oracle: float64 on the quantized input.

    Only in the recipe that gives such tensors: others bring the columns of the product to one scale of 16 bits.
    """
    weight = draw(7, 3, seed=1)
    module = graph(lambda e, x: e.call(aten.add.Scalar, e.call(aten.linear.default, x, e.constant("w", weight)), 0.7),
                   (2, 3))
    x = draw(2, 3)
    model = integer_model(module, x, recipe="original")
    assert operators(model.module) == ["dense", "broadcast_add"]
    quantized_weight = (weight * 127).round() / 127
    assert_within(model(x), model.seen(x) @ quantized_weight.T + 0.7, 0.5 / model.scales[0])


def test_a_tower_of_wide_sums_stays_within_32_bits():
    """Weights next to zero beside an ordinary bias give 30 bits; numbers added on top are not added to 31 and more.

    Oracle: the bias and the numbers. Bound: 16 bits of the largest sum, twice.
    """
    def build(e, x):
        bias = e.constant("b", torch.full((4,), 0.9, dtype=torch.float64))
        y = e.call(aten.linear.default, x, e.constant("w", draw(4, 3) * 1e-12), bias)
        for number in (0.9, 0.8, 0.7, 0.6):
            y = e.call(aten.add.Scalar, y, number)
        return y

    x = draw(2, 3)
    model = integer_model(graph(build, x.shape), x)
    assert_within(model(x), torch.full((2, 4), 3.9, dtype=torch.float64), 3.9 * 2 ** -14)


def test_zero_input_plus_a_number():
    """An input that calibration saw as zero does not decide the scale of the sum."""
    zeros = torch.zeros(2, 3, dtype=torch.float64)
    model = integer_model(unary(aten.add.Scalar, 3e-5, shape=(2, 3)), zeros)
    assert_within(model(zeros), torch.full((2, 3), 3e-5, dtype=torch.float64), 3e-5 * 2 ** -14)


@pytest.mark.parametrize("magnitude", [1e-3, 1e-9, 1e-12, 1e-30])
def test_a_tensor_next_to_zero_plus_a_number(magnitude):
    """A tensor far below a unit of the sum counts as zero. Bound: a unit of the 16 bits that hold the number."""
    def build(e, x):
        y = e.call(aten.linear.default, x, e.constant("w", draw(4, 3) * magnitude))
        return e.call(aten.add.Scalar, y, 0.7), e.call(aten.constant_pad_nd.default, y, [1, 0], -0.7)

    module, x = graph(build, (2, 3)), draw(2, 3)
    model = integer_model(module, x)
    for found, scale, expected in zip(model.integers(x), model.scales, module(x), strict=True):
        assert_within(found.double() / scale, expected, 0.7 * 2 ** -15 + 0.03 * magnitude)


@pytest.mark.parametrize("number", [math.inf, -math.inf, math.nan])
def test_numbers_that_are_not_finite_are_refused(number):
    with pytest.raises(UnsupportedOperatorError, match="its number is"):
        prepare(unary(aten.add.Scalar, number))


def test_division_by_zero_is_refused():
    with pytest.raises(UnsupportedOperatorError, match="it divides by zero"):
        prepare(unary(aten.div.Scalar, 0))
