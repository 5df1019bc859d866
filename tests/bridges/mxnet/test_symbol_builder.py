"""Building symbols: names and attribute texts."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bridges.mxnet.symbol_builder import SymbolBuilder, attribute_text, plan_names
from mrt_torch.graph.editor import GraphEditor, empty_graph_module
from mrt_torch.graph.facts import set_facts


@pytest.mark.parametrize("value, text", [
    (True, "True"), (None, "None"), ((1, 2), "(1, 2)"), ([3], "(3,)"), ((None, -1), "(None, -1)"),
    (1e-5, "1e-05"), (7, "7"), ("relu", "relu")])
def test_attribute_texts(value, text):
    """Oracle: what MXNet's own files hold."""
    assert attribute_text(value) == text


def test_nodes_and_parameters():
    """Absent attributes are left out; a parameter is a variable of its shape and type."""
    builder = SymbolBuilder(["taken"])
    data = builder.variable("data", (1, 2), np.float32, scale=0.5)
    weight = builder.parameter("weight", np.zeros((3, 2), np.float64))
    builder.parameter("mean", np.zeros(3, np.int8), auxiliary=True)
    head = builder.operator("FullyConnected", [data, weight], "fc", num_hidden=3, no_bias=True, axis=None)
    symbol = builder.build([head])
    assert [(node.operator, node.name, dict(node.attributes)) for node in symbol.nodes] == [
        ("null", "data", {"__shape__": "(1, 2)", "__dtype__": "0", "__scale__": "0.5"}),
        ("null", "weight", {"__shape__": "(3, 2)", "__dtype__": "1"}),
        ("null", "mean", {"__shape__": "(3,)", "__dtype__": "5"}),
        ("FullyConnected", "fc", {"num_hidden": "3", "no_bias": "True"})]
    assert list(builder.params) == ["arg:weight", "aux:mean"]
    unused = [builder.unused_name(name) for name in ("taken", "taken", "free")]
    assert unused == ["taken_1", "taken_2", "free"]


def test_names_are_planned():
    """Inputs choose first, then parameters; of nodes with one name, the last keeps it."""
    editor = GraphEditor(empty_graph_module())
    data = editor.input("x/1", (1, 2))
    constant = editor.constant("x/1", torch.zeros(2))
    first = editor.call(torch.ops.aten.add.Tensor, data, constant, name="sum")
    second = editor.call(torch.ops.aten.add.Tensor, first, constant, name="sum")
    third = editor.call(torch.ops.aten.relu.default, second)
    set_facts(third, source_name="x/1")
    editor.output([third])
    names = plan_names(editor.graph)
    assert [names[node] for node in (data, constant, first, second, third)] == [
        "x/1", "x/1_1", "sum_add", "sum", "x/1_2"]
