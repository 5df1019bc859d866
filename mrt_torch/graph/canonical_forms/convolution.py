"""Convolutions and transposed convolutions."""

from __future__ import annotations

from collections.abc import Sequence

from torch import fx

from mrt_torch.graph.editor import shape_of
from mrt_torch.graph.source_call import Call, aten, canonical_form, rank_of


def _listed(value: Sequence[int] | int, count: int) -> list[int]:
    """One number for each spatial axis."""
    values = [value] if isinstance(value, int) else list(value)
    return values * count if len(values) == 1 else values


def _convolution(call: Call, x: fx.Node, padding: Sequence[int] | int) -> fx.Node:
    """conv2d and conv3d with every argument given; over one axis, conv2d over one row."""
    weight, spatial = call["weight"], rank_of(call["weight"]) - 2
    if rank_of(x) != spatial + 2 or spatial not in (1, 2, 3):
        return call.keep()
    stride, padding, dilation = (_listed(value, spatial) for value in (call["stride"], padding, call["dilation"]))
    if spatial > 1:
        target = aten.conv2d.default if spatial == 2 else aten.conv3d.default
        return call.emit(target, x, weight, call["bias"], stride, padding, dilation, call["groups"])
    row, kernel = call.emit(aten.unsqueeze.default, x, 2), call.emit(aten.unsqueeze.default, weight, 2)
    result = call.emit(aten.conv2d.default, row, kernel, call["bias"], [1, *stride], [0, *padding], [1, *dilation],
                       call["groups"])
    return call.emit(aten.squeeze.dims, result, [2])


def _transposed(call: Call, x: fx.Node) -> fx.Node:
    """conv_transpose2d with every argument given; over one axis, over one row."""
    weight, spatial = call["weight"], rank_of(call["weight"]) - 2
    if rank_of(x) != spatial + 2 or spatial not in (1, 2):
        return call.keep()
    stride, padding, extra, dilation = (_listed(call[name], spatial) for name in
                                        ("stride", "padding", "output_padding", "dilation"))
    if spatial == 2:
        return call.emit(aten.conv_transpose2d.input, x, weight, call["bias"], stride, padding, extra, call["groups"],
                         dilation)
    row, kernel = call.emit(aten.unsqueeze.default, x, 2), call.emit(aten.unsqueeze.default, weight, 2)
    result = call.emit(aten.conv_transpose2d.input, row, kernel, call["bias"], [1, *stride], [0, *padding],
                       [0, *extra], call["groups"], [1, *dilation])
    return call.emit(aten.squeeze.dims, result, [2])


@canonical_form("conv1d.default", "conv2d.default", "conv3d.default")
def convolution_of_fixed_rank(call: Call) -> fx.Node:
    """Every argument given, one number for each spatial axis."""
    return _convolution(call, call["input"], call["padding"])


@canonical_form("conv_transpose1d.default", "conv_transpose2d.input")
def transposed_convolution(call: Call) -> fx.Node:
    """Every argument given, two numbers each."""
    return _transposed(call, call["input"])


@canonical_form("convolution.default", "_convolution.default", "_convolution.deprecated")
def convolution(call: Call) -> fx.Node:
    """The general convolution, transposed or not."""
    if call["transposed"]:
        return _transposed(call, call["input"])
    return _convolution(call, call["input"], call["padding"])


@canonical_form("conv1d.padding", "conv2d.padding", "conv3d.padding")
def convolution_with_named_padding(call: Call) -> fx.Node:
    """``valid``: none. ``same``: dilation * (kernel - 1) in all, and the odd one after the input, as torch does."""
    x, kernel = call["input"], shape_of(call["weight"])[2:]
    if call["padding"] == "valid":
        return _convolution(call, x, 0)
    dilation = _listed(call["dilation"], len(kernel))
    totals = [step * (extent - 1) for step, extent in zip(dilation, kernel, strict=True)]
    if any(total % 2 for total in totals):
        amounts = [amount for total in reversed(totals) for amount in (0, total % 2)]
        x = call.emit(aten.constant_pad_nd.default, x, amounts, 0.0)
    return _convolution(call, x, [total // 2 for total in totals])
