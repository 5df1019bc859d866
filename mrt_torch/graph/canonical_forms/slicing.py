"""Parts of tensors, and tensors side by side."""

from __future__ import annotations

import operator
from itertools import accumulate

import torch
from torch import fx

from mrt_torch.graph.batch_axis import is_free
from mrt_torch.graph.canonical_forms.factory import is_zeros
from mrt_torch.graph.canonical_forms.shape import squeezed
from mrt_torch.graph.editor import shape_of
from mrt_torch.graph.source_call import Call, aten, canonical_form, rank_of

SPLITS = ("split.Tensor", "split.sizes", "split_with_sizes.default", "chunk.default", "tensor_split.sections",
          "tensor_split.indices", "unsafe_split.Tensor", "unsafe_split_with_sizes.default", "unsafe_chunk.default")


def part(call: Call, x: fx.Node, axis: int, start: int, end: int, step: int = 1) -> fx.Node:
    """A slice with explicit bounds; the input where it takes everything."""
    if (start, step) == (0, 1) and end == shape_of(x)[axis]:
        return x
    return call.emit(aten.slice.Tensor, x, axis, start, end, step)


def bounds(call: Call) -> tuple[int, int, int, int] | None:
    """Axis, start, end and step of a slice, narrow or select within its axis; None where it cuts the free batch."""
    name = str(call.target).removeprefix("aten.")
    axis = call["dim"] % rank_of(call["self"])
    extent = shape_of(call["self"])[axis]
    if call.is_free_axis("self", axis):
        whole = name == "slice.Tensor" and call.node.meta["val"].shape[axis] is not None \
            and _same_size(call.node.meta["val"].shape[axis], call.source("self").meta["val"].shape[axis])
        return (axis, 0, extent, 1) if whole else None
    if name == "select.int":
        return axis, call["index"] % extent, call["index"] % extent + 1, 1
    if name == "narrow.default":
        return axis, call["start"] % extent, call["start"] % extent + call["length"], 1
    limits = (call["start"], call["end"], call["step"])
    if not all(limit is None or isinstance(limit, int) for limit in limits):
        return None
    return axis, *slice(*limits).indices(extent)


def _same_size(size: torch.SymInt, other: torch.SymInt) -> bool:
    return is_free(size) and is_free(other) and size.node.expr == other.node.expr


@canonical_form("slice.Tensor", "narrow.default", "slice_copy.Tensor")
def take_slice(call: Call) -> fx.Node:
    """Part of one axis, with bounds within it."""
    limits = bounds(call)
    return call.keep() if limits is None else part(call, call["self"], *limits)


@canonical_form("select.int", "select_copy.int")
def select(call: Call) -> fx.Node:
    """One index of an axis, which disappears."""
    limits = bounds(call)
    if limits is None:
        return call.keep()
    return squeezed(call, part(call, call["self"], *limits), [limits[0]])


@canonical_form(*SPLITS)
def split(call: Call) -> fx.Node | tuple:
    """One slice for each part."""
    axis = call["dim"] % rank_of(call["self"])
    if call.is_free_axis("self", axis):
        return call.keep()
    extents = [call.batch.concrete(value.shape[axis], call.node) for value in call.node.meta["val"]]
    ends = list(accumulate(extents))
    return tuple(part(call, call["self"], axis, end - extent, end)
                 for end, extent in zip(ends, extents, strict=True))


@canonical_form("unbind.int")
def unbind(call: Call) -> fx.Node | tuple:
    """One slice for each index, without the axis."""
    axis = call["dim"] % rank_of(call["self"])
    if call.is_free_axis("self", axis):
        return call.keep()
    return tuple(squeezed(call, part(call, call["self"], axis, index, index + 1), [axis])
                 for index in range(shape_of(call["self"])[axis]))


def get_item(call: Call) -> fx.Node:
    """One output of an operator of several."""
    parts, index = call.args
    return call.emit(operator.getitem, parts, index) if isinstance(parts, fx.Node) else parts[index]


@canonical_form("cat.default", "concat.default", "concatenate.default")
def cat(call: Call) -> fx.Node:
    """Tensors one after another; zeros before and after the others become a padding.

    Tensors of shape (0,), which torch ignores, are left out.
    """
    nodes = [node for node in call.args[0] if shape_of(node) != (0,)]
    axis = call["dim"] % rank_of(nodes[0])
    begin, end = 0, len(nodes)
    fixed = not any(is_free(source.meta["val"].shape[axis]) for source in call.node.args[0]
                    if len(source.meta["val"].shape) > axis)
    while fixed and begin < end - 1 and is_zeros(call, nodes[begin]):
        begin += 1
    while fixed and end > begin + 1 and is_zeros(call, nodes[end - 1]):
        end -= 1
    inner = nodes[begin] if end - begin == 1 else call.emit(aten.cat.default, nodes[begin:end], axis)
    before, after = (sum(shape_of(node)[axis] for node in side) for side in (nodes[:begin], nodes[end:]))
    if not before and not after:
        return inner
    amounts = [0, 0] * (rank_of(inner) - 1 - axis) + [before, after]
    return call.emit(aten.constant_pad_nd.default, inner, amounts, 0.0)


@canonical_form("stack.default")
def stack(call: Call) -> fx.Node:
    """A new axis on each, then one after another."""
    axis = call["dim"] % (rank_of(call.args[0][0]) + 1)
    return call.emit(aten.cat.default, [call.emit(aten.unsqueeze.default, node, axis) for node in call.args[0]], axis)


@canonical_form("hstack.default", "dstack.default", "column_stack.default", "vstack.default", "row_stack.default")
def stack_rows(call: Call) -> fx.Node:
    """Tensors of axes enough are joined along the one the operator names; others stay."""
    axis = {"vstack": 0, "row_stack": 0, "dstack": 2}.get(call.target._opname, 1)
    if any(rank_of(node) < max(axis + 1, 2) for node in call.args[0]):
        return call.keep()
    return call.emit(aten.cat.default, list(call.args[0]), axis)


MODES = {"reflection_pad1d": "reflect", "reflection_pad2d": "reflect", "reflection_pad3d": "reflect",
         "replication_pad1d": "replicate", "replication_pad2d": "replicate", "replication_pad3d": "replicate",
         "_pad_circular": "circular"}


@canonical_form("constant_pad_nd.default", "pad.default", *(f"{name}.default" for name in MODES))
def pad(call: Call) -> fx.Node:
    """A constant around axes, or another border by its mode."""
    name = call.target._opname
    amounts = list(call["padding" if name.startswith("re") else "pad"])
    if not all(isinstance(amount, int) for amount in amounts):
        return call.keep()
    if not any(amounts):
        return call["self"]
    mode = MODES.get(name) or ("constant" if name == "constant_pad_nd" else call["mode"])
    if mode != "constant":
        return call.emit(aten.pad.default, call["self"], amounts, mode)
    value = call["value"]
    return call.emit(aten.constant_pad_nd.default, call["self"], amounts, 0.0 if value is None else value)
