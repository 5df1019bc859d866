"""Which operands are widened for a budget. Oracles: a greedy choice in rational numbers; costs of graphs, counted.
"""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mrt_torch.graph.facts import facts_of
from mrt_torch.passes import prepare, quantize
from mrt_torch.quantization import QuantizationSettings
from mrt_torch.quantization.recipe import RECIPES, Recipe
from mrt_torch.quantization.sensitivity import NodeSensitivity, SensitivityTable
from mrt_torch.quantization.wide_operands import choose_wide_operands, may_be_wider
from tests.mrt_torch.ops.graphs import (
    assert_deployable,
    aten,
    calibrated_of,
    draw,
    graph,
    operators,
    relative_error,
)
from tests.mrt_torch.quantization.written import Written

X = draw(2, 3, 6, 5)
SHARES = [Fraction(n, 64) for n in range(1, 17)]


def rows_of(values) -> SensitivityTable:
    return SensitivityTable(tuple(NodeSensitivity(f"n{i}", f"n{i}", operand, weight, 0.0, float(share))
                                  for i, (operand, weight, share) in enumerate(values)))


@settings(deadline=None, max_examples=100)
@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40), st.sampled_from(SHARES)), max_size=12),
       st.integers(0, 64), st.randoms(use_true_random=False))
def test_the_choice_is_greedy_and_keeps_the_budget(values, budget, choose):
    """Oracle: the same by plain rational numbers. The order of the rows does not matter, ties go by name."""
    rows = rows_of(values)
    candidates = {row.node for row in rows if choose.random() < 0.8}
    found = choose_wide_operands(rows, candidates, budget / 64, 15)
    noise = sum(Fraction(row.operand) + Fraction(row.weight) for row in rows)
    left, expected = Fraction(budget, 64), {}
    by_worth = sorted(rows, key=lambda row: (-Fraction(row.operand) / Fraction(row.share), row.node))
    for row in by_worth:
        if row.node in candidates and 1000 * Fraction(row.operand) > noise and Fraction(row.share) <= left:
            left -= Fraction(row.share)
            expected[row.node] = 15
    assert found == expected
    assert sum(row.share for row in rows if row.node in found) <= budget / 64
    shuffled = list(rows)
    choose.shuffle(shuffled)
    assert choose_wide_operands(SensitivityTable(tuple(shuffled)), candidates, budget / 64, 15) == found


def test_ties_and_negligible_noise():
    rows = rows_of([(1.0, 0.0, 0.25), (1.0, 0.0, 0.25), (1e-4, 0.0, 0.25), (0.0, 9.0, 0.25)])
    names = {"n0", "n1", "n2", "n3"}
    assert choose_wide_operands(rows, names, 0.25, 12) == {"n0": 12}
    assert choose_wide_operands(rows, names, 1.0, 12) == {"n0": 12, "n1": 12}
    assert choose_wide_operands(rows, names, 0.24, 12) == {}
    assert choose_wide_operands(rows, {"n1"}, 0.3, 12) == {"n1": 12}
    assert choose_wide_operands(SensitivityTable(()), set(), 1.0, 12) == {}


def branches(e, x):
    """Operands: the input, what is picked from it, an activation, one whose weights leave no room, and one of bits."""
    def conv(data, name, *shape, seed=0):
        return e.call(aten.conv2d.default, data, e.constant(f"{name}_w", draw(*shape, seed=seed)), None, name=name)
    first = conv(x, "of_input", 4, 3, 1, 1)
    pooled = conv(e.call(aten.max_pool2d.default, x, [2, 2], [2, 2], [0, 0], [1, 1], False), "of_pooled", 2, 3, 1, 1)
    act = e.call(aten.relu.default, first)
    mean = e.call(aten.mean.dim, act, [2, 3], False)
    wide = e.call(aten.linear.default, mean, e.constant("many", draw(30000, 4)), None, name="dense")
    ones = e.constant("ones", torch.ones(1, 30000, dtype=torch.float64))
    return [pooled, conv(act, "of_act", 2, 4, 1, 1, seed=2), e.call(aten.linear.default, wide, ones, None, name="long")]


def test_only_operands_that_gain_are_candidates():
    written = Written(graph(branches, X.shape), X)
    assert may_be_wider(written.context) == {"of_act", "dense"}
    written = Written(graph(branches, X.shape), X, input_precision=12)
    assert may_be_wider(written.context) == {"of_input", "of_pooled", "of_act", "dense"}
    written = Written(graph(branches, X.shape), X, node_precisions={"of_act": 6, "dense": 12})
    assert may_be_wider(written.context) == set()
    written = Written(graph(branches, X.shape), X, operator_precisions={"Convolution": 12})
    assert may_be_wider(written.context) == {"dense"}


def deep(e, x):
    for position, channels in enumerate((4, 8, 4)):
        inputs = 3 if position == 0 else (4, 8)[position - 1]
        x = e.call(aten.conv2d.default, x, e.constant("w", draw(channels, inputs, 3, 3, seed=position)), None,
                   [1, 1], [1, 1], name=f"conv{position}")
        x = e.call(aten.relu.default, x)
    x = e.call(aten.mean.dim, x, [2, 3], False)
    return e.call(aten.linear.default, x, e.constant("fc_w", draw(5, 4, seed=9)), None, name="fc")


def cost(module) -> int:
    """Multiply-accumulates of one example."""
    total = 0
    for node in module.graph.nodes:
        if node.op == "call_function" and node.target._opname in ("conv2d", "dense"):
            total += node.meta["val"][0].numel() * node.args[1].meta["val"][0].numel()
    return total


@pytest.mark.parametrize("budget", [0.0, 0.1, 0.5, 1.0])
def test_a_budget_is_kept(budget):
    """Oracle: multiply-accumulates of the integer graphs. Of a network whose conv1 and conv2 are 37 % each."""
    data = torch.cat([draw(4, 3, 6, 5, seed=seed) for seed in range(4)])
    module = prepare(graph(deep, X.shape))
    calibrated = calibrated_of(module, data, sampled=True)
    costs, errors = [], []
    for share in (0.0, budget):
        chosen = QuantizationSettings(recipe=Recipe(extra_operations=share))
        integer, scales = quantize(module, calibrated, chosen)
        assert_deployable(integer)
        costs.append(cost(integer))
        held = next(n for n in integer.graph.nodes if n.op == "placeholder")
        integers = (data * facts_of(held).scale).round().to(torch.int32)
        errors.append(relative_error(integer(integers)[0].double() / scales[0], module(data)[0]))
    assert costs[0] <= costs[1] <= costs[0] * (1 + budget)
    assert costs[1] > costs[0] if budget >= 0.5 else True
    assert errors[1] < errors[0] if costs[1] > costs[0] else errors[1] == errors[0]
    again, _ = quantize(module, calibrated, QuantizationSettings(recipe=Recipe(extra_operations=budget)))
    assert operators(again) == operators(integer)


def test_the_user_comes_before_the_recipe():
    """``best`` leaves precisions alone that are set for a node."""
    data = draw(16, 3, 6, 5)
    module = prepare(graph(deep, X.shape))
    calibrated = calibrated_of(module, data, sampled=True)
    plain, _ = quantize(module, calibrated, QuantizationSettings())
    narrow = dict.fromkeys(("conv0", "conv1", "conv2", "fc"), 8)
    best, _ = quantize(module, calibrated, QuantizationSettings(recipe=RECIPES["best"], node_precisions=narrow))
    assert cost(best) == cost(plain)


def test_without_a_sample_nothing_is_wide():
    module = prepare(graph(deep, X.shape))
    calibrated = calibrated_of(module, X)
    plain, _ = quantize(module, calibrated, QuantizationSettings())
    best, _ = quantize(module, calibrated, QuantizationSettings(recipe=RECIPES["best"]))
    assert operators(best) == operators(plain)
