"""Pad against torch on the quantized input."""

from __future__ import annotations

import math

import pytest
import torch

from mrt_torch.errors import UnsupportedOperatorError
from mrt_torch.ops import apply_pass
from mrt_torch.passes import prepare
from tests.mrt_torch.ops.free_axis_models import check_exact
from tests.mrt_torch.ops.graphs import (
    assert_same_values,
    assert_within,
    aten,
    draw,
    integer_model,
    operators,
    rewritten,
    unary,
)

X = draw(2, 3, 6, 5)
PAD = aten.constant_pad_nd.default


PADS = [[1, 1], [0, 2], [1, 0, 2, 3], [0, 0, 0, 0, 1, 2], [1, 1, 1, 1, 0, 1], [-1, 0], [-1, -2, 1, -1], [2, -3, -2, 2],
        [0, 0, 0, 0, -1, 1], [0, 0]]


@pytest.mark.parametrize("amounts", PADS)
def test_padding_with_zero_is_exact(amounts):
    """Oracle: torch's constant_pad_nd of the quantized input; negative amounts crop."""
    model = integer_model(unary(PAD, amounts, 0.0, shape=X.shape), X)
    for x in (X, draw(5, 3, 6, 5)):
        assert torch.equal(model(x), PAD(model.seen(x), amounts, 0.0))


@pytest.mark.parametrize("amounts", PADS)
@pytest.mark.parametrize("value", [0.5, -0.3, 1e-3, -40.0, 1e6])
def test_padding_with_a_number(amounts, value):
    """mrt-core 8: the original did not scale the number. Bound: half a unit of 16 bits each for input and number."""
    model = integer_model(unary(PAD, amounts, value, shape=X.shape), X)
    expected = PAD(model.seen(X), amounts, value)
    assert_within(model(X), expected, 1.1 * max(1, abs(value)) / 32767)


def test_padding_zeros_with_a_number():
    """Calibration saw zeros: the number decides the scale."""
    zeros = torch.zeros(2, 3, dtype=torch.float64)
    module = unary(PAD, [1, 1], 3e-3, shape=(2, 3))
    assert_within(integer_model(module, zeros)(zeros), module(zeros)[0], 3e-3 * 2 ** -15)


def test_default_value_is_zero():
    model = integer_model(unary(PAD, [1, 1], shape=X.shape), X)
    assert torch.equal(model(X), torch.nn.functional.pad(model.seen(X), (1, 1)))


@pytest.mark.parametrize("amounts, value, reason", [
    ([1, 1], math.inf, "it pads with inf"), ([1, 1], math.nan, "it pads with nan"),
    ([0, 0] * 3 + [1, 0], 0.0, "it pads the batch axis"), ([-2, -3], 0.0, "it crops an axis .* completely"),
    ([-5, 6], 0.0, "it crops an axis .* completely")])
def test_pads_that_are_refused(amounts, value, reason):
    module = unary(PAD, [1, 1], value, shape=X.shape)
    node = next(n for n in module.graph.nodes if n.op == "call_function")
    node.args = (node.args[0], amounts, value)
    with pytest.raises(UnsupportedOperatorError, match=reason):
        prepare(module)


def test_operations():
    """mrt-core 8: the output elements."""
    module = unary(PAD, [1, 1], 0.0, shape=X.shape)
    assert apply_pass("calculate_ops", next(n for n in module.graph.nodes if n.op == "call_function")) == 2 * 3 * 6 * 7


@pytest.mark.parametrize("value", [0.0, 0.25])
def test_a_border_before_the_batch(value):
    """Axis 0 of (4, N) is padded. Bound: half a unit of 16 bits for a number."""
    check_exact(lambda e, x: e.call(PAD, x, [0, 0, 1, 2], value), (4, -1), lambda x: PAD(x, [0, 0, 1, 2], value),
                1.1 / 32767 if value else 0)


BORDERS = [([1, 2, 3, 1], "reflect"), ([1, 2, 3, 1], "replicate"), ([1, 2, 3, 1], "circular"),
           ([0, 4, 0, 0], "reflect"), ([2, 0, -1, 3], "replicate"), ([0, 0, 5, 5], "reflect"),
           ([5, 0, 6, 6], "circular"), ([1, 1], "constant")]


@pytest.mark.parametrize("amounts, mode", BORDERS)
def test_borders_of_what_is_there_are_exact(amounts, mode):
    """Oracle: torch's pad of the quantized input; slices, reversed or repeated, around it."""
    module = unary(aten.pad.default, amounts, mode, shape=X.shape)
    assert "pad" not in operators(prepare(module))
    assert_same_values(module, rewritten(module), X, tolerance=0)
    model = integer_model(module, X)
    for x in (X, draw(5, 3, 6, 5)):
        assert torch.equal(model(x), aten.pad.default(model.seen(x), amounts, mode))


def test_a_border_of_three_axes():
    module = unary(aten.pad.default, [1, 1, 0, 2, 1, 0], "reflect", shape=(2, 2, 3, 4, 3))
    assert_same_values(module, prepare(module), draw(2, 2, 3, 4, 3), tolerance=0)


def test_a_pad_of_nothing_vanishes():
    assert operators(rewritten(unary(PAD, [0, 0], 1.0, shape=X.shape))) == []


def test_a_border_of_the_batch_is_refused():
    """(3, N): the batch is the last axis."""
    with pytest.raises(UnsupportedOperatorError, match="it pads the batch axis"):
        prepare(unary(aten.pad.default, [1, 1], "replicate", shape=(3, -1)))
