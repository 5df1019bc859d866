"""Arithmetic of two tensors, or of a tensor and a number."""

from __future__ import annotations

from typing import Any

import torch
from torch import fx

from mrt_torch.graph.batch_axis import SymbolicSize
from mrt_torch.graph.editor import shape_of
from mrt_torch.graph.source_call import Call, aten, canonical_form, rank_of

EXPANSIONS = (aten.expand.default, aten.expand_as.default, aten.broadcast_to.default)


def _number(call: Call, operand: Any, other: Any) -> Any:
    """The operand as a number: a literal, a size, or a constant without axes beside a tensor with some."""
    if isinstance(operand, (int, float, SymbolicSize)):
        return operand
    tensor = call.constant_tensor(operand)
    if tensor is None or tensor.dim() or tensor.dtype is torch.bool or not isinstance(other, fx.Node):
        return None
    changes_dtype = tensor.is_floating_point() and not other.meta["val"].is_floating_point()
    return None if not rank_of(other) or changes_dtype else tensor.item()


def _operand(call: Call, node: fx.Node, other: fx.Node) -> fx.Node:
    """What the operator should read: constants in the dtype of the result, and no expansion that broadcasting does."""
    expansions = (*EXPANSIONS, torch.ops.mrt.broadcast_like.default)
    while node.target in expansions and _broadcasts_alike(node.args[0], node, other):
        node = node.args[0]
    tensor, dtype = call.constant_tensor(node), call.node.meta["val"].dtype
    if tensor is not None and tensor.dtype != dtype and dtype.is_floating_point:
        return call.editor.constant(f"{node.target}_{dtype}".replace("torch.", ""), tensor.to(dtype))
    return node


def _broadcasts_alike(before: fx.Node, expanded: fx.Node, other: fx.Node) -> bool:
    result = torch.broadcast_shapes(shape_of(expanded), shape_of(other))
    return torch.broadcast_shapes(shape_of(before), shape_of(other)) == result


def _binary(call: Call, target: Any, left: fx.Node, right: fx.Node) -> fx.Node:
    return call.emit(target, _operand(call, left, right), _operand(call, right, left))


def _scaled(call: Call, operand: Any, factor: Any) -> Any:
    if not isinstance(operand, fx.Node):
        return operand * factor if factor != 1 else operand
    return operand if factor == 1 else call.emit(aten.mul.Scalar, operand, factor)


def _scalable(call: Call, alpha: Any, *operands: Any) -> bool:
    """False for numbers that no scalar operator takes: complex ones, and sizes times alpha."""
    sizes = any(isinstance(operand, SymbolicSize) for operand in (alpha, *operands))
    return not (sizes and alpha != 1) and not any(isinstance(v, complex) for v in (alpha, *operands))


@canonical_form("add.Tensor", "add.Scalar")
def add(call: Call) -> fx.Node:
    """x + alpha * y."""
    left, right, alpha = call["self"], call["other"], call["alpha"]
    if call.node.meta["val"].dtype is torch.bool and isinstance(right, fx.Node):
        return call.emit(aten.logical_or.default, left, right)  # the sum of truth values
    if not _scalable(call, alpha, left, right):
        return call.keep()
    number = _number(call, right, left)
    if number is not None:
        return call.emit(aten.add.Scalar, left, _scaled(call, number, alpha))
    right = _scaled(call, right, alpha)
    number = _number(call, left, right)
    return call.emit(aten.add.Scalar, right, number) if number is not None \
        else _binary(call, aten.add.Tensor, left, right)


def _subtract(call: Call, left: Any, right: Any, alpha: Any) -> fx.Node:
    if not _scalable(call, alpha, left, right):
        return call.keep()
    number = _number(call, right, left)
    if number is not None:
        return call.emit(aten.sub.Scalar, left, _scaled(call, number, alpha))
    right = _scaled(call, right, alpha)
    number = _number(call, left, right)
    return call.emit(aten.rsub.Scalar, right, number) if number is not None \
        else _binary(call, aten.sub.Tensor, left, right)


@canonical_form("sub.Tensor", "sub.Scalar", "subtract.Tensor", "subtract.Scalar")
def sub(call: Call) -> fx.Node:
    """x - alpha * y."""
    return _subtract(call, call["self"], call["other"], call["alpha"])


@canonical_form("rsub.Tensor", "rsub.Scalar")
def rsub(call: Call) -> fx.Node:
    """y - alpha * x."""
    return _subtract(call, call["other"], call["self"], call["alpha"])


@canonical_form("mul.Tensor", "mul.Scalar", "multiply.Tensor", "multiply.Scalar")
def mul(call: Call) -> fx.Node:
    """x * y."""
    left, right = call["self"], call["other"]
    for operand, other in ((right, left), (left, right)):
        number = _number(call, operand, other)
        if number is not None:
            return call.emit(aten.mul.Scalar, other, number)
    return _binary(call, aten.mul.Tensor, left, right) if isinstance(right, fx.Node) else call.keep()


@canonical_form("div.Tensor", "div.Scalar", "divide.Tensor", "divide.Scalar", "true_divide.Tensor",
                "true_divide.Scalar")
def div(call: Call) -> fx.Node:
    """x / y."""
    left, right = call["self"], call["other"]
    number = _number(call, right, left)
    if number is not None:
        return call.emit(aten.div.Scalar, left, number)
    return _binary(call, aten.div.Tensor, left, right) if isinstance(right, fx.Node) else call.keep()


@canonical_form("maximum.default", "max.other", "fmax.default")
def maximum(call: Call) -> fx.Node:
    """max(x, y)."""
    return _binary(call, aten.maximum.default, call["self"], call["other"])


@canonical_form("minimum.default", "min.other", "fmin.default")
def minimum(call: Call) -> fx.Node:
    """min(x, y)."""
    return _binary(call, aten.minimum.default, call["self"], call["other"])


@canonical_form("negative.default")
def negative(call: Call) -> fx.Node:
    """-x."""
    return call.emit(aten.neg.default, call["self"])


@canonical_form("absolute.default")
def absolute(call: Call) -> fx.Node:
    """|x|."""
    return call.emit(aten.abs.default, call["self"])


@canonical_form("square.default")
def square(call: Call) -> fx.Node:
    """x * x."""
    return call.emit(aten.mul.Tensor, call["self"], call["self"])


@canonical_form("pow.Tensor_Scalar")
def power(call: Call) -> fx.Node:
    """x ** n for n = 1 and n = 2."""
    x, exponent = call["self"], call["exponent"]
    if call.node.meta["val"].dtype == x.meta["val"].dtype:
        if exponent == 1:
            return x
        if exponent == 2:
            return call.emit(aten.mul.Tensor, x, x)
    return call.keep()
