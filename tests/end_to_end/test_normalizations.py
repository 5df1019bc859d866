"""Normalizations, softmax, division and reductions from the model to integers, and to deployed files.

Oracles: MXNet on the symbol and on the exported one, the torch module, and the real runtime.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from mrt_torch import Model
from tests.bridges.mxnet.oracle import random_arrays, run_mxnet
from tests.end_to_end.following import Followed, check_deployed, check_mxnet, check_runtime, check_values, follow

ROWS = 3
INPUT_PRECISION = 16
LARGEST_ERROR = 0.01


@dataclass(frozen=True)
class Case:
    """A symbol of ``mx.sym``, the shape of one row of its input, and the CVM operators that must occur."""

    build: Callable
    row: tuple[int, ...]
    operators: tuple[str, ...] = ("broadcast_div",)
    error: float = LARGEST_ERROR


def _attention(s, x):
    scores = s.batch_dot(x, x, transpose_b=True) / 4
    return s.LayerNorm(x + s.batch_dot(s.softmax(scores, axis=-1), x), name="norm")


CASES = {
    "LayerNorm": Case(lambda s, x: s.LayerNorm(x, name="n"), (3, 16), ("cvm_lut", "broadcast_div")),
    "LayerNorm of channels": Case(lambda s, x: s.LayerNorm(x, axis=1, eps=1e-3, name="n"), (6, 2, 3), ("transpose",)),
    "InstanceNorm": Case(lambda s, x: s.InstanceNorm(x, name="n"), (3, 4, 5)),
    "GroupNorm": Case(lambda s, x: s.GroupNorm(x, num_groups=2, name="n"), (6, 4, 3)),
    "L2Normalization": Case(lambda s, x: s.L2Normalization(x), (3, 4)),
    "L2Normalization of channels": Case(lambda s, x: s.L2Normalization(x, mode="channel"), (6, 2, 3)),
    "L2Normalization of places": Case(lambda s, x: s.L2Normalization(x, mode="spatial"), (2, 3, 4)),
    "LRN": Case(lambda s, x: s.LRN(x, nsize=3, alpha=0.5, beta=0.6), (5, 3, 2), ("cvm_lut",)),
    "BatchNorm of the last axis": Case(lambda s, x: s.BatchNorm(x, axis=-1, fix_gamma=False, name="n"), (4, 3, 5),
                                       ("broadcast_mul",)),
    "BatchNorm of a volume": Case(lambda s, x: s.BatchNorm(x, fix_gamma=False, use_global_stats=True, name="n"),
                                  (4, 2, 3, 2), ("broadcast_mul",)),
    "softmax": Case(lambda s, x: s.softmax(x * 3, axis=-1), (5, 12)),
    "softmax of an axis": Case(lambda s, x: s.softmax(x, axis=1, temperature=0.5), (1100, 2), ("reshape", "sum")),
    "log_softmax": Case(lambda s, x: s.log_softmax(x * 5), (7,), ("cvm_lut",)),
    "softmin": Case(lambda s, x: s.softmin(x, axis=1), (4, 3)),
    "broadcast_div": Case(lambda s, x: s.broadcast_div(x, s.abs(s.sum(x, axis=1, keepdims=True)) + 1), (3, 4)),
    "elemwise_div": Case(lambda s, x: s.slice_axis(x, axis=1, begin=0, end=2) / (s.square(
        s.slice_axis(x, axis=1, begin=2, end=4)) + 0.5), (4, 3)),
    "norm": Case(lambda s, x: s.norm(x, axis=(1, 2)), (3, 4), ("cvm_lut",)),
    "norm of order 1": Case(lambda s, x: s.norm(x, ord=1, axis=-1, keepdims=True), (3, 4), ("abs", "sum")),
    "mean of many": Case(lambda s, x: s.mean(x, axis=0, exclude=True), (3, 7, 5), ("sum",)),
    "min": Case(lambda s, x: s.min(x, axis=-1, keepdims=True), (3, 4), ("max", "negative")),
    "prod": Case(lambda s, x: s.prod(x, axis=1), (5, 2), ("broadcast_mul",)),
    "moments": Case(lambda s, x: s.concat(*s.moments(x, axes=(2,), keepdims=True), dim=2), (3, 6), ("sum",)),
    "attention": Case(_attention, (5, 8), ("broadcast_div", "cvm_lut"), 0.03),
}


def followed_symbol(mx, name: str, folder: Path) -> tuple[Followed, list[np.ndarray]]:
    """A case as a live symbol, and what MXNet makes of it."""
    case = CASES[name]
    symbol = case.build(mx.sym, mx.sym.var("data"))
    arrays = random_arrays(mx, symbol, {"data": (ROWS, *case.row)}, seed=3)
    model = Model.load(symbol, {key: array for key, array in arrays.items() if key != "data"})
    data = torch.from_numpy(arrays["data"])
    return follow(model, {"data": tuple(data.shape)}, data, folder, INPUT_PRECISION), run_mxnet(mx, symbol, arrays)


@pytest.mark.parametrize("name", CASES)
def test_symbols(mxnet, name, tmp_path):
    """The prepared graph is MXNet's within 1e-4, by float32 rounding; the integers are within 1 %."""
    followed, expected = followed_symbol(mxnet, name, tmp_path)
    check_values(followed, expected, prepared=1e-4, quantized=CASES[name].error)
    assert set(CASES[name].operators) <= set(followed.operators())
    check_deployed(followed)
    check_mxnet(followed, tmp_path)


@pytest.mark.cvm_runtime
@pytest.mark.parametrize("name", CASES)
def test_the_runtime_gives_the_same_integers(mxnet, name, tmp_path):
    check_runtime(followed_symbol(mxnet, name, tmp_path)[0])


class Encoder(nn.Module):
    """A projection, a normalization and an activation."""

    def __init__(self, norm: nn.Module):
        super().__init__()
        self.project, self.norm = nn.Linear(12, 16), norm

    def forward(self, x):
        return self.norm(self.project(x)).relu()


MODULES = {
    "LayerNorm": (Encoder(nn.LayerNorm(16)), (5, 12)),
    "RMSNorm": (Encoder(nn.RMSNorm(16)), (5, 12)),
    "GroupNorm": (nn.Sequential(nn.Conv2d(3, 8, 3), nn.GroupNorm(4, 8)), (3, 7, 6)),
    "InstanceNorm": (nn.Sequential(nn.Conv2d(3, 8, 3), nn.InstanceNorm2d(8, affine=True)), (3, 7, 6)),
    "LogSoftmax": (nn.Sequential(nn.Linear(12, 9), nn.LogSoftmax(-1)), (5, 12)),
}


def followed_module(name: str, folder: Path) -> tuple[Followed, list[np.ndarray]]:
    """A module with seeded weights, and what torch makes of it."""
    module, row = MODULES[name]
    generator = torch.Generator().manual_seed(5)
    for parameter in module.parameters():
        parameter.data.copy_(torch.randn(parameter.shape, generator=generator) * 0.4 + 0.1)
    data = torch.randn((ROWS, *row), generator=generator)
    model = Model.from_torch(module, data[:1])
    with torch.no_grad():
        expected = [module(data).numpy()]
    return follow(model, tuple(data.shape), data, folder), expected


@pytest.mark.parametrize("name", MODULES)
def test_modules(mxnet, name, tmp_path):
    """8-bit weights and operands of the layer before each cost up to 2 %."""
    followed, expected = followed_module(name, tmp_path)
    check_values(followed, expected, prepared=1e-4, quantized=0.02)
    check_deployed(followed)
    check_mxnet(followed, tmp_path)


@pytest.mark.cvm_runtime
@pytest.mark.parametrize("name", MODULES)
def test_the_runtime_gives_the_same_integers_for_modules(name, tmp_path):
    check_runtime(followed_module(name, tmp_path)[0])
