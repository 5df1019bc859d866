"""Evaluates what depends on parameters only."""

from __future__ import annotations

import operator
from typing import Any

import torch
from torch import fx

from mrt_torch.graph.editor import GraphEditor
from mrt_torch.graph.facts import source_name

# What is both larger than this and so many times larger than what it is made of is left for the runtime to make.
LARGE_RESULT = 2 ** 22
LARGEST_GROWTH = 8


def fuse_constant(module: fx.GraphModule) -> int:
    """Replace every operator whose inputs are all constants by its value; returns the number of firings.

        w  ──> reshape ──> conv            w' ──> conv
        x  ──────────────────┘      =>     x  ────┘

    Exact: the operator itself is run, in the dtype of its inputs (the original went through float32 and spoilt
    integers above 2**24). Operators of several outputs are folded where one of them is read. Runs to the end in one
    sweep, because nodes stand in topological order.

    Left as they are: random operators, and what blows a small constant up to millions of elements (a tile of a row),
    which is cheaper to make at run time than to store.
    """
    editor = GraphEditor(module)
    firings, erased = 0, set()
    for node in list(module.graph.nodes):
        if node in erased or node.op != "call_function" or not isinstance(node.meta["val"], torch.Tensor):
            continue
        if not _is_constant(node) or _is_random(node) or _blows_up(node):
            continue
        with editor.before(node):
            constant = editor.constant(source_name(node), _value_of(node, editor))
        erased |= editor.replace(node, constant)
        firings += 1
    return firings


def _part_of(node: fx.Node) -> fx.Node | None:
    """The operator of several outputs whose output ``node`` is."""
    if node.target is operator.getitem and node.args[0].op == "call_function":
        return node.args[0]
    return None


def _is_constant(node: fx.Node) -> bool:
    return all(source.op == "get_attr" for source in (_part_of(node) or node).all_input_nodes)


def _is_random(node: fx.Node) -> bool:
    tags = getattr((_part_of(node) or node).target, "tags", ())
    return torch.Tag.nondeterministic_seeded in tags


def _blows_up(node: fx.Node) -> bool:
    sizes = [source.meta["val"].numel() for source in (_part_of(node) or node).all_input_nodes]
    elements = node.meta["val"].numel()
    return bool(sizes) and elements > LARGE_RESULT and elements > LARGEST_GROWTH * sum(sizes)


def _value_of(node: fx.Node, editor: GraphEditor) -> torch.Tensor:
    args, kwargs = fx.map_arg((node.args, node.kwargs), lambda source: _constant(source, editor))
    return node.target(*args, **kwargs)


def _constant(node: fx.Node, editor: GraphEditor) -> Any:
    return editor.tensor_of(node) if node.op == "get_attr" else _value_of(node, editor)
