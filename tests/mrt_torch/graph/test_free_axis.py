"""Which axis follows the batch. Oracle: the shapes of the same graph built for another batch."""

import pytest
import torch

from mrt_torch.graph.editor import GraphEditor, empty_graph_module
from mrt_torch.graph.facts import facts_of
from mrt_torch.graph.free_axis import free_axis, free_shape, is_batch_free
from mrt_torch.graph.runner import copy_graph_module
from mrt_torch.graph.shapes import set_input_shapes

aten = torch.ops.aten


def build(shape):
    editor = GraphEditor(empty_graph_module())
    return editor, editor.input("x", shape)


def test_the_batch_is_axis_0_unless_marked():
    editor, node = build((4, 3))
    assert free_axis(node) == 0 and free_shape(node) == [-1, 3]
    editor, node = build((38, -1))
    assert facts_of(node).batch_axis == 1
    assert free_axis(node) == 1 and free_shape(node) == [38, -1]


STEPS = {
    "moved": (((aten.permute.default, [1, 0, 2]),), 1),
    "merged with another axis": (((aten.reshape.default, [-1, 4]),), 0),
    "kept by a reduction": (((aten.sum.dim_IntList, [1], False),), 0),
    "moved by a reduction": (((aten.permute.default, [1, 0, 2]), (aten.sum.dim_IntList, [0], False)), 0),
    "reduced": (((aten.sum.dim_IntList, [0], True),), None),
    "cut": (((aten.slice.Tensor, 0, 0, 1, 1),), None),
    "written for one batch": (((aten.reshape.default, [2, 12]),), None),
}


@pytest.mark.parametrize("name", STEPS)
def test_free_axis(name):
    steps, expected = STEPS[name]
    editor, node = build((2, 3, 4))
    for target, *arguments in steps:
        node = editor.call(target, node, *arguments)
    assert free_axis(node) == expected


def test_a_constant_follows_nothing():
    editor, node = build((2, 3))
    constant = editor.constant("c", torch.ones(2, 3))
    assert free_axis(constant) is None and free_shape(constant) == [2, 3]
    assert free_axis(editor.call(aten.add.Tensor, node, constant)) is None  # it refuses another batch


def test_another_example_is_seen():
    """The answer is kept beside the value it was computed from, and not used for another."""
    editor, node = build((2, 3))
    total = editor.call(aten.permute.default, node, [1, 0])
    editor.output([total])
    editor.module.recompile()
    assert free_axis(total) == 1
    set_input_shapes(editor.module, {"x": (5, -1)})
    assert free_axis(node) == 1 and free_axis(total) == 0
    copied = copy_graph_module(editor.module)
    assert [free_axis(n) for n in copied.graph.nodes if n.op != "output"] == [1, 0]


def test_a_long_chain():
    """No recursion: a graph may be thousands of nodes deep."""
    editor, node = build((2, 3))
    for _ in range(3000):
        node = editor.call(aten.neg.default, node)
    assert free_axis(node) == 0


def test_outputs_follow_the_input():
    editor, node = build((5, -1, 2))
    editor.output([editor.call(aten.mean.dim, node, [0], False)])
    editor.module.recompile()
    assert is_batch_free(editor.module)
