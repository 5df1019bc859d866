"""Convolutions, pooling and resizing from the model to deployed integers.

Oracles: MXNet, or the torch module, in float; the deployed files; MXNet in float64 on exported integers; the runtime.
"""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mrt_torch import Model
from tests.end_to_end.following import Followed, check_deployed, check_mxnet, check_runtime, check_values, follow
from tests.end_to_end.test_defects_of_mrt import Function, seeded
from tests.end_to_end.test_mxnet_operators import Case, load

ROWS = 3
IMAGE, LINE, VOLUME = (4, 6, 7), (4, 12), (3, 4, 6, 5)


def _transposed(sym, x, *axes):
    return sym.transpose(x, axes=(0, *axes))


SYMBOLS = {
    "deconvolution": Case(lambda s, x: s.Deconvolution(x, kernel=(4, 4), stride=(2, 2), pad=(1, 1), num_filter=3,
                                                       no_bias=False, name="d"), IMAGE, ("conv2d", "transpose")),
    "deconvolution to a size": Case(lambda s, x: s.Deconvolution(
        x, kernel=(3, 2), stride=(2, 3), num_filter=4, num_group=2, target_shape=(11, 20)), IMAGE, ("conv2d",)),
    "deconvolution of one axis": Case(lambda s, x: s.Deconvolution(
        x, kernel=(3,), stride=(2,), pad=(1,), adj=(1,), num_filter=5, name="d"), LINE, ("conv2d",)),
    "normalized deconvolution": Case(lambda s, x: s.relu(s.BatchNorm(s.Deconvolution(
        x, kernel=(2, 2), stride=(2, 2), num_filter=3, num_group=1, name="d"), fix_gamma=False, name="b")), IMAGE,
                                     ("conv2d", "relu")),
    "convolution of volumes": Case(lambda s, x: s.Convolution(x, kernel=(2, 3, 2), stride=(1, 2, 1), pad=(1, 0, 1),
                                                              num_filter=4), VOLUME, ("conv2d", "concatenate")),
    "convolution behind a border": Case(lambda s, x: s.Convolution(s.Pad(
        x, mode="constant", pad_width=(0, 0, 0, 0, 1, 1, 0, 1)), kernel=(3, 3), num_filter=4, stride=(2, 2), name="c"),
                                        IMAGE, ("conv2d", "concatenate")),
    "convolution of channels last": Case(lambda s, x: _transposed(s, s.Convolution(_transposed(s, x, 3, 1, 2), kernel=(
        2, 2), num_filter=3, name="c"), 2, 3, 1), (6, 7, 4), ("transpose", "conv2d")),
    "pooling of channels last": Case(lambda s, x: s.Pooling(x, kernel=(3, 2), stride=(2, 2), pool_type="max",
                                                            layout="NHWC"), (6, 7, 4), ("transpose", "max_pool2d")),
    "sum pooling": Case(lambda s, x: s.Pooling(x, kernel=(3, 2), stride=(2, 2), pad=(1, 1), pool_type="sum",
                                               pooling_convention="full"), IMAGE, ("conv2d",)),
    "pooling with wide padding": Case(lambda s, x: s.Pooling(x, kernel=(3, 3), pad=(2, 2), pool_type="max"), IMAGE,
                                      ("max_pool2d",)),
    "average without its wide padding": Case(lambda s, x: s.Pooling(
        x, kernel=(3, 3), pad=(2, 2), stride=(2, 2), pool_type="avg", count_include_pad=False), IMAGE, ("conv2d",)),
    "pooling of volumes": Case(lambda s, x: s.Pooling(x, kernel=(2, 3, 2), stride=(1, 2, 2), pool_type="max"), VOLUME,
                               ("max_pool2d",)),
    "average of volumes": Case(lambda s, x: s.Pooling(x, kernel=(2, 3, 2), stride=(1, 2, 2), pool_type="avg"), VOLUME,
                               ("conv2d",)),
    "adaptive pooling to uneven windows": Case(lambda s, x: s.contrib.AdaptiveAvgPooling2D(x, output_size=(4, 3)),
                                               IMAGE, ("sum", "broadcast_mul")),
    "upsampling": Case(lambda s, x: s.UpSampling(x, scale=3, sample_type="nearest"), IMAGE, ("upsampling",)),
    "upsampling of several": Case(lambda s, x: s.UpSampling(x, s.Pooling(
        x, kernel=(3, 3), stride=(3, 3), pool_type="max"), scale=3, sample_type="nearest", num_args=2), (4, 6, 6),
                                  ("upsampling", "concatenate")),
    "bilinear upsampling": Case(lambda s, x: s.UpSampling(x, s.var("w", shape=(4, 1, 4, 4)), scale=2,
                                                          sample_type="bilinear", num_args=2, num_filter=4), IMAGE,
                                ("conv2d", "transpose")),
    "resizing": Case(lambda s, x: s.contrib.BilinearResize2D(x, height=11, width=5, align_corners=False), IMAGE,
                     ("take", "broadcast_mul")),
    "resizing with aligned corners": Case(lambda s, x: s.contrib.BilinearResize2D(
        x, scale_height=2.3, scale_width=0.7), IMAGE, ("broadcast_mul", "elemwise_add")),
    "resizing like another": Case(lambda s, x: s.contrib.BilinearResize2D(
        s.Convolution(x, kernel=(3, 3), stride=(2, 2), num_filter=3, name="c"), x, mode="like"), IMAGE,
                                  ("conv2d", "broadcast_mul")),
}


@dataclass(frozen=True)
class Module:
    """A torch module, the shape of one row of its input, and the CVM operators it becomes (None: not compared)."""

    make: object
    row: tuple[int, ...] = IMAGE
    operators: tuple[str, ...] | None = None


def _generator():
    """A decoder as generators and segmentation networks have them."""
    return nn.Sequential(nn.ConvTranspose2d(4, 6, 4, 2, 1, bias=False), nn.BatchNorm2d(6), nn.ReLU(),
                         nn.Conv2d(6, 5, 3, padding=1, padding_mode="reflect"), nn.ReLU(),
                         nn.Upsample(scale_factor=2, mode="bilinear"), nn.Conv2d(5, 2, 1))


MODULES = {
    "generator": Module(_generator),
    "transposed convolution": Module(lambda: nn.ConvTranspose2d(4, 3, 3, 2, 1, 1, dilation=2)),
    "transposed convolution of a line": Module(lambda: nn.ConvTranspose1d(4, 6, 4, 3, groups=2), LINE),
    "convolution of volumes": Module(lambda: nn.Conv3d(3, 4, 3, padding="same"), VOLUME),
    "convolution with a circular border": Module(lambda: nn.Conv2d(4, 5, 3, padding=1, padding_mode="circular")),
    "convolution with a repeated border": Module(lambda: nn.Conv1d(4, 5, 3, padding=2, padding_mode="replicate"), LINE),
    "convolution behind zeros": Module(lambda: nn.Sequential(nn.ZeroPad2d(1), nn.Conv2d(4, 5, 3)), IMAGE,
                                        ("broadcast_mul", "cvm_right_shift", "conv2d", "cvm_clip", "broadcast_mul",
                                         "cvm_right_shift")),
    "dilated pooling": Module(lambda: nn.MaxPool2d(2, stride=1, padding=1, dilation=(2, 3))),
    "uneven windows": Module(lambda: nn.AdaptiveAvgPool2d((4, 3))),
    "uneven maxima": Module(lambda: nn.AdaptiveMaxPool2d((4, 3))),
    "pooling of volumes": Module(lambda: nn.Sequential(nn.MaxPool3d(2, stride=1), nn.AvgPool3d((1, 2, 2))), VOLUME),
    "nearest": Module(lambda: nn.Upsample(scale_factor=2), IMAGE, ("upsampling",)),
    "nearest to any size": Module(lambda: nn.Upsample((9, 14)), IMAGE, ("take", "repeat")),
    "nearest of a line": Module(lambda: nn.Upsample(scale_factor=3), LINE, ("reshape", "repeat", "reshape")),
    "bilinear": Module(lambda: nn.Upsample((9, 5), mode="bilinear")),
    "bicubic": Module(lambda: nn.Upsample((9, 5), mode="bicubic")),
    "smoothed": Module(lambda: Function(lambda x: F.interpolate(x, (3, 4), mode="bilinear", antialias=True))),
}


def followed_symbol(mx, name: str, folder) -> tuple[Followed, list]:
    model, data, expected = load(mx, SYMBOLS[name])
    return follow(model, {"data": tuple(data.shape)}, data, folder), expected


def followed_module(name: str, folder) -> tuple[Followed, list]:
    case = MODULES[name]
    module = seeded(case.make())
    data = torch.randn(ROWS, *case.row, generator=torch.Generator().manual_seed(2)) * 2
    with torch.no_grad():
        expected = module(data.clone())
    return follow(Model.from_torch(module, data[:1]), None, data, folder), [expected]


@pytest.mark.parametrize("name", SYMBOLS)
def test_symbols(mxnet, name, tmp_path):
    followed, expected = followed_symbol(mxnet, name, tmp_path)
    check_values(followed, expected)
    assert set(SYMBOLS[name].operators) <= set(followed.operators())
    check_deployed(followed)
    check_mxnet(followed, tmp_path)


@pytest.mark.parametrize("name", MODULES)
def test_modules(name, tmp_path):
    followed, expected = followed_module(name, tmp_path)
    check_values(followed, expected)
    if MODULES[name].operators is not None:
        assert tuple(followed.operators()) == MODULES[name].operators
    check_deployed(followed)


@pytest.mark.cvm_runtime
@pytest.mark.parametrize("name", SYMBOLS)
def test_symbols_in_the_runtime(mxnet, name, tmp_path):
    check_runtime(followed_symbol(mxnet, name, tmp_path)[0])


@pytest.mark.cvm_runtime
@pytest.mark.parametrize("name", MODULES)
def test_modules_in_the_runtime(name, tmp_path):
    check_runtime(followed_module(name, tmp_path)[0])
