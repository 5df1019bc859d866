"""Cuts a float graph in two, and joins a quantized lower half with a float upper half again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import fx

from mrt_torch.errors import InvalidArgumentError
from mrt_torch.graph.editor import INHERITED_META, GraphEditor, empty_graph_module, output_nodes, shape_of, tensor_of
from mrt_torch.graph.facts import set_facts, source_name
from mrt_torch.graph.free_axis import free_axis
from mrt_torch.graph.runner import copy_graph_module, finish
from mrt_torch.graph.stage import Stage
from mrt_torch.ops.likeness import BroadcastLike, ReshapeLike, SliceLike
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


def split(module: fx.GraphModule, keys: Sequence[str], stage: Stage) -> tuple[fx.GraphModule, fx.GraphModule]:
    """Base and top of a graph: base returns the key nodes, top takes them as inputs of the same names.

    The outputs of base come in topological order, whatever the order of ``keys``.

    Raises:
        InvalidArgumentError: a key is no node, is given twice, or top would still need an input of the whole graph.
    """
    wanted = [find_node(module, key).name for key in keys]
    if not wanted or len(set(wanted)) != len(wanted):
        raise InvalidArgumentError("split takes distinct node names", why=f"saw {list(keys)}",
                                   remedy="name each node once, and at least one")
    order = [node.name for node in module.graph.nodes if node.name in wanted]
    base, top = copy_graph_module(module), copy_graph_module(module)
    by_name = {node.name: node for node in base.graph.nodes}
    base_output = next(node for node in base.graph.nodes if node.op == "output")
    base_output.args = (tuple(by_name[name] for name in order),)
    finish(base, stage)
    _cut_top(top, order, stage)
    return base, top


def _cut_top(top: fx.GraphModule, order: Sequence[str], stage: Stage) -> None:
    by_name = {node.name: node for node in top.graph.nodes}
    editor, old_inputs = GraphEditor(top), [node for node in top.graph.nodes if node.op == "placeholder"]
    first = next(iter(top.graph.nodes))
    for name in order:
        old = by_name[name]
        with editor.before(first):
            new = editor.input(source_name(old), shape_of(old), old.meta["val"].dtype)
        set_facts(new, batch_axis=free_axis(old) or 0)
        old.replace_all_uses_with(new)
        claim_name(new, name)
        new.target = name
    _settle_shapes(editor)
    top.graph.eliminate_dead_code()
    for node in old_inputs:
        if node.users:
            raise InvalidArgumentError("the keys do not cut the graph in two", where=f"input '{source_name(node)}'",
                                       why="the top half still reads it",
                                       remedy="add the branches that bypass the keys")
        top.graph.erase_node(node)
    finish(top, stage)


def _settle_shapes(editor: GraphEditor) -> None:
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
        top: float graph whose inputs are the keys of ``scales``.
        callback: called with every node of top as copied and the merged module; what it returns replaces the node.

    Raises:
        InvalidArgumentError: top has an input that base does not give.
    """
    merged = empty_graph_module()
    editor = GraphEditor(merged)
    copies = _copy_nodes(base, editor, {})
    given = dict(zip(scales, output_nodes(base.graph), strict=True))
    inputs = {}
    for node in top.graph.nodes:
        if node.op == "placeholder":
            if node.name not in given:
                raise InvalidArgumentError(f"the base gives no '{source_name(node)}'", why=f"it gives {list(given)}",
                                           remedy="merge halves of the same split, with the maps of its MRT")
            number = editor.call(torch.ops.mrt.dequantize.default, copies[given[node.name]], scales[node.name])
            dtype = node.meta["val"].dtype  # truth values and indices are no floats
            inputs[node] = number if dtype.is_floating_point else \
                editor.call(torch.ops.aten._to_copy.default, number, dtype=dtype)
    copies = _copy_nodes(top, editor, inputs, callback)
    editor.output([copies[node] for node in output_nodes(top.graph)])
    finish(merged, Stage.RESTORED)
    return merged


def _copy_nodes(module: fx.GraphModule, editor: GraphEditor, copies: dict[fx.Node, fx.Node],
                callback: MergeCallback | None = None) -> dict[fx.Node, fx.Node]:
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


