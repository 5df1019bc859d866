"""Cuts a float graph in two, and joins a quantized lower half with a float upper half again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import fx

from mrt_torch.errors import InvalidArgumentError
from mrt_torch.graph.editor import (
    INHERITED_META,
    GraphEditor,
    empty_graph_module,
    input_nodes,
    output_nodes,
    shape_of,
    tensor_of,
)
from mrt_torch.graph.facts import set_facts, source_name
from mrt_torch.graph.free_axis import free_axis, free_shape
from mrt_torch.graph.runner import copy_graph_module, finish
from mrt_torch.graph.stage import Stage
from mrt_torch.ops.likeness import BROADCAST_LIKE, BroadcastLike, ReshapeLike, SliceLike
from mrt_torch.ops.registry import TRANSFORMERS, apply_pass
from mrt_torch.passes.names import claim_name

SHAPE_READERS = (BroadcastLike, ReshapeLike, SliceLike)
MergeCallback = Callable[[fx.Node, fx.GraphModule], fx.Node | None]


def find_node(module: fx.GraphModule, name: str) -> fx.Node:
    """The node a user names by its name in the model, or in the graph; the last of several with one source.

    Raises:
        InvalidArgumentError: there is none.
    """
    found = [n for n in module.graph.nodes if n.op in ("call_function", "placeholder") and n.name == name] or \
            [n for n in module.graph.nodes if n.op in ("call_function", "placeholder") and source_name(n) == name]
    if not found:
        raise InvalidArgumentError(f"the graph has no node '{name}'",
                                   remedy="names are listed by Model.names() and by 'mrt-torch inspect'")
    return found[-1]


def find_keys(module: fx.GraphModule, keys: Sequence[str]) -> list[fx.Node]:
    """The nodes that keys name, in the order they run; the name of an operator of several outputs means all of them.

    Raises:
        InvalidArgumentError: a key is no node, or none is given, or one is named twice.
    """
    outputs: dict[str, dict[str, fx.Node]] = {}
    for node in module.graph.nodes:
        operator, _, index = source_name(node).rpartition("_output")
        if operator and index.isdecimal():
            outputs.setdefault(operator, {})[index] = node  # the last of several with one source, as in find_node
    wanted = [node for key in keys for node in (outputs[key].values() if key in outputs else [find_node(module, key)])]
    if not wanted or len(set(wanted)) != len(wanted):
        raise InvalidArgumentError("split takes distinct node names", why=f"saw {list(keys)}",
                                   remedy="name each node once, and at least one")
    return [node for node in module.graph.nodes if node in set(wanted)]


def split(module: fx.GraphModule, keys: Sequence[str], stage: Stage) -> tuple[fx.GraphModule, fx.GraphModule]:
    """Base and top of a graph: base returns the key nodes, top takes them as inputs of the same names.

    The outputs of base come in topological order, whatever the order of ``keys``. They keep the names of the key nodes
    also where preparation makes something else of these. A key may be an output of the graph, or lie above another.

    Raises:
        InvalidArgumentError: a key is no node, is given twice, or top would still need an input of the whole graph.
    """
    order = [node.name for node in find_keys(module, keys)]
    base, top = copy_graph_module(module), copy_graph_module(module)
    by_name = {node.name: node for node in base.graph.nodes}
    base_output = next(node for node in base.graph.nodes if node.op == "output")
    base_output.args = (tuple(by_name[name] for name in order),)
    sources = [source_name(by_name[name]) for name in order]
    set_facts(base_output, output_names=tuple(
        name if sources.count(source) > 1 else source for name, source in zip(order, sources, strict=True)))
    erase_unread(base.graph)
    finish(base, stage)
    _cut_top(top, order, stage)
    return base, top


def _cut_top(top: fx.GraphModule, order: Sequence[str], stage: Stage) -> None:
    by_name = {node.name: node for node in top.graph.nodes}
    editor, old_inputs = GraphEditor(top), [node for node in top.graph.nodes if node.op == "placeholder"]
    first, keys = next(iter(top.graph.nodes)), []
    for name in order:
        old = by_name[name]
        with editor.before(first):
            new = editor.input(source_name(old), shape_of(old), old.meta["val"].dtype)
        set_facts(new, batch_axis=free_axis(old) or 0)
        old.replace_all_uses_with(new)
        claim_name(new, name)
        new.target = name
        keys.append(new)
    settle_shapes(editor)
    _take_batch_of(keys, editor)
    erase_unread(top.graph)
    for node in old_inputs:
        if node.users:
            raise InvalidArgumentError("the keys do not cut the graph in two", where=f"input '{source_name(node)}'",
                                       why="the top half still reads it",
                                       remedy="add the branches that bypass the keys")
        top.graph.erase_node(node)
    finish(top, stage)


def only_takes_batch(node: fx.Node) -> bool:
    """Whether a node repeats its first argument as often as the batch of the other is long: any key can tell that.

    Such are the zeros from which a recurrent layer starts.
    """
    if node.target not in TRANSFORMERS or not isinstance(TRANSFORMERS[node.target], BroadcastLike):
        return False
    return len(shape_of(node.args[0])) == len(shape_of(node)) and free_axis(node) is not None \
        and free_axis(node.args[0]) is None


def _take_batch_of(keys: Sequence[fx.Node], editor: GraphEditor) -> None:
    """What only takes the batch of a value below the keys takes that of a key."""
    for node in list(editor.graph.nodes):
        if node.op != "call_function" or not only_takes_batch(node):
            continue
        axis = free_axis(node)
        like = next(((key, free_axis(key)) for key in keys if free_axis(key) is not None
                     and shape_of(key)[free_axis(key)] == shape_of(node)[axis]), None)
        if like is not None and shape_of(node.args[0])[axis] == 1:
            with editor.before(node):
                repeated = editor.call(BROADCAST_LIKE, node.args[0], like[0], [axis], [like[1]])
                if shape_of(repeated) != shape_of(node):
                    repeated = editor.call(torch.ops.aten.expand.default, repeated, free_shape(node))
            editor.replace(node, repeated)


def erase_unread(graph: fx.Graph) -> None:
    """Erase what no output depends on, also operators that may be random, as recurrent layers, which fx would keep."""
    for node in reversed(list(graph.nodes)):
        if node.op not in ("placeholder", "output") and not node.users:
            graph.erase_node(node)


def settle_shapes(editor: GraphEditor) -> None:
    """Operators that only ask another tensor for its shape no longer do where that is fixed, as those of anchors.

    They would tie top to the inputs of the whole graph.
    """
    for node in list(editor.graph.nodes):
        if node.target in TRANSFORMERS and isinstance(TRANSFORMERS[node.target], SHAPE_READERS):
            with editor.before(node):
                replacement = apply_pass("rewrite", node, editor=editor)
            if replacement is not node:
                editor.replace(node, replacement)


def merge(base: fx.GraphModule, scales: Mapping[str, float], top: fx.GraphModule,
          callback: MergeCallback | None = None) -> fx.GraphModule:
    """One graph: integer base, its outputs divided by their scales, float top.

    Args:
        base: integer graph.
        scales: scale of the base output that feeds each input of top, by the name of that input, in output order.
        top: float graph whose inputs are keys of ``scales``.
        callback: called with every node of top as copied and the merged module; what it returns replaces the node.

    Raises:
        InvalidArgumentError: top has an input that base does not give.
    """
    merged = empty_graph_module()
    editor = GraphEditor(merged)
    copies = copy_nodes(base, editor, {})
    given, numbers = feeding_outputs(base, scales, top), {}
    for node in input_nodes(top.graph):
        output, scale = given[node.name]
        number = editor.call(torch.ops.mrt.dequantize.default, copies[output], scale)
        dtype = node.meta["val"].dtype  # truth values and indices are no floats
        if not dtype.is_floating_point:
            number = editor.call(torch.ops.aten._to_copy.default, number, dtype=dtype)
        set_facts(number, source_name=source_name(node))  # it may be an output of the merged graph
        numbers[node] = number
    copies = copy_nodes(top, editor, numbers, callback)
    editor.output([copies[node] for node in output_nodes(top.graph)])
    finish(merged, Stage.RESTORED)
    return merged


def feeding_outputs(base: fx.GraphModule, scales: Mapping[str, float], top: fx.GraphModule
                    ) -> dict[str, tuple[fx.Node, float]]:
    """By name of each input of top: the output of base that feeds it, and its scale. Arguments as for ``merge``.

    Raises:
        InvalidArgumentError: top has an input that base does not give.
    """
    given = dict(zip(scales, zip(output_nodes(base.graph), scales.values(), strict=True), strict=True))
    missing = next((node for node in input_nodes(top.graph) if node.name not in given), None)
    if missing is not None:
        raise InvalidArgumentError(f"the base gives no '{source_name(missing)}'", why=f"it gives {list(given)}",
                                   remedy="merge halves of the same split, with the maps of its MRT")
    return {node.name: given[node.name] for node in input_nodes(top.graph)}


def copy_nodes(module: fx.GraphModule, editor: GraphEditor, copies: dict[fx.Node, fx.Node],
               callback: MergeCallback | None = None) -> dict[fx.Node, fx.Node]:
    """Write the nodes of a graph, but its output, after those of ``editor``; returns the copy of each.

    ``copies`` are those that exist already, and are filled. ``callback`` is called with every operator that is copied
    and the module it is copied into; what it returns replaces the operator.
    """
    for node in module.graph.nodes:
        if node in copies or node.op == "output":
            continue
        if node.op == "get_attr":
            copy: Any = editor.constant(node.target, tensor_of(module, node))
        elif node.op == "placeholder":
            copy = editor.input(node.name, shape_of(node), node.meta["val"].dtype)
        else:
            args, kwargs = fx.map_arg((node.args, node.kwargs), copies.__getitem__)
            copy = editor.call(node.target, *args, name=node.name, **kwargs)
            copy = copy if callback is None else callback(copy, editor.module) or copy
        copy.meta.update({key: node.meta[key] for key in INHERITED_META if key in node.meta})
        copies[node] = copy
    return copies


