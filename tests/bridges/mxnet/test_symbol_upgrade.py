"""Oracle: MXNet 1.9.1, which upgrades the same text, and hand-written expectations."""

from __future__ import annotations

import json

import pytest

from bridges.mxnet.symbol_file import format_symbol, parse_symbol, read_symbol
from tests.bridges.mxnet.symbol_cases import LEGACY, edited, mxnet_rows, rows


def test_legacy_batch_norm_gets_its_auxiliary_states(mxnet):
    symbol = parse_symbol(json.dumps(LEGACY))
    nodes, heads = mxnet_rows(mxnet, json.dumps(LEGACY))
    assert rows(symbol) == nodes
    assert list(symbol.heads) == heads == [(7, 0), (5, 0)]
    assert symbol.argument_names == ("data", "bn_gamma", "bn_beta")
    assert symbol.auxiliary_names == ("bn_moving_mean", "bn_moving_var")
    assert symbol.nodes[1].attributes == {"__lr_mult__": "2"}
    assert symbol.nodes[5].attributes == {"eps": "0.002", "fix_gamma": "False", "__ctx_group__": "a"}
    assert mxnet_rows(mxnet, format_symbol(symbol))[0] == nodes


@pytest.mark.parametrize("key", ["attr", "attrs", "param"])
@pytest.mark.parametrize("version", [900, 1100, 10500, 10901])
@pytest.mark.parametrize("entry_length", [2, 3])
def test_dialects_mean_the_same(mxnet, shared_models, key, version, entry_length):
    """Oracle: MXNet on the same text, and the file the text was made from."""
    path = shared_models / "cifar_resnet8-symbol.json"
    graph = json.loads(path.read_text())
    del graph["node_row_ptr"]
    graph["attrs"]["mxnet_version"][1] = version
    for node in graph["nodes"]:
        node["inputs"] = [entry[:entry_length] for entry in node["inputs"]]
        if "attrs" in node:
            node[key] = node.pop("attrs")
    graph["heads"] = [entry[:entry_length] for entry in graph["heads"]]
    text = json.dumps(graph)
    symbol = parse_symbol(text)
    assert symbol == read_symbol(path)
    assert (rows(symbol), list(symbol.heads)) == mxnet_rows(mxnet, text)


@pytest.mark.parametrize("version", [None, 800, 904, 905, 10901])
def test_axis_minus_one_of_argmax_was_all_axes_before_0_9_5(mxnet, version):
    graph = {"nodes": [{"op": "null", "name": "data", "inputs": []},
                       {"op": "argmax", "name": "best", "attr": {"axis": "-1"}, "inputs": [[0, 0]]}],
             "arg_nodes": [0], "heads": [[1, 0]]}
    if version is not None:
        graph["attrs"] = {"mxnet_version": ["int", version]}
    text = json.dumps(graph)
    assert rows(parse_symbol(text)) == mxnet_rows(mxnet, text)[0]
    assert ("axis" in parse_symbol(text).nodes[1].attributes) == (version is not None and version >= 905)


def test_training_attributes_do_not_reach_the_operators_parser(mxnet):
    """Oracle: MXNet refuses parameters it does not know when it loads a file of its own version."""
    text = edited(lambda graph: graph["nodes"][3].update(attr={"gamma_lr_mult": "2", "wd_mult": "3"}))
    symbol = parse_symbol(text)
    assert symbol.nodes[5].attributes == {"eps": "0.002", "fix_gamma": "False", "__gamma_lr_mult__": "2",
                                          "__wd_mult__": "3"}
    mxnet.sym.load_json(format_symbol(symbol))
