"""8-bit operands with scales and zero points. Oracle: the documented formulas, and exact rational arithmetic."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mrt_torch.calibration.features import AFeature, MMFeature, MMLFeature
from mrt_torch.cvm import Interval
from mrt_torch.cvm.interval import precision_range
from mrt_torch.graph.editor import input_nodes
from mrt_torch.graph.facts import facts_of, set_facts
from mrt_torch.quantization import QuantizationContext, QuantizationSettings
from mrt_torch.quantization.calibrated import Calibrated
from mrt_torch.quantization.operands import LARGEST_MARGIN, margin_of, operand
from mrt_torch.quantization.recipe import RECIPES, Recipe
from tests.mrt_torch.ops.graphs import aten, draw, graph, integer_model, operators
from tests.mrt_torch.quantization.held import Held

STEPS = 254  # from -127 to 127


@pytest.mark.parametrize("low, high, wide_low, wide_high, zero", [
    (0.0, 6.0, 0.0, 9.0, 127), (-6.0, 0.0, -9.0, 0.0, -127), (-1.0, 3.0, -1.5, 4.5, 64), (2.0, 4.0, 1.0, 5.0, 190),
    (-5.0, -4.0, -5.5, -3.5, -571)])
def test_the_range_is_filled(low, high, wide_low, wide_high, zero):
    """From -127 to 127, with a margin for data that calibration did not see, a half of each end (of 256 values) but no
    more than of the span; beyond it values saturate.
    """
    held = Held(MMFeature(low, high), 1e4)
    found = operand(held.context, held.x, 8)
    ((node, shift),) = found.parts
    scale = STEPS / (wide_high - wide_low)
    assert float(found.scales) == pytest.approx(scale, rel=2 ** -12)
    assert found.zeros.tolist() == [pytest.approx(zero, abs=1)]
    assert int(found.zeros) == pytest.approx((wide_low + wide_high) / 2 * scale, abs=0.5 + 1e-6)
    assert (facts_of(node).precision, shift, found.magnitude) == (8, 0, 127)
    ends = torch.tensor([low, high, wide_low, wide_high, -9.9, 9.9])
    (integers,) = held.run(found, (ends * 1e4).round()[:, None].expand(-1, 4))
    wanted = (ends.double() * float(found.scales) - int(found.zeros)).clamp(-127, 127)
    assert float((integers[:, 0] - wanted).abs().max()) <= 0.5 + 2 ** -8
    assert integers[2:, 0].tolist() == [pytest.approx(-127, abs=1), pytest.approx(127, abs=1), -127, 127]


@settings(deadline=None, max_examples=40)
@given(st.floats(-8, 8), st.floats(0.01, 8), st.integers(14, 30), st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_integers_mean_their_values(low, span, bits, positions):
    """x = (q + z) / s within half a unit; and 2**-8 for what was rounded before the product, or where a far zero point
    leaves the product no more than 18 bits, the last of them. Zero, where the range holds it, is exact.
    """
    high = low + span
    scale = precision_range(bits) / max(abs(low), abs(high)) / 1.2
    held = Held(MMFeature(low, high), scale, bits)
    found = operand(held.context, held.x, 8)
    values = torch.tensor([round((low + span * position) * scale) for position in positions] + [0])
    (integers,) = held.run(found, values[:, None].expand(-1, 4))
    unit = 1 / Fraction(float(found.scales))
    for value, integer in zip(values.tolist()[:-1], integers[:-1, 0].tolist(), strict=True):
        real = Fraction(value) / Fraction(scale)
        first = max(Fraction(1, 2 ** 8), Fraction(abs(int(found.zeros)) + 127, 2 ** 16))
        assert abs((integer + int(found.zeros)) * unit - real) <= unit * (Fraction(1, 2) + first)
    if low <= 0 <= high:
        assert integers[-1, 0] + int(found.zeros) == 0


@pytest.mark.parametrize("feature, zero", [
    (MMFeature(-1.0, 1.0), 0), (MMFeature(-0.9, 1.0), 0), (MMFeature(-0.75, 1.0), 16), (MMFeature(-1.0, 0.0), -127),
    (MMFeature(3.0, 3.0), 0), (MMFeature(-3.0, -3.0), 0), (AFeature(1.0), 0)])
def test_a_zero_point_must_gain_an_eighth(feature, zero):
    """Of the symmetric range 2 * max: 2 / 1.9 is not enough, 2 / 1.75 is. One value, and a magnitude, are symmetric."""
    held = Held(feature, 1e4)
    assert operand(held.context, held.x, 8).zeros.tolist() == [pytest.approx(zero, abs=2)]
    assert (int(operand(held.context, held.x, 8).zeros) == 0) == (zero == 0)


@pytest.mark.parametrize("shape, groups, bits, margin", [
    ((1, 4, 1, 1), 1, 8, 1.5), ((1, 125, 1, 1), 1, 8, 1.5 - 0.2 * 3 * math.log10(2)), ((1, 8, 20, 10), 1, 8, 1.1),
    ((1, 8, 20, 10), 8, 8, 1.5 - 0.2 * math.log10(12.8)),
    ((7, 8, 20, 10), 8, 8, 1.5 - 0.2 * math.log10(12.8)), ((1, 8, 20, 10), 8, 9, 2.0)])
def test_the_margin_falls_with_the_number_of_values(shape, groups, bits, margin):
    """Oracle: 1.5 - 0.2 * log10(n / 1000) from 1.1 to 1.5, n of 64 examples; whatever batch the graph was made with."""
    module = graph(lambda e, x: e.call(aten.relu.default, x), shape)
    context = QuantizationContext(module, {"relu": 1.0}, QuantizationSettings())
    node = next(n for n in module.graph.nodes if n.target is aten.relu.default)
    assert margin_of(context, node, bits, groups) == pytest.approx(margin, rel=1e-9)


def test_the_margin_counts_examples_on_the_batch_axis():
    """(4, N): a sample (4, 2500) holds 2500 examples of 4 values, not 4 of them."""
    module = graph(lambda e, x: e.call(aten.relu.default, x), (4, 1))
    set_facts(input_nodes(module.graph)[0], batch_axis=1)
    context = QuantizationContext(module, Calibrated({"relu": AFeature(1.0)}, {}, torch.zeros(4, 2500)),
                                  QuantizationSettings())
    node = next(n for n in module.graph.nodes if n.target is aten.relu.default)
    assert context.examples == 2500
    assert margin_of(context, node, 8, 1) == pytest.approx(1.5 - 0.2, rel=1e-9)  # 10,000 values


def test_a_symmetric_range_has_the_same_margin():
    held = Held(MMFeature(-0.9, 1.0), 1e4)
    assert float(operand(held.context, held.x, 8).scales) == pytest.approx(127 / LARGEST_MARGIN, rel=2 ** -12)


def test_without_zero_points():
    """The recipe's, the caller's, and the graph's inputs: MRT's symmetric 127 over the threshold."""
    feature = MMFeature(0.0, 4.0)
    for recipe, name, affine in ((RECIPES["original"], "x", True), (Recipe(zero_points=False), "x", True),
                                 (Recipe(), "x", False), (Recipe(), "data", True)):
        held = Held(feature, 1e4, recipe=recipe)
        found = operand(held.context, getattr(held, name), 8, affine=affine)
        assert found.zeros.tolist() == [0]
        assert float(found.scales) == pytest.approx(127 / 4, rel=2 ** -11)


def test_integers_that_fit_are_taken_as_they_are():
    held = Held(MMFeature(0.0, 4.0), 30.0, bits=8)
    found = operand(held.context, held.x, 8)
    assert found.parts == ((held.node, 0),) and found.scales.tolist() == [30.0] and found.zeros.tolist() == [0]


def test_a_range_of_each_group():
    """Scales and zero points of 2 groups of 2 channels; the middle of the scales of a group's channels is exact."""
    operand_features = {2: MMLFeature([0.0, -2.0], [8.0, 1.0])}
    held = Held(MMLFeature([0, 0, -1, -2], [6, 8, 1, 1]), 1e4, operand_features=operand_features)
    found = operand(held.context, held.x, 8, 2)
    scales = torch.tensor([STEPS / 8 / LARGEST_MARGIN, STEPS / 3 / LARGEST_MARGIN], dtype=torch.float64)
    assert torch.allclose(found.scales, scales, rtol=2 ** -10) and len(found.zeros) == 2
    assert found.zeros.tolist() == [127, round(-0.5 * LARGEST_MARGIN * float(scales[1]))]
    values = torch.tensor([[8.0, 4.0, 1.0, -2.0]], dtype=torch.float64)
    (integers,) = held.run(found, values * 1e4)
    both = (found.scales.repeat_interleave(2), found.zeros.repeat_interleave(2))
    assert float(((integers + both[1]) / both[0] - values).abs().max()) <= 0.51 / float(scales.min())


def test_groups_need_a_range_of_each():
    """Features of each channel give it; a range of the tensor alone, or the recipe, leaves one scale."""
    held = Held(MMLFeature([0, 0, -1, -2], [6, 8, 1, 1]), 1e4)
    assert len(operand(held.context, held.x, 8, 2).scales) == len(operand(held.context, held.x, 8, 4).scales) // 2 == 2
    alone = Held(MMFeature(-2, 8), 1e4)
    assert len(operand(alone.context, alone.x, 8, 1).scales) == len(operand(alone.context, alone.x, 8, 4).scales) == 1
    original = Held(MMLFeature([0, 0, -1, -2], [6, 8, 1, 1]), 1e4, recipe=RECIPES["original"])
    assert len(operand(original.context, original.x, 8, 4).scales) == 1


def test_the_range_that_calibration_chose_comes_first():
    held = Held(MMFeature(0.0, 100.0), 1e3, operand_features={1: MMFeature(0.0, 10.0)})
    assert float(operand(held.context, held.x, 8).scales) == pytest.approx(STEPS / 10 / LARGEST_MARGIN, rel=2 ** -11)


def test_a_range_never_exceeds_what_is_proven():
    """Integers of 0..5000 at scale 1000 are 0..5, whatever the features say; of channels, the widest decides."""
    for scales in (1000.0, [1000.0, 2000.0, 1e5, 5000.0]):
        held = Held(MMFeature(-50.0, 50.0), scales, bits=14, interval=Interval(0, 5000))
        found = operand(held.context, held.x, 8)
        assert (float(found.scales), found.zeros.tolist()) == (pytest.approx(STEPS / 5, rel=2 ** -11), [127])


def test_channels_of_scales_of_their_own_are_brought_to_one():
    """Oracle: x * s - z of each channel; half a unit, and the rounding of fractions of 9 bits and more."""
    scales = [1000.0, 4000.0, 16000.0, 5000.0]
    held = Held(MMLFeature([0, 0, 0, 0], [10, 2.5, 0.6, 2]), scales)
    found = operand(held.context, held.x, 8)
    assert len(found.scales) == 1
    values = torch.tensor([[10, 2.5, 0.6, 2], [5, 1, 0.1, 0.0]], dtype=torch.float64)
    (integers,) = held.run(found, values * torch.tensor(scales))
    assert float((integers + int(found.zeros) - values * float(found.scales)).abs().max()) <= 0.5 + 127 * 2 ** -9


def test_a_scale_is_never_finer_than_the_integers():
    """A range of 0..6 in integers of 10 a unit: 8 bits could take 38 a unit, and hold nothing more."""
    for groups, ranges in ((1, MMFeature(0.0, 6.0)), (4, MMLFeature([0.0] * 4, [6.0] * 4))):
        held = Held(ranges, 10.0)
        found = operand(held.context, held.x, 8, groups)
        assert set(found.scales.tolist()) == {10.0} and len(found.scales) == groups
        (integers,) = held.run(found, torch.arange(61)[:, None].expand(-1, 4))
        assert torch.equal(integers + found.zeros, torch.arange(61)[:, None].expand(-1, 4))


def test_readers_share_an_operand():
    """Two convolutions and a dense layer of one tensor: it is requantized once for each number of groups."""
    def build(e, x):
        h = e.call(aten.relu.default, e.call(aten.conv2d.default, x, e.constant("w", draw(4, 3, 1, 1)), None))
        ones = [e.call(aten.conv2d.default, h, e.constant("w", draw(4, 4, 1, 1, seed=s)), None) for s in (1, 2)]
        depthwise = [e.call(aten.conv2d.default, h, e.constant("w", draw(4, 1, 1, 1, seed=s)), None, [1, 1], [0, 0],
                            [1, 1], 4) for s in (3, 4)]
        return [*ones, *depthwise]

    x = draw(2, 3, 4, 4)
    model = integer_model(graph(build, x.shape), x)
    read = [n.args[0] for n in model.module.graph.nodes if n.op == "call_function" and n.target._opname == "conv2d"][1:]
    assert read[0] is read[1] and read[2] is read[3] and read[0] is not read[2]
    held = Held(MMFeature(0.0, 4.0), 1e4)
    assert operand(held.context, held.x, 8) is operand(held.context, held.x, 8)


@pytest.mark.parametrize("low, high", [(1000.0, 1000.0001), (-3e6, -2.9999999e6), (1e-30, 2e-30)])
def test_a_nearly_constant_tensor(low, high):
    """Integers beside the zero point stay within 31 bits, and mean their values within what 9 bits of span leave."""
    scale = precision_range(29) / max(abs(low), abs(high))
    held = Held(MMFeature(low, high), scale, bits=30)
    found = operand(held.context, held.x, 8)
    values = torch.tensor([[round(end * scale)] * 4 for end in (low, high)])
    (integers,) = held.run(found, values)
    means = (integers[:, 0] + int(found.zeros)).double() / float(found.scales)
    assert float((means - torch.tensor([low, high]).double()).abs().max()) <= max(abs(low), abs(high)) * 2 ** -8


def test_a_range_of_zeros_is_zero():
    held = Held(MMFeature(0.0, 0.0), 1e4)
    found = operand(held.context, held.x, 8)
    assert found.zeros.tolist() == [0] and found.magnitude == 0


def test_a_nearly_dead_group_does_not_cost_the_others_their_fractions():
    """One channel's integers in calibration are 10, the others' 2**18 times a factor: scales that would fill 8 bits
    with each have factors 2**14 apart. Oracle: the values; bound half a unit and 2**-4 of the range for the fractions.
    """
    scales = [1e4] * 4
    highs = [10 / 1e4, 2 ** 18 / 1e4, 2 ** 17.4 / 1e4, 2 ** 17.7 / 1e4]
    held = Held(MMLFeature([0.0] * 4, highs), scales)
    found = operand(held.context, held.x, 8, 4)
    for position in (1, 2, 3):
        wanted = STEPS / highs[position] / LARGEST_MARGIN
        assert float(found.scales[position]) == pytest.approx(wanted, rel=2 ** -4)
    values = torch.tensor([highs, [high / 3 for high in highs]], dtype=torch.float64)
    (integers,) = held.run(found, values * 1e4)
    means = (integers + found.zeros).double() / found.scales
    units = 1 / found.scales
    assert bool(((means - values).abs() <= 0.51 * units)[:, 1:].all())


def test_groups_of_unequal_scales_keep_their_bits():
    """Channels 10**6 apart whose integers have the same size: each fills its 8 bits."""
    scales, highs = [1.0, 1e6, 1e3, 10.0], [1e5, 0.1, 100.0, 1e4]
    held = Held(MMLFeature([0.0] * 4, highs), scales)
    found = operand(held.context, held.x, 8, 4)
    steps = found.scales * torch.tensor(highs) * LARGEST_MARGIN
    assert torch.allclose(steps, torch.full_like(steps, 254.0), rtol=2 ** -9)


def test_constants_of_zero_points_are_part_of_the_graph():
    """One subtraction after the product; none for symmetric operands."""
    for feature, expected in ((MMFeature(0.0, 6.0), ["broadcast_mul", "broadcast_sub"]),
                              (MMFeature(-6.0, 6.0), ["broadcast_mul"])):
        held = Held(feature, 1e4)
        operand(held.context, held.x, 8)
        assert [o for o in operators(held.context.editor.module) if o.startswith("broadcast")] == expected
