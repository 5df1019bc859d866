"""Writing nodes. Oracle: what torch computes for the same calls, and the literal names of this file."""

from __future__ import annotations

import keyword

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mrt_torch.errors import InvalidGraphError
from mrt_torch.graph.editor import (
    GraphEditor,
    empty_graph_module,
    input_nodes,
    output_nodes,
    sanitise,
    shape_of,
    tensor_of,
)
from mrt_torch.graph.facts import facts_of, set_facts, source_name

aten = torch.ops.aten


@pytest.fixture
def editor() -> GraphEditor:
    return GraphEditor(empty_graph_module())


def names(editor: GraphEditor) -> list[str]:
    return [node.name for node in editor.graph.nodes]


@given(st.text(max_size=20))
@settings(deadline=None, max_examples=100)
def test_sanitise_gives_an_ascii_identifier(name):
    identifier = sanitise(name)
    assert identifier.isidentifier() and identifier.isascii()
    assert sanitise(identifier) == identifier


@pytest.mark.parametrize("name, expected", [("layer1.0.bn", "layer1_0_bn"), ("0", "n_0"), ("", "n_"), ("x", "x"),
                                            ("größe", "gr__e")])
def test_sanitise(name, expected):
    assert sanitise(name) == expected


def test_a_small_graph_runs(editor):
    """x @ w.T + 1, with the values and shapes of torch."""
    x = editor.input("image.0", (2, 3))
    weight = torch.randn(4, 3)
    y = editor.call(aten.linear.default, x, editor.constant("fc.weight", weight), None, name="fc")
    z = editor.call(aten.add.Scalar, y, 1.0)
    editor.output([z, y])
    editor.module.recompile()
    values = torch.randn(5, 3)
    ours = editor.module(values)
    assert torch.equal(ours[0], values @ weight.T + 1) and torch.equal(ours[1], values @ weight.T)
    assert shape_of(z) == (2, 4) and z.meta["val"].device.type == "meta"
    assert input_nodes(editor.graph) == [x] and output_nodes(editor.graph) == [z, y]
    assert (source_name(x), source_name(y)) == ("image.0", "fc")
    assert [tuple(value.shape) for value in list(editor.graph.nodes)[-1].meta["val"]] == [(2, 4), (2, 4)]


@pytest.mark.parametrize("name", ["weight", "forward", "training", "graph", "code", "a.b", "0"])
def test_constants_never_collide(editor, name):
    """Neither with each other, nor with what a module has already."""
    tensors = [torch.full((2,), float(value)) for value in range(3)]
    nodes = [editor.constant(name, tensor) for tensor in tensors]
    assert len({node.target for node in nodes}) == 3
    for node, tensor in zip(nodes, tensors, strict=True):
        assert torch.equal(editor.tensor_of(node), tensor)
        assert facts_of(node).source_name == name


def test_constants_share_memory_without_gradient(editor):
    parameter = torch.nn.Parameter(torch.zeros(3))
    buffer = editor.tensor_of(editor.constant("w", parameter))
    assert buffer.data_ptr() == parameter.data_ptr() and not buffer.requires_grad and parameter.requires_grad


def test_refused_call_names_the_shapes(editor):
    x = editor.input("x", (2, 3))
    with pytest.raises(InvalidGraphError, match=r"\(2, 3\)"):
        editor.call(aten.reshape.default, x, [5])


def test_before_places_and_inherits(editor):
    x = editor.input("x", (2, 3))
    y = editor.call(aten.relu.default, x, name="act")
    y.meta["stack_trace"] = "line"
    with editor.before(y):
        z = editor.call(aten.neg.default, x)
    assert names(editor) == ["x", "neg_default", "act"]
    assert z.meta["stack_trace"] == "line" and source_name(z) == "act"
    after = editor.call(aten.neg.default, y)
    assert "stack_trace" not in after.meta and list(editor.graph.nodes)[-1] is after


def test_inheriting_nests(editor):
    x = editor.input("x", (2,))
    sources = [editor.call(aten.neg.default, x, name=name) for name in ("outer", "inner")]
    with editor.inheriting(sources[0]):
        with editor.inheriting(sources[1]):
            inner = editor.call(aten.neg.default, x)
        outer = editor.call(aten.neg.default, x)
    assert (source_name(inner), source_name(outer)) == ("inner", "outer")


def test_call_with_its_own_name_inside_inheriting(editor):
    x = editor.input("x", (2,))
    source = editor.call(aten.neg.default, x, name="source")
    with editor.inheriting(source):
        node = editor.call(aten.neg.default, x, name="own", source_operator="Neg")
    assert (source_name(node), facts_of(node).source_operator) == ("own", "Neg")
    assert facts_of(source).source_operator is None


def test_replace_erases_what_nobody_reads(editor):
    x = editor.input("x", (2,))
    a = editor.call(aten.neg.default, x)
    b = editor.call(aten.add.Tensor, a, editor.constant("c", torch.ones(2)))
    set_facts(b, source_name="sum")
    kept = editor.call(aten.abs.default, a)
    with editor.before(kept):
        new = editor.call(aten.relu.default, x)
    editor.output([b, kept])
    new.meta.pop("mrt", None)
    erased = editor.replace(b, new)
    assert {node.name for node in erased} == {"add_tensor", "c"}
    assert output_nodes(editor.graph) == [new, kept]
    assert source_name(new) == "sum"
    editor.graph.lint()


def test_erase_unread_keeps_what_is_read(editor):
    x = editor.input("x", (2,))
    a = editor.call(aten.neg.default, x)
    b = editor.call(aten.abs.default, a)
    assert editor.erase_unread(a) == set()
    assert editor.erase_unread(b) == {a, b}
    assert names(editor) == ["x"]


def test_tensor_of_refuses_others(editor):
    x = editor.input("x", (2,))
    with pytest.raises(InvalidGraphError, match="constant was expected"):
        tensor_of(editor.module, x)
    node = editor.constant("c", torch.ones(1))
    del editor.module.c
    with pytest.raises(InvalidGraphError, match="missing"):
        tensor_of(editor.module, node)


def test_output_of_another_tool():
    """An output that is a single node counts as one."""
    graph = torch.fx.symbolic_trace(torch.nn.ReLU()).graph
    assert [node.name for node in output_nodes(graph)] == ["relu"]


@pytest.mark.parametrize("name", keyword.kwlist[:6])
def test_keywords_are_usable_names(editor, name):
    """fx renames nodes called like Python's keywords; the code compiles."""
    x = editor.input("x", (2,))
    editor.output([editor.call(aten.neg.default, x, name=name)])
    editor.module.recompile()
    assert torch.equal(editor.module(torch.ones(2))[0], -torch.ones(2))


def test_the_one_name_python_never_binds(editor):
    """Oracle: Python compiles the graph's code; ``__debug__`` made it a SyntaxError."""
    editor.output([editor.input("__debug__", (1,))])
    editor.module.recompile()
    assert editor.module(torch.ones(1))[0] == 1


@pytest.mark.parametrize("shape", [(1, 2**63 - 1), (2**32, 2**32), (2**64,), (-2,), (-1, -1)])
def test_an_input_no_tensor_can_have(editor, shape):
    """Oracle: torch refuses the shape, with errors of several kinds."""
    with pytest.raises(InvalidGraphError, match="input 'data'"):
        editor.input("data", shape)
    assert not names(editor)


def test_many_constants_of_alike_names_stay_apart(editor):
    """Oracle: the value behind each node. The time grew with the square of their number."""
    nodes = [editor.constant(name, torch.tensor(float(value)))
             for value, name in enumerate(["a.b", "a-b", "a_b", "a b", "a_b_1", "a_b_2"] * 300)]
    assert [float(tensor_of(editor.module, node)) for node in nodes] == list(range(1800))
