"""Graphs with their parameters beside them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mrt_torch.errors import InvalidArgumentError, InvalidGraphError
from mrt_torch.passes.symbol import edited, graph_of, params_of
from tests.mrt_torch.ops.graphs import aten, draw, graph, operators
from tests.mrt_torch.small_models import calibrated, convolutional, images, prepared


def scaled(editor, x):
    return editor.call(aten.mul.Tensor, x, editor.constant("layer/scale", draw(3, seed=1)))


def test_params_replace_those_of_the_graph_under_either_name():
    """Oracle: the product computed here."""
    module, x = graph(scaled, (2, 3)), draw(2, 3)
    for name in ("layer/scale", "layer_scale"):
        replaced = graph_of(module, {name: np.array([1.0, 2.0, 3.0])})
        assert torch.equal(replaced(x)[0], x * torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64))
    assert torch.equal(module(x)[0], x * draw(3, seed=1)), "the graph that was given"
    assert torch.equal(graph_of(module, {})(x)[0], module(x)[0])


def test_the_type_of_the_graph_stays():
    replaced = graph_of(graph(scaled, (2, 3)), {"layer/scale": torch.tensor([1, 2, 3], dtype=torch.int32)})
    assert params_of(replaced)["layer/scale"].dtype == torch.float64


def test_constants_of_one_name_go_by_their_buffers():
    def build(editor, x):
        for seed in (1, 2):
            x = editor.call(aten.mul.Tensor, x, editor.constant("scale", draw(3, seed=seed)))
        return x

    assert params_of(graph(build, (2, 3))).keys() == {"scale", "scale_1"}


@pytest.mark.parametrize("params, message", [
    ({"gamma": np.ones(3)}, r"no parameters \['gamma'\](.|\n)*it has \['layer/scale'\]"),
    ({"layer/scale": np.ones(4)}, r"another shape(.|\n)*saw \(4,\), the graph has \(3,\)"),
    ({"layer/scale": "ones"}, "must be a tensor or an array"),
])
def test_params_that_are_not_the_graphs(params, message):
    with pytest.raises(InvalidArgumentError, match=message):
        graph_of(graph(scaled, (2, 3)), params)


@pytest.mark.parametrize("symbol, message", [
    (convolutional(), "a prepared float model is needed"),
    (calibrated().quantize(), "a prepared float model is needed"),
    ("net-symbol.json", "a symbol is a prepared Model or its GraphModule\n(.|\n)*saw str")])
def test_symbols_that_are_none(symbol, message):
    with pytest.raises(InvalidArgumentError, match=message):
        graph_of(symbol)


def test_an_integer_graph_is_none():
    with pytest.raises(InvalidGraphError, match="not legal in the float stage"):
        graph_of(calibrated().quantize().module)


def test_a_pass_gives_back_the_kind_that_it_was_given():
    def nothing(module):
        return 0

    model = prepared()
    same, params = edited(model, None, nothing)
    assert torch.equal(same(images()), model(images())) and operators(same.module) == operators(model.module)
    assert params.keys() == params_of(model.module).keys()
    assert operators(edited(model.module, None, nothing)[0]) == operators(model.module)
