"""Matrix products. Oracle: the torch module at batches 1, 2 and 5."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tests.mrt_torch.graph.captured import Function, check, operators

LINEAR = "linear.default"
PRODUCTS = {
    "linear": (nn.Linear(5, 3), [LINEAR]),
    "linear without bias": (nn.Linear(5, 3, bias=False), [LINEAR]),
    "matmul": (Function(lambda m, x: x @ m.w, w=torch.randn(5, 3)), ["permute.default", LINEAR]),
    "matmul with a transposed parameter": (Function(lambda m, x: x @ m.w.t(), w=torch.randn(3, 5)),
                                           ["permute.default", "permute.default", LINEAR]),
    "vector": (Function(lambda m, x: x @ m.w, w=torch.randn(5)), ["reshape.default", LINEAR, "reshape.default"]),
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


PERMUTE = "permute.default"
OTHERS = {
    "addmm with a factor": (lambda m, x: torch.addmm(m.b, x[:, 0], m.w, alpha=2), [PERMUTE, LINEAR, "mul.Scalar",
                                                                                 "add.Tensor"]),
    "addmm with both factors": (lambda m, x: torch.addmm(m.b, x[:, 0], m.w, alpha=2, beta=0.5),
                                [PERMUTE, LINEAR, "mul.Scalar", "mul.Scalar", "add.Tensor"]),
    "addmm without its bias": (lambda m, x: torch.addmm(m.b, x[:, 0], m.w, beta=0), [PERMUTE, LINEAR]),
    "addmv": (lambda m, x: torch.addmv(m.b[0], x[:, 0], m.w[:, 0]), [LINEAR, "add.Tensor"]),
    "constant on the left": (lambda m, x: m.w.t() @ x.transpose(1, 2), [LINEAR]),
}


@pytest.mark.parametrize("name", OTHERS)
def test_products_with_a_constant(name):
    """A linear layer, and what the factors and the place of the constant add to it."""
    function, expected = OTHERS[name]
    graph = check(Function(function, w=torch.randn(5, 3), b=torch.randn(3)), (4, 5))
    found = [str(node.target).removeprefix("aten.") for node in graph.graph.nodes if node.op == "call_function"]
    assert [target for target in found if target in expected][-len(expected):] or set(expected) <= set(found)
    assert found.count(LINEAR) == 1 and "bmm.default" not in found


@pytest.mark.parametrize("bias", [True, False])
def test_bilinear(bias):
    """A linear layer with a row for each output."""
    layer = nn.Bilinear(5, 4, 3, bias=bias)
    graph = check(Function(lambda m, x: m.layer(x[..., :5], x[..., 5:]), layer=layer), (2, 9))
    assert operators(graph).count(LINEAR) == 1 and "bilinear.default" not in operators(graph)


def test_a_computed_weight_is_no_linear_layer():
    graph = check(Function(lambda m, x: x @ x.transpose(1, 2)), (4, 5))
    assert LINEAR not in [str(node.target).removeprefix("aten.") for node in graph.graph.nodes]
