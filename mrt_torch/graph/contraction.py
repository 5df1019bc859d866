"""Products of two tensors summed over shared axes, written as one batched matrix product."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import fx

from mrt_torch.graph.editor import shape_of
from mrt_torch.graph.free_axis import free_axis

aten = torch.ops.aten
Emit = Callable[..., fx.Node]
SWAP = [0, 2, 1]


def is_constant(node: fx.Node) -> bool:
    """True for a value computed from parameters alone."""
    return node.op == "get_attr" or (node.op == "call_function" and bool(node.all_input_nodes)
                                     and all(is_constant(source) for source in node.all_input_nodes))


def contract(emit: Emit, left: fx.Node, right: fx.Node, left_axes: Sequence[str], right_axes: Sequence[str],
             result_axes: Sequence[str]) -> fx.Node:
    """``result[...] = sum(left[...] * right[...])`` in Einstein's notation, with the batch left free.

    Axes of both operands are kept, as batches, where the result has them, and summed over elsewhere. The product is
    ``aten.bmm(left (B, M, K), permute(right (B, N, K)))``; without batches and with one operand constant it is an
    ``aten.linear``.

    Args:
        emit: writes a node: (target, *arguments).
        left, right: the operands.
        left_axes, right_axes, result_axes: a label for each axis, none twice in one of them. An axis of both operands
            has one extent. Each axis of the result is one of an operand.
    """
    left, left_axes = _summed(emit, left, left_axes, [*right_axes, *result_axes])
    right, right_axes = _summed(emit, right, right_axes, [*left_axes, *result_axes])
    shared = [axis for axis in left_axes if axis in right_axes]
    batch = [axis for axis in shared if axis in result_axes]
    inner = [axis for axis in shared if axis not in result_axes]
    if not batch and is_constant(left) and not is_constant(right):
        left, right, left_axes, right_axes = right, left, right_axes, left_axes
    rows, columns = ([axis for axis in axes if axis not in shared] for axes in (left_axes, right_axes))
    sizes = _sizes(left, left_axes) | _sizes(right, right_axes)
    free = {axes[free_axis(node)] for node, axes in ((left, left_axes), (right, right_axes))
            if free_axis(node) is not None}
    if len(free) == 1:  # no target of a reshape says that two axes follow the batch
        sizes[free.pop()] = -1
    first, second = _ordered(emit, left, left_axes, batch + rows + inner), _ordered(
        emit, right, right_axes, batch + columns + inner)
    if not batch and is_constant(right):
        first = _reshaped(emit, first, [*(sizes[axis] for axis in rows), _merged(sizes, inner)])
        product = emit(aten.linear.default, first,
                       _reshaped(emit, second, [_merged(sizes, columns), _merged(sizes, inner)]), None)
    else:
        first, second = (_reshaped(emit, node, [_merged(sizes, group) for group in (batch, outer, inner)])
                         for node, outer in ((first, rows), (second, columns)))
        product = emit(aten.bmm.default, first, emit(aten.permute.default, second, SWAP))
    order = batch + rows + columns
    return _ordered(emit, _reshaped(emit, product, [sizes[axis] for axis in order]), order, result_axes)


def matrix_product(emit: Emit, left: fx.Node, right: fx.Node) -> fx.Node:
    """``torch.matmul``: vectors, matrices and stacks of matrices whose leading axes broadcast."""
    left_axes, right_axes = ([*(f"batch {count - position}" for position in range(count)), *own] for count, own in (
        (max(len(shape_of(left)) - 2, 0), ["row", "inner"] if len(shape_of(left)) > 1 else ["inner"]),
        (max(len(shape_of(right)) - 2, 0), ["inner", "column"] if len(shape_of(right)) > 1 else ["inner"])))
    leading = left_axes[:-2] if len(left_axes) >= len(right_axes) else right_axes[:-2]
    result = leading + [axis for axis in ("row", "column") if axis in (*left_axes, *right_axes)]
    left, left_axes, right, right_axes = without_broadcast_axes(emit, left, left_axes, right, right_axes)
    return contract(emit, left, right, left_axes, right_axes, result)


def without_broadcast_axes(emit: Emit, left: fx.Node, left_axes: Sequence[str], right: fx.Node,
                           right_axes: Sequence[str]) -> tuple[fx.Node, list[str], fx.Node, list[str]]:
    """Both operands without the axes of extent 1 that the other one stretches."""
    nodes, axes = [left, right], [list(left_axes), list(right_axes)]
    for own, other in ((0, 1), (1, 0)):
        single = [axis for axis in axes[own] if axis in axes[other]
                  and _stretches(nodes[own], axes[own].index(axis), nodes[other], axes[other].index(axis))]
        if single:
            positions = [axes[own].index(axis) for axis in single]
            nodes[own] = emit(aten.squeeze.dims, nodes[own], positions)
            axes[own] = [axis for axis in axes[own] if axis not in single]
    return nodes[0], axes[0], nodes[1], axes[1]


def _stretches(node: fx.Node, axis: int, other: fx.Node, other_axis: int) -> bool:
    """Whether ``axis`` has extent 1 and the other operand's more, which the batch may have at another time."""
    if shape_of(node)[axis] != 1:
        return False
    return shape_of(other)[other_axis] != 1 or (free_axis(other) == other_axis and free_axis(node) != axis)


def _sizes(node: fx.Node, axes: Sequence[str]) -> dict[str, int]:
    return dict(zip(axes, shape_of(node), strict=True))


def _merged(sizes: dict[str, int], axes: Sequence[str]) -> int:
    """Extent of several axes as one: -1 where the batch is among them."""
    extents = [sizes[axis] for axis in axes]
    return -1 if -1 in extents else math.prod(extents)


def _summed(emit: Emit, node: fx.Node, axes: Sequence[str], needed: Sequence[str]) -> tuple[fx.Node, list[str]]:
    """The operand summed over the axes that nothing else has."""
    alone = [position for position, axis in enumerate(axes) if axis not in needed]
    if alone:
        node = emit(aten.sum.dim_IntList, node, alone, False)
    return node, [axis for axis in axes if axis in needed]


def _ordered(emit: Emit, node: fx.Node, axes: Sequence[str], wanted: Sequence[str]) -> fx.Node:
    order = [list(axes).index(axis) for axis in wanted]
    return node if order == sorted(order) else emit(aten.permute.default, node, order)


def _reshaped(emit: Emit, node: fx.Node, target: list[int]) -> fx.Node:
    shape = shape_of(node)
    same = len(shape) == len(target) and all(size in (-1, extent) for size, extent in zip(target, shape, strict=True))
    return node if same else emit(aten.reshape.default, node, target)
