"""Parameters that are NaN or infinite. Oracle: torch.isfinite on the values written here."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mrt_torch import Model
from mrt_torch.errors import InvalidGraphError
from mrt_torch.graph.editor import GraphEditor, empty_graph_module
from mrt_torch.graph.finite import check_finite

aten = torch.ops.aten


def graph(*values: torch.Tensor):
    editor = GraphEditor(empty_graph_module())
    node = editor.input("data", (1, 3))
    for position, value in enumerate(values):
        node = editor.call(aten.add.Tensor, node, editor.constant(f"layer.{position}", value), name=f"sum{position}")
    editor.output([node])
    editor.module.recompile()
    return editor.module


def test_finite_parameters_pass():
    check_finite(graph(torch.zeros(3), torch.arange(3), torch.tensor([1e38, -1e38, 1e-45])))


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_all_are_listed_and_the_first_reader_is_named(number):
    with pytest.raises(InvalidGraphError) as raised:
        check_finite(graph(torch.zeros(3), torch.tensor([number, 0, number]), torch.tensor([number, 1, 2])))
    assert "parameter 'layer.1', read by node 'sum1'" in raised.value.where
    assert raised.value.why == "'layer.1': 2 of 3 values; 'layer.2': 1 of 3 values"


@pytest.mark.parametrize("name", ["0.weight", "0.bias", "1.running_mean", "1.running_var"])
def test_a_module_is_refused_by_prepare(name):
    """An infinite variance gave a quantized model of zeros."""
    module = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)).eval()
    module.state_dict()[name].view(-1)[1] = float("inf")
    model = Model.from_torch(module, torch.zeros(1, 3, 4, 4))
    with pytest.raises(InvalidGraphError, match=f"parameter '{name}'"):
        model.prepare()
    assert not model.prepared


def test_what_folding_makes_of_a_negative_variance_is_refused():
    module = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)).eval()
    module[1].running_var[1] = -1
    with pytest.raises(InvalidGraphError, match="negative variance"):
        Model.from_torch(module, torch.zeros(1, 3, 4, 4)).prepare()
