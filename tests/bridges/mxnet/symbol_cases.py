"""What the tests of symbol files share: a small 0.8 file and a plain view of nodes."""

from __future__ import annotations

import copy
import json

from bridges.mxnet.symbol_file import Symbol

# A 0.8 file: "param" and "attr", entries of two numbers, no auxiliary states, no version.
LEGACY = {
    "nodes": [
        {"op": "null", "param": {}, "name": "data", "inputs": [], "backward_source_id": -1},
        {"op": "null", "param": {}, "name": "bn_gamma", "inputs": [], "backward_source_id": -1,
         "attr": {"lr_mult": "2"}},
        {"op": "null", "param": {}, "name": "bn_beta", "inputs": [], "backward_source_id": -1},
        {"op": "BatchNorm", "param": {"eps": "0.002", "fix_gamma": "False"}, "name": "bn",
         "inputs": [[0, 0], [1, 0], [2, 0]], "backward_source_id": -1, "attr": {"ctx_group": "a"}},
        {"op": "Activation", "param": {"act_type": "relu"}, "name": "relu", "inputs": [[3, 0]],
         "backward_source_id": -1},
        {"op": "elemwise_add", "param": {}, "name": "add", "inputs": [[4, 0], [3, 0]],
         "backward_source_id": -1},
    ],
    "arg_nodes": [0, 1, 2],
    "heads": [[5, 0], [3, 0]],
}


def rows(symbol: Symbol) -> list[tuple]:
    return [(node.operator, node.name, without_initializer(node.attributes), node.inputs)
            for node in symbol.nodes]


def without_initializer(attributes) -> dict[str, str]:
    return {key: value for key, value in attributes.items() if key != "__init__"}


def mxnet_rows(mxnet, text: str) -> tuple[list[tuple], list[tuple[int, int]]]:
    """What MXNet makes of a text: nodes and heads.

    Initializers, and the operator parameters that MXNet copies to the auxiliary states it adds, mean nothing
    in inference and are left out.
    """
    symbol = mxnet.sym.load_json(text)
    graph = json.loads(symbol.tojson())
    known = {node["name"] for node in json.loads(text)["nodes"]}
    nodes = []
    for node in graph["nodes"]:
        attributes = without_initializer(node.get("attrs", {})) if node["name"] in known else {}
        nodes.append((node["op"], node["name"], attributes,
                      tuple((source, output) for source, output, _ in node["inputs"])))
    return nodes, [(node, output) for node, output, _ in graph["heads"]]


def edited(change) -> str:
    graph = copy.deepcopy(LEGACY)
    change(graph)
    return json.dumps(graph)
