"""Rounding and casts in integers. Oracle: torch on the quantized input."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mrt_torch.errors import UnsupportedOperatorError
from mrt_torch.ops.rounding import ROUND_HALF_AWAY, ROUND_HALF_DOWN
from mrt_torch.passes import prepare
from tests.mrt_torch.ops.graphs import aten, both_recipes, draw, graph, integer_model, operators, rewritten, unary

ROUNDINGS = {"floor": aten.floor.default, "ceil": aten.ceil.default, "trunc": aten.trunc.default,
             "even": aten.round.default, "away": ROUND_HALF_AWAY, "down": ROUND_HALF_DOWN}


def exactly(name: str, value: Fraction) -> int:
    """The rounding in rational numbers."""
    if name == "even":
        return round(value)
    half = Fraction(1, 2)
    return {"floor": math.floor(value), "ceil": math.ceil(value), "trunc": math.trunc(value),
            "away": math.floor(value + half) if value >= 0 else math.ceil(value - half),
            "down": math.ceil(value - half)}[name]


@given(name=st.sampled_from(sorted(ROUNDINGS)), power=st.integers(-3, 12), bits=st.integers(2, 14))
@settings(max_examples=50, deadline=None)
def test_at_powers_of_two(name, power, bits):
    """Every integer of the input, at the scale 2**power. Oracle: rational numbers."""
    top = 2 ** (bits - 1) - 1
    integers = torch.arange(-top, top + 1).reshape(1, -1)
    x = integers.double() / 2.0 ** power
    model = integer_model(unary(ROUNDINGS[name], shape=x.shape), x, input_precision=bits)
    assert torch.equal(model.input_integers(x).long(), integers)
    expected = [exactly(name, Fraction(int(i)) / Fraction(2) ** power) for i in integers[0]]
    assert model.scales == [1.0]
    assert model.integers(x)[0][0].tolist() == expected


@pytest.mark.parametrize("threshold", [0.01, 0.7, 3.0, 100.0, 700.0, 1e5])
@pytest.mark.parametrize("bits", [8, 12, 16, 20])
@pytest.mark.parametrize("name", ROUNDINGS)
def test_at_other_scales(name, bits, threshold):
    """Within a step, wherever the input is further from the step than a unit of its grid and what 30 bits round."""
    x = draw(4, 500, magnitude=threshold)
    module = unary(ROUNDINGS[name], shape=x.shape)
    model = integer_model(module, x, input_precision=bits)
    found, unit = model(x), threshold / (2 ** (bits - 1) - 1)
    expected, near = module(x)[0], max(unit, threshold * 2 ** -13)
    low, high = (module(x + side * near)[0] for side in (-1, 1))
    assert model.scales == [1.0]
    assert bool(((low <= found) & (found <= high)).all())
    if near < 0.01:
        assert (found != expected).double().mean() < 0.02


@pytest.mark.parametrize("bits", [8, 11, 16])
@pytest.mark.parametrize("largest", [5, 29, 100])
@pytest.mark.parametrize("name", ROUNDINGS)
def test_whole_numbers_stay(name, largest, bits):
    """Whatever the scale, as long as its unit is below one."""
    x = torch.arange(-largest, largest + 1).double().reshape(1, -1)
    model = integer_model(unary(ROUNDINGS[name], shape=x.shape), x, input_precision=bits)
    assert torch.equal(model(x), x)


def test_quotients_of_indices():
    """floor(i / 3) and i % 3, exactly: the scale 3 is no power of two."""
    def build(e, x):
        index = e.call(aten._to_copy.default, e.call(aten.argmax.default, x, 1, False), dtype=torch.float64)
        third = e.call(aten.floor.default, e.call(aten.div.Scalar, index, 3.0))
        return third, e.call(aten.sub.Tensor, index, e.call(aten.mul.Scalar, third, 3.0))

    x = torch.eye(50, dtype=torch.float64)
    model = integer_model(graph(build, x.shape), x)
    third, rest = (value.double() / scale for value, scale in zip(model.integers(x), model.scales, strict=True))
    assert torch.equal(third, torch.arange(50).double() // 3)
    assert torch.allclose(rest, torch.arange(50).double() % 3, atol=0.01)


@pytest.mark.parametrize("threshold", [2.0 ** 31, 1e12, 1e30])
@pytest.mark.parametrize("name", ROUNDINGS)
def test_values_that_30_bits_do_not_hold_stay(name, threshold):
    """They have no fraction to speak of. Bound: the grid of the input."""
    x = draw(2, 50, magnitude=threshold)
    model = integer_model(unary(ROUNDINGS[name], shape=x.shape), x)
    assert torch.allclose(model(x), x, rtol=0, atol=threshold / 127)


@both_recipes
@pytest.mark.parametrize("name", ROUNDINGS)
def test_wide_inputs(name, recipe):
    """Accumulators of more than 18 bits. Bound: 2**-13 of the largest. Where they have scales of their own they are
    brought to one scale of 18 bits, of which calibration fills 16, beside a fraction of 12: 2**-12 of 4 times as much.
    """
    x, weight = draw(3, 400, magnitude=2.0), draw(7, 400, seed=5, magnitude=3.0)

    def build(e, x):
        y = e.call(aten.linear.default, x, e.constant("w", weight))
        return e.call(ROUNDINGS[name], y), y

    model = integer_model(graph(build, x.shape), x, recipe=recipe)
    found, y = (value.double() / scale for value, scale in zip(model.integers(x), model.scales, strict=True))
    near = float(y.abs().max()) * (2 ** -13 if recipe == "original" else 2 ** -10)
    low, high = (ROUNDINGS[name](y + side * near) for side in (-1, 1))
    assert bool(((low <= found) & (found <= high)).all())


def test_sign():
    """Exact, at scale 1."""
    x = draw(2, 3, 4)
    model = integer_model(unary(aten.sign.default, shape=x.shape), x, output_precision=8)
    assert torch.equal(model(x)[x != 0], model.seen(x).sign()[x != 0]) and model.scales != [127.0]


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64])
def test_casts_truncate(dtype):
    """The output has the scale 1, whatever precision is asked for."""
    x = draw(2, 60, magnitude=8.0)
    model = integer_model(graph(lambda e, x: e.call(aten._to_copy.default, x, dtype=dtype), x.shape), x,
                          output_precision=16, input_precision=15)
    assert model.scales == [1.0]
    assert (model(x) == x.trunc()).double().mean() > 0.97


def test_casts_that_cost_nothing():
    """Between floats, and from truth values and integers."""
    def build(e, x):
        y = e.call(aten._to_copy.default, e.call(aten._to_copy.default, x, dtype=torch.float32), dtype=torch.float64)
        return y, e.call(aten._to_copy.default, e.call(aten.gt.Scalar, x, 0.1), dtype=torch.int64)

    x = draw(2, 60)
    model = integer_model(graph(build, x.shape), x)
    assert set(operators(model.module)) == {"broadcast_greater", "cvm_clip"}
    assert torch.equal(model.integers(x)[1], (model.seen(x) > 0.1).int())


def test_cast_to_truth_values():
    """What is not 0. Oracle: the operators by name."""
    module = graph(lambda e, x: e.call(aten._to_copy.default, x, dtype=torch.bool), (2, 3))
    assert operators(rewritten(module)) == ["eq", "logical_not"]
    same = graph(lambda e, x: e.call(aten._to_copy.default, x, dtype=torch.float64), (2, 3))
    assert operators(rewritten(same)) == []


@pytest.mark.parametrize("dtype", [torch.int8, torch.uint8, torch.int16, torch.complex64])
def test_casts_that_wrap_are_refused(dtype):
    with pytest.raises(UnsupportedOperatorError, match="it casts torch.float64"):
        prepare(graph(lambda e, x: e.call(aten._to_copy.default, x, dtype=dtype), (2, 3)))


def test_rounding_of_whole_numbers_is_dropped():
    """Indices and truth values. Oracle: the operators by name."""
    def build(e, x):
        index = e.call(aten._to_copy.default, e.call(aten.argmax.default, x, 1, False), dtype=torch.float64)
        return e.call(aten.floor.default, e.call(aten.reshape.default, index, [-1, 1]))

    assert operators(rewritten(graph(build, (2, 3)))) == ["argmax", "_to_copy", "reshape"]
