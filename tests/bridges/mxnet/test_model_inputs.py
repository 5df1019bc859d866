"""Inputs, labels and missing parameters; oracle: the roles of the variables in hand-written symbols."""

from __future__ import annotations

import numpy as np
import pytest

from bridges.mxnet.importer import find_model_inputs, import_symbol
from bridges.mxnet.model_inputs import needed_nodes, resolve_input_shapes
from bridges.mxnet.symbol import Symbol, SymbolNode
from mrt_torch.errors import InvalidArgumentError, InvalidFileError, InvalidGraphError


def classifier(shape=None):
    """data -> FullyConnected -> SoftmaxOutput, whose label is another variable's square."""
    attributes = {} if shape is None else {"__shape__": shape}
    return Symbol((
        SymbolNode("null", "data", attributes), SymbolNode("null", "fc_weight"),
        SymbolNode("null", "fc_bias"),
        SymbolNode("FullyConnected", "fc", {"num_hidden": "2"}, ((0, 0), (1, 0), (2, 0))),
        SymbolNode("null", "label"), SymbolNode("unheard_of", "one_hot", {}, ((4, 0),)),
        SymbolNode("SoftmaxOutput", "prob", {}, ((3, 0), (5, 0))),
    ), ((6, 0),))


PARAMS = {"fc_weight": np.ones((2, 3), np.float32), "fc_bias": np.ones(2, np.float32)}


def test_label_is_no_input_and_its_operators_are_dropped():
    assert find_model_inputs(classifier(), PARAMS) == {"data": None}
    assert needed_nodes(classifier()) == [0, 1, 2, 3, 6]
    module = import_symbol(classifier(), PARAMS, {"data": (1, 3), "label": (1,)})
    assert [node.name for node in module.graph.nodes if node.op == "placeholder"] == ["data"]


def test_missing_parameters_are_all_named():
    with pytest.raises(InvalidFileError, match="2 parameters") as caught:
        import_symbol(classifier(), {}, (1, 3))
    assert "'fc_weight', 'fc_bias'" in caught.value.why
    assert caught.value.where == "first at node 'fc' (FullyConnected), which reads one"


def test_variable_in_a_parameter_slot_can_be_declared_an_input():
    assert list(find_model_inputs(classifier(), {"fc_bias"}, inputs=("fc_weight",))) == ["data", "fc_weight"]
    shapes = resolve_input_shapes(classifier(), {"fc_bias"}, {"data": (1, 3), "fc_weight": (2, 3)})
    assert shapes == {"data": (1, 3), "fc_weight": (2, 3)}


@pytest.mark.parametrize("declared, expected", [("(4, 3)", (4, 3)), ("(0, 3)", (1, 3)), ("(-1, 3)", (1, 3))])
def test_declared_shape_is_the_fallback(declared, expected):
    assert resolve_input_shapes(classifier(declared), PARAMS, None) == {"data": expected}
    assert resolve_input_shapes(classifier(declared), PARAMS, (7, 3)) == {"data": (7, 3)}


@pytest.mark.parametrize("given, expected", [((0, 3), (1, 3)), ([-1, 3], (1, 3)), ((5, 3), (5, 3))])
def test_open_batch_is_one(given, expected):
    assert resolve_input_shapes(classifier(), PARAMS, given) == {"data": expected}


@pytest.mark.parametrize("declared", [None, "(1, 0)", "(1, -1)", "()"])
def test_unknown_shape_names_the_input(declared):
    with pytest.raises(InvalidArgumentError, match="unknown: 'data'"):
        resolve_input_shapes(classifier(declared), PARAMS, None)


@pytest.mark.parametrize("given",
                         [(), (1, 0), (-1, -1), (1, 2.0), (-2, 3), "13", 13, (True, 3), {"data": None}])
def test_malformed_shape(given):
    with pytest.raises(InvalidArgumentError):
        resolve_input_shapes(classifier(), PARAMS, given)


def test_malformed_declared_shape():
    with pytest.raises(InvalidFileError, match="__shape__"):
        resolve_input_shapes(classifier("(1, x)"), PARAMS, None)


def test_shape_of_something_else():
    with pytest.raises(InvalidArgumentError, match="'image'") as caught:
        resolve_input_shapes(classifier(), PARAMS, {"data": (1, 3), "image": (1, 3)})
    assert "its inputs are 'data'" in str(caught.value)


def test_one_shape_for_several_inputs():
    symbol = Symbol((SymbolNode("null", "a"), SymbolNode("null", "b"),
                     SymbolNode("elemwise_add", "sum", {}, ((0, 0), (1, 0)))), ((2, 0),))
    with pytest.raises(InvalidArgumentError, match="'a', 'b'"):
        resolve_input_shapes(symbol, {}, (1, 3))
    with pytest.raises(InvalidArgumentError, match="unknown: 'b'"):
        resolve_input_shapes(symbol, {}, {"a": (1, 3)})
    assert resolve_input_shapes(symbol, {}, {"b": (1, 3), "a": (2, 3)}) == {"a": (2, 3), "b": (1, 3)}


def test_shape_for_a_model_without_inputs():
    symbol = Symbol((SymbolNode("null", "w"), SymbolNode("exp", "e", {}, ((0, 0),))), ((1, 0),))
    with pytest.raises(InvalidArgumentError, match="without inputs"):
        resolve_input_shapes(symbol, {"w"}, (1, 3))
    assert resolve_input_shapes(symbol, {"w"}, None) == {}


def test_parameter_as_a_head_is_an_input_when_it_has_no_value():
    symbol = Symbol((SymbolNode("null", "w"),), ((0, 0),))
    assert find_model_inputs(symbol, {}) == {"w": None}
    assert find_model_inputs(symbol, {"w"}) == {}


@pytest.mark.parametrize("extents", ["(1, 9223372036854775807)", "(4, 4611686018427387904)",
                                     "(1, 9999999999999999999)"])
def test_declared_shape_beyond_any_tensor(extents):
    """Oracle: a tensor has fewer than 2**63 bytes. These were RuntimeError and TypeError of torch."""
    with pytest.raises(InvalidGraphError, match="input 'data'"):
        import_symbol(classifier(extents), PARAMS, None)
