"""Convolution and matrix products with parameters."""

from __future__ import annotations

from collections.abc import Sequence

from torch import fx

from mrt_torch.graph.editor import shape_of
from mrt_torch.graph.source_call import (
    Call,
    aten,
    canonical_form,
    pair,
    permuted,
    rank_of,
)


def is_constant(node: fx.Node) -> bool:
    """True for a value computed from parameters alone."""
    return node.op == "get_attr" or (node.op == "call_function" and bool(node.all_input_nodes)
                                     and all(is_constant(source) for source in node.all_input_nodes))


def _conv2d(call: Call, x: fx.Node, weight: fx.Node, bias: fx.Node | None, stride: Sequence[int],
            padding: Sequence[int], dilation: Sequence[int], groups: int) -> fx.Node:
    return call.emit(aten.conv2d.default, x, weight, bias, pair(stride), pair(padding), pair(dilation), groups)


def _conv1d(call: Call, x: fx.Node, weight: fx.Node, bias: fx.Node | None, stride: Sequence[int],
            padding: Sequence[int], dilation: Sequence[int], groups: int) -> fx.Node:
    """A 2-D convolution over one row."""
    row = call.emit(aten.unsqueeze.default, x, 2)
    kernel = call.emit(aten.unsqueeze.default, weight, 2)
    result = call.emit(aten.conv2d.default, row, kernel, bias, [1, *stride], [0, *padding], [1, *dilation], groups)
    return call.emit(aten.squeeze.dims, result, [2])


def _convolution(call: Call, x: fx.Node, padding: Sequence[int]) -> fx.Node:
    arguments = (x, call["weight"], call["bias"], call["stride"], padding, call["dilation"], call["groups"])
    rank = rank_of(call["weight"])
    if rank_of(x) != rank or rank not in (3, 4):
        return call.keep()
    return (_conv2d if rank == 4 else _conv1d)(call, *arguments)


@canonical_form("conv2d.default", "conv1d.default")
def convolution_of_fixed_rank(call: Call) -> fx.Node:
    """Every argument given, two numbers each."""
    return _convolution(call, call["input"], call["padding"])


@canonical_form("convolution.default", "_convolution.default", "_convolution.deprecated")
def convolution(call: Call) -> fx.Node:
    """The general convolution, when it is not transposed."""
    if call["transposed"] or any(call["output_padding"]):
        return call.keep()
    return _convolution(call, call["input"], call["padding"])


@canonical_form("conv2d.padding", "conv1d.padding")
def convolution_with_named_padding(call: Call) -> fx.Node:
    """``valid``: none. ``same``: dilation * (kernel - 1) in all, and the odd one after the input, as torch does."""
    x, kernel = call["input"], shape_of(call["weight"])[2:]
    if call["padding"] == "valid":
        return _convolution(call, x, [0] * len(kernel))
    dilation = list(call["dilation"]) * (len(kernel) if len(call["dilation"]) == 1 else 1)
    totals = [step * (extent - 1) for step, extent in zip(dilation, kernel, strict=True)]
    if any(total % 2 for total in totals):
        amounts = [amount for total in reversed(totals) for amount in (0, total % 2)]
        x = call.emit(aten.constant_pad_nd.default, x, amounts, 0.0)
    return _convolution(call, x, [total // 2 for total in totals])


@canonical_form("linear.default")
def linear(call: Call) -> fx.Node:
    """x * W^T + b over the last axis."""
    weight, bias = call["weight"], call["bias"]
    if rank_of(weight) == 1:
        return call.keep()
    return call.emit(aten.linear.default, call["input"], weight, bias)


@canonical_form("addmm.default")
def addmm(call: Call) -> fx.Node:
    """bias + x * W for a constant W."""
    bias, weight = call["self"], call["mat2"]
    if call["beta"] != 1 or call["alpha"] != 1 or not (is_constant(weight) and is_constant(bias)):
        return call.keep()
    transposed = permuted(call, weight, [1, 0])
    if shape_of(bias) == (shape_of(weight)[1],):
        return call.emit(aten.linear.default, call["mat1"], transposed, bias)
    return call.emit(aten.add.Tensor, call.emit(aten.linear.default, call["mat1"], transposed, None), bias)


@canonical_form("matmul.default", "mm.default", "mv.default")
def matmul(call: Call) -> fx.Node:
    """x * W for a constant matrix or vector W and a computed x."""
    x, weight = call.args
    if is_constant(x) or not is_constant(weight) or rank_of(weight) not in (1, 2) or rank_of(x) < 2:
        return call.keep()
    if rank_of(weight) == 2:
        return call.emit(aten.linear.default, x, permuted(call, weight, [1, 0]), None)
    product = call.emit(aten.linear.default, x, call.emit(aten.reshape.default, weight, [1, -1]), None)
    return call.emit(aten.squeeze.dims, product, [rank_of(x) - 1])
