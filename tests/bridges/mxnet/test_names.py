"""Repeated names: refused by the importer, and repaired where a model is loaded. Oracle: the names counted by hand."""

import numpy as np
import pytest

from bridges.mxnet import import_symbol, unify_names
from bridges.mxnet.names import unify_repeated_calls
from bridges.mxnet.symbol import Symbol, SymbolNode
from mrt_torch import Model
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


OTHERS = {
    "of another kind": (DATA, RELU, SymbolNode("sigmoid", "act", {}, ((1, 0),))),
    "with other attributes": (DATA, SymbolNode("_plus_scalar", "act", {"scalar": "1"}, ((0, 0),)),
                              SymbolNode("_plus_scalar", "act", {"scalar": "2"}, ((1, 0),))),
    "named like a variable": (DATA, SymbolNode("relu", "data", {}, ((0, 0),)),
                              SymbolNode("relu", "data", {}, ((1, 0),))),
}


@pytest.mark.parametrize("name", OTHERS)
def test_only_repeated_calls_are_told_apart(name):
    symbol = Symbol(OTHERS[name], ((2, 0),))
    assert unify_repeated_calls(symbol) == symbol
    with pytest.raises(InvalidGraphError):
        import_symbol(symbol, {}, (1, 2))


def test_repeated_calls_are_told_apart():
    unified = unify_repeated_calls(Symbol((DATA, RELU, AGAIN), ((2, 0),)))
    assert [node.name for node in unified.nodes] == ["data", "act", "act_1"]


def test_a_loaded_model_has_names_of_its_own(mxnet, tmp_path, caplog):
    """Gluon repeats the name of a block that is called twice, and MXNet runs it (the oracle): xception, c3d, dla34."""
    block = mxnet.gluon.nn.HybridSequential()
    relu = mxnet.gluon.nn.Activation("relu")
    block.add(mxnet.gluon.nn.Dense(4, in_units=3), relu, mxnet.gluon.nn.Dense(4, in_units=4), relu)
    block.initialize(mxnet.init.Xavier())
    block.hybridize()
    data = np.random.default_rng(0).standard_normal((2, 3)).astype("float32")
    expected = block(mxnet.nd.array(data)).asnumpy()
    block.export(str(tmp_path / "net"))
    name = f"{relu.name}_fwd"
    for source in (tmp_path / "net-symbol.json", tmp_path / "net-0000.params"), (block,):
        model = Model.load(*source)
        model.prepare((2, 3))
        assert [name in line for line in caplog.messages] == [True]
        caplog.clear()
        assert model.output_names() == [f"{name}_1"]
        np.testing.assert_allclose(model(data).numpy(), expected, rtol=1e-5, atol=1e-6)  # float32 sums


def test_many_nodes_of_one_name_take_linear_time():
    nodes = (DATA, *(SymbolNode("relu", "act", {}, ((index, 0),)) for index in range(20000)))
    assert unify_names(Symbol(nodes, ((20000, 0),))).nodes[-1].name == "act_19999"
