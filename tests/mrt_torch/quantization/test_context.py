"""Oracle: exact rational arithmetic on every integer of a tensor, and the thresholds themselves."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mrt_torch.cvm import Interval
from mrt_torch.cvm.interval import precision_range
from mrt_torch.errors import CalibrationError, PrecisionError
from mrt_torch.graph.editor import GraphEditor, empty_graph_module
from mrt_torch.graph.facts import set_facts
from mrt_torch.quantization import QuantizationContext, QuantizationSettings, Quantized


def context_with_input(bits: int, scale: float, shift_bits: int = 8):
    """A context whose integer graph has one input of ``bits`` bits at ``scale``."""
    context = QuantizationContext(empty_graph_module(), {}, QuantizationSettings(shift_bits=shift_bits))
    node = context.editor.input("data", (1, 1), torch.int32)
    set_facts(node, precision=bits, value_range=Interval.symmetric(bits))
    return context, Quantized(node, scale)


def run(context, quantized, values):
    context.editor.output([quantized.node])
    context.editor.module.recompile()
    return context.editor.module(torch.tensor(values, dtype=torch.int32).reshape(-1, 1))[0].flatten().tolist()


@settings(deadline=None, max_examples=60)
@given(st.integers(9, 31), st.integers(2, 16), st.floats(0.01, 1.0), st.floats(1e-3, 1e3), st.integers(1, 16),
       st.lists(st.floats(-1, 1), min_size=1, max_size=8))
def test_rescale_is_accurate_below_the_threshold_and_saturates_above(bits, target, part, scale, shift_bits, positions):
    """One unit of rounding, the guard bits' share of it, and 2**-11 of the value (the fraction). A value above the
    threshold becomes the threshold, or stays where the tensor fits the bits as it is; the sign stays.
    """
    threshold = part * precision_range(bits) / scale
    context, quantized = context_with_input(bits, scale, shift_bits)
    values = [round(position * precision_range(bits)) for position in positions]
    result = context.rescale(quantized, threshold, target)
    bound = precision_range(target)
    for value, seen in zip(values, run(context, result, values), strict=True):
        assert abs(seen) <= bound
        real = Fraction(value) / Fraction(scale)
        untouched = result.scale == quantized.scale
        clipped = real if untouched else max(-Fraction(threshold), min(Fraction(threshold), real))
        wanted = max(-bound, min(bound, clipped * Fraction(result.scale)))
        units = abs(seen - wanted)
        assert units <= Fraction(3, 2) + Fraction(bound, 2 ** 10)
        assert seen * value >= 0


def test_what_fits_and_fills_is_left_alone():
    context, quantized = context_with_input(8, 2.0)
    assert context.rescale(quantized, 63.5, 8) == quantized


def test_a_given_scale_is_met_within_2_to_the_minus_11():
    context, quantized = context_with_input(16, 100.0)
    result = context.rescale(quantized, 327.67, 8, 0.3)
    assert abs(result.scale / 0.3 - 1) <= 2 ** -11


def test_the_scale_at_hand_needs_no_node():
    context, quantized = context_with_input(16, 100.0)
    result = context.rescale(quantized, 327.67, 16, 100.0)
    assert result.node is quantized.node and result.scale == 100.0


def test_a_zero_threshold_gives_zeros():
    context, quantized = context_with_input(16, 100.0)
    result = context.rescale(quantized, 0.0, 8)
    assert run(context, result, [-5, 0, 32767]) == [0, 0, 0]


def test_numbers_are_shared_and_bounded():
    context, _ = context_with_input(8, 1.0)
    assert context.number(5) is context.number(5)
    assert context.number(5) is not context.number(-5)
    with pytest.raises(PrecisionError, match="31 bits"):
        context.number(2 ** 30)


def test_an_activation_without_threshold_is_named():
    editor = GraphEditor(empty_graph_module())
    node = editor.call(torch.ops.aten.relu.default, editor.input("data", (1, 2)), name="activation")
    with pytest.raises(CalibrationError, match="activation"):
        QuantizationContext(editor.module, {}, QuantizationSettings()).threshold(node)


def test_a_result_beyond_32_bits_is_refused():
    """MRT defect 10: precisions above 32 went unnoticed."""
    context, quantized = context_with_input(31, 1.0)
    with pytest.raises(PrecisionError, match="32 bits"):
        context.call("broadcast_mul", quantized.node, quantized.node)
