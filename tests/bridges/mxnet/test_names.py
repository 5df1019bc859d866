"""Repeated names: refused, and repaired on request. Oracle: the names counted by hand."""

import numpy as np
import pytest

from bridges.mxnet import import_symbol, unify_names
from bridges.mxnet.symbol import Symbol, SymbolNode
from mrt_torch.errors import InvalidGraphError

DATA, RELU, AGAIN = SymbolNode("null", "data"), SymbolNode("relu", "act", {}, ((0, 0),)), SymbolNode(
    "relu", "act", {}, ((1, 0),))


def test_operators_of_one_name_are_refused_by_name():
    with pytest.raises(InvalidGraphError, match=r"'act' \(2 times\)"):
        import_symbol(Symbol((DATA, RELU, AGAIN), ((2, 0),)), {}, (1, 2))


def test_an_operator_named_like_a_variable_is_refused():
    clash = SymbolNode("relu", "data", {}, ((0, 0),))
    with pytest.raises(InvalidGraphError, match="'data'"):
        import_symbol(Symbol((DATA, clash), ((1, 0),)), {}, (1, 2))


def test_variables_of_one_name_are_one_parameter():
    weight = SymbolNode("null", "w")
    total = SymbolNode("broadcast_add", "a", {}, ((0, 0), (1, 0)))
    twice = SymbolNode("broadcast_add", "b", {}, ((3, 0), (2, 0)))
    symbol = Symbol((DATA, weight, weight, total, twice), ((4, 0),))
    module = import_symbol(symbol, {"w": np.ones((1, 2), "float32")}, (1, 2))
    assert len(dict(module.named_buffers())) == 1


def test_unify_names_repairs_and_keeps_the_rest():
    unified = unify_names(Symbol((DATA, RELU, AGAIN), ((2, 0),)))
    assert [node.name for node in unified.nodes] == ["data", "act", "act_1"]
    assert unify_names(unified) == unified
    import_symbol(unified, {}, (1, 2))
