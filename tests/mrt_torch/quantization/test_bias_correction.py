"""Bias correction. Oracle: exact means in fractions.Fraction, and the means of the float graph on the sample."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import fx

from mrt_torch.cvm import Interval
from mrt_torch.cvm.interval import precision_range
from mrt_torch.graph.editor import input_nodes
from mrt_torch.graph.facts import facts_of
from mrt_torch.passes import prepare, quantize
from mrt_torch.quantization import QuantizationSettings, int_realize
from mrt_torch.quantization.bias_correction import CorrectedBias, correct_biases, exact_channel_means
from mrt_torch.quantization.channels import ChannelQuantized
from mrt_torch.quantization.recipe import RECIPES, Recipe
from tests.mrt_torch.ops.graphs import (
    CheckedRun,
    assert_deployable,
    aten,
    calibrated_of,
    draw,
    graph,
)

X = draw(24, 3, 8, 8, seed=5)
# Coarse, so that there is something to correct, of the graph as it stands.
WEIGHTS = QuantizationSettings(weight_precision=4, recipe=Recipe(equalization=False))


def network(e, x):
    """A convolution with a border, a depthwise one, a 1x1 without bias, and a dense layer."""
    y = e.call(aten.conv2d.default, x, e.constant("a", draw(6, 3, 3, 3, seed=1)), e.constant("ab", draw(6, seed=2)),
               [1, 1], [1, 1], name="first")
    y = e.call(aten.relu.default, y)
    y = e.call(aten.conv2d.default, y, e.constant("b", draw(6, 1, 3, 3, seed=3)), e.constant("bb", draw(6, seed=4)),
               [2, 2], [1, 1], [1, 1], 6, name="depthwise")
    y = e.call(aten.relu.default, y)
    y = e.call(aten.conv2d.default, y, e.constant("c", draw(5, 6, 1, 1, seed=5)), None, name="without_bias")
    y = e.call(aten.mean.dim, e.call(aten.relu.default, y), [2, 3], False)
    return e.call(aten.linear.default, y, e.constant("d", draw(4, 5, seed=6)), e.constant("db", draw(4, seed=7)),
                  name="dense")


LAYERS = ("first", "depthwise", "without_bias", "dense")


class FloatValues(fx.Interpreter):
    """Values of a float graph by node name."""

    def __init__(self, module):
        super().__init__(module, garbage_collect_values=False)
        self.values = {}

    def run_node(self, n):
        self.values[n.name] = super().run_node(n)
        return self.values[n.name]


def float_values(module, x):
    run = FloatValues(module)
    run.run(x)
    return run.values


@pytest.fixture(scope="module")
def prepared():
    return prepare(graph(network, X.shape))


def corrected(prepared, data=X, chosen=WEIGHTS, sampled=True):
    """The integer module, what holds each float node, and the calibration."""
    known, held = calibrated_of(prepared, *data.split(8), clipped=True, sampled=sampled), {}
    module, _ = quantize(prepared, known, chosen, values=held)
    return module, held, known


def integer_values(module, x):
    facts = facts_of(input_nodes(module.graph)[0])
    run = CheckedRun(module)
    run.run(int_realize(x.double() * facts.scale, facts.precision))
    return run.values


def deviations(prepared, module, held, sample) -> dict[str, torch.Tensor]:
    """By layer: by how much the mean of each channel differs from the float graph's, in units of the integers."""
    floats, integers = float_values(prepared, sample), integer_values(module, sample)
    found = {}
    for name in LAYERS:
        scales = held[name].scales if isinstance(held[name], ChannelQuantized) else held[name].scale
        axes = [axis for axis in range(floats[name].dim()) if axis != 1]
        found[name] = integers[name].double().mean(axes) - floats[name].mean(axes) * scales
    return found


def test_the_mean_of_every_channel_is_that_of_the_float_graph(prepared):
    """Within half a unit of the accumulator, on the sample, of every layer with the corrected ones before it; without
    correction they are 4 units off in the first and 299 in the last.
    """
    module, held, known = corrected(prepared)
    for name, deviation in deviations(prepared, module, held, known.sample).items():
        assert float(deviation.abs().max()) <= 0.5 + 1e-6, name
    plain, held, _ = corrected(prepared, sampled=False)
    found = deviations(prepared, plain, held, known.sample)
    assert all(float(found[name].abs().max()) > 4 for name in LAYERS) and float(found["dense"].abs().max()) > 200
    assert_deployable(module)


def test_a_border_is_corrected_alike(prepared):
    """The constant map of a zero-padded convolution moves as a whole, channel by channel."""
    def constant(module):
        node = next(n for n in module.graph.nodes if n.name == "depthwise")
        assert node.target is torch.ops.cvm.broadcast_add.default
        return getattr(module, node.args[1].target)

    moved = constant(corrected(prepared)[0]) - constant(corrected(prepared, sampled=False)[0])
    assert tuple(moved.shape) == (1, 6, 4, 4) and bool(moved.any())
    assert torch.equal(moved, moved[:, :, :1, :1].expand_as(moved))


def test_constants_keep_their_bits_and_ranges_are_proven_anew(prepared):
    """Facts say what the constants hold after the correction, so what is proven of the nodes that read them too; every
    node keeps to it, on the sample and on data beyond.
    """
    module, *_ = corrected(prepared)
    for node in module.graph.nodes:
        if node.op == "get_attr":
            interval = Interval.of_tensor(getattr(module, node.target))
            assert facts_of(node).value_range == interval
            assert facts_of(node).precision == interval.precision <= 30
    for data in (X, draw(5, 3, 8, 8, seed=9, magnitude=50.0)):
        integer_values(module, data)
    bias = next(n for n in module.graph.nodes if n.name == "dense").args[2]
    assert int(getattr(module, bias.target).abs().max()) <= precision_range(facts_of(bias).precision)


def test_any_order_of_the_data_gives_the_same_integers(prepared):
    """And twice is the same."""
    first, second = corrected(prepared)[0], corrected(prepared, X.flip(0))[0]
    assert first.code == second.code
    for name, tensor in first.named_buffers():
        assert torch.equal(tensor, getattr(second, name)), name
    again = corrected(prepared)[0]
    assert all(torch.equal(tensor, getattr(again, name)) for name, tensor in first.named_buffers())


@pytest.mark.parametrize("recipe, sampled", [
    (RECIPES["original"], True), (Recipe(bias_correction=False, equalization=False), True),
    (Recipe(equalization=False), False)])
def test_without_correction_biases_are_those_of_the_model(prepared, recipe, sampled):
    """Oracle: round(b * s) of the first layer, whose input has no zero point."""
    module, held, _ = corrected(prepared, chosen=QuantizationSettings(recipe=recipe), sampled=sampled)
    first = next(n for n in module.graph.nodes if n.name == "first")
    scales = held["first"].scales if isinstance(held["first"], ChannelQuantized) else held["first"].scale
    assert getattr(module, first.args[2].target).tolist() == (draw(6, seed=2) * scales).round().tolist()


def test_a_layer_without_a_bias_gets_one(prepared):
    module, *_ = corrected(prepared)
    nodes = {n.name: n for n in module.graph.nodes}
    assert nodes["without_bias"].args[2] is not None
    assert "without_bias" in nodes["without_bias"].args[2].name


def test_what_nothing_reads_is_not_corrected(prepared):
    """A node that is gone from the integer graph: its constant may be gone too."""
    _, held, known = corrected(prepared, sampled=False)
    gone = CorrectedBias(next(n for n in prepared.graph.nodes if n.name == "first"), held["dense"].node, "no_constant",
                         torch.ones(6, dtype=torch.float64), 20)
    other = quantize(prepared, known, WEIGHTS)[0]
    before = {name: tensor.clone() for name, tensor in other.named_buffers()}
    assert gone.integer_node not in other.graph.nodes
    correct_biases(prepared, other, [gone], X, int_realize(X * 127, 8))
    assert all(torch.equal(tensor, before[name]) for name, tensor in other.named_buffers())


def test_a_dead_layer_is_its_bias():
    """Weights of zero, and data of zero: the mean is the bias, within a unit of its 16 bits."""
    def build(e, x):
        y = e.call(aten.conv2d.default, x, e.constant("a", torch.zeros(3, 3, 1, 1, dtype=torch.float64)),
                   e.constant("ab", draw(3, seed=2)), name="y")
        return e.call(aten.relu.default, y)

    prepared = prepare(graph(build, X.shape))
    for data in (X, torch.zeros_like(X)):
        module, held, _ = corrected(prepared, data)
        scales = held["y"].scales if isinstance(held["y"], ChannelQuantized) else torch.full((3,), held["y"].scale)
        found = integer_values(module, data)["y"][0, :, 0, 0] / scales
        assert float((found - draw(3, seed=2)).abs().max()) <= float((1 / scales).max())


def test_what_a_correction_adds_is_bounded(prepared):
    """By the bits that were kept for the constant. A sample that differs from all else is proven safe like any."""
    known = calibrated_of(prepared, X, sampled=True)
    strange = type(known)(known.features, known.operand_features, X.abs() * 1000)
    module, _ = quantize(prepared, strange, WEIGHTS)
    assert_deployable(module)
    integer_values(module, X * 1000)
    plain, held, _ = corrected(prepared, sampled=False)
    node = next(n for n in plain.graph.nodes if n.name == "dense")
    (float_node,) = (n for n in prepared.graph.nodes if n.name == "dense")
    bits = facts_of(node.args[2]).precision
    correct_biases(prepared, plain, [CorrectedBias(float_node, node, node.args[2].target, held["dense"].scales, bits)],
                   X.abs() * 1000, int_realize(X, 8))
    assert int(getattr(plain, node.args[2].target).abs().max()) == precision_range(bits)


def test_a_graph_of_one_batch_is_not_corrected():
    """The sample has examples of its own number."""
    def build(e, x):
        y = e.call(aten.linear.default, x, e.constant("a", draw(6, 4, seed=1)), e.constant("ab", draw(6, seed=2)))
        return e.call(aten.reshape.default, y, [3, 2, 6])

    x = draw(6, 4, seed=5)
    prepared = prepare(graph(build, x.shape))
    with_sample, _ = quantize(prepared, calibrated_of(prepared, x, sampled=True), WEIGHTS)
    without, _ = quantize(prepared, calibrated_of(prepared, x), WEIGHTS)
    assert all(torch.equal(t, getattr(without, name)) for name, t in with_sample.named_buffers())


VALUES = st.lists(st.floats(-1e3, 1e3, width=32), min_size=12, max_size=12)


@settings(deadline=None, max_examples=60)
@given(VALUES, st.randoms(use_true_random=False), st.sampled_from([1.0, 2.0 ** -40, 2.0 ** 40]))
def test_exact_means(values, random, factor):
    """Oracle: Fractions. Float32 values are rounded to 61 bits below the largest possible sum, so means are right to
    2**-50 of the largest value; any order of the examples and places gives the same bits.
    """
    tensor = torch.tensor(values, dtype=torch.float32).double().mul(factor).reshape(3, 2, 2)
    means = exact_channel_means(tensor)
    assert means.dtype == torch.float64
    for channel in range(2):
        column = [Fraction(v) for v in tensor[:, channel].flatten().tolist()]
        largest = max(abs(Fraction(v)) for v in tensor.flatten().tolist())
        assert abs(Fraction(float(means[channel])) - sum(column) / 6) <= largest / 2 ** 50
    rows = list(range(3))
    random.shuffle(rows)
    assert torch.equal(exact_channel_means(tensor[rows].flip(2)), means)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(-2 ** 31 + 1, 2 ** 31 - 1), min_size=6, max_size=6))
def test_means_of_integers_are_the_nearest_floats(values):
    """Sums of 32-bit integers are exact, and one division rounds."""
    tensor = torch.tensor(values, dtype=torch.int32).reshape(3, 2)
    expected = [float(Fraction(sum(values[channel::2]), 3)) for channel in range(2)]
    assert exact_channel_means(tensor).tolist() == expected


def test_the_mean_of_zeros():
    assert exact_channel_means(torch.zeros(2, 3, 4)).tolist() == [0.0] * 3
