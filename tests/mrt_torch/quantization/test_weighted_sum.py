"""Integers of Y = X * W + B. Oracle: sums of Python integers, tap by tap; and float64 sums of integers, exact below 2**53.
"""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch.nn.functional import conv2d

from mrt_torch.calibration.features import MMFeature, MMLFeature
from mrt_torch.cvm import Interval
from mrt_torch.cvm.interval import precision_range
from mrt_torch.graph.editor import GraphEditor, empty_graph_module
from mrt_torch.graph.facts import facts_of, set_facts
from mrt_torch.ops.registry import apply_pass
from mrt_torch.quantization import QuantizationContext, QuantizationSettings, Quantized
from mrt_torch.quantization.calibrated import Calibrated
from mrt_torch.quantization.precision import round_half_away
from tests.mrt_torch.ops.graphs import (
    CheckedRun,
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

HELD_SCALE, HELD_BITS = 2.0e4, 20
# input channels, height, width; output channels, kernel; stride, padding, dilation, groups
GEOMETRIES = {
    "plain": ((3, 4, 5), (4, 3, 2), [1, 1], [0, 0], [1, 1], 1),
    "padded": ((3, 4, 5), (4, 3, 3), [1, 1], [1, 1], [1, 1], 1),
    "1x1": ((4, 3, 3), (5, 1, 1), [1, 1], [0, 0], [1, 1], 1),
    "1x1, padded": ((2, 3, 3), (3, 1, 1), [1, 1], [1, 2], [1, 1], 1),
    "strides, dilation, two groups": ((4, 6, 5), (6, 2, 3), [2, 1], [1, 3], [2, 1], 2),
    "depthwise": ((4, 5, 4), (8, 3, 3), [1, 1], [1, 1], [1, 1], 4),
    "depthwise, stride 2, padded on one axis": ((3, 5, 4), (3, 3, 1), [2, 2], [1, 0], [1, 1], 3),
}


class Layer:
    """One convolution, or dense layer where ``geometry`` is None, on an activation of wide integers with a range.

    ``held`` is the result, ``found`` what was chosen, ``data`` the operand.
    """

    def __init__(self, weight, bias, geometry=None, low=-0.5, high=4.0, channel_ranges=False, **chosen):
        shape = geometry[0] if geometry else (weight.shape[1],)
        editor = GraphEditor(empty_graph_module())
        data = editor.input("data", (1, *shape), torch.float64)
        x = editor.call(aten.tanh.default, data, name="x")
        parameters = [editor.constant("weight", weight), None if bias is None else editor.constant("bias", bias)]
        target, arguments = (aten.conv2d.default, geometry[2:]) if geometry else (aten.linear.default, ())
        self.op = editor.call(target, x, *parameters, *arguments, name="y")
        lows, highs = ([end * (1 - 0.2 * c) for c in range(shape[0])] for end in (low, high))
        ranges = MMLFeature(lows, highs) if channel_ranges else MMFeature(low, high)
        self.context = QuantizationContext(editor.module, Calibrated({"x": ranges, "y": MMFeature(-9.0, 9.0)}),
                                           QuantizationSettings(**chosen))
        self.input = self.context.editor.input("data", (1, *shape), torch.int32)
        set_facts(self.input, precision=HELD_BITS, value_range=Interval.symmetric(HELD_BITS))
        self.context.set_value(x, Quantized(self.input, HELD_SCALE))
        self.held = apply_pass("quantize", self.op, context=self.context)
        self.found = self.context.weighted_sums[self.op]
        ((self.data, _),) = self.found.data.parts
        self.context.editor.output([self.held.node, self.data])
        self.context.editor.module.recompile()

    @property
    def scales(self) -> torch.Tensor:
        """Of Y, (O,)."""
        return self.found.scales

    def run(self, values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Integers of Y and q for floats X; every node is held against its facts."""
        integers = (values * HELD_SCALE).round().to(torch.int32)
        total, data = CheckedRun(self.context.editor.module).run(integers)
        return total.to(torch.int64), data.to(torch.int64)

    def operators(self) -> list[str]:
        return operators(self.context.editor.module)


def tap_by_tap(data, zeros, kernel, bias, geometry):
    """The convolution of q + z in Python integers: padding counts as nothing, as in the float convolution."""
    *_, (stride, padding, dilation, groups) = geometry[:2], geometry[2:]
    batch, channels, *extents = data.shape
    outputs, per_group, *window = kernel.shape
    sizes = [(extents[a] + 2 * padding[a] - dilation[a] * (window[a] - 1) - 1) // stride[a] + 1 for a in (0, 1)]
    result = torch.zeros(batch, outputs, *sizes, dtype=torch.int64)
    wide, taps = data.tolist(), kernel.tolist()
    for n, o, i, j in itertools.product(range(batch), range(outputs), *map(range, sizes)):
        group, total = o // (outputs // groups), int(bias[o])
        for c, u, v in itertools.product(range(per_group), *map(range, window)):
            row, column = i * stride[0] + u * dilation[0] - padding[0], j * stride[1] + v * dilation[1] - padding[1]
            if 0 <= row < extents[0] and 0 <= column < extents[1]:
                channel = group * per_group + c
                total += taps[o][c][u][v] * (wide[n][channel][row][column] + int(zeros[channel * len(zeros) // channels]))
        result[n, o, i, j] = total
    return result


def parameters(geometry, seed=1):
    (channels, *_), (outputs, *window), *_, groups = geometry
    return draw(outputs, channels // groups, *window, seed=seed), draw(outputs, seed=seed + 1)


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
    unit, scales = 2.0 * 1.1 / 254, weight_scales(weight, "default")
    bound = conv2d(torch.full_like(h, 0.51 * unit), weight.abs(), None, *geometry[2:]) \
        + conv2d(h + unit, torch.ones_like(weight), None, *geometry[2:]) / by_channel(2 * scales) \
        + unit / by_channel(2 * scales) + 3 * model.output_error
    assert_within(model(x), conv2d(h, weight, bias, *geometry[2:]), bound)
    assert any(int(v) for n in model.module.graph.nodes if n.op == "call_function" and n.target._opname == "broadcast_sub"
               for v in getattr(model.module, n.args[1].target).flatten())


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


def float64_sum(layer, data, bias):
    """(q + z) * W + round(b * s), of a 1x1 convolution or a dense layer."""
    whole = (data + int(layer.found.data.zeros)).double().flatten(1)
    return (whole @ layer.found.kernel.double().flatten(1).T + round_half_away(bias * layer.scales)).to(torch.int64)


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
    assert relative_error(found[:, 0], (x @ weight.T)[:, 0] + 1) < 0.5 / 15, "ones, all rounded alike to 4 bits and a sign"
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
    unit = 4.95 / 254
    bound = 0.5 / layer.scales + weight.abs().sum(1) * 0.51 * unit + 6 * 4.0 * 0.5 * float(layer.found.data.scales) / layer.scales
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


@pytest.mark.parametrize("factor", [1.0, 100.0, 1e4])
def test_unequal_depthwise_channels(factor):
    """Half of the channels times a factor, which the next layer, depthwise, undoes: the error is that of the plain
    network up to a tenth, because operands and weights have scales of their own. Oracle: float64.
    """
    factors = torch.tensor([1.0, factor, 1.0, factor], dtype=torch.float64)

    def build(e, x):
        h = e.call(aten.conv2d.default, x, e.constant("w", draw(4, 3, 3, 3, seed=1) * factors.reshape(-1, 1, 1, 1)), None)
        h = e.call(aten.relu.default, h)
        weight = e.constant("d", draw(4, 1, 3, 3, seed=2) / factors.reshape(-1, 1, 1, 1))
        return e.call(aten.conv2d.default, h, weight, None, [1, 1], [1, 1], [1, 1], 4)

    x = draw(4, 3, 8, 8, seed=5)
    module = graph(build, x.shape)
    error = relative_error(integer_model(module, x)(x), module(x)[0])
    assert error < 0.0075, "0.0068 where all are alike"
    if factor > 1:
        assert relative_error(integer_model(module, x, recipe="original")(x), module(x)[0]) > 0.3


def test_one_scale_of_all_channels_is_a_plain_tensor():
    """Where the channels' weights have one magnitude, and in the original recipe, readers need no rescaling."""
    weight = torch.tensor([[1.0, 0.5], [-1.0, 0.25]], dtype=torch.float64)
    assert isinstance(Layer(weight, None).held, Quantized)
    weight = draw(3, 6, seed=1)
    assert not isinstance(Layer(weight, None).held, Quantized)
    model = integer_model(graph(lambda e, x: e.call(aten.linear.default, x, e.constant("w", weight)), (2, 6)), draw(2, 6),
                          recipe="original")
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
