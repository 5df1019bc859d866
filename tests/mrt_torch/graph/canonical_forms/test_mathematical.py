"""Mathematical functions and powers. Oracle: the torch function at batches 1, 2 and 5."""

from __future__ import annotations

import pytest
import torch

from tests.mrt_torch.graph.captured import Function, check, operators

ALIASES = {
    "expit": (torch.special.expit, "sigmoid"), "erf": (torch.special.erf, "erf"), "erfc": (torch.special.erfc, "erfc"),
    "expm1": (torch.special.expm1, "expm1"), "log1p": (lambda x: torch.special.log1p(x.abs()), "log1p"),
    "arctan": (torch.arctan, "atan"), "arcsinh": (torch.arcsinh, "asinh"),
    "arcsin": (lambda x: torch.arcsin(x.clamp(-1, 1)), "asin"),
    "arccos": (lambda x: torch.arccos(x.clamp(-1, 1)), "acos"),
    "arccosh": (lambda x: torch.arccosh(x.clamp(min=1)), "acosh"),
    "arctanh": (lambda x: torch.arctanh(x.clamp(-0.9, 0.9)), "atanh"),
}


@pytest.mark.parametrize("name", ALIASES)
def test_alias(name):
    """The last operator is the one with a Transformer."""
    function, target = ALIASES[name]
    graph = check(Function(lambda m, x: function(x)), (4, 5))
    assert operators(graph)[-1] == f"{target}.default"


CASES = {
    "exp2": (Function(lambda m, x: torch.exp2(x)), ["mul.Scalar", "exp.default"]),
    "power of two": (Function(lambda m, x: 2 ** x), ["mul.Scalar", "exp.default"]),
    "x ** 1.5": (Function(lambda m, x: x.abs() ** 1.5), ["abs.default", "pow.Tensor_Scalar"]),
    "x ** constant": (Function(lambda m, x: torch.pow(x.abs(), m.c), c=torch.tensor(2.5)),
                      ["abs.default", "pow.Tensor_Scalar"]),
    "x ** constant 2": (Function(lambda m, x: torch.pow(x, m.c), c=torch.tensor([2.0])), ["mul.Tensor"]),
    "x ** constant 1": (Function(lambda m, x: torch.pow(x + 1, m.c), c=torch.tensor([1.0])), ["add.Scalar"]),
    "x ** computed constant": (Function(lambda m, x: x.abs() ** (1 / m.c), c=torch.tensor([2.5])),
                               ["abs.default", "pow.Tensor_Scalar"]),
    "constant ** x": (Function(lambda m, x: torch.pow(m.c, x), c=torch.tensor(0.7)), ["mul.Scalar", "exp.default"]),
    "c / x": (Function(lambda m, x: 3 / (x.abs() + 1)),
              ["abs.default", "add.Scalar", "reciprocal.default", "mul.Scalar"]),
    "remainder": (Function(lambda m, x: x % 2.5), ["remainder.Scalar"]),
    "remainder by a constant": (Function(lambda m, x: torch.remainder(x, m.c), c=torch.tensor(2.5)),
                                ["remainder.Scalar"]),
    "sqrt": (Function(lambda m, x: x.abs().sqrt_()), ["abs.default", "sqrt.default"]),
    "rsqrt": (Function(lambda m, x: torch.rsqrt(x.abs() + 1)), ["abs.default", "add.Scalar", "rsqrt.default"]),
}


@pytest.mark.parametrize("name", CASES)
def test_form(name):
    module, targets = CASES[name]
    check(module, (4, 5), targets=targets)


NEAR_MISSES = {
    "negative base": (Function(lambda m, x: (-2) ** x.round()), "pow.Scalar"),
    "exponent for each element": (Function(lambda m, x: torch.pow(x.abs(), m.c), c=torch.rand(5)), "pow.Tensor_Tensor"),
    "two activations": (Function(lambda m, x: torch.pow(x.abs(), x)), "pow.Tensor_Tensor"),
    "base that adds an axis": (Function(lambda m, x: torch.pow(m.c, x), c=torch.ones(1, 1, 1, 1)), "pow.Tensor_Tensor"),
    "a divisor for each element": (Function(lambda m, x: x % m.c, c=torch.rand(5) + 1), "remainder.Tensor"),
}


@pytest.mark.parametrize("name", NEAR_MISSES)
def test_what_stays(name):
    """It still computes the same."""
    module, target = NEAR_MISSES[name]
    graph = check(module, (4, 5))
    assert operators(graph)[-1] == target
