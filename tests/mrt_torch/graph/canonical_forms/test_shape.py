"""Shapes and the free batch. Oracle: the torch module at batches 1, 2 and 5."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mrt_torch.graph.free_axis import is_batch_free
from tests.mrt_torch.graph.captured import Function, check


def shuffle(m, x):
    """The channel shuffle of ShuffleNet."""
    batch, channels, height, width = x.shape
    x = x.view(batch, 2, channels // 2, height, width).transpose(1, 2).contiguous()
    return x.view(batch, -1, height, width)


RESHAPE, PERMUTE = "reshape.default", "permute.default"
CASES = {
    "view to the batch": (lambda m, x: x.view(x.size(0), -1), [RESHAPE]),
    "view by the last axes": (lambda m, x: x.view(-1, 6 * 5 * 4), [RESHAPE]),
    "reshape": (lambda m, x: x.reshape(x.shape[0], 4, -1), [RESHAPE]),
    "batch merged": (lambda m, x: x.reshape(x.shape[0] * 4, 30), [RESHAPE]),
    "batch merged and back": (lambda m, x: x.flatten(0, 1).abs().unflatten(0, (-1, 4)),
                              [RESHAPE, "abs.default", RESHAPE]),
    "unflatten": (lambda m, x: x.unflatten(1, (2, 2)), [RESHAPE]),
    "view to itself": (lambda m, x: x.view(x.shape).neg(), ["neg.default"]),
    "view as": (lambda m, x: x.transpose(1, 2).reshape_as(x), [PERMUTE, RESHAPE]),
    "flatten": (lambda m, x: torch.flatten(x, 1), ["flatten.using_ints"]),
    "flatten from behind": (lambda m, x: x.flatten(-2), ["flatten.using_ints"]),
    "flatten of one axis": (lambda m, x: x.flatten(1, 1).neg(), ["neg.default"]),
    "shuffle": (shuffle, [RESHAPE, PERMUTE, RESHAPE]),
    "permute": (lambda m, x: x.permute(0, 2, 3, -3), [PERMUTE]),
    "permute nothing": (lambda m, x: x.permute(0, 1, 2, 3).neg(), ["neg.default"]),
    "transpose": (lambda m, x: x.transpose(-1, 1), [PERMUTE]),
    "matrix transpose": (lambda m, x: x.mT, [PERMUTE]),
    "swapaxes": (lambda m, x: x.swapaxes(1, 2), [PERMUTE]),
    "moveaxis": (lambda m, x: x.movedim(1, -1), [PERMUTE]),
    "moveaxis of two": (lambda m, x: torch.moveaxis(x, (1, 2), (3, 1)), [PERMUTE]),
    "squeeze and unsqueeze": (lambda m, x: x.unsqueeze(-1).squeeze(-1), ["unsqueeze.default", "squeeze.dims"]),
    "squeeze of nothing": (lambda m, x: x.squeeze(1).neg(), ["neg.default"]),
    "squeeze of some": (lambda m, x: x.mean((1, 3), keepdim=True).squeeze((1, 2, 3)), ["mean.dim", "squeeze.dims"]),
    "in place": (lambda m, x: (x + 1).unsqueeze_(1).squeeze_(1).transpose_(1, 2),
                 ["add.Scalar", "unsqueeze.default", "squeeze.dims", PERMUTE]),
}


@pytest.mark.parametrize("name", CASES)
def test_shape(name):
    """Every form fires; reshapes keep the batch free."""
    function, targets = CASES[name]
    check(Function(function), (4, 5, 6), targets=targets)


def test_squeeze_never_takes_the_batch():
    """torch's own result loses a batch of one; the graph's keeps it, as every batch axis (oracle: reshape)."""
    graph = check(Function(lambda m, x: x.mean((2, 3), keepdim=True).squeeze()), (4, 5, 6), batches=(2, 5),
                  targets=["mean.dim", "squeeze.dims"])
    x = torch.randn(1, 4, 5, 6)
    assert torch.equal(graph(x)[0], x.mean((2, 3)))


def test_batch_axis_stays_free():
    """Propagating another batch proves it (oracle: is_batch_free)."""
    assert is_batch_free(check(Function(shuffle), (4, 5, 6)))


def test_flatten_module():
    check(nn.Flatten(), (4, 5, 6), targets=["flatten.using_ints"])


def test_two_free_axes_stay():
    """A reshape whose batch shows on two axes cannot be written with one -1: it stays, with computed sizes."""
    function = Function(lambda m, x: x.expand(x.shape[0], x.shape[0], 4).reshape(x.shape[0], x.shape[0], 2, 2))
    check(function, (1, 4))
