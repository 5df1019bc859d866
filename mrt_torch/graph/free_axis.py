"""Which axis of each value follows the batch: found by computing shapes for another batch, never assumed.

The batch is axis 0 of the input unless the user marked another, as in ``prepare((38, -1))``. A value has one free axis
at most; operators may move it (transpose), merge it with others (reshape to (N * heads, T, C)) or drop it (a constant).
"""

from __future__ import annotations

import torch
from torch import fx

from mrt_torch.graph.editor import shape_of
from mrt_torch.graph.facts import facts_of
from mrt_torch.graph.shapes import value_for

OTHER = "mrt_other_batch"
_FIXED = object()  # the value of a node that refuses another batch


def free_axis(node: fx.Node) -> int | None:
    """Axis of the node's value whose extent follows the batch.

    None where the value does not depend on the batch, or where an operator before it, or the node itself, was written
    for one batch only: all its extents are fixed then.
    """
    other = _other_value(node)
    if not isinstance(other, torch.Tensor) or other.dim() != len(shape_of(node)):
        return None
    differing = [axis for axis, pair in enumerate(zip(shape_of(node), other.shape, strict=True)) if pair[0] != pair[1]]
    return differing[0] if differing else None


def free_shape(node: fx.Node) -> list[int]:
    """Shape of a node's value with -1 for its free axis: what a reshape that keeps the batch free is given."""
    axis = free_axis(node)
    return [-1 if position == axis else extent for position, extent in enumerate(shape_of(node))]


def is_batch_free(module: fx.GraphModule, on_any_axis: bool = False) -> bool:
    """True when the graph accepts another batch, and every output follows it on axis 0, or on that of an input.

    With ``on_any_axis`` outputs may follow it on any axis, as those of a lower half that ends behind a transpose.
    """
    inputs = [node for node in module.graph.nodes if node.op == "placeholder"]
    output = next((node for node in module.graph.nodes if node.op == "output"), None)
    if output is None or not inputs or not all(shape_of(node) for node in inputs):
        return False
    axes = None if on_any_axis else {0} | {facts_of(node).batch_axis for node in inputs}
    return all(_follows(node, axes) for node in output.all_input_nodes if shape_of(node))


def _follows(node: fx.Node, axes: set[int] | None) -> bool:
    other = _other_value(node)
    if not isinstance(other, torch.Tensor):
        return False
    shape = shape_of(node)
    differing = [axis for axis, pair in enumerate(zip(shape, other.shape, strict=True)) if pair[0] != pair[1]]
    allowed = len(differing) == 1 and (axes is None or differing[0] in axes)
    return allowed and other.shape[differing[0]] == 2 * shape[differing[0]]


def _other_value(node: fx.Node) -> object:
    """The node's value for twice the batch, computed once for each node and kept beside the value it belongs to."""
    pending = [node]
    while pending:
        current = pending[-1]
        missing = [source for source in current.all_input_nodes if not _is_known(source)]
        if missing:
            pending += missing
            continue
        if not _is_known(current):
            current.meta[OTHER] = (current.meta["val"], _compute(current))
        pending.pop()
    return node.meta[OTHER][1]


def _is_known(node: fx.Node) -> bool:
    return OTHER in node.meta and node.meta[OTHER][0] is node.meta["val"]


def _compute(node: fx.Node) -> object:
    value = node.meta["val"]
    if node.op == "placeholder":
        axis = facts_of(node).batch_axis
        shape = [2 * extent if position == axis else extent for position, extent in enumerate(value.shape)]
        return torch.empty(shape, dtype=value.dtype, device="meta")
    if node.op == "get_attr":
        return value
    if any(source.meta[OTHER][1] is _FIXED for source in node.all_input_nodes):
        return _FIXED
    try:
        return value_for(node, lambda source: source.meta[OTHER][1])
    except (RuntimeError, ValueError, IndexError, TypeError, ArithmeticError):
        return _FIXED
