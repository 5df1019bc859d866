"""What is proven about one column of a tensor: elements of one index on the last axis, such as the ids of detections.

The value range of a node covers all its elements; detections mix ids, scores and coordinates in one tensor. Here the
one column is followed back through the operators that keep it apart.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from torch import fx

from mrt_torch.cvm.analysis import call_of, constant_of
from mrt_torch.cvm.interval import Interval
from mrt_torch.cvm.movement import slice_bounds
from mrt_torch.cvm.operator import OPERATORS, Call, Operand
from mrt_torch.cvm.shape_rules import normal_axis
from mrt_torch.graph.editor import shape_of
from mrt_torch.graph.facts import facts_of

# Longer chains are not followed: what is known of the whole tensor then has to do.
LONGEST_CHAIN = 64
ELEMENT_WISE = frozenset({
    "relu", "abs", "negative", "cvm_precision", "clip", "cvm_clip", "cvm_right_shift", "cvm_left_shift",
    "elemwise_add", "elemwise_sub", "broadcast_add", "broadcast_sub", "broadcast_mul", "broadcast_div",
    "broadcast_max", "broadcast_greater", "where"})
# These keep rows whole wherever they keep the extent of the last axis.
ROW_MAJOR = frozenset({"reshape", "flatten", "squeeze", "expand_dims"})


def column_range(node: fx.Node, column: int) -> Interval:
    """Interval that contains every element of ``node`` whose index on the last axis is ``column``.

    Never wider than the node's own value range, which its facts must have.
    """
    return _Columns().range_of(node, column, LONGEST_CHAIN)


def common_producer(first: fx.Node, first_output: int, second: fx.Node, second_output: int,
                    target: Callable[..., Any]) -> fx.Node | None:
    """The node of ``target`` of which two nodes are the given outputs; None where they are not."""
    if first.target is not operator.getitem or second.target is not operator.getitem:
        return None
    source = first.args[0]
    same = source is second.args[0] and (first.args[1], second.args[1]) == (first_output, second_output)
    return source if same and source.target is target else None


def readers(node: fx.Node) -> set[fx.Node]:
    """All nodes that read a value, also by another getitem of the same output."""
    alike = [node]
    if node.target is operator.getitem:
        alike = [user for user in node.args[0].users if user.target is operator.getitem and user.args == node.args]
    return {user for one in alike for user in one.users}


class _Columns:
    def __init__(self):
        self._known: dict[tuple[fx.Node, int], Interval] = {}

    def range_of(self, node: fx.Node, column: int, steps: int) -> Interval:
        key = (node, column)
        if key not in self._known:
            whole = facts_of(node).value_range
            followed = self._follow(node, column, steps - 1) if steps else whole
            self._known[key] = followed if whole.contains(followed) else whole
        return self._known[key]

    def _follow(self, node: fx.Node, column: int, steps: int) -> Interval:
        whole = facts_of(node).value_range
        if node.op == "get_attr":
            return Interval.of_tensor(constant_of(node)[..., column])
        row = OPERATORS.of_target(node.target) if node.op == "call_function" else None
        if row is None or row.outputs > 1:
            return whole
        if row.name in ELEMENT_WISE:
            _, call = call_of(node)
            operands = tuple(self._column_of(operand, known, node, column, steps)
                             for operand, known in zip(node.args, call.operands, strict=True))
            return row.value_range(Call(operands, call.attributes, call.output_shape))
        source = node.args[0]
        if row.name == "concatenate":
            return self._concatenated(source, node, column, steps)
        if not _keeps_rows(row.name, node, source):
            if row.name != "strided_slice":
                return whole
            last = len(shape_of(source)) - 1
            first, step, _ = slice_bounds(shape_of(source)[last], last, **{
                name: node.kwargs[name] for name in ("begin", "end", "stride")})
            column = first + column * step
        return self.range_of(source, column, steps)

    def _column_of(self, operand: fx.Node, known: Operand, node: fx.Node, column: int, steps: int) -> Operand:
        extents = shape_of(operand)[-1], shape_of(node)[-1]
        values = self.range_of(operand, column if extents[0] == extents[1] else 0, steps)
        return Operand(known.shape, known.precision, values)

    def _concatenated(self, parts: list[fx.Node], node: fx.Node, column: int, steps: int) -> Interval:
        rank = len(shape_of(node))
        if normal_axis(node.kwargs["axis"], rank) != rank - 1:
            return Interval.hull(self.range_of(part, column, steps) for part in parts)
        for part in parts:
            if column < shape_of(part)[-1]:
                return self.range_of(part, column, steps)
            column -= shape_of(part)[-1]
        raise AssertionError("the column is beyond the last part")


def _keeps_rows(name: str, node: fx.Node, source: fx.Node) -> bool:
    """Whether every row of the node is a row of its source: column c is column c."""
    before, after = shape_of(source), shape_of(node)
    if name in ROW_MAJOR:
        return before[-1] == after[-1]
    rank = len(before)
    if name == "transpose":
        axes = node.kwargs["axes"]
        return rank == 1 or (bool(axes) and axes[-1] % rank == rank - 1)
    if name == "repeat":
        return normal_axis(node.kwargs["axis"], rank) != rank - 1
    if name == "tile":
        return node.kwargs["reps"][-1] == 1
    return name == "slice_like"
