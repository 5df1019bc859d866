"""Comparisons, logic and choices. Oracle: the torch module at batches 1, 2 and 5."""

from __future__ import annotations

import math

import pytest
import torch

from tests.mrt_torch.graph.captured import Function, check

C = torch.arange(1.0, 5.0).reshape(4, 1)
M = torch.tensor([[True, False, True, True, False]])
CASES = {
    "gt number": (lambda m, x: (x > 1).float(), ["gt.Scalar", "_to_copy.default"]),
    "number gt": (lambda m, x: 0.5 > x, ["lt.Scalar"]),
    "ge tensor": (lambda m, x: x >= m.c, ["ge.Tensor"]),
    "constant without axes": (lambda m, x: torch.tensor(0.5) < x, ["gt.Scalar"]),
    "less_equal": (lambda m, x: torch.less_equal(x, 0), ["le.Scalar"]),
    "eq": (lambda m, x: x.round() == 1, ["round.default", "eq.Scalar"]),
    "ne": (lambda m, x: torch.not_equal(x, x.abs()), ["abs.default", "ne.Tensor"]),
    "and": (lambda m, x: (x > 0) & (x < 1), ["gt.Scalar", "lt.Scalar", "logical_and.default"]),
    "or": (lambda m, x: (x > 1) | (x < -1), ["gt.Scalar", "lt.Scalar", "logical_or.default"]),
    "xor": (lambda m, x: (x > 1) ^ m.m, ["gt.Scalar", "logical_xor.default"]),
    "not": (lambda m, x: ~(x > 1), ["gt.Scalar", "logical_not.default"]),
    "logical_and of numbers": (lambda m, x: torch.logical_and(x.round(), x > 0),
                               ["round.default", "gt.Scalar", "ne.Scalar", "logical_and.default"]),
    "sum of truth values": (lambda m, x: (x > 0) + (x < 1), ["gt.Scalar", "lt.Scalar", "logical_or.default"]),
    "product of truth values": (lambda m, x: (x > 0) * (x < 1), ["gt.Scalar", "lt.Scalar", "mul.Tensor"]),
    "any": (lambda m, x: (x > 1).any(1), ["gt.Scalar", "amax.default"]),
    "all": (lambda m, x: (x > -3).all(-1, keepdim=True),
            ["gt.Scalar", "logical_not.default", "amax.default", "logical_not.default"]),
    "where": (lambda m, x: torch.where(x > 0, x, m.c), ["gt.Scalar", "where.self"]),
    "where number": (lambda m, x: torch.where(x > 0, x, -1.0), ["gt.Scalar", "where.ScalarOther"]),
    "where number left": (lambda m, x: torch.where(x > 0, 2.0, x), ["gt.Scalar", "where.ScalarSelf"]),
    "where numbers": (lambda m, x: torch.where(x > 0, 2.0, -1.0),
                      ["gt.Scalar", "_to_copy.default", "mul.Scalar", "add.Scalar", "where.ScalarOther"]),
    "where constant without axes": (lambda m, x: torch.where(x > 0, x, torch.tensor(0.25)),
                                    ["gt.Scalar", "where.ScalarOther"]),
    "masked_fill": (lambda m, x: x.masked_fill(m.m, -2).softmax(-1), ["where.ScalarSelf", "softmax.int"]),
    "mask of a softmax": (lambda m, x: x.masked_fill(m.m, -math.inf).softmax(-1), ["mrt.masked_softmax.default"]),
    "masked_fill in place": (lambda m, x: (x + 1).masked_fill_(x > 0, 2),
                             ["add.Scalar", "gt.Scalar", "where.ScalarSelf"]),
    "masked_fill tensor": (lambda m, x: x.masked_fill(x > 0, torch.tensor(3)), ["gt.Scalar", "where.ScalarSelf"]),
    "choice between indices": (lambda m, x: torch.where(x > 0, x.argmax(1, True), 7),
                               ["gt.Scalar", "argmax.default", "where.ScalarOther"]),
}


@pytest.mark.parametrize("name", CASES)
def test_forms(name):
    """Every form fires and gives the module's values."""
    function, targets = CASES[name]
    check(Function(function, c=C.clone(), m=M.clone()), (4, 5), targets=targets)


NEAR_MISSES = {
    "bits of integers": (lambda m, x: x.argmax(1) & x.argmin(1), "__and__.Tensor"),
    "number of another type": (lambda m, x: torch.where(x > 0, x.argmax(1, True), 0.5), "where.ScalarOther"),
}


@pytest.mark.parametrize("name", NEAR_MISSES)
def test_without_canonical_form(name):
    """The operator is still there, and computes the same."""
    function, kept = NEAR_MISSES[name]
    graph = check(Function(function), (4, 5))
    assert kept in [str(node.target).removeprefix("aten.") for node in graph.graph.nodes]
