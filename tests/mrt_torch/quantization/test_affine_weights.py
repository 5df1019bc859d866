"""Oracle: the algebra in exact integers of float64, with scales and zero points from their definitions."""

from __future__ import annotations

import pytest
import torch

from mrt_torch.cvm import verify
from mrt_torch.graph.editor import input_nodes, output_nodes
from mrt_torch.graph.facts import facts_of
from mrt_torch.graph.runner import finish
from mrt_torch.graph.stage import Stage
from mrt_torch.ops.registry import apply_pass
from mrt_torch.passes import prepare, prepare_for_compile
from mrt_torch.quantization import QuantizationContext, QuantizationSettings
from mrt_torch.quantization.precision import round_half_away
from mrt_torch.quantization.recipe import RECIPES
from tests.mrt_torch.ops.graphs import CheckedRun, calibrated_of, draw, graph, integer_model

aten = torch.ops.aten
AFFINE = {"quant_type": "UniformAffine"}


class Written:
    """The integers of a float graph, with the context that wrote them, run on data."""

    def __init__(self, module, data, recipe="default", calibrated=None, **settings):
        self.module = prepare(module)
        known = calibrated_of(self.module, data) if calibrated is None else calibrated
        self.context = QuantizationContext(self.module, known, QuantizationSettings(recipe=RECIPES[recipe], **settings))
        for node in self.module.graph.nodes:
            if node.op not in ("get_attr", "output"):
                with self.context.editor.inheriting(node):
                    self.context.set_value(node, apply_pass("quantize", node, context=self.context))
        self.op = output_nodes(self.module.graph)[0]
        self.held = self.context.held(self.op)
        self.data = data

    def run(self, *nodes):
        """Values of integer nodes; every one is held against its facts, and the graph against the runtime's rules."""
        integers = self.context.editor.module
        self.context.editor.output([self.held.node])
        finish(integers, Stage.INTEGER)
        entry = input_nodes(integers.graph)[0]
        verify(prepare_for_compile(integers, {entry.name: tuple(self.data.shape)}))
        facts = facts_of(entry)
        run = CheckedRun(integers)
        limit = 2 ** (facts.precision - 1) - 1
        run.run(round_half_away(self.data.double() * facts.scale).clamp(-limit, limit).to(torch.int32))
        return [run.values[node.name].to(torch.float64) for node in nodes]


def kernel_and_zeros(weight, sharing=1, bits=8):
    """q, z and scales of a weight: 2**bits - 2 steps between the extremes of each ``sharing`` output channels."""
    rows = weight.flatten(1).reshape(len(weight) // sharing, -1)
    low, high = rows.amin(1).repeat_interleave(sharing), rows.amax(1).repeat_interleave(sharing)
    bound = 2 ** (bits - 1) - 1
    scales = 2 * bound / (high - low)
    zeros = ((low + high) / 2 * scales).round()
    shape = [-1] + [1] * (weight.dim() - 1)
    integers = round_half_away((weight - (zeros / scales).reshape(shape)) * scales.reshape(shape))
    return integers.clamp(-bound, bound), zeros, scales


CONVOLUTIONS = {
    "plain": dict(weight=(6, 4, 3, 3)), "padded": dict(weight=(6, 4, 3, 3), padding=1),
    "strided and dilated": dict(weight=(3, 4, 2, 3), padding=(0, 2), stride=2, dilation=(1, 2)),
    "one output": dict(weight=(1, 4, 1, 1)), "grouped": dict(weight=(6, 2, 3, 3), groups=2, padding=1),
    "depthwise": dict(weight=(4, 1, 3, 3), groups=4, padding=1),
    "multiplied depthwise": dict(weight=(8, 1, 3, 3), groups=4),
}


def pair(value):
    return list(value) if isinstance(value, tuple) else [value, value]


def convolution(weight, bias, entry=None, stride=1, padding=0, dilation=1, groups=1, channels=4):
    """Graph of a convolution; ``entry`` is what it reads of the input."""
    def build(e, x):
        x = x if entry is None else entry(e, x)
        return e.call(aten.conv2d.default, x, e.constant("w", weight), None if bias is None else e.constant("b", bias),
                      pair(stride), pair(padding), pair(dilation), groups, name="conv")
    return graph(build, (2, channels, 7, 8))


@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("entry", [None, "affine"])
@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_an_affine_weight_of_a_convolution(name, entry, biased):
    """Exactly conv(q_x + z_x, q_w + z_w) + round(b * s): all four terms, on a border too."""
    options = dict(CONVOLUTIONS[name])
    weight = draw(*options.pop("weight")) + 0.6
    bias = draw(len(weight), seed=1) if biased else None
    data = draw(2, 4, 7, 8, seed=2) + 0.4
    reader = None if entry is None else lambda e, x: e.call(aten.relu.default, e.call(aten.mul.Tensor, x, x))
    written = Written(convolution(weight, bias, reader, **options), data, configuration={"w": AFFINE},
                      input_precision=12)
    found = written.context.weighted_sums[written.op]
    kernel, zeros, scales = kernel_and_zeros(weight)
    inputs = found.data.scales.repeat_interleave(len(weight) // len(found.data.scales))
    assert torch.equal(found.kernel.double(), kernel) and torch.equal(found.weight_zeros.double(), zeros)
    assert torch.allclose(found.scales, scales * inputs, rtol=1e-15)
    assert bool(found.data.zeros.any()) == (entry is not None)
    ((node, _),) = found.data.parts
    operand, total = written.run(node, written.held.node)
    own = found.data.zeros.double().repeat_interleave(4 // len(found.data.zeros)).reshape(1, -1, 1, 1)
    settings = {key: pair(value) if key != "groups" else value for key, value in options.items()}
    expected = torch.nn.functional.conv2d(operand + own, found.whole_kernel, **settings)
    if biased:
        expected += round_half_away(bias * found.scales).reshape(1, -1, 1, 1)
    assert torch.equal(total, expected)


@pytest.mark.parametrize("entry", [None, "affine"])
@pytest.mark.parametrize("inner, outer", [(5, 4), (300, 1), (40000, 3)])
def test_an_affine_weight_of_a_dense_layer(inner, outer, entry):
    """Exactly (q_x + z_x) * (q_w + z_w)' + round(b * s), also where the reduction is cut."""
    weight, bias, data = draw(outer, inner) + 0.5, draw(outer, seed=1), draw(3, inner, seed=2) + 0.3

    def build(e, x):
        x = e.call(aten.relu.default, e.call(aten.mul.Tensor, x, x)) if entry else x
        return e.call(aten.linear.default, x, e.constant("w", weight), e.constant("b", bias))

    written = Written(graph(build, data.shape), data, configuration={"w": AFFINE}, input_precision=12)
    found = written.context.weighted_sums[written.op]
    ((node, _),) = found.data.parts
    operand, total = written.run(node, written.held.node)
    expected = (operand + float(found.data.zeros)) @ found.whole_kernel.T + round_half_away(bias * found.scales)
    assert torch.equal(total, expected) and bool(found.data.zeros.any()) == bool(entry)
    weights = found.whole_kernel / (found.scales / found.data.scales)[:, None]
    steps = (found.data.scales / found.scales)[:, None]
    assert bool(((weights - weight).abs() <= steps * (0.5 + 1e-9)).all())


@pytest.mark.parametrize("granularity, sharing", [({}, 1), ({"gn_type": "layer-wise"}, 6),
                                                  ({"gn_type": "group-wise", "num_groups": 2, "is_weight": True}, 3)])
def test_what_shares_the_scale_and_the_zero_point_of_a_weight(granularity, sharing):
    weight = draw(6, 2, 3, 3) * torch.arange(1, 7).reshape(-1, 1, 1, 1) + 0.5
    own = {**AFFINE, "gn_info": granularity} if granularity else AFFINE
    written = Written(convolution(weight, None, groups=2), draw(2, 4, 7, 8), configuration={"w": own})
    found, (kernel, zeros, _) = written.context.weighted_sums[written.op], kernel_and_zeros(weight, sharing)
    assert torch.equal(found.kernel.double(), kernel) and torch.equal(found.weight_zeros.double(), zeros)
    operand, total = written.run(found.data.parts[0][0], written.held.node)
    assert torch.equal(total, torch.nn.functional.conv2d(operand, found.whole_kernel, groups=2))


@pytest.mark.parametrize("value", [0.0, 0.7, -3.0])
def test_weights_without_a_range_are_symmetric(value):
    """A constant is the largest integer, so it is exact; zeros stay zeros beside a bias."""
    weight, data = torch.full((2, 4, 3, 3), value, dtype=torch.float64), draw(2, 4, 7, 8, magnitude=2.0)
    bias = torch.tensor([1.0, -0.5], dtype=torch.float64)
    written = Written(convolution(weight, bias), data, configuration={"w": AFFINE}, recipe="original")
    assert written.context.weighted_sums[written.op].weight_zeros is None
    operand, total = written.run(written.context.weighted_sums[written.op].data.parts[0][0], written.held.node)
    scale = written.held.scale
    expected = torch.nn.functional.conv2d(operand * 2 / 127, weight, bias)
    assert float((total / scale - expected).abs().max()) <= 1.0 / scale


def test_a_range_far_from_zero_is_proven_to_fit():
    """Weights in 1000 +- 0.01 have the zero point 12.7 million: the scale gives way, never the proof."""
    weight = draw(3, 4, 3, 3, magnitude=0.01) + 1000
    data = draw(2, 4, 7, 8)
    written = Written(convolution(weight, None, padding=1), data, configuration={"w": AFFINE})
    found = written.context.weighted_sums[written.op]
    operand, total = written.run(found.data.parts[0][0], written.held.node)
    expected = torch.nn.functional.conv2d(operand, found.whole_kernel, padding=1)
    assert torch.equal(total, expected) and float(total.abs().max()) < 2 ** 30
    assert found.whole_kernel.abs().max() * 36 * 127 < 2 ** 30


def test_affine_weights_lose_less_where_the_range_is_one_sided():
    """254 steps for [0, 1] instead of 127: the error of the weights halves."""
    weight, data = draw(4, 4, 3, 3).abs(), draw(2, 4, 7, 8)
    exact = torch.nn.functional.conv2d(integer_model(convolution(weight, None), data).seen(data), weight)
    errors = [float((integer_model(convolution(weight, None), data, configuration=own)(data) - exact).norm())
              for own in ({}, {"w": AFFINE})]
    assert errors[1] < 0.7 * errors[0]
