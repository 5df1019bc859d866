"""Scales of the weights of Y = X * W + B: who gets which, and where they are lowered.

Oracle: the documented limits, and float64.
"""

from __future__ import annotations

import pytest
import torch

from mrt_torch.quantization.operands import LARGEST_MARGIN
from tests.mrt_torch.ops.graphs import assert_within, draw, relative_error
from tests.mrt_torch.quantization.layers import GEOMETRIES, Layer, float64_sum, parameters


def largest_sums(layer) -> torch.Tensor:
    """|X| * sum(|W|) + |B| of each channel, which must fit 31 bits."""
    found, offset = layer.found, layer.found.offset.abs()
    extreme = offset if offset.dim() == 1 else offset.amax((0, 2, 3))
    return found.kernel.flatten(1).abs().sum(1, dtype=torch.int64) * found.data.magnitude + extreme


def test_channels_whose_sums_would_exceed_31_bits_take_coarser_weights():
    """140000 products of 127 * 127 do. Only such channels: the others keep their 8 bits. Oracle: float64."""
    weight = torch.zeros(3, 140000, dtype=torch.float64)
    weight[0], weight[1, :20], weight[2] = 1.0, 1.0, draw(140000)
    layer = Layer(weight, torch.ones(3, dtype=torch.float64))
    largest = layer.found.kernel.abs().amax(1).tolist()
    assert largest[1] == 127 and 8 <= largest[0] < 127 and int(largest_sums(layer).max()) < 2 ** 30
    x = draw(2, 140000, magnitude=4.0).abs()
    total, _ = layer.run(x)
    found = total.double() / layer.scales
    assert relative_error(found[:, 0], (x @ weight.T)[:, 0] + 1) < 0.5 / 15, "ones, all rounded alike to 4 bits"
    assert float((found[:, 1] - x[:, :20].sum(1) - 1).abs().max()) < 20 * 0.51 / float(layer.found.data.scales)


@pytest.mark.parametrize("magnitude", [1e-2, 1e-4, 1e-7, 1e-12, 1e-30])
def test_a_bias_has_30_bits_at_most(magnitude):
    """Weights next to zero beside an ordinary bias. Oracle: float64 within a unit of Y for each product, and the bias
    rounded to half a unit. The channel with ordinary weights keeps its 8 bits.
    """
    weight, bias = draw(3, 6, seed=1), torch.tensor([700.0, -900.0, 0.3], dtype=torch.float64)
    weight[:2] *= magnitude
    layer = Layer(weight, bias)
    assert layer.found.reserve <= 30 and int(layer.found.offset.abs().max()) < 2 ** 29
    assert int(layer.found.kernel[2].abs().max()) == 127
    x = draw(4, 6, magnitude=4.0).abs()
    total, _ = layer.run(x)
    expected = x @ weight.T + bias
    unit, weight_scales_found = 4.5 * LARGEST_MARGIN / 254, layer.scales / layer.found.data.scales
    bound = 0.5 / layer.scales + weight.abs().sum(1) * 0.51 * unit + 6 * 4.0 * 0.5 / weight_scales_found
    assert_within(total.double() / layer.scales, expected, bound)


def test_zero_points_far_from_the_range_keep_the_bits_they_can():
    """A range of 40 to 41 has a zero point of some 10000, which the offset multiplies by the sum of weights."""
    weight, bias = draw(4, 3000, seed=1), draw(4, seed=2)
    weight[0] = 1.0
    layer = Layer(weight, bias, low=20.0, high=20.5)
    assert int(layer.found.data.zeros) > 5000
    assert int(layer.found.offset.abs().max()) < 2 ** 29 and int(largest_sums(layer).max()) < 2 ** 30
    assert layer.found.kernel[1:].abs().amax(1).tolist() == [127] * 3, "only the channel of ones is too large"
    x = 20 + draw(2, 3000, seed=4).abs() * 0.5
    total, data = layer.run(x)
    assert torch.equal(total, float64_sum(layer, data, bias))
    found, expected = total.double() / layer.scales, x @ weight.T + bias
    assert relative_error(found[:, 0], expected[:, 0]) < 0.5 / 15, "ones, all rounded alike to 4 bits and a sign"
    assert float((found - expected)[:, 1:].abs().max()) < 3000 ** 0.5 * 20.5 / 127, "twice the deviation of rounding"


def test_dead_weights():
    """A channel of zeros is its bias in 16 bits, or nothing; its scale does not touch the others."""
    weight, bias = draw(4, 6, seed=1), torch.tensor([0.1, -3e-5, 0.0, 700.0], dtype=torch.float64)
    weight[1:] *= torch.tensor([[0.0], [0.0], [0.0]])
    layer = Layer(weight, bias)
    alone = Layer(weight[:1], bias[:1])
    assert torch.equal(layer.found.kernel[:1], alone.found.kernel) and float(layer.scales[0]) == float(alone.scales[0])
    x = draw(3, 6, magnitude=4.0)
    total, _ = layer.run(x)
    assert torch.equal(total[:, :1], alone.run(x)[0])
    assert total[0, 1:].tolist() == [-32767, 0, 32767]
    assert_within(total.double()[:, 1:] / layer.scales[1:], bias[1:].expand(3, 3), 0)


def test_all_weights_dead():
    layer = Layer(torch.zeros(3, 6, dtype=torch.float64), None)
    assert not layer.run(draw(3, 6))[0].any()
    layer = Layer(torch.zeros(2, 6, dtype=torch.float64), torch.zeros(2, dtype=torch.float64))
    assert not layer.run(draw(3, 6))[0].any()


def test_a_zero_input_keeps_the_bias():
    """In 16 bits for each channel, whatever its size. Oracle: the bias."""
    bias = torch.tensor([1e-6, -300.0, 0.0], dtype=torch.float64)
    layer = Layer(draw(3, 6, seed=1), bias, low=0.0, high=0.0)
    total, data = layer.run(torch.zeros(2, 6, dtype=torch.float64))
    assert not data.any() and total[0].tolist() == [32767, -32767, 0]
    assert_within(total.double() / layer.scales, bias.expand(2, 3), 1e-12)


@pytest.mark.parametrize("factor", [100.0, 1e4, 6e4])
def test_unequal_channels_lose_nothing(factor):
    """Weights and biases times a factor give the same integers at a scale divided by it, channel by channel."""
    geometry = GEOMETRIES["padded"]
    weight, bias = parameters(geometry)
    factors = torch.tensor([1.0, factor, 1.0, factor], dtype=torch.float64)
    plain, unequal = Layer(weight, bias, geometry), Layer(
        weight * factors.reshape(-1, 1, 1, 1), bias * factors, geometry)
    assert torch.equal(plain.found.kernel, unequal.found.kernel)
    assert torch.equal(plain.found.offset, unequal.found.offset)
    assert torch.allclose(plain.scales, unequal.scales * factors, rtol=1e-14)


def test_very_unequal_channels():
    """10**6 apart, of which 2**16 is followed: the small channels keep what is left of their bits, 4."""
    weight, factors = draw(4, 6, seed=1), torch.tensor([1.0, 1e6, 1.0, 1e6], dtype=torch.float64)
    layer = Layer(weight * factors[:, None], None)
    largest = layer.found.kernel.abs().amax(1).tolist()
    assert largest[1] == largest[3] == 127 and 7 <= min(largest[0], largest[2])
    assert float(layer.scales.max() / layer.scales.min()) <= 2 ** 16 * (1 + 1e-12)
