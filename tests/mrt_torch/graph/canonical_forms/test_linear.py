"""Convolutions and matrix products. Oracle: the torch module at batches 1, 2 and 5."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mrt_torch.passes.prepare import prepare
from tests.mrt_torch.graph.captured import Function, assert_equal, check, inputs

CONV, PAD = "conv2d.default", "constant_pad_nd.default"
IMAGE = (4, 9, 8)
CONVOLUTIONS = {
    "plain": (nn.Conv2d(4, 6, 3), [CONV]),
    "everything": (nn.Conv2d(4, 6, (3, 2), stride=(2, 1), padding=(1, 2), dilation=(1, 2), groups=2, bias=False),
                   [CONV]),
    "valid": (nn.Conv2d(4, 6, 3, padding="valid"), [CONV]),
    "same, odd kernel": (nn.Conv2d(4, 6, (3, 5), padding="same", dilation=(2, 1)), [CONV]),
    "same, even kernel": (nn.Conv2d(4, 6, (4, 3), padding="same"), [PAD, CONV]),
    "same, even both": (nn.Conv2d(4, 6, (2, 4), padding="same", dilation=(1, 3)), [PAD, CONV]),
    "one number each": (Function(lambda m, x: F.conv2d(x, m.w, stride=2, padding=1), w=torch.randn(3, 4, 3, 3)),
                        [CONV]),
    "general": (Function(lambda m, x: torch.convolution(x, m.w, None, [2], [1], [1], False, [0], 2),
                         w=torch.randn(6, 2, 3, 3)), [CONV]),
}


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_convolution(name):
    """Every argument is given, as two numbers each."""
    module, targets = CONVOLUTIONS[name]
    graph = check(module, IMAGE, targets=targets)
    convolution = next(node for node in graph.graph.nodes if str(node.target) == "aten.conv2d.default")
    assert len(convolution.args) == 7
    assert all(len(value) == 2 for value in convolution.args[3:6])


ROWS = {"plain": nn.Conv1d(4, 6, 3), "same": nn.Conv1d(4, 6, 4, padding="same"),
        "everything": nn.Conv1d(4, 6, 3, stride=2, padding=2, dilation=2, groups=2, bias=False)}


@pytest.mark.parametrize("name", ROWS)
def test_one_row(name):
    """A 1-D convolution is a 2-D one over one row, and so passes prepare."""
    module = ROWS[name]
    graph = check(module, (4, 9))
    prepared = prepare(graph)
    assert_equal(prepared, module, inputs([(4, 9)], 5))


@pytest.mark.parametrize("module", [nn.ConvTranspose2d(4, 2, 2), nn.Conv2d(4, 2, 3, padding=1, padding_mode="reflect")],
                         ids=["transposed", "reflecting"])
def test_convolution_without_canonical_form(module):
    """Near misses: they keep an operator that validation refuses, and compute the same."""
    graph = check(module, IMAGE)
    kept = [str(node.target) for node in graph.graph.nodes if node.op == "call_function"]
    assert kept != ["aten.conv2d.default"]


LINEAR = "linear.default"
PRODUCTS = {
    "linear": (nn.Linear(5, 3), [LINEAR]),
    "linear without bias": (nn.Linear(5, 3, bias=False), [LINEAR]),
    "matmul": (Function(lambda m, x: x @ m.w, w=torch.randn(5, 3)), ["permute.default", LINEAR]),
    "matmul with a transposed parameter": (Function(lambda m, x: x @ m.w.t(), w=torch.randn(3, 5)),
                                           ["permute.default", "permute.default", LINEAR]),
    "vector": (Function(lambda m, x: x @ m.w, w=torch.randn(5)), ["reshape.default", LINEAR, "squeeze.dims"]),
}


@pytest.mark.parametrize("name", PRODUCTS)
@pytest.mark.parametrize("shape", [(5,), (4, 5)], ids=["matrix", "stack"])
def test_product(name, shape):
    """A product with a parameter is a linear layer."""
    module, targets = PRODUCTS[name]
    check(module, shape, targets=targets)


def test_addmm():
    """Weights as (in, out), with a bias along the output or of another shape."""
    module = Function(lambda m, x: torch.addmm(m.b, x, m.w), w=torch.randn(5, 3), b=torch.randn(3))
    check(module, (5,), targets=["permute.default", LINEAR])
    module = Function(lambda m, x: torch.addmm(m.b, x, m.w), w=torch.randn(5, 3), b=torch.randn(1, 3))
    check(module, (5,), targets=["permute.default", LINEAR, "add.Tensor"])


NEAR_MISSES = {
    "product of activations": lambda m, x: x @ x.transpose(1, 2),
    "constant on the left": lambda m, x: m.w @ x,
    "addmm with a factor": lambda m, x: torch.addmm(m.w[0, :4], x[:, 0], torch.ones(5, 4), alpha=2),
}


@pytest.mark.parametrize("name", NEAR_MISSES)
def test_product_without_canonical_form(name):
    """No linear layer comes of these; they compute the same."""
    graph = check(Function(NEAR_MISSES[name], w=torch.randn(6, 4)), (4, 5))
    assert "aten.linear.default" not in [str(node.target) for node in graph.graph.nodes]
