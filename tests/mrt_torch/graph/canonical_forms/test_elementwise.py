"""Arithmetic. Oracle: the torch module at batches 1, 2 and 5."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tests.mrt_torch.graph.captured import Function, check

C = torch.arange(1.0, 5.0).reshape(4, 1)
CASES = {
    "add number": (lambda m, x: x + 2, ["add.Scalar"]),
    "number plus": (lambda m, x: 2.5 + x, ["add.Scalar"]),
    "add tensor": (lambda m, x: x + x, ["add.Tensor"]),
    "add alpha": (lambda m, x: torch.add(x, x, alpha=3), ["mul.Scalar", "add.Tensor"]),
    "add number alpha": (lambda m, x: torch.add(x, 2, alpha=3), ["add.Scalar"]),
    "add constant": (lambda m, x: x + m.c, ["add.Tensor"]),
    "add constant without axes": (lambda m, x: x + torch.tensor(2.0), ["add.Scalar"]),
    "constant without axes plus alpha": (lambda m, x: torch.add(torch.tensor(2.0), x, alpha=3),
                                         ["mul.Scalar", "add.Scalar"]),
    "sub number": (lambda m, x: x - 2, ["sub.Scalar"]),
    "sub alpha": (lambda m, x: torch.sub(x, m.c, alpha=0.5), ["mul.Scalar", "sub.Tensor"]),
    "number minus": (lambda m, x: 2 - x, ["rsub.Scalar"]),
    "rsub tensor": (lambda m, x: torch.rsub(x, m.c, alpha=2), ["mul.Scalar", "sub.Tensor"]),
    "rsub number alpha": (lambda m, x: torch.rsub(x, 3.0, alpha=2), ["mul.Scalar", "rsub.Scalar"]),
    "constant without axes minus": (lambda m, x: torch.tensor(2.0) - x, ["rsub.Scalar"]),
    "mul number": (lambda m, x: x * -2, ["mul.Scalar"]),
    "mul tensor": (lambda m, x: x * x, ["mul.Tensor"]),
    "mul constant left": (lambda m, x: m.c * x, ["mul.Tensor"]),
    "multiply": (lambda m, x: torch.multiply(x, m.c), ["mul.Tensor"]),
    "div number": (lambda m, x: x / 3, ["div.Scalar"]),
    "div constant": (lambda m, x: x / m.c, ["div.Tensor"]),
    "true_divide": (lambda m, x: torch.true_divide(x, 4), ["div.Scalar"]),
    "neg": (lambda m, x: -x, ["neg.default"]),
    "negative": (lambda m, x: torch.negative(x), ["neg.default"]),
    "abs": (lambda m, x: torch.absolute(x), ["abs.default"]),
    "square": (lambda m, x: torch.square(x), ["mul.Tensor"]),
    "power of two": (lambda m, x: x ** 2, ["mul.Tensor"]),
    "power of one": (lambda m, x: torch.pow(x, 1) + 1, ["add.Scalar"]),
    "maximum": (lambda m, x: torch.maximum(x, m.c), ["maximum.default"]),
    "max of two": (lambda m, x: torch.max(x, m.c), ["maximum.default"]),
    "min of two": (lambda m, x: torch.min(x, m.c), ["minimum.default"]),
    "integer constant": (lambda m, x: x + torch.arange(5), ["add.Tensor"]),
    "expanded constant": (lambda m, x: x + m.c.expand(4, 5), ["add.Tensor"]),
    "expanded to the batch": (lambda m, x: x * m.c.expand_as(x), ["mul.Tensor"]),
    "in place": (lambda m, x: (x + 1).mul_(2).sub_(m.c).div_(4),
                 ["add.Scalar", "mul.Scalar", "sub.Tensor", "div.Scalar"]),
}


@pytest.mark.parametrize("name", CASES)
def test_arithmetic(name):
    """Every form fires and gives the module's values."""
    function, targets = CASES[name]
    check(Function(function, c=C.clone()), (4, 5), targets=targets)


NEAR_MISSES = {
    "number over": (lambda m, x: 2 / (x.abs() + 1), "reciprocal.default"),
    "cube": (lambda m, x: x ** 3, "pow.Tensor_Scalar"),
    "expanded to the batch alone": (lambda m, x: m.c.reshape(1, 4, 1).expand(x.shape[0], 4, 1).neg(),
                                    "mrt.broadcast_like.default"),
}


@pytest.mark.parametrize("name", NEAR_MISSES)
def test_without_canonical_form(name):
    """The operator is still there, and computes the same."""
    function, kept = NEAR_MISSES[name]
    graph = check(Function(function, c=C.clone()), (4, 5))
    assert kept in [str(node.target).removeprefix("aten.") for node in graph.graph.nodes]


def test_float64_stays():
    """A float64 module gives a float64 graph, numbers and constants included."""
    graph = check(Function(lambda m, x: (x + m.c) * 0.1 + torch.tensor(3), c=C.clone()), (4, 5), dtype=torch.float64)
    assert {node.meta["val"].dtype for node in graph.graph.nodes if node.op == "call_function"} == {torch.float64}


def test_integer_constant_becomes_float():
    """The float stage holds no integer constant beside a float activation."""
    graph = check(Function(lambda m, x: x * m.c, c=torch.arange(5)), (4, 5))
    assert [node.meta["val"].dtype for node in graph.graph.nodes if node.op == "get_attr"] == [torch.float32]


def test_size_as_a_number():
    """The batch as a number has no canonical form: it is still computed, not frozen."""
    graph = check(Function(lambda m, x: x / x.shape[0] + x.shape[1]), (4, 5))
    assert "sym_size.int" in [str(node.target).removeprefix("aten.") for node in graph.graph.nodes]


def test_learned_scale():
    """A parameter without axes is a number in the graph."""
    check(Function(lambda m, x: x * m.s, s=nn.Parameter(torch.tensor(0.25))), (4,), targets=["mul.Scalar"])
