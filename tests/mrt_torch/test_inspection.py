"""Descriptions of models in every form."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mrt_torch import Model
from mrt_torch.errors import InvalidArgumentError
from mrt_torch.inspection import NamedShape, find_unsupported, inspect_model, parse_shapes


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(32, 3))


def quantize(network: nn.Module) -> Model:
    model = Model.from_torch(network.eval(), torch.zeros(2, 1, 8, 8))
    model.prepare((1, 1, 8, 8))
    mrt = model.get_mrt()
    mrt.set_data(torch.randn(8, 1, 8, 8, generator=torch.Generator().manual_seed(0)))
    mrt.calibrate()
    return mrt.quantize()


def test_saved_float_model(network, tmp_path):
    """Oracle: the network above, counted by hand; the parameter file is found beside the model."""
    Model.from_torch(network.eval(), torch.zeros(2, 1, 8, 8)).save(tmp_path / "net.json", tmp_path / "net.safetensors")
    description = inspect_model(tmp_path / "net.json")
    assert description.form == "float model"
    assert description.operators == {"aten.conv2d": 2, "aten.relu": 2, "aten.flatten.using_ints": 1, "aten.linear": 1}
    assert list(description.operators)[:2] == ["aten.conv2d", "aten.relu"]  # the most frequent first
    elements = (9 + 1) * 4 + (36 + 1) * 2 + (32 + 1) * 3
    assert (description.parameters, description.elements, description.bytes) == (6, elements, 4 * elements)
    assert [tensor.shape[1:] for tensor in description.inputs] == [(1, 8, 8)]
    assert [tensor.shape[1:] for tensor in description.outputs] == [(3,)]
    assert description.unsupported == ()


def test_deployed_model(network, tmp_path):
    """Oracle: the network above; an integer model has nothing unsupported."""
    folder = quantize(network).to_cvm("net", datadir=tmp_path, input_shape=(1, 1, 8, 8), target="cpu")
    description = inspect_model(folder)
    assert description.form == "deployed CVM model"
    assert description.operators["cvm.conv2d"] == 2
    assert description.inputs == (NamedShape("data", (1, 1, 8, 8)),)
    assert [tensor.shape for tensor in description.outputs] == [(1, 3)]
    assert description.unsupported == ()


def test_unsupported_operators_of_a_graph_are_listed(tmp_path):
    """Oracle: torch's name of the operator that has no integer form."""
    class Unknown(nn.Module):
        def forward(self, x):
            return torch.relu(torch.digamma(torch.digamma(x)))

    model = Model.from_torch(Unknown(), torch.zeros(2, 3))
    lines = find_unsupported(model.module)
    assert len(lines) == 1
    assert "aten.digamma" in lines[0] and "2 times" in lines[0]


@pytest.mark.parametrize(("texts", "shapes"), [
    ([], None),
    (["1,3,224,224"], (1, 3, 224, 224)),
    (["(1, 3)"], (1, 3)),
    (["1,"], (1,)),
    (["data=1,3"], {"data": (1, 3)}),
    (["a=1,3", "b=1,4"], {"a": (1, 3), "b": (1, 4)}),
])
def test_shapes(texts, shapes):
    """Oracle: written by hand."""
    assert parse_shapes(texts) == shapes


@pytest.mark.parametrize("texts", [["x"], [""], ["data="], ["1,a"], ["1,3", "b=1,4"], ["1,3", "1,4"]])
def test_texts_that_are_no_shapes_are_refused(texts):
    """Oracle: the documented forms."""
    with pytest.raises(InvalidArgumentError):
        parse_shapes(texts)
