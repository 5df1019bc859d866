"""Cut symbols. Oracles: what keys name, by hand; of random networks, the whole one's graph, exactly; MXNet's parser."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridges.mxnet.model import MXNetModel
from bridges.mxnet.split_suggestion import suggest_split_of
from bridges.mxnet.split_symbol import KeyNames, above, below, input_variable, params_of
from bridges.mxnet.symbol import Symbol, SymbolNode
from bridges.mxnet.symbol_file import format_symbol
from mrt_torch.errors import InvalidArgumentError, UnsupportedOperatorError
from tests.bridges.mxnet.split_symbols import MYSTERY, Network, check_halves

DATA, WEIGHT = SymbolNode("null", "data"), SymbolNode("null", "w")
PARTS = SymbolNode("SliceChannel", "parts", {"num_outputs": "3"}, ((0, 0),))
SUM = SymbolNode("broadcast_add", "sum", {}, ((2, 0), (2, 2)))
PRODUCT = SymbolNode("broadcast_mul", "a_output1", {}, ((3, 0), (1, 0)))
SYMBOL = Symbol((DATA, WEIGHT, PARTS, SUM, PRODUCT), ((4, 0), (2, 0)))


@pytest.mark.parametrize("key, entry", [
    ("data", (0, 0)), ("sum", (3, 0)), ("sum_output", (3, 0)), ("sum_output0", (3, 0)), ("parts_output0", (2, 0)),
    ("parts_output2", (2, 2)), ("a_output1", (4, 0)), ("a_output1_output", (4, 0)),
    ("parts", None), ("parts_output1", None), ("w", None), ("a", None), ("sum_output1", None), ("", None),
    ("parts_output99999999999", None)])
def test_what_keys_name(key, entry):
    """A parameter, an output that nothing reads, and the name alone where several are read, name nothing."""
    assert KeyNames(SYMBOL, {"w"}).find(key) == entry


def test_entries_are_in_topological_order():
    assert KeyNames(SYMBOL, {"w"}).entries(["sum", "parts_output2", "data"]) == [(0, 0), (2, 2), (3, 0)]


def test_the_outputs_of_a_node_are_listed():
    with pytest.raises(InvalidArgumentError, match="several outputs") as caught:
        KeyNames(SYMBOL, {"w"}).entries(["parts"])
    assert caught.value.remedy == "name 'parts_output0', 'parts_output2'"


def test_the_halves_by_hand():
    """Oracle: written by hand. The head that is the key is the variable of the upper half."""
    assert below(SYMBOL, [(2, 2), (2, 0)]) == Symbol((DATA, PARTS), ((1, 2), (1, 0)))
    first, third = input_variable("p0", (2, 4)), input_variable("p2", (2, 4))
    upper = above(SYMBOL, {(2, 0): first, (2, 2): third})
    assert [node.name for node in upper.nodes] == ["p0", "p2", "w", "sum", "a_output1"]
    assert upper.nodes[3].inputs == ((0, 0), (1, 0)) and upper.heads == ((4, 0), (0, 0))
    assert first.attributes == {"__shape__": "(2, 4)", "__dtype__": "0"}
    assert list(params_of(upper, {"other": 1, "w": 2})) == ["w"]


def test_halves_are_what_mxnet_makes_of_them(mxnet):
    """Oracle: MXNet's get_internals for the lower half, and its parser for the upper one."""
    whole = mxnet.sym.load_json(format_symbol(SYMBOL))
    lower = mxnet.sym.load_json(format_symbol(below(SYMBOL, [(3, 0)])))
    assert lower.tojson() == whole.get_internals()["sum_output"].tojson()
    upper = mxnet.sym.load_json(format_symbol(above(SYMBOL, {(3, 0): input_variable("sum", (2, 4)),
                                                             (2, 0): input_variable("parts_output0", (2, 4))})))
    assert upper.list_arguments() == ["sum", "w", "parts_output0"]
    assert upper.list_outputs() == ["a_output1_output", "parts_output0"]


@st.composite
def networks(draw):
    """Rows of four numbers: functions, sums, dense layers, halves that change places, constants and mysteries."""
    net = Network(data=(2, 4), **({"second": (2, 4)} if draw(st.booleans()) else {}))
    values = list(net.inputs.values())
    for number in range(draw(st.integers(3, 10))):
        name = f"n{number}"
        kinds = ["relu", "sigmoid", "sum", "dense", "halves", "scaled", MYSTERY, MYSTERY]
        kind = draw(st.sampled_from(kinds)) if number > 1 else "dense"
        x, y = draw(st.sampled_from(values[-3:])), draw(st.sampled_from(values))
        if kind == "sum":
            values.append(net("broadcast_add", x, y, name=name))
        elif kind == "dense":
            values.append(net("FullyConnected", x, net.parameter(f"{name}_weight", 4, 4), name=name, num_hidden=4,
                              no_bias=True))
        elif kind == "halves":
            node, _ = net("SliceChannel", x, name=name, num_outputs=2, axis=1)
            values.append(net("Concat", (node, 1), (node, 0), name=f"{name}_joined", dim=1, num_args=2))
        elif kind == "scaled":
            scale = net("relu", net.parameter(f"{name}_scale", 1, 4), name=f"{name}_positive")
            values.append(net("broadcast_mul", x, scale, name=name))
        else:
            values.append(net(kind, x, name=name))
    heads = draw(st.lists(st.sampled_from(values[len(net.inputs):][-3:]), min_size=1, max_size=3, unique=True))
    model = net.model(*heads)
    symbol = below(model.symbol, heads)
    return MXNetModel(symbol, params_of(symbol, model.params))


@settings(max_examples=80, deadline=None)
@given(networks(), st.data())
def test_any_keys_cut_or_are_refused(model, data):
    """Halves at random keys together are the whole. Refused are keys the upper half bypasses, and unknown operators."""
    names = [name for node in model.symbol.nodes if node.name not in model.params for name in
             ([node.name] if node.operator != "SliceChannel" else [f"{node.name}_output0", f"{node.name}_output1"])]
    keys = data.draw(st.lists(st.sampled_from(names), min_size=1, max_size=4, unique=True))
    try:
        halves = model.split(keys, None)
    except (InvalidArgumentError, UnsupportedOperatorError) as error:
        assert error.remedy
        return
    check_halves(model, *halves)


@settings(max_examples=80, deadline=None)
@given(networks())
def test_suggested_keys_cut(model):
    """By the names of operators, and by their use: prepare would accept either base, so it is imported here."""
    unknown = any(node.operator == MYSTERY for node in model.symbol.nodes)
    for shapes in (None, {name: (2, 4) for name in model.input_names()}):
        bare = model if shapes else MXNetModel(Symbol(tuple(
            SymbolNode("null", node.name) if node.is_variable and node.name not in model.params else node
            for node in model.symbol.nodes), model.symbol.heads), model.params)
        try:
            suggestion = suggest_split_of(bare, shapes)
        except UnsupportedOperatorError as error:
            assert unknown and "no split leaves" in error.what
            continue
        assert suggestion.complete == (shapes is not None)
        if not suggestion.keys:
            continue
        check_halves(model, *model.split([key.name for key in suggestion.keys], None))
