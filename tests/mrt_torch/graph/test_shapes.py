"""Shapes of nodes. Oracle: what torch computes when the graph runs."""

from __future__ import annotations

import operator

import pytest
import torch

from mrt_torch.errors import InvalidGraphError
from mrt_torch.graph.editor import GraphEditor, empty_graph_module, shape_of
from mrt_torch.graph.free_axis import is_batch_free
from mrt_torch.graph.shapes import (
    propagate,
    refresh_values,
    set_input_shapes,
)

aten = torch.ops.aten


def build(*steps, shape=(2, 3, 4)) -> tuple[GraphEditor, torch.fx.Node]:
    """A chain of calls ``(target, *arguments after the first)`` on one input."""
    editor = GraphEditor(empty_graph_module())
    node = editor.input("x", shape)
    for target, *arguments in steps:
        node = editor.call(target, node, *arguments)
    editor.output([node])
    editor.module.recompile()
    return editor, node


FREE = ((aten.reshape.default, [-1, 12]), (aten.relu.default,))
FIXED = ((aten.reshape.default, [2, 12]), (aten.relu.default,))


def test_nothing_to_refresh():
    editor, _ = build(*FREE)
    assert refresh_values(editor.module) == 0


def test_refresh_what_an_edit_touched():
    """A changed argument, and what reads it, and nothing else."""
    editor, node = build((aten.neg.default,), (aten.unsqueeze.default, 1), (aten.relu.default,))
    node.args[0].args = (node.args[0].args[0], 0)
    assert refresh_values(editor.module) == 2
    assert shape_of(node) == (1, 2, 3, 4)


def test_refresh_stops_where_shapes_agree():
    editor, node = build((aten.permute.default, [0, 2, 1]), (aten.relu.default,), shape=(2, 3, 3))
    node.args[0].args = (node.args[0].args[0], [0, 1, 2])
    assert refresh_values(editor.module) == 1


def test_refresh_follows_a_dtype():
    editor, node = build((aten.neg.default,), (aten.relu.default,))
    placeholder = next(iter(editor.graph.nodes))
    placeholder.meta["val"] = placeholder.meta["val"].to(torch.float64)
    assert refresh_values(editor.module) == 2
    assert node.meta["val"].dtype is torch.float64


def test_refresh_of_a_graph_without_values():
    editor, node = build(*FREE)
    for other in editor.graph.nodes:
        if other.op != "placeholder":
            other.meta.clear()
    assert refresh_values(editor.module) == 2
    assert shape_of(node) == (2, 12)


def test_set_input_shapes():
    editor, node = build(*FREE)
    set_input_shapes(editor.module, {"x": (7, 3, 4)})
    assert shape_of(node) == (7, 12) == tuple(editor.module(torch.zeros(7, 3, 4))[0].shape)
    with pytest.raises(InvalidGraphError, match="input shapes"):
        editor, _ = build(*FIXED)
        set_input_shapes(editor.module, {"x": (7, 3, 4)})


def test_propagate_leaves_the_graph_alone():
    editor, node = build(*FREE)
    values = propagate(editor.module, {"x": (5, 3, 4)})
    assert {name: tuple(value.shape) for name, value in values.items()} == {
        "x": (5, 3, 4), "reshape_default": (5, 12), "relu_default": (5, 12)}
    assert shape_of(node) == (2, 12)


def test_propagate_through_several_outputs():
    editor = GraphEditor(empty_graph_module())
    parts = editor.call(aten.split_with_sizes.default, editor.input("x", (2, 5)), [2, 3], 1)
    node = editor.call(operator.getitem, parts, 1)
    editor.output([node])
    assert shape_of(node) == (2, 3)
    assert tuple(propagate(editor.module, {"x": (4, 5)})[node.name].shape) == (4, 3)


def test_propagate_refuses():
    editor, _ = build(*FIXED)
    with pytest.raises(InvalidGraphError, match="refuses its arguments"):
        propagate(editor.module, {"x": (5, 3, 4)})


def test_free_batch():
    assert is_batch_free(build(*FREE)[0].module)


NOT_FREE = {
    "fixed reshape": FIXED,
    "batch moved": ((aten.permute.default, [1, 0, 2]),),
    "batch merged": ((aten.reshape.default, [-1]), (aten.unsqueeze.default, 0)),
    "batch cut": ((aten.slice.Tensor, 0, 0, 1, 1),),
    "batch reduced": ((aten.sum.dim_IntList, [0], False),),
}


@pytest.mark.parametrize("name", NOT_FREE)
def test_batch_that_is_not_free(name):
    """The graph refuses another batch, or its output does not have it on axis 0."""
    assert not is_batch_free(build(*NOT_FREE[name])[0].module)


def test_no_batch_at_all():
    assert not is_batch_free(build((aten.neg.default,), shape=())[0].module)
