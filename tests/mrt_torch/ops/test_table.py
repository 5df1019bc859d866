"""Functions by table: what is looked up, how many bits index the table, and what its entries are."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mrt_torch import ops
from mrt_torch.cvm.interval import Interval
from mrt_torch.graph.facts import set_facts
from mrt_torch.ops import TRANSFORMERS, Activation, Exp, Sigmoid, Tanh, apply_pass, register_transformer
from mrt_torch.ops.table import index_precision, quantize_table, tabulate
from mrt_torch.quantization import Quantized
from tests.mrt_torch.ops.functions import looked_up, table_of
from tests.mrt_torch.ops.graphs import (
    assert_untouched,
    assert_within,
    aten,
    draw,
    graph,
    integer_model,
    operators,
    relative_error,
    unary,
)

TARGETS = {"sigmoid": aten.sigmoid.default, "tanh": aten.tanh.default, "exp": aten.exp.default}
MAGNITUDES = [0.01, 0.1, 1.0, 4.0, 10.0, 80.0]


@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.parametrize("magnitude", [1e-6, *MAGNITUDES])
@pytest.mark.parametrize("bits", [8, 12, 24])
def test_against_the_function_of_the_integers_looked_up(name, magnitude, bits):
    """Oracle: the function in float64 of the integers looked up, divided by their scale.

    Bound: half a unit of 16 bits of the largest value of the table, which is at most the double of the largest that
    occurs; and 0.5 % relative in the norm, of which that is less than a tenth.
    """
    x = draw(4, 50, magnitude=magnitude)
    model = integer_model(unary(TARGETS[name], shape=x.shape), x, input_precision=bits)
    values = looked_up(model, x)
    expected = TARGETS[name](values)
    assert_within(model(x), expected, 0.5 * 2 * float(TARGETS[name](values.abs().max())) / 32767)
    assert relative_error(model(x), expected) < 0.0005


@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.parametrize("magnitude", MAGNITUDES)
def test_against_the_function_of_the_input(name, magnitude):
    """Oracle: the function itself; 1 % relative in the norm is what the number of bits is chosen for."""
    x = draw(4, 500, magnitude=magnitude)
    model = integer_model(unary(TARGETS[name], shape=x.shape), x, input_precision=24)
    assert relative_error(model(x), TARGETS[name](x)) < 0.01


@pytest.mark.parametrize("span", [1, 2, 4, 8])
@pytest.mark.parametrize("name", ["sigmoid", "tanh"])
@pytest.mark.parametrize("magnitude", MAGNITUDES)
def test_values_that_do_not_fill_the_range(name, magnitude, span):
    """Most of the data is next to zero, as behind a normalization. Oracle: the function itself, 1 %."""
    x = draw(4, 500, magnitude=magnitude / span)
    calibration = torch.cat([x, torch.full((1, 500), magnitude, dtype=torch.float64)])
    model = integer_model(unary(TARGETS[name], shape=x.shape), calibration, input_precision=24)
    assert relative_error(model(x), TARGETS[name](x)) < 0.01


def test_the_original_was_off_by_half_for_such_values():
    """8 bits whatever the function: tanh of an eighth of the range. Oracle: the two errors."""
    x, calibration = draw(4, 500, magnitude=0.125), draw(4, 500)
    module = unary(aten.tanh.default, shape=x.shape)
    errors = [relative_error(integer_model(module, calibration, input_precision=24, **settings)(x), x.tanh())
              for settings in ({"operator_precisions": {"tanh": 8}}, {})]
    assert errors[0] > 0.02 and errors[1] < 0.01


@pytest.mark.parametrize("name", TARGETS)
def test_zeros(name):
    """Calibration saw zeros only: one entry, f(0)."""
    x = torch.zeros(2, 3, dtype=torch.float64)
    model = integer_model(unary(TARGETS[name], shape=x.shape), x)
    assert table_of(model).shape == (1, 1)
    assert_within(model(x), TARGETS[name](x), 1e-12)


def test_the_table_covers_what_calibration_saw():
    """A difference of two near values: its integers could be far wider than they are.

    exp over all that they could be would have no resolution left near 1. Bound: 16 bits of the largest value seen,
    and the rounding of the difference's operands to 16 bits.
    """
    def build(e, x):
        near = e.call(aten.add.Tensor, x, e.constant("c", draw(50, magnitude=1e-3, seed=3)))
        return e.call(aten.exp.default, e.call(aten.mul.Scalar, e.call(aten.sub.Tensor, near, x), 1000.0))

    x = draw(4, 50, magnitude=20.0)
    module = graph(build, x.shape)
    model = integer_model(module, x, input_precision=16)
    assert relative_error(model(x), module(x)[0]) < 0.7  # the difference itself has one or two units
    assert len(table_of(model)) <= 7
    assert float(table_of(model).max()) / model.scales[0] <= 2.01 * float(module(x)[0].max())


@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.parametrize("shape", [(2, 3), (1, 3, 4), (2, 3, 4, 5)])
def test_shapes(name, shape):
    x = draw(*shape)
    module = unary(TARGETS[name], shape=shape)
    assert_untouched(module, x)
    model = integer_model(module, x)
    assert operators(model.module) == ["broadcast_add", "cvm_lut"]
    assert relative_error(model(x), TARGETS[name](model.seen(x))) < 0.005


@pytest.mark.parametrize("bits", [2, 6, 8, 14, 16])
def test_the_bits_of_the_user_win(bits):
    """The table has an entry for each integer of that precision."""
    x = draw(4, 50)
    model = integer_model(unary(aten.tanh.default, shape=x.shape), x, input_precision=16,
                          operator_precisions={"tanh": bits})
    assert table_of(model).shape == (2 ** bits - 1, 1)
    assert relative_error(model(x), x.tanh()) < 2 * 2.0 ** -bits + 1e-4


@pytest.mark.parametrize("bits, entries", [(8, 255), (12, 4095), (13, 1023), (24, 1023)])
def test_fewest_bits_unless_the_input_has_few_already(bits, entries):
    """tanh needs 10 bits; 12 are looked up as they are. Oracle: the operators and the number of entries."""
    x = draw(4, 50)
    model = integer_model(unary(aten.tanh.default, shape=x.shape), x, input_precision=bits)
    assert table_of(model).shape == (entries, 1)
    assert ("cvm_right_shift" in operators(model.module)) == (bits > 12)


def test_behind_a_relu_half_a_table_is_left_and_nothing_is_added():
    x = draw(4, 50)
    module = graph(lambda e, v: e.call(aten.tanh.default, e.call(aten.relu.default, v)), x.shape)
    model = integer_model(module, x)
    assert operators(model.module) == ["relu", "cvm_lut"]
    assert table_of(model).shape == (128, 1)
    assert relative_error(model(x), model.seen(x).relu().tanh()) < 1e-4


def test_negative_values_only():
    """-relu(x): the lowest integer has index 0. Oracle: exp of the quantized input."""
    x = draw(4, 50, magnitude=100.0)
    def build(e, v):
        return e.call(aten.exp.default, e.call(aten.neg.default, e.call(aten.relu.default, v)))

    module = graph(build, x.shape)
    model = integer_model(module, x, input_precision=24)
    assert operators(model.module)[-2:] == ["broadcast_add", "cvm_lut"]
    assert len(table_of(model)) <= 2 ** 15
    assert_within(model(x), looked_up(model, x).exp(), 2 ** -16)
    assert relative_error(model(x), (-x.relu()).exp()) < 0.01


def test_what_is_beyond_the_threshold_gives_the_last_entry():
    """The lookup clamps the index. Oracle: sigmoid at the threshold, and half a unit of 1 / 31.75."""
    x = torch.tensor([[-4.0, -1.0, 1.0, 4.0]], dtype=torch.float64)
    narrow = integer_model(
        graph(lambda e, v: e.call(aten.sigmoid.default, e.call(aten.neg.default, v)), x.shape), x,
        {"data": 4.0, "neg_default": 1.0, "sigmoid_default": 1.0})
    assert len(table_of(narrow)) == 65
    assert_within(narrow(x), (-x).clamp(-1, 1).sigmoid(), 0.25 / 31)


def test_entries_beyond_the_output_threshold_saturate():
    """exp of -100..0 whose integers could be positive too: entries up to twice what occurs, then the same one.

    Oracle: exp in float64, and 15 bits of the output's threshold.
    """
    x = torch.linspace(-100, 0, 200, dtype=torch.float64).reshape(4, 50)
    model = integer_model(unary(aten.exp.default, shape=x.shape), x, input_precision=16)
    assert model.scales[0] == pytest.approx(32767 / 2, rel=1e-3)
    assert int(table_of(model)[-1]) == 32767
    assert_within(model(x), looked_up(model, x).exp(), 2 ** -15)


def test_tabulate():
    """Oracle: by hand: round half away from zero, the nearest defined entry, poles saturated."""
    entries, scale = tabulate(torch.reciprocal, Interval(-2, 4), 1.0, None)
    assert scale == 32767 and entries.tolist() == [-16384, -32767, 32767, 32767, 16384, 10922, 8192]
    entries, scale = tabulate(torch.sqrt, Interval(-1, 4), 1.0, 0.5)
    assert scale == 32767 and entries.tolist() == [0, 0, 32767, 32767, 32767, 32767]
    entries, _ = tabulate(torch.asin, Interval(-3, 4), 2.0, None)
    assert entries.tolist() == [-32767, -32767, -10922, 0, 10922, 32767, 32767, 32767]
    entries, _ = tabulate(lambda v: v.log(), Interval(-2, 2), 1.0, 0.5)
    assert entries.tolist() == [-32767, -32767, -32767, 0, 32767 * 0.6931471805599453 // 0.6931471805599453]
    assert tabulate(lambda v: v * math.nan, Interval(0, 1), 1.0, None)[0].tolist() == [0, 0]
    assert tabulate(torch.zeros_like, Interval(-1, 1), 3.0, 0.0)[1] == 1.0
    assert tabulate(lambda v: v * 1e-310, Interval(-1, 1), 1.0, None)[0].tolist() == [0, 0, 0]
    assert tabulate(lambda v: v / 0.0, Interval(1, 2), 1.0, None)[0].tolist() == [32767, 32767]
    assert entries.dtype == torch.int32


@settings(deadline=None, max_examples=50)
@given(bits=st.integers(2, 31), threshold=st.floats(1e-3, 20.0), low=st.integers(-2 ** 30, 0),
       share=st.floats(0.01, 1.0), name=st.sampled_from(sorted(TARGETS)))
def test_the_number_of_bits_is_the_fewest_that_fits(bits, threshold, low, share, name):
    """Oracle: the function on 4001 equal steps of what the integers can be, rounded to the chosen grid: 1 %.

    The threshold takes ``share`` of the integers' range. 12 bits are for integers that have no more, 16 where no
    number of bits fits. Tolerance: a tenth, because the samples differ.
    """
    bound = 2 ** (bits - 1) - 1
    node = torch.fx.Graph().placeholder("x")
    interval = Interval(max(low, -bound), bound)
    set_facts(node, precision=bits, value_range=interval)
    quantized = Quantized(node, bound * share / threshold)
    chosen = index_precision(TARGETS[name], quantized, threshold)
    assert 8 <= chosen <= 16
    if bits <= 12:
        assert chosen == 12
    elif chosen < 16:
        x = torch.linspace(max(interval.minimum / quantized.scale, -threshold), threshold, 4001, dtype=torch.float64)
        scale = (2 ** (chosen - 1) - 1) / threshold
        assert relative_error(TARGETS[name]((x * scale).round() / scale), TARGETS[name](x)) < 0.011


def test_documented_names():
    """Document 002 calls the function ``_quantize_table``."""
    assert ops._quantize_table is quantize_table is ops.quantize_table
    assert [Sigmoid.op_name, Tanh.op_name, Exp.op_name] == ["sigmoid", "tanh", "exp"]


@pytest.mark.parametrize("target", TARGETS.values())
def test_operations(target):
    """mrt-core 8: the output elements."""
    module = unary(target)
    assert apply_pass("calculate_ops", next(n for n in module.graph.nodes if n.op == "call_function")) == 120


def test_a_function_of_ones_own():
    """An operator of float64 is its own function; ``input_precision`` and the settings give the bits."""
    class Sinc(Activation):
        op_name = "sinc"
        input_precision = 6

    register_transformer(aten.sinc.default)(Sinc)
    try:
        x = draw(4, 50)
        module = unary(aten.sinc.default, shape=x.shape)
        for chosen, bits in ({}, 6), ({"operator_precisions": {"sinc": 9}}, 9):
            model = integer_model(module, x, input_precision=16, **chosen)
            assert table_of(model).shape == (2 ** bits - 1, 1)
            assert_within(model(x), looked_up(model, x).sinc(), 2 ** -15)
    finally:
        TRANSFORMERS.unregister(aten.sinc.default)


def test_a_function_that_is_not_its_operator():
    """``function`` overrides what the float operator computes. Oracle: cosine."""
    class Wrong(Activation):
        op_name = "wrong"
        function = staticmethod(torch.cos)

    register_transformer(aten.sinc.default)(Wrong)
    try:
        x = draw(4, 50)
        model = integer_model(unary(aten.sinc.default, shape=x.shape), x)
        assert_within(model(x), model.seen(x).cos(), 2 ** -15)
    finally:
        TRANSFORMERS.unregister(aten.sinc.default)
