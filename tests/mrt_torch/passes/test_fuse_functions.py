"""Functions of one tensor become one table: which graphs, what they compute, and which stay as they are."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mrt_torch.graph.facts import source_name
from mrt_torch.graph.runner import run_pass
from mrt_torch.graph.stage import Stage
from mrt_torch.ops import Explanation
from mrt_torch.passes import prepare
from mrt_torch.passes.fuse_functions import fuse_functions
from tests.mrt_torch.ops.graphs import (
    assert_same_values,
    aten,
    draw,
    graph,
    integer_model,
    operators,
    relative_error,
)

X = draw(2, 3, 4, 5, magnitude=4.0)
ONE = torch.tensor([1.0], dtype=torch.float64)
mrt = torch.ops.mrt


def fused(module, stage=Stage.SOURCE):
    return run_pass(module, fuse_functions, stage).module


def swish(e, x, left=True, beta=None):
    gate = e.call(aten.sigmoid.default, x if beta is None else e.call(aten.mul.Scalar, x, beta))
    return e.call(aten.mul.Tensor, *((x, gate) if left else (gate, x)))


def hard_swish(e, x, order, left):
    """x * clip(x + 3, 0, 6) / 6, divided before or after the product, or multiplied by 1 / 6 there."""
    gate = e.call(aten.clamp.default, e.call(aten.add.Scalar, x, 3.0), 0.0, 6.0)
    if order == "gate":
        gate = e.call(aten.div.Scalar, gate, 6.0)
    elif order == "input":
        x_part = e.call(aten.mul.Scalar, x, 1 / 6)
        return e.call(aten.mul.Tensor, *((x_part, gate) if left else (gate, x_part)))
    product = e.call(aten.mul.Tensor, *((x, gate) if left else (gate, x)))
    return e.call(aten.mul.Scalar, product, 1 / 6) if order == "product" else product


def gelu_by_erf(e, x, order):
    """The factors 0.5, x and 1 + erf(x / sqrt(2)) in the orders that models have."""
    gate = e.call(aten.add.Scalar, e.call(aten.erf.default, e.call(aten.div.Scalar, x, math.sqrt(2))), 1.0)
    if order == "half of x":
        return e.call(aten.mul.Tensor, e.call(aten.mul.Scalar, x, 0.5), gate)
    if order == "half of the gate":
        return e.call(aten.mul.Tensor, x, e.call(aten.mul.Scalar, gate, 0.5))
    return e.call(aten.mul.Scalar, e.call(aten.mul.Tensor, x, gate), 0.5)


def gelu_by_tanh(e, x, cube):
    if cube == "power":
        third = e.call(aten.pow.Tensor_Scalar, x, 3)
    else:
        third = e.call(aten.mul.Tensor, e.call(aten.mul.Tensor, x, x), x)
    inner = e.call(aten.add.Tensor, x, e.call(aten.mul.Scalar, third, 0.044715))
    gate = e.call(aten.tanh.default, e.call(aten.mul.Scalar, inner, math.sqrt(2 / math.pi)))
    return e.call(aten.mul.Tensor, e.call(aten.mul.Scalar, x, 0.5), e.call(aten.add.Scalar, gate, 1.0))


def mish(e, x):
    softplus = e.call(aten.log.default, e.call(aten.add.Scalar, e.call(aten.exp.default, x), 1.0))
    return e.call(aten.mul.Tensor, x, e.call(aten.tanh.default, softplus))


def tanh_by_exponentials(e, x):
    positive, negative = e.call(aten.exp.default, x), e.call(aten.exp.default, e.call(aten.neg.default, x))
    return e.call(aten.div.Tensor, e.call(aten.sub.Tensor, positive, negative),
                  e.call(aten.add.Tensor, positive, negative))


FIRES = {
    **{f"swish, x on the {'left' if left else 'right'}, beta {beta}": (
        lambda e, x, left=left, beta=beta: swish(e, x, left, beta))
       for left, beta in itertools.product((True, False), (None, 1.0, 1.702))},
    **{f"hard-swish, {order}, {left}": (lambda e, x, order=order, left=left: hard_swish(e, x, order, left))
       for order, left in itertools.product(("gate", "input", "product"), (True, False))},
    **{f"gelu by erf, {order}": (lambda e, x, order=order: gelu_by_erf(e, x, order))
       for order in ("half of x", "half of the gate", "half of the product")},
    **{f"gelu by tanh, {cube}": (lambda e, x, cube=cube: gelu_by_tanh(e, x, cube)) for cube in ("power", "product")},
    "mish": mish, "tanh by exponentials": tanh_by_exponentials,
    "softsign": lambda e, x: e.call(aten.div.Tensor, x, e.call(aten.add.Scalar, e.call(aten.abs.default, x), 1.0)),
    "x - tanh(x)": lambda e, x: e.call(aten.sub.Tensor, x, e.call(aten.tanh.default, x)),
    "1 - exp(x)": lambda e, x: e.call(aten.rsub.Scalar, e.call(aten.exp.default, x), 1.0),
    "sigmoid written out": lambda e, x: e.call(aten.reciprocal.default, e.call(
        aten.add.Scalar, e.call(aten.exp.default, e.call(aten.neg.default, x)), 1.0)),
    "sigmoid with a constant": lambda e, x: e.call(aten.div.Tensor, e.constant("one", ONE), e.call(
        aten.add.Tensor, e.constant("one", ONE), e.call(aten.exp.default, e.call(aten.neg.default, x)))),
    "maximum of two": lambda e, x: e.call(aten.maximum.default, e.call(aten.tanh.default, x),
                                          e.call(aten.mul.Scalar, x, 0.1)),
}


@pytest.mark.parametrize("name", FIRES)
def test_it_fires(name):
    """One composition, with exact operators behind it at most. Oracle: the graph itself, 1e-12 for c / x."""
    module = graph(FIRES[name], X.shape)
    after = fused(module)
    assert operators(after).count("composition") == 1
    assert set(operators(after)) <= {"composition", "mul", "neg"} and len(operators(after)) <= 3
    assert_same_values(module, after, X)


@pytest.mark.parametrize("name", FIRES)
def test_in_integers_it_is_one_table(name):
    """Oracle: the float graph, 1 % in the norm; what holds for a table holds for what is written as many operators."""
    x = draw(4, 500, magnitude=4.0)
    module = graph(FIRES[name], x.shape)
    model = integer_model(module, x, input_precision=24)
    assert operators(model.module).count("cvm_lut") == 1
    assert relative_error(model(x), module(x)[0]) < 0.01


def two_readers(e, x):
    gate = e.call(aten.sigmoid.default, x)
    return e.call(aten.mul.Tensor, x, gate), e.call(aten.mul.Scalar, gate, 2.0)


STAYS = {
    "the gate has another reader": two_readers,
    "the gate is an output": lambda e, x: (e.call(aten.mul.Tensor, x, gate := e.call(aten.sigmoid.default, x)), gate),
    "another tensor is gated": lambda e, x: e.call(aten.mul.Tensor, e.call(aten.flip.default, x, [1]),
                                                   e.call(aten.sigmoid.default, x)),
    "the gate has another shape": lambda e, x: e.call(aten.mul.Tensor, x, e.call(
        aten.sigmoid.default, e.call(aten.mean.dim, x, [2, 3], True))),
    "a constant for each channel": lambda e, x: e.call(aten.mul.Tensor, e.call(aten.sigmoid.default, x), e.constant(
        "c", draw(3, 1, 1))),
    "a square": lambda e, x: e.call(aten.mul.Tensor, x, x),
    "x * relu(x)": lambda e, x: e.call(aten.mul.Tensor, x, e.call(aten.relu.default, x)),
    "LeakyReLU": lambda e, x: e.call(aten.sub.Tensor, e.call(aten.relu.default, x), e.call(
        aten.mul.Scalar, e.call(aten.relu.default, e.call(aten.neg.default, x)), 0.1)),
    "softshrink": lambda e, x: e.call(aten.sub.Tensor, x, e.call(aten.clamp.default, x, -0.5, 0.5)),
    "hard sigmoid": lambda e, x: e.call(aten.clamp.default, e.call(
        aten.add.Scalar, e.call(aten.mul.Scalar, x, 0.2), 0.5), 0.0, 1.0),
    "a table of a relu": lambda e, x: e.call(aten.tanh.default, e.call(aten.relu.default, x)),
    "a table of a sum with a number": lambda e, x: e.call(aten.sqrt.default, e.call(
        aten.add.Scalar, e.call(aten.relu.default, x), 1e-3)),
    "functions with segments": lambda e, x: e.call(aten.reciprocal.default, e.call(
        aten.add.Scalar, e.call(aten.sqrt.default, e.call(aten.relu.default, x)), 1e-3)),
    "a table and a factor": lambda e, x: e.call(aten.mul.Scalar, e.call(aten.sigmoid.default, x), 2.0),
    "a table and a clip": lambda e, x: e.call(aten.clamp.default, e.call(aten.exp.default, x), 0.1, 2.0),
    "an infinite bound": lambda e, x: e.call(aten.mul.Tensor, x, e.call(
        aten.clamp.default, e.call(aten.add.Scalar, x, 3.0), 0.0, math.inf)),
}


@pytest.mark.parametrize("name", STAYS)
def test_near_misses_stay(name):
    """Oracle: the operators, unchanged."""
    module = graph(STAYS[name], X.shape)
    result = run_pass(module, fuse_functions, Stage.SOURCE)
    assert result.firings == 0
    assert operators(result.module) == operators(module)


def test_operators_in_front_and_behind_stay():
    """A relu in front halves the table; a factor behind is free."""
    def build(e, x):
        return e.call(aten.mul.Scalar, swish(e, e.call(aten.relu.default, x)), 3.0)

    after = fused(graph(build, X.shape))
    assert operators(after) == ["relu", "composition", "mul"]


def test_the_source_may_be_a_sum_of_two():
    """The function begins where several tensors become one."""
    def build(e, x):
        return swish(e, e.call(aten.add.Tensor, x, e.call(aten.flip.default, x, [1])))

    module = graph(build, X.shape)
    assert operators(fused(module)) == ["flip", "add", "composition"]
    assert_same_values(module, fused(module), X, tolerance=0)


def test_functions_of_functions_are_one():
    module = graph(lambda e, x: swish(e, swish(e, e.call(aten.tanh.default, x))), X.shape)
    assert operators(fused(module)) == ["composition"]
    assert_same_values(module, fused(module), X, tolerance=0)


def test_two_functions_of_one_tensor():
    """Each has a table of its own; the sum of both is one."""
    def build(e, x, joined):
        parts = swish(e, x), e.call(aten.sub.Tensor, x, e.call(aten.tanh.default, x))
        return e.call(aten.add.Tensor, *parts) if joined else parts

    for joined, expected in (True, ["composition"]), (False, ["composition"] * 2):
        module = graph(lambda e, x, joined=joined: build(e, x, joined), X.shape)
        assert operators(fused(module)) == expected
        assert_same_values(module, fused(module), X, tolerance=0)


@pytest.mark.parametrize("target, left, expected", [
    (aten.add.Tensor, False, ["add"]), (aten.add.Tensor, True, ["add"]), (aten.sub.Tensor, False, ["sub"]),
    (aten.sub.Tensor, True, ["rsub"]), (aten.mul.Tensor, True, ["mul"]), (aten.div.Tensor, False, ["div"]),
    (aten.div.Tensor, True, ["reciprocal", "mul"])])
def test_constants_of_one_element_become_numbers(target, left, expected):
    """Oracle: the graph itself; c * (1 / x) rounds twice."""
    def build(e, x):
        constant = e.constant("c", torch.full((1, 1), 2.5, dtype=torch.float64))
        return e.call(target, *((constant, x) if left else (x, constant)))

    module = graph(build, X.shape)
    after = fused(module)
    assert operators(after) == expected
    assert all(node.op != "get_attr" for node in after.graph.nodes)
    assert_same_values(module, after, X)


def test_constants_that_add_an_axis_stay():
    module = graph(lambda e, x: e.call(aten.add.Tensor, x, e.constant("c", torch.ones(1, 1, 1, dtype=torch.float64))),
                   (3, 4))
    assert operators(fused(module)) == ["add"]
    assert [node.op for node in fused(module).graph.nodes].count("get_attr") == 1


def test_the_name_is_that_of_the_last_operator():
    """The user's name, under which thresholds are set."""
    def build(e, x):
        return e.call(aten.mul.Tensor, x, e.call(aten.sigmoid.default, x, name="act/gate"), name="act/out")

    after = fused(graph(build, X.shape))
    assert [source_name(node) for node in after.graph.nodes if node.op == "call_function"] == ["act/out"]


def test_it_is_told():
    explanation = Explanation()
    module = graph(lambda e, x: swish(e, x), X.shape)
    assert fuse_functions(module, explanation) == 1
    assert explanation.fired == {"Composition": 1}


def test_preparing_twice_changes_nothing():
    module = prepare(graph(lambda e, x: gelu_by_tanh(e, x, "power"), X.shape))
    assert operators(prepare(module)) == operators(module) == ["composition"]


STEPS = {"tanh": aten.tanh.default, "sigmoid": aten.sigmoid.default, "relu": aten.relu.default,
         "neg": aten.neg.default, "abs": aten.abs.default, "exp": aten.exp.default}


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.sampled_from([*STEPS, "add", "mul", "sub", "scale", "shift", "clip"]), st.integers(0, 99),
                          st.integers(0, 99)), min_size=1, max_size=9))
def test_any_graph_of_functions_keeps_its_values(steps):
    """Oracle: the graph itself. The last value and a random one are outputs."""
    def build(e, x):
        values = [x]
        for name, first, second in steps:
            a, b = values[first % len(values)], values[second % len(values)]
            if name in STEPS:
                values.append(e.call(STEPS[name], e.call(aten.clamp.default, a, -9.0, 9.0) if name == "exp" else a))
            elif name in ("add", "mul", "sub"):
                values.append(e.call(getattr(aten, name).Tensor, a, b))
            elif name == "clip":
                values.append(e.call(aten.clamp.default, a, -1.0, 2.0))
            else:
                values.append(e.call(aten.mul.Scalar if name == "scale" else aten.add.Scalar, a, 0.3))
        return values[-1], values[steps[0][1] % len(values)]

    x = draw(2, 7)
    module = graph(build, x.shape)
    assert_same_values(module, fused(module), x)
