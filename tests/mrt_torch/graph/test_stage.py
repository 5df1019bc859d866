"""Legality of stages. Oracle: the table of stages in this file."""

from __future__ import annotations

import pytest
import torch
from torch import fx

import mrt_torch.ops  # noqa: F401  (the float stage is what has a Transformer)
from mrt_torch.errors import InvalidGraphError
from mrt_torch.graph.editor import GraphEditor, empty_graph_module
from mrt_torch.graph.stage import Stage, check_stage

aten = torch.ops.aten


def graph_of(target, dtype: torch.dtype = torch.float32) -> fx.GraphModule:
    """One operator on one input, and a constant."""
    editor = GraphEditor(empty_graph_module())
    x = editor.input("x", (2, 3), dtype)
    c = editor.constant("c", torch.ones(2, 3, dtype=dtype))
    editor.output([editor.call(target, x), c])
    return editor.module


def with_module() -> fx.GraphModule:
    graph = fx.Graph()
    root = torch.nn.Module()
    root.observer = torch.nn.Identity()
    graph.output((graph.call_module("observer", (graph.placeholder("x"),)),))
    return fx.GraphModule(root, graph)


GRAPHS = {
    "float operator": lambda: graph_of(aten.relu.default),
    "unknown operator": lambda: graph_of(aten.lgamma.default),
    "integer operator": lambda: graph_of(torch.ops.cvm.relu.default, torch.int32),
    "module": with_module,
}
LEGAL = {
    "float operator": {Stage.SOURCE, Stage.FLOAT, Stage.OBSERVED, Stage.RESTORED},
    "unknown operator": {Stage.SOURCE, Stage.RESTORED},
    "integer operator": {Stage.SOURCE, Stage.INTEGER, Stage.RESTORED},
    "module": {Stage.OBSERVED},
}


@pytest.mark.parametrize("name", GRAPHS)
@pytest.mark.parametrize("stage", Stage, ids=lambda stage: stage.value)
def test_table(name, stage):
    module = GRAPHS[name]()
    if stage in LEGAL[name]:
        check_stage(module, stage)
    else:
        with pytest.raises(InvalidGraphError, match=f"not legal in the {stage.value} stage"):
            check_stage(module, stage)


def test_integer_constants_are_int32():
    module = graph_of(torch.ops.cvm.relu.default, torch.int32)
    module.c = module.c.to(torch.int64)
    with pytest.raises(InvalidGraphError, match="int64"):
        check_stage(module, Stage.INTEGER)


def test_missing_constant():
    module = graph_of(aten.relu.default)
    del module.c
    with pytest.raises(InvalidGraphError, match="missing"):
        check_stage(module, Stage.SOURCE)


def test_methods_are_legal_nowhere():
    graph = fx.Graph()
    graph.output((graph.call_method("relu", (graph.placeholder("x"),)),))
    with pytest.raises(InvalidGraphError, match="call_method"):
        check_stage(fx.GraphModule(torch.nn.Module(), graph), Stage.SOURCE)


def test_all_reasons_are_listed():
    editor = GraphEditor(empty_graph_module())
    x = editor.input("x", (2, 3))
    editor.output([editor.call(aten.lgamma.default, x), editor.call(aten.erfinv.default, x)])
    with pytest.raises(InvalidGraphError) as caught:
        check_stage(editor.module, Stage.FLOAT)
    assert "aten.lgamma.default" in str(caught.value) and "aten.erfinv.default" in str(caught.value)
