"""Normalizations. Oracle: the torch module, with statistics that matter, at batches 1, 2 and 5."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mrt_torch.errors import UnsupportedOperatorError
from mrt_torch.passes.prepare import prepare
from tests.mrt_torch.graph.captured import (
    Function,
    assert_equal,
    check,
    inputs,
    randomise,
)

aten = torch.ops.aten
STATISTICS = {"g": torch.rand(4), "b": torch.randn(4), "mean": torch.randn(4), "var": torch.rand(4) + 0.5}
FORMS = {
    "module": randomise(nn.Sequential(nn.BatchNorm2d(4, eps=1e-2))),
    "without affine": randomise(nn.Sequential(nn.BatchNorm2d(4, affine=False))),
    "legit": Function(lambda m, x: aten._native_batch_norm_legit_no_training(
        x, m.g, m.b, m.mean, m.var, 0.1, 1e-3)[0], **STATISTICS),
    "native": Function(lambda m, x: torch.native_batch_norm(x, m.g, m.b, m.mean, m.var, False, 0.1, 1e-3)[0],
                       **STATISTICS),
}


@pytest.mark.parametrize("name", FORMS)
def test_batch_norm(name):
    """Every spelling becomes batch_norm with its own eps; the counter of batches is no buffer of the graph."""
    graph = check(FORMS[name], (4, 3, 5), targets=["batch_norm.default"])
    assert not any("num_batches" in buffer for buffer, _ in graph.named_buffers())


def test_one_axis():
    module = nn.BatchNorm1d(4)
    module.running_mean.copy_(torch.randn(4))
    check(module, (4,), targets=["batch_norm.default"])


def test_prepared():
    """Folded into the convolution before it: equal within float32 rounding."""
    module = randomise(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU()))
    prepared = prepare(check(module, (3, 6, 6)))
    assert_equal(prepared, module, inputs([(3, 6, 6)], 5), relative=1e-4)


def test_statistics_of_the_batch():
    """A layer without running statistics stays, and prepare refuses it."""
    graph = check(nn.BatchNorm2d(4, track_running_stats=False), (4, 3, 5), targets=["batch_norm.default"],
                  batches=(2,))
    with pytest.raises(UnsupportedOperatorError, match="statistics"):
        prepare(graph)


def affine(module: nn.Module) -> nn.Module:
    """With scales, shifts and statistics that matter."""
    generator = torch.Generator().manual_seed(3)
    for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
        if tensor.is_floating_point():
            tensor.data.copy_(torch.rand(tensor.shape, generator=generator) + (0.5 if "var" in name else 0.1))
    return module


OWN_STATISTICS = {
    "layer": (nn.LayerNorm(5), (3, 4, 5), ["layer_norm.default"]),
    "layer of two axes": (nn.LayerNorm((4, 5), eps=1e-2), (3, 4, 5), ["layer_norm.default"]),
    "layer without affine": (nn.LayerNorm(5, elementwise_affine=False), (3, 5), ["layer_norm.default"]),
    "layer without bias": (nn.LayerNorm(5, bias=False), (3, 5), ["layer_norm.default"]),
    "group": (nn.GroupNorm(2, 4, eps=1e-3), (4, 3, 5), ["group_norm.default"]),
    "group without affine": (nn.GroupNorm(4, 4, affine=False), (4, 3), ["group_norm.default"]),
    "instance of a row": (nn.InstanceNorm1d(4), (4, 6), ["instance_norm.default"]),
    "instance of an image": (nn.InstanceNorm2d(4, affine=True, eps=1e-2), (4, 3, 5), ["instance_norm.default"]),
    "instance of a volume": (nn.InstanceNorm3d(2, affine=True), (2, 3, 2, 4), ["instance_norm.default"]),
    "instance with running statistics": (nn.InstanceNorm2d(4, affine=True, track_running_stats=True), (4, 3, 5),
                                         ["batch_norm.default"]),
    "root mean square": (nn.RMSNorm(5), (3, 5), ["rms_norm.default"]),
    "root mean square of two axes": (nn.RMSNorm((4, 5), eps=1e-2, elementwise_affine=False), (4, 5),
                                     ["rms_norm.default"]),
    "native layer": (Function(lambda m, x: torch.native_layer_norm(x, [5], m.w, m.b, 1e-3)[0], w=torch.rand(5),
                              b=torch.rand(5)), (3, 5), ["layer_norm.default"]),
    "native group": (Function(lambda m, x: torch.ops.aten.native_group_norm(x, m.w, None, x.shape[0], 4, 3, 2, 1e-3)[0],
                              w=torch.rand(4)), (4, 3), ["group_norm.default"]),
    "unit vectors": (Function(lambda m, x: nn.functional.normalize(x, dim=1)), (4, 5),
                     ["linalg_vector_norm.default", "clamp.default", "div.Tensor"]),
    "log_softmax": (nn.LogSoftmax(-1), (3, 5), ["log_softmax.int"]),
    "softmin": (nn.Softmin(1), (3, 5), ["neg.default", "softmax.int"]),
    "norm": (Function(lambda m, x: x.norm(dim=-1)), (3, 5), ["linalg_vector_norm.default"]),
    "norm of one": (Function(lambda m, x: torch.linalg.vector_norm(x, 1, dim=(1, -1), keepdim=True)), (3, 5),
                    ["linalg_vector_norm.default"]),
    "variance": (Function(lambda m, x: x.var(-1)), (3, 5),
                 ["mean.dim", "sub.Tensor", "mul.Tensor", "sum.dim_IntList", "div.Scalar"]),
    "biased variance": (Function(lambda m, x: torch.var(x, (1, 2), correction=0, keepdim=True)), (3, 5),
                        ["mean.dim", "sub.Tensor", "mul.Tensor", "sum.dim_IntList", "div.Scalar"]),
    "deviation": (Function(lambda m, x: x.std(1, unbiased=False)), (3, 5),
                  ["mean.dim", "sub.Tensor", "linalg_vector_norm.default", "div.Scalar"]),
}


@pytest.mark.parametrize("name", OWN_STATISTICS)
def test_own_statistics(name):
    """Each has its form, and prepare accepts it: equal within float32 rounding of reordered operators."""
    module, shape, targets = OWN_STATISTICS[name]
    module = affine(module)
    graph = check(module, shape, targets=targets)
    assert_equal(prepare(graph), module, inputs([shape], 5), relative=1e-4)


def test_a_matrix_norm_is_kept():
    """The spectral norm is none of the vector norms."""
    graph = check(Function(lambda m, x: torch.linalg.matrix_norm(x, 2).reshape(-1, 1)), (3, 5))
    assert not any("vector_norm" in str(node.target) for node in graph.graph.nodes)


def test_statistics_that_are_read_are_kept():
    """The mean that a native operator gives beside its result."""
    graph = check(Function(lambda m, x: torch.native_layer_norm(x, [5], None, None, 1e-3)[1]), (3, 5))
    assert any("native_layer_norm" in str(node.target) for node in graph.graph.nodes)
