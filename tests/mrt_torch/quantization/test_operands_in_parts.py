"""Operands of more than 8 bits. Oracle: the documented formulas, and the runtime's rules of precision."""

from __future__ import annotations

import pytest
import torch

from mrt_torch.calibration.features import AFeature, MMFeature
from mrt_torch.cvm.interval import precision_range
from mrt_torch.graph.facts import facts_of
from mrt_torch.quantization.operands import WIDE_MARGIN, operand, widest_operand
from tests.mrt_torch.quantization.held import Held

STEPS = 254  # from -127 to 127


@pytest.mark.parametrize("bits", [9, 12, 15])
@pytest.mark.parametrize("feature", [MMFeature(0.0, 6.0), MMFeature(-1.0, 1.0), AFeature(1.0)])
def test_a_wide_operand_is_two_of_8_bits(bits, feature):
    """q = high * 2**k + low. Oracle: the same values at the finer scale, within a unit; parts are checked to 8 bits."""
    held = Held(feature, 1e5, bits=22)
    found = operand(held.context, held.x, bits)
    (high, shift), (low, none) = found.parts
    assert (shift, none) == (bits - 8, 0)
    assert facts_of(high).precision <= 8 and facts_of(low).precision <= 8
    values = torch.tensor([-1.0, -0.3, 0.0, 0.77, 1.0, 5.0]).double()
    values = values[(values >= feature.get_range()[0]) & (values <= feature.get_range()[1])]
    upper, lower = held.run(found, (values * 1e5).round()[:, None].expand(-1, 4))
    q = upper[:, 0] * 2 ** shift + lower[:, 0]
    assert int(q.abs().max()) <= found.magnitude
    assert float(((q + int(found.zeros)) / float(found.scales) - values).abs().max()) <= 1 / float(found.scales)
    wanted = {0.0: STEPS / 6, -1.0: STEPS / 2}[feature.get_range()[0]] * precision_range(bits) / 127
    margin = 1.0 if isinstance(feature, AFeature) else WIDE_MARGIN
    assert float(found.scales) == pytest.approx(wanted / margin, rel=2 ** -10)


def test_a_wide_operand_keeps_the_extremes():
    """What was clipped for 8 bits need not be for more."""
    held = Held(MMFeature(0.0, 100.0), 1e4, bits=24, operand_features={1: MMFeature(0.0, 10.0)})
    scale = 2 * precision_range(12) / 100 / WIDE_MARGIN
    assert float(operand(held.context, held.x, 12).scales) == pytest.approx(scale, rel=2 ** -10)


@pytest.mark.parametrize("products", [1, 9, 100, 1000, 5000, 60000])
def test_the_widest_operand_fits(products):
    """Oracle: the runtime's bits of (upper sum) * 2**k + lower sum: bits of the sum, k + 2 for the number, 1; 31 at
    most. A bit more would not fit, unless 15 are reached.
    """
    weights = torch.ones(3, products)
    bits = widest_operand(weights, 8)
    def needed(k):
        return (products * 127 * 127).bit_length() + 1 + k + 2 + 1
    assert 8 <= bits <= 15
    assert needed(bits - 8) <= 32 or bits == 8
    assert bits == 15 or needed(bits - 8 + 2) > 31
