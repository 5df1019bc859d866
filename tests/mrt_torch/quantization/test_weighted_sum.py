"""Integers of Y = X * W + B. Oracle: sums of Python integers, tap by tap; and float64 sums of integers, which are exact
below 2**53.
"""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn.functional import conv2d

from mrt_torch.cvm.interval import precision_range
from mrt_torch.graph.facts import facts_of
from mrt_torch.quantization import Quantized
from mrt_torch.quantization.operands import LARGEST_MARGIN
from mrt_torch.quantization.precision import round_half_away
from tests.mrt_torch.ops.graphs import (
    assert_within,
    aten,
    by_channel,
    draw,
    graph,
    integer_model,
    operators,
    relative_error,
    weight_scales,
)
from tests.mrt_torch.quantization.layers import GEOMETRIES, Layer, float64_sum, parameters, tap_by_tap


@pytest.mark.parametrize("channel_ranges", [False, True])
@pytest.mark.parametrize("has_bias", [True, False])
@pytest.mark.parametrize("name", GEOMETRIES)
def test_zero_points_are_folded_exactly(name, has_bias, channel_ranges):
    """Integers equal those of q + z at every place, also where the border sees fewer of them; and W and B are the
    documented roundings.
    """
    geometry = GEOMETRIES[name]
    weight, bias = parameters(geometry)
    layer = Layer(weight, bias if has_bias else None, geometry, channel_ranges=channel_ranges)
    found, groups = layer.found, geometry[-1]
    assert len(found.data.zeros) == (groups if channel_ranges else 1) and int(found.data.zeros.abs().min()) > 50
    inputs = found.data.scales.repeat_interleave(len(weight) // len(found.data.scales))
    scales = weight_scales(weight, "default")
    assert torch.allclose(found.scales, inputs * scales, rtol=1e-14)
    assert torch.equal(found.kernel.double(), round_half_away(weight * scales.reshape(-1, 1, 1, 1)))
    offset = round_half_away(bias * inputs * scales) if has_bias else torch.zeros(len(weight))
    x = draw(2, *geometry[0], magnitude=4.0, seed=3).abs() - 0.3
    total, data = layer.run(x)
    assert torch.equal(total, tap_by_tap(data, found.data.zeros, found.kernel, offset, geometry))


@pytest.mark.parametrize("name, shape", [("plain", (4,)), ("1x1", (5,)), ("padded", (1, 4, 4, 5)),
                                         ("1x1, padded", (1, 3, 5, 7))])
def test_a_map_is_added_only_where_the_border_differs(name, shape):
    """A constant for each channel goes into the convolution."""
    geometry = GEOMETRIES[name]
    layer = Layer(*parameters(geometry), geometry)
    assert tuple(layer.found.offset.shape) == shape
    convolution = layer.operators().index("conv2d")
    assert layer.operators()[convolution:] == (["conv2d"] if len(shape) == 1 else ["conv2d", "broadcast_add"])


def test_a_dense_layer():
    """Oracle: (q + z) @ W + round(b * s) in int64."""
    weight, bias = draw(5, 7, seed=1), draw(5, seed=2)
    layer = Layer(weight, bias)
    total, data = layer.run(draw(3, 7, magnitude=4.0).abs())
    offset = round_half_away(bias * layer.scales).to(torch.int64)
    assert int(layer.found.data.zeros) > 50
    assert torch.equal(total, (data + layer.found.data.zeros) @ layer.found.kernel.to(torch.int64).T + offset)
    assert layer.operators()[-1] == "dense"


@pytest.mark.parametrize("name", GEOMETRIES)
def test_deployable_and_close_to_float(name):
    """Behind a relu, whose range needs zero points, at two batches. Oracle: float64.

    Bound: half a unit of the operand for each product, half a unit of each weight, and of the bias; and what one scale
    of 16 bits loses, 3 times as much where channels have few taps.
    """
    geometry = GEOMETRIES[name]
    weight, bias = parameters(geometry)

    def build(e, x):
        h = e.call(aten.relu.default, e.call(aten.mul.Tensor, x, e.constant("map", draw(*geometry[0], seed=7))))
        return e.call(aten.conv2d.default, h, e.constant("weight", weight), e.constant("bias", bias), *geometry[2:])

    x = draw(3, *geometry[0], magnitude=2.0)
    model = integer_model(graph(build, x.shape), x, input_precision=16)
    h = (model.seen(x) * draw(*geometry[0], seed=7)).clamp(min=0)
    unit, scales = 2.0 * LARGEST_MARGIN / 254, weight_scales(weight, "default")
    bound = conv2d(torch.full_like(h, 0.51 * unit), weight.abs(), None, *geometry[2:]) \
        + conv2d(h + unit, torch.ones_like(weight), None, *geometry[2:]) / by_channel(2 * scales) \
        + unit / by_channel(2 * scales) + 3 * model.output_error
    assert_within(model(x), conv2d(h, weight, bias, *geometry[2:]), bound)
    assert bool(getattr(model.module, model.node("broadcast_sub").args[1].target).any()), "there are zero points"


@pytest.mark.parametrize("bits", [2, 4, 6, 8])
def test_weights_of_fewer_bits(bits):
    """Oracle: 2**(bits - 1) - 1 over each channel's largest; the sum as with 8 bits."""
    geometry = GEOMETRIES["padded"]
    weight, bias = parameters(geometry)
    layer = Layer(weight, bias, geometry, weight_precision=bits)
    scales = weight_scales(weight, "default", bits)
    assert torch.equal(layer.found.kernel.double(), round_half_away(weight * scales.reshape(-1, 1, 1, 1)))
    assert layer.found.kernel.flatten(1).abs().amax(1).tolist() == [precision_range(bits)] * len(weight)
    total, data = layer.run(draw(1, *geometry[0], magnitude=4.0).abs())
    offset = round_half_away(bias * layer.scales)
    assert torch.equal(total, tap_by_tap(data, layer.found.data.zeros, layer.found.kernel, offset, geometry))


@pytest.mark.parametrize("length, parts", [(32767, 1), (32768, 2), (70000, 3)])
def test_long_dense_reductions_are_cut_with_zero_points(length, parts):
    """Oracle: float64 sums of the same integers."""
    weight, bias = draw(3, length, seed=1), draw(3, seed=2)
    layer = Layer(weight, bias)
    total, data = layer.run(draw(2, length, magnitude=4.0).abs())
    assert layer.operators().count("dense") == parts and int(layer.found.data.zeros) > 50
    assert torch.equal(total, float64_sum(layer, data, bias))


@pytest.mark.parametrize("length, parts", [(32767, 1), (32768, 1), (65536, 2), (70000, 2)])
def test_long_convolutions_are_cut_with_zero_points(length, parts):
    """Oracle: float64 sums of the same integers. 32768 products leave no bit for a bias, which is added then."""
    weight, bias = draw(2, length, 1, 1, seed=1), draw(2, seed=2)
    geometry = ((length, 1, 1), (2, 1, 1), [1, 1], [0, 0], [1, 1], 1)
    layer = Layer(weight, bias, geometry)
    total, data = layer.run(draw(2, length, 1, 1, magnitude=4.0).abs())
    assert layer.operators().count("conv2d") == parts
    assert torch.equal(total.flatten(1), float64_sum(layer, data, bias))


@pytest.mark.parametrize("factor", [1.0, 100.0, 1e4])
def test_unequal_depthwise_channels(factor):
    """Half of the channels times a factor, which the next layer, depthwise, undoes: the error is that of the plain
    network up to a tenth, because operands and weights have scales of their own. Oracle: float64.
    """
    factors = torch.tensor([1.0, factor, 1.0, factor], dtype=torch.float64)

    def build(e, x):
        weight = e.constant("w", draw(4, 3, 3, 3, seed=1) * factors.reshape(-1, 1, 1, 1))
        h = e.call(aten.relu.default, e.call(aten.conv2d.default, x, weight, None))
        weight = e.constant("d", draw(4, 1, 3, 3, seed=2) / factors.reshape(-1, 1, 1, 1))
        return e.call(aten.conv2d.default, h, weight, None, [1, 1], [1, 1], [1, 1], 4)

    x = draw(4, 3, 8, 8, seed=5)
    module = graph(build, x.shape)
    error = relative_error(integer_model(module, x)(x), module(x)[0])
    assert error < 0.0085, "0.0080 where all are alike"
    if factor > 1:
        assert relative_error(integer_model(module, x, recipe="original")(x), module(x)[0]) > 0.3


def test_one_scale_of_all_channels_is_a_plain_tensor():
    """Where the channels' weights have one magnitude, and in the original recipe, readers need no rescaling."""
    weight = torch.tensor([[1.0, 0.5], [-1.0, 0.25]], dtype=torch.float64)
    assert isinstance(Layer(weight, None).held, Quantized)
    weight = draw(3, 6, seed=1)
    assert not isinstance(Layer(weight, None).held, Quantized)
    module = graph(lambda e, x: e.call(aten.linear.default, x, e.constant("w", weight)), (2, 6))
    model = integer_model(module, draw(2, 6), recipe="original")
    assert operators(model.module) == ["dense"]


def test_a_wide_operand_costs_the_sum_twice_and_is_exact():
    """Two parts of 8 bits. Oracle: float64 on the finer integers; precision 12 is 16 times finer than 8."""
    geometry = GEOMETRIES["padded"]
    weight, bias = parameters(geometry)

    def build(e, x):
        h = e.call(aten.relu.default, e.call(aten.mul.Tensor, x, e.constant("map", draw(*geometry[0], seed=7))))
        return e.call(aten.conv2d.default, h, e.constant("weight", weight), e.constant("bias", bias), *geometry[2:])

    x = draw(3, *geometry[0], magnitude=2.0)
    model = integer_model(graph(build, x.shape), x, input_precision=16, operator_precisions={"Convolution": 12})
    assert operators(model.module).count("conv2d") == 2
    h = (model.seen(x) * draw(*geometry[0], seed=7)).clamp(min=0)
    scales = weight_scales(weight, "default")
    integers = (weight * by_channel(scales)[:, None]).round() / by_channel(scales)[:, None]
    unit = 2.0 * 2 / 4094
    bound = conv2d(torch.full_like(h, 0.51 * unit), weight.abs() * 1.01, None, *geometry[2:]) \
        + unit / by_channel(scales) + 3 * model.output_error
    assert_within(model(x), conv2d(h, integers, bias, *geometry[2:]), bound)


def test_the_runtime_takes_every_sum_to_fit():
    """Facts of the result: 32 bits at most, and 31 for what is proven."""
    for geometry in GEOMETRIES.values():
        layer = Layer(*parameters(geometry), geometry, channel_ranges=True)
        facts = facts_of(layer.held.node)
        assert facts.value_range.precision <= 31 and facts.precision <= 32
        assert math.prod(layer.found.kernel.shape[1:]) * 127 * 127 < 2 ** 30
