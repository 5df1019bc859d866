"""Rounding and division with remainder. Oracle: the torch module at batches 1, 2 and 5."""

from __future__ import annotations

import pytest
import torch

from tests.mrt_torch.graph.captured import Function, check

CASES = {
    "floor": (lambda m, x: torch.floor(x), ["floor.default"]),
    "ceil": (lambda m, x: torch.ceil(x), ["ceil.default"]),
    "fix": (lambda m, x: torch.fix(x), ["trunc.default"]),
    "round": (lambda m, x: torch.round(x), ["round.default"]),
    "round decimals": (lambda m, x: torch.round(x, decimals=1), ["mul.Scalar", "round.default", "div.Scalar"]),
    "round no decimals": (lambda m, x: torch.round(x, decimals=0), ["round.default"]),
    "frac": (lambda m, x: torch.frac(x), ["trunc.default", "sub.Tensor"]),
    "sign": (lambda m, x: torch.sgn(x), ["sign.default"]),
    "floor of integers": (lambda m, x: torch.floor(x.argmax(1)), ["argmax.default"]),
    "floor division": (lambda m, x: x // 2, ["div.Scalar", "floor.default"]),
    "floor division by one": (lambda m, x: x // 1, ["floor.default"]),
    "floor division of integers": (lambda m, x: x.argmax(1) // 3, ["argmax.default", "_to_copy.default", "div.Scalar",
                                                                   "floor.default", "_to_copy.default"]),
    "truncating division": (lambda m, x: torch.div(x, 0.25, rounding_mode="trunc"), ["div.Scalar", "trunc.default"]),
    "fmod": (lambda m, x: torch.fmod(x, 2), ["div.Scalar", "trunc.default", "mul.Scalar", "sub.Tensor"]),
    "cast": (lambda m, x: x.int().float(), ["_to_copy.default", "_to_copy.default"]),
    "double and back": (lambda m, x: x.double().type_as(x), ["_to_copy.default", "_to_copy.default"]),
    "cast to what it is": (lambda m, x: x.to(torch.float32), []),
}


@pytest.mark.parametrize("name", CASES)
def test_forms(name):
    """Every form fires and gives the module's values."""
    function, targets = CASES[name]
    check(Function(function), (4, 5), targets=targets)


NEAR_MISSES = {
    "quotients that round": (lambda m, x: torch.div(x, 0.3, rounding_mode="floor"), "div.Tensor_mode"),
    "computed divisor": (lambda m, x: torch.fmod(x, x.abs() + 1), "fmod.Tensor"),
}


@pytest.mark.parametrize("name", NEAR_MISSES)
def test_without_canonical_form(name):
    """The operator is still there, and computes the same."""
    function, kept = NEAR_MISSES[name]
    graph = check(Function(function), (4, 5))
    assert kept in [str(node.target).removeprefix("aten.") for node in graph.graph.nodes]
