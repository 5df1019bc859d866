"""Oracle: exact rational arithmetic on every integer of a tensor, and the thresholds themselves."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mrt_torch.calibration.features import AFeature, MMFeature, MMLFeature
from mrt_torch.cvm import Interval
from mrt_torch.cvm.interval import precision_range
from mrt_torch.errors import CalibrationError, PrecisionError
from mrt_torch.graph.editor import GraphEditor, empty_graph_module
from mrt_torch.graph.facts import facts_of, set_facts
from mrt_torch.quantization import QuantizationContext, QuantizationSettings, Quantized
from mrt_torch.quantization.calibrated import Calibrated
from mrt_torch.quantization.channels import ChannelQuantized
from tests.mrt_torch.ops.graphs import CheckedRun


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


CHANNEL_SCALES = [1000.0, 250.0, 4000.0]


def context_with_channels(feature, bits=20, calibrated=None, scales=CHANNEL_SCALES):
    """A context that holds a float node ``act`` in integers of ``bits`` bits whose channels have these scales."""
    editor = GraphEditor(empty_graph_module())
    node = editor.call(torch.ops.aten.tanh.default, editor.input("data", (1, 3, 1, 1)), name="act")
    context = QuantizationContext(editor.module, {"act": feature} if calibrated is None else calibrated,
                                  QuantizationSettings())
    integers = context.editor.input("data", (1, 3, 1, 1), torch.int32)
    set_facts(integers, precision=bits, value_range=Interval.symmetric(bits))
    context.set_value(node, ChannelQuantized(integers, torch.tensor(scales, dtype=torch.float64)))
    return context, node


def run_channels(context, quantized, values):
    """Floats of every channel (N, 3) through the integers, and back."""
    integers = (torch.tensor(values, dtype=torch.float64) * torch.tensor(CHANNEL_SCALES)).round()
    context.editor.output([quantized.node])
    context.editor.module.recompile()
    found = CheckedRun(context.editor.module).run(integers.to(torch.int32)[:, :, None, None])[0][:, :, 0, 0]
    return found.double() / quantized.scale


RANGES = MMLFeature([-3.0, -80.0, 0.0], [5.0, 100.0, 1.5])


def test_channels_are_brought_to_one_scale_that_fills_16_bits():
    """Oracle: the floats. Bound: half a unit, and 2**-12 of the largest; beyond 4 times the range values saturate."""
    context, node = context_with_channels(RANGES)
    quantized = context.value(node)
    assert quantized.scale == 32767 / 100 and quantized.precision == 18 and context.value(node) is quantized
    values = [[5.0, 100.0, 1.5], [-3.0, -80.0, 0.25], [0.004, 0.0, 0.7], [0.0, 390.0, 0.0]]
    found = run_channels(context, quantized, values)
    errors = (found[:3] - torch.tensor(values[:3], dtype=torch.float64)).abs()
    assert float(errors.max()) <= 0.5 / quantized.scale + 100 / 2 ** 12
    assert float(found[3, 1]) == pytest.approx(390, rel=2 ** -11)
    assert float(found[2, 0]) == pytest.approx(0.004, abs=0.5 / quantized.scale)


@pytest.mark.parametrize("bits, scale", [(8, None), (8, 0.3), (16, None), (16, 20.0), (12, 1e-9)])
def test_requantize_brings_channels_to_the_scale_asked_for(bits, scale):
    """Without one, the bits are filled. What rounds to zero altogether is zero. Shared by its readers."""
    context, node = context_with_channels(RANGES)
    quantized = context.requantize(node, bits, scale)
    assert quantized.scale == (precision_range(bits) / 100 if scale is None else scale)
    assert quantized.precision <= bits and context.requantize(node, bits, scale) is quantized
    values = torch.tensor([[5.0, 100.0, 1.5], [-3.0, -80.0, 0.2]], dtype=torch.float64)
    found = run_channels(context, quantized, values.tolist())
    exact = (values * quantized.scale).clamp(-precision_range(bits), precision_range(bits)) / quantized.scale
    share = 100 / 2 ** 12
    assert float((found - exact).abs().max()) <= 0.51 / quantized.scale + share if scale != 1e-9 else not found.any()


def test_magnitudes_of_channels():
    """From the ranges of as many channels; the threshold bounds them, and stands in where they are not known."""
    context, node = context_with_channels(RANGES)
    assert context.channel_magnitudes(node, 3).tolist() == [5.0, 100.0, 1.5]
    assert context.channel_magnitudes(node, 1).tolist() == [100.0]
    assert context.channel_magnitudes(node, 6).tolist() == [100.0] * 6
    for feature in (MMFeature(-7.0, 2.0), AFeature(7.0)):
        context, node = context_with_channels(feature)
        assert context.channel_magnitudes(node, 3).tolist() == [7.0] * 3
    context, node = context_with_channels(MMLFeature([-9e9] * 3, [9e9] * 3))
    proven = precision_range(20) / 250
    assert context.channel_magnitudes(node, 3).tolist() == [proven] * 3, "no more than twice what is proven"


def test_ranges_of_operands():
    """That of the tensor, or of each group of channels; what calibration chose for operands comes first."""
    context, node = context_with_channels(MMLFeature([0, -1, -2, 3], [4, 5, 6, 7]))
    assert [ends.tolist() for ends in context.operand_range(node, 1)] == [[-2.0], [7.0]]
    assert [ends.tolist() for ends in context.operand_range(node, 2)] == [[-1.0, -2.0], [5.0, 7.0]]
    assert [ends.tolist() for ends in context.operand_range(node, 4)] == [[0, -1, -2, 3], [4, 5, 6, 7]]
    assert context.operand_range(node, 3) is None
    chosen = Calibrated({"act": RANGES}, {("act", 1): MMFeature(-1.0, 2.0), ("act", 3): RANGES.scaled(0.5)})
    context, node = context_with_channels(None, calibrated=chosen)
    assert [ends.tolist() for ends in context.operand_range(node, 1)] == [[-1.0], [2.0]]
    assert [ends.tolist() for ends in context.operand_range(node, 3)] == [[-1.5, -40.0, 0.0], [2.5, 50.0, 0.75]]
    assert [ends.tolist() for ends in context.operand_range(node, 1, clipped=False)] == [[-80.0], [100.0]]
    for feature in (AFeature(3.0), None):
        context, node = context_with_channels(feature, calibrated={} if feature is None else None)
        assert context.operand_range(node, 1) is None
    context, node = context_with_channels(MMFeature(-1.0, 3.0))
    assert [ends.tolist() for ends in context.operand_range(node, 1)] == [[-1.0], [3.0]]
    assert context.operand_range(node, 3) is None


def test_the_threshold_of_channels_is_no_more_than_twice_what_is_proven():
    """The coarsest channel decides: 20 bits at scale 250."""
    context, node = context_with_channels(AFeature(1e9))
    assert context.threshold(node) == precision_range(20) / 250
    context, node = context_with_channels(AFeature(3000.0))
    assert context.threshold(node) == 3000.0


def test_tensors_of_channels_share_a_scale_with_others():
    """As for a sum: the scale that fills 16 bits with the largest threshold, exactly, for each."""
    context, node = context_with_channels(RANGES)
    with context.editor.inheriting(node):
        nodes, scale = context.same_scale([node, node], 16)
    assert scale == 32767 / 100 and nodes[0] is nodes[1] and facts_of(nodes[0]).precision == 16
