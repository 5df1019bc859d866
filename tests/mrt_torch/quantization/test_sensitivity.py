"""Sensitivities. Oracles: the float graph run again with one operand, or one weight, rounded by the formulas; the
integer graph's values beside the float graph's; sums in numpy.
"""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from torch import fx

from mrt_torch.errors import CalibrationError
from mrt_torch.graph.editor import input_nodes
from mrt_torch.graph.facts import facts_of
from mrt_torch.passes import prepare, quantize
from mrt_torch.passes.quantize import sensitivity_table
from mrt_torch.quantization import QuantizationSettings
from mrt_torch.quantization.channels import ChannelQuantized
from mrt_torch.quantization.recipe import RECIPES, Recipe
from mrt_torch.quantization.sensitivity import NodeSensitivity, SensitivityTable, decibels, sensitivities
from tests.mrt_torch.ops.graphs import aten, calibrated_of, draw, graph
from tests.mrt_torch.quantization.written import Written

X = torch.cat([draw(2, 3, 6, 5, seed=seed) for seed in range(5)])  # fewer than the 16 that are looked at


def network(e, x):
    """A plain, a padded, a depthwise and a grouped convolution, a residual sum and two dense outputs."""
    def conv(data, name, *shape, bias=True, groups=1, padding=0, seed=0):
        offset = e.constant(f"{name}_b", draw(shape[0], seed=seed + 7)) if bias else None
        return e.call(aten.conv2d.default, data, e.constant(f"{name}_w", draw(*shape, seed=seed)), offset, [1, 1],
                      [padding, padding], [1, 1], groups, name=name)
    stem = e.call(aten.relu.default, conv(x, "stem", 4, 3, 3, 3, seed=1))
    deep = e.call(aten.relu.default, conv(stem, "depthwise", 4, 1, 3, 3, groups=4, padding=1, seed=2))
    wide = e.call(aten.leaky_relu.default, conv(deep, "grouped", 4, 2, 1, 1, bias=False, groups=2, seed=3), 0.1)
    total = e.call(aten.add.Tensor, conv(wide, "padded", 4, 4, 3, 3, padding=1, seed=4), stem)
    pooled = e.call(aten.mean.dim, e.call(aten.relu.default, total), [2, 3], False)
    heads = [e.call(aten.linear.default, pooled, e.constant(f"head{i}_w", draw(i + 2, 4, seed=5 + i)), None,
                    name=f"head{i}") for i in range(2)]
    return heads


NAMES = {"stem", "depthwise", "grouped", "padded", "head0", "head1"}


@pytest.fixture(scope="module")
def float_module():
    return prepare(graph(network, X.shape))


@pytest.fixture(scope="module")
def known(float_module):
    return calibrated_of(float_module, X, clipped=True, sampled=True)


class WithOne(fx.Interpreter):
    """The float graph with another operand or weight for one node, whose result keeps the mean of each channel."""

    def __init__(self, module, name, change):
        super().__init__(module)
        self.name, self.change = name, change

    def run_node(self, n):
        if n.name != self.name:
            return super().run_node(n)
        x, weight, *rest = (self.env[a] if isinstance(a, fx.Node) else a for a in n.args)
        exact = n.target(x, weight, *rest)
        changed = n.target(*self.change(x, weight), *rest)
        for channel in range(exact.shape[1]):
            changed[:, channel] -= (changed[:, channel] - exact[:, channel]).mean()
        return changed


def ratio(exact, found) -> float:
    """Mean over the outputs of sum((a - b)**2) / sum(a**2)."""
    return float(np.mean([((a - b) ** 2).sum() / (a ** 2).sum() for a, b in zip(
        [v.numpy() for v in exact], [v.numpy() for v in found], strict=True)]))


def rounded_operand(sums):
    """x to (clamp(round(x * s) - z) + z) / s, channel by channel."""
    def change(x, weight):
        result, groups = x.clone(), len(sums.data.scales)
        for channel in range(x.shape[1]):
            group = channel // (x.shape[1] // groups)
            scale, zero = float(sums.data.scales[group]), int(sums.data.zeros[group])
            integers = np.clip(np.rint(x[:, channel].numpy() * scale) - zero, -sums.data.magnitude, sums.data.magnitude)
            result[:, channel] = torch.from_numpy((integers + zero) / scale)
        return result, weight
    return change


def rounded_weight(sums):
    """w to q / s_w, where Y has s_x * s_w."""
    def change(x, weight):
        result, groups = weight.clone(), len(sums.data.scales)
        for row in range(len(weight)):
            scale = float(sums.scales[row] / sums.data.scales[row // (len(weight) // groups)])
            result[row] = sums.kernel[row].double() / scale
        return x, result
    return change


@pytest.mark.parametrize("chosen", [{}, {"recipe": RECIPES["original"]}, {"weight_precision": 4},
                                    {"node_precisions": {"depthwise": 12, "padded": 4}}], ids=repr)
def test_each_is_the_float_graph_with_one_thing_rounded(float_module, known, chosen):
    written = Written(graph(network, X.shape), X, known, **chosen)
    sums = {op.name: found for op, found in written.context.weighted_sums.items()}
    table = {row.node: row for row in sensitivities(written.module, written.context.weighted_sums, X)}
    assert table.keys() == NAMES
    exact = written.module(X)
    for name, row in table.items():
        for seen, change in ((row.operand, rounded_operand), (row.weight, rounded_weight)):
            found = WithOne(written.module, name, change(sums[name])).run(X)
            assert seen == pytest.approx(ratio(exact, found), rel=1e-6, abs=1e-24)
        assert row.isolated == row.operand + row.weight and math.isnan(row.cumulative)


def test_the_table_is_worst_first_and_names_shares(float_module, known):
    """Multiply-accumulates by hand: outputs times taps."""
    table = sensitivity_table(float_module, known, QuantizationSettings())
    assert len(table) == len(NAMES) and [row.isolated for row in table] == sorted(
        (row.isolated for row in table), reverse=True)
    operations = {"stem": 4 * 4 * 3 * 27, "depthwise": 4 * 4 * 3 * 9, "grouped": 4 * 4 * 3 * 2,
                  "padded": 4 * 4 * 3 * 36, "head0": 2 * 4, "head1": 3 * 4}
    assert {row.node: row.share for row in table} == {
        name: pytest.approx(count / sum(operations.values()), rel=1e-12) for name, count in operations.items()}
    assert {row.name for row in table} == NAMES


@pytest.mark.parametrize("recipe", ["default", "original", "best"])
def test_cumulative_noise_is_that_of_the_integer_graph(float_module, known, recipe):
    """Oracle: every value of both graphs, kept by fx.Interpreter; biases are corrected in the integers."""
    chosen = QuantizationSettings(recipe=RECIPES[recipe])
    table = {row.node: row.cumulative for row in sensitivity_table(float_module, known, chosen)}
    held = {}
    integer_module, _ = quantize(float_module, known, chosen, values=held)
    exact, found = (fx.Interpreter(module, garbage_collect_values=False) for module in (float_module, integer_module))
    exact.run(known.sample)
    scale = facts_of(input_nodes(integer_module.graph)[0]).scale
    found.run((known.sample * scale).round().clamp(-127, 127).to(torch.int32))
    values = {node.name: value for node, value in found.env.items()}
    for node, reference in exact.env.items():
        if node.name in NAMES:
            scales = held[node.name].scales if isinstance(held[node.name], ChannelQuantized) else \
                torch.tensor([held[node.name].scale])
            seen = values[held[node.name].node.name].double() / scales.reshape([1, -1] + [1] * (reference.dim() - 2))
            wanted = float(((reference - seen) ** 2).sum() / (reference ** 2).sum())
            assert table[node.name] == pytest.approx(wanted, rel=1e-6)


def test_a_node_of_few_bits_comes_first(float_module, known):
    """Noise of rounding to a step goes with its square: 4 bits fewer cost about 24 dB; twice the range, for 4 more."""
    plain = {row.node: row for row in sensitivity_table(float_module, known, QuantizationSettings())}
    for name in ("padded", "head1"):
        table = sensitivity_table(float_module, known, QuantizationSettings(node_precisions={name: 4}))
        assert table.rows[0].node == name
        worse = decibels(plain[name].operand) - decibels(table.rows[0].operand)
        assert 15 < worse < 30  # few values
        wide = sensitivity_table(float_module, known, QuantizationSettings(node_precisions={name: 12}))
        assert {row.node: row.operand for row in wide}[name] < plain[name].operand / 20


def test_noise_adds_up_along_the_network(float_module, known):
    """Isolated noises of independent roundings add to about what the outputs of the integers have."""
    table = sensitivity_table(float_module, known, QuantizationSettings(recipe=Recipe(bias_correction=False)))
    rows = {row.node: row for row in table}
    total = sum(row.isolated for row in table)
    seen = (rows["head0"].cumulative + rows["head1"].cumulative) / 2
    assert total / 4 < seen < total * 4


def test_a_mean_does_not_count():
    """What moves the mean of a channel is taken away by bias correction: constant data has no noise."""
    def build(e, x):
        return e.call(aten.conv2d.default, x, e.constant("w", draw(2, 3, 1, 1)), None, name="conv")
    data = torch.ones(4, 3, 2, 2, dtype=torch.float64) * torch.tensor([0.3, 0.2, 0.9]).double().reshape(3, 1, 1)
    module = prepare(graph(build, data.shape))
    (row,) = sensitivity_table(module, calibrated_of(module, data, sampled=True), QuantizationSettings())
    assert row.weight < 1e-25 and row.operand < 1e-25 and row.share == 1.0


def test_a_graph_without_weights_has_an_empty_table():
    module = prepare(graph(lambda e, x: e.call(aten.relu.default, x), X.shape))
    table = sensitivity_table(module, calibrated_of(module, X, sampled=True), QuantizationSettings())
    assert len(table) == 0 and table.to_json() == [] and str(table).startswith("node")


def test_all_zero_outputs_have_no_noise():
    """0 / 0 is none; a weight of zeros, a ReLU that lets nothing through."""
    def build(e, x):
        y = e.call(aten.conv2d.default, x, e.constant("w", torch.zeros(2, 3, 1, 1, dtype=torch.float64)), None)
        return e.call(aten.conv2d.default, e.call(aten.relu.default, y), e.constant("v", draw(2, 2, 1, 1)), None)
    module = prepare(graph(build, X.shape))
    for row in sensitivity_table(module, calibrated_of(module, X, sampled=True), QuantizationSettings()):
        assert row.operand == row.weight == row.cumulative == 0


def test_it_needs_a_sample(float_module):
    with pytest.raises(CalibrationError, match="sample"):
        sensitivity_table(float_module, calibrated_of(float_module, X), QuantizationSettings())


def test_no_input_is_changed(float_module, known):
    before = [value.clone() for value in float_module(X)]
    table = sensitivity_table(float_module, known, QuantizationSettings())
    assert all(torch.equal(*pair) for pair in zip(before, float_module(X), strict=True))
    assert sensitivity_table(float_module, known, QuantizationSettings()) == table


ROWS = SensitivityTable((NodeSensitivity("a", "block.0.conv", 1e-3, 1e-4, 2e-3, 0.75),
                         NodeSensitivity("b", "fc", 0.0, 1e-5, math.nan, 0.25)))


def test_it_prints_decibels():
    """-10 log10 of each; a line a node, columns under their heads."""
    lines = str(ROWS).splitlines()
    assert lines[0].split() == ["node", "isolated", "operand", "weights", "cumulative", "share"]
    assert lines[1].split() == ["block.0.conv", "29.6", "30.0", "40.0", "27.0", "75.0%"]
    assert lines[2].split() == ["fc", "50.0", "inf", "50.0", "nan", "25.0%"]
    assert len({len(line) for line in lines}) == 1
    short = SensitivityTable((NodeSensitivity("a", "a", 1e-3, 1e-4, 2e-3, 1.0),))
    assert len({len(line) for line in str(short).splitlines()}) == 1


def test_it_is_json():
    """Nothing that JSON has no word for: what was not measured is null."""
    found = json.loads(json.dumps(ROWS.to_json(), allow_nan=False))
    assert found[0] == {"node": "a", "name": "block.0.conv", "operand": 1e-3, "weight": 1e-4, "cumulative": 2e-3,
                        "share": 0.75, "isolated": 1e-3 + 1e-4}
    assert found[1]["cumulative"] is None and found[1]["operand"] == 0.0


@pytest.mark.parametrize("noise, expected", [(1.0, 0.0), (0.01, 20.0), (10.0, -10.0), (0.0, math.inf)])
def test_decibels(noise, expected):
    assert decibels(noise) == pytest.approx(expected)
