"""Convolutions and transposed convolutions. Oracle: the torch module at batches 1, 2 and 5."""

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


TRANSPOSED = "conv_transpose2d.input"
DECONVOLUTIONS = {
    "plain": (nn.ConvTranspose2d(4, 6, 3), IMAGE),
    "everything": (nn.ConvTranspose2d(4, 6, (3, 4), stride=(3, 2), padding=(1, 2), output_padding=(2, 0), groups=2,
                                      dilation=(2, 1), bias=False), IMAGE),
    "a line": (nn.ConvTranspose1d(4, 6, 3, stride=2, padding=1, output_padding=1, groups=2, dilation=2), (4, 9)),
    "one number each": (Function(lambda m, x: F.conv_transpose2d(x, m.w, stride=2, padding=1),
                                 w=torch.randn(4, 3, 3, 3)), IMAGE),
    "general": (Function(lambda m, x: torch.convolution(x, m.w, None, [2], [1], [1], True, [1], 2),
                         w=torch.randn(4, 3, 3, 3)), IMAGE),
    "normalized": (nn.Sequential(nn.ConvTranspose2d(4, 6, 4, 2, 1, bias=False), nn.BatchNorm2d(6), nn.ReLU()), IMAGE),
}


@pytest.mark.parametrize("name", DECONVOLUTIONS)
def test_deconvolution(name):
    """Every argument is given; prepare makes one convolution of it."""
    module, shape = DECONVOLUTIONS[name]
    graph = check(module, shape)
    assert f"aten.{TRANSPOSED}" in [str(node.target) for node in graph.graph.nodes]
    prepared = prepare(graph)
    assert_equal(prepared, module, inputs([shape], 5))
    targets = [str(node.target) for node in prepared.graph.nodes]
    assert targets.count("aten.conv2d.default") == 1 and "aten.mul.Tensor" not in targets


VOLUME = (4, 5, 6, 7)
VOLUMES = {
    "plain": nn.Conv3d(4, 6, 3), "same": nn.Conv3d(4, 6, (2, 3, 4), padding="same", dilation=(1, 2, 1)),
    "everything": nn.Conv3d(4, 6, (3, 2, 3), stride=(2, 1, 2), padding=(1, 0, 2), dilation=(1, 2, 1), groups=2),
}


@pytest.mark.parametrize("name", VOLUMES)
def test_volumes(name):
    """A 3-D convolution passes prepare as a 2-D one."""
    graph = check(VOLUMES[name], VOLUME)
    prepared = prepare(graph)
    assert_equal(prepared, VOLUMES[name], inputs([VOLUME], 5))
    assert "aten.conv3d.default" not in [str(node.target) for node in prepared.graph.nodes]


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
@pytest.mark.parametrize("make, shape", [
    (lambda mode: nn.Conv2d(4, 6, (3, 5), padding=(1, 2), padding_mode=mode), IMAGE),
    (lambda mode: nn.Conv2d(4, 6, 4, padding="same", padding_mode=mode), IMAGE),
    (lambda mode: nn.Conv1d(4, 6, 3, padding=2, padding_mode=mode), (4, 9))], ids=["wide", "same", "line"])
def test_padding_modes(mode, make, shape):
    """The padding is an operator of its own, which prepare makes slices and concatenations of."""
    module = make(mode)
    graph = check(module, shape)
    assert_equal(prepare(graph), module, inputs([shape], 5))


def test_zeros_padded_before():
    """F.pad before a convolution is its padding after prepare, also over one axis."""
    for module, shape in ((nn.Sequential(nn.ZeroPad2d((1, 1, 2, 2)), nn.Conv2d(4, 6, 3)), IMAGE),
                          (nn.Sequential(nn.ConstantPad1d(2, 0.0), nn.Conv1d(4, 6, 3)), (4, 9))):
        prepared = prepare(check(module, shape))
        assert "aten.constant_pad_nd.default" not in [str(node.target) for node in prepared.graph.nodes]
        assert_equal(prepared, module, inputs([shape], 5))


def test_convolution_without_canonical_form():
    """Near miss: it keeps its operator, which validation refuses, and computes the same."""
    graph = check(nn.ConvTranspose3d(4, 2, 2), VOLUME)
    assert "aten.conv_transpose3d.input" in [str(node.target) for node in graph.graph.nodes]
