"""relu, LeakyReLU, clip and dropout against torch in float64."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mrt_torch.errors import UnsupportedOperatorError
from mrt_torch.ops import apply_pass
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


def test_relu_is_exact_on_the_quantized_input():
    """Oracle: torch's relu of what the integer model sees."""
    model = integer_model(unary(aten.relu.default), X)
    assert torch.equal(model(X), model.seen(X).relu())
    assert operators(model.module) == ["relu"]


@pytest.mark.parametrize("slope", [0.25, 0.01, 0.0, -0.5, 1.0, 3.0])
def test_leaky_relu_becomes_two_relus(slope):
    """Oracle: torch's leaky_relu; x - slope * y rounds once more, so 1e-12 relative."""
    module = unary(aten.leaky_relu.default, slope)
    after = rewritten(module)
    assert "leaky_relu" not in operators(after)
    assert_same_values(module, after, X)


def test_leaky_relu_without_slope_takes_the_default_of_torch():
    module = graph(lambda editor, x: editor.call(aten.leaky_relu.default, x), X.shape)
    assert_same_values(module, rewritten(module), X)


@pytest.mark.parametrize("slope", [0.25, 0.01, 0.0, -0.5, 3.0])
def test_quantized_leaky_relu(slope):
    """MRT defect 1: every variant of LeakyReLU is right or refused.

    Bound: both terms are rounded to the 16 bits that hold the larger threshold; with the rounding of their fractions,
    which have some 20 bits here, one unit each covers it.
    """
    model = integer_model(unary(aten.leaky_relu.default, slope), X)
    expected = torch.nn.functional.leaky_relu(model.seen(X), slope)
    assert_within(model(X), expected, 2 * max(1, abs(slope)) / 32767)


@pytest.mark.parametrize("bounds", [(-0.5, 0.5), (0.1, 0.7), (-0.7, -0.1), (0.0, 0.5), (None, 0.3), (-0.3, None),
                                    (0.0, None), (0.0, 6.0), (-6.0, 6.0), (None, 0.0), (-0.9, 0.001)])
def test_clip_rounds_its_bounds(bounds):
    """Oracle: torch's clamp of the quantized input, with bounds off by half a unit at most."""
    model = integer_model(unary(aten.clamp.default, *bounds), X)
    assert_within(model(X), model.seen(X).clamp(*bounds), 0.5 / model.scales[0])


@pytest.mark.parametrize("bounds", [(2.0, None), (2.0, 5.0), (None, -3.0), (-7.0, -3.0), (1e6, 1e7), (None, -1e9),
                                    (0.3, 0.3), (0.0, 0.0), (0.3, 0.301), (-2.0, -0.999), (0.9999, None)])
def test_clip_to_one_side_of_all_values_is_one_number(bounds):
    """Oracle: torch's clamp. Bound: half an input unit, or half of the 16 bits that hold the number."""
    model = integer_model(unary(aten.clamp.default, *bounds), X)
    expected = X.clamp(*bounds)
    assert_within(model(X), expected, max(0.5 / model.scales[0], 1 / 127))
    if bounds not in ((-2.0, -0.999), (0.9999, None)):
        assert_within(model(X), expected, 1e-3)


def test_clip_that_never_acts_emits_nothing():
    assert operators(integer_model(unary(aten.clamp.default, -2.0, 2.0), X).module) == ["cvm_clip"]  # own output node


@pytest.mark.parametrize("bounds", [(1.0, 0.5), (math.nan, 1.0), (0.0, math.nan)])
def test_clip_refuses_what_is_no_interval(bounds):
    with pytest.raises(UnsupportedOperatorError, match="are not an interval"):
        prepare(unary(aten.clamp.default, *bounds))


def test_clip_from_zero_upwards_is_a_relu():
    module = unary(aten.clamp.default, 0.0, None)
    assert operators(rewritten(module)) == ["relu"]
    assert_same_values(module, rewritten(module), X, tolerance=0)


@pytest.mark.parametrize("bounds", [(0.0, 6.0), (0.1, None), (None, 0.0), (-0.1, None)])
def test_other_clips_stay_clips(bounds):
    assert_untouched(unary(aten.clamp.default, *bounds), X)


def test_dropout_vanishes():
    module = unary(aten.dropout.default, 0.5, False)
    assert operators(rewritten(module)) == []
    assert_same_values(module, rewritten(module), X, tolerance=0)


@pytest.mark.parametrize("target", [aten.relu.default, aten.clamp.default, aten.leaky_relu.default])
def test_operations_are_the_output_elements(target):
    """mrt-core 8: column O is "out"."""
    module = unary(target, *(() if target is aten.relu.default else (0.1,)))
    assert apply_pass("calculate_ops", next(iter(module.graph.find_nodes(op="call_function", target=target)))) == 120


@settings(deadline=None, max_examples=25)
@given(low=st.floats(-3, 3), width=st.floats(0, 3), magnitude=st.sampled_from([0.01, 1.0, 50.0]))
def test_any_clip_is_within_half_a_unit(low, width, magnitude):
    """Oracle: torch's clamp of the quantized input."""
    x = X * magnitude
    model = integer_model(unary(aten.clamp.default, low, low + width), x)
    unit = magnitude / 127
    assert_within(model(x), model.seen(x).clamp(low, low + width), max(unit, 3 * 2 ** -15) / 2)


def test_a_zero_threshold_clips_to_the_bound():
    """An input that calibration saw as zero: clamp(0, 0.25, 1) is 0.25."""
    zeros = torch.zeros_like(X)
    model = integer_model(unary(aten.clamp.default, 0.25, 1.0), zeros)
    assert_within(model(zeros), torch.full_like(X, 0.25), 1e-4)
