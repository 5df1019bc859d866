"""The registry of converters."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bridges.mxnet.importer import import_symbol
from bridges.mxnet.registry import CONVERTERS, Converter, ConverterRegistry, register_converter
from bridges.mxnet.symbol import Symbol, SymbolNode
from mrt_torch.errors import InvalidArgumentError, InvalidGraphError


@pytest.fixture
def cube():
    """An operator of the user's own, gone after the test."""
    @register_converter("test_cube")
    def convert_cube(view):
        squared = view.step(torch.ops.aten.mul.Tensor, view.inputs[0], view.inputs[0])
        return view.call(torch.ops.aten.mul.Tensor, squared, view.inputs[0])
    yield convert_cube
    CONVERTERS.unregister("test_cube")


def one_node(operator):
    return Symbol((SymbolNode("null", "data"), SymbolNode(operator, "node", {}, ((0, 0),))), ((1, 0),))


def test_users_can_add_an_operator(cube):
    """Oracle: numpy."""
    module = import_symbol(one_node("test_cube"), {}, (1, 3))
    data = np.array([[1, -2, 3]], np.float32)
    np.testing.assert_array_equal(module(torch.from_numpy(data))[0].numpy(), data ** 3)
    assert [node.name for node in module.graph.nodes][1:3] == ["node_mul", "node"]


def test_registering_twice_needs_override(cube):
    with pytest.raises(InvalidArgumentError, match="override=True"):
        register_converter("test_cube")(cube)
    register_converter("test_cube", override=True)(lambda view: view.inputs[0])
    assert CONVERTERS["test_cube"].convert is not cube


def test_result_that_is_no_node_names_the_node(cube):
    register_converter("test_cube", override=True)(lambda view: None)
    with pytest.raises(InvalidGraphError, match="'node' \\(test_cube\\)"):
        import_symbol(one_node("test_cube"), {}, (1, 3))


def test_registry_lists_and_finds():
    registry = ConverterRegistry()
    for operator in ("Pooling", "Convolution"):
        registry.register(Converter(operator, lambda view: view.inputs[0]))
    assert list(registry) == ["Convolution", "Pooling"] and len(registry) == 2 and "Pooling" in registry
    assert str(registry) == "Convolution, Pooling"
    assert registry.nearest("Deconvolution") == "Convolution" and registry.nearest("zzz") is None
    registry.unregister("Pooling")
    with pytest.raises(InvalidArgumentError):
        registry.unregister("Pooling")


def test_positions():
    converter = Converter("SoftmaxOutput", lambda view: view.inputs[0], parameters=("a", "b"), labels=3)
    assert [converter.is_parameter(position) for position in range(4)] == [False, True, True, False]
    assert [converter.is_label(position) for position in range(5)] == [False, False, False, True, True]
