"""Slice, Concat and Pad against torch on the quantized input."""

from __future__ import annotations

import math

import pytest
import torch

from mrt_torch.errors import UnsupportedOperatorError
from mrt_torch.ops import apply_pass
from mrt_torch.passes import prepare, prepare_for_compile
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

X = draw(2, 3, 6, 5)
END = 2 ** 63 - 1
SLICES = [(1, 0, 2, 1), (2, 1, END, 2), (3, -3, -1, 1), (-1, 0, 100, 3), (2, 5, 6, 1), (1, None, 2), (2, 1, None, 5)]


@pytest.mark.parametrize("arguments", SLICES)
def test_slices_are_exact(arguments):
    """Oracle: torch's slice of the quantized input, also at another batch."""
    module = unary(aten.slice.Tensor, *arguments, shape=X.shape)
    assert_untouched(module, X)
    model = integer_model(module, X)
    for x in (X, draw(5, 3, 6, 5)):
        assert torch.equal(model(x), aten.slice.Tensor(model.seen(x), *arguments))


@pytest.mark.parametrize("arguments", [(1,), (0, 0, END, 1), (2, -6, 6, 1), (3, 0, 5)])
def test_a_slice_of_everything_vanishes(arguments):
    module = unary(aten.slice.Tensor, *arguments, shape=X.shape)
    assert operators(rewritten(module)) == []
    assert_same_values(module, rewritten(module), X, tolerance=0)


@pytest.mark.parametrize("arguments, reason", [((0, 1, 2, 1), "it cuts the batch axis"),
                                               ((0, 0, END, 2), "it cuts the batch axis"),
                                               ((1, 3, 3, 1), r"it takes nothing: 3\.\.3 of axis 1"),
                                               ((2, 4, 1, 1), "it takes nothing")])
def test_slices_that_are_refused(arguments, reason):
    with pytest.raises(UnsupportedOperatorError, match=reason):
        prepare(unary(aten.slice.Tensor, *arguments, shape=X.shape))


def test_ends_are_settled_with_the_batch():
    """The runtime takes an end beyond the extent for the extent; other readers need not."""
    model = integer_model(unary(aten.slice.Tensor, 2, 1, 4, 1, shape=X.shape), X)
    assert model.node("strided_slice").kwargs["end"][0] == 2 ** 31 - 1
    fixed = prepare_for_compile(model.module, {"data": (7, 3, 6, 5)})
    node = next(n for n in fixed.graph.nodes if n.op == "call_function")
    assert node.kwargs == {"begin": [0, 0, 1, 0], "end": [7, 3, 4, 5], "stride": [1, 1, 1, 1]}
    again = prepare_for_compile(fixed, {})
    assert next(n for n in again.graph.nodes if n.op == "call_function").kwargs == node.kwargs


@pytest.mark.parametrize("axis", [1, 2, -1])
def test_concat_of_one_scale_is_exact(axis):
    """Oracle: torch's cat; parts of one scale within 16 bits are taken as they are."""
    def build(e, x):
        return e.call(aten.cat.default, [x, e.call(aten.relu.default, x), x], axis)

    model = integer_model(graph(build, X.shape), X)
    assert operators(model.module) == ["relu", "concatenate"]
    seen = model.seen(X)
    assert torch.equal(model(X), torch.cat([seen, seen.relu(), seen], axis))


@pytest.mark.parametrize("factors", [(1.0, 0.001), (100.0, 1.0), (-3.0, 0.7)])
def test_concat_of_mixed_scales(factors):
    """Bound: half a unit of the 16 bits of the largest part, and the rounding of the fraction, below 2**-11 of it."""
    def build(e, x):
        return e.call(aten.cat.default, [e.call(aten.mul.Scalar, x, f) for f in factors], 1)

    model = integer_model(graph(build, X.shape), X)
    seen, largest = model.seen(X), max(map(abs, factors))
    assert_within(model(X), torch.cat([seen * f for f in factors], 1), 1.1 * largest / 32767)


def test_concat_with_a_zero_part():
    def build(e, x):
        return e.call(aten.cat.default, [x, e.call(aten.mul.Scalar, x, 0.0)], 1)

    model = integer_model(graph(build, X.shape), X)
    seen = model.seen(X)
    assert_within(model(X), torch.cat([seen, seen * 0], 1), 1.1 / 32767)


@pytest.mark.parametrize("axis", [0, -4])
def test_concat_along_the_batch_is_refused(axis):
    with pytest.raises(UnsupportedOperatorError, match="it joins along the batch axis"):
        prepare(graph(lambda e, x: e.call(aten.cat.default, [x, x], axis), X.shape))


PADS = [[1, 1], [0, 2], [1, 0, 2, 3], [0, 0, 0, 0, 1, 2], [1, 1, 1, 1, 0, 1], [-1, 0], [-1, -2, 1, -1], [2, -3, -2, 2],
        [0, 0, 0, 0, -1, 1], [0, 0]]


@pytest.mark.parametrize("amounts", PADS)
def test_padding_with_zero_is_exact(amounts):
    """Oracle: torch's constant_pad_nd of the quantized input; negative amounts crop."""
    model = integer_model(unary(aten.constant_pad_nd.default, amounts, 0.0, shape=X.shape), X)
    for x in (X, draw(5, 3, 6, 5)):
        assert torch.equal(model(x), aten.constant_pad_nd.default(model.seen(x), amounts, 0.0))


@pytest.mark.parametrize("amounts", PADS)
@pytest.mark.parametrize("value", [0.5, -0.3, 1e-3, -40.0, 1e6])
def test_padding_with_a_number(amounts, value):
    """mrt-core 8: the original did not scale the number. Bound: half a unit of 16 bits each for input and number."""
    model = integer_model(unary(aten.constant_pad_nd.default, amounts, value, shape=X.shape), X)
    expected = aten.constant_pad_nd.default(model.seen(X), amounts, value)
    assert_within(model(X), expected, 1.1 * max(1, abs(value)) / 32767)


def test_padding_zeros_with_a_number():
    """Calibration saw zeros: the number decides the scale."""
    zeros = torch.zeros(2, 3, dtype=torch.float64)
    module = unary(aten.constant_pad_nd.default, [1, 1], 3e-3, shape=(2, 3))
    assert_within(integer_model(module, zeros)(zeros), module(zeros)[0], 3e-3 * 2 ** -15)


def test_default_value_is_zero():
    model = integer_model(unary(aten.constant_pad_nd.default, [1, 1], shape=X.shape), X)
    assert torch.equal(model(X), torch.nn.functional.pad(model.seen(X), (1, 1)))


@pytest.mark.parametrize("amounts, value, reason", [
    ([1, 1], math.inf, "it pads with inf"), ([1, 1], math.nan, "it pads with nan"),
    ([0, 0] * 3 + [1, 0], 0.0, "it pads the batch axis"), ([-2, -3], 0.0, "it crops an axis .* completely"),
    ([-5, 6], 0.0, "it crops an axis .* completely")])
def test_pads_that_are_refused(amounts, value, reason):
    module = unary(aten.constant_pad_nd.default, [1, 1], value, shape=X.shape)
    node = next(n for n in module.graph.nodes if n.op == "call_function")
    node.args = (node.args[0], amounts, value)
    with pytest.raises(UnsupportedOperatorError, match=reason):
        prepare(module)


@pytest.mark.parametrize("target, arguments, expected", [
    (aten.slice.Tensor, (2, 1, 4, 1), 2 * 3 * 3 * 5), (aten.constant_pad_nd.default, ([1, 1], 0.0), 2 * 3 * 6 * 7)])
def test_operations(target, arguments, expected):
    """mrt-core 8: the output elements."""
    module = unary(target, *arguments, shape=X.shape)
    assert apply_pass("calculate_ops", next(n for n in module.graph.nodes if n.op == "call_function")) == expected
