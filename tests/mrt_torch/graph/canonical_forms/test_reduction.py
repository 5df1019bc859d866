"""Reductions. Oracle: the torch module at batches 1, 2 and 5."""

from __future__ import annotations

import pytest
import torch

from mrt_torch.passes.prepare import prepare
from tests.mrt_torch.graph.captured import Function, assert_equal, check, inputs, operators

CASES = {
    "mean over axes": (lambda m, x: x.mean((-1, 1), keepdim=True), ["mean.dim"]),
    "mean over one axis": (lambda m, x: x.mean(-1), ["mean.dim"]),
    "mean of all": (lambda m, x: x.mean(), ["mean.dim"]),
    "sum over axes": (lambda m, x: x.sum((2, 3)), ["sum.dim_IntList"]),
    "sum of all": (lambda m, x: x.sum(), ["sum.dim_IntList"]),
    "amax": (lambda m, x: x.amax((2, 3)), ["amax.default"]),
    "amax of all": (lambda m, x: torch.amax(x), ["amax.default"]),
    "max of all": (lambda m, x: x.max(), ["amax.default"]),
    "max along an axis": (lambda m, x: x.max(1, keepdim=True)[0], ["amax.default"]),
    "amin": (lambda m, x: x.amin(-1), ["amin.default"]),
    "min along an axis": (lambda m, x: x.min(2).values, ["amin.default"]),
    "min of all": (lambda m, x: x.min(), ["amin.default"]),
    "product": (lambda m, x: x.prod(-1), ["prod.dim_int"]),
}


@pytest.mark.parametrize("name", CASES)
def test_reduction(name):
    """Every form fires; axes are ascending and none is negative; keepdim is always given."""
    function, targets = CASES[name]
    graph = check(Function(function), (4, 5, 6), targets=targets)
    reduction = next(node for node in graph.graph.nodes if len(node.args) == 3)
    axes = [reduction.args[1]] if isinstance(reduction.args[1], int) else reduction.args[1]
    assert axes == sorted(axis for axis in axes if axis >= 0)
    assert isinstance(reduction.args[2], bool)


@pytest.mark.parametrize("function", [lambda m, x: x.logsumexp(1),
                                      lambda m, x: (50 * x).logsumexp((1, -1), keepdim=True),
                                      lambda m, x: x.cumsum(1), lambda m, x: x[:, :, 0].cumsum(-1)])
def test_composed(function):
    """Within float32 rounding, also where exp alone would overflow; prepare takes what it is composed of."""
    graph = check(Function(function), (4, 5, 6))
    assert not {"logsumexp.default", "cumsum.default"} & set(operators(graph))
    assert_equal(prepare(graph), Function(function), inputs([(4, 5, 6)], 5))


NEAR_MISSES = {
    "running total of the batch": (lambda m, x: x.cumsum(0), "aten.cumsum."),
    "other dtype": (lambda m, x: x.sum(1, dtype=torch.float64), "aten.sum.dim_IntList"),
    "variance of the batch": (lambda m, x: x.var(0, correction=0), "aten.var."),
    "product of all": (lambda m, x: (x * 0.1 + 1).prod(), "aten.prod."),
}


@pytest.mark.parametrize("name", NEAR_MISSES)
def test_without_canonical_form(name):
    """The operator is kept, with all its outputs."""
    function, kept = NEAR_MISSES[name]
    graph = check(Function(function), (4, 5, 6))
    assert any(str(node.target).startswith(kept) for node in graph.graph.nodes)
