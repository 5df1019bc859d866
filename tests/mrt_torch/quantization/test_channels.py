"""Tensors whose channels have scales of their own. Oracle: exact rational arithmetic on every integer."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mrt_torch.cvm import Interval
from mrt_torch.cvm.interval import precision_range
from mrt_torch.graph.editor import empty_graph_module
from mrt_torch.graph.facts import facts_of, set_facts
from mrt_torch.quantization import QuantizationContext, QuantizationSettings
from mrt_torch.quantization.channels import ChannelQuantized, along_channels, rescale_channels
from tests.mrt_torch.ops.graphs import CheckedRun, operators

HALF = Fraction(1, 2)


def held_in(bits: int, scales: list[float], shift_bits: int = 8, rank: int = 4):
    """A context whose integer graph has one input of ``bits`` bits with these scales."""
    context = QuantizationContext(empty_graph_module(), {}, QuantizationSettings(shift_bits=shift_bits))
    node = context.editor.input("data", (1, len(scales), 2, 1)[:rank], torch.int32)
    set_facts(node, precision=bits, value_range=Interval.symmetric(bits))
    return context, ChannelQuantized(node, torch.tensor(scales, dtype=torch.float64))


def rescaled(context, held, magnitudes, targets, bits, zeros=None):
    doubles = [torch.tensor(values, dtype=torch.float64) for values in (magnitudes, targets)]
    zeros = None if zeros is None else torch.tensor(zeros)
    return rescale_channels(context, held, *doubles, bits, zeros)


def run(context, node, values: torch.Tensor) -> torch.Tensor:
    """``values`` (C, N) through the graph, held against the facts of every node."""
    context.editor.output([node])
    context.editor.module.recompile()
    run = CheckedRun(context.editor.module)
    return run.run(values.T.reshape(*values.T.shape, 1, 1).expand(-1, -1, 2, 1).to(torch.int32))[0][:, :, 0, 0].T


@st.composite
def tensors(draw):
    """Bits, scales, reaches (largest integers in calibration, of the first channel at the top bit) and values."""
    bits, count = draw(st.integers(9, 31)), draw(st.integers(1, 4))
    scales = [2.0 ** draw(st.floats(-4, 4)) for _ in range(count)]
    reaches = [precision_range(bits) * 2.0 ** -draw(st.floats(0, 0.9 if c == 0 else 5)) for c in range(count)]
    values = [[int(r * draw(st.floats(-1, 1))) for _ in range(3)] + [int(r)] for r in reaches]
    return bits, scales, reaches, values


@settings(deadline=None, max_examples=50)
@given(tensors(), st.integers(4, 18), st.integers(1, 16), st.booleans())
def test_every_channel_fills_the_bits(case, target, shift_bits, affine):
    """Targets of their own. Half a unit for the last rounding; for one before the product, of which the guard bits are
    kept, as much as it weighs in a channel whose integers are 2**-6 of those that fit, at least. The scales that are
    returned are exact, and within 2**-6 of the targets: 7 bits of fraction of 13 at least.
    """
    bits, scales, reaches, values = case
    context, held = held_in(bits, scales, shift_bits)
    magnitudes = [reach / scale for reach, scale in zip(reaches, scales, strict=True)]
    zeros = [(-1) ** c * precision_range(target) // 2 if affine else 0 for c in range(len(scales))]
    targets = [precision_range(target) / magnitude for magnitude in magnitudes]
    node, real = rescaled(context, held, magnitudes, targets, target, zeros)
    assert facts_of(node).precision <= target
    kept = min(target + shift_bits, 18)
    first = (Fraction(2) ** (target + 6 - kept) if bits > kept else 0) + Fraction(1, 2 ** 30)  # of the float64 scales
    found = run(context, node, torch.tensor(values))
    for channel, scale in enumerate(scales):
        assert abs(float(real[channel]) / targets[channel] - 1) <= 2 ** -6
        for value, seen in zip(values[channel], found[channel].tolist(), strict=True):
            exact = Fraction(value) * Fraction(float(real[channel])) / Fraction(scale) - zeros[channel]
            bound = precision_range(target)
            assert abs(seen - max(-bound, min(bound, exact))) <= HALF + first


@settings(deadline=None, max_examples=50)
@given(tensors(), st.sampled_from([8, 16]))
def test_one_scale_for_all(case, target):
    """Float values, by the scale asked for: half a unit; the rounding before the product, of an operand of 18 bits,
    times the factor; and the fraction, of which the largest has 12 bits, so that 2**-12 of what the largest integers
    times the largest factor would give.
    """
    bits, scales, reaches, values = case
    context, held = held_in(bits, scales)
    magnitudes = [reach / scale for reach, scale in zip(reaches, scales, strict=True)]
    scale = precision_range(target) / max(magnitudes)
    node, _ = rescaled(context, held, magnitudes, [scale] * len(scales), target)
    found = run(context, node, torch.tensor(values))
    reach = max(reaches) * scale / min(scales)
    bound = 0.5 + reach * (2.0 ** -8 if target == 8 else 2.0 ** -16) + reach * 2.0 ** -12
    for channel in range(len(scales)):
        for value, seen in zip(values[channel], found[channel].tolist(), strict=True):
            exact = Fraction(value) / Fraction(scales[channel]) * Fraction(scale)
            assert abs(seen - exact) <= bound


def test_values_beyond_the_calibrated_range_saturate():
    """At the bits of the result, with their sign; those in range are exact: 4 units a unit."""
    context, held = held_in(20, [1.0, 4.0])
    node, real = rescaled(context, held, [508.0, 127.0], [0.25, 1.0], 8)
    assert real.tolist() == [0.25, 1.0]
    values = torch.tensor([[508, -508, 600, -600, 500_000], [508, -508, 600, -600, -500_000]])
    assert run(context, node, values).tolist() == [[127, -127, 127, -127, 127], [127, -127, 127, -127, -127]]


@pytest.mark.parametrize("magnitude", [0.0, 1e-30, 0.4e-9])
def test_a_dead_channel_costs_the_others_nothing(magnitude):
    """Its scale is arbitrary, 1e-6 or 1e9 of the others'. Oracle: the integers without it. It stays within 8 bits
    whatever comes, and zero is zero.
    """
    for scale in (1e-6, 1e9):
        context, held = held_in(18, [900.0, 700.0, scale])
        node, real = rescaled(context, held, [100.0, 120.0, magnitude], [1.0] * 3, 8)
        alone, others = held_in(18, [900.0, 700.0])
        same, expected = rescaled(alone, others, [100.0, 120.0], [1.0] * 2, 8)
        values = torch.tensor([[-90_000, 5000, 0], [84_000, -77, 0], [131_071, -131_071, 0]])
        found = run(context, node, values)
        assert torch.equal(found[:2], run(alone, same, values[:2])) and real[:2].tolist() == expected.tolist()
        assert int(found.abs().max()) <= 127 and found[2, 2] == 0


def test_a_wide_tensor_is_shifted_before_the_product():
    """31 bits: 18 are kept beside fractions of 13, also where 8 of them would do for the result."""
    context, held = held_in(31, [3e6, 2e6])
    reach = float(precision_range(31))
    node, _ = rescaled(context, held, [reach / 3e6, reach / 2e6], [40.0, 60.0], 16)
    assert operators(context.editor.module) == ["cvm_right_shift", "broadcast_mul", "cvm_right_shift"]
    first = next(n for n in context.editor.module.graph.nodes if n.op == "call_function")
    assert (first.kwargs["shift_bit"], facts_of(first).precision, facts_of(node).precision) == (13, 18, 16)


def test_what_is_calibrated_decides_the_width():
    """A tensor proven to have 31 bits, of which calibration met 12, is not shifted but clamped to 12."""
    context, held = held_in(31, [20.0, 10.0])
    node, _ = rescaled(context, held, [100.0, 200.0], [0.63, 0.315], 8)
    assert operators(context.editor.module) == ["cvm_clip", "broadcast_mul", "cvm_right_shift"]
    assert run(context, node, torch.tensor([[2000, 2 ** 29, -2 ** 29], [2000, 1, 0]])).tolist() == [
        [63, 64, -64], [63, 0, 0]]


def test_equal_factors_are_one_shared_number():
    """Constants of one element: the runtime broadcasts them."""
    context, held = held_in(16, [100.0, 100.0])
    node, _ = rescaled(context, held, [300.0, 300.0], [0.3, 0.3], 8, [5, 5])
    shapes = [tuple(n.meta["val"].shape) for n in context.editor.module.graph.nodes if n.op == "get_attr"]
    assert shapes == [(1,), (1,)]


def test_different_factors_lie_along_axis_1():
    for rank in (2, 3, 4):
        context, held = held_in(16, [100.0, 90.0], rank=rank)
        rescaled(context, held, [300.0, 300.0], [0.3, 0.4], 8, [5, 6])
        shapes = [tuple(n.meta["val"].shape) for n in context.editor.module.graph.nodes if n.op == "get_attr"]
        assert shapes == [(1, 2, 1, 1)[:rank]] * 2
    assert along_channels(torch.arange(3), 2).tolist() == [[0, 1, 2]]


def test_the_scale_at_hand_needs_no_node():
    context, held = held_in(8, [100.0, 50.0])
    node, real = rescaled(context, held, [1.27, 2.54], [100.0, 50.0], 8)
    assert node is held.node and real.tolist() == [100.0, 50.0]
    assert (held.precision, held.value_range) == (8, Interval.symmetric(8))
