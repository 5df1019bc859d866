"""Running passes. Oracle: the graph before, and torch."""

from __future__ import annotations

import pytest
import torch
from torch import fx

from mrt_torch.errors import InvalidGraphError
from mrt_torch.graph.editor import GraphEditor, empty_graph_module, output_nodes
from mrt_torch.graph.facts import set_facts, source_name
from mrt_torch.graph.runner import (
    copy_graph_module,
    drop_unused_buffers,
    finish,
    run_pass,
)
from mrt_torch.graph.stage import Stage

aten = torch.ops.aten


@pytest.fixture
def module() -> fx.GraphModule:
    editor = GraphEditor(empty_graph_module())
    x = editor.input("x", (2, 3))
    weight = editor.constant("w", torch.randn(4, 3))
    node = editor.call(aten.linear.default, x, weight, None, name="fc")
    editor.output([editor.call(aten.relu.default, node, name="act")])
    editor.module.recompile()
    return editor.module


def negate(module: fx.GraphModule) -> int:
    """A pass: relu becomes neg, twice."""
    editor, node = GraphEditor(module), output_nodes(module.graph)[0]
    with editor.before(node):
        new = editor.call(aten.neg.default, editor.call(aten.neg.default, node.args[0]))
    editor.replace(node, new)
    return 1


def test_copy_shares_tensors_and_keeps_facts(module):
    copy = copy_graph_module(module)
    assert copy.w.data_ptr() == module.w.data_ptr()
    assert [source_name(node) for node in copy.graph.nodes] == [source_name(node) for node in module.graph.nodes]
    set_facts(output_nodes(copy.graph)[0], source_name="other")
    assert source_name(output_nodes(module.graph)[0]) == "act"
    x = torch.randn(5, 3)
    assert torch.equal(copy(x)[0], module(x)[0])


def test_copy_of_a_constant_read_twice():
    """Two get_attr nodes may read one buffer."""
    editor = GraphEditor(empty_graph_module())
    first = editor.constant("c", torch.ones(2))
    second = editor.graph.get_attr(first.target)
    second.meta["val"] = first.meta["val"]
    editor.output([editor.call(aten.add.Tensor, first, second)])
    assert torch.equal(copy_graph_module(editor.module)()[0], torch.full((2,), 2.0))


def test_copy_shares_submodules():
    """Observers are the same objects, so what they see is not lost."""
    graph = fx.Graph()
    root = torch.nn.Module()
    root.observer = torch.nn.Identity()
    graph.output((graph.call_module("observer", (graph.placeholder("x"),)),))
    module = fx.GraphModule(root, graph)
    assert copy_graph_module(module).observer is module.observer


def test_pass_works_on_a_copy(module):
    before = module.code
    result = run_pass(module, negate, Stage.FLOAT)
    assert result.firings == 1 and module.code == before
    x = torch.randn(5, 3)
    assert torch.equal(result.module(x)[0], x @ module.w.T)


def test_pass_that_breaks_the_stage(module):
    def introduce(graph_module: fx.GraphModule) -> int:
        editor, node = GraphEditor(graph_module), output_nodes(graph_module.graph)[0]
        with editor.before(node):
            editor.replace(node, editor.call(aten.lgamma.default, node.args[0]))
        return 1

    assert run_pass(module, introduce, Stage.SOURCE).firings == 1
    with pytest.raises(InvalidGraphError, match="lgamma"):
        run_pass(module, introduce, Stage.FLOAT)


def test_finish_drops_what_is_dead(module):
    """Dead nodes, and then the buffers only they read."""
    editor = GraphEditor(module)
    with editor.before(output_nodes(module.graph)[0]):
        editor.call(aten.neg.default, editor.constant("unused", torch.ones(2)))
    finish(module, Stage.FLOAT)
    assert [name for name, _ in module.named_buffers()] == ["w"]
    assert "neg" not in module.code


def test_finish_refreshes_shapes(module):
    node = output_nodes(module.graph)[0]
    node.target, node.args = aten.sum.dim_IntList, (node.args[0], [1], False)
    finish(module, Stage.FLOAT)
    assert tuple(node.meta["val"].shape) == (2,)


def test_drop_unused_buffers(module):
    module.register_buffer("left_over", torch.zeros(1))
    assert drop_unused_buffers(module) == 1
    assert not hasattr(module, "left_over")
