"""In-place operators of an exported program, as a graph without side effects has to see them."""

from __future__ import annotations

import operator
from collections.abc import Callable

import torch
from torch import fx

from mrt_torch.errors import UnsupportedOperatorError
from mrt_torch.graph.canonical_forms.identity import DROPOUTS
from mrt_torch.graph.canonical_forms.shape import permutation
from mrt_torch.graph.canonical_forms.slicing import SPLITS, bounds, part
from mrt_torch.graph.editor import shape_of
from mrt_torch.graph.facts import describe
from mrt_torch.graph.source_call import Call, Value, aten, permuted

# In-place operators that change the shape of their input, or what is known of it, and leave its elements alone.
RESHAPE_IN_PLACE = ("squeeze_", "unsqueeze_", "transpose_", "t_", "swapaxes_", "swapdims_", "detach_")


def _writing_name(target: Callable) -> str | None:
    """``relu_`` for an operator that changes an argument; None for others."""
    if not isinstance(target, torch._ops.OpOverload):
        return None
    changes = any(argument.alias_info is not None and argument.alias_info.is_write
                  for argument in target._schema.arguments)
    return target._schema.name.split("::")[1] if changes else None


def written_argument(node: fx.Node) -> fx.Node | None:
    """The input whose elements an operator overwrites; None when it overwrites none.

    Raises:
        UnsupportedOperatorError: it overwrites several.
    """
    if _writing_name(node.target) in (None, *RESHAPE_IN_PLACE):
        return None
    written = [node.args[position] if position < len(node.args) else node.kwargs.get(argument.name)
               for position, argument in enumerate(node.target._schema.arguments)
               if argument.alias_info is not None and argument.alias_info.is_write]
    if len(written) > 1 or not isinstance(written[0], fx.Node):
        raise UnsupportedOperatorError(f"{node.target} writes into several tensors", where=describe(node),
                                       remedy="use its form that returns new tensors")
    return written[0]


def functional_target(node: fx.Node) -> Callable:
    """The operator that returns what ``node``'s leaves in its input: same arguments, no underscore at the end.

    Raises:
        UnsupportedOperatorError: there is none.
    """
    name = _writing_name(node.target)
    if name is None:
        return node.target
    packet = getattr(getattr(torch.ops, node.target.namespace), name.removesuffix("_"), None)
    if packet is not None and name.endswith("_"):
        for overload in packet.overloads():
            twin = getattr(packet, overload)
            if _same_arguments(twin, node.target):
                return twin
    raise UnsupportedOperatorError(
        f"{node.target} works in place and has no form that returns a new tensor", where=describe(node),
        remedy="write the model without it, or split the model before it (Model.split)")


def _same_arguments(twin: torch._ops.OpOverload, target: torch._ops.OpOverload) -> bool:
    """True for the same types and defaults, and the same names but for the first: some twins call it ``input``."""
    kinds = [[(str(argument.type), argument.name if position else "", argument.default_value)
              for position, argument in enumerate(overload._schema.arguments)] for overload in (twin, target)]
    return kinds[0] == kinds[1] and _writing_name(twin) is None


def _storages(node: fx.Node) -> set[int]:
    value = node.meta.get("val")
    values = value if isinstance(value, (tuple, list)) else [value]
    return {item.untyped_storage()._cdata for item in values if isinstance(item, torch.Tensor)}


def viewed_argument(node: fx.Node) -> fx.Node | None:
    """The input whose elements the result shares, as the fake tensors of the export tell; None for new elements.

    Whether ``contiguous`` or ``reshape`` copies may depend on the batch: batches of two and more count.
    """
    if str(node.target).removeprefix("aten.").replace("_.", ".") in DROPOUTS:
        return node.args[0]  # returned as it is in evaluation
    mine = _storages(node)
    return next((source for source in node.all_input_nodes if mine & _storages(source)), None)


class Values:
    """What every node of the exported program holds at this moment, as nodes of the new graph.

    A node shares the elements of its parent, or owns its own. A write replaces the owner's value and makes a newer
    version; a node read at an older version is converted again from its parent. So every alias sees every write,
    whatever the order.
    """

    def __init__(self, convert: Callable[[fx.Node], Value]):
        self._convert = convert
        self._values: dict[fx.Node, Value] = {}
        self._parents: dict[fx.Node, tuple[fx.Node, bool]] = {}
        self._versions: dict[fx.Node, int] = {}
        self._seen: dict[fx.Node, int] = {}

    def owner(self, node: fx.Node) -> fx.Node:
        """The node whose elements ``node`` shows."""
        while node in self._parents:
            node = self._parents[node][0]
        return node

    def define(self, node: fx.Node, value: Value) -> None:
        """A node with elements of its own."""
        self._values[node] = value
        self._versions[node] = self._seen[node] = 0

    def define_later(self, node: fx.Node) -> None:
        """A node with elements of its own that is converted when it is first read."""
        self._versions[node], self._seen[node] = 0, -1

    def define_view(self, node: fx.Node, parent: fx.Node, value: Value) -> None:
        """A node that shows elements of ``parent`` through its operator."""
        self._parents[node] = parent, False
        self._remember(node, value)

    def define_same(self, node: fx.Node, parent: fx.Node) -> None:
        """A node that is ``parent`` by another name."""
        self._parents[node] = parent, True
        self._remember(node, self.read(parent))

    def _remember(self, node: fx.Node, value: Value) -> None:
        self._values[node] = value
        self._seen[node] = self._versions[self.owner(node)]

    def read(self, node: fx.Node) -> Value:
        """What the node holds now."""
        if self._seen[node] != self._versions[self.owner(node)]:
            parent, same = self._parents.get(node, (None, False))
            self._remember(node, self.read(parent) if same else self._convert(node))
        return self._values[node]

    def write(self, node: fx.Node, value: Value, call_of: Callable[[fx.Node], Call]) -> None:
        """Overwrite what the node shows.

        Raises:
            UnsupportedOperatorError: it is a view that cannot be written back into its tensor.
        """
        if node not in self._parents:
            self._versions[node] += 1
        else:
            parent, same = self._parents[node]
            before = self.read(parent)
            self.write(parent, value if same else write_back(call_of(node), before, value), call_of)
        self._remember(node, value)


def write_back(call: Call, before: Value, value: Value) -> Value:
    """The tensor ``before`` a view was taken of, with the view's elements replaced by ``value``.

    Raises:
        UnsupportedOperatorError: the view has no simple inverse.
    """
    name = str(call.target).removeprefix("aten.")
    if call.target is operator.getitem:
        return tuple(value if index == call.args[1] else item for index, item in enumerate(before)) \
            if isinstance(before, tuple) else _refuse(call)
    axes = permutation(call) if name.startswith(_MOVES) else None
    if axes is not None:
        return permuted(call, value, [axes.index(axis) for axis in range(len(axes))])
    if name in ("slice.Tensor", "select.int", "narrow.default"):
        return _write_slice(call, before, value, drops_axis=name == "select.int")
    if name in SPLITS or name == "unbind.int":
        axis = call["dim"] % len(shape_of(before))
        parts = [call.emit(aten.unsqueeze.default, item, axis) for item in value] if name == "unbind.int" else value
        return call.emit(aten.cat.default, list(parts), axis)
    if shape_of(value) == shape_of(before):
        return value if name in _SAME_ELEMENTS or name in DROPOUTS or name.startswith(_SHAPES) else _refuse(call)
    if name.startswith(_SHAPES):
        target = call.batch.target_shape(call.node, call.source("self").meta["val"].shape,
                                         call.node.meta["val"].shape)
        return _refuse(call) if target is None else call.emit(aten.reshape.default, value, target)
    return _refuse(call)


_MOVES = ("permute.", "transpose.", "swapaxes.", "swapdims.", "numpy_T.", "t.", "mT.", "movedim.", "moveaxis.")
_SHAPES = ("view.default", "_unsafe_view.", "reshape.", "flatten.", "unflatten.", "squeeze.", "unsqueeze.", "view_as.",
           "reshape_as.", "ravel.")
_SAME_ELEMENTS = ("alias.default", "contiguous.default", "detach.default", "detach_.default", "to.dtype", "to.device",
                  "to.dtype_layout", "to.other", "type_as.default", "expand.default", "positive.default",
                  "lift_fresh.default")


def _write_slice(call: Call, before: fx.Node, value: fx.Node, drops_axis: bool) -> fx.Node:
    limits = bounds(call)
    if limits is None or limits[3] != 1:
        return _refuse(call)
    axis, start, end, _ = limits
    extent = shape_of(before)[axis]
    if drops_axis:
        value = call.emit(aten.unsqueeze.default, value, axis)
    parts = [part(call, before, axis, 0, start)] if start else []
    parts += [value] + ([part(call, before, axis, end, extent)] if end < extent else [])
    return call.emit(aten.cat.default, parts, axis) if len(parts) > 1 else value


def _refuse(call: Call) -> Value:
    raise UnsupportedOperatorError(
        "a part of a tensor is overwritten in place", where=describe(call.node),
        why=f"what is written through {call.target} cannot be put back into the tensor it was taken of",
        remedy="build the tensor with torch.cat or torch.where instead of assigning to a part of it")
