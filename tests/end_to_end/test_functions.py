"""Functions of one tensor from MXNet and PyTorch to integers. Oracles: MXNet, the torch module, and the runtime."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from mrt_torch import Model
from tests.bridges.mxnet.oracle import random_arrays, run_mxnet
from tests.end_to_end.following import Followed, check_deployed, check_mxnet, check_runtime, check_values, follow
from tests.end_to_end.test_defects_of_mrt import Function

ROWS, COLUMNS = 4, 12
LARGEST_ERROR = 0.01


def _hard_swish(s, x):
    """As gluoncv writes it."""
    return x * (s.clip(x + 3, 0, 6) / 6)


def _gelu(s, x):
    """As gluonnlp writes it."""
    return 0.5 * x * (1 + s.erf(x / math.sqrt(2)))


# What of MXNet; x is positive where the name of the case says so.
SYMBOLS = {
    "softrelu": lambda s, x: s.Activation(x, act_type="softrelu"),
    "softsign": lambda s, x: s.Activation(x, act_type="softsign"),
    "gelu": lambda s, x: s.LeakyReLU(x, act_type="gelu"), "gelu by erf": _gelu,
    "swish": lambda s, x: x * s.sigmoid(1.0 * x), "hard-swish": _hard_swish,
    "hard_sigmoid": lambda s, x: s.hard_sigmoid(x), "smooth_l1": lambda s, x: s.smooth_l1(x, scalar=1.5),
    **{name: (lambda s, x, name=name: getattr(s, name)(x)) for name in (
        "sigmoid", "tanh", "exp", "expm1", "erf", "cbrt", "sin", "cos", "arctan", "sinh", "cosh", "arcsinh", "square")},
    **{f"{name} within one": (lambda s, x, name=name: getattr(s, name)(s.tanh(x) * 0.9)) for name in (
        "tan", "arcsin", "arccos", "arctanh")},
    **{f"{name}, positive": (lambda s, x, name=name: getattr(s, name)(x)) for name in (
        "log", "log2", "log10", "log1p", "sqrt", "rsqrt", "rcbrt", "reciprocal")},
    "arccosh, positive": lambda s, x: s.arccosh(x + 1), "2 / x, positive": lambda s, x: 2 / x,
    "x ** 3": lambda s, x: x ** 3, "x ** 1.5, positive": lambda s, x: x ** 1.5, "1.5 ** x": lambda s, x: 1.5 ** x,
    "remainder, positive": lambda s, x: s.exp(-(x % 7.5)),
}
MODULES = {
    "gelu by tanh": nn.GELU("tanh"), "silu": nn.SiLU(), "mish": nn.Mish(), "hardswish": nn.Hardswish(),
    "hardsigmoid": nn.Hardsigmoid(), "relu6": nn.ReLU6(), "softplus": nn.Softplus(2.0, 15.0),
    "softsign": nn.Softsign(), "log sigmoid": nn.LogSigmoid(), "tanhshrink": nn.Tanhshrink(),
    "softshrink": nn.Softshrink(), "hardshrink": nn.Hardshrink(), "threshold": nn.Threshold(0.5, -0.5),
    "prelu": nn.PReLU(), "rrelu": nn.RReLU(), "glu": nn.GLU(1), "erfc": Function(torch.erfc),
    "exp2": Function(torch.exp2), "rsqrt": Function(lambda x: torch.rsqrt(x * x + 0.1)),
    "quick gelu": Function(lambda x: x * torch.sigmoid(1.702 * x)),
}


def of_mxnet(mx, name, folder) -> tuple[Followed, list]:
    symbol = SYMBOLS[name](mx.sym, mx.sym.var("data"))
    arrays = random_arrays(mx, symbol, {"data": (ROWS, COLUMNS)}, seed=3)
    data = 2 * torch.from_numpy(arrays["data"])
    if "positive" in name:
        data = data.abs() + 0.1
    expected = run_mxnet(mx, symbol, {"data": data.numpy()})
    return follow(Model.load(symbol, {}), {"data": (ROWS, COLUMNS)}, data, folder, input_precision=16), expected


def of_torch(name, folder) -> tuple[Followed, list]:
    module = MODULES[name].eval()
    data = 2 * torch.randn(ROWS, COLUMNS, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = [module(data.clone()).numpy()]
    return follow(Model.from_torch(module, data[:1]), None, data, folder, input_precision=16), expected


@pytest.mark.parametrize("name", SYMBOLS)
def test_symbol(mxnet, name, tmp_path):
    followed, expected = of_mxnet(mxnet, name, tmp_path)
    check_values(followed, expected, quantized=LARGEST_ERROR)
    assert followed.operators().count("cvm_lut") == (0 if name in ("hard_sigmoid", "square") else 1)
    check_deployed(followed)
    check_mxnet(followed, tmp_path)


@pytest.mark.parametrize("name", MODULES)
def test_module(mxnet, name, tmp_path):
    followed, expected = of_torch(name, tmp_path)
    check_values(followed, expected, quantized=LARGEST_ERROR)
    check_deployed(followed)
    check_mxnet(followed, tmp_path)


@pytest.mark.cvm_runtime
@pytest.mark.parametrize("name", SYMBOLS)
def test_the_runtime_computes_a_symbol(mxnet, name, tmp_path):
    check_runtime(of_mxnet(mxnet, name, tmp_path)[0])


@pytest.mark.cvm_runtime
@pytest.mark.parametrize("name", MODULES)
def test_the_runtime_computes_a_module(name, tmp_path):
    check_runtime(of_torch(name, tmp_path)[0])
