"""Activation functions. Oracle: the torch module at batches 1, 2 and 5."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tests.mrt_torch.graph.captured import Function, check

PRELU = ["reshape.default", "neg.default", "relu.default", "relu.default", "mul.Tensor", "sub.Tensor"]
CASES = {
    "relu": (nn.ReLU(), ["relu.default"]),
    "relu in place": (nn.ReLU(inplace=True), ["relu.default"]),
    "relu6": (nn.ReLU6(), ["clamp.default"]),
    "relu6 in place": (nn.ReLU6(inplace=True), ["clamp.default"]),
    "torch.relu6": (Function(lambda m, x: torch.ops.aten.relu6(x)), ["clamp.default"]),
    "hardtanh": (nn.Hardtanh(-0.5, 2.0), ["clamp.default"]),
    "clamp": (Function(lambda m, x: x.clamp(-1, 1)), ["clamp.default"]),
    "clip": (Function(lambda m, x: torch.clip(x, -1, 1)), ["clamp.default"]),
    "clamp from below": (Function(lambda m, x: x.clamp(min=-1)), ["clamp.default"]),
    "clamp_min": (Function(lambda m, x: torch.clamp_min(x, 0.5)), ["clamp.default"]),
    "clamp_max in place": (Function(lambda m, x: (x * 2).clamp_max_(0.5)), ["mul.Scalar", "clamp.default"]),
    "clamp by tensors": (Function(lambda m, x: torch.clamp(x, m.low, m.high), low=-torch.ones(4, 1, 1),
                                  high=torch.rand(4, 1, 1)), ["maximum.default", "minimum.default"]),
    "clamp by one tensor": (Function(lambda m, x: torch.clamp(x, max=m.high), high=torch.rand(6)), ["minimum.default"]),
    "threshold at zero": (nn.Threshold(0.0, 0.0), ["relu.default"]),
    "leaky relu": (nn.LeakyReLU(0.1), ["leaky_relu.default"]),
    "leaky relu, default slope, in place": (nn.LeakyReLU(inplace=True), ["leaky_relu.default"]),
    "prelu, one slope": (nn.PReLU(), PRELU),
    "prelu by channel": (nn.PReLU(4, init=-0.3), PRELU),
    "hardsigmoid": (nn.Hardsigmoid(), ["add.Scalar", "clamp.default", "div.Scalar"]),
    "hardswish in place": (nn.Hardswish(inplace=True), ["hardswish.default"]),
    "silu": (nn.SiLU(inplace=True), ["silu.default"]),
    "mish": (nn.Mish(), ["mish.default"]),
    "gelu": (nn.GELU(), ["gelu.default"]),
    "gelu by tanh": (nn.GELU("tanh"), ["gelu.default"]),
    "softplus": (nn.Softplus(2.0, 15.0), ["softplus.default"]),
    "softsign": (nn.Softsign(), ["abs.default", "add.Scalar", "div.Tensor"]),
    "log sigmoid": (nn.LogSigmoid(), ["log_sigmoid.default"]),
    "tanhshrink": (nn.Tanhshrink(), ["tanh.default", "sub.Tensor"]),
    "softshrink": (nn.Softshrink(0.7), ["clamp.default", "sub.Tensor"]),
    "hardshrink": (nn.Hardshrink(0.7), ["hardshrink.default"]),
    "threshold": (nn.Threshold(0.1, 0.0), ["threshold.default"]),
    "threshold that is its value": (nn.Threshold(-1.0, -1.0), ["clamp.default"]),
    "rrelu": (nn.RReLU(0.1, 0.3), ["leaky_relu.default"]),
    "glu": (nn.GLU(1), ["slice.Tensor", "slice.Tensor", "sigmoid.default", "mul.Tensor"]),
    "elu": (nn.ELU(0.7), ["elu.default"]),
    "elu in place": (nn.ELU(inplace=True), ["elu.default"]),
    "selu": (nn.SELU(), ["elu.default"]),
    "celu": (nn.CELU(1.5), ["elu.default"]),
    "sigmoid in place": (Function(lambda m, x: (x + 1).sigmoid_()), ["add.Scalar", "sigmoid.default"]),
    "tanh": (nn.Tanh(), ["tanh.default"]),
    "exp": (Function(lambda m, x: x.exp()), ["exp.default"]),
    "softmax, negative axis": (nn.Softmax(dim=-1), ["softmax.int"]),
    "softmax, same dtype": (Function(lambda m, x: F.softmax(x, 1, dtype=torch.float32)), ["softmax.int"]),
    "raw softmax": (Function(lambda m, x: torch.ops.aten._softmax(x, 1, False)), ["softmax.int"]),
}


@pytest.mark.parametrize("name", CASES)
def test_activation(name):
    """Every form fires and gives the module's values."""
    module, targets = CASES[name]
    check(module, (4, 5, 6), targets=targets)


def test_prelu_without_channel_axis():
    """One axis beside the batch: the slope of each channel is along it."""
    check(nn.PReLU(4, init=0.2), (4,), targets=PRELU)


NEAR_MISSES = {
    "softmax in another dtype": (Function(lambda m, x: F.softmax(x, 1, dtype=torch.float64)), ["softmax.int"]),
    "log softmax": (nn.LogSoftmax(1), ["log_softmax.int"]),
}


@pytest.mark.parametrize("name", NEAR_MISSES)
def test_without_canonical_form(name):
    """What has none stays as it is, and still computes the same."""
    module, targets = NEAR_MISSES[name]
    check(module, (4, 5), targets=targets)


def test_softmax_axis_is_not_negative():
    graph = check(nn.Softmax(dim=-1), (4, 5))
    assert [node.args[1] for node in graph.graph.nodes if node.op == "call_function"] == [2]
