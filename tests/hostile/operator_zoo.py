"""MXNet symbols of many operators in few nodes, and one symbol in the spellings of several MXNet versions."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

# operator, name, attributes, inputs by name; an input that is no node is a variable.
ROWS: list[tuple[str, str, dict[str, str], list[str]]] = [
    ("Convolution", "conv", {"kernel": "(3, 3)", "num_filter": "4", "pad": "(1, 1)", "stride": "(1, 1)"},
     ["data", "conv_weight", "conv_bias"]),
    ("BatchNorm", "bn", {"eps": "0.001", "fix_gamma": "False", "axis": "1"},
     ["conv", "bn_gamma", "bn_beta", "bn_moving_mean", "bn_moving_var"]),
    ("LeakyReLU", "prelu", {"act_type": "prelu"}, ["bn", "prelu_gamma"]),
    ("Pooling", "pool", {"kernel": "(2, 2)", "stride": "(2, 2)", "pool_type": "max", "pooling_convention": "full"},
     ["prelu"]),
    ("Pooling", "average", {"kernel": "(3, 3)", "pad": "(1, 1)", "pool_type": "avg", "count_include_pad": "False"},
     ["pool"]),
    ("elemwise_add", "plus", {}, ["pool", "average"]),
    ("_mul_scalar", "times", {"scalar": "0.5"}, ["plus"]),
    ("broadcast_mul", "scaled", {}, ["times", "factor"]),
    ("Concat", "concat", {"dim": "1", "num_args": "2"}, ["scaled", "plus"]),
    ("SliceChannel", "split", {"num_outputs": "2", "axis": "1"}, ["concat"]),
    ("slice_axis", "part", {"axis": "1", "begin": "1", "end": "3"}, ["split:1"]),
    ("slice", "cut", {"begin": "(None, 0)", "end": "(None, 2)", "step": "(None, 1)"}, ["split"]),
    ("add_n", "sum_of_all", {"num_args": "3"}, ["part", "cut", "part"]),
    ("Pad", "border", {"mode": "constant", "pad_width": "(0, 0, 0, 0, 1, 1, 1, 1)", "constant_value": "0"},
     ["sum_of_all"]),
    ("transpose", "turned", {"axes": "(0, 2, 3, 1)"}, ["border"]),
    ("SwapAxis", "swapped", {"dim1": "1", "dim2": "3"}, ["turned"]),
    ("Reshape", "reshaped", {"shape": "(0, -1, 2)"}, ["swapped"]),
    ("_split_v2", "pieces", {"indices": "(0, 10)", "axis": "1", "squeeze_axis": "False", "sections": "0"},
     ["reshaped"]),
    ("expand_dims", "wider", {"axis": "2"}, ["pieces"]),
    ("squeeze", "narrower", {"axis": "(2,)"}, ["wider"]),
    ("clip", "clipped", {"a_min": "-3", "a_max": "6"}, ["narrower"]),
    ("hard_sigmoid", "hard", {"alpha": "0.2", "beta": "0.5"}, ["clipped"]),
    ("mean", "mean", {"axis": "(1,)", "keepdims": "True"}, ["hard"]),
    ("max", "largest", {"axis": "1", "exclude": "False"}, ["hard"]),
    ("stack", "stacked", {"axis": "1", "num_args": "2"}, ["largest", "largest"]),
    ("_full", "filled", {"shape": "(1, 2, 2)", "value": "0.25", "dtype": "float32"}, []),
    ("broadcast_add", "shifted", {}, ["stacked", "filled"]),
    ("softmax", "softmax", {"axis": "-1", "temperature": "2"}, ["shifted"]),
    ("FullyConnected", "dense", {"num_hidden": "3", "flatten": "True"}, ["softmax", "dense_weight", "dense_bias"]),
    ("Dropout", "dropout", {"p": "0.5", "mode": "training"}, ["dense"]),
    ("Cast", "cast", {"dtype": "float32"}, ["dropout"]),
    ("SoftmaxOutput", "prob", {"multi_output": "False"}, ["cast", "prob_label"]),
]
SHAPE = (1, 3, 8, 8)
HEADS = ["prob", "mean"]


def zoo_params() -> dict[str, np.ndarray]:
    """Parameters of the zoo, by name with prefix."""
    generator = np.random.default_rng(0)
    shapes = {"arg:conv_weight": (4, 3, 3, 3), "arg:conv_bias": (4,), "arg:bn_gamma": (4,), "arg:bn_beta": (4,),
              "aux:bn_moving_mean": (4,), "aux:bn_moving_var": (4,), "arg:prelu_gamma": (4,),
              "arg:factor": (1, 4, 1, 1), "arg:dense_weight": (3, 4), "arg:dense_bias": (3,)}
    return {name: generator.uniform(0.1, 1, shape).astype(np.float32) for name, shape in shapes.items()}


def zoo_symbol() -> dict[str, Any]:
    """The zoo as MXNet 1.9.1 writes it."""
    nodes: list[dict[str, Any]] = []
    index: dict[str, int] = {}

    def add(node: dict[str, Any]) -> None:
        index[node["name"]] = len(nodes)
        nodes.append(node)

    for operator, name, attributes, inputs in ROWS:
        entries = []
        for source in inputs:
            source, _, output = source.partition(":")
            if source not in index:
                add({"op": "null", "name": source, "inputs": []})
            entries.append([index[source], int(output or 0), 0])
        node = {"op": operator, "name": name, "attrs": attributes, "inputs": entries}
        add(node if attributes else {key: value for key, value in node.items() if key != "attrs"})
    variables = [position for position, node in enumerate(nodes) if node["op"] == "null"]
    return {"nodes": nodes, "arg_nodes": variables, "node_row_ptr": list(range(len(nodes) + 1)),
            "heads": [[index[name], 0, 0] for name in HEADS], "attrs": {"mxnet_version": ["int", 10901]}}


def in_dialect(graph: dict[str, Any], version: int) -> str:
    """The JSON of a 1.9.1 symbol as an older version would have written it.

    From 1.2 on attributes are ``attrs``, from 0.9.4 on ``attr``; before, operators have ``param``, entries have two
    numbers, and there is no version.
    """
    key = "attrs" if version >= 10200 else "attr" if version >= 904 else "param"
    nodes = []
    for node in graph["nodes"]:
        node = dict(node)
        attributes = node.pop("attrs", None)
        if attributes is not None or key == "param":
            node[key] = attributes or {}
        if key == "param":
            node |= {"inputs": [entry[:2] for entry in node["inputs"]], "backward_source_id": -1}
        nodes.append(node)
    graph = {**graph, "nodes": nodes, "attrs": {"mxnet_version": ["int", version]}}
    if key == "param":
        graph["heads"] = [entry[:2] for entry in graph["heads"]]
        del graph["attrs"], graph["node_row_ptr"]
    return json.dumps(graph)
