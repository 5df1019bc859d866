"""Indices of extremes, order and choice by index. Oracle: the torch module at batches 1, 2 and 5."""

from __future__ import annotations

import pytest
import torch

from tests.mrt_torch.graph.captured import Function, check

CASES = {
    "argmax": (lambda m, x: x.argmax(-1), ["argmax.default"]),
    "argmin": (lambda m, x: torch.argmin(x, 1, keepdim=True), ["argmin.default"]),
    "max with index": (lambda m, x: x.max(1), ["amax.default", "argmax.default"]),
    "index of min": (lambda m, x: x.min(-1, keepdim=True)[1], ["argmin.default"]),
    "topk": (lambda m, x: torch.topk(x, 2), ["topk_values.default", "topk_indices.default"]),
    "topk values": (lambda m, x: x.topk(3, dim=1, largest=False)[0], ["topk_values.default"]),
    "sort": (lambda m, x: x.sort(1)[0], ["topk_values.default"]),
    "argsort": (lambda m, x: x.argsort(-1, descending=True), ["topk_indices.default"]),
    "gather": (lambda m, x: x.gather(1, x.argmax(1, True)), ["argmax.default", "gather.default"]),
    "take_along_dim": (lambda m, x: torch.take_along_dim(x, x.argsort(1), 1),
                       ["topk_indices.default", "gather.default"]),
}


@pytest.mark.parametrize("name", CASES)
def test_forms(name):
    """Every form fires and gives the module's values."""
    function, targets = CASES[name]
    graph = check(Function(function, i=torch.tensor([4, 0, 4]), j=torch.tensor([[3, 1, -1]])), (4, 5))
    called = [str(node.target).split(".", 1)[1] for node in graph.graph.nodes if node.op == "call_function"]
    assert called == targets


NEAR_MISSES = {
    "everything": (lambda m, x: x.sort(0)[0], "sort.default"),
    "two indices": (lambda m, x: x[:, :, None][:, m.j[0], :, m.i], "index.Tensor"),
}


@pytest.mark.parametrize("name", NEAR_MISSES)
def test_without_canonical_form(name):
    """The operator is still there, and computes the same."""
    function, kept = NEAR_MISSES[name]
    graph = check(Function(function, i=torch.tensor([4, 0, 4]), j=torch.tensor([[3, 1, -1]])), (4, 5))
    assert kept in [str(node.target).removeprefix("aten.") for node in graph.graph.nodes]
