"""PyTorch modules from the capture to integers. Oracles: the module in float, the deployed files, and the runtime."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mrt_torch import Model
from mrt_torch.errors import UnsupportedOperatorError
from tests.end_to_end.following import TO_ONE_SCALE, check_deployed, check_runtime, check_values, follow
from tests.end_to_end.test_defects_of_mrt import Function, seeded

ROWS = 4
IMAGE = (4, 6, 6)
LINE = (4, 12)


class Residual(nn.Module):
    """Two convolutions beside a shortcut."""

    def __init__(self, channels: int):
        super().__init__()
        self.first, self.second = (nn.Conv2d(channels, channels, 3, padding=1, bias=False) for _ in range(2))
        self.norms = nn.ModuleList(nn.BatchNorm2d(channels) for _ in range(2))

    def forward(self, x):
        y = F.relu6(self.norms[0](self.first(x)))
        y = self.norms[1](self.second(y))
        y += x
        return F.hardtanh(y, -2.0, 3.0)


class Dense(nn.Module):
    """DenseNet in small: every layer reads all results before it; a transition, and a classifier."""

    def __init__(self, channels: int = 4, growth: int = 3, layers: int = 3):
        super().__init__()
        widths = [channels + growth * index for index in range(layers)]
        self.norms = nn.ModuleList(nn.BatchNorm2d(width) for width in widths)
        self.convolutions = nn.ModuleList(nn.Conv2d(width, growth, 3, padding=1, bias=False) for width in widths)
        self.transition = nn.Sequential(nn.BatchNorm2d(channels + growth * layers), nn.ReLU(inplace=True),
                                        nn.Conv2d(channels + growth * layers, 6, 1), nn.AvgPool2d(2, 2))
        self.classifier = nn.Linear(6 * 9, 5)

    def forward(self, x):
        features = [x]
        for norm, convolution in zip(self.norms, self.convolutions):
            features.append(convolution(F.relu(norm(torch.cat(features, 1)), inplace=True)))
        pooled = self.transition(torch.cat(features, dim=1))
        return self.classifier(pooled.view(pooled.size(0), -1))


def _shuffle(x):
    """Channel shuffle with a symbolic batch."""
    batch, channels, height, width = x.size()
    return x.view(batch, 2, channels // 2, height, width).transpose(1, 2).reshape(batch, -1, height, width)


@dataclass(frozen=True)
class Case:
    """A module, the shape of one row of its input, and the CVM operators it becomes (None: not compared)."""

    make: Callable[[], nn.Module]
    row: tuple[int, ...] = IMAGE
    operators: tuple[str, ...] | None = None


CASES = {
    "hardtanh": Case(lambda: nn.Hardtanh(-0.5, 0.7), LINE, ("clip",)),
    "relu6": Case(lambda: nn.Sequential(nn.Conv2d(4, 5, 3), nn.ReLU6(inplace=True))),
    "relu6 function": Case(lambda: Function(lambda x: F.relu6(4 * x)), LINE),
    "adaptive average": Case(lambda: nn.AdaptiveAvgPool2d((2, 3))),
    "adaptive average of one axis": Case(lambda: nn.AdaptiveAvgPool2d((None, 2))),
    "adaptive average to one": Case(lambda: nn.AdaptiveAvgPool2d(1), IMAGE, ("sum",)),
    "adaptive average of the same size": Case(lambda: nn.AdaptiveAvgPool2d(6), IMAGE, ("cvm_clip",)),
    "adaptive maximum": Case(lambda: nn.AdaptiveMaxPool2d((3, 2)), IMAGE, ("max_pool2d",)),
    "adaptive maximum to one": Case(lambda: nn.AdaptiveMaxPool2d(1), IMAGE, ("max",)),
    "adaptive average of a line": Case(lambda: nn.AdaptiveAvgPool1d(3), LINE),
    "adaptive maximum of a line": Case(lambda: nn.AdaptiveMaxPool1d(4), LINE, ("reshape", "max_pool2d", "reshape")),
    "padding of rows": Case(lambda: Function(lambda x: F.pad(x, (0, 0, 2, 1)))),
    "padding of channels": Case(lambda: Function(lambda x: F.pad(x, (1, 0, 0, 0, 1, 2), value=0.5))),
    "padding that crops": Case(lambda: Function(lambda x: F.pad(x, (-1, 2, 1, -1)))),
    "padding of a line": Case(lambda: nn.ConstantPad1d((1, 2), -0.25), LINE),
    "channel shuffle": Case(lambda: Function(_shuffle), IMAGE, ("reshape", "transpose", "reshape")),
    "views": Case(lambda: Function(lambda x: x.view(len(x), -1, 3).flatten(1).unflatten(1, (2, -1))), IMAGE,
                  ("reshape",)),
    "cat": Case(lambda: Function(lambda x: torch.cat([x, 3 * x, x.relu()[:, :2]], dim=1))),
    "stack": Case(lambda: Function(lambda x: torch.stack([x, -x], dim=2)), LINE),
    "elu": Case(lambda: nn.ELU(0.7), LINE, ("broadcast_add", "cvm_lut")),
    "selu": Case(lambda: nn.SELU(), LINE, ("broadcast_add", "cvm_lut")),
    "celu": Case(lambda: nn.CELU(1.5), LINE, ("broadcast_add", "cvm_lut")),
    "sigmoid": Case(lambda: nn.Sigmoid(), LINE, ("broadcast_add", "cvm_lut")),
    "tanh": Case(lambda: nn.Tanh(), LINE, ("broadcast_add", "cvm_lut")),
    "hardsigmoid": Case(lambda: nn.Hardsigmoid(), LINE),
    "silu": Case(lambda: nn.SiLU(inplace=True), LINE),
    "hardswish": Case(lambda: nn.Hardswish(), LINE),
    "convolution of a line": Case(lambda: nn.Conv1d(4, 6, 3, stride=2, padding=1, groups=2), LINE),
    "normalized convolution of a line": Case(
        lambda: nn.Sequential(nn.Conv1d(4, 6, 3, padding="same"), nn.BatchNorm1d(6), nn.ReLU()), LINE,
        ("reshape", "broadcast_mul", "cvm_right_shift", "conv2d", *TO_ONE_SCALE, "reshape", "relu")),
    "pooling of a line": Case(lambda: nn.Sequential(nn.MaxPool1d(3, 2, 1), nn.AvgPool1d(2, ceil_mode=True)), LINE),
    "residual": Case(lambda: nn.Sequential(nn.Conv2d(4, 4, 1), Residual(4), Residual(4))),
    "dense connections": Case(Dense),
}


def followed_case(name: str, folder):
    """The case quantized, and what the module gives in float."""
    case = CASES[name]
    module = seeded(case.make())
    data = torch.randn(ROWS, *case.row, generator=torch.Generator().manual_seed(2)) * 2
    with torch.no_grad():
        expected = module(data.clone())
    followed = follow(Model.from_torch(module, data[:1]), None, data, folder)
    return followed, [expected]


@pytest.mark.parametrize("name", CASES)
def test_values_and_files(name, tmp_path):
    followed, expected = followed_case(name, tmp_path)
    check_values(followed, expected)
    if CASES[name].operators is not None:
        assert tuple(followed.operators()) == CASES[name].operators
    check_deployed(followed)


@pytest.mark.cvm_runtime
@pytest.mark.parametrize("name", CASES)
def test_the_runtime_gives_the_same_integers(name, tmp_path):
    check_runtime(followed_case(name, tmp_path)[0])


class Late(nn.Module):
    """A layer of the user's own forward."""

    def __init__(self, layer: nn.Module):
        super().__init__()
        self.before, self.layer = nn.Conv2d(4, 4, 1), layer

    def forward(self, x):
        return F.relu(self.layer(self.before(x)))  # the user's line


REFUSED = {
    "gamma function": (lambda: Function(torch.lgamma), "aten.lgamma.default"),
    "adaptive maximum and its places": (
        lambda: Function(lambda x: F.adaptive_max_pool2d(x, 3, return_indices=True)[1] * 1.0),
        "aten.adaptive_max_pool2d.default"),
    "padded batch": (lambda: Function(lambda x: F.pad(x, (0, 0, 0, 0, 0, 0, 1, 0))), "it pads the batch axis"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_integer_form_is_refused_by_name_and_line(name):
    """Oracle: the operator, the node's name, the line of the user's forward, and what to do."""
    make, operator = REFUSED[name]
    model = Model.from_torch(Late(make()), torch.zeros(2, *IMAGE))
    with pytest.raises(UnsupportedOperatorError) as caught:
        model.prepare()
    error = caught.value
    assert operator in error.why and "node 'layer" in error.why
    assert "test_torch_modules.py" in error.why or "test_defects_of_mrt.py" in error.why
    assert "Model.split" in error.remedy and "register a Transformer" in error.remedy
    assert not model.prepared and model.names()


def test_a_refused_operator_is_split_off(tmp_path):
    """The advice works: integers up to the operator, the rest in float. Oracle: the module."""
    module = seeded(Late(Function(lambda x: torch.lgamma(x.abs() + 1))))
    data = torch.randn(ROWS, *IMAGE, generator=torch.Generator().manual_seed(2))
    base, top = Model.from_torch(module, data[:1]).split(["before"])
    followed = follow(base, None, data, tmp_path)
    check_deployed(followed)
    merged = Model.merger(followed.quantized, top, followed.mrt.get_maps()).merge()
    with torch.no_grad():
        expected = module(data)
    assert (merged(data) - expected).norm() < 0.03 * expected.norm()
