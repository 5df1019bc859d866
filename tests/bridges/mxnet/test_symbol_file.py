"""Oracles: MXNet 1.9.1 on the same text, and hand-written expectations."""

from __future__ import annotations

import json
import os
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridges.mxnet.symbol_file import (
    Symbol,
    SymbolNode,
    format_symbol,
    parse_symbol,
    read_symbol,
    write_symbol,
)
from mrt_torch.errors import InvalidArgumentError, InvalidGraphError
from tests.bridges.mxnet.symbol_cases import edited, mxnet_rows, rows

SHARED = ["cifar_resnet8", "lffd_plate_small", "mnist_lenet", "mobilenet_v1_025_imagenet", "mtcnn_det1",
          "mtcnn_det2", "mtcnn_det3"]
MTCNN = [name for name in SHARED if name.startswith("mtcnn")]


@pytest.mark.parametrize("name", SHARED)
def test_shared_file_is_read_as_mxnet_does(mxnet, shared_models, name):
    path = shared_models / f"{name}-symbol.json"
    symbol = read_symbol(path)
    nodes, heads = mxnet_rows(mxnet, path.read_text())
    assert rows(symbol) == nodes
    assert list(symbol.heads) == heads
    loaded = mxnet.sym.load(str(path))
    assert list(symbol.argument_names) == loaded.list_arguments()
    assert list(symbol.auxiliary_names) == loaded.list_auxiliary_states()
    assert len(symbol.variables) + len(symbol.operators) == len(symbol.nodes)


@pytest.mark.parametrize("name", [name for name in SHARED if name not in MTCNN])
def test_layout_equals_mxnets_own(mxnet, shared_models, name):
    """Oracle: the text of MXNet's writer, but for `node_row_ptr` and the version numbers of entries, which no
    loader uses."""

    def neutral(text: str) -> str:
        text = re.sub(r'"node_row_ptr": \[[^]]*\], ', "", text)
        return re.sub(r"\[(\d+), (\d+), \d+\]", r"[\1, \2, 0]", text)

    path = shared_models / f"{name}-symbol.json"
    assert neutral(format_symbol(read_symbol(path))) == neutral(mxnet.sym.load(str(path)).tojson())


@pytest.mark.parametrize("name", SHARED)
def test_written_file_loads_in_mxnet_and_round_trips(mxnet, shared_models, tmp_path, name):
    symbol = read_symbol(shared_models / f"{name}-symbol.json")
    path = tmp_path / "again-symbol.json"
    write_symbol(symbol, path)
    assert read_symbol(path) == symbol
    assert format_symbol(read_symbol(path)) == path.read_text()
    assert os.listdir(tmp_path) == [path.name]
    assert mxnet_rows(mxnet, path.read_text())[0] == rows(symbol)
    assert mxnet.sym.load(str(path)).list_outputs() == mxnet.sym.load(
        str(shared_models / f"{name}-symbol.json")).list_outputs()


def test_unneeded_nodes_are_dropped_as_mxnet_does(mxnet):
    text = edited(lambda graph: graph.update(heads=[[3, 0]]))
    symbol = parse_symbol(text)
    assert [node.name for node in symbol.nodes][-1] == "bn"
    assert rows(symbol) == mxnet_rows(mxnet, text)[0]


def test_split_rows_and_several_outputs(mxnet):
    """Oracle: MXNet's own node_row_ptr and outputs of a split."""
    parts = mxnet.sym.SliceChannel(mxnet.sym.Variable("data"), num_outputs=3, name="split")
    original = mxnet.sym.Group([parts[1], mxnet.sym.Activation(parts[0], act_type="relu", name="relu")])
    text = format_symbol(parse_symbol(original.tojson()))
    assert json.loads(text)["node_row_ptr"] == json.loads(original.tojson())["node_row_ptr"] == [0, 1, 4, 5]
    assert mxnet.sym.load_json(text).list_outputs() == ["split_output1", "relu_output"]


def test_attribute_values_that_are_no_strings_become_strings():
    """Oracle: Python's spelling, which MXNet's parameter parser reads."""
    values = {"a": 3, "b": True, "c": None, "d": 0.5, "e": "x"}
    text = edited(lambda graph: graph["nodes"][4].update(param=values))
    expected = {"a": "3", "b": "True", "c": "None", "d": "0.5", "e": "x"}
    assert parse_symbol(text).nodes[6].attributes == expected


@pytest.mark.parametrize("name", ["a/b c", "ä\t\"quoted\"\\", "line\nbreak\r", "\U0001f600", ""])
def test_any_printable_name_survives_mxnet(mxnet, name):
    symbol = Symbol((SymbolNode("null", name, {"__note__": name}),), ((0, 0),))
    text = format_symbol(symbol)
    assert mxnet.sym.load_json(text).list_arguments() == [name]
    assert rows(parse_symbol(text)) == rows(symbol) == mxnet_rows(mxnet, text)[0]


def test_malformed_symbols_cannot_be_built_or_written(tmp_path):
    """Oracle: the rules in the docstring of Symbol."""
    data = SymbolNode("null", "data")
    head = ((0, 0),)
    for nodes, heads in [((data,), ()), ((data,), ((1, 0),)), ((SymbolNode("relu", "a", {}, head),), head),
                         ((SymbolNode("null", "\0"),), head), ((SymbolNode("null", 5),), head)]:
        with pytest.raises(InvalidGraphError):
            Symbol(nodes, heads)
    with pytest.raises(InvalidArgumentError):
        write_symbol(Symbol((data,), ((0, 0),)), tmp_path)


names = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=8)
attributes = st.dictionaries(st.from_regex(r"__[a-z]{1,5}__|[a-z]{1,5}", fullmatch=True), names, max_size=3)


@st.composite
def symbols(draw) -> Symbol:
    nodes = [SymbolNode("null", draw(names), draw(attributes))]
    for index in range(1, draw(st.integers(1, 14))):
        source = st.integers(0, index - 1).map(lambda node: (node, 0))
        operator = draw(st.sampled_from(["null", "elemwise_add", "made_up"]))
        inputs = () if operator == "null" else tuple(draw(st.lists(source, max_size=12)))
        nodes.append(SymbolNode(operator, draw(names), draw(attributes), inputs))
    heads = draw(st.lists(st.integers(0, len(nodes) - 1), max_size=12))
    return Symbol(tuple(nodes), tuple((node, 0) for node in [*heads, len(nodes) - 1]))


@settings(deadline=None, max_examples=100)
@given(symbols())
def test_round_trip_of_any_symbol(symbol):
    """Oracle: Python's JSON reader for the text, and for the result a plain search from the heads."""
    text = format_symbol(symbol)
    assert [node["name"] for node in json.loads(text)["nodes"]] == [node.name for node in symbol.nodes]

    needed, waiting = set(), [node for node, _ in symbol.heads]
    while waiting:
        node = waiting.pop()
        if node not in needed:
            needed.add(node)
            waiting += [source for source, _ in symbol.nodes[node].inputs]
    again = parse_symbol(text)
    assert [node.name for node in again.nodes] == [symbol.nodes[index].name for index in sorted(needed)]
    for node, index in zip(again.nodes, sorted(needed), strict=True):
        original = symbol.nodes[index]
        assert (node.operator, node.attributes) == (original.operator, original.attributes)
        assert [again.nodes[source].name for source, _ in node.inputs] == [
            symbol.nodes[source].name for source, _ in original.inputs]
    assert parse_symbol(format_symbol(again)) == again
